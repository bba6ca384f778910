"""Convolution as one large matrix product: im2col (Chellapilla, Puri and Simard 2006; Caffe).

The window's cells are laid out as the columns of a matrix, after which convolution is

    forward      y    (O,   P*Q*n)  =  weight (O, C*KH*KW)  @  columns (C*KH*KW, P*Q*n)
    weight_grad  gw   (O, C*KH*KW) +=  g      (O, P*Q*n)    @  columns.T
    input_grad   gcol (C*KH*KW, P*Q*n)  =  weight.T @ g,  added back onto the image (col2im)

The matrix is KH*KW times the image, so it is made in chunks of n images, or of some output rows of
one image, under the budget of `minialex.kernels.contract.workspace`.

Inside a chunk the image index comes last, (C, H, W, n), the layout of cuda-convnet, the program that
trained AlexNet. At stride 1 a row of the matrix is then made of runs of Q*n adjacent numbers, and
copying runs is all that im2col does; with the images first, the runs would be Q numbers long, 13 in
most of AlexNet.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.lib.stride_tricks import as_strided

from minialex.kernels.contract.registry import kernel
from minialex.kernels.contract.shapes import output_shape
from minialex.kernels.contract.workspace import workspace_limit
from minialex.kernels.runtime import memory


def _chunks(images: int, rows: int, bytes_per_row: int) -> Iterator[tuple[slice, slice]]:
    """Cut the work into (images, output rows) whose matrix fits the workspace limit."""
    fitting_rows = max(1, workspace_limit() // max(1, bytes_per_row))
    if fitting_rows >= rows:
        # Equal chunks: a small rest would run at the speed of a small matrix product.
        pieces = -(-images // (fitting_rows // rows))
        size = -(-images // pieces) if pieces else 1
        for start in range(0, images, size):
            yield slice(start, min(start + size, images)), slice(0, rows)
    else:
        for image in range(images):
            for start in range(0, rows, fitting_rows):
                yield slice(image, image + 1), slice(start, min(start + fitting_rows, rows))


def _row_bytes(taps: int, columns: int, dtype) -> int:
    """Bytes of the matrix for one row of output positions of one image: (taps, columns)."""
    return taps * columns * np.dtype(dtype).itemsize


def _chunk_bytes(images: int, rows: int, columns: int, taps: int, dtype) -> int:
    row = _row_bytes(taps, columns, dtype)
    return min(images * rows * row, max(row, workspace_limit()))


class _Strip:
    """The part of a padded image that some output rows read, in the layout (C, H, W, n)."""

    def __init__(self, x_shape, rows: slice, kernel_size, stride, padding, dilation, columns: int):
        (top, _), (left, _) = padding
        channels, height, width = x_shape
        self.first = rows.start * stride[0] - top
        last = (rows.stop - 1) * stride[0] - top + (kernel_size[0] - 1) * dilation[0]
        strip_width = (columns - 1) * stride[1] + (kernel_size[1] - 1) * dilation[1] + 1
        self.shape = (channels, last - self.first + 1, strip_width)
        self.window = (*kernel_size, rows.stop - rows.start, columns)
        self.stride, self.dilation = stride, dilation
        # Where the image lies in the strip, and which of its rows and columns that is.
        self.inner_rows = slice(max(0, -self.first), min(height, last + 1) - self.first)
        self.image_rows = slice(max(0, self.first), min(height, last + 1))
        self.inner_columns = slice(left, min(left + width, strip_width))
        self.image_columns = slice(0, min(width, strip_width - left))
        self.is_empty = (
            self.inner_rows.stop <= self.inner_rows.start
            or self.inner_columns.stop <= self.inner_columns.start
        )

    def cut(self, x: np.ndarray) -> np.ndarray:
        """Copy the strip out of x (n, C, H, W), with zeros for the padding."""
        strip = memory.zeros((*self.shape, len(x)), x.dtype)
        if not self.is_empty:
            strip[:, self.inner_rows, self.inner_columns] = x[
                :, :, self.image_rows, self.image_columns
            ].transpose(1, 2, 3, 0)
        return strip

    def add_to(self, gx: np.ndarray, strip: np.ndarray) -> None:
        """Add a strip's gradient to that of the image, gx (n, C, H, W)."""
        if not self.is_empty:
            gx[:, :, self.image_rows, self.image_columns] += strip[
                :, self.inner_rows, self.inner_columns
            ].transpose(3, 0, 1, 2)

    def windows(self, strip: np.ndarray) -> np.ndarray:
        """View the strip as (C, KH, KW, P, Q, n): tap (i, j) of the window at (p, q)."""
        channel, row, column, image = strip.strides
        return as_strided(
            strip,
            (self.shape[0], *self.window, strip.shape[-1]),
            (
                channel,
                row * self.dilation[0],
                column * self.dilation[1],
                row * self.stride[0],
                column * self.stride[1],
                image,
            ),
        )

    def columns(self, strip: np.ndarray) -> np.ndarray:
        """im2col: the matrix (C*KH*KW, P*Q*n)."""
        kernel_height, kernel_width, rows, columns = self.window
        taps = self.shape[0] * kernel_height * kernel_width
        return self.windows(strip).reshape(taps, rows * columns * strip.shape[-1])

    def add_columns(self, strip: np.ndarray, matrix: np.ndarray) -> None:
        """col2im: add the matrix (C*KH*KW, P*Q*n) onto the cells it was taken from."""
        windows = self.windows(strip)
        matrix = matrix.reshape(windows.shape)
        # One tap at a time: within a tap no cell is met twice, across taps they overlap.
        for i, j in np.ndindex(*self.window[:2]):
            windows[:, i, j] += matrix[:, i, j]


