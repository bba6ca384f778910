"""Wrong gradients of max-pooling and average pooling."""

import numpy as np

from minialex.checking.gallery.mistake import Subject
from minialex.checking.testing.values import distinct_values

# Max-pooling: windows of 3 at stride 2, padding 1. x (2, 3, 4, 6), y (2, 3, 2, 3)
BORDER = ((0, 0), (0, 0), (1, 1), (1, 1))


def max_pool2d(x):
    padded = np.pad(x, BORDER, constant_values=-np.inf)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))
    return windows[:, :, ::2, ::2].max(axis=(4, 5))


def max_pool2d_vjp(g, x):
    padded = np.pad(x, BORDER, constant_values=-np.inf)
    gpadded = np.zeros_like(padded)
    for n, c, p, q in np.ndindex(g.shape):
        window = padded[n, c, 2 * p : 2 * p + 3, 2 * q : 2 * q + 3]
        row, column = divmod(int(window.argmax()), 3)
        gpadded[n, c, 2 * p + row, 2 * q + column] += g[n, c, p, q]
    gx = gpadded[:, :, 1:5, 1:7]
    return (gx,)


# Negative values, as behind a layer without ReLU: a padding of 0 would win.
MAX = Subject(
    "max_pool2d", max_pool2d, max_pool2d_vjp, lambda random: [distinct_values(random, (2, 3, 4, 6)) - 20]
)

MAX.wrong("""
    accumulation: scatter overwrites
    - gpadded[n, c, 2 * p + row, 2 * q + column] += g[n, c, p, q]
    + gpadded[n, c, 2 * p + row, 2 * q + column] = g[n, c, p, q]
    Right where windows do not overlap: AlexNet's do.

    constant: padding with 0
    - padded = np.pad(x, BORDER, constant_values=-np.inf)
    + padded = np.pad(x, BORDER)
    Right behind a ReLU.

    index: padding on one side ignored
    - gx = gpadded[:, :, 1:5, 1:7]
    + gx = gpadded[:, :, 1:5, :6]
    The gradient is shifted by a column; its shape is right.

    index: window smaller by one
    - window = padded[n, c, 2 * p : 2 * p + 3, 2 * q : 2 * q + 3]
    + window = padded[n, c, 2 * p : 2 * p + 2, 2 * q : 2 * q + 3]
    A window that ends one row too early.

    index: index split by the wrong width
    - row, column = divmod(int(window.argmax()), 3)
    + column, row = divmod(int(window.argmax()), 3)
    Column-major for row-major.

    index: minimum for maximum
    - row, column = divmod(int(window.argmax()), 3)
    + row, column = divmod(int(window.argmin()), 3)
    A copy of min-pooling.

    index: stride ignored in the scatter
    - gpadded[n, c, 2 * p + row, 2 * q + column] += g[n, c, p, q]
    + gpadded[n, c, p + row, q + column] += g[n, c, p, q]
    Right at stride 1.

    memory: gradient starts from memory that nothing has written
    - gpadded = np.zeros_like(padded)
    + gpadded = np.empty_like(padded)
    Freshly mapped memory is zero: right, until memory is used again.
""")


# Gathering the winners: values[winner of each pair of scores]. It is the second derivative of max-pooling,
# and differentiable at ties of the scores, where max-pooling itself has a kink.
# values and scores (3, 8), y (3, 4); the scores are integers, and constant


def winners(values, scores):
    first = scores.reshape(3, 4, 2).argmax(axis=2)
    return np.take_along_axis(values.reshape(3, 4, 2), first[..., None], axis=2)[..., 0]


def winners_vjp(g, values, scores):
    pairs = scores.reshape(3, 4, 2)
    wins = pairs[..., 0] >= pairs[..., 1]
    gv = np.stack([g * wins, g * ~wins], axis=2).reshape(3, 8)
    return gv, None


WINNERS = Subject(
    "max_pool2d",
    winners,
    winners_vjp,
    lambda random: [random.standard_normal((3, 8)), np.tile([5, 5, 1, 2, 4, 3, 7, 7], (3, 1))],
    name="winners",
)

WINNERS.wrong("""
    constant: the last maximum instead of the first
    - wins = pairs[..., 0] >= pairs[..., 1]
    + wins = pairs[..., 0] > pairs[..., 1]
    Forward and backward must break ties alike. Ties are frequent: behind a ReLU whole windows are 0.

    constant: all maxima get the gradient
    - gv = np.stack([g * wins, g * ~wins], axis=2).reshape(3, 8)
    + gv = np.stack([g * wins, g * (pairs[..., 1] >= pairs[..., 0])], axis=2).reshape(3, 8)
    Written as a comparison with the maximum: at ties the gradient doubles.
""")


