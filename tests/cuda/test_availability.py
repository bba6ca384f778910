"""What is said where the device ``cuda`` cannot be used: which of driver, CuPy, NVRTC and GPU is missing."""

import importlib.util
import json
import sys
from types import ModuleType, SimpleNamespace

import pytest

import minialex as ma
from minialex import availability, kernels
from minialex.errors import DeviceError
from minialex.kernels.cuda import availability as gpu_availability
from minialex.kernels.cuda.registration import cuda_device
from minialex.kernels.cuda_host import compiler

DRIVER = "no NVIDIA driver is installed"
CUPY = "CuPy is not installed"
NVRTC = "NVRTC, which compiles the kernels, is not found"


class CUDARuntimeError(RuntimeError):
    """As ``cupy.cuda.runtime.CUDARuntimeError``."""


def raises(error):
    def function():
        raise error

    return function


@pytest.fixture
def machine(monkeypatch):
    """Make a machine that has what is named."""

    def make(driver=True, cupy=True, nvrtc=True, gpus=1, broken=None):
        def load(name):
            if not driver:
                raise OSError(f"{name}: cannot open shared object file")

        monkeypatch.setattr(gpu_availability.ctypes, "CDLL", load)
        found = object() if cupy else None
        real = importlib.util.find_spec
        monkeypatch.setattr(
            gpu_availability.importlib.util, "find_spec", lambda name: found if name == "cupy" else real(name)
        )
        module, cuda = ModuleType("cupy"), ModuleType("cupy.cuda")
        missing = raises(RuntimeError("CuPy failed to load libnvrtc.so.13:\n OSError"))
        cuda.nvrtc = SimpleNamespace(getVersion=(lambda: (13, 0)) if nvrtc else missing)
        count = raises(gpus) if isinstance(gpus, Exception) else lambda: gpus
        cuda.runtime = SimpleNamespace(getDeviceCount=count, CUDARuntimeError=CUDARuntimeError)
        module.cuda, module.ndarray = cuda, type("ndarray", (), {})
        monkeypatch.setitem(sys.modules, "cupy", None if broken else module)
        monkeypatch.setitem(sys.modules, "cupy.cuda", cuda)
        monkeypatch.setattr(availability, "_found_usable", set())
        cuda_device.cache_clear()

    yield make
    cuda_device.cache_clear()


@pytest.mark.parametrize(
    ("has", "says", "says_not"),
    [
        ({"driver": False}, [DRIVER], [CUPY, NVRTC]),
        ({"cupy": False}, [CUPY, "pip install 'minialex[cuda]'"], [DRIVER, NVRTC]),
        (
            {"nvrtc": False},
            [NVRTC, "pip install", "CuPy failed to load libnvrtc.so.13: OSError"],
            [DRIVER, CUPY],
        ),
        ({"driver": False, "cupy": False}, [DRIVER, CUPY], [NVRTC]),
        ({"driver": False, "nvrtc": False}, [DRIVER, NVRTC], [CUPY]),
        ({"gpus": 0}, ["the driver finds no GPU"], [DRIVER, CUPY, NVRTC]),
        (
            {"gpus": CUDARuntimeError("cudaErrorInsufficientDriver: CUDA driver version is insufficient")},
            ["cannot use the driver", "cudaErrorInsufficientDriver"],
            [DRIVER, CUPY, NVRTC],
        ),
        ({"broken": True}, ["CuPy cannot be imported"], [DRIVER, CUPY, NVRTC]),
    ],
    ids=str,
)
def test_what_is_missing_is_named_and_nothing_else(machine, has, says, says_not):
    machine(**has)
    reason = gpu_availability.why_not_usable()
    assert "\n" not in reason
    for text in says:
        assert text in reason
    for text in says_not:
        assert text not in reason
    for use in (lambda: ma.tensor([1.0], device="cuda"), lambda: ma.tensor([1.0]).to("cuda")):
        with pytest.raises(DeviceError) as raised:
            use()
        assert str(raised.value).startswith(f"device='cuda' is not available: {reason}; available: cpu")
    with pytest.raises(DeviceError) as raised:
        kernels.run("relu.forward", "cuda", ma.tensor([1.0]).data)
    assert reason in str(raised.value)
    assert availability.choose_device("auto") == ("cpu", f"device cpu (auto: not cuda, as {reason})")


def test_a_machine_that_has_everything(machine):
    machine()
    assert gpu_availability.why_not_usable() is None
    assert availability.require_device("cuda") == "cuda"
    assert availability.choose_device("auto")[0] == "cuda"
    assert "cuda" in availability.usable_devices()


def test_a_machine_without_a_compiler_has_no_cuda_host(machine, monkeypatch):
    machine(cupy=False)
    monkeypatch.setenv("CXX", "no-such-compiler")
    compiler.find_compiler.cache_clear()
    try:
        assert availability.usable_devices() == ["cpu"]
        with pytest.raises(
            DeviceError, match=r"'cuda-host' is not available: .*no-such-compiler.*; available: cpu$"
        ):
            ma.tensor([1.0]).to("cuda-host")
    finally:
        monkeypatch.undo()
        compiler.find_compiler.cache_clear()


def test_an_unknown_device_is_named_with_those_that_can_be_used(machine):
    machine(driver=False, cupy=False)
    with pytest.raises(DeviceError, match="device='gpu' is not available: no kernels are installed for it"):
        availability.choose_device("gpu")


@pytest.mark.needs_cupy
def test_cupy_itself_says_what_it_lacks():
    if availability.why_not_usable("cuda") is None:
        pytest.skip("a GPU can be used here")
    assert json.dumps(gpu_availability.why_not_usable())  # a text, and no exception
