"""Wrong gradients of windows as columns and back, and of images in another size."""

import numpy as np

from minialex.checking.gallery.mistake import Subject

# Windows of 2 x 3 at stride 1 down and 2 across. x (2, 3, 4, 5), columns (2, 3 * 6, 3 * 2)


def unfold(x):
    cells = np.lib.stride_tricks.sliding_window_view(x, (2, 3), axis=(2, 3))[:, :, :, ::2]
    return cells.transpose(0, 1, 4, 5, 2, 3).reshape(2, 18, 6)


def unfold_vjp(g, x):
    cells = g.reshape(2, 3, 2, 3, 3, 2)
    gx = np.zeros_like(x)
    for i, j in np.ndindex(2, 3):
        gx[:, :, i : i + 3, j : j + 3 : 2] += cells[:, :, i, j]
    return (gx,)


UNFOLD = Subject("unfold", unfold, unfold_vjp, lambda random: [random.standard_normal((2, 3, 4, 5))])

UNFOLD.wrong("""
    accumulation: cells that windows share overwritten
    - gx[:, :, i : i + 3, j : j + 3 : 2] += cells[:, :, i, j]
    + gx[:, :, i : i + 3, j : j + 3 : 2] = cells[:, :, i, j]
    Right where windows do not overlap.

    index: channels last in the columns
    - cells = g.reshape(2, 3, 2, 3, 3, 2)
    + cells = np.moveaxis(g.reshape(2, 2, 3, 3, 3, 2), 3, 1)
    The order of a reshaped NHWC image.

    index: stride ignored
    - gx[:, :, i : i + 3, j : j + 3 : 2] += cells[:, :, i, j]
    + gx[:, :, i : i + 3, j : j + 2] += cells[:, :, i, j]
    Right at stride 1.
""")


def fold(columns):
    cells = columns.reshape(2, 3, 2, 3, 3, 2)
    y = np.zeros((2, 3, 4, 5))
    for i, j in np.ndindex(2, 3):
        y[:, :, i : i + 3, j : j + 3 : 2] += cells[:, :, i, j]
    return y


def fold_vjp(g, columns):
    gcells = np.zeros((2, 3, 2, 3, 3, 2))
    for i, j in np.ndindex(2, 3):
        gcells[:, :, i, j] = g[:, :, i : i + 3, j : j + 3 : 2]
    gx = gcells.reshape(columns.shape)
    return (gx,)


FOLD = Subject("fold", fold, fold_vjp, lambda random: [random.standard_normal((2, 18, 6))])

FOLD.wrong("""
    index: positions before cells
    - gx = gcells.reshape(columns.shape)
    + gx = gcells.transpose(0, 1, 4, 5, 2, 3).reshape(columns.shape)
    The order in which a view of the windows has them.

    index: window mirrored
    - gcells[:, :, i, j] = g[:, :, i : i + 3, j : j + 3 : 2]
    + gcells[:, :, i, j] = g[:, :, 1 - i : 4 - i, 2 - j : 5 - j : 2]
    The flip of a convolution, where there is none.
""")

# Nearest cells, of 4 to 7 and of 3 to 5. x (2, 4, 3), y (2, 7, 5)
ROWS = np.arange(7) * 4 // 7
COLUMNS = np.arange(5) * 3 // 5


def nearest(x):
    return x[:, ROWS[:, None], COLUMNS]


def nearest_vjp(g, x):
    gx = np.zeros_like(x)
    np.add.at(gx, (slice(None), ROWS[:, None], COLUMNS), g)
    return (gx,)


def _images(random):
    return [random.standard_normal((2, 4, 3))]


NEAREST = Subject("interpolate", nearest, nearest_vjp, _images, name="nearest")

NEAREST.wrong("""
    accumulation: copies overwrite
    - np.add.at(gx, (slice(None), ROWS[:, None], COLUMNS), g)
    + gx[:, ROWS[:, None], COLUMNS] += g
    NumPy buffers: a cell that is copied twice gets one of its gradients.

    index: rounded to the nearest centre
    - np.add.at(gx, (slice(None), ROWS[:, None], COLUMNS), g)
    + np.add.at(gx, (slice(None), np.rint(np.arange(7) * 3 / 6).astype(int)[:, None], COLUMNS), g)
    "nearest" rounds down; with corners aligned, as elsewhere, others are nearest.
""")


# Linear between the centres of two cells, along the last axis: of 3 cells to 5. x (2, 4, 3), y (2, 4, 5)
PLACES = np.maximum((np.arange(5) + 0.5) * 3 / 5 - 0.5, 0)
FIRST = np.floor(PLACES).astype(int)
SECOND = np.minimum(FIRST + 1, 2)


def linear(x):
    share = PLACES - FIRST
    return x[..., FIRST] * (1 - share) + x[..., SECOND] * share


def linear_vjp(g, x):
    share = PLACES - FIRST
    gx = np.zeros_like(x)
    np.add.at(gx, (..., FIRST), g * (1 - share))
    np.add.at(gx, (..., SECOND), g * share)
    return (gx,)


BILINEAR = Subject("interpolate", linear, linear_vjp, _images, name="bilinear")

BILINEAR.wrong("""
    index: shares exchanged
    - share = PLACES - FIRST
    + share = 1 - (PLACES - FIRST)
    The near cell has the large share, not the far one.

    constant: corners aligned
    - share = PLACES - FIRST
    + share = np.arange(5) * 2 / 4 - FIRST
    The other convention, in the gradient only.

    accumulation: one neighbour
    - np.add.at(gx, (..., SECOND), g * share)
    + np.add.at(gx, (..., SECOND), 0)
    Of two cells, the first.
""")

SUBJECTS = (UNFOLD, FOLD, NEAREST, BILINEAR)
