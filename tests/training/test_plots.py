"""The style of plots. Where labels go: against scipy's isotonic regression, which is the same problem."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import isotonic_regression

from minialex.plots import drawable, shortened, spread, without_middle

positions = st.lists(st.floats(-1, 2).map(lambda x: round(x, 3)), max_size=10)


@given(positions, st.floats(0, 0.3))
def test_neighbours_are_apart_and_in_order(values, gap):
    moved = spread(values, gap, -10, 10)
    order = np.argsort(values, kind="stable")
    assert (np.diff(np.array(moved)[order]) >= gap - 1e-9).all()


@given(positions.filter(len), st.floats(0, 0.3))
def test_moves_are_the_smallest_there_are(values, gap):
    order = np.argsort(values, kind="stable")
    steps = gap * np.arange(len(values))
    expected = isotonic_regression(np.array(values)[order] - steps).x + steps
    assert np.array(spread(values, gap, -10, 10))[order] == pytest.approx(expected, abs=1e-9)


@given(positions, st.floats(0, 0.1))
def test_all_lie_between_the_bounds(values, gap):
    moved = spread(values, gap, 0, 1)  # ten labels at 0.1 fit
    assert all(-1e-9 <= each <= 1 + 1e-9 for each in moved)
    order = np.argsort(values, kind="stable")
    assert (np.diff(np.array(moved)[order]) >= gap - 1e-9).all()


def test_what_is_apart_stays():
    assert spread([0.9, 0.1, 0.5], 0.2, 0, 1) == pytest.approx([0.9, 0.1, 0.5])


def test_equal_ones_go_both_ways():
    assert spread([0.5, 0.5], 0.2, 0, 1) == pytest.approx([0.4, 0.6])


def test_long_names_lose_their_middle():
    assert without_middle("abcdefghij", 10) == "abcdefghij"
    assert without_middle("abcdefghijk", 10) == "abcd…ghijk"
    assert len(without_middle("x" * 99, 30)) == 30


def test_what_no_font_can_draw_is_escaped():
    """Matplotlib fails at half of a surrogate pair, and warns, here an error, of what a font lacks."""
    assert drawable("a\x1b[2J\udcff\U000f0000") == "a\\x1b[2J\\udcff\\U000f0000"
    assert drawable("\u00e9t\u00e9 $x$") == "\u00e9t\u00e9 $x$"


def test_a_name_stands_on_one_line():
    assert shortened("a\n <b>", 9) == "a <b>"
    assert shortened("abcdefghij", 9) == "abcdefgh…"
