"""Losses beside cross-entropy: compositions, with the names and formulas of ``torch.nn.functional``."""

from __future__ import annotations

import math

import numpy as np

from minialex.checks import in_words, is_number, require_choice
from minialex.devices import to_device_array, to_numpy
from minialex.errors import DataError, ShapeError
from minialex.operations.classes import class_weights, counted_labels
from minialex.operations.cross_entropy import IGNORED
from minialex.operations.elementwise import absolute, log, softplus_of
from minialex.operations.inputs import require_floats
from minialex.operations.reduction import mean, sum
from minialex.operations.selection import clamp, gather, where
from minialex.reading import require_readable
from minialex.tensor import Tensor, as_tensor


def _pair(name: str, x: Tensor, target) -> Tensor:
    """The target as a tensor of the shape of x."""
    require_floats(name, x)
    target = as_tensor(target, x)
    if target.shape != x.shape:
        raise ShapeError(f"{name}: the target must have the input's shape {x.shape}, not {target.shape}")
    return target


def _reduced(name: str, losses: Tensor, reduction: str) -> Tensor:
    require_choice(f"{name}: reduction", reduction, ("mean", "sum", "none"), error=ShapeError)
    return losses if reduction == "none" else sum(losses) if reduction == "sum" else mean(losses)


def mse_loss(x: Tensor, target, reduction: str = "mean") -> Tensor:
    """(x - target)**2 of each element."""
    difference = x - _pair("mse_loss", x, target)
    return _reduced("mse_loss", difference * difference, reduction)


def l1_loss(x: Tensor, target, reduction: str = "mean") -> Tensor:
    """abs(x - target) of each element; its gradient at 0 is 0."""
    return _reduced("l1_loss", absolute(x - _pair("l1_loss", x, target)), reduction)


def smooth_l1_loss(x: Tensor, target, reduction: str = "mean", beta: float = 1.0) -> Tensor:
    """d**2 / (2 beta) where d = abs(x - target) < beta, else d - beta / 2 (Girshick 2015, equation 3)."""
    if not is_number(beta) or beta < 0:
        raise ShapeError(f"smooth_l1_loss: beta must be a number 0 or more, not {in_words(beta)}")
    if beta == 0:
        return l1_loss(x, target, reduction)
    difference = absolute(x - _pair("smooth_l1_loss", x, target))
    losses = where(difference < beta, difference * difference / (2 * beta), difference - beta / 2)
    return _reduced("smooth_l1_loss", losses, reduction)


def huber_loss(x: Tensor, target, reduction: str = "mean", delta: float = 1.0) -> Tensor:
    """d**2 / 2 where d = abs(x - target) is below delta, else delta (d - delta / 2) (Huber 1964)."""
    if not is_number(delta) or delta <= 0:
        raise ShapeError(f"huber_loss: delta must be a number above 0, not {in_words(delta)}")
    return smooth_l1_loss(x, _pair("huber_loss", x, target), reduction, delta) * delta


def binary_cross_entropy(x: Tensor, target, weight=None, reduction: str = "mean") -> Tensor:
    """-(t log x + (1 - t) log(1 - x)) of probabilities; no logarithm is below -100 (PyTorch's limit)."""
    target = _pair("binary_cross_entropy", x, target)
    values = to_numpy(x.data)
    if values.size and not ((values >= 0) & (values <= 1)).all():
        raise DataError(
            "binary_cross_entropy: the input must hold probabilities, from 0 to 1; for logits there is "
            "binary_cross_entropy_with_logits"
        )
    losses = -(target * clamp(log(x), min=-100) + (1 - target) * clamp(log(1 - x), min=-100))
    return _reduced("binary_cross_entropy", losses if weight is None else losses * weight, reduction)


def binary_cross_entropy_with_logits(
    x: Tensor, target, weight=None, reduction: str = "mean", pos_weight=None
) -> Tensor:
    """The cross-entropy of sigmoid(x) against targets t from 0 to 1: (1 - t) x + softplus(-x).

    Parameters
    ----------
    x : Tensor, any shape
    target : Tensor or array, of the shape of x
    weight : Tensor, array or number, optional
        What each loss is multiplied with; broadcast.
    reduction : "mean", "sum" or "none"
    pos_weight : Tensor, array or number, optional
        What the positive part, t log sigmoid(x), is multiplied with; broadcast.
    """
    target = _pair("binary_cross_entropy_with_logits", x, target)
    negative_part = softplus_of(-x)
    if pos_weight is not None:
        negative_part = (target * (as_tensor(pos_weight, x) - 1) + 1) * negative_part
    losses = (1 - target) * x + negative_part
    return _reduced(
        "binary_cross_entropy_with_logits", losses if weight is None else losses * weight, reduction
    )


def nll_loss(x: Tensor, target, weight=None, ignore_index: int = IGNORED, reduction: str = "mean") -> Tensor:
    """The negative of the log-probability that each row gives its label.

    Parameters
    ----------
    x : Tensor (N, C) or (N, C, ...)
        Logarithms of probabilities, as `log_softmax` gives them.
    target : integers (N,) or (N, ...)
    weight : floats (C,), optional
        How much each class counts; the mean is over what counts.
    ignore_index : int
        A label that does not count.
    reduction : "mean", "sum" or "none"

    Raises
    ------
    ShapeError
        If the shapes do not fit.
    DataError
        If a label is not one of the C classes.
    """
    require_floats("nll_loss", x)
    require_readable()
    labels = to_numpy(target.data if isinstance(target, Tensor) else target)
    if x.ndim < 2 or labels.shape != (x.shape[0], *x.shape[2:]):
        raise ShapeError(
            f"nll_loss: {x.shape} needs labels {(x.shape[:1] + x.shape[2:])}, not {labels.shape}"
        )
    classes = x.shape[1]
    counted = counted_labels("nll_loss", labels, classes, ignore_index)
    known = np.where(counted, labels, 0)
    weights = np.ones(classes, x.dtype) if weight is None else class_weights("nll_loss", weight, x)
    shares = np.where(counted, weights[known], 0).astype(x.dtype)
    picked = gather(x, 1, np.expand_dims(known, 1)).reshape(labels.shape)
    # What is ignored may be infinite.
    losses = where(shares != 0, -picked, 0) * to_device_array(shares, x.device)
    if reduction != "mean":
        return _reduced("nll_loss", losses, reduction)
    total = float(shares.sum(dtype=np.float64))
    return sum(losses) / total if total else sum(losses) + math.nan


def kl_div(x: Tensor, target, reduction: str = "mean", log_target: bool = False) -> Tensor:
    """target * (log(target) - x), x a logarithm; "batchmean" divides the sum by N, as it is defined."""
    target = _pair("kl_div", x, target)
    if log_target:
        losses = target.exp() * (target - x)
    else:
        positive = target > 0
        losses = where(positive, target * (log(where(positive, target, 1)) - x), 0)
    if reduction == "batchmean":
        return sum(losses) / len(x)
    return _reduced("kl_div", losses, reduction)
