"""The tensor: an array, and where it came from."""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy, deepcopy
from typing import Any

import numpy as np

from minialex.availability import require_device
from minialex.checks import in_words, is_int, require_flag
from minialex.devices import (
    META,
    array_of,
    copy_to_device,
    is_array,
    native,
    require_unmasked,
    to_device_array,
    to_numpy,
)
from minialex.errors import DeviceError, GraphError, SharingError
from minialex.reading import require_readable
from minialex.tensor_methods import Size, TensorMethods, functions

FLOATS = (np.dtype(np.float32), np.dtype(np.float64))


class Tensor(TensorMethods):
    """An array that remembers the operation that made it, so that gradients can flow back.

    A tensor holds float32, float64, integers or bools; an elementwise comparison (``t == 0``) gives one of
    bools, and ``&``, ``|``, ``^`` and ``~`` combine these. NumPy sees the values: ``np.asarray(t)`` is
    ``t.numpy()``, even if the tensor requires a gradient, and ``array @ t`` is the product, a tensor; see
    `minialex.numpy_functions`. Tensors are hashed by identity, not by value.

    Parameters
    ----------
    data : array_like
        An array is taken as it is, without a copy and with its dtype; one in the other byte order is
        converted. Numbers and lists become float32 if they hold floats.
    requires_grad : bool
        Whether `backward` leaves the gradient of this tensor in `grad`.
    device : str
        Where the array lives.

    Attributes
    ----------
    data : array
        The values.
    grad : Tensor or None
        The gradient that `backward` has accumulated.
    requires_grad : bool
        True for a leaf that asked for it, and for everything computed from one.
    creator : Operation or None
        The operation that made the tensor; None for a leaf.
    version : int
        How many times optimisers and loaded states have changed the values in place. Add 1 if you do: a
        backward that would use other values than its forward had then raises an error. A tensor, its views
        (``t.T``, ``t[1:]``, ``t.reshape(...)``) and ``t.detach()`` share the count.

    Raises
    ------
    TypeError
        If data has another dtype (float16, complex, longdouble, ...), or is not numbers.
    """

    __slots__ = (
        "__weakref__",
        "_changes",
        "_hooks",
        "creator",
        "data",
        "device",
        "grad",
        "index",
        "requires_grad",
    )
    # CuPy, too, leaves `array + tensor` to the tensor.
    __array_priority__ = 1000

    def __init__(self, data, requires_grad: bool = False, device: str = "cpu", *, dtype=None):
        if isinstance(data, Tensor):
            raise TypeError("data is a Tensor already; use .detach() for one outside the graph")
        self.device = require_device(device)
        self.data: Any = to_device_array(_as_array(data, dtype), device)
        self.requires_grad = require_flag("requires_grad", requires_grad, error=GraphError)
        if requires_grad and self.data.dtype not in FLOATS:
            raise GraphError(f"data must be float32 or float64 for requires_grad, not {self.data.dtype}")
        self.grad: Tensor | None = None
        self.creator: Any = None
        self.index = 0
        self._changes = [0]  # a list, because views share it

    @classmethod
    def _made_by(cls, creator, index: int, data, device: str) -> Tensor:
        """Wrap result `index` of an operation, or a constant if creator is None."""
        tensor = Tensor.__new__(Tensor)
        tensor.data, tensor.device = data, device
        tensor.creator, tensor.index = creator, index
        tensor.requires_grad, tensor.grad, tensor._changes = creator is not None, None, [0]
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
    def size(self) -> Size:
        return Size(self.data.size, self.data.shape)

    @property
    def version(self) -> int:
        return self._changes[0]

    @version.setter
    def version(self, version: int) -> None:
        self._changes[0] = version

    @property
    def hooks(self) -> dict:
        """What is called with the gradient of this leaf; see `minialex.gradient_hooks`."""
        try:
            return self._hooks
        except AttributeError:
            self._hooks: dict = {}
            return self._hooks

    @property
    def is_leaf(self) -> bool:
        return self.creator is None

    @property
    def T(self) -> Tensor:
        return self.transpose()

    def __len__(self) -> int:
        return len(self.data)

    def __iter__(self) -> Iterator[Tensor]:
        if not self.ndim:
            raise TypeError("a tensor without axes cannot be iterated over")
        return (self[i] for i in range(len(self)))

    def __contains__(self, value) -> bool:
        return bool((self == value).any()) if functions.is_operand(value) else False

    def __hash__(self) -> int:
        return object.__hash__(self)

    def __repr__(self) -> str:
        shown = None if self.device == META else self.numpy()
        values = "..." if shown is None else np.array2string(shown, precision=4, separator=", ", threshold=20)
        notes = [f"shape={self.shape}", f"dtype={self.dtype}"]
        if self.device != "cpu":
            notes.append(f"device={self.device!r}")
        if self.creator is not None:
            notes.append(f"creator={type(self.creator).__name__}")
        elif self.requires_grad:
            notes.append("requires_grad=True")
        return f"{type(self).__name__}({values}, {', '.join(notes)})"

    def __bool__(self) -> bool:
        if self.size != 1:
            raise ValueError(
                f"a tensor of shape {self.shape} is neither true nor false; take its .any() or .all()"
            )
        return bool(self.item())

    def __float__(self) -> float:
        return float(self.item())

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if spec else str(self)

    def __int__(self) -> int:
        return int(self.item())

    def item(self) -> float | int | bool:
        """The only element, as a Python number."""
        if self.size != 1:
            raise ValueError(f"a tensor of shape {self.shape} has {self.size} elements; item() is for one")
        return self.numpy().item()

    def tolist(self):
        """The values as nested lists of Python numbers, or a number if the tensor has no axes."""
        return self.numpy().tolist()

    def numpy(self) -> np.ndarray:
        """The values as a NumPy array, which shares the tensor's memory on every device but ``cuda``.

        ``memoryview(t.numpy())`` is the same memory for whatever takes a buffer.
        """
        require_readable()
        return to_numpy(self.data)

    def __array__(self, dtype=None, copy: bool | None = None) -> np.ndarray:
        if copy is False and not isinstance(self.data, np.ndarray):
            raise ValueError(f"NumPy cannot see a tensor on {self.device!r} without a copy")
        if copy is None:
            return np.asarray(self.numpy(), dtype)
        return np.array(self.numpy(), dtype, copy=copy)

    def __array_ufunc__(self, ufunc, method, *inputs, **options):
        return functions.call_ufunc(ufunc, method, inputs, options)

    def __array_function__(self, function, types, arguments, options):
        return functions.call_with_values(function, arguments, options)

    def __dlpack__(self, **options):
        """The memory for another library's ``from_dlpack``, as DLPack's protocol has it; nothing is copied.

        What is written there is seen here, and `version` does not count it. A read-only array goes with its
        mark to libraries that know one: NumPy's array is read-only too, PyTorch does not look at it and
        would write. Others get NumPy's ``BufferError``.

        Parameters
        ----------
        **options
            What the protocol names: stream, max_version, dl_device, copy.

        Raises
        ------
        SharingError
            If the tensor requires a gradient, of which the other library would know nothing.
        """
        require_readable()
        given = {name: value for name, value in options.items() if value is not None}
        return self._shareable().__dlpack__(**given)

    def __dlpack_device__(self) -> tuple[int, int]:
        """The kind and number of the device, as DLPack counts them: (1, 0) for the processor."""
        return self.data.__dlpack_device__()

    @property
    def __cuda_array_interface__(self) -> dict:
        """The memory on ``cuda`` for Numba, CuPy and PyTorch; other tensors have no such attribute."""
        if self.device != "cuda":
            raise AttributeError(f"a tensor on {self.device!r} has no __cuda_array_interface__")
        return self._shareable().__cuda_array_interface__

    def _shareable(self):
        if self.requires_grad:
            raise SharingError("a tensor that requires a gradient cannot be shared; share its detach()")
        return self.data

    def detach(self) -> Tensor:
        """A tensor with the same memory that is not part of the graph."""
        tensor = Tensor._made_by(None, 0, self.data, self.device)
        tensor._changes = self._changes
        return tensor

    def __deepcopy__(self, memo: dict) -> Tensor:
        require_readable()
        if self.creator is not None:
            raise GraphError(
                "a result cannot be deep-copied: its copy would lead to copies of the leaves, "
                "whose gradients nobody has; copy .detach() instead"
            )
        memo[id(self)] = copied = copy(self)
        copied.data, copied.grad = self.data.copy(), deepcopy(self.grad, memo)
        copied._changes, copied._hooks = [self.version], {}
        return copied

    # Gradients

    def backward(
        self, gradient=None, *, retain_graph: bool | None = None, create_graph: bool = False
    ) -> None:
        """Add to `grad` of every leaf the gradient of this tensor; see `minialex.autograd.backward`."""
        functions.backward(self, gradient, retain_graph=retain_graph, create_graph=create_graph)

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        """Set whether this leaf accumulates its gradient."""
        if self.creator is not None:
            raise GraphError("requires_grad can be set on leaves only; detach() the tensor first")
        requires_grad = require_flag("requires_grad", requires_grad, error=GraphError)
        if requires_grad and self.dtype not in FLOATS:
            raise GraphError(f"data must be float32 or float64 for requires_grad, not {self.dtype}")
        self.requires_grad = requires_grad
        return self


