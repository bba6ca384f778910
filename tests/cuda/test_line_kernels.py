"""Sums, maxima, softmax and cross-entropy over lines that take several warps, blocks or launches to reduce.

The lines of the drawn shapes have four elements, which one thread or four of them add up.
"""

import numpy as np
import pytest

import minialex as ma
from minialex.checking.testing.compare import assert_close, rounding
from minialex.kernels import find_kernel, list_kernels
from minialex.kernels.cuda.lines import THREADS, line_block
from minialex.kernels.reduction.cuda import _passes

pytestmark = pytest.mark.needs_gxx

# Below, at and above the threads of a warp, two warps and a block, and the elements that each takes.
LENGTHS = (*range(1, 36), 63, 64, 65, 127, 128, 129, 255, 256, 257, 1000, 1023, 1025, 1029)


def run(operation, *arrays, **parameters):
    (kernel,) = list_kernels(operation, "cuda-host")
    return kernel(*arrays, **parameters)


def right(operation, *arrays, **parameters):
    """What NumPy's kernel gives in float64."""
    wide = (array.astype(np.float64) for array in arrays)
    return find_kernel(operation, algo="plain")(*wide, **parameters)


def integers(shape, dtype=np.float32):
    """Small integers, whose sums are exact in any order: a number left out or counted twice shows."""
    return np.random.default_rng(sum(shape)).integers(1, 10, shape).astype(dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("outer", [1, 3, 67])
def test_rows_of_any_length_are_summed_without_a_gap(dtype, outer):
    for length in LENGTHS:
        x = integers((outer, length), dtype)
        np.testing.assert_array_equal(run("sum.forward", x, axis=(1,), keepdims=False), x.sum(axis=1))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("outer", "inner"), [(1, 2), (1, 33), (5, 3), (2, 64)])
def test_columns_of_any_length_are_summed_without_a_gap(dtype, outer, inner):
    for length in LENGTHS:
        x = integers((outer, length, inner), dtype)
        np.testing.assert_array_equal(
            run("sum.forward", x, axis=(1,), keepdims=True), x.sum(1, keepdims=True)
        )


@pytest.mark.parametrize(
    ("shape", "axis", "launches"),
    [
        ((7, 5, 11, 13), (0, 2, 3), 2),  # as of a convolution's bias
        ((3, 4, 2, 5, 6), (1, 3), 2),
        ((3, 1, 4, 1, 5), (0, 1, 3, 4), 2),
        ((4, 5, 6), (), 1),
        ((1, 5, 1), (0, 2), 1),
        ((100_003,), (0,), 2),
        ((100_003, 3), (0,), 2),
        ((2, 50_021, 5), (0, 1), 2),
        ((2, 30_011, 2, 7), (0, 1, 3), 3),
    ],
)
def test_axes_are_joined_and_long_lines_cut_into_pieces(shape, axis, launches):
    x = integers(shape, np.float64)
    assert len(list(_passes(shape, axis))) == launches
    np.testing.assert_array_equal(run("sum.forward", x, axis=axis, keepdims=False), x.sum(axis=axis))
    x = np.random.default_rng(0).permutation(x.size).reshape(shape).astype(np.float64)
    np.testing.assert_array_equal(
        run("amax.forward", x, axis=axis, keepdims=True), x.max(axis, keepdims=True)
    )


@pytest.mark.parametrize("shape", [(1_000_003,), (1_000_003, 2)])
def test_a_sum_of_a_million_numbers_is_rounded_as_a_tree_and_not_as_a_chain(shape):
    # Numbers of one magnitude, all of which a large sum rounds in one direction.
    x = np.random.default_rng(1).uniform(0.1, 0.1001, shape).astype(np.float32)
    expected = x.sum(axis=0, dtype=np.float64, keepdims=True)
    chain = np.cumsum(x, axis=0, dtype=np.float32)[-1]
    assert np.abs(chain / expected - 1).min() > 1e-4, "a chain is exact enough here to pass the test below"
    total = run("sum.forward", x, axis=(0,), keepdims=True).astype(np.float64)
    assert_close(total, expected, 8 * np.finfo(np.float32).eps)


