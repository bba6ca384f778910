"""What a kernel takes, by what the compiler says, and whether it is given that.

A parameter takes exactly its type, as nothing is converted: CUDA copies the bytes it is given.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from minialex.integers import ceil_div


def _dtypes() -> dict[str, np.dtype | None]:
    scalars = {
        "bool": np.bool_,
        "char": np.byte,
        "signed char": np.byte,
        "unsigned char": np.ubyte,
        "short": np.short,
        "unsigned short": np.ushort,
        "int": np.intc,
        "unsigned int": np.uintc,
        "long": np.int_,
        "unsigned long": np.uint,
        "long long": np.longlong,
        "unsigned long long": np.ulonglong,
        "float": np.single,
        "double": np.double,
    }
    types = {name: np.dtype(scalar) for name, scalar in scalars.items()}
    vectors = {"float": "float", "double": "double"}
    for name in ("char", "short", "int", "long", "long long"):
        vectors[name.replace(" ", "")] = name
        vectors[f"u{name.replace(' ', '')}"] = f"unsigned {name}"
    for name, element in vectors.items():
        types.update({f"{name}{width}": types[element] for width in (1, 2, 3, 4)})
    return {**types, "::dim3": types["unsigned int"], "void": None}


DTYPES = _dtypes()
"""The dtype of a type, by its name in CUDA C++; of a vector such as float4 that of its elements."""

SCALAR, VECTOR, STRUCTURE = range(3)
"""The kinds of a parameter, or of what a pointer points to: Parameter::Kind in executor.h."""


class CParameter(ctypes.Structure):
    """Parameter of executor.h."""

    _fields_ = (
        ("type", ctypes.c_char_p),
        ("kind", ctypes.c_int),
        ("pointer", ctypes.c_int),
        ("constant", ctypes.c_int),
        ("bytes", ctypes.c_int),
    )


@dataclass(frozen=True)
class Parameter:
    """A parameter of a kernel, as the compiler deduced it.

    Attributes
    ----------
    name : str or None
    type : str
        Such as ``"const float*"``, ``"int"``, ``"float3"``, ``"Particle"``.
    kind : int
        `SCALAR`, `VECTOR` (float3 and its kin, dim3) or `STRUCTURE`: what it is, or what it points to.
    dtype : numpy.dtype or None
        Of the scalar, or of the array's elements; those of ``float4`` are float32. None for ``void*`` and
        structures.
    pointer, constant : bool
        Whether it takes an array, and whether the kernel may not write it.
    bytes : int
        Of the value, or of what the pointer points to.
    """

    name: str | None
    type: str
    kind: int
    dtype: Any  # a NumPy dtype, or None
    pointer: bool
    constant: bool
    bytes: int

    @classmethod
    def read(cls, name: str | None, entry: CParameter) -> Parameter:
        """From what a library says."""
        element = entry.type.decode()
        dtype = None if entry.kind == STRUCTURE else DTYPES[element]
        shown = element.removeprefix("::")
        declared = f"{'const ' if entry.constant else ''}{shown}{'*' if entry.pointer else ''}"
        pointer, constant = bool(entry.pointer), bool(entry.constant)
        return cls(name, declared, entry.kind, dtype, pointer, constant, entry.bytes)

    @property
    def slots(self) -> int:
        """How many times eight bytes its argument takes."""
        return 1 if self.pointer else ceil_div(self.bytes, 8)

    def __str__(self) -> str:
        return f"{self.type} {self.name}" if self.name else self.type

    def problem(self, value) -> str | None:
        """Why a value cannot be its argument; None if it can."""
        if self.pointer:
            return self._array_problem(value)
        if self.kind == VECTOR:
            return self._vector_problem(value)
        if self.kind == STRUCTURE:
            return self._structure_problem(value)
        if isinstance(value, np.generic) and value.dtype == self.dtype:
            return None
        return f"{_what_it_is(value)}; give np.{self.dtype.name}(...)"

    def _array_problem(self, value) -> str | None:
        if value is None:
            return None
        if not isinstance(value, np.ndarray):
            return f"it is a {type(value).__name__}; give a NumPy array"
        if self.kind == STRUCTURE:
            problem = self._layout_problem(value.dtype)
            if problem:
                return f"the array's {problem}"
        elif self.dtype is not None and value.dtype != self.dtype:
            return f"the array's dtype must be {self.dtype}, not {value.dtype}"
        if not value.flags.c_contiguous:
            return (
                f"the array of shape {value.shape} and strides {value.strides} is not C-contiguous; copy it"
            )
        if not self.constant and not value.flags.writeable:
            return "the array is read-only, and the kernel may write to it"
        return None

    def _vector_problem(self, value) -> str | None:
        width = self.bytes // self.dtype.itemsize
        if isinstance(value, np.ndarray) and value.dtype == self.dtype and value.shape == (width,):
            return None
        if isinstance(value, np.void) and value.dtype.itemsize == self.bytes:
            members = [(self.dtype, i * self.dtype.itemsize) for i in range(width)]
            if list(_numbers(value.dtype)) == members:
                return None
        return (
            f"{_what_it_is(value)}; give an array of shape ({width},) and dtype {self.dtype}, or a "
            f"structured scalar (np.void) of {width} {self.dtype}"
        )

    def _structure_problem(self, value) -> str | None:
        if not isinstance(value, np.void):
            return (
                f"{_what_it_is(value)}; give a structured scalar (np.void) of {self.bytes} bytes, such as "
                "np.array((1, 2.5), dtype)[()] with the structure's fields as dtype"
            )
        problem = self._layout_problem(value.dtype)
        return f"its {problem}" if problem else None

    def _layout_problem(self, dtype: np.dtype) -> str | None:
        """Why a dtype cannot be that of the structure, whose size is known but not its fields."""
        if dtype.kind != "V":
            return f"dtype must be a structured one of {self.bytes} bytes, not {dtype}"
        if dtype.itemsize != self.bytes:
            return (
                f"dtype {dtype} has {dtype.itemsize} bytes, and the structure has {self.bytes}; with "
                "np.dtype([...], align=True) fields lie where a compiler puts them"
            )
        for number, _ in _numbers(dtype):
            if not number.isnative or number.hasobject:
                return f"dtype {dtype} has fields that are not numbers in the processor's byte order"
        return None


def _what_it_is(value) -> str:
    if isinstance(value, np.ndarray):
        return f"it is a ndarray of shape {value.shape} and dtype {value.dtype}"
    if isinstance(value, np.generic):
        return f"its type is {value.dtype}"
    return f"it is a {type(value).__name__}"


def _numbers(dtype: np.dtype, offset: int = 0) -> Iterator[tuple[np.dtype, int]]:
    """The numbers that a dtype is made of, with the offset of each."""
    if dtype.subdtype is not None:
        element, shape = dtype.subdtype
        for i in range(int(np.prod(shape))):
            yield from _numbers(element, offset + i * element.itemsize)
    elif dtype.names is not None:
        fields: Any = dtype.fields
        for field, start in sorted((fields[name][:2] for name in dtype.names), key=lambda each: each[1]):
            yield from _numbers(field, offset + start)
    else:
        yield dtype, offset