# Average pooling: windows of 3 at stride 2, padding 1 that is not counted. x (2, 2, 4, 6), y (2, 2, 2, 3)


def avg_pool2d(x):
    rows, columns = ([slice(max(2 * p - 1, 0), 2 * p + 2) for p in range(n // 2)] for n in x.shape[2:])
    return np.stack([np.stack([x[:, :, r, c].mean(axis=(2, 3)) for c in columns], -1) for r in rows], -2)


def avg_pool2d_vjp(g, x):
    gx = np.zeros_like(x)
    for p, q in np.ndindex(2, 3):
        rows = slice(max(2 * p - 1, 0), 2 * p + 2)
        columns = slice(max(2 * q - 1, 0), 2 * q + 2)
        count = gx[0, 0, rows, columns].size
        gx[:, :, rows, columns] += g[:, :, p, q, None, None] / count
    return (gx,)


AVERAGE = Subject(
    "avg_pool2d", avg_pool2d, avg_pool2d_vjp, lambda random: [random.standard_normal((2, 2, 4, 6))]
)

AVERAGE.wrong("""
    constant: padding counted
    - count = gx[0, 0, rows, columns].size
    + count = 9
    Wrong at the border only.

    factor: not divided
    - gx[:, :, rows, columns] += g[:, :, p, q, None, None] / count
    + gx[:, :, rows, columns] += g[:, :, p, q, None, None]
    The gradient of a sum.

    accumulation: scatter overwrites
    - gx[:, :, rows, columns] += g[:, :, p, q, None, None] / count
    + gx[:, :, rows, columns] = g[:, :, p, q, None, None] / count
    Right where windows do not overlap.

    index: window smaller by one
    - rows = slice(max(2 * p - 1, 0), 2 * p + 2)
    + rows = slice(max(2 * p - 1, 0), 2 * p + 1)
    A window that ends one row too early; what it spreads adds up to the same.

    index: padding at the left ignored
    - columns = slice(max(2 * q - 1, 0), 2 * q + 2)
    + columns = slice(2 * q, 2 * q + 3)
    Each window is a column too far to the right.

    memory: stale gradient: memory that nothing has written
    - gx = np.zeros_like(x)
    + gx = np.empty_like(x)
    Freshly mapped memory is zero: right, until memory is used again.
""")


# Global average pooling: the window is the image. x (2, 3, 4, 5), y (2, 3)


def global_average(x):
    return x.mean(axis=(2, 3))


def global_average_vjp(g, x):
    pixels = x.shape[2] * x.shape[3]
    gx = np.ones_like(x) * g[:, :, None, None] / pixels
    return (gx,)


GLOBAL = Subject(
    "avg_pool2d",
    global_average,
    global_average_vjp,
    lambda random: [random.standard_normal((2, 3, 4, 5))],
    name="of the whole image",
)

GLOBAL.wrong("""
    factor: missing 1/N
    - gx = np.ones_like(x) * g[:, :, None, None] / pixels
    + gx = np.ones_like(x) * g[:, :, None, None]
    The gradient of a sum: training only seems to have a larger learning rate.

    factor: divided by the wrong axis
    - pixels = x.shape[2] * x.shape[3]
    + pixels = x.shape[1] * x.shape[2]
    Right where there are as many channels as columns.
""")

# Unpooling: each of x (2, 3) at its place among 4 cells, as pooling found them. y (2, 4)
PLACES = np.array([[1, 3, 0], [2, 0, 3]])


def max_unpool2d(x):
    y = np.zeros((2, 4))
    np.put_along_axis(y, PLACES, x, axis=1)
    return y


def max_unpool2d_vjp(g, x):
    gx = np.take_along_axis(g, PLACES, axis=1)
    return (gx,)


UNPOOL = Subject(
    "max_unpool2d", max_unpool2d, max_unpool2d_vjp, lambda random: [random.standard_normal((2, 3))]
)

UNPOOL.wrong("""
    index: the first cells
    - gx = np.take_along_axis(g, PLACES, axis=1)
    + gx = g[:, : x.shape[1]].copy()
    As if the places were in order.

    index: the inverse order
    - gx = np.take_along_axis(g, PLACES, axis=1)
    + gx = np.take_along_axis(g, np.argsort(PLACES, axis=1), axis=1)
    A scatter's gradient is a gather at the same places, not at those of their order.
""")

SUBJECTS = (MAX, WINNERS, AVERAGE, GLOBAL, UNPOOL)
