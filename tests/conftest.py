"""What all tests share: what they need of the machine, a guard against leaked global state, real data."""

import functools
import importlib.util
import shutil
from pathlib import Path

import pytest

import minialex as ma
from minialex import autograd, availability, config, kernels

pytest_plugins = ("tiers", "skips")


@functools.cache
def _missing(marker: str) -> str | None:
    """Why tests with a marker cannot run here; None if they can, or for a marker that asks for nothing."""
    if marker == "gpu":
        return availability.why_not_usable("cuda")
    if marker == "needs_gxx":
        return availability.why_not_usable("cuda-host")
    if marker == "needs_nvcc" and shutil.which("nvcc") is None:
        return "nvcc is not installed"
    if marker == "needs_cupy" and importlib.util.find_spec("cupy") is None:
        return "CuPy is not installed"
    return None


_NEEDED_BY = {"cuda": "gpu", "cuda-host": "needs_gxx"}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Mark what runs a kernel with what its device needs, and skip what cannot run here."""
    for item in items:
        arguments = item.callspec.params.values() if hasattr(item, "callspec") else ()
        for device in {
            each.device for each in arguments if isinstance(each, kernels.Kernel)
        } & _NEEDED_BY.keys():
            item.add_marker(_NEEDED_BY[device])
        for marker in {each.name for each in item.iter_markers()}:
            reason = _missing(marker)
            if reason is not None:
                item.add_marker(pytest.mark.skip(reason=reason))


def _numbers():
    """The settings that have a value where nobody sets one."""
    return {
        "threads": kernels.num_threads(),
        "workspace": kernels.workspace_limit(),
        "tuning": kernels.is_tuning(),
    }


def _global_state():
    return {
        "settings": {**config._of_process, **config._innermost.get().values, **_numbers()},
        "registered kernels": [entry.name for entry in kernels.list_kernels()],
        "recording": ma.is_grad_enabled(),
    }


@pytest.fixture(autouse=True)
def global_state():
    """Start every test from seed 0, and fail the one that leaves global state changed."""
    ma.manual_seed(0)
    before = _global_state()
    of_process, block = dict(config._of_process), config._innermost.get()
    yield
    after = _global_state()
    leaked = [name for name in before if before[name] != after[name]]
    # So that the tests that follow do not fail with it.
    config._of_process.clear()
    config._of_process.update(of_process)
    config._innermost.set(block)
    autograd._mode.recording = before["recording"]
    assert not leaked, f"the test leaves changed: {', '.join(leaked)}"


@pytest.fixture(scope="module")
def one_torch_thread():
    """Let PyTorch compute with one thread: threads of tests that run side by side wait for each other."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def mnist_folder() -> Path:
    """The folder of the four MNIST files, ../shared/data/mnist from the checkout; skips where absent."""
    folder = Path(__file__).parents[2] / "shared" / "data" / "mnist"
    if not folder.is_dir():
        pytest.skip(f"the MNIST files are not at {folder}")
    return folder
