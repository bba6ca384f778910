"""Kernels that work element by element: broadcasting over several blocks, the ends of the range, grids.

NumPy is the oracle. Both round basic arithmetic correctly, and have to give the same bits.
"""

import numpy as np
import pytest

from minialex.checking.testing.compare import assert_close, rounding
from minialex.errors import ShapeError
from minialex.kernels import find_kernel, list_kernels
from minialex.kernels.cuda.checking_device import few_blocks
from minialex.kernels.elementwise.cuda import _count_and_inner

pytestmark = pytest.mark.needs_gxx

SPECIAL = (np.nan, -np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, -1.0, 2.5, -1e30, 1e30)


def run(operation, *arrays, **parameters):
    (kernel,) = list_kernels(operation, "cuda-host")
    return kernel(*arrays, **parameters)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("operation", ["add", "subtract", "multiply", "divide", "maximum", "minimum"])
@pytest.mark.parametrize(
    "shape",
    [
        (),
        (1,),
        (1, 1, 1, 1),
        (7,),
        (11, 1),
        (11, 7),
        (5, 1, 1),
        (5, 11, 1),
        (5, 11, 7),
        (3, 1, 1, 1),
        (3, 5, 1, 1),
        (3, 1, 11, 7),
        (3, 1, 1, 7),
        (1, 5, 1, 7),
        (3, 1, 11, 1),
        (1, 5, 11, 7),
    ],
)
def test_either_operand_is_repeated_as_numpy_repeats_it(operation, shape, dtype):
    generator = np.random.default_rng(0)
    full = generator.standard_normal((3, 5, 11, 7)).astype(dtype)
    other = np.asarray(generator.standard_normal(shape) + 3, dtype)
    numpy = getattr(np, operation)
    for a, b in ((full, other), (other, full), (other, full[:1, :, :, :1]), (other, other)):
        y = run(f"{operation}.forward", a, b)
        np.testing.assert_array_equal(y, np.asarray(numpy(a, b)), strict=True)


def test_only_an_operand_that_is_repeated_between_two_axes_is_copied():
    shape = (3, 5, 11, 7)
    for operand, expected in (
        (shape, (1155, 1)),
        ((), (1, 1)),
        ((1, 1, 1), (1, 1)),
        ((5, 1, 1), (5, 77)),
        ((11, 7), (77, 1)),
        ((3, 1, 1, 1), (3, 385)),
        ((5, 11, 1), (55, 7)),
        ((3, 1, 11, 7), None),
        ((5, 1, 7), None),
    ):
        assert _count_and_inner(operand, shape) == expected, operand


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("operation", ["add", "subtract", "multiply", "divide", "maximum", "minimum"])
def test_nan_infinities_and_zeros_meet_as_in_numpy(operation, dtype):
    a, b = (side.ravel().astype(dtype) for side in np.meshgrid(SPECIAL, SPECIAL))
    with np.errstate(all="ignore"):
        expected = getattr(np, operation)(a, b)
    np.testing.assert_array_equal(run(f"{operation}.forward", a, b), expected)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("operation", ["negative", "absolute", "exp", "log", "sqrt", "tanh"])
def test_functions_at_the_ends_of_their_range(operation, dtype):
    x = np.array(SPECIAL, dtype)
    with np.errstate(all="ignore"):
        expected = getattr(np, operation)(x)
    y = run(f"{operation}.forward", x)
    finite = np.isfinite(expected)
    np.testing.assert_array_equal(y[~finite], expected[~finite])
    np.testing.assert_array_equal(np.signbit(y[finite]), np.signbit(expected[finite]))
    assert_close(y[finite], expected[finite], rounding(dtype))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("exponent", [2, 3, -1, 0.5, 0, 1, -0.75, 2.0])
def test_powers_of_negative_numbers_zeros_and_infinities(exponent, dtype):
    x = np.array([-3, -0.5, -0.0, 0.0, 0.5, 3, np.inf, -np.inf, np.nan], dtype)
    with np.errstate(all="ignore"):
        # A number as the exponent would be taken as an order to call sqrt, which differs at -inf.
        expected = np.power(x, np.full(x.shape, exponent, dtype))
    y = run("power.forward", x, exponent=exponent)
    finite = np.isfinite(expected)
    np.testing.assert_array_equal(y[~finite], expected[~finite])
    assert_close(y[finite], expected[finite], rounding(dtype))


