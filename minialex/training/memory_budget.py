"""Whether a training step fits into memory, asked before the first one."""

from __future__ import annotations

from pathlib import Path

from minialex import control_groups
from minialex.devices import array_module
from minialex.errors import MiniAlexError
from minialex.models import Network
from minialex.models.memory import largest_batch, predict_step_memory


def available_memory() -> int:
    """The bytes that this process may still take: what the system has, or what its control group allows."""
    import psutil

    available = psutil.virtual_memory().available
    for folder in control_groups.groups():
        limit, used = _number(folder / "memory.max"), _number(folder / "memory.current")
        if limit is not None and used is not None:
            # Cached files count as used, and make room when it is needed.
            available = min(available, limit - used + _cached_files(folder))
    return max(available, 0)


def available_on(device: str) -> int:
    """The bytes that a device may still take: of its own memory for a GPU, else of the system's."""
    if device != "cuda":
        return available_memory()
    cupy = array_module(device)
    free, _ = cupy.cuda.runtime.memGetInfo()
    return free + cupy.get_default_memory_pool().free_bytes()


def require_memory(network: Network, batch: int, device: str = "cpu", optimizer_arrays: int = 2) -> int:
    """The bytes that a training step will take, if they are available.

    Parameters
    ----------
    network : Network
    batch : int
        Images.
    device : str
    optimizer_arrays : int
        How many arrays the optimiser keeps for each parameter: 2 for Adam.

    Raises
    ------
    MiniAlexError
        If they are not available; the message names the largest batch that would fit.
    """
    options = {"optimizer_arrays": optimizer_arrays, "device": device}
    needed = predict_step_memory(network, batch, **options)
    available = available_on(device)
    if needed <= available:
        return needed
    fitting = largest_batch(network, available, batch, **options)
    advice = (
        f"the largest batch that fits is {fitting}"
        if fitting
        else "not even a batch of one image fits; take a smaller model"
    )
    raise MiniAlexError(
        f"a training step of {network.name} with batch_size={batch} takes about {gigabytes(needed)}, and "
        f"{gigabytes(available)} are available: {advice}"
    )


def gigabytes(size: int) -> str:
    """A size in bytes for people to read."""
    return f"{size / 1e9:.2f} GB" if size >= 10**8 else f"{size / 1e6:.0f} MB"


def _cached_files(folder: Path) -> int:
    try:
        lines = (line.split() for line in (folder / "memory.stat").read_text().splitlines())
        return next(int(value) for name, value in lines if name == "inactive_file")
    except (OSError, ValueError, StopIteration):
        return 0


def _number(path: Path) -> int | None:
    """The number in a file; None where there is no file, or no limit."""
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None
