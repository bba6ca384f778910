"""Batch normalisation on a GPU: the launches of batch_norm.cu, which explains the steps."""

import math
from dataclasses import dataclass

from minialex.kernels.batch_norm import BACKWARD, EVALUATE, FORWARD
from minialex.kernels.cuda import Source, cuda_kernel
from minialex.kernels.cuda.lines import line_block

SOURCE = Source(__file__, "batch_norm.cu")
# Columns are cut into slices until there are this many threads, but not into slices of fewer rows: partial
# sums should be few compared with x.
_ENOUGH_THREADS = 2**16
_SHORTEST = 16


@dataclass(frozen=True)
class _Sums:
    """How the sums of an array (outer, features, inner) are taken: first of slices of each column."""

    outer: int
    features: int
    inner: int
    slices: int

    @classmethod
    def of(cls, shape, axis):
        outer, features, inner = math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1 :])
        slices = min(_ENOUGH_THREADS // max(1, features * inner), outer // _SHORTEST)
        return cls(outer, features, inner, max(1, slices))

    @property
    def partial(self):
        """The number of partial sums."""
        return self.slices * self.features * self.inner

    def by_column(self, device, kernel, *arrays, more=()):
        """Launch a kernel of the first step, which computes the partial sums."""
        size = self.outer * self.features * self.inner
        device.launch_over(SOURCE[kernel], self.partial, *arrays, size, self.partial, *more)

    def by_feature(self, device, kernel, *arrays, more=()):
        """Launch a kernel of the second step, which sums them for each feature."""
        block = line_block(self.slices * self.inner)
        sizes = (self.inner, self.features, self.slices, self.outer * self.inner)
        device.launch(SOURCE[kernel], block.grid(self.features), block.shape, *arrays, *sizes, *more)


def _partial_bytes(x, axis):
    return 2 * _Sums.of(x.shape, axis).partial * x.itemsize


def _forward_bytes(x, weight, bias, *, call):
    return _partial_bytes(x, call.axis)


@cuda_kernel(FORWARD, algo="block-reduction", rank=10, workspace=_forward_bytes)
def batch_norm_forward(device, x, weight, bias, *, call):
    x, weight, bias = (device.contiguous(array) for array in (x, weight, bias))
    sums = _Sums.of(x.shape, call.axis)
    partial, squares = (device.empty((sums.partial,), x.dtype) for _ in range(2))
    centre, mean, var, scale, shift = (device.empty((sums.features,), x.dtype) for _ in range(5))
    y = device.empty(x.shape, x.dtype)
    columns = (sums.inner, sums.features)
    sums.by_column(device, "batch_norm_column_sums", x, partial)
    sums.by_feature(device, "batch_norm_centre", partial, centre)
    sums.by_column(device, "batch_norm_column_moments", x, centre, partial, squares, more=columns)
    statistics = (partial, squares, centre, weight, bias, mean, var, scale, shift)
    sums.by_feature(device, "batch_norm_statistics", *statistics, more=(call.eps,))
    device.launch_over(SOURCE["batch_norm_apply"], x.size, x, mean, scale, shift, y, x.size, *columns)
    return y, mean, var


@cuda_kernel(EVALUATE, algo="block-reduction", rank=10)
def batch_norm_evaluate(device, x, weight, bias, mean, var, *, call):
    x, weight, bias, mean, var = (device.contiguous(array) for array in (x, weight, bias, mean, var))
    features, inner = x.shape[call.axis], math.prod(x.shape[call.axis + 1 :])
    scale, y = device.empty((features,), x.dtype), device.empty(x.shape, x.dtype)
    device.launch_over(SOURCE["batch_norm_scale"], features, weight, var, scale, features, call.eps)
    device.launch_over(SOURCE["batch_norm_apply"], x.size, x, mean, scale, bias, y, x.size, inner, features)
    return y


def _backward_bytes(g, x, weight, mean, var, *, call):
    return _partial_bytes(x, call.axis)


@cuda_kernel(BACKWARD, algo="block-reduction", rank=10, workspace=_backward_bytes)
def batch_norm_backward(device, g, x, weight, mean, var, *, call):
    g, x, weight, mean, var = (device.contiguous(array) for array in (g, x, weight, mean, var))
    sums = _Sums.of(x.shape, call.axis)
    partial, products = (device.empty((sums.partial,), x.dtype) for _ in range(2))
    gw, gb, of_g, of_x, scale = (device.empty((sums.features,), x.dtype) for _ in range(5))
    gx = device.empty(x.shape, x.dtype)
    columns = (sums.inner, sums.features)
    sums.by_column(device, "batch_norm_column_gradients", g, x, mean, partial, products, more=columns)
    gradients = (partial, products, weight, var, gw, gb, of_g, of_x, scale)
    sums.by_feature(device, "batch_norm_gradients", *gradients, more=(call.eps,))
    arrays = (g, x, mean, of_g, of_x, scale, gx)
    device.launch_over(SOURCE["batch_norm_input_grad"], x.size, *arrays, x.size, *columns)
    return gx, gw, gb
