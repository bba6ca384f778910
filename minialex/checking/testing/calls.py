"""Calls of kernels, with their arrays: what examples become when they are filled.

A call prints as code, and is the same again when that is pasted, memory layouts included.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import InitVar, dataclass, field

import numpy as np

from minialex.kernels.contract.examples import Example, example_calls


@dataclass(frozen=True, repr=False)
class Call:
    """One call of a kernel.

    Attributes
    ----------
    operation : str
        Such as ``"conv2d.forward"``.
    arrays : tuple of array or None
        The positional arguments.
    parameters : dict
        The keyword arguments.
    memory : sequence of str, optional
        A memory layout to bring each array into, one of those that `layouts` draws: ``"Fortran"``,
        ``"strided, read-only"``. It is how an example that is pasted gets back the layouts it had.
    """

    operation: str
    arrays: tuple[np.ndarray | None, ...]
    parameters: dict = field(default_factory=dict)
    memory: InitVar[tuple[str, ...]] = ()

    def __post_init__(self, memory):
        if memory:
            arrays = zip(self.arrays, memory, strict=True)
            laid_out = tuple(None if a is None else arranged(a, how) for a, how in arrays)
            object.__setattr__(self, "arrays", laid_out)

    @classmethod
    def of(cls, example: Example, dtype, generator: np.random.Generator | int = 0) -> Call:
        """An example with its arrays."""
        return cls(example.operation, example.arrays(dtype, generator), example.parameters)

    def astype(self, dtype) -> Call:
        """The same call with its floats in another dtype. The arrays are new and C-contiguous."""
        arrays = (
            None if a is None else np.array(a, dtype if a.dtype.kind == "f" else a.dtype, order="C")
            for a in self.arrays
        )
        return Call(self.operation, tuple(arrays), self.parameters)

    def as_code(self, algorithm: str = "reference", device: str = "cpu") -> str:
        """Lines of Python that build the arrays again, each in its memory layout, and call a kernel."""
        arrays = "".join(f"\n        {_code(a)}," for a in self.arrays)
        place = f"algo={algorithm!r}, device={device!r}"
        return (
            "import numpy as np\n"
            "from minialex.kernels import find_kernel\n"
            "from minialex.checking.testing.calls import Call\n\n"
            f"call = Call(\n    {self.operation!r},\n    ({arrays}\n    ),\n"
            f"    {_code(self.parameters)},{self._memory_code(chr(10) + '    ')}\n)\n"
            f"result = find_kernel(call.operation, {place})(*call.arrays, **call.parameters)\n"
        )

    @property
    def elements(self) -> int:
        """The elements of the arguments."""
        return sum(a.size for a in self.arrays if a is not None)

    def __str__(self) -> str:
        shapes = ", ".join("None" if array is None else str(array.shape) for array in self.arrays)
        return f"{self.operation}({shapes})"

    def __repr__(self) -> str:
        if self.elements > _SMALL:
            arrays = ", ".join("None" if a is None else _describe(a) for a in self.arrays)
            return f"Call({self.operation!r}, ({arrays}), {self.parameters!r})"
        memory = self._memory_code(" ").rstrip(",")
        return f"Call({self.operation!r}, {_code(self.arrays)}, {_code(self.parameters)}" + (
            f",{memory})" if memory else ")"
        )

    def _repr_pretty_(self, printer, cycle: bool) -> None:
        # Hypothesis would print the fields of a data class, and leave out the memory layouts.
        printer.text(repr(self))

    def _memory_code(self, before: str) -> str:
        layouts = tuple("C" if a is None else _layout_of(a) for a in self.arrays)
        return f"{before}memory={layouts!r}," if set(layouts) - {"C"} else ""


def kernel_calls(operation: str, kind: str, dtype=np.float32, seed: int = 0) -> Iterator[Call]:
    """The calls of an operation, such as ``"conv2d.forward"``, of one kind of examples, such as ``"blocks"``.

    Raises
    ------
    KernelError
        If it has no examples.
    """
    generator = np.random.default_rng(seed)
    for example in example_calls(operation, kind):
        yield Call.of(example, dtype, generator)


# Memory layouts

READ_ONLY = ", read-only"


def arranged(array: np.ndarray, memory: str) -> np.ndarray:
    """A copy in a memory layout: C, Fortran, strided or backwards, with ", read-only" or without."""
    layout = memory.removesuffix(READ_ONLY)
    if layout not in ("C", "Fortran", "strided", "backwards"):
        raise ValueError(f"memory must be C, Fortran, strided or backwards[, read-only], not {memory!r}")
    if layout == "C" or array.ndim == 0:
        result = np.array(array, order="C")
    elif layout == "Fortran":
        result = np.array(array, order="F")
    else:
        filler = np.nan if array.dtype.kind == "f" else np.iinfo(array.dtype).max
        step = 2 if layout == "strided" else -2
        base = np.full([2 * n for n in array.shape], filler, array.dtype)
        result = base[(slice(None, None, step),) * array.ndim]
        result[...] = array
    result.flags.writeable = memory == layout
    return result


def _layout_of(array: np.ndarray) -> str:
    """The nearest of the layouts that `arranged` makes."""
    # Strides, not flags: NumPy calls a single element contiguous, whatever lies beside it.
    if not array.size or array.strides == np.empty(array.shape, array.dtype).strides:
        layout = "C"
    elif array.strides == np.empty(array.shape, array.dtype, order="F").strides:
        layout = "Fortran"
    else:
        layout = "backwards" if max(array.strides) < 0 else "strided"
    return layout + ("" if array.flags.writeable else READ_ONLY)


# Code that gives a value again. Up to this many elements it is printed; larger ones are described.
_SMALL = 100


def _describe(array: np.ndarray) -> str:
    return f"{array.dtype}{array.shape} {_layout_of(array)}"


def _code(value) -> str:
    """An expression for a value that calls or parameters hold, given NumPy as np."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name!r}: {_code(each)}" for name, each in value.items()) + "}"
    if isinstance(value, tuple):
        return "(" + ", ".join(map(_code, value)) + (",)" if len(value) == 1 else ")")
    if isinstance(value, float) and not math.isfinite(value):
        return f"np.{value}".replace("np.-", "-np.")
    if not isinstance(value, np.ndarray):
        return repr(value)
    if not value.size:
        return f"np.zeros({value.shape}, np.{value.dtype.name})"
    implied = np.array(value.tolist()).dtype == value.dtype
    return f"np.array({_elements(value)}{'' if implied else f', np.{value.dtype.name}'})"


def _elements(array: np.ndarray) -> str:
    """Nested lists, with as many digits as tell an element from its neighbours."""
    if array.ndim:
        return "[" + ", ".join(map(_elements, array)) + "]"
    text = str(array[()])
    return text if array.dtype.kind != "f" or np.isfinite(array) else f"np.{text.replace('-', '-np.')}"
