"""Whether a step fits: what is available, and what is said where it does not."""

from types import SimpleNamespace

import psutil
import pytest

import minialex as ma
from minialex import control_groups
from minialex.errors import MiniAlexError
from minialex.models.memory import predict_step_memory
from minialex.training import memory_budget


@pytest.fixture
def network():
    return ma.models.get_architecture("alexnet_mnist28_bn").build()


@pytest.fixture
def system(monkeypatch):
    """Set what the system has, with no control group around the process."""
    monkeypatch.setattr(control_groups, "groups", list)

    def has(available):
        monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=available))

    return has


def test_what_fits_is_told(network, system):
    needed = predict_step_memory(network, 64, optimizer_arrays=2)
    system(needed)
    assert memory_budget.require_memory(network, 64) == needed


def test_what_does_not_fit_is_refused_with_the_batch_that_does(network, system):
    system(predict_step_memory(network, 50, optimizer_arrays=2))
    with pytest.raises(MiniAlexError, match=r"batch_size=64 .*GB.*the largest batch that fits is 50$"):
        memory_budget.require_memory(network, 64)
    system(1000)
    with pytest.raises(MiniAlexError, match="not even a batch of one image"):
        memory_budget.require_memory(network, 64)


def test_the_limits_of_control_groups_count(tmp_path, monkeypatch):
    inner = tmp_path / "inner"
    inner.mkdir()
    monkeypatch.setattr(control_groups, "groups", lambda: [inner, tmp_path])
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=10_000))
    assert memory_budget.available_memory() == 10_000  # no files

    (inner / "memory.max").write_text("max\n")
    (inner / "memory.current").write_text("500\n")
    assert memory_budget.available_memory() == 10_000
    (tmp_path / "memory.max").write_text("4000\n")
    (tmp_path / "memory.current").write_text("1000\n")
    assert memory_budget.available_memory() == 3000
    (tmp_path / "memory.stat").write_text("anon 400\ninactive_file 250\n")
    assert memory_budget.available_memory() == 3250
    (inner / "memory.max").write_text("100\n")
    assert memory_budget.available_memory() == 0


def test_there_is_some_memory_here():
    assert 0 < memory_budget.available_memory() <= psutil.virtual_memory().total
