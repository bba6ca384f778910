"""Wrong gradients of convolution: once with everything that it can have, once plain."""

import numpy as np

from minialex.checking.gallery.mistake import Subject


def _windows(images, kernel=(2, 2)):
    """All windows of images (N, C, H, W), as (N, C, P, Q, KH, KW)."""
    return np.lib.stride_tricks.sliding_window_view(images, kernel, axis=(2, 3))


# Two groups, stride 2 down, dilation 2 across, padding (top 1, bottom 2), (left 2, right 1).
# x (2, 4, 4, 3), weight (6, 2, 3, 2), bias (6,), y (2, 6, 3, 4)
PADDING = ((0, 0), (0, 0), (1, 2), (2, 1))


def conv2d(x, weight, bias):
    windows = _windows(np.pad(x, PADDING), (3, 3))[:, :, ::2, :, :, ::2]
    halves = [
        np.einsum("ncpqij,ocij->nopq", windows[:, 2 * k : 2 * k + 2], weight[3 * k : 3 * k + 3])
        for k in (0, 1)
    ]
    return np.concatenate(halves, axis=1) + bias[:, None, None]


def conv2d_vjp(g, x, weight, bias):
    padded = np.pad(x, PADDING)
    gpadded = np.zeros_like(padded)
    gw = np.zeros_like(weight)
    for group, i, j in np.ndindex(2, 3, 2):
        own = slice(2 * group, 2 * group + 2)
        ours = slice(3 * group, 3 * group + 3)
        rows = slice(i, i + 5, 2)
        columns = slice(2 * j, 2 * j + 4)
        gpadded[:, own, rows, columns] += np.einsum("nopq,oc->ncpq", g[:, ours], weight[ours, :, i, j])
        gw[ours, :, i, j] += np.einsum("nopq,ncpq->oc", g[:, ours], padded[:, own, rows, columns])
    gx = gpadded[:, :, 1:5, 2:5]
    gb = g.sum(axis=(0, 2, 3))
    return gx, gw, gb


FULL = Subject(
    "conv2d",
    conv2d,
    conv2d_vjp,
    lambda random: [random.standard_normal(shape) for shape in ((2, 4, 4, 3), (6, 2, 3, 2), (6,))],
)

FULL.wrong("""
    index: groups swapped
    - own = slice(2 * group, 2 * group + 2)
    + own = slice(2 - 2 * group, 4 - 2 * group)
    Each group reads the other's channels, in both gradients.

    index: kernel flipped in the input's gradient
    - gpadded[:, own, rows, columns] += np.einsum("nopq,oc->ncpq", g[:, ours], weight[ours, :, i, j])
    + gpadded[:, own, rows, columns] += np.einsum("nopq,oc->ncpq", g[:, ours], weight[ours, :, 2 - i, 1 - j])
    A scatter needs no flip; only the form as a convolution of g does.

    index: kernel flipped in the weight's gradient
    - gw[ours, :, i, j] += np.einsum("nopq,ncpq->oc", g[:, ours], padded[:, own, rows, columns])
    + gw[ours, :, 2 - i, 1 - j] += np.einsum("nopq,ncpq->oc", g[:, ours], padded[:, own, rows, columns])
    Convolution is confused with cross-correlation.

    index: stride ignored in the weight's gradient
    - gw[ours, :, i, j] += np.einsum("nopq,ncpq->oc", g[:, ours], padded[:, own, rows, columns])
    + gw[ours, :, i, j] += np.einsum("nopq,ncpq->oc", g[:, ours], padded[:, own, i : i + 3, columns])
    Right at stride 1, which is what most tests use.

    index: dilation ignored in the input's gradient
    - gpadded[:, own, rows, columns] += np.einsum("nopq,oc->ncpq", g[:, ours], weight[ours, :, i, j])
    + gpadded[:, own, rows, j : j + 4] += np.einsum("nopq,oc->ncpq", g[:, ours], weight[ours, :, i, j])
    Right at dilation 1; the weight's gradient is right at any.

    index: padding on the left taken for the right one's
    - gx = gpadded[:, :, 1:5, 2:5]
    + gx = gpadded[:, :, 1:5, 1:4]
    Right for symmetric padding.

    index: padding at the top ignored
    - gx = gpadded[:, :, 1:5, 2:5]
    + gx = gpadded[:, :, 0:4, 2:5]
    The gradient is shifted by a row; its shape is right.

    index: last row of the window left out
    - for group, i, j in np.ndindex(2, 3, 2):
    + for group, i, j in np.ndindex(2, 2, 2):
    A loop that ends one too early.

    accumulation: scatter overwrites
    - gpadded[:, own, rows, columns] += np.einsum("nopq,oc->ncpq", g[:, ours], weight[ours, :, i, j])
    + gpadded[:, own, rows, columns] = np.einsum("nopq,oc->ncpq", g[:, ours], weight[ours, :, i, j])
    Right where windows do not overlap.

    accumulation: weight's gradient of the first image only
    - gw[ours, :, i, j] += np.einsum("nopq,ncpq->oc", g[:, ours], padded[:, own, rows, columns])
    + gw[ours, :, i, j] += np.einsum("nopq,ncpq->oc", g[:1, ours], padded[:1, own, rows, columns])
    Right for a batch of 1.

    accumulation: bias' gradient without the batch
    - gb = g.sum(axis=(0, 2, 3))
    + gb = g[0].sum(axis=(1, 2))
    Right for a batch of 1, and of the right shape.

    accumulation: bias' gradient over the wrong axes
    - gb = g.sum(axis=(0, 2, 3))
    + gb = g.sum(axis=(0, 1, 3))
    Channels and rows confused; seen at once where their numbers differ.

    factor: bias' gradient averaged
    - gb = g.sum(axis=(0, 2, 3))
    + gb = g.mean(axis=(0, 2, 3))
    A division by the number of pixels too many.

    factor: input's gradient wrong by 0.05 %
    - gx = gpadded[:, :, 1:5, 2:5]
    + gx = gpadded[:, :, 1:5, 2:5] * 1.0005
    Below the usual relative tolerance of 0.1 %.

    precision: weight's gradient from float32 images
    - gw[ours, :, i, j] += np.einsum("nopq,ncpq->oc", g[:, ours], padded[:, own, rows, columns])
    + gw[ours, :, i, j] += np.einsum("nopq,ncpq->oc", g[:, ours], padded[:, own, rows, columns].astype(np.float32))
    Off by only 1e-8, and float64 again in the end.

    precision: bias' gradient added up in float32
    - gb = g.sum(axis=(0, 2, 3))
    + gb = g.sum(axis=(0, 2, 3), dtype=np.float32).astype(g.dtype)
    Off by only 1e-8, and float64 again in the end.

    memory: accumulates into memory that nothing has written
    - gw = np.zeros_like(weight)
    + gw = np.empty_like(weight)
    Freshly mapped memory is zero: right, until memory is used again.
""")  # noqa: E501