ADAM = {
    "lr": 0.1,
    "beta1": 0.9,
    "beta2": 0.99,
    "eps": 1e-8,
    "weight_decay": 0.1,
    "decoupled": True,
    "step": 2,
}
SGD = {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.1, "nesterov": True}


@pytest.mark.parametrize(
    ("operation", "arrays", "parameters"),
    [
        ("relu.forward", 1, {}),
        ("relu.mask", 1, {}),
        ("multiply.forward", 2, {}),
        ("exp.forward", 1, {}),
        ("power.forward", 1, {"exponent": 3}),
        ("dropout.forward", 1, {"p": 0.3, "seed": 1, "offset": 2}),
        ("sgd.update", 3, SGD),
        ("adam.update", 4, ADAM),
    ],
)
def test_a_grid_with_too_few_blocks_goes_round_until_all_is_done(operation, arrays, parameters):
    # As it is with arrays of more than 65535 blocks, which take long to fill.
    values = np.random.default_rng(6).uniform(0.5, 2, (arrays, 20_011)).astype(np.float32)

    def outcome():
        copies = [array.copy() for array in values]
        result = run(operation, *copies, **parameters)
        return [*copies, *([] if result is None else [result])]

    expected = outcome()
    with few_blocks(3):
        actual = outcome()
    for mine, first in zip(actual, expected, strict=True):
        np.testing.assert_array_equal(mine, first)


def test_so_does_the_gradient_of_relu_whose_mask_has_a_word_for_each_warp():
    random = np.random.default_rng(8)
    y, g = random.standard_normal((2, 20_011)).astype(np.float32)
    with few_blocks(3):
        gx = run("relu.backward", g, run("relu.mask", y))
    np.testing.assert_array_equal(gx, np.where(y > 0, g, 0))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dropout_gives_the_bits_of_the_cpu_for_any_seed_and_offset(dtype):
    x = np.random.default_rng(7).standard_normal(9001).astype(dtype)
    words = (0, 1, 2**31, 2**32 - 1, 2**32, 2**32 + 5, 2**63, 2**64 - 1)
    for seed, offset in zip(words, reversed(words), strict=True):
        for p in (0.0, 0.1, 0.5, 0.9):
            parameters = {"p": p, "seed": seed, "offset": offset}
            y = run("dropout.forward", x, **parameters)
            expected = find_kernel("dropout.forward", algo="plain")(x, **parameters)
            assert y.tobytes() == expected.tobytes(), parameters


@pytest.mark.parametrize(
    ("operation", "shapes", "parameters"),
    [
        ("add.forward", [(2, 3), (2, 2)], {}),
        ("relu.backward", [(2, 32), (1, 3)], {}),
        ("softmax.backward", [(2, 3), (2, 2)], {"axis": 1}),
        ("log_softmax.backward", [(2, 3), (3,)], {"axis": 0}),
        ("cross_entropy.forward", [(2, 3), (2,)], {}),
        ("cross_entropy.backward", [(3,), (2, 3), (2, 3)], {}),
        ("cross_entropy.backward", [(2,), (2, 3), (2,)], {}),
        ("index_add.forward", [(2, 2)], {"index": [0, 1], "shape": (3, 3)}),
        ("sgd.update", [(2, 3), (2, 2), (2, 3)], SGD),
        ("sgd.update", [(2, 3), (2, 3), (2,)], SGD),
        ("adam.update", [(2, 3), (2, 3), (2, 3), (2, 2)], ADAM),
    ],
)
def test_an_array_that_is_too_small_is_refused_before_it_is_read(operation, shapes, parameters):
    arrays = [np.ones(shape, np.float32) for shape in shapes]
    with pytest.raises(ShapeError, match=r"\(2,"):
        run(operation, *arrays, **parameters)
    for array in arrays:
        np.testing.assert_array_equal(array, 1)
