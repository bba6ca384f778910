"""Batch normalisation with the statistics of the batch (Ioffe and Szegedy 2015, algorithm 1).

With mean and var taken over every axis but the feature axis, M elements a feature:

    mean = sum(x) / M,   var = sum((x - mean)**2) / M      (biased, as the paper normalises)
    h = (x - mean) / sqrt(var + eps)
    y = weight * h + bias

and the gradients

    gw = sum(g * h),   gb = sum(g)
    gx = weight / sqrt(var + eps) * (g - gb / M - h * gw / M)

    batch_norm.forward   (x, weight, bias) -> y, mean, var    takes axis, eps; mean, var (F,)
    batch_norm.backward  (g, x, weight, mean, var) -> gx, gw, gb

At evaluation the running statistics take the place of the batch's, as constants:

    batch_norm.evaluate  (x, weight, bias, mean, var) -> y    takes axis, eps
"""

from minialex.kernels.batch_norm.call import BatchNormCall

FORWARD = "batch_norm.forward"
BACKWARD = "batch_norm.backward"
EVALUATE = "batch_norm.evaluate"

__all__ = ["BACKWARD", "EVALUATE", "FORWARD", "BatchNormCall"]
