"""Wrong gradients of convolution of sequences, and of transposed convolution."""

import numpy as np

from minialex.checking.gallery.mistake import Subject

# Sequences: stride 2, padding 1, dilation 2. x (2, 3, 8), weight (4, 3, 3), bias (4,), y (2, 4, 3)


def conv1d(x, weight, bias):
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1)))
    y = np.zeros((2, 4, 3)) + bias[:, None]
    for k in range(3):
        y += np.einsum("ncp,oc->nop", padded[:, :, 2 * k : 2 * k + 5 : 2], weight[:, :, k])
    return y


def conv1d_vjp(g, x, weight, bias):
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1)))
    gpadded = np.zeros_like(padded)
    gw = np.zeros_like(weight)
    for k in range(3):
        cells = slice(2 * k, 2 * k + 5, 2)
        gpadded[:, :, cells] += np.einsum("nop,oc->ncp", g, weight[:, :, k])
        gw[:, :, k] = np.einsum("nop,ncp->oc", g, padded[:, :, cells])
    gx = gpadded[:, :, 1:-1]
    gb = g.sum(axis=(0, 2))
    return gx, gw, gb


ROWS = Subject(
    "conv1d",
    conv1d,
    conv1d_vjp,
    lambda random: [random.standard_normal(shape) for shape in ((2, 3, 8), (4, 3, 3), (4,))],
)

ROWS.wrong("""
    index: taps in reverse
    - gpadded[:, :, cells] += np.einsum("nop,oc->ncp", g, weight[:, :, k])
    + gpadded[:, :, cells] += np.einsum("nop,oc->ncp", g, weight[:, :, 2 - k])
    A scatter needs no flip.

    constant: dilation left out
    - cells = slice(2 * k, 2 * k + 5, 2)
    + cells = slice(k, k + 5, 2)
    Right for a dilation of 1.

    index: padding not cut off
    - gx = gpadded[:, :, 1:-1]
    + gx = gpadded[:, :, :-2]
    Shifted by the padding; the shape is right.

    accumulation: bias' gradient without the batch
    - gb = g.sum(axis=(0, 2))
    + gb = g[0].sum(axis=1)
    Right for a batch of 1.
""")

# Transposed, at stride 2, padding 1: x (2, 3, 3, 2), weight (3, 4, 3, 3), bias (4,), y (2, 4, 5, 3).
# Each cell of x adds the weight, times itself, to a window of y.


def conv_transpose2d(x, weight, bias):
    padded = np.zeros((2, 4, 7, 5))
    for i, j in np.ndindex(3, 3):
        padded[:, :, i : i + 5 : 2, j : j + 3 : 2] += np.einsum("ncpq,co->nopq", x, weight[:, :, i, j])
    return padded[:, :, 1:-1, 1:-1] + bias[:, None, None]


def conv_transpose2d_vjp(g, x, weight, bias):
    padded = np.pad(g, ((0, 0), (0, 0), (1, 1), (1, 1)))
    gx = np.zeros_like(x)
    gw = np.zeros_like(weight)
    for i, j in np.ndindex(3, 3):
        window = padded[:, :, i : i + 5 : 2, j : j + 3 : 2]
        gx += np.einsum("nopq,co->ncpq", window, weight[:, :, i, j])
        gw[:, :, i, j] = np.einsum("nopq,ncpq->co", window, x)
    gb = g.sum(axis=(0, 2, 3))
    return gx, gw, gb


TRANSPOSED = Subject(
    "conv_transpose2d",
    conv_transpose2d,
    conv_transpose2d_vjp,
    lambda random: [random.standard_normal(shape) for shape in ((2, 3, 3, 2), (3, 4, 3, 3), (4,))],
)

TRANSPOSED.wrong("""
    index: kernel flipped
    - gx += np.einsum("nopq,co->ncpq", window, weight[:, :, i, j])
    + gx += np.einsum("nopq,co->ncpq", window, weight[:, :, 2 - i, 2 - j])
    Flipped once in the forward pass is not flipped again.

    index: stride ignored
    - window = padded[:, :, i : i + 5 : 2, j : j + 3 : 2]
    + window = padded[:, :, i : i + 3, j : j + 2]
    Right at stride 1.

    index: rows and columns of the kernel exchanged
    - gw[:, :, i, j] = np.einsum("nopq,ncpq->co", window, x)
    + gw[:, :, j, i] = np.einsum("nopq,ncpq->co", window, x)
    A square kernel has the same shape either way.

    accumulation: bias' gradient over the input's cells
    - gb = g.sum(axis=(0, 2, 3))
    + gb = g[:, :, ::2, ::2].sum(axis=(0, 2, 3))
    The bias is added to what the stride has put between, too.
""")

SUBJECTS = (ROWS, TRANSPOSED)
