"""Dropout: its generator against published vectors, its rate, and what its mask depends on."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minialex.checking.testing.algorithms import every_algorithm
from minialex.checking.testing.compare import assert_close, rounding
from minialex.kernels import find_kernel
from minialex.kernels.dropout.reference import philox

every_kernel = every_algorithm("dropout")
fast_kernel = every_algorithm("dropout", only=("plain", "one-pass"))

# Random123's known answers, kat_vectors, "philox4x32 10": counter, key, result.
KNOWN = [
    ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
]
# Below this many elements a kernel may work in one piece; above it the mask must not notice the pieces.
LARGE = 2**17


def words(text):
    return tuple(int(word, 16) for word in text.split())


@pytest.mark.parametrize(("counter", "key", "expected"), KNOWN)
def test_philox_gives_the_published_words(counter, key, expected):
    assert philox(words(counter), words(key)) == words(expected)


def dropout(algorithm, x, **parameters):
    return find_kernel("dropout.forward", **algorithm)(x, **parameters)


def kept(algorithm, size, p, seed, offset):
    """Which of `size` elements dropout keeps."""
    return dropout(algorithm, np.ones(size), p=p, seed=seed, offset=offset) != 0


@every_kernel
@pytest.mark.parametrize("p", [0.25, 0.5, 0.75])
@given(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))
def test_an_element_is_kept_if_its_philox_word_is_small(algorithm, p, seed, offset):
    key = (seed % 2**32, seed // 2**32)
    expected = [
        word < (1 - p) * 2**32
        for block in range(3)
        for word in philox((block, 0, offset % 2**32, offset // 2**32), key)
    ]
    np.testing.assert_array_equal(kept(algorithm, 11, p, seed, offset), expected[:11])


@every_kernel
@pytest.mark.parametrize(("above", "is_kept"), [(-0.5, False), (0, False), (0.5, True), (1, True)])
def test_a_word_is_kept_if_it_is_below_the_bound_and_not_at_it(algorithm, above, is_kept):
    (word, *_) = philox((0, 0, 0, 0), (0, 0))
    assert kept(algorithm, 1, 1 - (word + above) / 2**32, seed=0, offset=0) == [is_kept]


@every_kernel
def test_all_values_are_kept_at_p_0_and_scaled_otherwise(algorithm):
    x = np.linspace(1, 2, 50)
    np.testing.assert_array_equal(dropout(algorithm, x, p=0.0, seed=1, offset=0), x)
    y = dropout(algorithm, x, p=0.9, seed=1, offset=0)
    assert_close(y[y != 0], x[y != 0] / 0.1, rounding(np.float64))
    assert 0 < np.count_nonzero(y) < 50


@fast_kernel
@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_the_rate_of_what_is_kept(algorithm, p):
    # The standard deviation of the rate is sqrt(p (1 - p) / n), below 0.0014: 5 of them is one test in
    # two million, and the seed is fixed.
    rate = kept(algorithm, LARGE, p, seed=5, offset=9).mean()
    assert rate == pytest.approx(1 - p, abs=5 * np.sqrt(p * (1 - p) / LARGE))


@fast_kernel
@pytest.mark.parametrize("size", [1, 4095, 4097, 4 * 8192 - 1, 4 * 8192, 4 * 8192 + 1, LARGE - 3])
def test_the_mask_does_not_depend_on_the_size_or_on_chunks(algorithm, size):
    whole = kept(algorithm, LARGE, 0.5, seed=2, offset=3)
    np.testing.assert_array_equal(kept(algorithm, size, 0.5, seed=2, offset=3), whole[:size])
    last = range(max(0, size - 32), size)
    expected = [philox((i // 4, 0, 3, 0), (2, 0))[i % 4] < 2**31 for i in last]
    np.testing.assert_array_equal(whole[last.start : last.stop], expected)


@every_kernel
def test_the_mask_depends_on_every_bit_of_seed_and_offset(algorithm):
    masks = [kept(algorithm, 64, 0.5, 0, 0)]
    masks += [kept(algorithm, 64, 0.5, 1 << bit, 0) for bit in (0, 31, 32, 63)]
    masks += [kept(algorithm, 64, 0.5, 0, 1 << bit) for bit in (0, 31, 32, 63)]
    assert len({mask.tobytes() for mask in masks}) == len(masks)


@every_kernel
def test_the_mask_counts_elements_in_row_major_order_whatever_their_layout(algorithm):
    mask = kept(algorithm, 24, 0.5, 7, 7)
    x = np.ones((2, 3, 4))
    for layout in (x, np.asfortranarray(x), np.ones((4, 6, 8))[::2, ::2, ::2]):
        y = dropout(algorithm, layout, p=0.5, seed=7, offset=7)
        np.testing.assert_array_equal((y != 0).ravel(), mask)
