"""The cross-entropy of logits against labels or a distribution."""

from __future__ import annotations

import numpy as np

from minialex.autograd import Operation
from minialex.devices import to_device_array, to_numpy
from minialex.errors import DataError, ShapeError
from minialex.kernels import output_shape
from minialex.operations.softmax import log_softmax, softmax
from minialex.tensor import Tensor


class CrossEntropy(Operation):
    """The loss of each row; the target is a constant."""

    saved_inputs = (0,)

    def __init__(self, target):
        self.target = target

    def forward(self, x):
        return self.kernel("cross_entropy.forward", x, self.target)

    def backward(self, g):
        (x,) = self.saved
        return (CrossEntropyBackward(self.target)(g, x),)


class CrossEntropyBackward(Operation):
    """z = g (softmax(x) T - target), where T is the sum of a target's row."""

    saved_inputs = (0, 1)

    def __init__(self, target):
        self.target = target

    def forward(self, g, x):
        return self.kernel("cross_entropy.backward", g, x, self.target)

    def backward(self, u):
        g, x = self.saved
        totals = self.target.sum(axis=1, keepdims=True)
        y = softmax(x, 1)
        of_g = (u * (y * totals - self.target)).sum(1)
        weighted = u * g.reshape(-1, 1) * totals
        of_x = y * (weighted - (weighted * y).sum(1, keepdims=True))
        return of_g, of_x


def cross_entropy(x: Tensor, target, reduction: str = "mean", label_smoothing: float = 0.0) -> Tensor:
    """The cross-entropy between softmax(x) and the target.

    Parameters
    ----------
    x : Tensor (N, C)
        Logits: what the last layer gives, before any softmax.
    target : integers (N,) or floats (N, C)
        Class labels, or a distribution a row (one-hot or any other); an array or a tensor. A gradient
        flows to a distribution that is a tensor and requires one, as in PyTorch.
    reduction : "mean", "sum" or "none"
        The mean is over the N rows, as in PyTorch.
    label_smoothing : float
        Mix the target with this share of the uniform distribution (Szegedy et al. 2016, section 7).

    Returns
    -------
    Tensor (), or (N,) for "none"

    Raises
    ------
    ShapeError
        If the shapes do not fit, or an option is out of range.
    DataError
        If a label is not one of the C classes.
    """
    if reduction not in ("mean", "sum", "none"):
        raise ShapeError(f'cross_entropy: reduction={reduction!r} should be "mean", "sum" or "none"')
    if not 0 <= label_smoothing <= 1:
        raise ShapeError(f"cross_entropy: label_smoothing={label_smoothing!r} should be 0 to 1")
    if isinstance(target, Tensor) and target.requires_grad:
        output_shape("cross_entropy", x.shape, target.shape)
        losses = -(_smoothed(target, label_smoothing, x) * log_softmax(x, 1)).sum(1)
    else:
        given = target.data if isinstance(target, Tensor) else target
        distribution = _smoothed(_distribution(to_numpy(given), x), label_smoothing, x)
        losses = CrossEntropy(to_device_array(distribution, x.device))(x)
    if reduction == "none":
        return losses
    return losses.mean() if reduction == "mean" else losses.sum()


def _smoothed(distribution, label_smoothing: float, x: Tensor):
    """Mix rows, an array or a tensor, with a share of the uniform distribution over the classes."""
    if not label_smoothing:
        return distribution
    return distribution * (1 - label_smoothing) + label_smoothing / x.shape[1]


def _distribution(target: np.ndarray, x: Tensor) -> np.ndarray:
    """Write labels (N,) as one-hot rows (N, C); take a distribution as it is."""
    output_shape("cross_entropy", x.shape, target.shape)
    if target.ndim == 2:
        return target.astype(x.dtype)
    if target.dtype.kind not in "iu":
        raise DataError(f"cross_entropy: labels should be integers; these are {target.dtype}")
    classes = x.shape[1]
    wrong = (target < 0) | (target >= classes)
    if wrong.any():
        raise DataError(
            f"cross_entropy: label {target[wrong][0]} is not one of the {classes} classes 0 to {classes - 1}"
        )
    one_hot = np.zeros(x.shape, x.dtype)
    one_hot[np.arange(len(target)), target] = 1
    return one_hot
