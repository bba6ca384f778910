"""`SampleRandom`: its words against Philox from its paper, its numbers against their distributions."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from philox import MASK, philox4x64

from minialex.data.permutation import EPOCH, SAMPLE, SPLIT
from minialex.data.sample_random import SampleRandom
from minialex.errors import DataError

WORDS = st.integers(0, MASK)


class Words(SampleRandom):
    """A `SampleRandom` with given words."""

    def __init__(self, *words):
        self._words = iter(words)

    def word(self):
        return next(self._words)


def draws(method, count, *arguments):
    return np.array([getattr(SampleRandom(7, 3, index), method)(*arguments) for index in range(count)])


@given(WORDS, WORDS, WORDS)
def test_the_words_are_philoxs(seed, epoch, index):
    random = SampleRandom(seed, epoch, index)
    # NumPy raises the counter before each block, so that the first is number 1.
    blocks = [philox4x64([block, 0, index, 2], [seed, epoch]) for block in (1, 2)]
    assert [random.word() for _ in range(8)] == blocks[0] + blocks[1]


def test_samples_share_no_words_with_orders():
    assert len({SAMPLE, EPOCH, SPLIT}) == 3
    assert SAMPLE == 2


def test_each_argument_gives_other_words():
    firsts = {SampleRandom(*key).word() for key in ((0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0))}
    assert len(firsts) == 5


def test_numbers_follow_from_the_words():
    top = 2**64 - 1
    assert Words(0).uniform(2.0, 6.0) == 2.0
    assert Words(2**63).uniform(2.0, 6.0) == 4.0
    assert Words(2**62).uniform() == 0.25
    assert Words(top).uniform() == 1 - 2**-53
    assert [Words(word).integers(-3, 4) for word in (0, 2**63, top)] == [-3, 0, 3]
    assert [Words(word).integers(10, 11) for word in (0, top)] == [10, 10]
    assert not Words(0).bernoulli(0.0)
    assert Words(top).bernoulli(1.0)
    assert [Words(word).bernoulli(0.5) for word in (2**63 - 1, 2**63)] == [True, False]
    # sqrt(-2 ln u) cos(2 pi v): u = 1 gives 0; the smallest u, 2**-53, the largest number there is.
    assert Words(top, 5).normal() == 0.0
    assert Words(0, 0).normal() == pytest.approx(math.sqrt(106 * math.log(2)), rel=1e-15)
    assert Words(0, 2**63).normal() == pytest.approx(-math.sqrt(106 * math.log(2)), rel=1e-15)


@given(WORDS, st.floats(-1e6, 1e6), st.floats(0, 1e6), st.integers(-(10**9), 10**9), st.integers(1, 10**9))
def test_numbers_stay_in_their_bounds(index, low, width, start, count):
    random = SampleRandom(1, 2, index)
    assert low <= random.uniform(low, low + width) <= low + width
    assert start <= random.integers(start, start + count) < start + count
    assert abs(random.normal()) < 8.6


def test_uniform_has_the_moments_of_a_uniform():
    values = draws("uniform", 20_000, -1.0, 3.0)
    # Standard errors: 2 / sqrt(3) / sqrt(n) of the mean; a uniform variable's 4th moment gives the other.
    assert abs(values.mean() - 1) < 4 * math.sqrt(16 / 12 / 20_000)
    assert abs(values.var() - 16 / 12) < 4 * 16 * math.sqrt((1 / 80 - 1 / 144) / 20_000)


def test_normal_fills_its_deciles_evenly():
    values = draws("normal", 10_000)
    edges = [0.2533471, 0.5244005, 0.8416212, 1.2815516]  # of the deciles above the middle
    counts, _ = np.histogram(values, [-math.inf, *(-each for each in edges[::-1]), 0, *edges, math.inf])
    # Chi-squared with 9 degrees of freedom exceeds 27.9 once in a thousand times.
    assert ((counts - 1_000) ** 2 / 1_000).sum() < 27.9


def test_integers_are_equally_likely():
    counts = np.bincount(draws("integers", 7_000, 0, 7), minlength=7)
    assert len(counts) == 7
    # 6 degrees of freedom.
    assert ((counts - 1_000) ** 2 / 1_000).sum() < 22.5


def test_bernoulli_has_its_probability():
    assert abs(draws("bernoulli", 10_000, 0.3).mean() - 0.3) < 4 * math.sqrt(0.21 / 10_000)


def test_successive_numbers_are_not_correlated():
    random = SampleRandom(0, 0, 0)
    values = np.array([random.normal() for _ in range(10_000)])
    assert abs((values[1:] * values[:-1]).mean()) < 4 / math.sqrt(10_000)


@pytest.mark.parametrize("position", range(3))
@pytest.mark.parametrize("value", [-1, 2**64, 1.0, True, None, "1"])
def test_arguments_must_be_words(position, value):
    arguments = [0, 0, 0]
    arguments[position] = value
    name = ("seed", "epoch", "index")[position]
    with pytest.raises(DataError, match=f"{name} must be an integer from 0 to 18,446"):
        SampleRandom(*arguments)


@pytest.mark.parametrize("bounds", [(3, 3), (4, 3)])
def test_an_empty_range_is_refused(bounds):
    with pytest.raises(DataError, match="low must be below high, not low"):
        SampleRandom(0, 0, 0).integers(*bounds)
