"""Functions that are compiled at their first call: what they may use, and what is said of it."""

import subprocess
import sys

import numpy as np
import pytest

from minialex.kernels.runtime import threads
from minialex.kernels.runtime.compiled import compiled, on_compile

FACTOR = 3.0


@compiled
def scale(x):
    return x * FACTOR


@compiled
def sum_of_squares(x, start):
    """The sum of the squares of a vector."""
    total = start
    for value in x:
        total += value * value
    return total


@compiled.parallel
def scale_rows(row, worker, x, y):
    source, target = x[row], y[row]
    for j in range(len(source)):
        target[j] = scale(source[j])


def plus(term):
    """A function that keeps its number in a closure."""

    @compiled
    def add(x):
        return x + term

    return add


def scaled_by(function):
    """A loop over a compiled function in a closure."""

    @compiled.parallel
    def fill(item, worker, y):
        y[item] = function(float(item))

    return fill


def test_a_compiled_function_keeps_its_name_and_documentation():
    assert sum_of_squares.__name__ == "sum_of_squares"
    assert sum_of_squares.__doc__ == "The sum of the squares of a vector."


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_results_keep_the_dtype(dtype):
    x = np.arange(5, dtype=dtype)
    result = sum_of_squares(x, dtype(2))
    assert result == 32
    assert sum_of_squares.dispatcher.nopython_signatures[-1].return_type.name == np.dtype(dtype).name


def test_a_loop_runs_each_item_once():
    x = np.random.default_rng(0).standard_normal((50, 7))
    y = np.full_like(x, np.nan)
    scale_rows.run(50, x, y)
    np.testing.assert_array_equal(y, x * FACTOR)


def test_no_items_are_no_calls():
    y = np.full((2, 3), 7.0)
    scale_rows.run(0, np.zeros((2, 3)), y)
    assert (y == 7).all()


def test_read_only_arrays_are_no_other_types():
    x = np.ones(4)
    sum_of_squares(x, 0.0)
    before = len(sum_of_squares.dispatcher.signatures)
    x.flags.writeable = False
    assert sum_of_squares(x, 0.0) == 4
    assert len(sum_of_squares.dispatcher.signatures) == before
    assert not x.flags.writeable


def test_values_in_closures_are_told_apart():
    first, second = plus(1.0), plus(20.0)
    assert [first(0.5), second(0.5)] == [1.5, 20.5]
    ys = [np.zeros(3), np.zeros(3)]
    for function, y in zip((first, second), ys, strict=True):
        scaled_by(function).run(3, y)
    np.testing.assert_array_equal(ys, [[1, 2, 3], [20, 21, 22]])


def test_division_by_zero_is_that_of_ieee():
    @compiled
    def divide(a, b):
        return a / b

    assert divide(1.0, 0.0) == np.inf
    assert np.isnan(divide(0.0, 0.0))


def test_an_error_while_compiling_is_raised_and_the_next_call_works():
    @compiled.parallel
    def wrong(item, worker, x):
        x[item] = no_such_name  # noqa: F821

    with pytest.raises(Exception, match="no_such_name"):
        wrong.run(4, np.zeros(4))
    y = np.zeros((2, 3))
    scale_rows.run(2, np.ones((2, 3)), y)
    np.testing.assert_array_equal(y, FACTOR)


def test_a_loop_that_gives_something_or_takes_too_much_is_refused():
    @compiled.parallel
    def gives(item, worker, x):
        return x[item]

    @compiled.parallel
    def takes(item, worker, arrays):
        arrays[0][item] = 1.0

    x = np.zeros(3)
    with pytest.raises(Exception, match="the body of a compiled loop must return nothing"):
        gives.run(3, x)
    # An array is described in seven words of eight bytes.
    with pytest.raises(Exception, match=r"arguments of a compiled loop take 5600 bytes, more than \d+"):
        takes.run(3, (x,) * 100)
    takes.run(3, (x,) * 60)
    assert (x == 1.0).all()


def test_compilations_are_told_with_their_own_time():
    @compiled
    def inner(x):
        return x + 1

    @compiled
    def outer(x):
        return inner(x) * 2

    told = []
    with on_compile(lambda name, seconds: told.append((name.rpartition(".")[2], seconds))):
        outer(1.0)
        outer(2.0)
    outer(np.float32(1))  # nobody listens any more
    assert [name for name, _ in told] == ["outer", "inner", "inner", "outer"]
    assert [seconds is None for _, seconds in told] == [True, True, False, False]
    assert all(0 < seconds < 60 for _, seconds in told[2:])


def test_a_number_of_threads_changes_no_bit():
    x = np.random.default_rng(1).standard_normal((33, 65))
    results = []
    for number in (1, 2, 3, 8):
        threads.set_num_threads(number)
        try:
            results.append(np.zeros_like(x))
            scale_rows.run(len(x), x, results[-1])
        finally:
            threads.set_num_threads(None)
    for result in results[1:]:
        np.testing.assert_array_equal(result, results[0])


def test_nothing_is_compiled_and_numba_not_loaded_by_an_import():
    code = (
        "import sys, minialex, minialex.kernels.runtime.compiled\n"
        "print([name for name in ('numba', 'llvmlite', 'platformdirs') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
