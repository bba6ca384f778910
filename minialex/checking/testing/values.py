"""Values for tests and checks, drawn from a NumPy generator.

Each function takes a generator, a shape and a dtype, and gives an array.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from minialex.checks import in_words, is_int, is_number, require_number
from minialex.errors import MiniAlexError
from minialex.kernels.contract.values import distinct_values

__all__ = [
    "bounded_values",
    "dependent_column_values",
    "distinct_values",
    "normal_values",
    "positive_definite_values",
    "positive_values",
    "scaled_values",
    "simplex_values",
    "symmetric_values",
]


def normal_values(generator: np.random.Generator, shape, dtype=np.float64) -> np.ndarray:
    """Standard normal values."""
    return generator.standard_normal(shape).astype(dtype)


def positive_values(generator: np.random.Generator, shape, dtype=np.float64) -> np.ndarray:
    """Values from 0.5 to 2: for logarithms, roots, divisors and second moments."""
    return generator.uniform(0.5, 2, shape).astype(dtype)


def bounded_values(
    generator: np.random.Generator, shape, dtype=np.float64, *, low: float, high: float
) -> np.ndarray:
    """Values between two numbers, from either by a sixteenth of their distance or more.

    Raises
    ------
    MiniAlexError
        If these are not two finite numbers, the smaller one first; or so near that no value of the dtype
        lies between them.
    """
    given = f"{in_words(low)} and {in_words(high)}"
    if not (_is_finite(low) and _is_finite(high) and low < high):
        raise MiniAlexError(f"low and high must be two finite numbers, the smaller one first, not {given}")
    values = np.asarray(low + (high - low) * generator.uniform(1 / 16, 15 / 16, shape), dtype)
    if not np.all((low < values) & (values < high)):
        raise MiniAlexError(
            f"low and high must have values of {np.dtype(dtype)} between them, not {given}: move them apart"
        )
    return values


def scaled_values(generator: np.random.Generator, shape, dtype=np.float64, *, scale: float) -> np.ndarray:
    """Normal values times `scale`.

    Raises
    ------
    MiniAlexError
        If `scale` is not a finite number above 0.
    """
    require_number("scale", scale, 0, bounds="()")
    return np.asarray(scale * generator.standard_normal(shape), dtype)


def symmetric_values(generator: np.random.Generator, shape, dtype=np.float64) -> np.ndarray:
    """Symmetric matrices, to the last bit, in the last two axes: (a + aᵀ) / 2 of normal values.

    Raises
    ------
    MiniAlexError
        If `shape` is not that of square matrices.
    """
    return _symmetrised(normal_values(generator, _square(shape), dtype))


def positive_definite_values(
    generator: np.random.Generator, shape, dtype=np.float64, *, condition: float = 100.0
) -> np.ndarray:
    """Symmetric positive definite matrices, in the last two axes: q diag(λ) qᵀ with a random orthogonal q.

    The eigenvalues λ lie apart, one in each part of an even division of [1/√condition, √condition] on a
    logarithmic scale: so eigenvectors, too, have derivatives.

    Parameters
    ----------
    generator, shape, dtype
        `shape` ends in two equal lengths.
    condition : float
        What the condition number does not exceed: from 2 to 1e12 (1e4 in float32, where rounding would make
        matrices singular).

    Raises
    ------
    MiniAlexError
        If `shape` is not that of square matrices, or `condition` is out of that range.
    """
    shape, dtype = _square(shape), np.dtype(dtype)
    most = 1e4 if dtype == np.float32 else 1e12
    require_number(f"condition of matrices of {dtype}", condition, 2, most)
    if 0 in shape:
        return np.zeros(shape, dtype)
    n = shape[-1]
    q, _ = np.linalg.qr(generator.standard_normal(shape))
    # The middle half of each part: neighbours differ by half a part or more, and rounding passes no bound.
    parts = (np.arange(n) + generator.uniform(0.25, 0.75, shape[:-1])) / n - 0.5
    eigenvalues = float(condition) ** parts
    return _symmetrised(((q * eigenvalues[..., None, :]) @ np.swapaxes(q, -1, -2)).astype(dtype))


def simplex_values(generator: np.random.Generator, shape, dtype=np.float64) -> np.ndarray:
    """Positive numbers that add up to 1 along the last axis: the softmax of normal values.

    Raises
    ------
    MiniAlexError
        If `shape` has no last axis with elements.
    """
    shape = tuple(shape)
    if not shape or not shape[-1]:
        raise MiniAlexError(f"shape must have a last axis with elements, not {shape}: they add up to 1")
    values = np.exp(generator.standard_normal(shape))
    return (values / values.sum(axis=-1, keepdims=True)).astype(dtype)


def dependent_column_values(
    generator: np.random.Generator,
    shape,
    dtype=np.float64,
    *,
    columns: Mapping[int, Mapping[int, float]],
) -> np.ndarray:
    """Normal values in matrices (the last two axes) some of whose columns are combinations of others.

    Parameters
    ----------
    generator, shape, dtype
    columns : mapping
        ``{2: {0: 1.0, 1: -2.0}}``: column 2 is column 0 less twice column 1.

    Raises
    ------
    MiniAlexError
        If `shape` has fewer axes or columns, or `columns` is not as described; a column that others are made
        of must not be made of others itself.
    """
    shape = tuple(shape)
    if not _are_combinations(columns):
        raise MiniAlexError(
            "columns must be {column: {other column: coefficient}}, where the other columns depend on none, "
            f"not {columns!r}"
        )
    named = sorted({*columns, *(j for terms in columns.values() for j in terms)})
    if len(shape) < 2 or named[-1] >= shape[-1]:
        raise MiniAlexError(
            f"shape must be that of matrices with the columns {named} that are named, not {shape}"
        )
    values = normal_values(generator, shape, dtype)
    for k, terms in columns.items():
        values[..., k] = sum(values.dtype.type(c) * values[..., j] for j, c in terms.items())
    return values


def _are_combinations(columns) -> bool:
    return (
        isinstance(columns, Mapping)
        and bool(columns)
        and all(
            is_int(k, 0)
            and isinstance(terms, Mapping)
            and all(is_int(j, 0) and j not in columns and _is_finite(c) for j, c in terms.items())
            for k, terms in columns.items()
        )
    )


def _is_finite(value) -> bool:
    return is_number(value) and math.isfinite(value)


def _square(shape) -> tuple[int, ...]:
    shape = tuple(shape)
    if len(shape) < 2 or shape[-1] != shape[-2]:
        raise MiniAlexError(f"shape must end in two equal lengths, those of square matrices, not {shape}")
    return shape


def _symmetrised(matrices: np.ndarray) -> np.ndarray:
    return (matrices + np.swapaxes(matrices, -1, -2)) / 2
