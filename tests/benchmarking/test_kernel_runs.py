"""Kernels are validated before they are timed: a wrong one is reported and never timed."""

import numpy as np
import pytest

from minialex.benchmarking.kernel_runs import choose_kernels, run_workload
from minialex.benchmarking.limits import Limits, Roof
from minialex.benchmarking.timing import Turns
from minialex.errors import KernelError
from minialex.kernels import find_kernel, kernel, unregister
from minialex.kernels.contract.examples import Example, example_calls, normal

LIMITS = Limits(1, {"float32": 10.0, "float64": 5.0}, {"float32": 10.0, "float64": 5.0}, 1.0, 1.0)
RELU = Example("relu.forward", (normal((3, 5, 7)),), name="small")
CONVOLUTION = next(example_calls("conv2d.forward", "awkward"))


def quick(rounds, **options):
    """Turns without a pause, a call for each sample."""
    return Turns(rounds, **{"shortest": 0.0, "sleep": lambda _: None} | options)


def register(operation, workload, function, dtype="float32", **options):
    """Register a kernel for a moment; give what `run_workload` says of it, and how often it ran."""
    calls = []

    def counted(*arrays, **parameters):
        calls.append(arrays)
        return function(*arrays, **parameters)

    kernel(operation, algo="mine", **options)(counted)
    try:
        entry = find_kernel(operation, algo="mine")
        (result,) = run_workload(workload, [entry], dtype, quick(3))
    finally:
        unregister(operation, algo="mine")
    return result, len(calls)


def test_a_right_kernel_is_timed():
    result, calls = register("relu.forward", RELU, lambda x: np.maximum(x, 0), workspace=lambda x: 123)
    assert result.status == "timed"
    assert result.judge == "reference"
    assert (result.error.norm, result.error.worst) == (0.0, 0.0)
    assert result.workspace == 123
    assert result.moved == 2 * 4 * 3 * 5 * 7
    assert len(result.timing.samples) == 3
    assert calls == 1 + 2 + 2 * 3  # validation, warm-up, rounds, each with a call that is not counted


def poisoned(x):
    y = np.maximum(x, 0)
    y[1, 2, 3] = np.nan
    return y


@pytest.mark.parametrize(
    ("function", "says"),
    [
        (lambda x: np.maximum(x, 0) * np.float32(1.001), "error 1.0e-03"),
        (poisoned, "NaN"),
        (lambda x: np.maximum(x, 0).astype(np.float64), "float64"),
        (lambda x: np.maximum(x, 0)[:2], r"(2, 5, 7)"),
        (lambda x: (np.maximum(x, 0), x), "2 results"),
        (lambda x: np.maximum(x, 0, out=x), "changes its argument 0"),
    ],
)
def test_a_wrong_kernel_is_not_timed(function, says):
    result, calls = register("relu.forward", RELU, function)
    assert result.status == "wrong"
    assert says in result.reason
    assert result.timing is None
    assert calls == 1


def test_one_wrong_index_of_max_pooling():
    workload = next(example_calls("max_pool2d.forward", "awkward"))

    def shifted(x, **window):
        y, index = find_kernel("max_pool2d.forward", algo="plain")(x, **window)
        index[0, 0, 0, 0] += 1
        return y, index

    result, _ = register("max_pool2d.forward", workload, shifted)
    assert result.status == "wrong"
    assert result.reason.startswith("1 of ")


def test_an_update_that_is_wrong_only_in_the_velocity():
    parameters = {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.01, "nesterov": False}
    workload = Example("sgd.update", (normal((4, 3)),) * 3, parameters, changes=(0, 2), name="small")

    def update(parameter, gradient, velocity, **options):
        find_kernel("sgd.update", algo="plain")(parameter, gradient, velocity, **options)
        velocity += np.float32(0.01)

    assert register("sgd.update", workload, update)[0].status == "wrong"


def test_a_kernel_that_raises_or_refuses():
    def fails(x):
        raise ZeroDivisionError("by zero")

    result, _ = register("relu.forward", RELU, fails)
    assert (result.status, result.reason) == ("failed", "ZeroDivisionError: by zero")
    result, calls = register("relu.forward", RELU, fails, supports=lambda x: "not on Mondays")
    assert (result.status, result.reason, calls) == ("refused", "not on Mondays", 0)


def test_float64_is_held_to_float64():
    def in_float32(x):
        return np.maximum(x.astype(np.float32) * np.float32(1 / 3), 0).astype(np.float64) * 3

    assert register("relu.forward", RELU, in_float32, "float64")[0].status == "wrong"


def test_the_rates_of_a_row():
    def convolve(x, weight, bias, **window):
        return find_kernel("conv2d.forward", algo="im2col")(x, weight, bias, **window)

    result, _ = register("conv2d.forward", CONVOLUTION, convolve)
    row = result.to_dict(LIMITS, "float32")
    # (2, 3, 7, 6) by (4, 3, 3, 2) with one row and one column of padding: y is (2, 4, 6, 6).
    assert row["operations"] == 2 * (2 * 4 * 6 * 6) * (3 * 3 * 2)
    assert row["moved_bytes"] == 4 * (2 * 3 * 7 * 6 + 4 * 3 * 3 * 2 + 4 + 2 * 4 * 6 * 6)
    seconds = row["timing"]["median"]
    assert row["gflops"] == pytest.approx(row["operations"] / seconds / 1e9)
    assert row["gb_per_s"] == pytest.approx(row["moved_bytes"] / seconds / 1e9)
    # At 10 GFLOP/s and 1 GB/s the memory is the lower roof.
    assert row["share_of_limit"] == pytest.approx(row["moved_bytes"] / 1e9 / seconds)


def test_the_limit_takes_its_turn(monkeypatch):
    """The clock says one second for the first call of the limit's loop, two for the second, and so on, and
    half a second for the kernel's.
    """
    calls = []

    def seconds(run, count):
        known = len(calls)
        run()
        return float(len(calls)) if len(calls) > known else 0.5

    monkeypatch.setattr(Limits, "roof", lambda *_: Roof(lambda: calls.append(1), 3.0))
    kernels = choose_kernels("relu.forward", ["plain"], False)
    turns = quick(3, warmup=1, shortest=0.02, measure=seconds)
    (result,) = run_workload(RELU, kernels, "float32", turns, LIMITS)
    # The first call warms up; the median of calls 2, 3 and 4 is 3 seconds, for a third of the work.
    assert result.timing.samples == (0.5, 0.5, 0.5)
    assert result.limit == 9.0
    assert result.to_dict(LIMITS, "float32")["share_of_limit"] == 18.0
    assert run_workload(RELU, kernels, "float32", quick(1))[0].limit is None


def test_a_large_call_is_judged_by_a_fast_kernel():
    large = Example("relu.forward", (normal((1000, 1000)),), name="large")
    kernels = choose_kernels("relu.forward", ["plain"], False)
    (result,) = run_workload(large, kernels, "float32", quick(1))
    assert (result.judge, result.status) == ("plain", "timed")


def test_choosing_kernels():
    names = [entry.algorithm for entry in choose_kernels("conv2d.forward", (), False)]
    assert "im2col" in names
    assert "reference" not in names
    assert "reference" in [entry.algorithm for entry in choose_kernels("conv2d.forward", (), True)]
    assert [e.algorithm for e in choose_kernels("conv2d.forward", ("im2col",), True)] == ["im2col"]
    with pytest.raises(KernelError, match="conv2d has no algorithm 'magic'"):
        choose_kernels("conv2d.forward", ("magic",), False)
