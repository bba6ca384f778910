"""The output shape of local response normalisation."""

from minialex.kernels.contract.shapes import Shape, require_rank, shape_rule
from minialex.kernels.local_response_norm.call import require_odd


@shape_rule("local_response_norm")
def local_response_norm_shape(x: Shape, *, size=5, **_) -> Shape:
    """(N, C, H, W), unchanged. The window has an odd size; it may exceed the channels."""
    require_rank(x, 4, "local_response_norm input", "(N, C, H, W)")
    require_odd(size)
    return x


@shape_rule("channel_window_sum")
def channel_window_sum_shape(x: Shape, *, size) -> Shape:
    """(N, C, H, W), unchanged."""
    return local_response_norm_shape(x, size=size)
