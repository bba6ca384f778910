"""Arithmetic in compiled loops: arrays of many blocks, the ends of float32, and numbers that are none."""

import numpy as np
import pytest
from scipy.special import erf, expit

import minialex as ma
from minialex.kernels import find_kernel, select
from minialex.kernels.runtime.blocks import BLOCK, SMALL

EXACT = {
    "add": np.add,
    "subtract": np.subtract,
    "multiply": np.multiply,
    "divide": np.divide,
    "maximum": np.maximum,
    "minimum": np.minimum,
    "negative": np.negative,
    "absolute": np.absolute,
    "sqrt": np.sqrt,
}
ROUNDED = {
    "sigmoid": expit,
    "softplus": lambda x: np.logaddexp(0, x),
    "tanh": np.tanh,
    "exp": np.exp,
    "expm1": np.expm1,
    "log1p": np.log1p,
    "erf": erf,
}
PAIRS = ("add", "subtract", "multiply", "divide", "maximum", "minimum")
SPECIAL = np.array([0.0, -0.0, 1.0, -1.0, 1e-42, 3e38, -3e38, np.inf, -np.inf, np.nan], np.float32)


def operands(operation, size):
    generator = np.random.default_rng(11)
    count = 2 if operation in PAIRS else 1
    return [generator.standard_normal(size).astype(np.float32) for _ in range(count)]


def one_pass(operation):
    return find_kernel(f"{operation}.forward", algo="one-pass")


@pytest.mark.parametrize("operation", EXACT)
@pytest.mark.parametrize("size", [BLOCK + 1, SMALL, SMALL + 3 * BLOCK + 17])
def test_one_rounding_in_any_number_of_blocks(operation, size):
    arrays = operands(operation, size)
    with np.errstate(all="ignore"):
        expected = EXACT[operation](*arrays)
    np.testing.assert_array_equal(one_pass(operation)(*arrays), expected)


@pytest.mark.parametrize("operation", [*EXACT, *ROUNDED])
def test_numbers_that_are_none_and_the_ends_of_float32_are_as_in_numpy(operation):
    function = {**EXACT, **ROUNDED}[operation]
    arrays = np.meshgrid(SPECIAL, SPECIAL) if operation in PAIRS else [SPECIAL]
    with np.errstate(all="ignore"):
        expected = function(*arrays)
    actual = one_pass(operation)(*arrays)
    # The smallest results of those that take an exponential, below the normal numbers, are 0.
    np.testing.assert_allclose(actual, expected, rtol=1e-6 if operation in ROUNDED else 0, atol=1.2e-38)
    assert actual.dtype == np.float32
    # Which of 0 and -0 is the larger NumPy leaves to the processor.
    zeros = (expected == 0) & (operation not in ("maximum", "minimum"))
    np.testing.assert_array_equal(np.signbit(actual[zeros]), np.signbit(expected[zeros]))


@pytest.mark.parametrize("operation", ROUNDED)
def test_every_result_is_within_some_units_of_the_last_place(operation):
    powers = np.logspace(-30, 1.9, 20_001)
    x = np.concatenate([-powers, powers, np.linspace(-2, 2, 20_001), np.linspace(-5, 5, 20_001)])
    x = x[x > -1 if operation == "log1p" else slice(None)].astype(np.float32)
    exact = ROUNDED[operation](x.astype(np.float64))
    actual = one_pass(operation)(x)
    assert (np.abs(actual - exact) <= 4 * np.spacing(np.abs(exact).astype(np.float32))).all()


def test_exp_reaches_the_largest_number_and_no_further():
    x = np.linspace(88, 89, 100_001).astype(np.float32)
    with np.errstate(over="ignore"):
        expected = np.exp(x.astype(np.float64)).astype(np.float32)
    np.testing.assert_allclose(one_pass("exp")(x), expected, rtol=4e-7)
    assert 0 < np.isinf(expected).sum() < len(x)


def test_clamp_keeps_nan_and_takes_either_limit():
    x = np.tile(np.array([np.nan, -np.inf, -2, 0.25, 7, np.inf], np.float32), BLOCK)
    y = one_pass("clamp")(x, low=-1.0, high=6.0)
    np.testing.assert_array_equal(y, np.clip(x, np.float32(-1), np.float32(6)))


@pytest.mark.parametrize(
    ("shapes", "algorithm"),
    [
        (((16,), (16,)), "plain"),
        (((64, 64, 64), (64, 64, 64)), "one-pass"),
        (((64, 64, 64), (64, 1, 1)), "plain"),
    ],
)
def test_large_arrays_of_one_shape_are_shared_out(shapes, algorithm):
    arrays = [np.zeros(shape, np.float32) for shape in shapes]
    wide = [array.astype(np.float64) for array in arrays]
    with ma.using(threads=2):
        assert select("add.forward", "cpu", *arrays).algorithm == algorithm
        assert select("add.forward", "cpu", *wide).algorithm == "plain"
