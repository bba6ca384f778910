"""Gradient clipping before a step, under the names of ``torch.nn.utils``."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from minialex.checks import require_number
from minialex.errors import MiniAlexError
from minialex.kernels.runtime.blocks import blocks
from minialex.tensor import Tensor


def clip_grad_norm_(parameters: Iterable[Tensor] | Tensor, max_norm: float) -> float:
    """Scale all gradients, in place, so that their joint Euclidean norm is at most max_norm.

    Pascanu et al. 2013, algorithm 1. The norm is taken in float64. The parameters may be a single tensor.

    Returns
    -------
    float
        The norm before clipping.

    Raises
    ------
    MiniAlexError
        If max_norm is not positive, or the norm is not finite: scaling would spread the NaN.
    """
    require_number("max_norm", max_norm, 0, bounds="(]")
    gradients = _gradients(parameters)
    norm = math.sqrt(sum(_sum_of_squares(g) for g in gradients))
    if not math.isfinite(norm):
        raise MiniAlexError(f"the norm of the gradients is {norm}; lower the learning rate")
    if norm > max_norm:
        for g in gradients:
            g *= max_norm / norm
    return norm


def clip_grad_value_(parameters: Iterable[Tensor] | Tensor, clip_value: float) -> None:
    """Clip every element of the gradients, in place, to -clip_value .. clip_value."""
    require_number("clip_value", clip_value, 0, bounds="(]")
    for g in _gradients(parameters):
        g.clip(-clip_value, clip_value, out=g)


def _gradients(parameters: Iterable[Tensor] | Tensor) -> list:
    if isinstance(parameters, Tensor):
        parameters = [parameters]
    return [p.grad.data for p in parameters if p.grad is not None]


def _sum_of_squares(g) -> float:
    """Sum the squares in float64; on a CPU in blocks, so that the float64 copy stays in the cache."""
    if not isinstance(g, np.ndarray):
        wide = g.ravel().astype(np.float64)
        return float(wide.dot(wide))
    wide = (block.astype(np.float64) for (block,) in blocks(np.ascontiguousarray(g)))
    return math.fsum(float(np.dot(block, block)) for block in wide)
