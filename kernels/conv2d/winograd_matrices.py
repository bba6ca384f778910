"""The matrices of Winograd's convolution F(m x m, r x r), computed exactly.

To multiply polynomials, evaluate both at enough points, multiply the values, and interpolate
(Toom and Cook). Winograd's minimal filtering is the transpose of that: m outputs of a filter of r taps
from n = m + r - 1 multiplications instead of m * r,

    y = A.T @ [(G @ w) * (B.T @ x)]            x (n,), w (r,), y (m,)

and in two dimensions, with each matrix applied to both sides, n * n instead of m * m * r * r.

With points p_0 .. p_{n-2} and infinity, and N_i(x) the product of (x - p_j) over all j but i:

    A.T[k, i] = p_i^k                  and 1 at [m - 1, n - 1]     evaluates a polynomial of m terms
    G[i, k]   = p_i^k / N_i(p_i)       and 1 at [n - 1, r - 1]     one of r terms, scaled
    B.T[i]    = coefficients of N_i    and of the product of all (x - p_j) in the last row

B depends only on the points. The weight gradient, whose outputs are the r x r taps and whose filter is a
tile of m x m gradients, is therefore F(r x r, m x m) with the same transformed input.

The points decide the rounding error. Good ones are small fractions, close to each other's negative
reciprocals (Barabasz, Anderson, Soodhalter and Gregg 2020, "Error analysis and improving the accuracy of
Winograd convolution for deep neural networks", section 5). Those below have the smallest error of the worst
element among all choices from 1, 2, 3, 4, 3/2, 4/3, their reciprocals and negatives, or are as good and have
fewer digits: F(4 x 4, 3 x 3) has 0.4 of its error with the usual 1, -1, 2, -2, and F(5 x 5, 3 x 3) 0.4 of
its error with 1, -1, 1/2, -2, -1/2.
"""

from __future__ import annotations

from fractions import Fraction
from math import prod

import numpy as np

Matrix = tuple[tuple[Fraction, ...], ...]

# For each n, the points besides infinity.
POINTS = {
    n: tuple(map(Fraction, points.split()))
    for n, points in {
        6: "0 1 -1 1/2 -2",
        7: "0 -1 -1/2 -2 4/3 2/3",
        8: "0 1 -1 1/2 -2 -1/2 2",
    }.items()
}


def evaluation(n: int, terms: int) -> Matrix:
    """A: evaluates a polynomial of `terms` coefficients at n - 1 points and infinity, (n, terms)."""
    finite = [tuple(point**k for k in range(terms)) for point in POINTS[n]]
    return (*finite, (Fraction(0),) * (terms - 1) + (Fraction(1),))


def scaled_evaluation(n: int, terms: int) -> Matrix:
    """G: the same, with the row of point i divided by N_i(p_i), (n, terms)."""
    points = POINTS[n]
    scales = [prod(p - q for q in points if q != p) for p in points] + [1]
    rows = evaluation(n, terms)
    return tuple(tuple(x / scale for x in row) for row, scale in zip(rows, scales, strict=True))


def input_transform(n: int) -> Matrix:
    """B.T: row i has the coefficients of N_i, the last row those of the product over all points, (n, n)."""
    points = POINTS[n]
    rows = [_coefficients([q for q in points if q != p]) for p in points]
    return tuple((*row, *[Fraction(0)] * (n - len(row))) for row in [*rows, _coefficients(points)])


def transposed(matrix: Matrix) -> Matrix:
    return tuple(zip(*matrix, strict=True))


def as_array(matrix: Matrix) -> np.ndarray:
    """The matrix in float64."""
    return np.array(matrix, np.float64)


def _coefficients(roots) -> tuple[Fraction, ...]:
    """The coefficients of the monic polynomial with these roots, lowest degree first."""
    polynomial = [Fraction(1)]
    for root in roots:
        shifted = [Fraction(0), *polynomial]
        polynomial = [a - root * b for a, b in zip(shifted, [*polynomial, Fraction(0)], strict=True)]
    return tuple(polynomial)
