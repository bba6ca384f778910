"""A tensor on another device, or in another dtype."""

from __future__ import annotations

from minialex.availability import is_device, require_device
from minialex.devices import copy_to_device
from minialex.operations.layout import astype
from minialex.tensor import Tensor


def to(x: Tensor, target=None, *, device: str | None = None, dtype=None) -> Tensor:
    """The tensor on another device or in another dtype; itself where nothing changes.

    Parameters
    ----------
    target : str, dtype or Tensor
        A device, a dtype, or a tensor that has both.
    device : str, optional
    dtype : dtype, optional
        Both by name, as PyTorch takes them.

    Returns
    -------
    Tensor
        In another float dtype, it is part of the graph. On another device, it is outside of it.

    Raises
    ------
    DeviceError
        If the device is not available; the message says why.
    TypeError
        If a tensor cannot hold the dtype.
    """
    if isinstance(target, Tensor):
        device, dtype = target.device, target.dtype
    elif isinstance(target, str) and is_device(target.partition(":")[0]):
        device = target.removesuffix(":0")
    elif target is not None:
        dtype = target
    result = x if dtype is None else astype(x, dtype)
    if device is None or require_device(device) == x.device:
        return result
    return Tensor(copy_to_device(result.data, device), x.requires_grad, device)
