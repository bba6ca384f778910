"""Drawn arrays: no two of an example are the same, they are what their names say, and they print as code."""

import math
import re

import numpy as np
import pytest
from hypothesis import Phase, find, given, settings
from hypothesis import strategies as st
from numpy.random import default_rng
from tiers import examples

import minialex as ma
from minialex.checking import constraints
from minialex.checking.testing import strategies, values
from minialex.checking.testing.strategies import (
    bounded_arrays,
    call,
    dependent_column_arrays,
    distinct_arrays,
    normal_arrays,
    positive_arrays,
    positive_definite_arrays,
    scaled_arrays,
    simplex_arrays,
    square_shapes,
    symmetric_arrays,
)
from minialex.errors import MiniAlexError

COLUMNS = {0: {2: 0.5}, 3: {1: 1.0, 2: -3.0}}
BY_NAME = {
    "normal": normal_arrays,
    "positive": positive_arrays,
    "distinct": distinct_arrays,
    "bounded": lambda shape, dtype=np.float64: bounded_arrays(shape, -2.0, 0.5, dtype),
    "scaled": lambda shape, dtype=np.float64: scaled_arrays(shape, None, dtype),
    "symmetric": symmetric_arrays,
    "positive definite": lambda shape, dtype=np.float64: positive_definite_arrays(shape, 50.0, dtype),
    "simplex": simplex_arrays,
    "dependent columns": lambda shape, dtype=np.float64: dependent_column_arrays(shape, COLUMNS, dtype),
}
every_strategy = pytest.mark.parametrize("name", BY_NAME)
smallest = settings(database=None, phases=[Phase.generate, Phase.shrink])
floats = st.sampled_from((np.float32, np.float64))


def shape_of(name: str) -> tuple[int, ...]:
    """A small shape that the strategy takes, with more elements than one."""
    return {"symmetric": (2, 2), "positive definite": (2, 2), "dependent columns": (1, 4)}.get(name, (2,))


# No two arrays of an example


@every_strategy
@given(st.data(), st.integers(2, 3), floats)
@settings(max_examples=examples(1000))
def test_arrays_of_one_example_are_never_the_same(name, data, count, dtype):
    """One hundred and more examples: seeds that are drawn by themselves are the same in every second."""
    arrays = [data.draw(BY_NAME[name](shape_of(name), dtype)) for _ in range(count)]
    for i, a in enumerate(arrays):
        assert a.dtype == dtype
        assert a.shape == shape_of(name)
        assert not any(np.array_equal(a, b) for b in arrays[:i])


@every_strategy
def test_the_smallest_example_holds_different_arrays(name):
    """Where all seeds have shrunk to 0."""
    one = BY_NAME[name](shape_of(name))
    a, b, c = find(st.tuples(one, one, one), lambda drawn: True, settings=smallest)
    assert not np.array_equal(a, b)
    assert not np.array_equal(b, c)
    assert not np.array_equal(a, c)


@given(normal_arrays((2, 2)), normal_arrays((2, 2)))
@settings(max_examples=examples(50))
def test_a_mistake_that_equal_inputs_hide_is_found_in_every_example(x, w):
    def swapped(u, x, w):
        return u @ x.T, w.T @ u

    with pytest.raises(ma.GradcheckError, match=r"the gradient of input \d is wrong"):
        ma.check_vjp(np.matmul, swapped, [x, w])


def test_arrays_of_lists_and_calls_differ():
    lists = st.lists(normal_arrays((2,)), min_size=3, max_size=3)
    calls = st.tuples(call("tanh.forward"), call("tanh.forward"))

    def filled(drawn):
        return all(each.arrays[0].size for each in drawn[1])

    in_list, (first, second) = find(st.tuples(lists, calls), filled, settings=smallest)
    assert len({a.flat[0] for a in (*in_list, *first.arrays, *second.arrays)}) == 5


def test_an_example_is_the_same_when_it_is_run_again():
    runs = []

    @settings(derandomize=True, database=None, max_examples=5, phases=[Phase.generate])
    @given(normal_arrays((2,)), st.lists(distinct_arrays((3,)), max_size=2), st.data())
    def draw(x, ys, data):
        runs[-1].append([x, *ys, data.draw(normal_arrays((2,)))])

    for _ in range(2):
        runs.append([])
        draw()
    first, second = runs
    assert len(first) == len(second) == 5
    for arrays, again in zip(first, second, strict=True):
        for a, b in zip(arrays, again, strict=True):
            np.testing.assert_array_equal(a, b)


