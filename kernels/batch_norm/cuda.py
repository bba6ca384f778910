"""Batch normalisation on a GPU: the launches of batch_norm.cu, which explains the steps."""

import math
from dataclasses import dataclass

from minialex.kernels.cuda import Source, blocks_for, cuda_kernel
from minialex.kernels.cuda.lines import line_block, line_grid

SOURCE = Source(__file__, "batch_norm.cu")
_THREADS = 256
# Columns are cut into slices until there are so many threads, but not into slices below so many rows: the
# partial sums are to be few, compared with x.
_ENOUGH_THREADS = 2**16
_SHORTEST = 16


@dataclass(frozen=True)
class _Sums:
    """How the sums of an array (outer, features, inner) are taken: each column in so many slices."""

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

    @property
    def by_column(self):
        """The grid and the block of the first step, and the ints that its kernels take."""
        size = self.outer * self.features * self.inner
        return blocks_for(self.partial, _THREADS), _THREADS, (size, self.partial)

    @property
    def by_feature(self):
        """The grid and the block of the second step, and the ints that its kernels take."""
        kind, block = line_block(self.slices * self.inner, inner=1)
        grid = line_grid(self.features, kind, block)
        return grid, block, (self.inner, self.features, self.slices, self.outer * self.inner)


def _partial_bytes(x, axis):
    return 2 * _Sums.of(x.shape, axis).partial * x.itemsize


@cuda_kernel(
    "batch_norm.forward", algo="block-reduction", rank=10,
    workspace=lambda x, weight, bias, *, call: _partial_bytes(x, call.axis),
)  # fmt: skip
def batch_norm_forward(device, x, weight, bias, *, call):
    x, weight, bias = (device.contiguous(array) for array in (x, weight, bias))
    sums = _Sums.of(x.shape, call.axis)
    partial, squares = (device.empty((sums.partial,), x.dtype) for _ in range(2))
    centre, mean, var, scale, shift = (device.empty((sums.features,), x.dtype) for _ in range(5))
    y = device.empty(x.shape, x.dtype)
    *columns, column_sizes = sums.by_column
    *features, feature_sizes = sums.by_feature
    device.launch(SOURCE["batch_norm_column_sums"], *columns, x, partial, *column_sizes)
    device.launch(SOURCE["batch_norm_centre"], *features, partial, centre, *feature_sizes)
    device.launch(
        SOURCE["batch_norm_column_moments"], *columns,
        x, centre, partial, squares, *column_sizes, sums.inner, sums.features,
    )  # fmt: skip
    device.launch(
        SOURCE["batch_norm_statistics"], *features,
        partial, squares, centre, weight, bias, mean, var, scale, shift, *feature_sizes, call.eps,
    )  # fmt: skip
    device.launch(
        SOURCE["batch_norm_apply"], blocks_for(x.size, _THREADS), _THREADS,
        x, mean, scale, shift, y, x.size, sums.inner, sums.features,
    )  # fmt: skip
    return y, mean, var


@cuda_kernel("batch_norm.evaluate", algo="block-reduction", rank=10)
def batch_norm_evaluate(device, x, weight, bias, mean, var, *, call):
    x, weight, bias, mean, var = (device.contiguous(array) for array in (x, weight, bias, mean, var))
    features, inner = x.shape[call.axis], math.prod(x.shape[call.axis + 1 :])
    scale, y = device.empty((features,), x.dtype), device.empty(x.shape, x.dtype)
    device.launch(
        SOURCE["batch_norm_scale"], blocks_for(features, _THREADS), _THREADS,
        weight, var, scale, features, call.eps,
    )  # fmt: skip
    device.launch(
        SOURCE["batch_norm_apply"], blocks_for(x.size, _THREADS), _THREADS,
        x, mean, scale, bias, y, x.size, inner, features,
    )  # fmt: skip
    return y


@cuda_kernel(
    "batch_norm.backward", algo="block-reduction", rank=10,
    workspace=lambda g, x, weight, mean, var, *, call: _partial_bytes(x, call.axis),
)  # fmt: skip
def batch_norm_backward(device, g, x, weight, mean, var, *, call):
    g, x, weight, mean, var = (device.contiguous(array) for array in (g, x, weight, mean, var))
    sums = _Sums.of(x.shape, call.axis)
    partial, products = (device.empty((sums.partial,), x.dtype) for _ in range(2))
    gw, gb, of_g, of_x, scale = (device.empty((sums.features,), x.dtype) for _ in range(5))
    gx = device.empty(x.shape, x.dtype)
    *columns, column_sizes = sums.by_column
    *features, feature_sizes = sums.by_feature
    device.launch(
        SOURCE["batch_norm_column_gradients"], *columns,
        g, x, mean, partial, products, *column_sizes, sums.inner, sums.features,
    )  # fmt: skip
    device.launch(
        SOURCE["batch_norm_gradients"], *features,
        partial, products, weight, var, gw, gb, of_g, of_x, scale, *feature_sizes, call.eps,
    )  # fmt: skip
    device.launch(
        SOURCE["batch_norm_input_grad"], blocks_for(x.size, _THREADS), _THREADS,
        g, x, mean, of_g, of_x, scale, gx, x.size, sums.inner, sums.features,
    )  # fmt: skip
    return gx, gw, gb
