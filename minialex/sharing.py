"""Tensors that share another library's memory, by DLPack (https://dmlc.github.io/dlpack/latest/)."""

from __future__ import annotations

from typing import Any

import numpy as np

from minialex.checks import in_words
from minialex.devices import array_module
from minialex.errors import SharingError
from minialex.tensor import Tensor

# The numbers of `DLDeviceType` in dlpack.h: memory that NumPy can read, and that CuPy can.
_CPU, _CUDA_HOST, _CUDA, _CUDA_MANAGED = 1, 3, 2, 13


def from_dlpack(array: Any) -> Tensor:
    """A tensor of the memory of another library's array: ``torch.from_dlpack``. Nothing is copied.

    What is written on one side is seen on the other. The other way round, ``numpy.from_dlpack``,
    ``torch.from_dlpack``, ``cupy.from_dlpack`` and ``jax.dlpack.from_dlpack`` take a tensor. Of a read-only
    array, as JAX's are, the tensor's array is read-only: operations read it, optimisers cannot write it.

    Parameters
    ----------
    array : object
        With `__dlpack__` and `__dlpack_device__`: an array of NumPy, CuPy or JAX, a tensor of PyTorch or of
        MiniAlex. Any shape; float32, float64, integers or bools.

    Returns
    -------
    Tensor
        On ``cpu`` or ``cuda``, where the memory is, outside of any graph.

    Raises
    ------
    TypeError
        If it is no such object, or of a dtype that a tensor does not hold.
    SharingError
        If its memory is on a device of another kind, or the other library cannot share it.
    DeviceError
        If it is on a GPU, and no GPU can be used here.
    """
    if not hasattr(array, "__dlpack__") or not hasattr(array, "__dlpack_device__"):
        raise TypeError(f"from_dlpack takes an array with __dlpack__, not {in_words(array)}")
    kind = int(array.__dlpack_device__()[0])
    if kind not in (_CPU, _CUDA_HOST, _CUDA, _CUDA_MANAGED):
        raise SharingError(
            f"from_dlpack takes memory of a processor or a CUDA device, not of DLPack's kind {kind}"
        )
    device = "cpu" if kind in (_CPU, _CUDA_HOST) else "cuda"
    library = np if device == "cpu" else _cupy()
    try:
        return Tensor(library.from_dlpack(array), device=device)
    except BufferError as error:
        if isinstance(error, SharingError):
            raise
        raise SharingError(f"the array cannot be shared: {error}") from None
    except RuntimeError as error:
        if "dtype" not in str(error):
            raise
        raise TypeError(
            f"a tensor holds float32, float64, integers or bools, not {getattr(array, 'dtype', error)}"
        ) from None


def _cupy():
    from minialex.availability import require_device

    require_device("cuda")
    return array_module("cuda")
