"""Gradients of other people's functions, half of them wrong, at scales from 1e-8 to 1e8.

Each right gradient is the formula, written by hand; the tests hold it to JAX's. Each wrong one differs in one
respect. They are what gradient checkers are compared on (``gradcheck_of_others.py``).
"""

from __future__ import annotations

from gradients_of_others import (
    elementwise,
    large,
    matrices,
    normalisation,
    of_jax,
    of_torch,
    rearranging,
    reductions,
    several_arrays,
)
from gradients_of_others.case import Case, Function

MODULES = (
    elementwise,
    several_arrays,
    reductions,
    normalisation,
    matrices,
    rearranging,
    large,
    of_torch,
    of_jax,
)


def functions() -> list[Function]:
    """All functions."""
    return [f for module in MODULES for f in module.FUNCTIONS]


def cases() -> list[Case]:
    """Every gradient at every point."""
    return [case for f in functions() for case in f.cases()]
