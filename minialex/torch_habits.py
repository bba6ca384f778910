"""Names that programs for PyTorch use beside tensors and layers: ``device``, ``cuda``, ``utils.data``.

With them the import lines are all that has to change: ``import minialex as torch``.
"""

from __future__ import annotations

import importlib
from types import SimpleNamespace

from minialex.availability import is_device, why_not_usable
from minialex.devices import META
from minialex.errors import DeviceError
from minialex.kernels import devices


class device(str):
    """The name of a device, as ``torch.device`` makes one: "cpu", "cuda", "cuda-host" or "meta".

    Parameters
    ----------
    name : str
        "cuda:0" is "cuda": the engine uses the current GPU only.

    Raises
    ------
    DeviceError
        If there is no such device, or another GPU is named.
    """

    __slots__ = ()

    def __new__(cls, name: str) -> device:
        kind, colon, index = str(name).partition(":")
        if not is_device(kind) or (colon and (kind, index) != ("cuda", "0")):
            raise DeviceError(
                f"device must be one of {', '.join((*devices(), META))} (or cuda:0), not {name!r}"
            )
        return super().__new__(cls, kind)

    @property
    def type(self) -> str:
        """The name itself."""
        return str(self)


def _is_available() -> bool:
    return why_not_usable("cuda") is None


cuda = SimpleNamespace(is_available=_is_available)
"""``torch.cuda.is_available()``: whether the device "cuda" can be used."""


class _Utils:
    """``torch.utils``: its ``data`` are `minialex.data`, imported when they are first asked for."""

    @property
    def data(self):
        return importlib.import_module("minialex.data")


utils = _Utils()
