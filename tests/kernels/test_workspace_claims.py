"""What a convolution kernel says that it allocates, against what it does allocate."""

import gc
import tracemalloc

import numpy as np
import pytest

from minialex.checking.testing.strategies import normal_values
from minialex.kernels import find_kernel

WINDOW = {"stride": (1, 1), "padding": ((2, 2), (2, 2)), "dilation": (1, 1), "groups": 2}
X, WEIGHT, Y = (12, 96, 27, 27), (256, 48, 5, 5), (12, 256, 27, 27)
CALLS = {
    "forward": ((X, WEIGHT), {}),
    "input_grad": ((Y, WEIGHT), {"input_size": (27, 27)}),
    "weight_grad": ((Y, X), {"kernel_size": (5, 5)}),
}


@pytest.mark.parametrize("direction", CALLS)
@pytest.mark.parametrize("algorithm", ["direct", "winograd"])
def test_peak_of_a_call_is_the_result_and_the_workspace(algorithm, direction):
    shapes, parameters = CALLS[direction]
    generator = np.random.default_rng(0)
    arrays = [normal_values(generator, shape, np.float32) for shape in shapes]
    arrays += [None] if direction == "forward" else []
    entry = find_kernel(f"conv2d.{direction}", algo=algorithm)
    entry(*arrays, **parameters, **WINDOW)
    gc.collect()
    tracemalloc.start()
    try:
        result = entry(*arrays, **parameters, **WINDOW)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    claimed = result.nbytes + entry.workspace_bytes(*arrays, **parameters, **WINDOW)
    small = 2**18  # tables of offsets and Python's objects
    assert claimed - 0.15 * claimed <= peak <= claimed + small
