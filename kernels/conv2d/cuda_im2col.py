"""Convolution in CUDA by im2col, a tiled matrix product and col2im: im2col.cu.

The matrix of windows is KH*KW times the image, so it is made for as many images at a time as fit the
workspace limit, and for one at least.

On ``cuda-host`` it is the fastest of all on AlexNet's layers at batch 1, and so has the rank there.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from minialex.kernels.contract.shapes import output_shape
from minialex.kernels.contract.workspace import workspace_limit
from minialex.kernels.conv2d.cuda import convolution_sizes, tiles, without_terms
from minialex.kernels.cuda import Source, blocks_for, cuda_kernel, launcher

SOURCE = Source(__file__, "im2col.cu")
_THREADS, _TILE = 256, 128


def _padded(size: int, dtype) -> int:
    """The size rounded up to whole vectors of 16 bytes."""
    lanes = 16 // np.dtype(dtype).itemsize
    return -(-size // lanes) * lanes


def _images_at_once(images: int, positions: int, taps: int, groups: int, dtype) -> int:
    """How many images' windows fit the workspace limit; 1 if not even those of one do."""
    bytes_an_image = groups * _padded(taps, dtype) * positions * np.dtype(dtype).itemsize
    return max(1, min(images, workspace_limit() // max(1, bytes_an_image)))


def _chunks(images: int, at_once: int) -> Iterator[slice]:
    # Equal chunks: a small rest would be a small matrix product, with few blocks.
    size = tiles(images, tiles(images, at_once))
    return (slice(start, min(start + size, images)) for start in range(0, images, size))


def _workspace(images: int, positions: int, taps: int, outputs: int, groups: int, dtype, *, gradient) -> int:
    """Bytes of a chunk's windows, of its gradient as a matrix, and of weights with padded rows."""
    n = _images_at_once(images, positions, taps, groups, dtype)
    padded_taps, padded_positions = _padded(taps, dtype), _padded(n * positions, dtype)
    numbers = (groups * padded_taps + outputs * gradient) * padded_positions
    if padded_taps != taps:
        numbers += outputs * padded_taps
    return numbers * np.dtype(dtype).itemsize


def forward_workspace(x, weight, bias, **window) -> int:
    n, outputs, rows, columns = output_shape("conv2d", x.shape, weight.shape, **window)
    taps = math.prod(weight.shape[1:])
    return _workspace(n, rows * columns, taps, outputs, window["groups"], x.dtype, gradient=False)


def input_grad_workspace(g, weight, *, groups, **_) -> int:
    n, outputs, rows, columns = g.shape
    taps = math.prod(weight.shape[1:])
    return _workspace(n, rows * columns, taps, outputs, groups, g.dtype, gradient=True)


def weight_grad_workspace(g, x, *, kernel_size, groups, **_) -> int:
    n, outputs, rows, columns = g.shape
    taps = x.shape[1] // groups * math.prod(kernel_size)
    return _workspace(n, rows * columns, taps, outputs, groups, g.dtype, gradient=True)


def _weight_matrices(device, weight, groups: int):
    """The weights as (groups, O/groups, padded C/groups*KH*KW), with zeros in the padding."""
    taps = math.prod(weight.shape[1:])
    padded = _padded(taps, weight.dtype)
    matrices = weight.reshape(groups, len(weight) // groups, taps)
    if padded == taps:
        return device.contiguous(matrices)
    copy = device.zeros((*matrices.shape[:2], padded), weight.dtype)
    copy[..., :taps] = matrices
    return copy


def _windows(device, x, weight_shape, y_shape, padded_taps: int, **window):
    """im2col: the windows of x (n, C, H, W) as (groups, padded_taps, padded n*P*Q)."""
    n, _, rows, columns = y_shape
    positions = _padded(n * rows * columns, x.dtype)
    windows = device.empty((window["groups"], padded_taps, positions), x.dtype)
    device.launch(
        SOURCE["im2col"],
        (tiles(positions, _THREADS), min(padded_taps, launcher.MAX_BLOCKS), window["groups"]), _THREADS,
        device.contiguous(x), windows, padded_taps, positions,
        *convolution_sizes(x.shape, weight_shape, y_shape, **window),
    )  # fmt: skip
    return windows


def _gradient_matrices(device, g, groups: int):
    """The gradient g (n, O, P, Q) as (groups, O/groups, padded n*P*Q): its windows of one cell."""
    per_group = g.shape[1] // groups
    return _windows(
        device, g, (g.shape[1], per_group, 1, 1), g.shape, per_group,
        stride=(1, 1), padding=((0, 0), (0, 0)), dilation=(1, 1), groups=groups,
    )  # fmt: skip


def _grid(rows: int, columns: int, groups: int) -> tuple[int, int, int]:
    return tiles(columns, _TILE), tiles(rows, _TILE), groups


@cuda_kernel("conv2d.forward", algo="im2col", devices=("cuda",), workspace=forward_workspace)
@cuda_kernel("conv2d.forward", algo="im2col", rank=10, devices=("cuda-host",), workspace=forward_workspace)
def conv2d_forward(device, x, weight, bias, **window):
    y_shape = output_shape("conv2d", x.shape, weight.shape, **window)
    if 0 in (*x.shape, *y_shape):
        return without_terms(device, y_shape, x.dtype, bias)
    y = device.empty(y_shape, x.dtype)
    groups, (n, outputs, rows, columns) = window["groups"], y_shape
    matrices = _weight_matrices(device, weight, groups)
    bias_or_any = matrices if bias is None else device.contiguous(bias)
    at_once = _images_at_once(n, rows * columns, math.prod(weight.shape[1:]), groups, x.dtype)
    for images in _chunks(n, at_once):
        part = y[images]
        windows = _windows(device, x[images], weight.shape, part.shape, matrices.shape[-1], **window)
        _, depth, row_length = windows.shape
        device.launch(
            SOURCE["weight_times_windows"], _grid(outputs // groups, row_length, groups), _THREADS,
            matrices, windows, bias_or_any, part, int(bias is not None), outputs // groups, depth, row_length,
            len(part), rows * columns,
        )  # fmt: skip
        del windows  # else the next chunk's would be made while these are still held
    return y


@cuda_kernel("conv2d.input_grad", algo="im2col", devices=("cuda",), workspace=input_grad_workspace)
@cuda_kernel(
    "conv2d.input_grad", algo="im2col", rank=10, devices=("cuda-host",), workspace=input_grad_workspace
)
def conv2d_input_grad(device, g, weight, *, input_size, **window):
    groups = window["groups"]
    x_shape = (len(g), weight.shape[1] * groups, *input_size)
    if 0 in (*x_shape, *g.shape):
        return without_terms(device, x_shape, g.dtype)
    gx = device.empty(x_shape, g.dtype)
    n, outputs, rows, columns = g.shape
    matrices = _weight_matrices(device, weight, groups)
    taps = matrices.shape[-1]
    at_once = _images_at_once(n, rows * columns, math.prod(weight.shape[1:]), groups, g.dtype)
    for images in _chunks(n, at_once):
        part = gx[images]
        gradient = _gradient_matrices(device, g[images], groups)
        positions = gradient.shape[-1]
        windows = device.empty((groups, taps, positions), g.dtype)
        device.launch(
            SOURCE["windows_gradient"], _grid(taps, positions, groups), _THREADS,
            matrices, gradient, windows, taps, outputs // groups, positions,
        )  # fmt: skip
        device.launch(
            SOURCE["col2im"], blocks_for(part.size, _THREADS), _THREADS, windows, part, taps, positions,
            *convolution_sizes(part.shape, weight.shape, (len(part), *g.shape[1:]), **window),
        )  # fmt: skip
        del gradient, windows
    return gx


@cuda_kernel("conv2d.weight_grad", algo="im2col", devices=("cuda",), workspace=weight_grad_workspace)
@cuda_kernel(
    "conv2d.weight_grad", algo="im2col", rank=10, devices=("cuda-host",), workspace=weight_grad_workspace
)
def conv2d_weight_grad(device, g, x, *, kernel_size, **window):
    groups, per_group = window["groups"], x.shape[1] // window["groups"]
    n, outputs, rows, columns = g.shape
    weight_shape = (outputs, per_group, *kernel_size)
    if 0 in (*x.shape, *g.shape):
        return without_terms(device, weight_shape, g.dtype)
    taps = math.prod(weight_shape[1:])
    padded = _padded(taps, g.dtype)
    gw = device.zeros((groups, outputs // groups, padded), g.dtype)
    for images in _chunks(n, _images_at_once(n, rows * columns, taps, groups, g.dtype)):
        gradient = _gradient_matrices(device, g[images], groups)
        windows = _windows(device, x[images], weight_shape, g[images].shape, padded, **window)
        device.launch(
            SOURCE["add_weight_gradient"], _grid(outputs // groups, padded, groups), _THREADS,
            gradient, windows, gw, outputs // groups, padded, gradient.shape[-1],
        )  # fmt: skip
        del gradient, windows
    return device.contiguous(gw[..., :taps]).reshape(weight_shape)
