"""What a convolution kernel says that it allocates, against what it does allocate."""

import gc
import tracemalloc

import numpy as np
import pytest

from minialex.checking.testing.strategies import normal_values
from minialex.kernels import find_kernel

WINDOW = {"stride": (1, 1), "padding": ((2, 2), (2, 2)), "dilation": (1, 1)}
# The shapes of x, weight and y, and the groups.
WIDE = (12, 96, 27, 27), (256, 48, 5, 5), (12, 256, 27, 27), 2
NARROW = (12, 96, 107, 108), (192, 1, 5, 5), (12, 192, 107, 108), 96


@pytest.mark.parametrize("direction", ["forward", "input_grad", "weight_grad"])
@pytest.mark.parametrize(
    ("algorithm", "layer"),
    [
        pytest.param("depthwise", NARROW, id="depthwise"),
        pytest.param("direct", WIDE, id="direct"),
        pytest.param("winograd", WIDE, id="winograd"),
    ],
)
def test_peak_of_a_call_is_the_result_and_the_workspace(algorithm, layer, direction):
    x, weight, y, groups = layer
    shapes, sizes = {
        "forward": ((x, weight), {}),
        "input_grad": ((y, weight), {"input_size": x[2:]}),
        "weight_grad": ((y, x), {"kernel_size": weight[2:]}),
    }[direction]
    parameters = {**sizes, **WINDOW, "groups": groups}
    generator = np.random.default_rng(0)
    arrays = [normal_values(generator, shape, np.float32) for shape in shapes]
    arrays += [None] if direction == "forward" else []
    entry = find_kernel(f"conv2d.{direction}", algo=algorithm)
    entry(*arrays, **parameters)
    gc.collect()
    tracemalloc.start()
    try:
        result = entry(*arrays, **parameters)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    claimed = result.nbytes + entry.workspace_bytes(*arrays, **parameters)
    small = 2**18  # tables of offsets and Python's objects
    assert claimed - 0.15 * claimed <= peak <= claimed + small
