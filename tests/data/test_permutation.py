"""The order that every machine must agree on, against Philox written from its paper."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from philox import MASK, philox4x64

from minialex.data.permutation import DRAW, EPOCH, SAMPLE, SPLIT, permutation, with_replacement


def test_the_oracle_gives_the_published_vector():
    # Random123's kat_vectors: philox4x64, 10 rounds, all zero.
    assert philox4x64([0, 0, 0, 0], [0, 0]) == [
        0x16554D9ECA36314C,
        0xDB20FE9D672D0FDC,
        0xD7E772CEE186176B,
        0x7E68B68AEC7BA23B,
    ]


@given(st.integers(0, 40), st.integers(0, MASK), st.integers(0, MASK), st.sampled_from([EPOCH, SPLIT]))
def test_order_is_that_of_the_philox_words(count, seed, draw, use):
    # NumPy raises the counter before each block, so that the first is number 1.
    blocks = range(1, math.ceil(count / 4) + 1)
    words = [word for block in blocks for word in philox4x64([block, 0, 0, use], [seed, draw])]
    expected = sorted(range(count), key=words.__getitem__)
    order = permutation(count, seed=seed, draw=draw, use=use)
    assert order.dtype == np.int64
    assert order.tolist() == expected


@pytest.mark.parametrize("changed", [{"seed": 1}, {"draw": 1}, {"use": SPLIT}])
def test_each_argument_gives_another_order(changed):
    arguments = {"seed": 0, "draw": 0, "use": EPOCH}
    first = permutation(100, **arguments)
    second = permutation(100, **arguments | changed)
    assert sorted(first.tolist()) == sorted(second.tolist()) == list(range(100))
    assert first.tolist() != second.tolist()


def test_every_order_is_equally_likely():
    draws = 6_000
    orders = [tuple(permutation(3, seed=5, draw=draw, use=EPOCH)) for draw in range(draws)]
    counts = np.array([orders.count(order) for order in sorted(set(orders))])
    assert len(counts) == 6
    # Chi-squared with 5 degrees of freedom exceeds 20.5 once in a thousand times.
    assert ((counts - draws / 6) ** 2 / (draws / 6)).sum() < 20.5


@given(st.integers(1, 10**6), st.integers(0, 20), st.integers(0, MASK), st.integers(0, MASK))
def test_numbers_drawn_with_replacement_are_shares_of_the_philox_words(size, count, seed, draw):
    blocks = range(1, math.ceil(count / 4) + 1)
    words = [word for block in blocks for word in philox4x64([block, 0, 0, DRAW], [seed, draw])]
    drawn = with_replacement(size, count, seed=seed, draw=draw)
    assert drawn.dtype == np.int64
    assert drawn.tolist() == [math.floor(Fraction(word, 2**64) * size) for word in words[:count]]


def test_uses_do_not_share_random_numbers():
    assert len({EPOCH, SPLIT, SAMPLE, DRAW}) == 4