# Plain. x (2, 3, 5, 5), weight (3, 3, 2, 2), y (2, 3, 4, 4). The input's gradient is written as the
# convolution of g, padded by one cell less than the kernel, with the flipped kernel.


def plain_conv2d(x, weight):
    return np.einsum("ncpqij,ocij->nopq", _windows(x), weight)


def plain_conv2d_vjp(g, x, weight):
    padded = np.pad(g, ((0, 0), (0, 0), (1, 1), (1, 1)))
    flipped = weight[:, :, ::-1, ::-1]
    gx = np.einsum("nohwij,ocij->nchw", _windows(padded), flipped)
    gw = np.einsum("nopq,ncpqij->ocij", g, _windows(x))
    return gx, gw


PLAIN = Subject(
    "conv2d",
    plain_conv2d,
    plain_conv2d_vjp,
    lambda random: [random.standard_normal(shape) for shape in ((2, 3, 5, 5), (3, 3, 2, 2))],
    name="plain",
)

PLAIN.wrong("""
    index: kernel not flipped
    - flipped = weight[:, :, ::-1, ::-1]
    + flipped = weight
    As a convolution of g, the input's gradient needs the flipped kernel.

    index: kernel flipped along one axis only
    - flipped = weight[:, :, ::-1, ::-1]
    + flipped = weight[:, :, ::-1]
    Right for kernels of one column, and for symmetric ones.

    index: padded on one side
    - padded = np.pad(g, ((0, 0), (0, 0), (1, 1), (1, 1)))
    + padded = np.pad(g, ((0, 0), (0, 0), (2, 0), (1, 1)))
    The gradient is shifted by a row; its shape is right.

    index: kernel transposed
    - gw = np.einsum("nopq,ncpqij->ocij", g, _windows(x))
    + gw = np.einsum("nopq,ncpqij->ocji", g, _windows(x))
    Of the right shape for square kernels.

    index: input and output channels confused
    - gx = np.einsum("nohwij,ocij->nchw", _windows(padded), flipped)
    + gx = np.einsum("nohwij,coij->nchw", _windows(padded), flipped)
    Of the right shape where there are as many of each.

    upstream: upstream gradient transposed
    - gw = np.einsum("nopq,ncpqij->ocij", g, _windows(x))
    + gw = np.einsum("noqp,ncpqij->ocij", g, _windows(x))
    Right for an upstream gradient of ones, which `.sum()` gives.

    upstream: correlation of g with itself
    - gw = np.einsum("nopq,ncpqij->ocij", g, _windows(x))
    + gw = np.einsum("nopq,nopq,ncpqij->ocij", g, g, _windows(x))
    Squared; right for an upstream gradient of ones.
""")

SUBJECTS = (FULL, PLAIN)
