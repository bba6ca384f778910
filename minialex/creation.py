"""Tensors from a shape, or from another library's array, under the names of ``torch``.

Floats are float32 unless another dtype is named; random numbers follow from `minialex.manual_seed`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minialex import random
from minialex.availability import require_device
from minialex.checks import in_words, is_int
from minialex.devices import is_array
from minialex.errors import ShapeError
from minialex.operations.layout import items_of
from minialex.tensor import Tensor, require_dtype, require_tensor
from minialex.tensor import tensor as copied

float32, float64 = np.dtype(np.float32), np.dtype(np.float64)
int32, int64, uint8, bool_ = np.dtype(np.int32), np.dtype(np.int64), np.dtype(np.uint8), np.dtype(np.bool_)


def _shape(name: str, given: tuple) -> tuple[int, ...]:
    shape = items_of(name, given)
    if min(shape, default=0) < 0:
        raise ShapeError(f"{name}: lengths must be 0 or more, not {shape}")
    return shape


def _tensor(array: np.ndarray, device: str, requires_grad: bool) -> Tensor:
    return Tensor(require_dtype(array), requires_grad, device)


def zeros(*shape, dtype: Any = float32, device: str = "cpu", requires_grad: bool = False) -> Tensor:
    """Zeros of a shape: ints one by one, or as a tuple."""
    return _tensor(np.zeros(_shape("zeros", shape), dtype), device, requires_grad)


def ones(*shape, dtype: Any = float32, device: str = "cpu", requires_grad: bool = False) -> Tensor:
    """Ones of a shape."""
    return _tensor(np.ones(_shape("ones", shape), dtype), device, requires_grad)


def empty(*shape, dtype: Any = float32, device: str = "cpu", requires_grad: bool = False) -> Tensor:
    """A tensor whose values are whatever the memory holds."""
    return _tensor(np.empty(_shape("empty", shape), dtype), device, requires_grad)


def full(shape, fill_value, dtype: Any = None, device: str = "cpu", requires_grad: bool = False) -> Tensor:
    """A shape filled with a number; its dtype is that of the number, float32 for a float."""
    shape = _shape("full", (shape,))
    values = np.full(shape, fill_value, dtype)
    if dtype is None and values.dtype == float64:
        values = values.astype(float32)
    return _tensor(values, device, requires_grad)


def arange(*bounds, dtype: Any = None, device: str = "cpu", requires_grad: bool = False) -> Tensor:
    """From start (0) to before end, by step (1): int64, or float32 if one of them is a float."""
    values = np.arange(*bounds, dtype=dtype)
    if dtype is None:
        values = values.astype(float32 if values.dtype.kind == "f" else int64)
    return _tensor(values, device, requires_grad)


def linspace(start, end, steps: int, *, dtype: Any = float32, device: str = "cpu") -> Tensor:
    """That many numbers at equal distances, both ends included."""
    if not is_int(steps, 0):
        raise ShapeError(f"linspace: steps must be an integer 0 or more, not {in_words(steps)}")
    return _tensor(np.linspace(start, end, steps, dtype=dtype), device, False)


def eye(n: int, m: int | None = None, *, dtype: Any = float32, device: str = "cpu") -> Tensor:
    """Ones on the diagonal of an (n, m) matrix, zeros elsewhere."""
    return _tensor(np.eye(n, m, dtype=dtype), device, False)


def rand(*shape, dtype: Any = float32, device: str = "cpu", requires_grad: bool = False) -> Tensor:
    """Uniform numbers from 0 to 1, without 1."""
    return _tensor(random.generator().random(_shape("rand", shape), np.dtype(dtype)), device, requires_grad)


def randn(*shape, dtype: Any = float32, device: str = "cpu", requires_grad: bool = False) -> Tensor:
    """Standard normal numbers."""
    values = random.generator().standard_normal(_shape("randn", shape), np.dtype(dtype))
    return _tensor(np.asarray(values), device, requires_grad)


def randint(*bounds_and_shape, dtype: Any = int64, device: str = "cpu") -> Tensor:
    """Integers from low (0) to before high: ``randint(high, shape)`` or ``randint(low, high, shape)``."""
    if len(bounds_and_shape) not in (2, 3):
        raise TypeError("randint takes (high, shape) or (low, high, shape)")
    *bounds, shape = bounds_and_shape
    low, high = bounds if len(bounds) == 2 else (0, *bounds)
    return _tensor(random.generator().integers(low, high, _shape("randint", (shape,)), dtype), device, False)


def randperm(n: int, *, device: str = "cpu") -> Tensor:
    """The integers from 0 to n - 1 in a random order."""
    return _tensor(random.generator().permutation(n).astype(int64), device, False)


def _like(make, x: Tensor, dtype, device, requires_grad: bool) -> Tensor:
    require_tensor(f"{make.__name__}_like", x)
    return make(x.shape, dtype=dtype or x.dtype, device=device or x.device, requires_grad=requires_grad)


def zeros_like(x: Tensor, *, dtype=None, device=None, requires_grad: bool = False) -> Tensor:
    """Zeros of the shape, dtype and device of x."""
    return _like(zeros, x, dtype, device, requires_grad)


def ones_like(x: Tensor, *, dtype=None, device=None, requires_grad: bool = False) -> Tensor:
    """Ones of the shape, dtype and device of x."""
    return _like(ones, x, dtype, device, requires_grad)


def empty_like(x: Tensor, *, dtype=None, device=None, requires_grad: bool = False) -> Tensor:
    """A tensor of the shape, dtype and device of x that is not filled."""
    return _like(empty, x, dtype, device, requires_grad)


def full_like(x: Tensor, fill_value, *, dtype=None, device=None, requires_grad: bool = False) -> Tensor:
    """A number in the shape, dtype and device of x."""
    require_tensor("full_like", x)
    return full(x.shape, fill_value, dtype or x.dtype, device or x.device, requires_grad)


def rand_like(x: Tensor, *, dtype=None, device=None, requires_grad: bool = False) -> Tensor:
    """Uniform numbers in the shape, dtype and device of x."""
    return _like(rand, x, dtype, device, requires_grad)


def randn_like(x: Tensor, *, dtype=None, device=None, requires_grad: bool = False) -> Tensor:
    """Standard normal numbers in the shape, dtype and device of x."""
    return _like(randn, x, dtype, device, requires_grad)


def from_numpy(array: np.ndarray) -> Tensor:
    """A tensor that shares an array's memory, in its dtype.

    Raises
    ------
    TypeError
        If it is no NumPy array, or of a dtype or byte order that a tensor does not hold.
    """
    if not isinstance(array, np.ndarray):
        raise TypeError(
            f"from_numpy takes a NumPy array, not {type(array).__name__}; there is minialex.tensor(data)"
        )
    if not array.dtype.isnative:
        raise TypeError(
            "from_numpy: the array must be in the machine's byte order; there is minialex.tensor(array)"
        )
    return Tensor(array)


def as_tensor(data, dtype: Any = None, device: str | None = None) -> Tensor:
    """The data as a tensor: itself, or sharing an array's memory, where nothing has to change."""
    if isinstance(data, Tensor):
        return data.to(dtype=dtype, device=device)
    device = require_device(device or "cpu")
    return Tensor(data, device=device, dtype=dtype) if is_array(data) else copied(data, dtype, device)
