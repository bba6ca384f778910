"""One convolution: its shapes and parameters, and what follows from them."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from minialex.checks import require_int
from minialex.errors import ShapeError
from minialex.kernels.contract.call import calls_of
from minialex.kernels.contract.shapes import Shape, require_rank, require_shape, shape_rule
from minialex.kernels.contract.windows import Padding, Pair, Window, padding_form, pair, pop_size


@calls_of("conv2d")
@dataclass(frozen=True)
class ConvCall:
    """A convolution in any of its directions, which share the shapes.

    Attributes
    ----------
    x_shape : (N, C, H, W)
    weight_shape : (O, C/groups, KH, KW)
    y_shape : (N, O, P, Q)
    dtype : dtype
    window : Window
        Size, kernel, stride, padding, dilation and positions along both axes.
    groups : int
    """

    x_shape: Shape
    weight_shape: Shape
    y_shape: Shape
    dtype: np.dtype
    window: Window
    groups: int

    DIRECTIONS = ("forward", "input_grad", "weight_grad", "forward_relu")

    @classmethod
    def of(
        cls,
        x: Shape,
        weight: Shape,
        dtype: Any = np.float32,
        *,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
    ) -> ConvCall:
        """Check and resolve the parameters, as users write them, for a convolution of these shapes.

        Raises
        ------
        ShapeError
            If shapes and parameters do not fit together; the message gives all of them.
        """
        groups = require_int("conv2d: groups", groups, 1, error=ShapeError)
        return _resolved(
            (tuple(x), tuple(weight)),
            np.dtype(dtype),
            pair(stride, "stride"),
            padding_form(padding),
            pair(dilation, "dilation"),
            groups,
        )

    @classmethod
    def of_arrays(cls, direction: str, arrays: tuple, **parameters) -> ConvCall:
        """The call whose `direction` takes these arrays: (x, weight, bias), (g, weight) or (g, x)."""
        first, second = arrays[:2]
        if direction in ("forward", "forward_relu"):
            call = cls.of(first.shape, second.shape, first.dtype, **parameters)
            call.require_bias(None if len(arrays) < 3 or arrays[2] is None else arrays[2].shape)
            return call
        groups = require_int(f"conv2d.{direction}: groups", parameters.get("groups", 1), 1, error=ShapeError)
        require_rank(first.shape, 4, f"conv2d.{direction}: g", "(N, O, P, Q)")
        require_rank(second.shape, 4, f"conv2d.{direction}: the second array", "of a convolution")
        if direction == "input_grad":
            size = pop_size(parameters, "input_size", "conv2d.input_grad")
            shapes = (first.shape[0], second.shape[1] * groups, *size), second.shape
        else:
            kernel_size = pop_size(parameters, "kernel_size", "conv2d.weight_grad")
            shapes = second.shape, (first.shape[1], second.shape[1] // groups, *kernel_size)
        call = cls.of(*shapes, first.dtype, **parameters)
        require_shape(f"conv2d.{direction}: g", first.shape, call.y_shape, "of the call's result")
        return call

    def operand_shapes(self, direction: str, arrays: tuple) -> tuple[Shape, ...]:
        """The shapes that the first two arrays of a direction must have."""
        x, weight, y = self.x_shape, self.weight_shape, self.y_shape
        return {"input_grad": (y, weight), "weight_grad": (y, x)}.get(direction, (x, weight))

    def require_bias(self, shape: Shape | None) -> None:
        """Raise `ShapeError` unless a bias of this shape fits."""
        if shape is not None:
            require_shape("conv2d: bias", shape, self.weight_shape[:1], f"for weight {self.weight_shape}")

    # Sizes, by the letters of the formula

    @property
    def images(self) -> int:
        """N."""
        return self.x_shape[0]

    @property
    def channels(self) -> int:
        """C, of all groups."""
        return self.x_shape[1]

    @property
    def group_channels(self) -> int:
        """C / groups."""
        return self.weight_shape[1]

    @property
    def outputs(self) -> int:
        """O, of all groups."""
        return self.weight_shape[0]

    @property
    def group_outputs(self) -> int:
        """O / groups."""
        return self.weight_shape[0] // self.groups

    @property
    def taps(self) -> int:
        """The number of products that an output sums: C / groups * KH * KW."""
        return math.prod(self.weight_shape[1:])

    @property
    def products(self) -> int:
        """The multiplications of each direction, including those by padding: N * O * P * Q * taps."""
        return math.prod(self.y_shape) * self.taps

    # The window's numbers

    @property
    def size(self) -> Pair:
        """H and W."""
        return self.window.size

    @property
    def kernel_size(self) -> Pair:
        return self.window.kernel_size

    @property
    def stride(self) -> Pair:
        return self.window.stride

    @property
    def padding(self) -> Padding:
        return self.window.padding

    @property
    def dilation(self) -> Pair:
        return self.window.dilation

    @property
    def positions(self) -> Pair:
        """P and Q."""
        return self.window.positions


@functools.lru_cache(maxsize=4096)
def _resolved(
    shapes: tuple[Shape, Shape], dtype: np.dtype, stride: Pair, padding, dilation: Pair, groups: int
) -> ConvCall:
    """The call, checked; cached, because training asks for the same few thousands of times."""
    x, weight = shapes
    require_rank(x, 4, "conv2d input", "(N, C, H, W)")
    require_rank(weight, 4, "conv2d weight", "(O, C/groups, KH, KW)")
    (n, channels, *size), (out, per_group, *kernel) = x, weight
    if min(kernel) < 1:
        raise ShapeError(f"conv2d weight {weight} has an empty window")
    if channels % groups or out % groups or channels // groups != per_group:
        raise ShapeError(
            f"conv2d: input {x} has {channels} channels and weight {weight} takes "
            f"{per_group} channels in each of {groups} groups for {out} outputs; "
            "channels must be groups * weight.shape[1], and outputs a multiple of groups"
        )
    window = Window.of(size, kernel, stride=stride, padding=padding, dilation=dilation)
    if min(window.positions) < 1:
        raise ShapeError(f"conv2d: the window does not fit into the padded input {x}: {window}")
    return ConvCall(x, weight, (n, out, *window.positions), dtype, window, groups)


@shape_rule("conv2d")
def conv2d_shape(x: Shape, weight: Shape, bias: Shape | None = None, **parameters) -> Shape:
    """(N, C, H, W) and (O, C/groups, KH, KW) give (N, O, P, Q); see `output_positions` for P, Q."""
    require_rank(x, 4, "conv2d input", "(N, C, H, W)")
    require_rank(weight, 4, "conv2d weight", "(O, C/groups, KH, KW)")
    call = ConvCall.of(x, weight, **parameters)
    call.require_bias(bias)
    return call.y_shape
