"""Batch normalisation with each feature read from memory once.

A thread takes a few features: it computes their statistics, then normalises them while they are in the
cache.

The sums are of x - k, where k is the feature's first element, in float64. As k is one of the M
values, (k - mean)**2 <= M * var: the subtraction in var = mean((x - k)**2) - (mean - k)**2 amplifies the
rounding of float64 at most M times, which does not show in float32 (Chan, Golub and LeVeque 1983, on
shifted data).

A mean of x much larger than its deviation would cost digits in float32. For c, the float32 number nearest
the mean, x - c is exact there, and the rest of the mean becomes part of the bias.
"""

import math

import numpy as np

from minialex.integers import ceil_div
from minialex.kernels.batch_norm import BACKWARD, EVALUATE, FORWARD
from minialex.kernels.contract.registry import kernel
from minialex.kernels.reduction.features import (
    LANES,
    as_features,
    features_per_item,
    long_rows,
    short_rows,
    total,
)
from minialex.kernels.runtime.blocks import items_of
from minialex.kernels.runtime.compiled import compiled
from minialex.kernels.runtime.memory import empty
from minialex.kernels.runtime.threads import num_threads


def _supports(x, *_, call):
    if x.size == 0:
        return "the batch is empty"
    return short_rows(math.prod(x.shape[call.axis + 1 :])) or True


@compiled.parallel
def _normalise(item, worker, x, weight, bias, eps, chunk, sums, factors, y, mean, var):
    outer, features, inner = x.shape
    first = item * chunk
    own = min(chunk, features - first)
    sums, factors = sums[worker], factors[worker]
    sums[:own] = 0
    for n in range(outer):
        for f in range(own):
            row, shift = x[n, first + f], np.float64(x[0, first + f, 0])
            of_difference, of_square = sums[f, 0], sums[f, 1]
            for start in range(0, inner, LANES):
                piece = row[start : start + LANES]
                for lane in range(len(piece)):
                    difference = piece[lane] - shift
                    of_difference[lane] += difference
                    of_square[lane] += difference * difference

    count = outer * inner
    for f in range(own):
        shift = np.float64(x[0, first + f, 0])
        offset = total(sums[f, 0]) / count
        variance = max(total(sums[f, 1]) / count - offset * offset, 0.0)
        centre = shift + offset
        scale = weight[first + f] / math.sqrt(variance + eps)
        mean[first + f] = centre
        var[first + f] = variance
        factors[f, 0] = scale
        factors[f, 1] = bias[first + f] + (mean[first + f] - centre) * scale

    for n in range(outer):
        for f in range(own):
            row, result = x[n, first + f], y[n, first + f]
            centre, scale, shift = mean[first + f], factors[f, 0], factors[f, 1]
            for i in range(inner):
                result[i] = (row[i] - centre) * scale + shift


@kernel(FORWARD, algo="one-pass", rank=20, supports=_supports, domain=long_rows)
def batch_norm_forward(x, weight, bias, *, call):
    shape, x = x.shape, as_features(x, call.axis)
    _, features, inner = x.shape
    chunk = features_per_item(*x.shape)
    sums = empty((num_threads(), chunk, 2, min(inner, LANES)), np.float64)
    factors = empty((num_threads(), chunk, 2), x.dtype)
    y = empty(shape, x.dtype)
    mean, var = (empty(features, x.dtype) for _ in range(2))
    weight, bias = np.ascontiguousarray(weight), np.ascontiguousarray(bias)
    given = x, weight, bias, float(call.eps), chunk
    _normalise.run(ceil_div(features, chunk), *given, sums, factors, y.reshape(x.shape), mean, var)
    return y, mean, var


@compiled.parallel
def _differentiate(item, worker, g, x, weight, mean, var, eps, chunk, sums, factors, gx, gw, gb):
    outer, features, inner = x.shape
    first = item * chunk
    own = min(chunk, features - first)
    sums, factors = sums[worker], factors[worker]
    sums[:own] = 0
    for n in range(outer):
        for f in range(own):
            upstream, row, centre = g[n, first + f], x[n, first + f], np.float64(mean[first + f])
            of_g, of_product = sums[f, 0], sums[f, 1]
            for start in range(0, inner, LANES):
                piece, other = upstream[start : start + LANES], row[start : start + LANES]
                for lane in range(len(piece)):
                    of_g[lane] += piece[lane]
                    of_product[lane] += piece[lane] * (other[lane] - centre)

    count = outer * inner
    for f in range(own):
        reciprocal = 1 / math.sqrt(var[first + f] + eps)
        of_g, of_product = total(sums[f, 0]), total(sums[f, 1]) * reciprocal
        gb[first + f] = of_g
        gw[first + f] = of_product
        factors[f, 0] = weight[first + f] * reciprocal
        factors[f, 1] = of_g / count
        factors[f, 2] = of_product * reciprocal / count

    for n in range(outer):
        for f in range(own):
            upstream, row, result = g[n, first + f], x[n, first + f], gx[n, first + f]
            centre, scale, of_g, of_product = mean[first + f], factors[f, 0], factors[f, 1], factors[f, 2]
            for i in range(inner):
                result[i] = (upstream[i] - of_g - (row[i] - centre) * of_product) * scale


@kernel(BACKWARD, algo="one-pass", rank=20, supports=_supports, domain=long_rows)
def batch_norm_backward(g, x, weight, mean, var, *, call):
    shape, g, x = x.shape, as_features(g, call.axis), as_features(x, call.axis)
    _, features, inner = x.shape
    chunk = features_per_item(*x.shape)
    sums = empty((num_threads(), chunk, 2, min(inner, LANES)), np.float64)
    factors = empty((num_threads(), chunk, 3), x.dtype)
    gx = empty(shape, x.dtype)
    gw, gb = (empty(features, x.dtype) for _ in range(2))
    weight, mean, var = (np.ascontiguousarray(array) for array in (weight, mean, var))
    given = g, x, weight, mean, var, float(call.eps), chunk
    _differentiate.run(ceil_div(features, chunk), *given, sums, factors, gx.reshape(x.shape), gw, gb)
    return gx, gw, gb


@compiled.parallel
def _scale_rows(item, worker, chunk, rows, mean, scale, bias, y):
    first = item * chunk
    for n in range(first, min(first + chunk, len(rows))):
        feature = n % len(mean)
        row, result = rows[n], y[n]
        centre, factor, shift = mean[feature], scale[feature], bias[feature]
        for i in range(len(row)):
            result[i] = (row[i] - centre) * factor + shift


@kernel(EVALUATE, algo="one-pass", rank=20, supports=_supports, domain=long_rows, records=1)
def batch_norm_evaluate(x, weight, bias, mean, var, *, call):
    shape, x = x.shape, as_features(x, call.axis)
    rows = x.reshape(-1, x.shape[2])
    scale = weight / np.sqrt(var + x.dtype.type(call.eps))
    mean, bias = np.ascontiguousarray(mean), np.ascontiguousarray(bias)
    y = empty(shape, x.dtype)
    _scale_rows.run(*items_of(len(rows), rows.shape[1]), rows, mean, scale, bias, y.reshape(rows.shape))
    return y
