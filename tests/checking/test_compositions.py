"""Functions without kernels of their own have rows in `minialex gradcheck`, which can fail."""

import numpy as np
import pytest

from minialex import functional, operations
from minialex.checking.kernels import compositions, suite
from minialex.checking.kernels.cases import make_cases, operations_with_cases
from minialex.checking.kernels.compositions import Composition
from minialex.kernels import list_kernels

NAMES = compositions.names()


def rows(name, **options):
    return list(suite.check_kernels(name, **options))


def test_every_public_function_has_a_row():
    """One of a kernel, or one of a composition; what moves numbers about is part of many."""
    roots = {entry.operation.partition(".")[0] for entry in list_kernels()}
    assert set(functional.__all__) - roots - set(NAMES) == {"flatten"}
    assert not roots & set(NAMES)
    assert set(NAMES) <= set(operations.__all__)
    assert set(NAMES) <= set(operations_with_cases())


@pytest.mark.parametrize("name", NAMES)
def test_it_passes_along_random_directions(name):
    for row in rows(name, quick=True):
        assert row.passed, row.error or row.unchecked
        assert (row.kernel, row.mode) == ("a composition", "directions")
        assert row.compared > 0


@pytest.mark.full
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("seed", [0, 1])
def test_it_passes_in_full(name, seed):
    first, second = rows(name, seed=seed)
    assert first.passed, first.error or first.unchecked
    assert second.passed, second.error or second.unchecked
    assert (first.order, second.order) == (1, 2)
    assert first.cases == second.cases == len(make_cases(name, seed))


def test_they_are_checked_where_no_kernel_is_asked_for():
    everything = [task.row.operation for task in suite.kernel_tasks()]
    assert everything.count("gelu") == 2
    for chosen in (("relu",), (None, "plain"), (None, None, "cpu")):
        assert "gelu" not in {task.row.operation for task in suite.kernel_tasks(*chosen)}
    assert suite.kernel_tasks("gelu", "plain") == suite.kernel_tasks("gelu", None, "cpu") == []


def test_a_wrong_one_is_caught_and_its_lines_reproduce_it(monkeypatch):
    def wrong(x):
        return x * x.sigmoid().detach()

    def draw(random):
        return (random.standard_normal((3, 4)),)

    monkeypatch.setattr(compositions, "COMPOSITIONS", [Composition("silu", "frozen", wrong, draw)])
    first, _ = rows("silu")
    assert not first.passed
    assert first.error.check == "values"
    assert "silu, frozen" in str(first.error)
    code = first.error.reproduce
    with pytest.raises(type(first.error)) as again:
        exec(code, {"np": np})
    assert again.value.check == "values"


def test_values_stay_away_from_joints():
    for name in ("relu6", "hardswish", "hardsigmoid", "leaky_relu"):
        for case in make_cases(name, 0):
            distance = min(np.abs(a - joint).min() for a in case.arrays for joint in (-3, 0, 3, 6))
            assert distance > 0.05, name
