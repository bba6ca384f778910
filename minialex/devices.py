"""Devices: where a tensor's array lives and whose kernels work on it.

A device is known if kernels are registered for it (`minialex.kernels.devices`). An explicit device
that is not there is an error; nothing falls back to another one.
"""

from __future__ import annotations

import numpy as np

from minialex import kernels
from minialex.errors import DeviceError


def require_device(name: str) -> str:
    """Return the name of a device that is there; `DeviceError` says what is there otherwise."""
    available = kernels.devices()
    if name not in available:
        raise DeviceError(
            f"device={name!r} is not available: no kernels are installed for it; "
            f"available: {', '.join(available)}"
        )
    return name


def choose_device(name: str) -> tuple[str, str]:
    """Resolve ``"auto"``; return the device and a sentence that says what was chosen and why."""
    if name == "auto":
        return "cpu", "device cpu (auto: the only device with kernels here)"
    return require_device(name), f"device {name}"


def to_device_array(array, device: str) -> np.ndarray:
    """The array on a device; the same object if it is there already."""
    require_device(device)
    return np.asarray(array)
