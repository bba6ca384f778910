"""The wrong gradients that are recognised by what they look like."""

import numpy as np
import pytest

from minialex.checking.gradients.patterns import recognise

RIGHT = np.random.default_rng(0).standard_normal((3, 4, 5, 5))


def one(array, at, value):
    changed = array.copy()
    changed[at] = value
    return changed


def border_lost(array):
    changed = array.copy()
    changed[..., 0, :] *= 0.5
    changed[..., :, -1] *= 0.3
    return changed


def shifted(array):
    changed = np.zeros_like(array)
    changed[..., 1:] = array[..., :-1]
    return changed


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (RIGHT * 1.0005, "a constant factor of 1.0005"),
        (-RIGHT, "the sign is wrong everywhere"),
        (RIGHT * 3, "a constant factor of 3, the length of axis 0: a missing division?"),
        (RIGHT / 4, "1 over the length of axis 1"),
        (RIGHT * 75, "the length of axes 0, 2, 3"),
        (RIGHT * 0, "all zero"),
        (one(RIGHT, (0, 0, 0, 0), np.nan), "1 values are not finite"),
        (RIGHT.swapaxes(2, 3), "transposed: axes in the order (0, 1, 3, 2)"),
        (RIGHT[:, :, ::-1, ::-1], "flipped along axes 2, 3"),
        (np.concatenate([RIGHT[:, 2:], RIGHT[:, :2]], 1), "2 blocks of axis 1 in the wrong order"),
        (np.roll(RIGHT, -1, 2), "shifted by -1 along axis 2"),
        (shifted(RIGHT), "shifted by +1 along axis 3"),
        (RIGHT * np.array([1, 1, 2]).reshape(3, 1, 1, 1), "a factor that depends on axis 0: 2 at 2"),
        (one(RIGHT, (slice(None), 3), 7.0), "wrong at index 3 of axis 1 only"),
        (border_lost(RIGHT), "wrong along the border of the last two axes"),
        (RIGHT + 0.25, "off by the same 0.25 everywhere"),
        (
            RIGHT + np.arange(3.0).reshape(3, 1, 1, 1) + np.arange(5.0),
            "off by the same amount all along axes 1, 2",
        ),
        (np.random.default_rng(1).standard_normal(RIGHT.shape), ""),
    ],
)
def test_pattern(wrong, says):
    found = recognise(wrong, RIGHT)
    assert says in found
    assert bool(found) == bool(says)


def test_a_gradient_where_there_should_be_none():
    assert recognise(np.ones(3), np.zeros(3)) == "a gradient where there should be none"


def test_a_lost_contribution():
    wrong = RIGHT[0, 0] * (np.arange(25).reshape(5, 5) % 7 > 1)
    assert "contributions overwritten or lost" in recognise(wrong, RIGHT[0, 0])


@pytest.mark.parametrize("scale", [1e-300, 1e-160, 1e160, 1e300])
@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (RIGHT * 1.0005, "a constant factor of 1.0005"),
        (RIGHT.swapaxes(2, 3), "transposed: axes in the order (0, 1, 3, 2)"),
        (one(RIGHT, (slice(None), 3), 7.0), "wrong at index 3 of axis 1 only"),
        (np.random.default_rng(1).standard_normal(RIGHT.shape), ""),
    ],
)
def test_pattern_of_any_size(wrong, says, scale):
    """Squares and sums of the largest and the smallest numbers leave the range of float64."""
    assert says in (found := recognise(wrong * scale, RIGHT * scale))
    assert bool(found) == bool(says)


def test_an_offset_is_told_in_the_unit_of_the_gradient():
    assert "off by the same 2.5e+299 everywhere" in recognise((RIGHT + 0.25) * 1e300, RIGHT * 1e300)


@pytest.mark.parametrize(("size", "expected"), [(1e-8, "in float32 on the way?"), (1e-10, "of its size")])
def test_what_is_off_as_by_rounding(size, expected):
    off = RIGHT * (1 + size * np.random.default_rng(5).standard_normal(RIGHT.shape))
    assert recognise(off, RIGHT).endswith(expected)
