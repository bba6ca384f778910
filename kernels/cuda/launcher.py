"""The checks of a launch, the same for every device.

CUDA copies what it is given into a kernel's parameters, byte by byte: a Python float lands as 8 bytes in a
``float``, an array of the wrong dtype or a transposed view is read as if it were right, and an ``int`` that
is too large wraps. `prepare` knows what the kernel declares, and refuses all of that before anything runs.

A kernel may rely on what is checked here:

- an array has the declared dtype, is C-contiguous, lives on the device, starts at a multiple of 16 bytes (so
  that a ``float4`` can be read from it), has at most 2**30 elements, and can be written unless it is const;
- an array that is written shares no memory with another one where either is declared ``__restrict__``;
- a scalar is a number that the declared type holds;
- there are at most 2**30 threads along an axis of the grid, so that an ``int`` holds their numbers, and the
  index of a grid-stride loop when it passes the end of an array.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from itertools import combinations
from typing import Protocol

import numpy as np

from minialex.errors import DeviceError, KernelError
from minialex.integers import ceil_div
from minialex.kernels.cuda.signature import REAL, Parameter, Signature
from minialex.kernels.cuda.source import SourceKernel
from minialex.kernels.cuda_host.limits import MAX_BLOCK, MAX_GRID, MAX_THREADS, three_axes

MAX_ELEMENTS = 2**30
MAX_BLOCKS = 65535  # along an axis with a grid-stride loop; the checker lowers it for small arrays
ALIGNMENT = 16


class Arrays(Protocol):
    """What the checks ask of a device about an array."""

    name: str

    def why_not_here(self, array) -> str | None: ...

    def address(self, array) -> int: ...

    def is_writeable(self, array) -> bool: ...


@dataclass(frozen=True)
class Launch:
    """A launch that has passed the checks.

    Attributes
    ----------
    grid, block : (int, int, int)
    args : tuple
        Arrays, and NumPy scalars of exactly the declared types.
    real : dtype
        What `real` stands for: float32 or float64.
    """

    grid: tuple[int, int, int]
    block: tuple[int, int, int]
    args: tuple
    real: np.dtype

    @property
    def is_empty(self) -> bool:
        """Whether there is no block to run, which CUDA would refuse as a launch."""
        return 0 in self.grid


def blocks_for(n: int, threads: int) -> int:
    """The blocks of `threads` threads for n elements: ceil(n / threads), at most `MAX_BLOCKS`.

    For kernels with a grid-stride loop, which take the rest in further rounds. 0 for no elements.
    """
    return min(ceil_div(n, threads), MAX_BLOCKS)


def prepare(kernel: SourceKernel, grid, block, args: tuple, device: Arrays) -> Launch:
    """Check a launch and bring its arguments into the form that the compiled kernel takes.

    Parameters
    ----------
    kernel : SourceKernel
    grid, block : int, or a tuple of one to three ints
    args : tuple
        For a pointer an array of the device; for an integer parameter a Python int; for `real`, ``float`` and
        ``double`` a Python float or int. A NumPy scalar has to have exactly the declared type.
    device : minialex.kernels.cuda.device.CudaDevice
        Where the arrays have to be.

    Returns
    -------
    Launch

    Raises
    ------
    KernelError
        If anything does not fit what the kernel declares; the message names the parameter.
    DeviceError
        If an array lives elsewhere.
    """
    signature = kernel.signature
    if len(args) != len(signature.parameters):
        raise KernelError(
            f"{signature.name} takes {len(signature.parameters)} arguments, not {len(args)}: {signature}"
        )
    grid, block = _check_sizes(signature, grid, block)
    given = list(zip(signature.parameters, args, strict=True))
    arrays = [(parameter, argument) for parameter, argument in given if parameter.pointer]
    for parameter, array in arrays:
        _check_array(signature.name, parameter, array, device)
    real = _real_type(signature.name, arrays)
    for parameter, array in arrays:
        if array.dtype != parameter.dtype(real):
            raise KernelError(
                f"{signature.name}: {parameter.name} is declared {parameter.declared(real)}; got an array of "
                f"{array.dtype}, not {parameter.dtype(real)}"
            )
    _check_overlaps(signature.name, arrays, device)
    converted = tuple(
        argument if parameter.pointer else _scalar(signature.name, parameter, argument, real)
        for parameter, argument in given
    )
    return Launch(grid, block, converted, real)


def _check_sizes(signature: Signature, grid, block) -> tuple[tuple, tuple]:
    """The grid and the block with three axes each."""
    grid = three_axes(f"{signature.name}: grid", grid, MAX_GRID, least=0)
    block = three_axes(f"{signature.name}: block", block, MAX_BLOCK, least=0)
    threads = math.prod(block)
    allowed = MAX_THREADS if signature.max_threads is None else signature.max_threads
    if not 1 <= threads <= allowed:
        reason = "" if signature.max_threads is None else f", as its __launch_bounds__({allowed}) says"
        raise KernelError(
            f"{signature.name}: block={block} has {threads} threads; it must have 1 to {allowed}{reason}"
        )
    for axis, blocks, size in zip("xyz", grid, block, strict=True):
        if blocks * size > MAX_ELEMENTS:
            raise KernelError(
                f"{signature.name}: grid={grid} of block={block} has {blocks * size} threads along {axis}, "
                "above 2**30, where an int index would overflow; let each thread do several elements"
            )
    return grid, block


def _check_array(name: str, parameter: Parameter, array, device: Arrays) -> None:
    """Check all of an array but its dtype."""
    where = f"{name}: {parameter.name}"
    declared = parameter.declared()
    if array is None:
        raise KernelError(
            f"{where} is declared {declared}; got None; pass an empty array, and an int that says so"
        )
    if not hasattr(array, "flags") or isinstance(array, np.generic):
        raise KernelError(f"{where} is declared {declared}; got {array!r}, which is not an array")
    elsewhere = device.why_not_here(array)
    if elsewhere is not None:
        raise DeviceError(f"{where} must be an array of device {device.name!r}, not {elsewhere}")
    if array.size > MAX_ELEMENTS:
        raise KernelError(
            f"{where} has {array.size} elements (shape {array.shape}), above 2**30, where an int index would "
            "overflow; split the batch"
        )
    if not array.flags.c_contiguous:
        raise KernelError(
            f"{where} is a view that is not C-contiguous (shape {array.shape}, strides {array.strides}); "
            "pass device.contiguous(array)"
        )
    if array.size and device.address(array) % ALIGNMENT:
        raise KernelError(
            f"{where} starts at an address that is not a multiple of {ALIGNMENT} bytes, as a view of another "
            "array may; pass device.contiguous(array)"
        )
    if not parameter.const and not device.is_writeable(array):
        raise KernelError(f"{where} is declared {declared}, to be written; got a read-only array")


def _real_type(name: str, arrays: list) -> np.dtype:
    """What `real` stands for: the dtype of the arrays that are declared with it; float32 if there is none."""
    found: dict[np.dtype, str] = {}
    for parameter, array in arrays:
        if parameter.type == REAL:
            if array.dtype not in (np.float32, np.float64):
                raise KernelError(
                    f"{name}: {parameter.name} is declared {parameter.declared()}; got an array of "
                    f"{array.dtype}, not float32 or float64"
                )
            found.setdefault(np.dtype(array.dtype), parameter.name)
    if len(found) > 1:
        listed = " and ".join(f"{parameter} of {dtype}" for dtype, parameter in found.items())
        raise KernelError(f"{name}: arrays declared real must have one dtype, not {listed}")
    return next(iter(found), np.dtype(np.float32))


def _check_overlaps(name: str, arrays: list, device: Arrays) -> None:
    """Refuse what the compiler was promised would not happen: the result is undefined otherwise."""
    for (first, a), (second, b) in combinations(arrays, 2):
        if (first.const and second.const) or not (first.restrict or second.restrict):
            continue
        start_a, start_b = device.address(a), device.address(b)
        if start_a < start_b + b.nbytes and start_b < start_a + a.nbytes:
            raise KernelError(
                f"{name}: {first.name} and {second.name} share memory, and one of them is written; as one is "
                "declared __restrict__, they must be separate arrays"
            )


def _scalar(name: str, parameter: Parameter, value, real: np.dtype) -> np.generic:
    """The NumPy scalar of the declared type."""
    dtype = parameter.dtype(real)

    def wrong(problem: str) -> KernelError:
        return KernelError(f"{name}: {parameter.name} is declared {parameter.declared(real)}; {problem}")

    if isinstance(value, np.generic):
        if value.dtype != dtype:
            raise wrong(
                f"got a scalar of {value.dtype}, not {dtype}; a Python number is converted, a NumPy scalar "
                "has to have the type"
            )
        return value
    wanted = (int, float) if dtype.kind == "f" else (int,)
    if isinstance(value, bool) or not isinstance(value, wanted):
        kinds = " or ".join(kind.__name__ for kind in wanted)
        raise wrong(f"got {value!r} of type {type(value).__name__}, not {kinds}")
    low, high = _range(dtype)
    is_finite = isinstance(value, int) or math.isfinite(value)
    if is_finite and not low <= value <= high:
        raise wrong(f"got {value!r}, which is out of its range: {low} to {high}")
    return dtype.type(value)


@functools.cache
def _range(dtype: np.dtype) -> tuple[int, int] | tuple[float, float]:
    """The lowest and the highest value, as Python's numbers: they compare exactly with an int of any size."""
    limits = np.finfo(dtype) if dtype.kind == "f" else np.iinfo(dtype)
    return dtype.type(limits.min).item(), dtype.type(limits.max).item()
