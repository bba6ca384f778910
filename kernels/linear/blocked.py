"""The fully connected layer on the blocked gemm.

In forward, the rows of the weights are the rows of the product, and the batch its columns: the weights are
read once, in place, and only the batch is packed. The input gradient packs the weights in pieces
as it reads them. Both matter because the weights (151 MB in AlexNet's fc6) are the largest operand.
float32 only.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from minialex.kernels.contract.registry import Sizes, kernel
from minialex.kernels.gemm.blocked import multiply, multiply_packing
from minialex.kernels.gemm.processor import processor
from minialex.kernels.gemm.tile import not_empty
from minialex.kernels.linear import FORWARD, INPUT_GRAD, WEIGHT_GRAD
from minialex.kernels.runtime.memory import empty


def _domain():
    grain = processor().lanes
    return {"images": Sizes(1), "inputs": Sizes(1, grain=grain), "outputs": Sizes(1, grain=grain)}


_blocked = partial(kernel, algo="blocked", rank=20, supports=not_empty, dtypes=("float32",), domain=_domain)


@_blocked(FORWARD, records=1)
def linear_forward(x, weight, bias):
    y = empty((len(x), len(weight)), np.float32)
    bias = np.zeros(len(weight), np.float32) if bias is None else np.ascontiguousarray(bias)
    multiply(np.ascontiguousarray(weight), x.T, y, bias)
    return y


@_blocked(INPUT_GRAD)
def linear_input_grad(g, weight):
    gx = empty((len(g), weight.shape[1]), np.float32)
    multiply_packing(np.ascontiguousarray(g), np.ascontiguousarray(weight), gx)
    return gx


@_blocked(WEIGHT_GRAD)
def linear_weight_grad(g, x):
    gw = empty((g.shape[1], x.shape[1]), np.float32)
    multiply(np.ascontiguousarray(g).T, np.ascontiguousarray(x), gw)
    return gw
