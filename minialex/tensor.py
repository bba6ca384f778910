"""The tensor: an array, and where it came from."""

from __future__ import annotations

from copy import copy, deepcopy

import numpy as np

from minialex.devices import copy_to_device, is_array, require_device, to_device_array, to_numpy
from minialex.errors import DeviceError, GraphError

FLOATS = (np.dtype(np.float32), np.dtype(np.float64))


class Tensor:
    """An array that remembers the operation that made it, so that gradients can flow back.

    Parameters
    ----------
    data : array_like
        An array is taken as it is, without a copy and with its dtype. Numbers and lists become
        float32 if they hold floats.
    requires_grad : bool
        Whether `backward` shall leave the gradient of this tensor in `grad`.
    device : str
        Where the array lives.

    Attributes
    ----------
    data : array
        The values.
    grad : Tensor or None
        The gradient that `backward` has collected.
    requires_grad : bool
        True for a leaf that asked for it, and for whatever was computed from one.
    creator : Operation or None
        The operation that made the tensor; None for a leaf.
    version : int
        How often optimisers and loaded states have changed the values in place. Add 1 where you do: a
        backward that would then use other values than its forward had raises an error.
    """

    __slots__ = ("__weakref__", "creator", "data", "device", "grad", "index", "requires_grad", "version")
    # NumPy would otherwise spread a tensor over an object array in `array + tensor`.
    __array_ufunc__ = None

    def __init__(self, data, requires_grad: bool = False, device: str = "cpu", *, dtype=None):
        if isinstance(data, Tensor):
            raise TypeError("data is a Tensor already; use .detach() for one outside the graph")
        self.device = require_device(device)
        self.data = to_device_array(_as_array(data, dtype), device)
        if requires_grad and self.data.dtype not in FLOATS:
            raise GraphError(f"requires_grad needs float32 or float64 data; this is {self.data.dtype}")
        self.requires_grad = requires_grad
        self.grad: Tensor | None = None
        self.creator = None
        self.index = self.version = 0

    @classmethod
    def _made_by(cls, creator, index: int, data, device: str) -> Tensor:
        """Wrap result number `index` of an operation, or a constant if creator is None."""
        tensor = cls.__new__(Tensor)
        tensor.data, tensor.device = data, device
        tensor.creator, tensor.index = creator, index
        tensor.requires_grad, tensor.grad, tensor.version = creator is not None, None, 0
        return tensor

    # What it is

    @property
    def shape(self) -> tuple[int, ...]:
        return self.data.shape

    @property
    def dtype(self) -> np.dtype:
        return self.data.dtype

    @property
    def ndim(self) -> int:
        return self.data.ndim

    @property
    def size(self) -> int:
        return self.data.size

    @property
    def is_leaf(self) -> bool:
        return self.creator is None

    @property
    def T(self) -> Tensor:
        return self.transpose()

    def __len__(self) -> int:
        return len(self.data)

    def __repr__(self) -> str:
        values = np.array2string(self.numpy(), precision=4, separator=", ", threshold=20)
        notes = [f"shape={self.shape}", f"dtype={self.dtype}"]
        if self.device != "cpu":
            notes.append(f"device={self.device!r}")
        if self.creator is not None:
            notes.append(f"creator={type(self.creator).__name__}")
        elif self.requires_grad:
            notes.append("requires_grad=True")
        return f"{type(self).__name__}({values}, {', '.join(notes)})"

    def __bool__(self) -> bool:
        return bool(self.data)

    def __float__(self) -> float:
        return float(self.item())

    def item(self) -> float:
        """The only element, as a Python number."""
        return self.data.item()

    def numpy(self) -> np.ndarray:
        """The values as a NumPy array, which shares the tensor's memory on every device but ``cuda``."""
        return to_numpy(self.data)

    def detach(self) -> Tensor:
        """A tensor of the same memory that is not part of the graph."""
        return Tensor._made_by(None, 0, self.data, self.device)

    def __deepcopy__(self, memo: dict) -> Tensor:
        if self.creator is not None:
            raise GraphError(
                "a result cannot be deep-copied: its copy would lead to copies of the leaves, "
                "whose gradients nobody has; copy .detach() instead"
            )
        memo[id(self)] = copied = copy(self)
        copied.data, copied.grad = self.data.copy(), deepcopy(self.grad, memo)
        return copied

    def to(self, device: str) -> Tensor:
        """A copy of the tensor on another device, outside the graph; itself if it is there.

        Raises
        ------
        DeviceError
            If the device is not available; the message says why.
        """
        if require_device(device) == self.device:
            return self
        return Tensor(copy_to_device(self.data, device), self.requires_grad, device)

    # Gradients

    def backward(
        self, gradient=None, *, retain_graph: bool | None = None, create_graph: bool = False
    ) -> None:
        """Add to `grad` of every leaf the gradient of this tensor; see `minialex.autograd.backward`."""
        autograd.backward(self, gradient, retain_graph=retain_graph, create_graph=create_graph)

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        """Set whether this leaf collects its gradient."""
        if self.creator is not None:
            raise GraphError("requires_grad can be set on leaves only; detach() the tensor first")
        if requires_grad and self.dtype not in FLOATS:
            raise GraphError(f"requires_grad needs float32 or float64 data; this is {self.dtype}")
        self.requires_grad = requires_grad
        return self

    # Arithmetic: the other operand is a tensor, or a number that takes this tensor's dtype

    def __add__(self, other):
        return operations.add(self, other)

    def __sub__(self, other):
        return operations.subtract(self, other)

    def __rsub__(self, other):
        return operations.subtract(other, self)

    def __mul__(self, other):
        return operations.multiply(self, other)

    def __truediv__(self, other):
        return operations.divide(self, other)

    def __rtruediv__(self, other):
        return operations.divide(other, self)

    def __matmul__(self, other):
        return operations.matmul(self, other)

    def __neg__(self):
        return operations.negative(self)

    def __pow__(self, exponent):
        return operations.power(self, exponent)

    def __getitem__(self, index):
        return operations.getitem(self, index)

    __radd__ = __add__
    __rmul__ = __mul__

    def exp(self):
        return operations.exp(self)

    def log(self):
        return operations.log(self)

    def sqrt(self):
        return operations.sqrt(self)

    def tanh(self):
        return operations.tanh(self)

    def abs(self):
        return operations.absolute(self)

    def sum(self, axis=None, keepdims: bool = False):
        return operations.sum(self, axis, keepdims)

    def mean(self, axis=None, keepdims: bool = False):
        return operations.mean(self, axis, keepdims)

    def max(self, axis=None, keepdims: bool = False):
        return operations.amax(self, axis, keepdims)

    def reshape(self, *shape):
        return operations.reshape(self, *shape)

    def transpose(self, *axes):
        return operations.transpose(self, *axes)

    def expand(self, *shape):
        return operations.broadcast_to(self, *shape)


