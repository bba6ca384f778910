"""Sliding windows: the arithmetic that convolution and pooling share.

Along one axis, a window of ``kernel`` cells, ``dilation`` apart, moves by ``stride`` over an input of
``size`` cells, padded by ``before`` and ``after`` cells. Output position p reads the
input at p * stride - before + i * dilation for i = 0 .. kernel - 1.

Kernels take these parameters in one form only (two-dimensional, integers): stride, dilation and
kernel_size as (vertical, horizontal), padding as ((top, bottom), (left, right)). `pair` and
`resolve_padding` convert what users write to that form.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal, NamedTuple

from minialex.checks import in_words, is_int
from minialex.errors import ShapeError
from minialex.integers import ceil_div

Pair = tuple[int, int]
Padding = tuple[Pair, Pair]

# Kernels compute cell indices in int32 (CUDA) or int64, and the product of two such numbers fits an int64.
LARGEST = 2**31 - 1
# No machine has the memory for an image of that many cells, and byte counts still fit an int64.
MOST_CELLS = 2**40

# Concrete types: isinstance with an abstract one takes as long as computing a shape.
_SEQUENCES = (tuple, list)


def pair(value, name: str, *, minimum: int = 1) -> Pair:
    """Convert an int or a pair of ints to the form (vertical, horizontal).

    Raises
    ------
    ShapeError
        If `value` is neither, or below `minimum` or above `LARGEST`; the message calls it `name`.
    """
    items = value if isinstance(value, _SEQUENCES) else (value, value)
    if len(items) != 2 or not (is_int(items[0], minimum, LARGEST) and is_int(items[1], minimum, LARGEST)):
        raise ShapeError(
            f"{name} must be an integer from {minimum} to {LARGEST:,}, or a pair of them, "
            f"not {in_words(value)}"
        )
    return int(items[0]), int(items[1])


def single(value: Any, name: str, *, minimum: int = 1) -> int:
    """Convert an int, or a sequence of one, to an int.

    Raises
    ------
    ShapeError
        If `value` is neither, or below `minimum` or above `LARGEST`; the message calls it `name`.
    """
    item: Any = value[0] if isinstance(value, _SEQUENCES) and len(value) == 1 else value
    if not is_int(item, minimum, LARGEST):
        raise ShapeError(f"{name} must be an integer from {minimum} to {LARGEST:,}, not {in_words(value)}")
    return int(item)


def pop_size(parameters: dict, name: str, operation: str) -> Pair:
    """Take a size, which a gradient cannot tell from its arrays, out of the parameters of a call.

    Raises
    ------
    ShapeError
        If it is missing, or no pair of integers 0 or more.
    """
    if name not in parameters:
        raise ShapeError(f"{operation}: {name} is missing; it must be a pair of integers")
    value = parameters.pop(name)
    if not isinstance(value, _SEQUENCES) or len(value) != 2 or not all(is_int(n, 0, LARGEST) for n in value):
        raise ShapeError(f"{operation}: {name} must be a pair of integers, not {in_words(value)}")
    return int(value[0]), int(value[1])


def resolve_padding(
    padding, size: Sequence[int], kernel: Sequence[int], stride: Pair, dilation: Pair
) -> Padding:
    """Convert a padding to the form ((top, bottom), (left, right)).

    Parameters
    ----------
    padding : int, pair, pair of pairs, "valid" or "same"
        ``"valid"`` is no padding. ``"same"`` is TensorFlow's SAME at any stride: the output has
        ceil(size / stride) positions, and where the padding is odd, the extra cell is at the
        bottom and right (tf.nn.convolution, "padding").
    size, kernel, stride, dilation : pairs of ints
        The input's height and width, and the window.

    Raises
    ------
    ShapeError
        If `padding` is none of these, or pads the input to more than `MOST_CELLS` cells.
    """
    resolved = padding_form(padding)
    if resolved == "valid":
        return (0, 0), (0, 0)
    if resolved == "same":
        along = zip(size, kernel, stride, dilation, strict=True)
        vertical, horizontal = (_same(n, k, s, d) for n, k, s, d in along)
        resolved = vertical, horizontal
    height, width = (n + sum(both) for n, both in zip(size, resolved, strict=True))
    if size[0] * size[1] <= MOST_CELLS < height * width:
        same = len({number for both in resolved for number in both}) == 1
        given = padding if isinstance(padding, str) else resolved[0][0] if same else resolved
        raise ShapeError(
            f"padding must make at most {MOST_CELLS:,} cells of an input of {size[0]}x{size[1]}, window "
            f"{kernel[0]}x{kernel[1]}, dilation {dilation[0]}x{dilation[1]}, "
            f"not {height}x{width}, as {given!r} does"
        )
    return resolved


def padding_form(padding) -> Literal["valid", "same"] | Padding:
    """Convert a padding as users write it to ``"valid"``, ``"same"`` or ((top, bottom), (left, right)).

    Raises
    ------
    ShapeError
        If it is none of the forms that `resolve_padding` takes.
    """
    if isinstance(padding, str) and padding in ("valid", "same"):
        return padding
    if isinstance(padding, _SEQUENCES) and len(padding) == 2:
        vertical, horizontal = padding
        if isinstance(vertical, _SEQUENCES) and isinstance(horizontal, _SEQUENCES):
            return (
                pair(vertical, "padding (top, bottom)", minimum=0),
                pair(horizontal, "padding (left, right)", minimum=0),
            )
    try:
        vertical, horizontal = pair(padding, "padding", minimum=0)
    except ShapeError:
        raise ShapeError(
            f"padding must be 'valid', 'same', or an integer from 0 to {LARGEST:,}, a pair of them, or "
            f"((top, bottom), (left, right)), not {in_words(padding)}"
        ) from None
    return (vertical, vertical), (horizontal, horizontal)


def _same(size: int, kernel: int, stride: int, dilation: int) -> Pair:
    positions = ceil_div(size, stride)
    total = max((positions - 1) * stride + dilation * (kernel - 1) + 1 - size, 0)
    return total // 2, total - total // 2


def output_positions(
    size: int, kernel: int, stride: int, padding: Pair, dilation: int, *, ceil_mode: bool = False
) -> int:
    """How many positions a window has along one axis; 0 or less if it does not fit.

    floor((size + before + after - dilation * (kernel - 1) - 1) / stride) + 1. In ceil mode it is ceil
    instead of floor, and a last window that would start in the padding after the input is
    dropped (PyTorch's and Caffe's convention).
    """
    before, after = padding
    room = size + before + after - dilation * (kernel - 1) - 1
    if not ceil_mode or room < 0:
        return room // stride + 1
    positions = ceil_div(room, stride) + 1
    return positions - 1 if (positions - 1) * stride >= size + before else positions


class Axis(NamedTuple):
    """A window along one axis of an image, everything resolved.

    At position p, tap i of the window reads the cell p * stride - before + i * dilation; outside
    0 .. size - 1 it is padding.
    """

    size: int
    kernel: int
    stride: int
    before: int
    after: int
    dilation: int
    positions: int

    def arithmetic(self) -> str:
        """How the positions follow, such as ``(27 + 2 + 2 - 5) / 1 + 1 = 27``.

        A division with a remainder is written ``//`` and rounds down, as in Python.
        """
        span = self.dilation * (self.kernel - 1) + 1
        room = self.size + self.before + self.after - span
        padded = (
            f"{self.size} + {self.before} + {self.after}" if self.before or self.after else f"{self.size}"
        )
        divided = "//" if room % self.stride else "/"
        return f"({padded} - {span}) {divided} {self.stride} + 1 = {self.positions}"


class Window(NamedTuple):
    """A window that slides over images: its geometry along the height and along the width."""

    vertical: Axis
    horizontal: Axis

    @classmethod
    def of(
        cls,
        size: Sequence[int],
        kernel: Sequence[int],
        *,
        stride: Pair,
        padding,
        dilation: Pair,
        ceil_mode: bool = False,
    ) -> Window:
        """Resolve the padding, and count the positions, which may be 0 or less if the window does not fit.

        Raises
        ------
        ShapeError
            As `resolve_padding` does.
        """
        padding = resolve_padding(padding, size, kernel, stride, dilation)
        return cls(
            *(
                Axis(n, k, s, *both, d, output_positions(n, k, s, both, d, ceil_mode=ceil_mode))
                for n, k, s, both, d in zip(size, kernel, stride, padding, dilation, strict=True)
            )
        )

    @property
    def size(self) -> Pair:
        """The height and width of the image."""
        return self.vertical.size, self.horizontal.size

    @property
    def kernel_size(self) -> Pair:
        return self.vertical.kernel, self.horizontal.kernel

    @property
    def stride(self) -> Pair:
        return self.vertical.stride, self.horizontal.stride

    @property
    def before(self) -> Pair:
        """The padding at the top and at the left."""
        return self.vertical.before, self.horizontal.before

    @property
    def padding(self) -> Padding:
        return self.vertical[3:5], self.horizontal[3:5]

    @property
    def dilation(self) -> Pair:
        return self.vertical.dilation, self.horizontal.dilation

    @property
    def positions(self) -> Pair:
        """The height and width of the output, P and Q."""
        return self.vertical.positions, self.horizontal.positions

    def __str__(self) -> str:
        (top, bottom), (left, right) = self.padding
        kernel, stride, dilation = (
            f"{down}x{across}" for down, across in (self.kernel_size, self.stride, self.dilation)
        )
        return (
            f"kernel {kernel}, stride {stride}, padding top {top} bottom {bottom} left {left} right {right}, "
            f"dilation {dilation}"
        )


def has_empty_window(axis: Axis) -> bool:
    """Whether a window at one of the positions reads no cell of the input along this axis.

    The time does not grow with any of the numbers.
    """
    size, before, dilation = axis.size, axis.before, axis.dilation
    if (axis.positions - 1) * axis.stride - before >= size:
        return True  # the last window starts after the input
    if dilation * (axis.kernel - 1) < before:
        return True  # the first one ends before it
    if dilation <= size:
        return False  # too narrow a gap to step over the input
    # A window that starts before the input, at p * stride - before < 0, first reads past that edge the cell
    # (p * stride - before) modulo dilation; all other cells of the input that it reads come after that one.
    starts = min(axis.positions, ceil_div(before, axis.stride))
    offset = -before % dilation
    inside = _sum_of_floors(starts, dilation, axis.stride, offset + dilation) - _sum_of_floors(
        starts, dilation, axis.stride, offset + dilation - size
    )
    return inside < starts


def _sum_of_floors(n: int, m: int, a: int, b: int) -> int:
    """The sum of (a * i + b) // m for i = 0 .. n - 1, by Euclid's algorithm; none may be negative.

    It counts the lattice points below a line, which are the same seen from either axis
    (Graham, Knuth and Patashnik, Concrete Mathematics, section 3.5).
    """
    total = 0
    while n:
        total += n * (n - 1) // 2 * (a // m) + n * (b // m)
        a, b = a % m, b % m
        top = a * n + b
        n, b, m, a = top // m, top % m, a, m
    return total


def tap_slices(
    window: Window,
) -> Iterator[tuple[Pair, tuple[slice, slice], tuple[slice, slice]]]:
    """For each cell (i, j) of the window: which positions read the image there, and what they read.

    Yields
    ------
    (i, j) : pair of int
        The cell of the window, in row-major order.
    at_y : pair of slice
        The output positions for which that cell lies inside the image.
    at_x : pair of slice
        The cells of the image that they read, in the same order. Cells of the window at which no
        position reads the image are left out.
    """
    rows, columns = ([_tap_slice(i, axis) for i in range(axis.kernel)] for axis in window)
    for i, row in enumerate(rows):
        for j, column in enumerate(columns):
            if row is not None and column is not None:
                yield (i, j), (row[0], column[0]), (row[1], column[1])


def _tap_slice(tap: int, axis: Axis) -> tuple[slice, slice] | None:
    offset = tap * axis.dilation - axis.before
    first = max(0, ceil_div(-offset, axis.stride))  # the first p with p * stride + offset >= 0
    last = min(axis.positions - 1, (axis.size - 1 - offset) // axis.stride)
    if last < first:
        return None
    start = first * axis.stride + offset
    return slice(first, last + 1), slice(start, last * axis.stride + offset + 1, axis.stride)
