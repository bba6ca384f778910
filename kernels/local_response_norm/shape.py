"""The output shape of local response normalisation, and the check of its window."""

from minialex.checks import in_words, is_int
from minialex.errors import ShapeError
from minialex.kernels.contract.shapes import Shape, require_rank, shape_rule


@shape_rule("local_response_norm")
def local_response_norm_shape(x: Shape, *, size=5, **_) -> Shape:
    """(N, C, H, W), unchanged. The window has an odd size; it may exceed the channels."""
    require_rank(x, 4, "local_response_norm input", "(N, C, H, W)")
    if not is_int(size, 1) or size % 2 == 0:
        raise ShapeError(
            f"local_response_norm: size must be an odd integer 1 or more, not {in_words(size)}; "
            "libraries disagree on where the window of an even size lies"
        )
    return x


@shape_rule("channel_window_sum")
def channel_window_sum_shape(x: Shape, *, size) -> Shape:
    """(N, C, H, W), unchanged."""
    return local_response_norm_shape(x, size=size)
