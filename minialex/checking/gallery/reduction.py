"""Wrong gradients of sums, means, maxima, indexing and transposition."""

import numpy as np

from minialex.checking.gallery.mistake import Subject
from minialex.checking.testing.values import distinct_values

# Sums, means and maxima along axis 1. x (3, 4)


def total(x):
    return x.sum(axis=1)


def total_vjp(g, x):
    gx = np.zeros_like(x) + g[:, None]
    return (gx,)


SUM = Subject("sum", total, total_vjp, lambda random: [random.standard_normal((4, 4))])

SUM.wrong("""
    index: spread along the wrong axis
    - gx = np.zeros_like(x) + g[:, None]
    + gx = np.zeros_like(x) + g
    Broadcasting puts a missing axis first; right for an upstream gradient of ones.
""")


def mean(x):
    return x.mean(axis=1)


def mean_vjp(g, x):
    gx = np.ones_like(x) * g[:, None] / x.shape[1]
    return (gx,)


MEAN = Subject("mean", mean, mean_vjp, lambda random: [random.standard_normal((3, 4))])

MEAN.wrong("""
    factor: missing 1/N
    - gx = np.ones_like(x) * g[:, None] / x.shape[1]
    + gx = np.ones_like(x) * g[:, None]
    The gradient of the sum.
""")


def centre(x):
    return x - x.mean(axis=1, keepdims=True)


def centre_vjp(g, x):
    gx = g - g.mean(axis=1, keepdims=True)
    return (gx,)


CENTRE = Subject("mean", centre, centre_vjp, lambda random: [random.standard_normal((3, 4))], name="removed")

CENTRE.wrong("""
    term: the mean taken for a constant
    - gx = g - g.mean(axis=1, keepdims=True)
    + gx = g.copy()
    Every element moves the mean a little.
""")


def amax(x):
    return x.max(axis=1)


def amax_vjp(g, x):
    wins = x == x.max(axis=1, keepdims=True)
    gx = wins * g[:, None]
    return (gx,)


AMAX = Subject("amax", amax, amax_vjp, lambda random: [distinct_values(random, (3, 4))])

AMAX.wrong("""
    term: all elements get the gradient
    - gx = wins * g[:, None]
    + gx = np.ones_like(x) * g[:, None]
    The gradient of the sum.

    accumulation: maximum of the whole
    - wins = x == x.max(axis=1, keepdims=True)
    + wins = x == x.max(keepdims=True)
    All rows but one get nothing.
""")

# Indexing. x (4, 5): rows 0, 2, 0, 3 in this order; and a slice
ROWS = np.array([0, 2, 0, 3])


def take(x):
    return x[ROWS]


def take_vjp(g, x):
    gx = np.zeros_like(x)
    np.add.at(gx, ROWS, g)
    return (gx,)


def _table(random):
    return [random.standard_normal((4, 5))]


TAKE = Subject("indexing", take, take_vjp, _table, name="repeated rows")

TAKE.wrong("""
    accumulation: repeated indices overwrite
    - np.add.at(gx, ROWS, g)
    + gx[ROWS] += g
    NumPy buffers: a row that is named twice gets one of its gradients.

    memory: memory that nothing has written
    - gx = np.zeros_like(x)
    + gx = np.empty_like(x)
    Rows that are not named should have a gradient of 0.
""")


def cut(x):
    return x[1:, ::2]


def cut_vjp(g, x):
    gx = np.zeros(x.shape)
    gx[1:, ::2] = g
    return (gx,)


SLICE = Subject("indexing", cut, cut_vjp, _table, name="slice")

SLICE.wrong("""
    index: one row too early
    - gx[1:, ::2] = g
    + gx[:-1, ::2] = g
    An off-by-one in where the slice starts.

    index: written backwards
    - gx[1:, ::2] = g
    + gx[1:, ::-2] = g
    A negative step; right for symmetric gradients.
""")


def pick(x):
    return x.reshape(-1)[::3]


def pick_vjp(g, x):
    gx = np.zeros(x.shape)
    gx.reshape(-1)[::3] = g
    return (gx,)


PICK = Subject("indexing", pick, pick_vjp, _table, name="flat")

PICK.wrong("""
    layout: a copy is written to
    - gx = np.zeros(x.shape)
    + gx = np.zeros_like(x)
    zeros_like keeps the order of a transposed x; reshape then copies, and the gradient stays 0.
""")

# Another order of the axes. x (3, 3, 3)


def transpose(x):
    return x.transpose(2, 0, 1)


def transpose_vjp(g, x):
    gx = g.transpose(1, 2, 0)
    return (gx,)


TRANSPOSE = Subject("transpose", transpose, transpose_vjp, lambda random: [random.standard_normal((3, 3, 3))])

TRANSPOSE.wrong("""
    index: the same order instead of its inverse
    - gx = g.transpose(1, 2, 0)
    + gx = g.transpose(2, 0, 1)
    Right for exchanges of two axes, which are their own inverse.
""")

SUBJECTS = (SUM, MEAN, CENTRE, AMAX, TAKE, SLICE, PICK, TRANSPOSE)
