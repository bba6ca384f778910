"""Convolution by definition, in compiled loops: the second rung of the ladder.

The same nested loops as in `minialex.kernels.conv2d.reference`, about a thousand times faster, and still far
from what the processor can do: one multiply-add at a time, each waiting for the sum before it.
"""

from __future__ import annotations

import numpy as np

from minialex.kernels.contract.registry import kernel
from minialex.kernels.conv2d import FORWARD, INPUT_GRAD, WEIGHT_GRAD
from minialex.kernels.runtime.compiled import compiled
from minialex.kernels.runtime.memory import empty


@compiled.parallel
def _forward(item, worker, x, weight, bias, stride, before, dilation, y):
    # x (N, C, H, W), weight (O, C/G, KH, KW), y (N, O, P, Q). An item is an output channel of an image.
    n, o = divmod(item, y.shape[1])
    per_group = weight.shape[1]
    first = o // (y.shape[1] // (x.shape[1] // per_group)) * per_group if per_group else 0
    for p in range(y.shape[2]):
        for q in range(y.shape[3]):
            total = bias[o]
            for c in range(per_group):
                for i in range(weight.shape[2]):
                    h = p * stride[0] - before[0] + i * dilation[0]
                    for j in range(weight.shape[3]):
                        w = q * stride[1] - before[1] + j * dilation[1]
                        if 0 <= h < x.shape[2] and 0 <= w < x.shape[3]:
                            total += weight[o, c, i, j] * x[n, first + c, h, w]
            y[n, o, p, q] = total


@compiled.parallel
def _input_grad(item, worker, g, weight, stride, before, dilation, groups, gx):
    # g (N, O, P, Q), weight (O, C/G, KH, KW), gx (N, C, H, W) of zeros. An item is a channel of an image.
    n, channel = divmod(item, gx.shape[1])
    group, c = divmod(channel, weight.shape[1])
    outputs = g.shape[1] // groups
    for o in range(group * outputs, (group + 1) * outputs):
        for p in range(g.shape[2]):
            for q in range(g.shape[3]):
                for i in range(weight.shape[2]):
                    h = p * stride[0] - before[0] + i * dilation[0]
                    for j in range(weight.shape[3]):
                        w = q * stride[1] - before[1] + j * dilation[1]
                        if 0 <= h < gx.shape[2] and 0 <= w < gx.shape[3]:
                            gx[n, channel, h, w] += weight[o, c, i, j] * g[n, o, p, q]


@compiled.parallel
def _weight_grad(item, worker, g, x, stride, before, dilation, groups, gw):
    # g (N, O, P, Q), x (N, C, H, W), gw (O, C/G, KH, KW). An item is an output channel and an input channel.
    o, c = divmod(item, gw.shape[1])
    channel = o // (g.shape[1] // groups) * gw.shape[1] + c
    for i in range(gw.shape[2]):
        for j in range(gw.shape[3]):
            total = gw[o, c, i, j]
            for n in range(g.shape[0]):
                for p in range(g.shape[2]):
                    h = p * stride[0] - before[0] + i * dilation[0]
                    for q in range(g.shape[3]):
                        w = q * stride[1] - before[1] + j * dilation[1]
                        if 0 <= h < x.shape[2] and 0 <= w < x.shape[3]:
                            total += g[n, o, p, q] * x[n, channel, h, w]
            gw[o, c, i, j] = total


def _contiguous(*arrays):
    return (np.ascontiguousarray(array) for array in arrays)


@kernel(FORWARD, algo="loops")
def conv2d_forward(x, weight, bias, *, call):
    y = empty(call.y_shape, x.dtype)
    bias = np.zeros(call.outputs, x.dtype) if bias is None else bias
    x, weight, bias = _contiguous(x, weight, bias)
    window = call.stride, call.window.before, call.dilation
    _forward.run(call.images * call.outputs, x, weight, bias, *window, y)
    return y


@kernel(INPUT_GRAD, algo="loops")
def conv2d_input_grad(g, weight, *, call):
    gx = np.zeros(call.x_shape, g.dtype)
    g, weight = _contiguous(g, weight)
    _input_grad.run(
        call.images * call.channels,
        g,
        weight,
        call.stride,
        call.window.before,
        call.dilation,
        call.groups,
        gx,
    )
    return gx


@kernel(WEIGHT_GRAD, algo="loops")
def conv2d_weight_grad(g, x, *, call):
    gw = np.zeros(call.weight_shape, g.dtype)
    g, x = _contiguous(g, x)
    _weight_grad.run(
        call.outputs * call.group_channels,
        g,
        x,
        call.stride,
        call.window.before,
        call.dilation,
        call.groups,
        gw,
    )
    return gw