@pytest.mark.parametrize("inner", [1, 3])
def test_the_maximum_is_found_and_a_nan_wins_wherever_it_stands(inner):
    for length in (1, 2, 31, 33, 64, 257, 1029):
        for place in {0, length // 3, length // 2, length - 1}:
            x = np.full((2, length, inner), -np.inf, np.float32)
            x[1, place, -1] = -5
            y = run("amax.forward", x, axis=(1,), keepdims=False)
            np.testing.assert_array_equal(y, x.max(axis=1))
            x[1, place, -1] = np.nan
            y = run("amax.forward", x, axis=(1,), keepdims=False)
            np.testing.assert_array_equal(y, x.max(axis=1))


LINES = [
    ((5, 7), 1),
    ((9, 33), 1),
    ((3, 100), 1),
    ((2, 1000), 1),
    ((1, 1029), 1),
    ((7, 5), 0),
    ((100, 2), 0),
    ((1029, 3), 0),
    ((2, 33, 40), 1),
    ((3, 4, 5, 6), 1),
    ((70, 3, 2), 1),
]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("shape", "axis"), LINES)
def test_softmax_of_lines_of_any_length(shape, axis, dtype):
    generator = np.random.default_rng(2)
    # Steps of 1/16, far from 0: their exponentials are beyond the range unless the maximum is subtracted.
    x = (generator.integers(-64, 64, shape) / 16 + generator.choice([-2000, 2000])).astype(dtype)
    g = generator.standard_normal(shape).astype(dtype)
    for name in ("softmax", "log_softmax"):
        y = run(f"{name}.forward", x, axis=axis)
        assert y.dtype == dtype
        expected = right(f"{name}.forward", x, axis=axis)
        assert_close(y.astype(np.float64), expected, rounding(dtype))
        gx = run(f"{name}.backward", g, y, axis=axis).astype(np.float64)
        assert_close(gx, right(f"{name}.backward", g, expected, axis=axis), rounding(dtype))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(1, 1), (300, 3), (67, 10), (5, 33), (3, 1000), (2, 1029)])
def test_cross_entropy_of_rows_of_any_length(shape, dtype):
    generator = np.random.default_rng(3)
    x = (generator.integers(-64, 64, shape) / 16 + 1000).astype(dtype)
    target = (generator.integers(1, 9, shape) / 8).astype(dtype)
    g = generator.integers(-4, 5, shape[:1]).astype(dtype)
    loss = run("cross_entropy.forward", x, target)
    gx = run("cross_entropy.backward", g, x, target)
    assert_close(loss.astype(np.float64), right("cross_entropy.forward", x, target), rounding(dtype))
    assert_close(gx.astype(np.float64), right("cross_entropy.backward", g, x, target), rounding(dtype))


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_the_bits_do_not_depend_on_how_many_threads_run_the_blocks(threads):
    x = np.random.default_rng(4).standard_normal((33, 1000, 3)).astype(np.float32)
    calls = [
        ("sum.forward", (x,), {"axis": (0, 1, 2), "keepdims": False}),
        ("sum.forward", (x,), {"axis": (0, 2), "keepdims": False}),
        ("softmax.forward", (x,), {"axis": 1}),
        ("softmax.forward", (x.reshape(99, 1000),), {"axis": 1}),
        ("cross_entropy.forward", (x[0], np.abs(x[1])), {}),
        ("index_add.forward", (x[0],), {"index": np.arange(1000) % 7, "shape": (7, 3)}),
    ]
    expected = [run(name, *arrays, **parameters) for name, arrays, parameters in calls]
    with ma.using(threads=threads):
        for (name, arrays, parameters), one in zip(calls, expected, strict=True):
            assert run(name, *arrays, **parameters).tobytes() == one.tobytes(), name


@pytest.mark.parametrize("named", [1, 2, 40, 1029])
@pytest.mark.parametrize("width", [1, 5])
def test_an_element_that_is_named_often_collects_all_of_its_gradients(named, width):
    # Element 2 is named most, element 0 once, and element 4 never.
    rows = np.random.default_rng(5).permutation(np.repeat([0, 1, 2, 3], [1, 3, named, 2]))
    g = integers((len(rows), width))
    expected = np.zeros((5, width), np.float32)
    for row, gradient in zip(rows, g, strict=True):
        expected[row] += gradient
    y = run("index_add.forward", g, index=rows - 5, shape=(5, width))
    np.testing.assert_array_equal(y, expected)


def test_blocks_have_whole_warps_and_the_shape_that_the_header_asks_for():
    for length in (*LENGTHS, 10**6):
        for inner in (1, 2, 3, 31, 32, 33, 1000):
            kind, (across, down) = line_block(length, inner)
            assert across * down == THREADS
            assert kind == ("rows" if inner == 1 else "columns")
            assert across & (across - 1) == 0
            assert down & (down - 1) == 0
