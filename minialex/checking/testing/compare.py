"""The one comparison of two arrays: what "agrees with the reference" means."""

from __future__ import annotations

import numpy as np


def rounding(dtype) -> float:
    """The relative error that the order of some dozens of additions may cause: 64 units of rounding.

    It suits the tiny arrays of `minialex.checking.testing.strategies`, whose results are sums of at most
    about a hundred terms; two orders of adding them differ by a few units, seldom by ten. A wrong formula is
    off by much more than 1e-14 (float64).
    """
    return 64 * float(np.finfo(dtype).eps)


def assert_close(actual, expected, tolerance: float, *, scale: float | None = None, name: str = "result"):
    """Fail unless `actual` is an array of the same dtype and shape, and close to `expected`.

    Parameters
    ----------
    actual, expected : array
    tolerance : float
        Two relative errors must not exceed it: that of the worst element, relative to `scale`, and
        that of the whole by Euclidean norm, relative to the norm of `expected` (or to `scale`, if that
        is larger). 0 asks for equality.
    scale : float, optional
        The magnitude that rounding errors are relative to: by default the largest in `expected`. Where
        terms cancel, the result may be much smaller than what was added up, and the scale is that of
        the terms.
    name : str
        What is compared, for the message.

    Raises
    ------
    AssertionError
        With the worst element's index and both values. A NaN or an infinity on either side fails.
    """
    assert isinstance(actual, np.ndarray), f"{name}: {type(actual).__name__} is not an array"
    assert actual.dtype == expected.dtype, f"{name}: dtype {actual.dtype}, expected {expected.dtype}"
    assert actual.shape == expected.shape, f"{name}: shape {actual.shape}, expected {expected.shape}"
    if actual.size == 0:
        return
    for side, array in (("actual", actual), ("expected", expected)):
        wrong = np.argwhere(~np.isfinite(array))
        assert not len(wrong), f"{name}: {side} is {array[tuple(wrong[0])]} at index {_index(wrong[0])}"
    expected_wide = expected.astype(np.float64)
    error = np.abs(actual.astype(np.float64) - expected_wide)
    scale = float(np.abs(expected_wide).max()) if scale is None else scale
    norm, expected_norm = np.linalg.norm(error), max(np.linalg.norm(expected_wide), scale)
    worst = np.unravel_index(error.argmax(), error.shape)
    text = (
        f"{name}: worst at index {_index(worst)}: actual {actual[worst]!r}, expected {expected[worst]!r}, "
        f"error {error[worst]:.3g} at scale {scale:.3g}; error by norm {norm:.3g} of {expected_norm:.3g}; "
        f"tolerance {tolerance:.3g}"
    )
    assert error[worst] <= tolerance * scale, text
    assert norm <= tolerance * expected_norm, text


def largest(*arrays) -> float:
    """The largest magnitude in any of the arrays, 0 if they are empty; None is passed over."""
    return max((float(np.abs(a).max()) for a in arrays if a is not None and np.size(a)), default=0.0)


def _index(position) -> tuple[int, ...]:
    return tuple(int(i) for i in position)
