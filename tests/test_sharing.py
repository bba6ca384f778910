"""Memory shared by DLPack: a write on one side is seen on the other, and what cannot be shared says why."""

import numpy as np
import pytest

import minialex as ma
from minialex.errors import MiniAlexError, SharingError

DTYPES = ["float32", "float64", "int32", "int64", "uint8", "bool"]


@pytest.mark.parametrize("dtype", DTYPES)
def test_numpy_sees_writes_and_is_seen(dtype):
    tensor = ma.zeros(2, 3, dtype=dtype)
    array = np.from_dlpack(tensor)
    assert (array.dtype, array.shape) == (np.dtype(dtype), (2, 3))
    array[0, 1] = 1
    assert tensor.numpy()[0, 1] == 1
    tensor.data[1, 2] = 1
    assert array[1, 2] == 1
    back = ma.from_dlpack(array.T)
    assert back.shape == (3, 2)
    back.data[0, 0] = 1
    assert array[0, 0] == 1
    assert (back.device, back.requires_grad, back.is_leaf) == ("cpu", False, True)


def test_views_and_tensors_without_axes_are_shared():
    tensor = ma.arange(12.0).reshape(3, 4).detach()
    column = np.from_dlpack(tensor[:, 1].detach())
    column[:] = 7
    assert tensor.numpy()[:, 1].tolist() == [7, 7, 7]
    one = ma.tensor(3.0)
    np.from_dlpack(one)[()] = 5
    assert one.item() == 5
    same = ma.from_dlpack(one)
    same.data[()] = 6
    assert one.item() == 6


def test_the_device_is_told():
    assert ma.ones(1).__dlpack_device__() == (1, 0)
    assert not hasattr(ma.ones(1), "__cuda_array_interface__")
    assert ma.ones(1, requires_grad=True).__dlpack_device__() == (1, 0)


@pytest.mark.parametrize("make", [lambda w: w, lambda w: w * 2])
def test_a_tensor_that_requires_a_gradient_asks_for_detach(make):
    tensor = make(ma.ones(2, requires_grad=True))
    for share in (np.from_dlpack, ma.from_dlpack):
        with pytest.raises(SharingError, match=r"requires a gradient cannot be shared; share its detach\(\)"):
            share(tensor)
    np.from_dlpack(tensor.detach())[0] = 9
    assert tensor.numpy()[0] == 9
    assert issubclass(SharingError, BufferError)
    assert issubclass(SharingError, MiniAlexError)


def test_what_is_read_only_stays_so():
    array = np.ones(3, np.float32)
    array.flags.writeable = False
    tensor = ma.from_dlpack(array)
    assert not tensor.data.flags.writeable
    assert not np.from_dlpack(tensor).flags.writeable
    assert (tensor + 1).tolist() == [2, 2, 2]
    with pytest.raises(BufferError, match="readonly"):
        tensor.__dlpack__()  # as a library asks that knows no mark


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ([1.0], r"from_dlpack takes an array with __dlpack__, not \[1.0\]"),
        (np.ones(2, np.float16), "not float16"),
        (np.ones(2, np.complex64), "not complex64"),
    ],
)
def test_what_no_tensor_holds_is_refused(wrong, message):
    with pytest.raises(TypeError, match=message):
        ma.from_dlpack(wrong)


class OnGpu:
    """What the tensor asks of an array of CuPy."""

    def __init__(self):
        self.asked = []
        self.__cuda_array_interface__ = {"version": 3}

    def __dlpack__(self, **options):
        self.asked.append(options)
        return "capsule"

    def __dlpack_device__(self):
        return 2, 1


def test_on_a_gpu_the_array_is_asked():
    array = OnGpu()
    tensor = ma.Tensor._made_by(None, 0, array, "cuda")
    assert tensor.__dlpack_device__() == (2, 1)
    assert tensor.__dlpack__(stream=7, max_version=None) == "capsule"
    assert array.asked == [{"stream": 7}]
    assert tensor.__cuda_array_interface__ == {"version": 3}
    tensor.requires_grad = True
    with pytest.raises(SharingError, match="detach"):
        _ = tensor.__cuda_array_interface__


def test_memory_of_other_devices_is_refused():
    class Elsewhere(OnGpu):
        def __dlpack_device__(self):
            return 8, 0

    with pytest.raises(SharingError, match="not of DLPack's kind 8"):
        ma.from_dlpack(Elsewhere())


def test_asarray_and_buffers_are_the_memory():
    tensor = ma.zeros(3, requires_grad=True)
    np.asarray(tensor)[1] = 4
    memoryview(tensor.numpy())[2] = 5.0
    assert tensor.tolist() == [0, 4, 5]
