"""Convolution in CUDA, the rungs that build no matrix of windows: naive.cu and implicit_gemm.cu.

All take the image and the weights as they are, and need no workspace.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from minialex.errors import KernelError
from minialex.kernels.conv2d import FORWARD, INPUT_GRAD, WEIGHT_GRAD
from minialex.kernels.conv2d.call import ConvCall
from minialex.kernels.cuda import Source, cuda_kernel
from minialex.kernels.cuda.gemm import tile_grid
from minialex.kernels.cuda.launcher import MAX_ELEMENTS

NAIVE = Source(__file__, "naive.cu")
IMPLICIT = Source(__file__, "implicit_gemm.cu")
EPILOGUE = Source(__file__, "epilogue.cu")


class _Rung(NamedTuple):
    """An algorithm: its kernels are ``<algorithm>_forward``, ``_input_grad`` and ``_weight_grad``."""

    algorithm: str
    source: Source
    threads: tuple[int, ...]  # of a block
    tile: tuple[int, int]  # the results of a block: (rows, columns)

    def grid(self, rows: int, columns: int, call: ConvCall) -> tuple[int, int, int]:
        """The blocks for a matrix of results in each group."""
        return tile_grid(self.tile, rows, columns, call.groups)


_RUNGS = (
    _Rung("naive", NAIVE, (256,), (1, 256)),
    _Rung("implicit_shared", IMPLICIT, (16, 16), (16, 16)),
    _Rung("implicit_registers", IMPLICIT, (128,), (64, 64)),
)


def convolution_struct(call: ConvCall, images: int | None = None) -> tuple[int, ...]:
    """The members of ``struct Convolution`` (convolution.cuh), in order, for some or all of the images.

    Raises
    ------
    KernelError
        If the padded image is too large to be indexed by an int.
    """
    for name, axis in zip(("high", "wide"), call.window, strict=True):
        if axis.size + axis.before + axis.after > MAX_ELEMENTS:
            raise KernelError(
                f"conv2d: the image with its padding is {axis.size} + {axis.before} + {axis.after} cells "
                f"{name}; CUDA kernels index at most {MAX_ELEMENTS}"
            )
    sizes = call.images if images is None else images, *call.x_shape[1:], *call.y_shape[1:]
    window = call.window
    return *sizes, *window.kernel_size, *window.stride, *window.dilation, *window.before, call.groups


def nothing_to_add(call: ConvCall) -> bool:
    """Whether the convolution has no terms or no results, so that there is nothing to launch."""
    return 0 in call.x_shape or 0 in call.y_shape


def without_terms(device, shape, dtype, bias=None):
    """The result of such a convolution: zeros, or the bias."""
    y = device.zeros(shape, dtype)
    if bias is not None:
        y += bias.reshape(-1, 1, 1)
    return y


def rectified(device, y):
    """The same array, in which numbers less than 0 are replaced by 0."""
    device.launch_over(EPILOGUE["rectify"], y.size, y, y.size)
    return y


def _forward(device, rung: _Rung, x, weight, bias, call: ConvCall):
    if nothing_to_add(call):
        return without_terms(device, call.y_shape, x.dtype, bias)
    x, weight = device.contiguous(x), device.contiguous(weight)
    y = device.empty(call.y_shape, x.dtype)
    arrays = x, weight, weight if bias is None else device.contiguous(bias), y, int(bias is not None)
    grid = rung.grid(call.group_outputs, call.images * math.prod(call.positions), call)
    kernel = rung.source[f"{rung.algorithm}_forward"]
    device.launch(kernel, grid, rung.threads, *arrays, *convolution_struct(call))
    return y


def _input_grad(device, rung: _Rung, g, weight, call: ConvCall):
    if nothing_to_add(call):
        return without_terms(device, call.x_shape, g.dtype)
    g, weight = device.contiguous(g), device.contiguous(weight)
    gx = device.empty(call.x_shape, g.dtype)
    grid = rung.grid(call.group_channels, call.images * math.prod(call.size), call)
    kernel = rung.source[f"{rung.algorithm}_input_grad"]
    device.launch(kernel, grid, rung.threads, g, weight, gx, *convolution_struct(call))
    return gx


def _weight_grad(device, rung: _Rung, g, x, call: ConvCall):
    if nothing_to_add(call):
        return without_terms(device, call.weight_shape, g.dtype)
    g, x = device.contiguous(g), device.contiguous(x)
    gw = device.empty(call.weight_shape, g.dtype)
    grid = rung.grid(call.group_outputs, call.taps, call)
    kernel = rung.source[f"{rung.algorithm}_weight_grad"]
    device.launch(kernel, grid, rung.threads, g, x, gw, *convolution_struct(call))
    return gw


def _register(rung: _Rung) -> None:
    @cuda_kernel(FORWARD, algo=rung.algorithm)
    def forward(device, x, weight, bias, *, call):
        return _forward(device, rung, x, weight, bias, call)

    @cuda_kernel(INPUT_GRAD, algo=rung.algorithm)
    def input_grad(device, g, weight, *, call):
        return _input_grad(device, rung, g, weight, call)

    @cuda_kernel(WEIGHT_GRAD, algo=rung.algorithm)
    def weight_grad(device, g, x, *, call):
        return _weight_grad(device, rung, g, x, call)


for _rung in _RUNGS:
    _register(_rung)
