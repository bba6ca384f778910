"""Batch normalisation by its definition, feature by feature."""

import math

import numpy as np

from minialex.kernels.batch_norm import BACKWARD, EVALUATE, FORWARD
from minialex.kernels.contract.registry import kernel


@kernel(FORWARD, algo="reference")
def batch_norm_forward(x, weight, bias, *, call):
    y = np.zeros_like(x)
    mean, var = np.zeros_like(weight), np.zeros_like(weight)
    for feature in range(len(weight)):
        at = (slice(None),) * call.axis + (feature,)
        values = [float(value) for value in x[at].ravel()]
        mean[feature] = math.fsum(values) / len(values)
        var[feature] = math.fsum((v - mean[feature]) ** 2 for v in values) / len(values)
        h = (x[at] - mean[feature]) / math.sqrt(var[feature] + call.eps)
        y[at] = weight[feature] * h + bias[feature]
    return y, mean, var


@kernel(BACKWARD, algo="reference")
def batch_norm_backward(g, x, weight, mean, var, *, call):
    # Every output of a feature depends on each of its inputs: directly, through the mean and
    # through the variance. The three derivatives are summed one pair at a time.
    gx, gw, gb = np.zeros_like(x), np.zeros_like(weight), np.zeros_like(weight)
    for feature in range(len(weight)):
        at = (slice(None),) * call.axis + (feature,)
        deviation = math.sqrt(var[feature] + call.eps)
        h = ((x[at] - mean[feature]) / deviation).ravel()
        upstream = g[at].ravel()
        count = len(h)
        gw[feature] = math.fsum(upstream * h)
        gb[feature] = math.fsum(upstream)
        slopes = [
            math.fsum(upstream[j] * ((i == j) - 1 / count - h[i] * h[j] / count) for j in range(count))
            for i in range(count)
        ]
        gx[at] = (weight[feature] / deviation * np.array(slopes)).reshape(gx[at].shape)
    return gx, gw, gb


@kernel(EVALUATE, algo="reference")
def batch_norm_evaluate(x, weight, bias, mean, var, *, call):
    y = np.zeros_like(x)
    for feature in range(len(weight)):
        at = (slice(None),) * call.axis + (feature,)
        h = (x[at] - mean[feature]) / math.sqrt(var[feature] + call.eps)
        y[at] = weight[feature] * h + bias[feature]
    return y