def _images_last(y: np.ndarray) -> np.ndarray:
    """Copy (n, O, P, Q) to (O, P*Q*n)."""
    n, outputs, rows, columns = y.shape
    return y.transpose(1, 2, 3, 0).reshape(outputs, rows * columns * n)


def _weight_matrices(weight: np.ndarray, groups: int) -> np.ndarray:
    """The weights of each group as a matrix: (G, O/G, C/G*KH*KW)."""
    return weight.reshape(groups, len(weight) // groups, math.prod(weight.shape[1:]))


def _group(array: np.ndarray, index: int, groups: int, axis: int) -> np.ndarray:
    size = array.shape[axis] // groups
    return array[(slice(None),) * axis + (slice(index * size, (index + 1) * size),)]


def forward_workspace(x, weight, bias, *, stride, padding, dilation, groups) -> int:
    n, _, rows, columns = output_shape(
        "conv2d", x.shape, weight.shape,
        stride=stride, padding=padding, dilation=dilation, groups=groups,
    )  # fmt: skip
    return _chunk_bytes(n, rows, columns, math.prod(weight.shape[1:]), x.dtype)


def input_grad_workspace(g, weight, **_) -> int:
    n, _, rows, columns = g.shape
    return _chunk_bytes(n, rows, columns, math.prod(weight.shape[1:]), g.dtype)


def weight_grad_workspace(g, x, *, kernel_size, groups, **_) -> int:
    n, _, rows, columns = g.shape
    taps = x.shape[1] // groups * kernel_size[0] * kernel_size[1]
    return _chunk_bytes(n, rows, columns, taps, g.dtype)


@kernel("conv2d.forward", algo="im2col", rank=10, workspace=forward_workspace)
def conv2d_forward(x, weight, bias, *, stride, padding, dilation, groups):
    outputs, per_group, *kernel_size = weight.shape
    y_shape = output_shape(
        "conv2d", x.shape, weight.shape,
        stride=stride, padding=padding, dilation=dilation, groups=groups,
    )  # fmt: skip
    y = memory.empty(y_shape, x.dtype)  # (N, O, P, Q)
    _, _, rows, columns = y_shape
    matrix_weight = _weight_matrices(weight, groups)
    row_bytes = _row_bytes(matrix_weight.shape[-1], columns, x.dtype)
    for images, y_rows in _chunks(len(x), rows, row_bytes):
        strip = _Strip((per_group, *x.shape[2:]), y_rows, kernel_size, stride, padding, dilation, columns)
        for group in range(groups):
            matrix = strip.columns(strip.cut(_group(x[images], group, groups, axis=1)))
            part = (matrix_weight[group] @ matrix).reshape(
                outputs // groups, y_rows.stop - y_rows.start, columns, images.stop - images.start
            )  # (O/G, P, Q, n)
            target = _group(y[images], group, groups, axis=1)
            target[:, :, y_rows] = part.transpose(3, 0, 1, 2)
            # Else the next chunk's would be made while this one's are still held.
            del matrix, part
    if bias is not None:
        y += bias.reshape(-1, 1, 1)
    return y


@kernel("conv2d.input_grad", algo="im2col", rank=10, workspace=input_grad_workspace)
def conv2d_input_grad(g, weight, *, input_size, stride, padding, dilation, groups):
    _, per_group, *kernel_size = weight.shape
    gx = memory.zeros((len(g), per_group * groups, *input_size), g.dtype)  # (N, C, H, W)
    _, _, rows, columns = g.shape
    matrix_weight = _weight_matrices(weight, groups)
    row_bytes = _row_bytes(matrix_weight.shape[-1], columns, g.dtype)
    for images, g_rows in _chunks(len(g), rows, row_bytes):
        strip = _Strip((per_group, *input_size), g_rows, kernel_size, stride, padding, dilation, columns)
        for group in range(groups):
            g_matrix = _images_last(_group(g[images], group, groups, axis=1)[:, :, g_rows])
            padded = memory.zeros((*strip.shape, images.stop - images.start), g.dtype)
            strip.add_columns(padded, matrix_weight[group].T @ g_matrix)
            strip.add_to(_group(gx[images], group, groups, axis=1), padded)
    return gx


@kernel("conv2d.weight_grad", algo="im2col", rank=10, workspace=weight_grad_workspace)
def conv2d_weight_grad(g, x, *, kernel_size, stride, padding, dilation, groups):
    per_group = x.shape[1] // groups
    outputs = g.shape[1]
    gw = memory.zeros((groups, outputs // groups, per_group * kernel_size[0] * kernel_size[1]), g.dtype)
    _, _, rows, columns = g.shape
    for images, g_rows in _chunks(len(g), rows, _row_bytes(gw.shape[-1], columns, g.dtype)):
        strip = _Strip((per_group, *x.shape[2:]), g_rows, kernel_size, stride, padding, dilation, columns)
        for group in range(groups):
            matrix = strip.columns(strip.cut(_group(x[images], group, groups, axis=1)))
            g_matrix = _images_last(_group(g[images], group, groups, axis=1)[:, :, g_rows])
            gw[group] += g_matrix @ matrix.T
            del matrix, g_matrix
    return gw.reshape(outputs, per_group, *kernel_size)
