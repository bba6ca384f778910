"""What "computes the right thing" means: the error of float32 results against float64."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np


@dataclass(frozen=True)
class Error:
    """How far results are from the truth."""

    # The Euclidean norm of the difference over that of the truth; of several arrays the largest.
    norm: float
    # The largest difference of an element over the largest magnitude in the truth.
    worst: float

    def within(self, norm: float, worst: float) -> bool:
        """Whether both are small enough. NaN never is."""
        return self.norm <= norm and self.worst <= worst

    def to_dict(self) -> dict:
        """The two figures; None for what is not finite, which JSON lacks."""
        return {name: value if np.isfinite(value) else None for name, value in asdict(self).items()}


def error_of(actual: np.ndarray, expected: np.ndarray, floor: float = 0.0) -> Error:
    """The error of one array of floats. NaN or infinity in `actual` gives infinity.

    `floor` is the norm below which the truth counts as having that norm.
    """
    if not actual.size:
        return Error(0.0, 0.0)
    if not np.isfinite(actual).all():
        return Error(np.inf, np.inf)
    difference = np.abs(actual.astype(np.float64) - expected)
    norm = max(float(np.linalg.norm(expected)), floor)
    scale = max(float(np.abs(expected).max()), floor / np.sqrt(expected.size))
    if scale == 0:
        return Error(np.inf, np.inf) if difference.any() else Error(0.0, 0.0)
    return Error(float(np.linalg.norm(difference)) / norm, float(difference.max()) / scale)


def error_of_all(actual: Sequence[np.ndarray], expected: Sequence[np.ndarray]) -> Error:
    """The largest error among several arrays of floats.

    An array of the truth that is below a millionth of the largest of them is measured against that
    millionth. One that is rounding even in float64, such as the gradient of a bias before batch
    normalisation, is zero: it is a sum of many terms that cancel, whose rounding is measured against a
    ten-thousandth of the largest.

    Raises
    ------
    ValueError
        If there are more or fewer arrays than expected, or one has another shape.
    """
    if len(actual) != len(expected):
        raise ValueError(f"{len(actual)} results instead of {len(expected)}")
    for i, (mine, right) in enumerate(zip(actual, expected, strict=True)):
        if mine.shape != right.shape:
            raise ValueError(f"result {i} has shape {mine.shape} instead of {right.shape}")
    norms = [float(np.linalg.norm(right)) for right in expected]
    floors = [max(norms) * (1e-4 if norm < 1e-12 * max(norms) else 1e-6) for norm in norms]
    errors = [
        error_of(mine, right, floor) for mine, right, floor in zip(actual, expected, floors, strict=True)
    ]
    return Error(max(e.norm for e in errors), max(e.worst for e in errors))
