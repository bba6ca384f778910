"""The output shape of convolution."""

from minialex.checks import is_int
from minialex.errors import ShapeError
from minialex.kernels.contract.shapes import Shape, require_rank, shape_rule
from minialex.kernels.contract.windows import output_positions, pair, resolve_padding, window_text


@shape_rule("conv2d")
def conv2d_shape(
    x: Shape, weight: Shape, bias: Shape | None = None, *, stride=1, padding=0, dilation=1, groups=1
) -> Shape:
    """(N, C, H, W) and (O, C/groups, KH, KW) give (N, O, P, Q); see `output_positions` for P, Q."""
    require_rank(x, 4, "conv2d input", "(N, C, H, W)")
    require_rank(weight, 4, "conv2d weight", "(O, C/groups, KH, KW)")
    (n, channels, *size), (out, per_group, *kernel) = x, weight
    stride, dilation = pair(stride, "stride"), pair(dilation, "dilation")
    if not is_int(groups, 1):
        raise ShapeError(f"groups={groups!r} should be a positive int")
    if min(kernel) < 1:
        raise ShapeError(f"conv2d weight {weight} has an empty window")
    if channels % groups or out % groups or channels // groups != per_group:
        raise ShapeError(
            f"conv2d: input {x} has {channels} channels and weight {weight} takes "
            f"{per_group} channels in each of {groups} groups for {out} outputs; "
            "channels must be groups * weight.shape[1], and outputs a multiple of groups"
        )
    if bias is not None and bias != (out,):
        raise ShapeError(f"conv2d: bias {bias} should have shape ({out},) for weight {weight}")
    padding = resolve_padding(padding, size, kernel, stride, dilation)
    positions = [
        output_positions(*axis) for axis in zip(size, kernel, stride, padding, dilation, strict=True)
    ]
    if min(positions) < 1:
        raise ShapeError(
            f"conv2d: the window does not fit into the padded input {x}: "
            f"{window_text(kernel, stride, padding, dilation)}"
        )
    return (n, out, *positions)
