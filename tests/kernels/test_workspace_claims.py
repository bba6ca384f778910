"""What a convolution kernel says that it allocates, against what it does allocate."""

import gc
import tracemalloc

import numpy as np
import pytest

from minialex.checking.testing.strategies import normal_values
from minialex.kernels import find_kernel

# The shapes of x, weight and y, the groups, and the padding on all sides.
WIDE = (12, 96, 27, 27), (256, 48, 5, 5), (12, 256, 27, 27), 2, 2
NARROW = (12, 96, 107, 108), (192, 1, 5, 5), (12, 192, 107, 108), 96, 2
UNPADDED = (12, 96, 27, 27), (256, 96, 5, 5), (12, 256, 23, 23), 1, 0
POINTWISE = (4, 1500, 17, 17), (1000, 1500, 1, 1), (4, 1000, 17, 17), 1, 0
DIRECTIONS = ("forward", "input_grad", "weight_grad")


@pytest.mark.parametrize(
    ("algorithm", "layer", "direction"),
    [
        pytest.param(algorithm, layer, direction, id=f"{name}-{direction}")
        for name, algorithm, layer, directions in (
            ("depthwise", "depthwise", NARROW, DIRECTIONS),
            ("direct", "direct", WIDE, DIRECTIONS),
            ("direct unpadded", "direct", UNPADDED, DIRECTIONS),
            ("pointwise", "pointwise", POINTWISE, DIRECTIONS[:2]),
            ("winograd", "winograd", WIDE, DIRECTIONS),
        )
        for direction in directions
    ],
)
def test_peak_of_a_call_is_the_result_and_the_workspace(algorithm, layer, direction):
    x, weight, y, groups, padding = layer
    shapes, sizes = {
        "forward": ((x, weight), {}),
        "input_grad": ((y, weight), {"input_size": x[2:]}),
        "weight_grad": ((y, x), {"kernel_size": weight[2:]}),
    }[direction]
    parameters = {**sizes, "padding": ((padding, padding), (padding, padding)), "groups": groups}
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
