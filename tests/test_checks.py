"""The checks of arguments: what they let through, and what they say of the rest."""

import numpy as np
import pytest

from minialex.checks import (
    MAX_SEED,
    is_within,
    require_choice,
    require_flag,
    require_int,
    require_module,
    require_number,
    require_share,
)
from minialex.errors import DataError, MiniAlexError


@pytest.mark.parametrize(
    ("check", "allowed"),
    [
        (lambda value: require_int("n", value, 1, 2000), "an integer from 1 to 2,000"),
        (lambda value: require_int("n", value, 2), "an integer 2 or more"),
        (lambda value: require_number("n", value, 0.5, 2), "a number from 0.5 to 2"),
        (lambda value: require_number("n", value, 0.5, bounds="[)"), "a number 0.5 or more"),
        (lambda value: require_number("n", value, 0, bounds="()"), "a number above 0"),
        (lambda value: require_number("n", value, 0.5, 1, "[)"), "a number 0.5 or more and below 1"),
        (lambda value: require_number("n", value, 0, 1, "(]"), "a number above 0 and at most 1"),
        (lambda value: require_share("n", value), "a number between 0 and 1"),
        (lambda value: require_flag("n", value), "True or False"),
        (lambda value: require_choice("n", value, ("a",)), "'a'"),
        (lambda value: require_choice("n", value, ("a", "b", "c")), "'a', 'b' or 'c'"),
    ],
)
@pytest.mark.parametrize("value", [-1, 0, "x", None, np.nan, np.inf, [True], np.zeros(3)])
def test_what_is_allowed_and_what_was_given_is_said(check, allowed, value):
    with pytest.raises(MiniAlexError) as caught:
        check(value)
    given = "an array of float64 and shape (3,)" if isinstance(value, np.ndarray) else repr(value)
    assert str(caught.value) == f"n must be {allowed}, not {given}"


@pytest.mark.parametrize("bounds", ["[]", "[)", "(]", "()"])
def test_the_ends_of_an_interval_belong_to_it_or_not(bounds):
    for high in (3.0, np.inf):
        for value, belongs in ((0, bounds[0] == "["), (high, bounds[1] == "]"), (2, True), (np.nan, False)):
            assert is_within(value, 0, high, bounds) is belongs


def test_a_bool_is_no_number():
    for check in (require_int, require_number):
        with pytest.raises(MiniAlexError, match=r"n must be .*, not True"):
            check("n", True, 0, 2)


def test_numbers_become_those_of_python():
    for value in (require_int("n", np.uint64(MAX_SEED), 0, MAX_SEED), require_int("n", np.int8(3), 3, 3)):
        assert type(value) is int
    for value in (np.float32(0.5), 1, 10**30):
        number = require_number("n", value, 0, 1e31)
        assert (type(number), number) == (float, float(value))
    assert require_share("n", np.float32(0.25)) == 0.25
    assert require_flag("n", False) is require_flag("n", np.False_) is False
    assert require_choice("n", "b", ("a", "b")) == "b"


def test_the_caller_chooses_the_error_and_a_missing_package_says_how_to_get_it():
    with pytest.raises(DataError, match="n must be"):
        require_int("n", "1", 0, error=DataError)
    with pytest.raises(
        DataError, match=r"reading needs a package that is missing \(No module .*: pip install x"
    ):
        require_module("minialex_has_no_such_module", "reading", "pip install x", error=DataError)
    assert require_module("math", "counting", "a new Python").pi > 3
