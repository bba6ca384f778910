"""What max-pooling returns: the maxima and their places, and the results of its gradients."""

import numpy as np

from minialex.kernels.contract.results import results
from minialex.kernels.max_pool2d import FORWARD, GATHER, SCATTER


@results(FORWARD)
def maxima_and_winners(x, *, call):
    return (call.y_shape, x.dtype), (call.y_shape, np.int32)


@results(SCATTER)
def scattered(g, index, *, input_size):
    return (*g.shape[:2], *input_size), g.dtype


@results(GATHER)
def gathered(x, index):
    return index.shape, x.dtype