def test_no_stream_is_one_that_tests_and_the_checker_use():
    """The checker draws upstream gradients from [seed, stream], and seed is 0 where nobody says otherwise."""
    generators = find(st.tuples(*[strategies.seeds()] * 4), lambda drawn: True, settings=smallest)
    drawn = {generator.integers(2**62) for generator in generators}
    assert len(drawn) == 4
    for seed in range(5):
        assert default_rng(seed).integers(2**62) not in drawn
        assert not drawn & {default_rng([seed, stream]).integers(2**62) for stream in range(5)}


# How they print


@every_strategy
def test_a_failing_example_prints_as_code_that_makes_it_again(name):
    shape = {"symmetric": (3, 3), "positive definite": (3, 3)}.get(name, (2, 4))
    failed = []

    @settings(database=None, derandomize=True, max_examples=5, phases=[Phase.generate])
    @given(normal_arrays(shape), BY_NAME[name](shape, np.float32))
    def fail(other, x):
        failed.append(x)
        raise AssertionError

    with pytest.raises(AssertionError) as caught:
        fail()
    (note,) = [note for note in caught.value.__notes__ if "fail(" in note]
    text = re.sub(r"#.*", "", note)
    called = {"default_rng": default_rng, **vars(values)}
    again = eval(text[text.index("fail(") :], {"fail": lambda other, x: x, **called})
    assert again.dtype == np.float32
    np.testing.assert_array_equal(again, failed[-1])


def test_a_drawn_scale_shrinks_to_one():
    x = find(scaled_arrays((100,)), lambda x: True, settings=smallest)
    assert 0.5 < x.std() < 2
    small = find(scaled_arrays((100,)), lambda x: np.abs(x).max() < 1e-5, settings=smallest)
    assert 1e-7 < small.std() < 1e-5


# What they hold


@given(st.data(), floats, st.sampled_from([(-1.0, 1.0), (0, 1e-3), (1e6, 2e6), (-5, -4)]))
@settings(max_examples=examples(60))
def test_bounded_arrays_lie_between_their_bounds(data, dtype, bounds):
    low, high = bounds
    x = data.draw(bounded_arrays(strategies.shapes(), low, high, dtype))
    assert isinstance(x, np.ndarray)
    margin = (high - low) / 20
    assert np.all((x > low + margin) & (x < high - margin))
    assert constraints.bounded(low, high).violation(x) is None


@pytest.mark.parametrize("decade", [-8, -3, 0, 5, 8])
def test_scales_of_every_decade_are_drawn(decade):
    def of_decade(x):
        return 10**decade / 2 < x.std() < 2 * 10**decade

    one = settings(max_examples=1000, phases=[Phase.generate], database=None)
    assert of_decade(find(scaled_arrays((200,)), of_decade, settings=one))


@given(scaled_arrays((500,), 3e-5, np.float32))
@settings(max_examples=examples(30))
def test_a_given_scale_is_that_of_the_values(x):
    assert 2e-5 < x.std() < 4e-5


@given(st.data(), floats)
@settings(max_examples=examples(60))
def test_symmetric_arrays_are_symmetric_to_the_last_bit(data, dtype):
    x = data.draw(symmetric_arrays(square_shapes(max_dims=4), dtype))
    np.testing.assert_array_equal(x, np.einsum("...ij->...ji", x))
    assert np.any(x < 0) or x.size < 12
    assert constraints.symmetric.violation(x) is None


@given(st.data(), floats, st.sampled_from([2, 30.0, 1e4]))
@settings(max_examples=examples(100))
def test_the_condition_of_positive_definite_arrays_is_bounded(data, dtype, condition):
    x = data.draw(positive_definite_arrays(square_shapes(max_side=6), condition, dtype))
    np.testing.assert_array_equal(x, np.einsum("...ij->...ji", x))
    for matrix in x.reshape(-1, *x.shape[-2:]):
        found = np.linalg.svd(matrix.astype(np.float64), compute_uv=False)
        assert np.linalg.eigvalsh(matrix).min() > 0
        assert found[0] <= condition * found[-1]
        # Apart by half a part of the range, the rounding of float32 aside: eigenvectors have derivatives.
        assert np.all(found[:-1] / found[1:] > condition ** (0.45 / len(matrix)))
    assert constraints.positive_definite.violation(x) is None


def test_the_condition_is_used():
    """That of large matrices comes near to what is allowed."""
    x = find(positive_definite_arrays((20, 20), 1e6), lambda x: True, settings=smallest)
    assert 1e5 < np.linalg.cond(x) <= 1e6


