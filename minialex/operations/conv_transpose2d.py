"""Transposed convolution: the input gradient of convolution, under its own name."""

from __future__ import annotations

from minialex.checks import is_int
from minialex.errors import ShapeError
from minialex.kernels.contract.shapes import require_rank
from minialex.kernels.contract.windows import pair
from minialex.kernels.conv2d import ConvCall
from minialex.operations.conv2d import Conv2dInputGrad
from minialex.operations.inputs import require_floats, weight_tensor
from minialex.operations.layout import reshape
from minialex.tensor import Tensor, as_tensor


def conv_transpose2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride=1,
    padding=0,
    output_padding=0,
    groups: int = 1,
    dilation=1,
) -> Tensor:
    """The images whose convolution with `weight` has the shape of x, as gradients flow back to them.

    Dumoulin and Visin 2016, chapter 4; the signature is that of ``torch.nn.functional.conv_transpose2d``.

    Parameters
    ----------
    x : Tensor (N, O, P, Q)
    weight : Tensor (O, C/groups, KH, KW)
        O are the input's channels here.
    bias : Tensor (C,), optional
    stride, padding, dilation : int or (vertical, horizontal)
        Those of the convolution.
    output_padding : int or (vertical, horizontal)
        More rows and columns at the bottom and right, fewer than the stride: a strided convolution gives
        images of several sizes the same shape.
    groups : int

    Returns
    -------
    Tensor (N, C, H, W)
        H is (P - 1) * stride - 2 * padding + dilation * (KH - 1) + 1 + output_padding.

    Raises
    ------
    ShapeError
        If shapes and parameters do not fit together.
    """
    require_floats("conv_transpose2d", x)
    weight = weight_tensor("conv_transpose2d", weight, x)
    require_rank(x.shape, 4, "conv_transpose2d input", "(N, O, P, Q)")
    require_rank(weight.shape, 4, "conv_transpose2d weight", "(O, C/groups, KH, KW)")
    strides, paddings, more, dilations = (
        pair(value, f"conv_transpose2d: {name}", minimum=low)
        for name, value, low in (
            ("stride", stride, 1),
            ("padding", padding, 0),
            ("output_padding", output_padding, 0),
            ("dilation", dilation, 1),
        )
    )
    if any(m >= max(s, d) for m, s, d in zip(more, strides, dilations, strict=True)):
        raise ShapeError(f"conv_transpose2d: output_padding must be less than stride or dilation, not {more}")
    if not is_int(groups, 1) or x.shape[1] != weight.shape[0] or x.shape[1] % groups:
        raise ShapeError(
            f"conv_transpose2d: weight must be (O, C/groups, KH, KW) with O = {x.shape[1]}, a multiple of "
            f"groups={groups}, for input {x.shape}, not {weight.shape}"
        )
    size = tuple(
        (p - 1) * s - 2 * pad + d * (k - 1) + 1 + m
        for p, s, pad, d, k, m in zip(
            x.shape[2:], strides, paddings, dilations, weight.shape[2:], more, strict=True
        )
    )
    if min(size) < 1:
        raise ShapeError(f"conv_transpose2d: nothing is left of {x.shape}: the images would be {size}")
    images = x.shape[0], weight.shape[1] * groups, *size
    call = ConvCall.of(
        images,
        weight.shape,
        x.dtype,
        stride=strides,
        padding=paddings,
        dilation=dilations,
        groups=groups,
    )
    if call.y_shape != x.shape:
        raise ShapeError(f"conv_transpose2d: the input {x.shape} must have the shape {call.y_shape}")
    y = Conv2dInputGrad(call)(x, weight)
    if bias is None:
        return y
    bias = as_tensor(bias, x)
    if bias.shape != images[1:2]:
        raise ShapeError(f"conv_transpose2d: bias must have shape {images[1:2]}, not {bias.shape}")
    return y + reshape(bias, (-1, 1, 1))
