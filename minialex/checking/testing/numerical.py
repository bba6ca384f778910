"""Gradients by finite differences: what the derivative should be, from nothing but the function's values."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

STEP = 1e-5


def numerical_vjp(
    function: Callable[..., np.ndarray],
    arrays: Sequence[np.ndarray],
    upstream: np.ndarray,
    step: float = STEP,
) -> list[np.ndarray]:
    """The gradients of ``sum(upstream * function(*arrays))`` by central differences.

    (f(x + h) - f(x - h)) / 2h is the derivative up to h**2 / 6 times the third derivative. With
    rounding of 1e-16 / h, the error is smallest near h = 1e-5: about 1e-10 where derivatives and
    values are around 1.

    Parameters
    ----------
    function : callable
        Arrays in, an array in the shape of `upstream` out.
    arrays : sequence of float64 arrays
        Where to differentiate. They are not changed: the function is given copies.
    upstream : array
        The weights of the function's results.
    step : float
        h.

    Returns
    -------
    list of float64 arrays
        The gradient with respect to each array.
    """
    points = [np.array(array, dtype=np.float64) for array in arrays]
    gradients = [np.zeros(point.shape) for point in points]
    for point, gradient in zip(points, gradients, strict=True):
        for at in np.ndindex(*point.shape):
            centre = point[at]
            point[at] = centre + step
            above = np.array(function(*points))
            point[at] = centre - step
            below = np.array(function(*points))
            point[at] = centre
            gradient[at] = np.sum(upstream * (above - below)) / (2 * step)
    return gradients
