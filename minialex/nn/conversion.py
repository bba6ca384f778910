"""Another device or dtype for all of a module, under the names of ``torch.nn.Module``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Self

import numpy as np

from minialex.availability import require_device
from minialex.devices import to_device_array
from minialex.tensor import FLOATS, Tensor


class Converted:
    """What moves and converts, for `Module`."""

    def modules(self) -> Iterator[Any]:
        raise NotImplementedError

    def to(self, target=None, *, device: str | None = None, dtype=None) -> Self:
        """Move every parameter and buffer to a device, or convert those of floats to a dtype, in place.

        Gradients are forgotten where something changes. Move or convert a network before its optimiser takes
        a step: the optimiser's arrays stay as they were made.

        Parameters
        ----------
        target : str, dtype or Tensor
            A device, float32 or float64, or a tensor that has both.
        device : str, optional
        dtype : dtype, optional
            Both by name, as PyTorch takes them.

        Raises
        ------
        DeviceError
            If the device is not available; the message says why.
        TypeError
            If the dtype is not float32 or float64.
        """
        if isinstance(target, Tensor):
            device, dtype = target.device, target.dtype
        elif isinstance(target, str) and not hasattr(np, target):
            device = target
        elif target is not None:
            dtype = target
        if dtype is not None and np.dtype(dtype) not in FLOATS:
            raise TypeError(f"dtype must be float32 or float64, not {np.dtype(dtype)}")
        require_device("cpu" if device is None else device)

        def changed(array, place):
            if dtype is not None and array.dtype.kind == "f":
                array = array.astype(dtype, copy=False)
            return to_device_array(array, place)

        for module in self.modules():
            for name, kept in (*module._parameters.items(), *module._buffers.items()):
                if isinstance(kept, Tensor):
                    place = device or kept.device
                    array = changed(kept.data, place)
                    if array is not kept.data or place != kept.device:
                        kept.data, kept.device, kept.grad = array, place, None
                        kept.version += 1
                elif kept is not None:
                    place = device or ("cpu" if isinstance(kept, np.ndarray) else "cuda")
                    module._buffers[name] = changed(kept, place)
        return self

    def astype(self, dtype) -> Self:
        """Convert every parameter and buffer of floats, in place, to float32 or float64."""
        return self.to(dtype=dtype)

    def float(self) -> Self:
        """Convert to float32."""
        return self.to(dtype=np.float32)

    def double(self) -> Self:
        """Convert to float64."""
        return self.to(dtype=np.float64)

    def half(self) -> Self:
        """Raise `TypeError`: there are no kernels for float16."""
        return self.to(dtype=np.float16)

    def cpu(self) -> Self:
        """Move to the processor."""
        return self.to(device="cpu")

    def cuda(self) -> Self:
        """Move to the GPU."""
        return self.to(device="cuda")
