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
_SCATTER = 'gpadded[:, own, rows, columns] += np.einsum("nopq,oc->ncpq", g[:, ours], weight[ours, :, i, j])'
_WEIGHT = 'gw[ours, :, i, j] += np.einsum("nopq,ncpq->oc", g[:, ours], padded[:, own, rows, columns])'

FULL.wrong(
    "groups swapped",
    "index",
    "own = slice(2 * group, 2 * group + 2)",
    "own = slice(2 - 2 * group, 4 - 2 * group)",
    "Each group reads the other's channels, in both gradients.",
)
FULL.wrong(
    "kernel flipped in the input's gradient",
    "index",
    _SCATTER,
    _SCATTER.replace("i, j])", "2 - i, 1 - j])"),
    "A scatter needs no flip; only the form as a convolution of g does.",
)
FULL.wrong(
    "kernel flipped in the weight's gradient",
    "index",
    _WEIGHT,
    _WEIGHT.replace("gw[ours, :, i, j]", "gw[ours, :, 2 - i, 1 - j]"),
    "Convolution is confused with cross-correlation.",
)
FULL.wrong(
    "stride ignored in the weight's gradient",
    "index",
    _WEIGHT,
    _WEIGHT.replace("own, rows", "own, i : i + 3"),
    "Right at stride 1, which is what most tests use.",
)
FULL.wrong(
    "dilation ignored in the input's gradient",
    "index",
    _SCATTER,
    _SCATTER.replace("rows, columns]", "rows, j : j + 4]"),
    "Right at dilation 1; the weight's gradient is right at any.",
)
FULL.wrong(
    "padding on the left taken for the right one's",
    "index",
    "gx = gpadded[:, :, 1:5, 2:5]",
    "gx = gpadded[:, :, 1:5, 1:4]",
    "Right for symmetric padding.",
)
FULL.wrong(
    "padding at the top ignored",
    "index",
    "gx = gpadded[:, :, 1:5, 2:5]",
    "gx = gpadded[:, :, 0:4, 2:5]",
    "The gradient is shifted by a row; its shape is right.",
)
FULL.wrong(
    "last row of the window left out",
    "index",
    "for group, i, j in np.ndindex(2, 3, 2):",
    "for group, i, j in np.ndindex(2, 2, 2):",
    "A loop that ends one too early.",
)
FULL.wrong(
    "scatter overwrites",
    "accumulation",
    _SCATTER,
    _SCATTER.replace("+=", "="),
    "Right where windows do not overlap.",
)
FULL.wrong(
    "weight's gradient of the first image alone",
    "accumulation",
    _WEIGHT,
    _WEIGHT.replace("g[:, ours], padded[:,", "g[:1, ours], padded[:1,"),
    "Right for a batch of 1.",
)
FULL.wrong(
    "bias' gradient without the batch",
    "accumulation",
    "gb = g.sum(axis=(0, 2, 3))",
    "gb = g[0].sum(axis=(1, 2))",
    "Right for a batch of 1, and of the right shape.",
)
FULL.wrong(
    "bias' gradient over the wrong axes",
    "accumulation",
    "gb = g.sum(axis=(0, 2, 3))",
    "gb = g.sum(axis=(0, 1, 3))",
    "Channels and rows confused; seen at once where their numbers differ.",
)
FULL.wrong(
    "bias' gradient averaged",
    "factor",
    "gb = g.sum(axis=(0, 2, 3))",
    "gb = g.mean(axis=(0, 2, 3))",
    "A division by the number of pixels too many.",
)
FULL.wrong(
    "input's gradient wrong by 0.05 %",
    "factor",
    "gx = gpadded[:, :, 1:5, 2:5]",
    "gx = gpadded[:, :, 1:5, 2:5] * 1.0005",
    "Below the usual relative tolerance of 0.1 %.",
)
FULL.wrong(
    "weight's gradient from float32 images",
    "precision",
    _WEIGHT,
    _WEIGHT.replace("columns])", "columns].astype(np.float32))"),
    "Off by 1e-8 alone, and float64 again in the end.",
)
FULL.wrong(
    "bias' gradient added up in float32",
    "precision",
    "gb = g.sum(axis=(0, 2, 3))",
    "gb = g.sum(axis=(0, 2, 3), dtype=np.float32).astype(g.dtype)",
    "Off by 1e-8 alone, and float64 again in the end.",
)
FULL.wrong(
    "accumulates into memory that nothing has written",
    "memory",
    "gw = np.zeros_like(weight)",
    "gw = np.empty_like(weight)",
    "Freshly mapped memory is zero: right, until memory is used again.",
)


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

PLAIN.wrong(
    "kernel not flipped",
    "index",
    "flipped = weight[:, :, ::-1, ::-1]",
    "flipped = weight",
    "As a convolution of g, the input's gradient needs the flipped kernel.",
)
PLAIN.wrong(
    "kernel flipped along one axis alone",
    "index",
    "flipped = weight[:, :, ::-1, ::-1]",
    "flipped = weight[:, :, ::-1]",
    "Right for kernels of one column, and for symmetric ones.",
)
PLAIN.wrong(
    "padded on one side",
    "index",
    "padded = np.pad(g, ((0, 0), (0, 0), (1, 1), (1, 1)))",
    "padded = np.pad(g, ((0, 0), (0, 0), (2, 0), (1, 1)))",
    "The gradient is shifted by a row; its shape is right.",
)
PLAIN.wrong(
    "kernel transposed",
    "index",
    'gw = np.einsum("nopq,ncpqij->ocij", g, _windows(x))',
    'gw = np.einsum("nopq,ncpqij->ocji", g, _windows(x))',
    "Of the right shape for square kernels.",
)
PLAIN.wrong(
    "input and output channels confused",
    "index",
    'gx = np.einsum("nohwij,ocij->nchw", _windows(padded), flipped)',
    'gx = np.einsum("nohwij,coij->nchw", _windows(padded), flipped)',
    "Of the right shape where there are as many of each.",
)
PLAIN.wrong(
    "upstream gradient transposed",
    "upstream",
    'gw = np.einsum("nopq,ncpqij->ocij", g, _windows(x))',
    'gw = np.einsum("noqp,ncpqij->ocij", g, _windows(x))',
    "Right for an upstream gradient of ones, which `.sum()` gives.",
)
PLAIN.wrong(
    "correlation of g with itself",
    "upstream",
    'gw = np.einsum("nopq,ncpqij->ocij", g, _windows(x))',
    'gw = np.einsum("nopq,nopq,ncpqij->ocij", g, g, _windows(x))',
    "Squared; right for an upstream gradient of ones.",
)

SUBJECTS = (FULL, PLAIN)
