"""`check_cuda` with its values from the device cuda: by a stand-in for CuPy, and on a GPU if there is one."""

import cupy_stand_in
import numpy as np
import pytest

import minialex as ma
from minialex.checking import CudaKernel, GradcheckError
from minialex.errors import DeviceError

pytestmark = pytest.mark.needs_gxx

SOURCE = """
extern "C" __global__ void cube(const T* x, const int* sign, T* y, int n)
{
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) y[i] = sign[i] * x[i] * x[i] * x[i];
}
extern "C" __global__ void cube_grad(const T* gy, const T* x, const int* sign, T* gx, int n)
{
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) gx[i] = FACTOR * sign[i] * gy[i] * x[i] * x[i];
}
"""
X = np.random.default_rng(2).standard_normal(40)
SIGN = np.resize(np.array([1, -1, 1], np.int32), 40)


def check(factor=3, backward="cube_grad"):
    return ma.check_cuda(
        SOURCE,
        "cube",
        backward,
        {"x": X, "sign": SIGN},
        {"y": 40},
        parameters={"n": 40},
        threads=40,
        real="T",
        flags=[f"-DFACTOR={factor}"],
        device="cuda",
    )


@pytest.fixture
def cupy(monkeypatch):
    yield cupy_stand_in.install(monkeypatch)
    cupy_stand_in.uninstall()


def test_values_come_from_the_device(cupy):
    report = check()
    assert "[cuda, blocks of 256, 96 and 32 threads]" in str(report)
    (module,) = cupy.RawModule.made
    assert module.options == ("-std=c++17", "-DFACTOR=3")
    assert "#define T double" in module.code
    launches = cupy_stand_in.RawKernel.launches
    assert {("cube", (1,), (256,)), ("cube_grad", (1,), (256,))} <= set(launches)
    # Each derivative takes at least two values of the function.
    assert len(launches) > 2 * 40


def test_a_wrong_gradient_is_caught(cupy):
    with pytest.raises(GradcheckError, match=r"constant factor of 1\.01"):
        check(3.03)


def test_a_grid_and_a_block_are_passed_as_tuples(cupy):
    check(backward=CudaKernel("cube_grad", grid=2, block=32))
    assert ("cube_grad", (2,), (32,)) in cupy_stand_in.RawKernel.launches


def test_without_a_gpu_it_is_refused():
    if ma.kernels.cuda.availability.why_not_usable() is None:
        pytest.skip("there is a GPU")
    with pytest.raises(DeviceError, match="device='cuda' is not available"):
        check()


@pytest.mark.gpu
def test_on_a_gpu():
    assert check().compared >= 40
    with pytest.raises(GradcheckError, match=r"constant factor of 1\.01"):
        check(3.03)
