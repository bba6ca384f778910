"""Convolution in CUDA, the rungs that have no matrix of windows: naive.cu and implicit_gemm.cu.

All take the image and the weights as they are, and need no memory of their own.
"""

from __future__ import annotations

from minialex.errors import KernelError
from minialex.kernels.cuda import Source, cuda_kernel
from minialex.kernels.cuda.launcher import MAX_ELEMENTS
from minialex.kernels.shapes import output_shape

NAIVE = Source(__file__, "naive.cu")
IMPLICIT = Source(__file__, "implicit_gemm.cu")

# Threads of a block, and the results of its tile as (rows, columns).
_NAIVE_THREADS, _NAIVE_TILE = (256,), (1, 256)
_SHARED_THREADS, _SHARED_TILE = (16, 16), (16, 16)
_REGISTERS_THREADS, _REGISTERS_TILE = (128,), (64, 64)


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


def _forward(device, kernel, threads, tile, x, weight, bias, window):
    y_shape = output_shape("conv2d", x.shape, weight.shape, **window)
    if 0 in (*x.shape, *y_shape):
        return without_terms(device, y_shape, x.dtype, bias)
    x, weight = device.contiguous(x), device.contiguous(weight)
    y = device.empty(y_shape, x.dtype)
    groups, (n, outputs, rows, columns) = window["groups"], y_shape
    device.launch(
        kernel, _grid(tile, outputs // groups, n * rows * columns, groups), threads,
        x, weight, weight if bias is None else device.contiguous(bias), y, int(bias is not None),
        *convolution_sizes(x.shape, weight.shape, y_shape, **window),
    )  # fmt: skip
    return y


def _input_grad(device, kernel, threads, tile, g, weight, input_size, window):
    groups, per_group = window["groups"], weight.shape[1]
    x_shape = (len(g), per_group * groups, *input_size)
    if 0 in (*x_shape, *g.shape):
        return without_terms(device, x_shape, g.dtype)
    g, weight = device.contiguous(g), device.contiguous(weight)
    gx = device.empty(x_shape, g.dtype)
    device.launch(
        kernel, _grid(tile, per_group, len(g) * input_size[0] * input_size[1], groups), threads,
        g, weight, gx, *convolution_sizes(x_shape, weight.shape, g.shape, **window),
    )  # fmt: skip
    return gx


def _weight_grad(device, kernel, threads, tile, g, x, kernel_size, window):
    groups, per_group, outputs = window["groups"], x.shape[1] // window["groups"], g.shape[1]
    weight_shape = (outputs, per_group, *kernel_size)
    if 0 in (*x.shape, *g.shape):
        return without_terms(device, weight_shape, g.dtype)
    g, x = device.contiguous(g), device.contiguous(x)
    gw = device.empty(weight_shape, g.dtype)
    device.launch(
        kernel, _grid(tile, outputs // groups, per_group * kernel_size[0] * kernel_size[1], groups), threads,
        g, x, gw, *convolution_sizes(x.shape, weight_shape, g.shape, **window),
    )  # fmt: skip
    return gw


def _grid(tile, rows: int, columns: int, groups: int) -> tuple[int, int, int]:
    return tiles(columns, tile[1]), tiles(rows, tile[0]), groups


@cuda_kernel("conv2d.forward", algo="naive")
def naive_forward(device, x, weight, bias, **window):
    return _forward(device, NAIVE["naive_forward"], _NAIVE_THREADS, _NAIVE_TILE, x, weight, bias, window)


@cuda_kernel("conv2d.input_grad", algo="naive")
def naive_input_grad(device, g, weight, *, input_size, **window):
    kernel = NAIVE["naive_input_grad"]
    return _input_grad(device, kernel, _NAIVE_THREADS, _NAIVE_TILE, g, weight, input_size, window)


@cuda_kernel("conv2d.weight_grad", algo="naive")
def naive_weight_grad(device, g, x, *, kernel_size, **window):
    kernel = NAIVE["naive_weight_grad"]
    return _weight_grad(device, kernel, _NAIVE_THREADS, _NAIVE_TILE, g, x, kernel_size, window)


@cuda_kernel("conv2d.forward", algo="implicit_shared")
def implicit_shared_forward(device, x, weight, bias, **window):
    kernel = IMPLICIT["implicit_shared_forward"]
    return _forward(device, kernel, _SHARED_THREADS, _SHARED_TILE, x, weight, bias, window)


@cuda_kernel("conv2d.input_grad", algo="implicit_shared")
def implicit_shared_input_grad(device, g, weight, *, input_size, **window):
    kernel = IMPLICIT["implicit_shared_input_grad"]
    return _input_grad(device, kernel, _SHARED_THREADS, _SHARED_TILE, g, weight, input_size, window)


@cuda_kernel("conv2d.weight_grad", algo="implicit_shared")
def implicit_shared_weight_grad(device, g, x, *, kernel_size, **window):
    kernel = IMPLICIT["implicit_shared_weight_grad"]
    return _weight_grad(device, kernel, _SHARED_THREADS, _SHARED_TILE, g, x, kernel_size, window)


@cuda_kernel("conv2d.forward", algo="implicit_registers")
def implicit_registers_forward(device, x, weight, bias, **window):
    kernel = IMPLICIT["implicit_registers_forward"]
    return _forward(device, kernel, _REGISTERS_THREADS, _REGISTERS_TILE, x, weight, bias, window)


@cuda_kernel("conv2d.input_grad", algo="implicit_registers")
def implicit_registers_input_grad(device, g, weight, *, input_size, **window):
    kernel = IMPLICIT["implicit_registers_input_grad"]
    return _input_grad(device, kernel, _REGISTERS_THREADS, _REGISTERS_TILE, g, weight, input_size, window)


@cuda_kernel("conv2d.weight_grad", algo="implicit_registers")
def implicit_registers_weight_grad(device, g, x, *, kernel_size, **window):
    kernel = IMPLICIT["implicit_registers_weight_grad"]
    return _weight_grad(device, kernel, _REGISTERS_THREADS, _REGISTERS_TILE, g, x, kernel_size, window)
