"""JAX and MiniAlex share memory by DLPack, both ways.

JAX's arrays never change: what is shared from there is read-only here, and a write to a tensor is seen there.
On the processor JAX shares only memory whose address is a multiple of 64, and copies other memory.
"""

import numpy as np
import pytest

import minialex as ma

jax = pytest.importorskip("jax")
pytestmark = pytest.mark.full
jnp = jax.numpy

DTYPES = ["float32", "int32", "uint8", "bool"]


def at_a_multiple_of_64(shape, dtype):
    """Zeros that JAX can share."""
    count = int(np.prod(shape)) * np.dtype(dtype).itemsize
    memory = np.zeros(count + 64, np.uint8)
    start = -memory.ctypes.data % 64
    return memory[start : start + count].view(dtype).reshape(shape)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_write_to_a_tensor_is_seen_in_jax(dtype):
    ours = ma.Tensor(at_a_multiple_of_64((2, 3), dtype))
    theirs = jnp.from_dlpack(ours)
    assert (theirs.dtype, theirs.shape) == (np.dtype(dtype), (2, 3))
    assert theirs.unsafe_buffer_pointer() == ours.data.ctypes.data
    ours.data[0, 1] = 1
    assert theirs[0, 1] == 1
    assert np.asarray(theirs).sum() == 1


@pytest.mark.parametrize("dtype", DTYPES)
def test_an_array_of_jax_is_shared_and_read_only(dtype):
    values = np.random.default_rng(0).integers(0, 2, (2, 3)).astype(dtype)
    theirs = jnp.asarray(values)
    ours = ma.from_dlpack(theirs)
    assert ours.data.ctypes.data == theirs.unsafe_buffer_pointer()
    assert (ours.device, ours.dtype, ours.requires_grad) == ("cpu", np.dtype(dtype), False)
    np.testing.assert_array_equal(ours.numpy(), values)
    with pytest.raises(ValueError, match="read-only"):
        ours.data[0, 0] = 1


def test_there_and_back_is_the_same_memory():
    ours = ma.Tensor(at_a_multiple_of_64((4,), np.float32))
    back = ma.from_dlpack(jnp.from_dlpack(ours))
    ours.data[2] = 5
    assert back.tolist() == [0, 0, 5, 0]


def test_float64_is_shared_where_jax_has_it():
    with jax.enable_x64(True):
        ours = ma.Tensor(at_a_multiple_of_64((3,), np.float64))
        theirs = jnp.from_dlpack(ours)
        assert theirs.dtype == np.float64
        ours.data[1] = 2
        assert theirs.tolist() == [0, 2, 0]
        assert ma.from_dlpack(theirs).dtype == np.float64


def test_a_gradient_is_asked_to_be_left_behind():
    with pytest.raises(BufferError, match=r"share its detach\(\)"):
        jnp.from_dlpack(ma.ones(2, requires_grad=True))


def test_what_jax_computes_goes_into_a_network():
    x = jnp.linspace(-1.0, 1.0, 6).reshape(2, 3)
    np.testing.assert_allclose(
        ma.functional.relu(ma.from_dlpack(x)).numpy(), np.asarray(jax.nn.relu(x)), rtol=0, atol=0
    )
