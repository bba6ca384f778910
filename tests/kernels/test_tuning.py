"""The choice among kernels: by predicted time, and by measurement."""

import json
import time

import numpy as np
import pytest

from minialex.errors import KernelError
from minialex.kernels import (
    is_tuning,
    kernel,
    run,
    select,
    set_num_threads,
    set_tuning,
    unregister,
)
from minialex.kernels.contract import registry, tuning
from minialex.kernels.contract.cost import BYTES_PER_SECOND, OPERATIONS_PER_SECOND, Cost

X = np.ones((3, 4))


@pytest.fixture
def choice(tmp_path, monkeypatch):
    """Two equal candidates for an operation: the fast one is predicted to be slow. Yields what ran."""
    ran = []
    monkeypatch.setattr(tuning, "_measured", lambda: measured)
    measured = tuning._Measured(tmp_path / "tuning.json")

    @kernel("tuned.forward", algo="said-slow", rank=7, cost=lambda x: Cost(2e9, 0))
    def fast(x):
        ran.append("said-slow")
        return x + 1

    @kernel("tuned.forward", algo="said-fast", rank=7, cost=lambda x: Cost(1e9, 0))
    def slow(x):
        ran.append("said-fast")
        time.sleep(0.01)
        return x + 1

    @kernel("tuned.forward", algo="lower", rank=6)
    def lower(x):
        ran.append("lower")
        return x + 1

    try:
        yield ran
    finally:
        set_tuning(False)
        for algo in ("said-slow", "said-fast", "lower"):
            unregister("tuned.forward", algo=algo)


def test_predicted_time_is_that_of_operations_and_of_bytes():
    set_num_threads(3)
    try:
        cost = Cost(6 * OPERATIONS_PER_SECOND, 5 * BYTES_PER_SECOND)
        assert cost.seconds() == pytest.approx(6 / 2 + 5)
    finally:
        set_num_threads(None)


def test_by_default_the_prediction_chooses_among_equals(choice):
    assert not is_tuning()
    assert select("tuned.forward", "cpu", X).algorithm == "said-fast"


def test_tuning_takes_the_faster_and_measures_once(choice):
    set_tuning(True)
    assert is_tuning()
    np.testing.assert_array_equal(run("tuned.forward", "cpu", X), X + 1)
    assert choice[-1] == "said-slow"
    assert {"said-slow", "said-fast"} == set(choice)
    measured = len(choice)
    run("tuned.forward", "cpu", X)
    assert choice[measured:] == ["said-slow"]
    # Other shapes are another kind of call.
    run("tuned.forward", "cpu", X[:2])
    assert "said-fast" in choice[measured + 1 :]


def test_a_file_keeps_the_choice(choice, tmp_path, monkeypatch):
    set_tuning(True)
    run("tuned.forward", "cpu", X)
    choice.clear()
    again = tuning._Measured(tmp_path / "tuning.json")
    monkeypatch.setattr(tuning, "_measured", lambda: again)
    run("tuned.forward", "cpu", X)
    assert choice == ["said-slow"]


@pytest.mark.parametrize("content", ["", "{", "[]", '{"a": 1}', '{"a": {"b": -1.0}}', '{"a": {"b": "c"}}'])
def test_a_damaged_file_is_measured_anew(choice, tmp_path, monkeypatch, content):
    path = tmp_path / "damaged.json"
    path.write_text(content)
    damaged = tuning._Measured(path)
    monkeypatch.setattr(tuning, "_measured", lambda: damaged)
    set_tuning(True)
    run("tuned.forward", "cpu", X)
    assert set(choice) == {"said-slow", "said-fast"}
    ((times,),) = [list(json.loads(path.read_text()).values())]
    assert times["said-slow"] < times["said-fast"]


def test_the_environment_must_say_0_or_1(monkeypatch):
    monkeypatch.setenv("MINIALEX_TUNING", "yes")
    with pytest.raises(KernelError, match=r"MINIALEX_TUNING must be '0' or '1', not 'yes'"):
        tuning._from_environment()
    monkeypatch.setenv("MINIALEX_TUNING", "1")
    try:
        tuning._from_environment()
        assert is_tuning()
    finally:
        set_tuning(False)
    assert not is_tuning()


def test_a_kernel_refuses_what_it_does_not_support():
    x, weight = np.ones((2, 3)), np.ones((4, 3))
    with pytest.raises(KernelError, match=r"linear.forward\[cpu, blocked\].*float32 only, not float64"):
        registry.find_kernel("linear.forward", algo="blocked")(x, weight, None)
