"""Measuring the rounding in values of a smooth function: how they scatter at points that lie close."""

from __future__ import annotations

import math
from enum import IntEnum

import numpy as np

from minialex.checking.gradients.differences import largest

# How much of a gradient's own magnitude may be lost to rounding, in units of the last bit.
ROUNDING = 512
# How far apart points lie, in units of what separates the nearest: some last bits.
_BESIDE_SCALES = {
    np.dtype(np.float64): (2**12, 2**16, 2**20, 2**24),
    np.dtype(np.float32): (2**3, 2**6, 2**9),
}
# Of what should be the same further still: it differs by rounding, or by all.
_FAR_SCALES = {
    np.dtype(np.float64): (2**28, 2**32, *(2**n for n in range(35, 47))),
    np.dtype(np.float32): (2**12, *(2**n for n in range(14, 18))),
}


# Rounding of what is made of numbers of the size of 1, or of the largest, is this many last bits of these.
_BITS = 16


class Distance(IntEnum):
    """How far from the inputs noise is looked for: each goes further than the one before, and is slower."""

    NEAR = 1
    BESIDE = 2
    FAR = 3


def noise_scales(dtype: np.dtype, distance: Distance) -> tuple[int, ...]:
    """How far apart the points lie at which noise is looked for, in units of a few last bits."""
    beside, far = _BESIDE_SCALES[dtype], _FAR_SCALES[dtype]
    return {Distance.NEAR: (1,), Distance.BESIDE: (1, *beside), Distance.FAR: (1, *beside, *far)}[distance]


def scatter(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The standard deviation of the rounding in values (K, M) of a smooth function at K equidistant points,
    K >= 7.

    Differences of a high order vanish for what is smooth; those of independent errors of deviation ν have the
    deviation ν sqrt(binomial(2k, k)) in order k. (R. W. Hamming, "Introduction to Applied Numerical
    Analysis", 1971, chapter 1; J. Moré and S. Wild, "Estimating computational noise", SIAM J. Sci. Comput.
    33, 2011.)

    Returns
    -------
    float64 (M,)
        The smallest of the estimates of the orders 3, 4 and 5; 0 where a value is not finite.
    bool (M,)
        Whether it is in most differences. A jump is in at most three of those of the third order.
    bool (M,)
        Whether it is certainly rounding: then the estimates also agree, where those of the function itself
        fall with the order.
    """
    estimates = []
    with np.errstate(invalid="ignore", over="ignore"):
        for order in (3, 4, 5):
            differences = np.diff(values, order, axis=0)
            estimates.append(np.sqrt(np.mean(differences**2, axis=0) / math.comb(2 * order, order)))
        least = np.minimum.reduce(estimates)
        ordinary = np.sort(np.abs(np.diff(values, 3, axis=0)), axis=0)[len(values) - 7]
        everywhere = (ordinary >= least) & (least > 0)
        alike = everywhere & (np.maximum.reduce(estimates) <= 4 * least)
    return np.where(np.isfinite(least), least, 0.0), everywhere, alike


def noise_at_scales(values: list[np.ndarray], dtype) -> np.ndarray:
    """The noise, from values (K, M) at points that lie further and further apart.

    What the nearest points show, where it is rounding and no jump, or slight; or more, if two scales agree on
    it: a function that oscillates between the points looks like noise at its own scale, and rounding does at
    all. Beyond a period all scales agree on that, so that the far ones count only for what stands still at
    the nearest points, as coarse results do, or is some last bits of 1 or of the largest of all values.
    """
    (near, everywhere, alike), *others = (scatter(each) for each in values)
    with np.errstate(invalid="ignore"):
        slight = near <= np.sqrt(np.finfo(dtype).eps) * np.abs(values[0]).max(axis=0)
    found = np.where(everywhere | slight, near, 0.0)
    still = (values[0] == values[0][:1]).all(axis=0)
    bits = _BITS * float(np.finfo(dtype).eps) * max(1.0, largest(values[0]))
    far_from = len(noise_scales(dtype, Distance.BESIDE))
    for number, (far, _, alike_there) in enumerate(others, 1):
        least, most = np.minimum(near, far), np.maximum(near, far)
        agreed = alike & alike_there & (most <= 8 * least)
        agreed &= still | (most <= bits) | (number < far_from)
        found = np.maximum(found, np.where(agreed, most, 0.0))
        near, alike = far, alike_there
    return found


def residue(at: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What is left of values (K, M) at K ascending places in [-1, 1] without a polynomial of degree 4.

    Returns
    -------
    float64 (M,)
        Its standard deviation; 0 where a value is not finite.
    bool (M,)
        Whether it changes its sign about as often as independent numbers do, and not as seldom as a kink or a
        bend.
    """
    degree = 4
    with np.errstate(invalid="ignore", over="ignore"):
        middle = values.mean(axis=0)
        powers = np.polynomial.legendre.legvander(at, degree)
        off = values - middle
        left = off - powers @ np.linalg.lstsq(powers, np.where(np.isfinite(off), off, 0.0), rcond=None)[0]
        found = np.sqrt((left**2).sum(axis=0) / (len(at) - degree - 1))
    changes = (np.diff(np.sign(left), axis=0) != 0).sum(axis=0)
    return np.where(np.isfinite(found), found, 0.0), changes >= 0.4 * len(at)
