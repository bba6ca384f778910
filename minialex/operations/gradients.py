"""The gradients of many tensors: forgotten, or limited before a step.

The limits have the names of ``torch.nn.utils``; `minialex.optim` and `minialex.nn.utils` hand them on.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from minialex.checks import in_words, require_number
from minialex.errors import MiniAlexError
from minialex.kernels.runtime.blocks import blocks
from minialex.operations.in_place import fill_
from minialex.tensor import Tensor


def forget_gradients(tensors: Iterable[Tensor], set_to_none: bool = True) -> None:
    """Let leaves forget their gradients, or, with False, set these to zero in their memory."""
    for t in tensors:
        if t.grad is not None:
            t.grad = None if set_to_none else fill_(t.grad.detach(), 0)


def clip_grad_norm_(parameters: Iterable[Tensor] | Tensor, max_norm: float, norm_type: float = 2.0) -> float:
    """Scale all gradients, in place, so that their joint norm is at most max_norm.

    Pascanu et al. 2013, algorithm 1. The norm is taken in float64. PyTorch adds 1e-6 to it before it divides,
    and returns it as a tensor.

    Parameters
    ----------
    parameters : Tensor or iterable of Tensor
    max_norm : float
    norm_type : float
        2 is Euclid's; any number above 0, or infinity for the largest element.

    Returns
    -------
    float
        The norm before clipping.

    Raises
    ------
    MiniAlexError
        If max_norm or norm_type is not positive, or the norm is not finite: scaling would spread the NaN.
    """
    require_number("max_norm", max_norm, 0, bounds="(]")
    require_number("norm_type", norm_type, 0, bounds="(]")
    gradients = _gradients(parameters)
    norm = _norm(gradients, float(norm_type))
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
    try:
        tensors = list(parameters)
    except TypeError:
        raise MiniAlexError(f"parameters must be tensors, not {in_words(parameters)}") from None
    for p in tensors:
        if not isinstance(p, Tensor):
            raise MiniAlexError(f"parameters must be tensors, not {in_words(p)}")
    return [p.grad.data for p in tensors if p.grad is not None]


def _norm(gradients: list, order: float) -> float:
    if order == 2:
        return math.sqrt(sum(sum_of_squares(g) for g in gradients))
    sizes = [abs(g.astype(np.float64)) for g in gradients if g.size]
    if order == math.inf:
        # NumPy's max hands a NaN on, Python's does not.
        return float(np.max([float(each.max()) for each in sizes], initial=0.0))
    return sum(float((each**order).sum()) for each in sizes) ** (1 / order)


def sum_of_squares(g) -> float:
    """Add up the squares in float64: in blocks on a processor, so that the wide copy stays in the cache."""
    if not isinstance(g, np.ndarray):
        wide = g.ravel().astype(np.float64)
        return float(wide.dot(wide))
    wide = (block.astype(np.float64) for (block,) in blocks(np.ascontiguousarray(g)))
    return math.fsum(float(np.dot(block, block)) for block in wide)
