"""Windows of images as columns, and back: im2col and its gradient, col2im, as functions of tensors.

They are compositions of padding, indexing and reshaping. Convolution does not use them: its kernels make the
columns in chunks, or not at all.
"""

from __future__ import annotations

import numpy as np

from minialex.errors import ShapeError
from minialex.kernels.contract.windows import Window, padding_form, pair
from minialex.operations.inputs import require_floats
from minialex.operations.layout import IndexAdd, getitem, reshape
from minialex.operations.padding import pad
from minialex.tensor import Tensor


def _window(name: str, size, kernel_size, dilation, padding, stride) -> Window:
    window = Window.of(
        tuple(size),
        pair(kernel_size, "kernel_size"),
        stride=pair(stride, "stride"),
        padding=padding_form(padding),
        dilation=pair(dilation, "dilation"),
    )
    if min(window.positions) < 1:
        raise ShapeError(f"{name}: the window does not fit into the padded image of {tuple(size)}: {window}")
    return window


def _cells(window: Window) -> tuple[np.ndarray, np.ndarray]:
    """The rows and columns, in the padded image, of each cell of each window: (KH, KW, P, Q)."""
    rows, columns = (
        np.arange(k)[:, None] * d + np.arange(p) * s
        for k, d, p, s in zip(
            window.kernel_size, window.dilation, window.positions, window.stride, strict=True
        )
    )
    return rows[:, None, :, None], columns[None, :, None, :]


def unfold(x: Tensor, kernel_size, dilation=1, padding=0, stride=1) -> Tensor:
    """The windows of images as columns (im2col).

    Parameters
    ----------
    x : Tensor (N, C, H, W)
    kernel_size, dilation, stride : int or (vertical, horizontal)
    padding : as in `conv2d`

    Returns
    -------
    Tensor (N, C * KH * KW, P * Q)
    """
    require_floats("unfold", x)
    if x.ndim != 4:
        raise ShapeError(f"unfold: the input must be (N, C, H, W), not {x.shape}")
    window = _window("unfold", x.shape[2:], kernel_size, dilation, padding, stride)
    (top, bottom), (left, right) = window.padding
    cells = getitem(pad(x, (left, right, top, bottom)), (slice(None), slice(None), *_cells(window)))
    n, c, kh, kw, p, q = cells.shape
    return reshape(cells, (n, c * kh * kw, p * q))


def fold(x: Tensor, output_size, kernel_size, dilation=1, padding=0, stride=1) -> Tensor:
    """Columns back to images: what windows share is added up (col2im), the gradient of `unfold`.

    Parameters
    ----------
    x : Tensor (N, C * KH * KW, P * Q)
    output_size : int or (H, W)
    kernel_size, dilation, padding, stride : as in `unfold`

    Returns
    -------
    Tensor (N, C, H, W)
    """
    require_floats("fold", x)
    size = pair(output_size, "output_size")
    window = _window("fold", size, kernel_size, dilation, padding, stride)
    (kh, kw), (p, q) = window.kernel_size, window.positions
    if x.ndim != 3 or x.shape[1] % (kh * kw) or x.shape[2] != p * q:
        raise ShapeError(
            f"fold: the input must be (N, C * {kh} * {kw}, {p} * {q}) for images of {size}, not {x.shape}"
        )
    (top, bottom), (left, right) = window.padding
    n, c = x.shape[0], x.shape[1] // (kh * kw)
    padded = (n, c, size[0] + top + bottom, size[1] + left + right)
    index = (slice(None), slice(None), *_cells(window))
    images = IndexAdd(index, padded)(reshape(x, (n, c, kh, kw, p, q)))
    return getitem(images, (slice(None), slice(None), slice(top, top + size[0]), slice(left, left + size[1])))