def tensor(data, dtype=None, device: str = "cpu", requires_grad: bool = False) -> Tensor:
    """A tensor with a copy of `data`, as ``torch.tensor`` makes one. Python floats become float32."""
    return Tensor(copy_to_device(_as_array(data, dtype), require_device(device)), requires_grad, device)


def as_tensor(value, like: Tensor) -> Tensor:
    """Return a tensor as it is; make a number a constant with the dtype and device of `like`.

    Raises
    ------
    TypeError
        If an operation between the two would need a silent cast: their dtypes differ, or integers cannot
        hold the number. If value is not a number, array or tensor.
    DeviceError
        If they are on different devices.
    """
    if not isinstance(like, Tensor) and not is_array(like):
        raise TypeError(
            f"one of the operands must be a tensor, not {type(like).__name__}; "
            "wrap an array with minialex.Tensor(array)"
        )
    if not isinstance(value, Tensor):
        array = native(value) if is_array(value) else array_of(value)
        if array.dtype.kind not in "biuf":
            raise TypeError(
                f"an operand must be a number, an array of numbers or a tensor, not {in_words(value)}"
            )
        if is_array(value) and array.ndim and array.dtype != like.dtype:
            raise TypeError(
                f"an array of {array.dtype} meets a tensor of {like.dtype}; "
                f"convert it with .astype({like.dtype.name!r})"
            )
        if like.dtype.kind == "f":
            converted = array.astype(like.dtype, copy=False)
        else:
            with np.errstate(invalid="ignore"):
                converted = array.astype(like.dtype, copy=False)
        if like.dtype.kind != "f" and not (converted == array).all():
            raise TypeError(
                f"{in_words(value)} meets a tensor of {like.dtype}, which cannot hold it; "
                "make that one of floats"
            )
        return Tensor._made_by(None, 0, to_device_array(converted, like.device), like.device)
    if value.dtype != like.dtype:
        raise TypeError(
            f"tensors of {value.dtype} and {like.dtype} meet; nothing is cast silently: "
            "make both of one dtype, by .float() or .double()"
        )
    if value.device != like.device:
        raise DeviceError(f"tensors on {value.device!r} and {like.device!r} meet; move one with .to(device)")
    return value


