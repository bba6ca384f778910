"""One pooling: its shapes and its window. Max-pooling and average pooling share the rule."""

from __future__ import annotations

import functools
from dataclasses import dataclass

from minialex.errors import ShapeError
from minialex.kernels.contract.call import calls_of
from minialex.kernels.contract.shapes import Shape, require_rank, require_shape, shape_rule
from minialex.kernels.contract.windows import Pair, Window, has_empty_window, padding_form, pair, pop_size


@calls_of("max_pool2d")
@dataclass(frozen=True)
class PoolCall:
    """A pooling of images whose every window holds at least one cell of the image.

    Attributes
    ----------
    x_shape : (N, C, H, W)
    y_shape : (N, C, P, Q)
    window : Window
        Size, kernel, stride, padding, dilation and positions along both axes.
    """

    x_shape: Shape
    y_shape: Shape
    window: Window

    DIRECTIONS = ("forward", "evaluate")
    _OF_IMAGES = ("forward", "evaluate")

    @classmethod
    def of(
        cls, x: Shape, *, kernel_size, stride=None, padding=0, dilation=1, ceil_mode: bool = False
    ) -> PoolCall:
        """Check and resolve the parameters, as users write them.

        Raises
        ------
        ShapeError
            If a window does not fit, or holds nothing but padding.
        """
        kernel = pair(kernel_size, "kernel_size")
        stride = kernel if stride is None else pair(stride, "stride")
        dilation = pair(dilation, "dilation")
        return _resolved(tuple(x), kernel, stride, padding_form(padding), dilation, bool(ceil_mode))

    @classmethod
    def of_arrays(cls, direction: str, arrays: tuple, **parameters) -> PoolCall:
        """The call of a direction on these arrays: x, or g and the ``input_size``."""
        shape = arrays[0].shape
        if direction in cls._OF_IMAGES:
            return cls.of(shape, **parameters)
        size = pop_size(parameters, "input_size", f"pooling, {direction}")
        call = cls.of((*shape[:2], *size), **parameters)
        require_shape(f"pooling, {direction}: g", shape, call.y_shape, "of the call's result")
        return call

    def operand_shapes(self, direction: str, arrays: tuple) -> tuple[Shape, ...]:
        """The shape that the array of a direction must have."""
        return (self.x_shape if direction in self._OF_IMAGES else self.y_shape,)


@functools.lru_cache(maxsize=4096)
def _resolved(x: Shape, kernel: Pair, stride: Pair, padding, dilation: Pair, ceil_mode: bool) -> PoolCall:
    require_rank(x, 4, "pooling input", "(N, C, H, W)")
    window = Window.of(x[2:], kernel, stride=stride, padding=padding, dilation=dilation, ceil_mode=ceil_mode)
    if min(window.positions) < 1:
        raise ShapeError(f"pooling: the window does not fit into the padded input {x}: {window}")
    if any(map(has_empty_window, window)):
        raise ShapeError(
            f"pooling: a window of the input {x} would hold nothing but padding: {window}; use less padding"
        )
    return PoolCall(x, (*x[:2], *window.positions), window)


@shape_rule("max_pool2d")
def max_pool2d_shape(x: Shape, **parameters) -> Shape:
    """(N, C, H, W) gives (N, C, P, Q); see `output_positions` for P and Q."""
    require_rank(x, 4, "pooling input", "(N, C, H, W)")
    return PoolCall.of(x, **parameters).y_shape
