"""The fully connected layer on blocked matrix products.

In forward, the rows of the weights are the rows of the product, and the batch its columns: the weights are
read where they are, once, and only the batch is packed. The input gradient packs the weights in pieces
while it reads them. Both matter because the weights (151 MB in AlexNet's fc6) are the largest operand.
float32 only.
"""

from __future__ import annotations

import numpy as np

from minialex.kernels.contract.registry import Sizes, kernel
from minialex.kernels.gemm.blocked import multiply, multiply_packing
from minialex.kernels.gemm.tile import not_empty, processor
from minialex.kernels.runtime.memory import empty


def _domain():
    grain = processor().lanes
    return {"images": Sizes(1), "inputs": Sizes(1, grain=grain), "outputs": Sizes(1, grain=grain)}


@kernel("linear.forward", algo="blocked", rank=20, supports=not_empty, dtypes=("float32",), domain=_domain)
def linear_forward(x, weight, bias):
    (images, inputs), outputs = x.shape, len(weight)
    y = empty((images, outputs), np.float32)
    bias = np.zeros(outputs, np.float32) if bias is None else np.ascontiguousarray(bias)
    depth = np.arange(inputs)
    multiply(
        np.ascontiguousarray(weight).ravel(), np.arange(outputs) * inputs, depth,
        np.ascontiguousarray(x), inputs, depth, y, bias,
    )  # fmt: skip
    return y


@kernel("linear.input_grad", algo="blocked", rank=20, supports=not_empty, dtypes=("float32",), domain=_domain)
def linear_input_grad(g, weight):
    images, outputs = g.shape
    gx = empty((images, weight.shape[1]), np.float32)
    multiply_packing(
        np.ascontiguousarray(g).ravel(), np.arange(images) * outputs, np.arange(outputs),
        np.ascontiguousarray(weight), gx,
    )  # fmt: skip
    return gx


@kernel(
    "linear.weight_grad", algo="blocked", rank=20, supports=not_empty, dtypes=("float32",), domain=_domain
)
def linear_weight_grad(g, x):
    (images, outputs), inputs = g.shape, x.shape[1]
    gw = empty((outputs, inputs), np.float32)
    image = np.arange(images)
    multiply(
        np.ascontiguousarray(g).ravel(), np.arange(outputs), image * outputs,
        np.ascontiguousarray(x), 1, image * inputs, gw,
    )  # fmt: skip
    return gw
