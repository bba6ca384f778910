"""The machine's limits: loops that really compute, and figures that hang together."""

import numpy as np
import pytest

from minialex.benchmarking import limits
from minialex.kernels.runtime import threads


@pytest.mark.parametrize("lanes", [4, 8, 16])
def test_the_multiply_add_loop_computes(lanes):
    """Twelve accumulators that start at 1 to 12, each c = a c + b five times, added up."""
    expected = np.arange(1, 13, dtype=np.float32)
    for _ in range(5):
        expected = np.float32(0.5) * expected + np.float32(0.25)
    sink = np.zeros(1, np.float32)
    limits._LOOP_OF_LANES[lanes](0, 0, 5, np.float32(0.5), np.float32(0.25), sink)
    assert sink[0] == pytest.approx(expected.sum(), rel=1e-6)


def test_the_copy_copies():
    source = np.arange(200_000, dtype=np.float32)
    target = np.zeros_like(source)
    limits._copy_block.run(-(-len(source) // 65536), source, target)
    assert np.array_equal(source, target)


def test_limits_hang_together():
    before = threads.num_threads()
    found = limits.measure_limits(2)
    assert threads.num_threads() == before
    assert found.peak["float32"] >= found.peak_one["float32"] > 0.5
    assert found.peak["float64"] == found.peak["float32"] / 2
    assert found.bandwidth >= found.bandwidth_one > 0.1


def test_the_lower_roof_binds():
    found = limits.Limits(1, {"float32": 8.0, "float64": 4.0}, {"float32": 8.0, "float64": 4.0}, 1.0, 1.0)
    copied = limits._copy()[1]
    assert found.roof(8 * copied, 2 * copied).calls == 2.0
    by_lanes = [limits._multiply_add(lanes)[1] for lanes in (4, 8, 16)]
    for dtype, factor in (("float32", 1.0), ("float64", 2.0)):
        calls = found.roof(8e9, 0.5e9, dtype).calls
        assert any(calls == pytest.approx(factor * 8e9 / done) for done in by_lanes)
