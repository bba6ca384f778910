"""Convolution in CUDA, the rungs that have no matrix of windows: naive.cu and implicit_gemm.cu.

All take the image and the weights as they are, and need no memory of their own.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from minialex.errors import KernelError
from minialex.kernels.contract.shapes import output_shape
from minialex.kernels.cuda import Source, cuda_kernel
from minialex.kernels.cuda.launcher import MAX_ELEMENTS

NAIVE = Source(__file__, "naive.cu")
IMPLICIT = Source(__file__, "implicit_gemm.cu")


class _Rung(NamedTuple):
    """An algorithm, whose kernels are ``<algorithm>_forward``, ``_input_grad`` and ``_weight_grad``."""

    algorithm: str
    source: Source
    threads: tuple[int, ...]  # of a block
    tile: tuple[int, int]  # the results of a block: (rows, columns)


_RUNGS = (
    _Rung("naive", NAIVE, (256,), (1, 256)),
    _Rung("implicit_shared", IMPLICIT, (16, 16), (16, 16)),
    _Rung("implicit_registers", IMPLICIT, (128,), (64, 64)),
)


def convolution_sizes(
    x_shape, weight_shape, y_shape, *, stride, padding, dilation, groups
) -> tuple[int, ...]:
    """The parameters of ``struct Convolution`` (convolution.cuh), in its order.

    Raises
    ------
    KernelError
        If the padded image is so large that an int index into it would overflow.
    """
    for axis, size, (before, after) in zip(("high", "wide"), x_shape[2:], padding, strict=True):
        if size + before + after > MAX_ELEMENTS:
            raise KernelError(
                f"conv2d: the image with its padding is {size} + {before} + {after} cells {axis}; "
                f"CUDA kernels index at most {MAX_ELEMENTS}"
            )
    (top, _), (left, _) = padding
    return (
        *x_shape, *y_shape[1:], *weight_shape[2:], *stride, *dilation, top, left, groups,
    )  # fmt: skip


def without_terms(device, shape, dtype, bias=None):
    """What a convolution gives that has nothing to add up, or no results: zeros, or the bias."""
    y = device.zeros(shape, dtype)
    if bias is not None:
        y += bias.reshape(-1, 1, 1)
    return y


def tiles(size: int, tile: int) -> int:
    """How many tiles cover `size` rows or columns."""
    return -(-size // tile)


def _forward(device, rung, x, weight, bias, window):
    y_shape = output_shape("conv2d", x.shape, weight.shape, **window)
    if 0 in (*x.shape, *y_shape):
        return without_terms(device, y_shape, x.dtype, bias)
    x, weight = device.contiguous(x), device.contiguous(weight)
    y = device.empty(y_shape, x.dtype)
    groups, (n, outputs, rows, columns) = window["groups"], y_shape
    device.launch(
        rung.source[f"{rung.algorithm}_forward"],
        _grid(rung.tile, outputs // groups, n * rows * columns, groups), rung.threads,
        x, weight, weight if bias is None else device.contiguous(bias), y, int(bias is not None),
        *convolution_sizes(x.shape, weight.shape, y_shape, **window),
    )  # fmt: skip
    return y


def _input_grad(device, rung, g, weight, input_size, window):
    groups, per_group = window["groups"], weight.shape[1]
    x_shape = (len(g), per_group * groups, *input_size)
    if 0 in (*x_shape, *g.shape):
        return without_terms(device, x_shape, g.dtype)
    g, weight = device.contiguous(g), device.contiguous(weight)
    gx = device.empty(x_shape, g.dtype)
    device.launch(
        rung.source[f"{rung.algorithm}_input_grad"],
        _grid(rung.tile, per_group, len(g) * math.prod(input_size), groups), rung.threads,
        g, weight, gx, *convolution_sizes(x_shape, weight.shape, g.shape, **window),
    )  # fmt: skip
    return gx


def _weight_grad(device, rung, g, x, kernel_size, window):
    groups, per_group, outputs = window["groups"], x.shape[1] // window["groups"], g.shape[1]
    weight_shape = (outputs, per_group, *kernel_size)
    if 0 in (*x.shape, *g.shape):
        return without_terms(device, weight_shape, g.dtype)
    g, x = device.contiguous(g), device.contiguous(x)
    gw = device.empty(weight_shape, g.dtype)
    device.launch(
        rung.source[f"{rung.algorithm}_weight_grad"],
        _grid(rung.tile, outputs // groups, per_group * math.prod(kernel_size), groups), rung.threads,
        g, x, gw, *convolution_sizes(x.shape, weight_shape, g.shape, **window),
    )  # fmt: skip
    return gw


def _grid(tile, rows: int, columns: int, groups: int) -> tuple[int, int, int]:
    return tiles(columns, tile[1]), tiles(rows, tile[0]), groups


def _register(rung: _Rung) -> None:
    @cuda_kernel("conv2d.forward", algo=rung.algorithm)
    def forward(device, x, weight, bias, **window):
        return _forward(device, rung, x, weight, bias, window)

    @cuda_kernel("conv2d.input_grad", algo=rung.algorithm)
    def input_grad(device, g, weight, *, input_size, **window):
        return _input_grad(device, rung, g, weight, input_size, window)

    @cuda_kernel("conv2d.weight_grad", algo=rung.algorithm)
    def weight_grad(device, g, x, *, kernel_size, **window):
        return _weight_grad(device, rung, g, x, kernel_size, window)


for _rung in _RUNGS:
    _register(_rung)
