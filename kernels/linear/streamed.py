"""The fully connected layer for a few images, by skinny products.

The weights are read, or their gradient written, once. float32 only.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from minialex.kernels.contract.registry import Sizes, kernel
from minialex.kernels.gemm.processor import SKINNY_ROWS, processor
from minialex.kernels.gemm.skinny import add_rows, multiply_rows, outer_products
from minialex.kernels.gemm.tile import not_empty
from minialex.kernels.linear import FORWARD, INPUT_GRAD, WEIGHT_GRAD
from minialex.kernels.runtime.memory import empty

# Up to this many images these are faster than the blocked gemm (measured on AVX2).
_MOST, _MOST_IN_WEIGHT_GRAD = 40, 128


def _refusal(images: int, most: int, outputs: int = 0, least: int = 0) -> str | None:
    if images > most:
        return f"for up to {most} images, not {images}"
    if outputs < least:
        return f"for at least {least} outputs, not {outputs}"
    return None


def _forward_supported(x, weight, bias) -> bool | str:
    return _refusal(len(x), _MOST, len(weight), SKINNY_ROWS) or not_empty(x, weight)


def _input_grad_supported(g, weight) -> bool | str:
    return _refusal(len(g), _MOST) or not_empty(g, weight)


def _weight_grad_supported(g, x) -> bool | str:
    return _refusal(len(g), _MOST_IN_WEIGHT_GRAD, g.shape[1], processor().rows) or not_empty(g, x)


def _domain(most: int, least: int = 1):
    """Calls for up to `most` images and at least `least` outputs, with full vectors and partial ones."""
    lanes = processor().lanes
    return {"images": Sizes(1, most), "inputs": Sizes(1, grain=lanes), "outputs": Sizes(least, grain=least)}


_streamed = partial(kernel, algo="streamed", rank=30, dtypes=("float32",))


@_streamed(FORWARD, supports=_forward_supported, domain=lambda: _domain(_MOST, SKINNY_ROWS), records=1)
def linear_forward(x, weight, bias):
    y = empty((len(x), len(weight)), np.float32)
    bias = np.zeros(len(weight), np.float32) if bias is None else np.ascontiguousarray(bias)
    multiply_rows(np.ascontiguousarray(weight), np.ascontiguousarray(x), bias, y)
    return y


@_streamed(INPUT_GRAD, supports=_input_grad_supported, domain=lambda: _domain(_MOST))
def linear_input_grad(g, weight):
    gx = empty((len(g), weight.shape[1]), np.float32)
    add_rows(np.ascontiguousarray(g), np.ascontiguousarray(weight), gx)
    return gx


def _weight_grad_domain():
    return _domain(_MOST_IN_WEIGHT_GRAD, processor().rows)


@_streamed(WEIGHT_GRAD, supports=_weight_grad_supported, domain=_weight_grad_domain)
def linear_weight_grad(g, x):
    gw = empty((g.shape[1], x.shape[1]), np.float32)
    outer_products(np.ascontiguousarray(g), np.ascontiguousarray(x), gw)
    return gw
