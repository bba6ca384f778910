"""How the tuned products move memory, where rows are aligned: whole sectors, and no bank conflicts."""

import numpy as np
import pytest

from minialex.kernels import find_kernel
from minialex.kernels.conv2d import cuda_packed
from minialex.kernels.cuda import gemm
from minialex.kernels.cuda.checking_device import CheckingDevice

pytestmark = pytest.mark.needs_gxx

_ALGORITHMS = {"matmul": "double-buffered", "linear": "double-buffered", "conv2d": "implicit_packed"}
_WINDOW = {"stride": (1, 1), "padding": ((1, 1), (1, 1)), "dilation": (1, 1), "groups": 2}
_X, _WEIGHT, _Y = (2, 16, 8, 8), (256, 8, 3, 3), (2, 256, 8, 8)

# Shapes of the arrays. Every matrix in memory has rows of whole vectors, and more than 64 rows and columns.
_ALIGNED = {
    "matmul.forward": (((128, 40), (40, 128)), {}),
    "linear.forward": (((128, 40), (128, 40), (128,)), {}),
    "linear.input_grad": (((128, 40), (40, 128)), {}),
    "linear.weight_grad": (((40, 128), (40, 128)), {}),
    "conv2d.forward": ((_X, _WEIGHT, (256,)), _WINDOW),
    "conv2d.input_grad": (
        (
            _X,
            (16, 128, 3, 3),
        ),
        {"input_size": (8, 8), **_WINDOW},
    ),
    "conv2d.weight_grad": ((_Y, _X), {"kernel_size": (3, 3), **_WINDOW}),
}


def _accesses(operation: str, shapes, parameters, size: str):
    """What each line of the product with tiles of that size moves."""
    random = np.random.default_rng(0)
    arrays = [random.standard_normal(shape, np.float32) for shape in shapes]
    device = CheckingDevice()
    entry = find_kernel(operation, algo=_ALGORITHMS[operation.split(".")[0]], device="cuda-host")
    device.call(entry, *arrays, **parameters)
    products = [launch for launch in device.launches if launch.kernel.endswith(f"_{size}")]
    assert len(products) == 1
    assert not any(launch.report.findings for launch in device.launches)
    return products[0].report.accesses


@pytest.fixture(params=["small", "large"])
def size(request, monkeypatch):
    """The tiles of 64 x 64, and those of 128 x 128, which are for products of more blocks."""
    monkeypatch.setattr(gemm, "ENOUGH_BLOCKS", 1 if request.param == "large" else 1000)
    monkeypatch.setattr(cuda_packed, "_BLOCKS", 2 if request.param == "large" else 1000)
    return request.param


@pytest.mark.parametrize("operation", _ALIGNED)
def test_aligned_operands_move_whole_sectors_without_bank_conflicts(operation, size):
    accesses = _accesses(operation, *_ALIGNED[operation], size)

    assert {access.space for access in accesses} == {"global", "shared"}
    assert [access for access in accesses if access.sectors != access.ideal_sectors] == []
    assert [access for access in accesses if access.bank_conflicts] == []
