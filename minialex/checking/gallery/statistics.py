"""Wrong gradients of variance, standard deviation, norms, and Einstein's summation."""

import numpy as np

from minialex.checking.gallery.mistake import Subject


def _rows(random):
    return [random.standard_normal((3, 4))]


# Along axis 1, with Bessel's correction. x (3, 4)


def var(x):
    return x.var(axis=1, ddof=1)


def var_vjp(g, x):
    centred = x - x.mean(axis=1, keepdims=True)
    gx = g[:, None] * 2 * centred / (x.shape[1] - 1)
    return (gx,)


VAR = Subject("var", var, var_vjp, _rows)

VAR.wrong("""
    constant: the biased variance's
    - gx = g[:, None] * 2 * centred / (x.shape[1] - 1)
    + gx = g[:, None] * 2 * centred / x.shape[1]
    NumPy has no correction by default, PyTorch has.

    term: not centred
    - centred = x - x.mean(axis=1, keepdims=True)
    + centred = x.copy()
    Right for rows of mean 0.

    accumulation: centred over the wrong axis
    - centred = x - x.mean(axis=1, keepdims=True)
    + centred = x - x.mean(axis=0, keepdims=True)
    Broadcasting hides it.
""")


def std(x):
    return x.std(axis=1, ddof=1)


def std_vjp(g, x):
    centred = x - x.mean(axis=1, keepdims=True)
    gx = g[:, None] * centred / (x.shape[1] - 1) / x.std(axis=1, ddof=1)[:, None]
    return (gx,)


STD = Subject("std", std, std_vjp, _rows)

STD.wrong("""
    term: the variance's
    - gx = g[:, None] * centred / (x.shape[1] - 1) / x.std(axis=1, ddof=1)[:, None]
    + gx = g[:, None] * 2 * centred / (x.shape[1] - 1)
    The root not differentiated.

    constant: the biased deviation in the denominator
    - gx = g[:, None] * centred / (x.shape[1] - 1) / x.std(axis=1, ddof=1)[:, None]
    + gx = g[:, None] * centred / (x.shape[1] - 1) / x.std(axis=1)[:, None]
    Two kinds of deviation in one formula.
""")

# Of all elements: the root of the sum of squares


def norm(x):
    return np.sqrt((x**2).sum())


def norm_vjp(g, x):
    gx = g * x / np.sqrt((x**2).sum())
    return (gx,)


NORM = Subject("norm", norm, norm_vjp, _rows)

NORM.wrong("""
    term: the root not differentiated
    - gx = g * x / np.sqrt((x**2).sum())
    + gx = g * 2 * x
    The gradient of the square.

    accumulation: normalised by rows
    - gx = g * x / np.sqrt((x**2).sum())
    + gx = g * x / np.sqrt((x**2).sum(axis=1, keepdims=True))
    The norm is of all elements.
""")

P = 3.0


def p_norm(x):
    return (np.abs(x) ** P).sum(axis=1) ** (1 / P)


def p_norm_vjp(g, x):
    powers = np.sign(x) * np.abs(x) ** (P - 1)
    gx = g[:, None] * powers * p_norm(x)[:, None] ** (1 - P)
    return (gx,)


P_NORM = Subject("norm", p_norm, p_norm_vjp, _rows, name="of p")

P_NORM.wrong("""
    factor: sign lost
    - powers = np.sign(x) * np.abs(x) ** (P - 1)
    + powers = np.abs(x) ** (P - 1)
    Right for positive numbers.

    constant: p left in
    - gx = g[:, None] * powers * p_norm(x)[:, None] ** (1 - P)
    + gx = g[:, None] * P * powers * p_norm(x)[:, None] ** (1 - P)
    The p of the power cancels the 1/p of the root.

    constant: as of the 2-norm
    - gx = g[:, None] * powers * p_norm(x)[:, None] ** (1 - P)
    + gx = g[:, None] * x / p_norm(x)[:, None]
    Right for p = 2.
""")

# Einstein's summation: y[n, o, w] = sum of x[n, c, w] m[c, o, w] over c. x (2, 3, 4), m (3, 5, 4)


def einsum(x, m):
    return np.einsum("ncw,cow->now", x, m)


def einsum_vjp(g, x, m):
    gx = np.einsum("now,cow->ncw", g, m)
    gm = np.einsum("now,ncw->cow", g, x)
    return gx, gm


EINSUM = Subject(
    "einsum",
    einsum,
    einsum_vjp,
    lambda random: [random.standard_normal((2, 3, 4)), random.standard_normal((3, 5, 4))],
)

EINSUM.wrong("""
    accumulation: a batch axis summed over
    - gx = np.einsum("now,cow->ncw", g, m)
    + gx = np.einsum("now,cov->ncw", g, m)
    The letter is in both operands and in the result: it is not summed over.

    accumulation: the batch left out
    - gm = np.einsum("now,ncw->cow", g, x)
    + gm = np.einsum("ow,cw->cow", g[0], x[0])
    Right for a batch of 1.
""")

# A letter twice in one operand, and a sum over an axis that nothing else names. x (3, 3, 4), y (3,)


def diagonal(x):
    return np.einsum("iik->i", x)


def diagonal_vjp(g, x):
    gx = np.zeros_like(x)
    gx[np.arange(3), np.arange(3)] = g[:, None]
    return (gx,)


DIAGONAL = Subject(
    "einsum", diagonal, diagonal_vjp, lambda random: [random.standard_normal((3, 3, 4))], name="diagonal"
)

DIAGONAL.wrong("""
    term: all for the diagonal
    - gx[np.arange(3), np.arange(3)] = g[:, None]
    + gx[:] = g[:, None, None]
    The gradient of a sum over the second axis.

    factor: averaged over what is summed
    - gx[np.arange(3), np.arange(3)] = g[:, None]
    + gx[np.arange(3), np.arange(3)] = g[:, None] / x.shape[2]
    A mean for a sum.
""")

SUBJECTS = (VAR, STD, NORM, P_NORM, EINSUM, DIAGONAL)