def require_tensor(name: str, x) -> None:
    """Raise an error unless x, the first argument of the named function, is a tensor."""
    if not isinstance(x, Tensor):
        raise TypeError(
            f"{name}: x must be a tensor, not {type(x).__name__}; wrap an array with minialex.Tensor(array)"
        )


def _as_array(data, dtype):
    """The values as an array of a dtype that a tensor holds, in the machine's byte order."""
    require_unmasked(data)
    if dtype is not None:
        dtype = _require_known(dtype)
    if isinstance(data, list | tuple) and any(isinstance(t, Tensor) and t.requires_grad for t in data):
        raise TypeError("data holds a tensor that requires a gradient, which would be lost; pass .detach()")
    if is_array(data) and not isinstance(data, np.ndarray):
        array = data if dtype is None else data.astype(dtype, copy=False)  # pyright: ignore[reportAttributeAccessIssue]
    else:
        array = array_of(data, dtype)
        if dtype is None and array.dtype == np.float64 and not hasattr(data, "dtype"):
            array = array.astype(np.float32)
    return require_dtype(array)


def _require_known(dtype) -> np.dtype:
    try:
        return np.dtype(dtype)
    except TypeError:
        raise TypeError(f"dtype must be one of NumPy's, such as 'float32', not {in_words(dtype)}") from None


def require_dtype(array):
    """The array, if a tensor can hold its dtype."""
    if array.dtype == object:
        if array.size and all(map(is_int, array.flat)):
            raise TypeError("data holds an integer of more than 64 bits; write it as a float")
        raise TypeError("data holds something that is not a number, or rows of unequal length")
    if array.dtype.kind not in "biu" and array.dtype not in FLOATS:
        advice = "; convert it with .astype('float32')" if array.dtype.kind == "f" else ""
        raise TypeError(f"a tensor holds float32, float64, integers or bools, not {array.dtype}{advice}")
    return array
