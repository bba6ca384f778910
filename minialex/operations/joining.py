"""Several tensors to one, and one to several. Joining and cutting are each other's gradient."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from minialex.autograd import Operation
from minialex.checks import in_words, is_int
from minialex.devices import array_module
from minialex.errors import ShapeError
from minialex.integers import ceil_div
from minialex.kernels.contract.shapes import require_axis
from minialex.operations.axes import takes_dim
from minialex.operations.layout import along, getitem, unsqueeze
from minialex.tensor import Tensor, as_tensor, require_tensor


class Concatenate(Operation):
    def __init__(self, axis: int):
        self.axis = axis

    def forward(self, *arrays):
        shape = list(arrays[0].shape)
        shape[self.axis] = sum(each.shape[self.axis] for each in arrays)
        y = self.empty(shape, arrays[0].dtype)
        return array_module(self.device).concatenate(arrays, self.axis, out=y)

    def backward(self, g):
        ends = list(itertools.accumulate(shape[self.axis] for shape in self.shapes))
        parts = zip((0, *ends), ends, strict=False)
        return tuple(
            _part(g, self.axis, start, end) if self.needs(i) else None for i, (start, end) in enumerate(parts)
        )


def _part(x: Tensor, axis: int, start: int, end: int) -> Tensor:
    return getitem(x, along(axis, slice(start, end)))


def _several(name: str, tensors) -> list[Tensor]:
    if isinstance(tensors, Tensor) or not isinstance(tensors, Sequence) or not tensors:
        raise TypeError(f"{name} takes a list of tensors, not {in_words(tensors)}")
    like = next((t for t in tensors if isinstance(t, Tensor)), tensors[0])
    require_tensor(name, like)
    return [as_tensor(t, like) for t in tensors]


@takes_dim
def cat(tensors: Sequence[Tensor], axis: int = 0) -> Tensor:
    """Tensors one after the other along an axis; all other lengths are equal.

    Raises
    ------
    ShapeError
        If they are not.
    """
    tensors = _several("cat", tensors)
    axis = require_axis("cat: dim", axis, tensors[0].shape)
    others = {shape[:axis] + shape[axis + 1 :] for shape in (t.shape for t in tensors)}
    if len(others) > 1 or len({t.ndim for t in tensors}) > 1:
        shapes = ", ".join(str(t.shape) for t in tensors)
        raise ShapeError(f"cat: shapes {shapes} must be equal but for dim {axis}")
    return Concatenate(axis)(*tensors)


@takes_dim
def stack(tensors: Sequence[Tensor], axis: int = 0) -> Tensor:
    """Tensors of one shape along a new axis."""
    tensors = _several("stack", tensors)
    if len({t.shape for t in tensors}) > 1:
        raise ShapeError(f"stack: shapes {', '.join(str(t.shape) for t in tensors)} must be equal")
    axis = require_axis("stack: dim", axis, (len(tensors), *tensors[0].shape))
    return cat([unsqueeze(t, axis) for t in tensors], axis)


@takes_dim
def split(x: Tensor, split_size, axis: int = 0) -> tuple[Tensor, ...]:
    """Parts of one length along an axis, the last with the rest; or of several lengths that add up to it."""
    require_tensor("split", x)
    axis = require_axis("split: dim", axis, x.shape)
    length = x.shape[axis]
    if is_int(split_size, 1):
        sizes = [min(split_size, length - start) for start in range(0, max(length, 1), split_size)]
    elif isinstance(split_size, list | tuple) and all(is_int(n, 0) for n in split_size):
        sizes = list(split_size)
    else:
        raise ShapeError(
            f"split: split_size must be a positive int, or a list of ints, not {in_words(split_size)}"
        )
    if sum(sizes) != length:
        raise ShapeError(f"split: lengths {sizes} must add up to {length}, dim {axis} of {x.shape}")
    ends = list(itertools.accumulate(sizes))
    return tuple(_part(x, axis, end - size, end) for size, end in zip(sizes, ends, strict=True))


@takes_dim
def chunk(x: Tensor, chunks: int, axis: int = 0) -> tuple[Tensor, ...]:
    """At most that many parts along an axis, all but the last of one length."""
    require_tensor("chunk", x)
    if not is_int(chunks, 1):
        raise ShapeError(f"chunk: chunks must be an integer 1 or more, not {in_words(chunks)}")
    length = x.shape[require_axis("chunk: dim", axis, x.shape)]
    return split(x, max(1, ceil_div(length, chunks)), axis)


@takes_dim
def unbind(x: Tensor, axis: int = 0) -> tuple[Tensor, ...]:
    """The slices along an axis, which is left out."""
    require_tensor("unbind", x)
    axis = require_axis("unbind: dim", axis, x.shape)
    return tuple(getitem(x, along(axis, i)) for i in range(x.shape[axis]))