@pytest.mark.parametrize("shape", [(0, 0), (0, 2, 2), (3, 0, 0)])
def test_empty_matrices_are_drawn_where_they_are_asked_for(shape):
    for strategy in (symmetric_arrays, positive_definite_arrays):
        assert find(strategy(shape), lambda x: True, settings=smallest).shape == shape


@given(st.data(), floats)
@settings(max_examples=examples(60))
def test_simplex_arrays_add_up_to_one(data, dtype):
    x = data.draw(simplex_arrays(strategies.shapes(min_dims=1, min_side=1), dtype))
    assert np.all(x > 0)
    for line in x.reshape(-1, x.shape[-1]):
        assert math.isclose(math.fsum(line), 1, rel_tol=8 * float(np.finfo(dtype).eps))
    assert constraints.simplex.violation(x) is None


@given(st.data(), floats)
@settings(max_examples=examples(60))
def test_dependent_columns_are_what_was_asked_for(data, dtype):
    x = data.draw(dependent_column_arrays(st.sampled_from([(3, 4), (5, 4), (2, 3, 5)]), COLUMNS, dtype))
    exact = x.astype(np.float64)
    tolerance = 8 * float(np.finfo(dtype).eps) * np.abs(exact).max()
    np.testing.assert_allclose(exact[..., 0], exact[..., 2] / 2, rtol=0, atol=tolerance)
    np.testing.assert_allclose(exact[..., 3], exact[..., 1] - 3 * exact[..., 2], rtol=0, atol=tolerance)
    rank = np.linalg.matrix_rank(exact, tol=1e-4)
    assert np.all(rank == min(x.shape[-2], x.shape[-1] - len(COLUMNS)))
    assert constraints.dependent_columns(COLUMNS).violation(x) is None


@given(square_shapes(2, 4, 2, 3))
def test_square_shapes_end_in_equal_lengths(shape):
    assert 2 <= len(shape) <= 4
    assert 2 <= shape[-1] == shape[-2] <= 3


@pytest.mark.parametrize(
    ("shape", "wanted"), [((2, 2), (2, 2)), ((3, 4, 4), (3, 4, 4)), ((1, 2, 1, 1), (1, 2, 1, 1))]
)
def test_square_shapes_cover_matrices_and_batches(shape, wanted):
    one = settings(max_examples=2000, phases=[Phase.generate], database=None)
    assert find(square_shapes(max_dims=4), lambda drawn: drawn == wanted, settings=one) == shape


@pytest.mark.parametrize(
    ("strategy", "message"),
    [
        (bounded_arrays((2,), 1, 1), "low and high must be two finite numbers, .*, not 1 and 1"),
        (bounded_arrays((2,), 0, math.inf), "low and high must be two finite .*, not 0 and inf"),
        (
            bounded_arrays((9,), 1.0, 1.0 + 1e-9, np.float32),
            "must have values of float32 between",
        ),
        (scaled_arrays((2,), 0), "scale must be a number above 0, not 0"),
        (scaled_arrays((2,), math.nan), "scale must be .*, not nan"),
        (symmetric_arrays((2, 3)), r"shape must end in two equal lengths, .*, not \(2, 3\)"),
        (symmetric_arrays((2,)), r"shape must end in two equal lengths, .*, not \(2,\)"),
        (positive_definite_arrays((3, 2)), r"shape must end in two equal lengths, .*, not \(3, 2\)"),
        (positive_definite_arrays((2, 2), 1), "condition of .* must be a number from 2 to 1e.12, not 1"),
        (
            positive_definite_arrays((2, 2), 1e5, np.float32),
            "condition of matrices of float32 must be a number from 2 to 10000, not 100000.0",
        ),
        (simplex_arrays(()), r"shape must have a last axis with elements, not \(\)"),
        (simplex_arrays((3, 0)), r"shape must have a last axis with elements, not \(3, 0\)"),
        (
            dependent_column_arrays((3, 2), {1: {2: 1.0}}),
            r"shape must be that of matrices with .*1, 2.*, not \(3, 2\)",
        ),
        (
            dependent_column_arrays((3, 4), {1: {2: 1.0}, 2: {0: 1.0}}),
            "columns must be .* on none, not ",
        ),
        (dependent_column_arrays((3, 4), {1: {0: math.inf}}), "columns must be {column: .*, not .*"),
        (dependent_column_arrays((3, 4), {}), "columns must be .*, not {}"),
    ],
    ids=str,
)
def test_what_cannot_be_drawn_is_refused(strategy, message):
    with pytest.raises(MiniAlexError, match=message):
        find(strategy, lambda x: True, settings=smallest)
