"""Which devices can be used on this machine, and why the others cannot.

A device is known if kernels are registered for it (`minialex.kernels.devices`), or if it is ``meta``, which
needs none. Naming a device that cannot be used is an error that says why; nothing falls back to another one.
"""

from __future__ import annotations

from minialex import kernels
from minialex.checks import in_words
from minialex.devices import META
from minialex.errors import DeviceError

# Asked for each new tensor, and expensive to find out.
_found_usable: set[str] = set()


def why_not_usable(name: str) -> str | None:
    """Why a device cannot be used on this machine, in one line; None if it can."""
    if name == META:
        return None
    if name not in kernels.devices():
        return "no kernels are installed for it"
    if name == "cuda":
        from minialex.kernels.cuda import availability

        return availability.why_not_usable()
    if name == "cuda-host":
        return _why_no_host()
    return None


def _why_no_host() -> str | None:
    from minialex.kernels.cuda_host.compiler import find_compiler

    try:
        find_compiler()
    except DeviceError as error:
        return str(error)
    return None


def usable_devices() -> list[str]:
    """The devices that can be used on this machine."""
    return [name for name in kernels.devices() if why_not_usable(name) is None]


def is_device(name: str) -> bool:
    """Whether a name is that of a device, whether or not it can be used here."""
    return name == META or name in kernels.devices()


def require_device(name: str) -> str:
    """Return the name of a usable device; for any other, a `DeviceError` says why, and what is usable."""
    if not isinstance(name, str):
        raise DeviceError(f"device must be a name, such as 'cpu', not {in_words(name)}")
    if name not in _found_usable:
        reason = why_not_usable(name)
        if reason is not None:
            raise DeviceError(
                f"device={name!r} is not available: {reason}; available: {', '.join(usable_devices())}"
            )
        _found_usable.add(name)
    return name


def choose_device(name: str) -> tuple[str, str]:
    """Resolve ``"auto"``: a GPU if one can be used, otherwise the CPU.

    Returns
    -------
    (str, str)
        The device, and a sentence that says what was chosen and why.
    """
    if name != "auto":
        return require_device(name), f"device {name}"
    reason = why_not_usable("cuda")
    if reason is None:
        return "cuda", "device cuda (auto: a GPU can be used)"
    return "cpu", f"device cpu (auto: not cuda, as {reason})"
