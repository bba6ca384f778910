"""The output shape of pooling windows that hold at least one cell of the image."""

from minialex.errors import ShapeError
from minialex.kernels.contract.shapes import Shape, require_rank, shape_rule
from minialex.kernels.contract.windows import (
    has_empty_window,
    output_positions,
    pair,
    resolve_padding,
    window_text,
)


@shape_rule("max_pool2d")
def max_pool2d_shape(x: Shape, *, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False) -> Shape:
    """(N, C, H, W) gives (N, C, P, Q); see `output_positions` for P and Q."""
    require_rank(x, 4, "pooling input", "(N, C, H, W)")
    size = x[2:]
    kernel = pair(kernel_size, "kernel_size")
    stride = kernel if stride is None else pair(stride, "stride")
    dilation = pair(dilation, "dilation")
    padding = resolve_padding(padding, size, kernel, stride, dilation)
    axes = list(zip(size, kernel, stride, padding, dilation, strict=True))
    positions = [output_positions(*axis, ceil_mode=bool(ceil_mode)) for axis in axes]
    if min(positions) < 1:
        raise ShapeError(
            f"pooling: the window does not fit into the padded input {x}: "
            f"{window_text(kernel, stride, padding, dilation)}"
        )
    if any(has_empty_window(count, *axis) for count, axis in zip(positions, axes, strict=True)):
        raise ShapeError(
            f"pooling: a window of the input {x} would hold nothing but padding: "
            f"{window_text(kernel, stride, padding, dilation)}; use less padding"
        )
    return (*x[:2], *positions)
