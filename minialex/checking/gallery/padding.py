"""Wrong gradients of padding: by zeros, mirrored, by the edge, and around."""

import numpy as np

from minialex.checking.gallery.mistake import Subject

# Two cells before and one after. x (3, 5), y (3, 8)
BEFORE, AFTER = 2, 1


def _rows(random):
    return [random.standard_normal((3, 5))]


def constant(x):
    return np.pad(x, ((0, 0), (BEFORE, AFTER)))


def constant_vjp(g, x):
    gx = g[:, BEFORE:-AFTER].copy()
    return (gx,)


CONSTANT = Subject("pad", constant, constant_vjp, _rows, name="constant")

CONSTANT.wrong("""
    index: before and after exchanged
    - gx = g[:, BEFORE:-AFTER].copy()
    + gx = g[:, AFTER:-BEFORE].copy()
    Right for as many cells on both sides.

    index: padding not cut off
    - gx = g[:, BEFORE:-AFTER].copy()
    + gx = g[:, : x.shape[1]].copy()
    Right where padding comes after only.
""")

# Mirrored at the edge cell, which is not repeated: y = x2 x1 | x0 x1 x2 x3 x4 | x3


def reflect(x):
    return np.pad(x, ((0, 0), (BEFORE, AFTER)), mode="reflect")


def reflect_vjp(g, x):
    gx = g[:, BEFORE:-AFTER].copy()
    gx[:, 1 : BEFORE + 1] += g[:, BEFORE - 1 :: -1]
    gx[:, -1 - AFTER : -1] += g[:, : -1 - AFTER : -1]
    return (gx,)


REFLECT = Subject("pad", reflect, reflect_vjp, _rows, name="reflect")

REFLECT.wrong("""
    index: the edge cell repeated
    - gx[:, 1 : BEFORE + 1] += g[:, BEFORE - 1 :: -1]
    + gx[:, :BEFORE] += g[:, BEFORE - 1 :: -1]
    The other mirror, NumPy's "symmetric".

    index: not mirrored
    - gx[:, 1 : BEFORE + 1] += g[:, BEFORE - 1 :: -1]
    + gx[:, 1 : BEFORE + 1] += g[:, :BEFORE]
    Right for a padding of 1.

    accumulation: mirror images lost
    - gx[:, 1 : BEFORE + 1] += g[:, BEFORE - 1 :: -1]
    + gx[:, 1 : BEFORE + 1] += 0
    Padding by a constant has no other gradient.
""")


def replicate(x):
    return np.pad(x, ((0, 0), (BEFORE, AFTER)), mode="edge")


def replicate_vjp(g, x):
    gx = g[:, BEFORE:-AFTER].copy()
    gx[:, 0] += g[:, :BEFORE].sum(axis=1)
    gx[:, -1] += g[:, -AFTER:].sum(axis=1)
    return (gx,)


REPLICATE = Subject("pad", replicate, replicate_vjp, _rows, name="replicate")

REPLICATE.wrong("""
    accumulation: one of several copies
    - gx[:, 0] += g[:, :BEFORE].sum(axis=1)
    + gx[:, 0] += g[:, 0]
    Right for a padding of 1.

    factor: the mean of the copies
    - gx[:, 0] += g[:, :BEFORE].sum(axis=1)
    + gx[:, 0] += g[:, :BEFORE].mean(axis=1)
    What is used twice has two gradients, which add up.

    index: the far edge
    - gx[:, -1] += g[:, -AFTER:].sum(axis=1)
    + gx[:, 0] += g[:, -AFTER:].sum(axis=1)
    The other mode, where the picture goes on around.
""")


def circular(x):
    return np.pad(x, ((0, 0), (BEFORE, AFTER)), mode="wrap")


def circular_vjp(g, x):
    gx = g[:, BEFORE:-AFTER].copy()
    gx[:, -BEFORE:] += g[:, :BEFORE]
    gx[:, :AFTER] += g[:, -AFTER:]
    return (gx,)


CIRCULAR = Subject("pad", circular, circular_vjp, _rows, name="circular")

CIRCULAR.wrong("""
    index: to the near side
    - gx[:, -BEFORE:] += g[:, :BEFORE]
    + gx[:, :BEFORE] += g[:, :BEFORE]
    What stands before the first cell is the last one.

    accumulation: overwrites
    - gx[:, :AFTER] += g[:, -AFTER:]
    + gx[:, :AFTER] = g[:, -AFTER:]
    The cell itself has a gradient already.
""")

SUBJECTS = (CONSTANT, REFLECT, REPLICATE, CIRCULAR)
