"""Numerical derivatives that come with an estimate of their own error.

Central differences with two steps, h and h/2, and Richardson's extrapolation from them:

    D(h) = (f(x + h) - f(x - h)) / 2h  =  f' + h²/6 f''' + ...
    R = (4 D(h/2) - D(h)) / 3          =  f' + O(h⁴)

The distance of R from D(h/2) bounds what the extrapolation has removed. To it comes the rounding of f,
divided by the step. The sum of the two is what R may be trusted to: a tolerance follows from the numerics.

The same values of f show a kink: for a smooth function the second difference
S(h) = f(x + h) - 2 f(x) + f(x - h) falls with h², so that S(h) - 4 S(h/2) vanishes to fourth order; where the
slope jumps within the step, it is of the order of the jump times h.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

# Steps are relative to max(1, |x|). In float64 1e-4 balances h⁴ against rounding / h, and is small enough
# that few random inputs have a kink within the step.
STEPS = {np.dtype(np.float64): 1e-4, np.dtype(np.float32): 2e-2}

# Along a random direction many kinks could be crossed at once: a smaller step crosses fewer.
DIRECTION_STEPS = {np.dtype(np.float64): 1e-6, np.dtype(np.float32): 5e-3}

COMPLEX_STEP = 1e-30


@dataclass(frozen=True)
class Derivative:
    """The derivative of an array-valued function in one direction.

    Attributes
    ----------
    value : float64 (M,)
        One derivative for each of the M outputs.
    error : float64 (M,)
        What they may be off by.
    kinked : bool (M,)
        Where the function is not smooth within the step, so that the value means nothing.
    """

    value: np.ndarray
    error: np.ndarray
    kinked: np.ndarray


def central(
    f: Callable[[float], np.ndarray], middle: np.ndarray, step: float, dtype, scale: float = 0.0
) -> Derivative:
    """Differentiate f (a function of one number, giving M numbers) at 0; `middle` is f(0).

    Parameters
    ----------
    step : float
        The larger of the two steps.
    dtype : dtype
        In which f computes, for the rounding to expect.
    scale : float
        The magnitude of the numbers that f computes with, for the same: where they cancel, as in the loss of
        a confident prediction, it is larger than that of its values.
    """
    wide, narrow = ((f(h), f(-h)) for h in (step, step / 2))
    coarse = (wide[0] - wide[1]) / (2 * step)
    fine = (narrow[0] - narrow[1]) / step
    value = (4 * fine - coarse) / 3

    rounding = float(np.finfo(dtype).eps) * max(largest(middle), scale)
    error = np.abs(value - fine) + 8 * rounding / step

    curvature = (wide[0] - 2 * middle + wide[1]) - 4 * (narrow[0] - 2 * middle + narrow[1])
    kinked = np.abs(curvature) > 128 * rounding + 1e-2 * step**2 * largest(value)
    return Derivative(value, error, kinked | ~np.isfinite(value))


def complex_step(f: Callable[[complex], np.ndarray], dtype) -> Derivative:
    """Differentiate f at 0 by one evaluation at an imaginary step (Squire and Trapp 1998).

    f(x + ih) = f(x) + ih f'(x) + O(h²): the imaginary part over h has neither a truncation error, for a step
    of 1e-30, nor a cancellation. f must compute with complex numbers, and be analytic: no absolute value,
    no comparison.
    """
    value = np.imag(f(1j * COMPLEX_STEP)) / COMPLEX_STEP
    error = np.full(value.shape, 8 * float(np.finfo(dtype).eps) * largest(value))
    return Derivative(value, error, ~np.isfinite(value))


def largest(array: np.ndarray) -> float:
    """The largest finite magnitude, 0 if there is none."""
    finite = np.abs(array[np.isfinite(array)])
    return float(finite.max()) if finite.size else 0.0
