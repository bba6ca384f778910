"""Convolution in CUDA by im2col, a tiled matrix product and col2im: im2col.cu.

The matrix of windows is KH*KW times the size of the image, so it is built for as many images at a time as fit
the workspace limit, but at least one.

On ``cuda-host`` it is the fastest of all on AlexNet's layers at batch 1, so it has the rank there.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from minialex.integers import ceil_div
from minialex.kernels.contract.workspace import workspace_limit
from minialex.kernels.conv2d import FORWARD, FORWARD_RELU, INPUT_GRAD, WEIGHT_GRAD
from minialex.kernels.conv2d.call import ConvCall
from minialex.kernels.conv2d.cuda import convolution_struct, nothing_to_add, rectified, without_terms
from minialex.kernels.cuda import Source, blocks_for, cuda_kernel, launcher
from minialex.kernels.cuda.gemm import tile_grid

SOURCE = Source(__file__, "im2col.cu")
_THREADS, _TILE = 256, (128, 128)


def _padded(size: int, dtype) -> int:
    """The size rounded up to whole vectors of 16 bytes."""
    lanes = 16 // np.dtype(dtype).itemsize
    return ceil_div(size, lanes) * lanes


def _images_at_once(call: ConvCall) -> int:
    """How many images' windows fit the workspace limit; at least 1."""
    numbers = call.groups * _padded(call.taps, call.dtype) * math.prod(call.positions)
    return max(1, min(call.images, workspace_limit() // max(1, numbers * call.dtype.itemsize)))


def _chunks(call: ConvCall) -> Iterator[slice]:
    # Equal chunks: a small remainder would be a small matrix product, with few blocks.
    images = call.images
    size = ceil_div(images, ceil_div(images, _images_at_once(call)))
    return (slice(start, min(start + size, images)) for start in range(0, images, size))


def _workspace(call: ConvCall, *, gradient: bool) -> int:
    """Bytes of a chunk's windows, of its gradient as a matrix, and of weights with padded rows."""
    taps = _padded(call.taps, call.dtype)
    positions = _padded(_images_at_once(call) * math.prod(call.positions), call.dtype)
    numbers = (call.groups * taps + call.outputs * gradient) * positions
    if taps != call.taps:
        numbers += call.outputs * taps
    return numbers * call.dtype.itemsize


def _forward_workspace(*arrays, call: ConvCall) -> int:
    return _workspace(call, gradient=False)


def _gradient_workspace(*arrays, call: ConvCall) -> int:
    return _workspace(call, gradient=True)


def _weight_matrices(device, weight, call: ConvCall):
    """The weights as (groups, O/groups, padded C/groups*KH*KW), with zeros in the padding."""
    padded = _padded(call.taps, weight.dtype)
    matrices = weight.reshape(call.groups, call.group_outputs, call.taps)
    if padded == call.taps:
        return device.contiguous(matrices)
    copy = device.zeros((*matrices.shape[:2], padded), weight.dtype)
    copy[..., : call.taps] = matrices
    return copy


def _windows(device, x, padded_taps: int, call: ConvCall):
    """im2col: the windows of x (n, C, H, W) as (groups, padded_taps, padded n*P*Q)."""
    positions = _padded(len(x) * math.prod(call.positions), x.dtype)
    windows = device.empty((call.groups, padded_taps, positions), x.dtype)
    grid = ceil_div(positions, _THREADS), min(padded_taps, launcher.MAX_BLOCKS), call.groups
    arrays = device.contiguous(x), windows, padded_taps, positions
    device.launch(SOURCE["im2col"], grid, _THREADS, *arrays, *convolution_struct(call, len(x)))
    return windows


def _gradient_matrices(device, g, call: ConvCall):
    """The gradient g (n, O, P, Q) as (groups, O/groups, padded n*P*Q): its 1 x 1 windows."""
    one_cell = call.outputs, call.group_outputs, 1, 1
    return _windows(
        device, g, call.group_outputs, ConvCall.of(g.shape, one_cell, g.dtype, groups=call.groups)
    )


@cuda_kernel(FORWARD, algo="im2col", devices=("cuda",), workspace=_forward_workspace)
@cuda_kernel(FORWARD, algo="im2col", rank=10, devices=("cuda-host",), workspace=_forward_workspace)
def conv2d_forward(device, x, weight, bias, *, call):
    if nothing_to_add(call):
        return without_terms(device, call.y_shape, x.dtype, bias)
    y = device.empty(call.y_shape, x.dtype)
    matrices = _weight_matrices(device, weight, call)
    bias_or_any = matrices if bias is None else device.contiguous(bias)
    for images in _chunks(call):
        part = y[images]
        windows = _windows(device, x[images], matrices.shape[-1], call)
        _, depth, row_length = windows.shape
        grid = tile_grid(_TILE, call.group_outputs, row_length, call.groups)
        arrays = matrices, windows, bias_or_any, part, int(bias is not None)
        sizes = call.group_outputs, depth, row_length, len(part), math.prod(call.positions)
        device.launch(SOURCE["weight_times_windows"], grid, _THREADS, *arrays, *sizes)
        del windows, arrays  # else they would still be held while the next chunk's are made
    return y


@cuda_kernel(FORWARD_RELU, algo="im2col", devices=("cuda",), workspace=_forward_workspace)
@cuda_kernel(FORWARD_RELU, algo="im2col", rank=10, devices=("cuda-host",), workspace=_forward_workspace)
def conv2d_forward_relu(device, x, weight, bias, *, call):
    return rectified(device, conv2d_forward(device, x, weight, bias, call=call))


@cuda_kernel(INPUT_GRAD, algo="im2col", devices=("cuda",), workspace=_gradient_workspace)
@cuda_kernel(INPUT_GRAD, algo="im2col", rank=10, devices=("cuda-host",), workspace=_gradient_workspace)
def conv2d_input_grad(device, g, weight, *, call):
    if nothing_to_add(call):
        return without_terms(device, call.x_shape, g.dtype)
    gx = device.empty(call.x_shape, g.dtype)
    matrices = _weight_matrices(device, weight, call)
    taps = matrices.shape[-1]
    for images in _chunks(call):
        part = gx[images]
        gradient = _gradient_matrices(device, g[images], call)
        positions = gradient.shape[-1]
        windows = device.empty((call.groups, taps, positions), g.dtype)
        grid = tile_grid(_TILE, taps, positions, call.groups)
        sizes = taps, call.group_outputs, positions
        device.launch(SOURCE["windows_gradient"], grid, _THREADS, matrices, gradient, windows, *sizes)
        grid, struct = blocks_for(part.size, _THREADS), convolution_struct(call, len(part))
        device.launch(SOURCE["col2im"], grid, _THREADS, windows, part, taps, positions, *struct)
        del gradient, windows
    return gx


@cuda_kernel(WEIGHT_GRAD, algo="im2col", devices=("cuda",), workspace=_gradient_workspace)
@cuda_kernel(WEIGHT_GRAD, algo="im2col", rank=10, devices=("cuda-host",), workspace=_gradient_workspace)
def conv2d_weight_grad(device, g, x, *, call):
    if nothing_to_add(call):
        return without_terms(device, call.weight_shape, g.dtype)
    padded = _padded(call.taps, g.dtype)
    gw = device.zeros((call.groups, call.group_outputs, padded), g.dtype)
    for images in _chunks(call):
        gradient = _gradient_matrices(device, g[images], call)
        windows = _windows(device, x[images], padded, call)
        grid = tile_grid(_TILE, call.group_outputs, padded, call.groups)
        sizes = call.group_outputs, padded, gradient.shape[-1]
        device.launch(SOURCE["add_weight_gradient"], grid, _THREADS, gradient, windows, gw, *sizes)
        del gradient, windows
    return device.contiguous(gw[..., : call.taps]).reshape(call.weight_shape)
