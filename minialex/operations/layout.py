"""Operations that move no data: views of a tensor, and the gradients of those views."""

from __future__ import annotations

import math
import operator

import numpy as np

from minialex.autograd import Copy, Operation
from minialex.devices import is_array, to_numpy
from minialex.errors import ShapeError
from minialex.kernels import output_shape
from minialex.kernels.contract.shapes import require_axis
from minialex.kernels.indexing import INDEX_ADD
from minialex.operations.constants import constant
from minialex.reading import require_readable
from minialex.tensor import Tensor, require_dtype, require_tensor


class Reshape(Operation):
    def __init__(self, shape: tuple[int, ...]):
        self.shape = shape

    def forward(self, x):
        return x.reshape(self.shape)

    def backward(self, g):
        return (reshape(g, self.shapes[0]),)


class Transpose(Operation):
    def __init__(self, axes: tuple[int, ...]):
        self.axes = axes

    def forward(self, x):
        return x.transpose(self.axes)

    def backward(self, g):
        return (transpose(g, tuple(int(i) for i in np.argsort(self.axes))),)


class GetItem(Operation):
    def __init__(self, index):
        self.index = index

    def forward(self, x):
        if not isinstance(x, np.ndarray):
            # CuPy wraps an out-of-bounds index around; NumPy raises an error.
            _ = np.broadcast_to(np.False_, x.shape)[self.index]
        return x[self.index]

    def backward(self, g):
        return (IndexAdd(self.index, self.shapes[0])(g),)


class IndexAdd(Operation):
    """The gradient of indexing: zeros of the given shape, with the input added at the index."""

    def __init__(self, index, shape: tuple[int, ...]):
        self.index, self.shape = index, shape

    def forward(self, g):
        return self.kernel(INDEX_ADD, g, index=self.index, shape=self.shape)

    def backward(self, u):
        return (GetItem(self.index)(u),)


class AsType(Operation):
    def __init__(self, dtype):
        self.dtype = dtype

    def forward(self, x):
        return x.astype(self.dtype)

    def backward(self, g):
        return (AsType(self.dtypes[0])(g),)


def astype(x: Tensor, dtype) -> Tensor:
    """x in another dtype, itself where it has it; the gradient comes back in the dtype of x.

    Raises
    ------
    TypeError
        If a tensor cannot hold the dtype.
    """
    require_tensor("to", x)
    try:
        wanted = np.dtype(dtype)
    except TypeError:
        raise TypeError(f"to: {dtype!r} is neither a dtype nor a device") from None
    require_dtype(np.empty(0, wanted))
    return x if wanted == x.dtype else AsType(wanted)(x)


def clone(x: Tensor) -> Tensor:
    """A copy in memory of its own, a part of the graph."""
    require_tensor("clone", x)
    return Copy()(x)


def squeeze(x: Tensor, dim=None) -> Tensor:
    """Without the axes of length 1: all of them, or those that are named and have it."""
    require_tensor("squeeze", x)
    named = range(x.ndim) if dim is None else dim if isinstance(dim, tuple | list) else (dim,)
    axes = {require_axis("squeeze: dim", axis, x.shape) for axis in named} if x.ndim else set()
    return reshape(x, tuple(n for i, n in enumerate(x.shape) if n != 1 or i not in axes))


def unsqueeze(x: Tensor, dim: int) -> Tensor:
    """With a new axis of length 1."""
    require_tensor("unsqueeze", x)
    axis = require_axis("unsqueeze: dim", dim, (1, *x.shape))
    return reshape(x, (*x.shape[:axis], 1, *x.shape[axis:]))


def permute(x: Tensor, *dims) -> Tensor:
    """The axes in another order, all of which are named (PyTorch's permute)."""
    require_tensor("permute", x)
    return _in_order("permute", x, items_of("permute", dims))


def _in_order(name: str, x: Tensor, axes: tuple[int, ...]) -> Tensor:
    positive = tuple(i + x.ndim if i < 0 else i for i in axes)
    if sorted(positive) != list(range(x.ndim)):
        raise ShapeError(f"{name}: axes must be an order of the axes of shape {x.shape}, not {axes}")
    return Transpose(positive)(x)


def reshape(x: Tensor, *shape) -> Tensor:
    """The same values in another shape; one length may be -1."""
    require_tensor("reshape", x)
    shape = items_of("reshape", shape)
    known = math.prod(n for n in shape if n != -1)
    resolved = tuple(x.size // known if n == -1 and known else n for n in shape)
    if shape.count(-1) > 1 or math.prod(resolved) != x.size or min(resolved, default=0) < 0:
        raise ShapeError(f"reshape: {x.shape} with {x.size} elements does not fit {shape}")
    return Reshape(resolved)(x)


def flatten(x: Tensor, start_dim: int = 1, end_dim: int = -1) -> Tensor:
    """Join the axes from start_dim to end_dim into one; by default all but the first (PyTorch's layer)."""
    require_tensor("flatten", x)
    return Reshape(output_shape("flatten", x.shape, start_dim=start_dim, end_dim=end_dim))(x)


def transpose(x: Tensor, *axes) -> Tensor:
    """Two axes swapped, ``transpose(x, 0, 1)`` (PyTorch's); or all in another order, a tuple (NumPy's).

    Without arguments the order is reversed.
    """
    require_tensor("transpose", x)
    if len(axes) == 2:
        first, second = (require_axis("transpose: dim", axis, x.shape) for axis in axes)
        swapped = list(range(x.ndim))
        swapped[first], swapped[second] = second, first
        return Transpose(tuple(swapped))(x)
    return _in_order("transpose", x, items_of("transpose", axes) or tuple(reversed(range(x.ndim))))


def getitem(x: Tensor, index) -> Tensor:
    """x[index], with ints, slices, None, ... and integer or boolean arrays."""
    require_tensor("getitem", x)
    items = index if isinstance(index, tuple) else (index,)
    return GetItem(tuple(_plain_index(item) for item in items))(x)


def along(axis: int, item) -> tuple:
    """The index that has an item at one axis, counted from 0, and takes the axes before it whole."""
    return (slice(None),) * axis + (item,)


def _plain_index(item):
    """An item of an index, as a NumPy array if it is an array: indices are on the CPU for every device.

    An array is copied, because backward needs its present values.
    """
    if isinstance(item, Tensor):
        if item.dtype.kind == "b":
            require_readable()  # how many there are follows from the values
        return constant(lambda values: to_numpy(values).copy(), item).data
    if isinstance(item, list):
        item = np.array(item)
        return item if item.size else item.astype(np.intp)
    return to_numpy(item).copy() if is_array(item) else item


def items_of(name: str, arguments) -> tuple[int, ...]:
    """The ints, given one by one or as one sequence."""
    given = arguments
    if len(arguments) == 1 and not isinstance(arguments[0], int | np.integer):
        (given,) = arguments
    try:
        items = tuple(given)
        # A bool has an index, which is a mistake here.
        if bool not in map(type, items):
            return tuple(map(operator.index, items))
    except TypeError:
        pass
    raise ShapeError(f"{name} must get ints, one by one or as a tuple, not {given!r}")