def tensor(data, dtype=None, device: str = "cpu", requires_grad: bool = False) -> Tensor:
    """A tensor with a copy of `data`, as ``torch.tensor`` makes one. Python floats become float32."""
    return Tensor(copy_to_device(_as_array(data, dtype), device), requires_grad, device)


def as_tensor(value, like: Tensor) -> Tensor:
    """Return a tensor as it is; make a constant of the dtype and device of `like` from a number.

    Raises
    ------
    TypeError
        If an operation between the two would have to cast silently: their dtypes differ.
    DeviceError
        If they live on different devices.
    """
    if not isinstance(value, Tensor):
        if is_array(value) and value.ndim and value.dtype != like.dtype:
            raise TypeError(
                f"an array of {value.dtype} meets a tensor of {like.dtype}; "
                f"convert it with .astype({like.dtype.name!r})"
            )
        array = value if is_array(value) else np.asarray(value)
        if array.dtype.kind not in "biuf":
            raise TypeError(f"{value!r} is not a number, an array of numbers or a tensor")
        converted = array.astype(like.dtype, copy=False)
        if like.dtype not in FLOATS and not (converted == array).all():
            raise TypeError(
                f"{value!r} meets a tensor of {like.dtype}, which cannot hold it; make that one of floats"
            )
        return Tensor._made_by(None, 0, to_device_array(converted, like.device), like.device)
    if value.dtype != like.dtype:
        raise TypeError(
            f"tensors of {value.dtype} and {like.dtype} meet; nothing is cast silently: "
            "make both of one dtype"
        )
    if value.device != like.device:
        raise DeviceError(f"tensors on {value.device!r} and {like.device!r} meet; move one with .to(device)")
    return value


def _as_array(data, dtype):
    if is_array(data) and not isinstance(data, np.ndarray):
        return data if dtype is None else data.astype(dtype, copy=False)
    if hasattr(data, "dtype"):
        return np.asarray(data, dtype=dtype)
    array = np.asarray(data, dtype=dtype)
    if array.dtype == object:
        raise TypeError("data holds something that is not a number, or rows of unequal length")
    return array.astype(np.float32) if dtype is None and array.dtype == np.float64 else array


from minialex import autograd, operations  # noqa: E402 - they need the class above
