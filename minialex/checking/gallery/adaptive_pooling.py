"""Wrong gradients of pooling to a given size, whose windows differ in length and overlap."""

import numpy as np

from minialex.checking.gallery.mistake import Subject
from minialex.checking.testing.values import distinct_values


def window(position, cells, positions):
    """From floor(p H / P) to ceil((p + 1) H / P)."""
    return slice(position * cells // positions, -(-(position + 1) * cells // positions))


# Of 5 x 7 cells to 3 x 4. x (2, 5, 7), y (2, 3, 4)
SIZE = (3, 4)


def mean_pool(x):
    y = np.empty((len(x), *SIZE))
    for p, q in np.ndindex(SIZE):
        y[:, p, q] = x[:, window(p, 5, 3), window(q, 7, 4)].mean(axis=(1, 2))
    return y


def mean_pool_vjp(g, x):
    gx = np.zeros_like(x)
    for p, q in np.ndindex(SIZE):
        rows, columns = window(p, 5, 3), window(q, 7, 4)
        area = (rows.stop - rows.start) * (columns.stop - columns.start)
        gx[:, rows, columns] += g[:, p, q, None, None] / area
    return (gx,)


MEAN = Subject(
    "adaptive_avg_pool2d", mean_pool, mean_pool_vjp, lambda random: [random.standard_normal((2, 5, 7))]
)

MEAN.wrong("""
    factor: the mean area for each
    - area = (rows.stop - rows.start) * (columns.stop - columns.start)
    + area = x[0].size / (SIZE[0] * SIZE[1])
    Right where the size divides the cells.

    index: windows that end too early
    - rows, columns = window(p, 5, 3), window(q, 7, 4)
    + rows, columns = slice(p * 5 // 3, (p + 1) * 5 // 3), window(q, 7, 4)
    Rounded down at both ends: neighbours that do not overlap.

    accumulation: shared cells overwritten
    - gx[:, rows, columns] += g[:, p, q, None, None] / area
    + gx[:, rows, columns] = g[:, p, q, None, None] / area
    Right where windows do not overlap.
""")


def max_pool(x):
    y = np.empty((len(x), *SIZE))
    for p, q in np.ndindex(SIZE):
        y[:, p, q] = x[:, window(p, 5, 3), window(q, 7, 4)].max(axis=(1, 2))
    return y


def max_pool_vjp(g, x):
    gx = np.zeros_like(x)
    for n, p, q in np.ndindex(g.shape):
        rows, columns = window(p, 5, 3), window(q, 7, 4)
        cells = x[n, rows, columns]
        row, column = divmod(int(cells.argmax()), cells.shape[1])
        gx[n, rows.start + row, columns.start + column] += g[n, p, q]
    return (gx,)


MAX = Subject(
    "adaptive_max_pool2d", max_pool, max_pool_vjp, lambda random: [distinct_values(random, (2, 5, 7))]
)

MAX.wrong("""
    index: place within the window
    - gx[n, rows.start + row, columns.start + column] += g[n, p, q]
    + gx[n, rows.start + row, column] += g[n, p, q]
    The window's start forgotten; right for a single column of windows.

    index: rounded before it is multiplied
    - gx[n, rows.start + row, columns.start + column] += g[n, p, q]
    + gx[n, rows.start + row, q * (7 // 4) + column] += g[n, p, q]
    Right where the size divides the cells.

    accumulation: a cell that wins twice
    - gx[n, rows.start + row, columns.start + column] += g[n, p, q]
    + gx[n, rows.start + row, columns.start + column] = g[n, p, q]
    Windows overlap, and share their maxima.
""")

SUBJECTS = (MEAN, MAX)
