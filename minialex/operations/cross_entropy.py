"""The cross-entropy of logits against labels or a distribution."""

from __future__ import annotations

import math

import numpy as np

from minialex.autograd import Operation
from minialex.checks import in_words, is_int, require_choice, require_number
from minialex.devices import to_device_array, to_numpy
from minialex.errors import DataError, ShapeError
from minialex.kernels import output_shape
from minialex.kernels.cross_entropy import BACKWARD, FORWARD
from minialex.operations.classes import class_weights, counted_labels
from minialex.operations.inputs import require_floats
from minialex.operations.layout import permute, reshape
from minialex.operations.softmax import log_softmax, softmax
from minialex.reading import require_readable
from minialex.tensor import Tensor, as_tensor

IGNORED = -100
"""The label that is ignored unless another one is given (PyTorch's default)."""


class CrossEntropy(Operation):
    """The loss of each row of x against the same row of target, both (N, C)."""

    saved_inputs = (0, 1)

    def forward(self, x, target):
        return self.kernel(FORWARD, x, target)

    def backward(self, g):
        x, target = self.saved
        gx = CrossEntropyBackward()(g, x, target) if self.needs(0) else None
        gt = -g.reshape(-1, 1) * log_softmax(x, 1) if self.needs(1) else None
        return gx, gt


class CrossEntropyBackward(Operation):
    """z = g (softmax(x) T - target), where T is the sum of a target's row."""

    saved_inputs = (0, 1, 2)

    def forward(self, g, x, target):
        return self.kernel(BACKWARD, g, x, target)

    def backward(self, u):
        g, x, target = self.saved
        totals = target.sum(1, keepdims=True)
        y = softmax(x, 1)
        upstream = g.reshape(-1, 1)
        gg = (u * (y * totals - target)).sum(1) if self.needs(0) else None
        gx = gt = None
        if self.needs(1):
            weighted = u * upstream * totals
            gx = y * (weighted - (weighted * y).sum(1, keepdims=True))
        if self.needs(2):
            gt = upstream * ((u * y).sum(1, keepdims=True) - u)
        return gg, gx, gt


def cross_entropy(
    x: Tensor,
    target,
    weight=None,
    *,
    ignore_index: int = IGNORED,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """The cross-entropy between softmax(x) and the target; values and gradients are PyTorch's.

    With labels y, class weights w and smoothing s, the target distribution of row n is ::

        t[n, c] = (1 - s) w[y[n]] [c == y[n]] + s / C w[c]      0 where y[n] is ignore_index
        loss[n] = - sum over c of t[n, c] log softmax(x[n])[c]

    and the mean is ``sum(loss) / sum(w[y])`` over the rows that are not ignored. A distribution p instead of
    labels gives ``t = w ((1 - s) p + s / C)``, and the mean is over all N rows.

    Parameters
    ----------
    x : Tensor (N, C)
        Logits: the output of the last layer, before any softmax.
    target : integers (N,) or floats (N, C)
        Class labels, or a distribution per row (one-hot or any other); an array or a tensor. A gradient
        flows to a distribution that is a tensor and requires one.
    weight : floats (C,), optional
        How much each class counts, a constant: an array, a list or a tensor, converted to the dtype of x.
    ignore_index : int
        A label whose rows have neither loss nor gradient: a class or any other number. Only for labels.
    reduction : "mean", "sum" or "none"
    label_smoothing : float
        Mix the target with this share of the uniform distribution (Szegedy et al. 2016, section 7).

    Returns
    -------
    Tensor (), or (N,) for "none"
        The mean over no rows, or over rows of weight 0, is NaN; its gradient is 0.

    Raises
    ------
    ShapeError
        If the shapes do not fit, or an option is out of range.
    DataError
        If a label is not one of the C classes, or `target` or `weight` hold anything else.

    Notes
    -----
    A class of target 0 does not count, whatever its logit. So a class may be ruled out by a logit of -inf:
    it adds 0, and the loss is infinite only where the target, after smoothing, is not 0. PyTorch has
    NaN instead of that 0 if `target` is a distribution or the weight of a label's class is 0.
    """
    require_floats("cross_entropy", x)
    require_choice("cross_entropy: reduction", reduction, ("mean", "sum", "none"), error=ShapeError)
    # A float: a NumPy scalar would promote float32.
    label_smoothing = require_number(
        "cross_entropy: label_smoothing", label_smoothing, 0, 1, error=ShapeError
    )
    if not is_int(ignore_index):
        raise ShapeError(f"cross_entropy: ignore_index must be an integer, not {in_words(ignore_index)}")
    require_readable()
    values = target.data if isinstance(target, Tensor) else target
    values = to_numpy(values)
    if x.ndim != 2 and x.ndim:
        options = {"ignore_index": ignore_index, "label_smoothing": label_smoothing}
        return _of_several_axes(x, target, values, weight, reduction, options)
    output_shape("cross_entropy", x.shape, values.shape)
    weights = None if weight is None else class_weights("cross_entropy", weight, x)
    if values.ndim == 1:
        distribution, total = _of_labels(values, weights, ignore_index, label_smoothing, x)
    else:
        if ignore_index != IGNORED:
            raise ShapeError(
                f"cross_entropy: ignore_index={ignore_index} is for labels (N,); rows of a distribution are "
                "left out by zeros"
            )
        distribution, total = _of_distribution(target, values, weights, label_smoothing, x), len(values)
    losses = CrossEntropy()(x, distribution)
    if reduction == "none":
        return losses
    if reduction == "sum":
        return losses.sum()
    return losses.sum() / total if total else losses.sum() + math.nan


def _of_several_axes(x: Tensor, target, values: np.ndarray, weight, reduction: str, options: dict) -> Tensor:
    """The loss of (C,), or of images (N, C, ...): the classes of each cell are a row of their own."""
    axis = 0 if x.ndim == 1 else 1
    cells = x.shape[:axis] + x.shape[axis + 1 :]
    if values.shape not in (cells, x.shape):
        raise ShapeError(
            f"cross_entropy: {x.shape} needs labels {cells} or a distribution {x.shape}, not {values.shape}"
        )

    def rows(tensor: Tensor) -> Tensor:
        order = (*(i for i in range(x.ndim) if i != axis), axis)
        return reshape(permute(tensor, *order), (-1, x.shape[axis]) if x.size else (0, x.shape[axis]))

    if values.shape == x.shape:
        target = rows(target if isinstance(target, Tensor) else Tensor(values, device=x.device))
    else:
        target = values.reshape(-1)
    losses = cross_entropy(rows(x), target, weight, reduction=reduction, **options)
    return reshape(losses, cells) if reduction == "none" else losses


def _of_labels(labels: np.ndarray, weights, ignore_index: int, smoothing: float, x: Tensor):
    """The target distribution of labels (N,), a tensor (N, C), and their total weight."""
    classes = x.shape[1]
    counted = counted_labels("cross_entropy", labels, classes, ignore_index)
    rows, labels = np.flatnonzero(counted), labels[counted]
    weights = np.ones(classes, x.dtype) if weights is None else weights
    distribution = np.zeros(x.shape, x.dtype)
    distribution[rows, labels] = weights[labels]
    if smoothing:
        distribution = distribution * (1 - smoothing)
        distribution[rows] += weights * (smoothing / classes)
    total = float(weights[labels].sum(dtype=np.float64))
    return Tensor(to_device_array(distribution, x.device), device=x.device), total


def _of_distribution(target, values: np.ndarray, weights, smoothing: float, x: Tensor) -> Tensor:
    """The target distribution of rows (N, C), part of the graph if they are."""
    if values.dtype.kind not in "biuf":
        raise DataError(f"cross_entropy: a distribution must be of real numbers, not of {values.dtype}")
    if isinstance(target, Tensor) and target.requires_grad:
        distribution = as_tensor(target, x)
    else:
        # A copy: backward needs what the caller's array holds now.
        distribution = Tensor(to_device_array(values.astype(x.dtype), x.device), device=x.device)
    if smoothing:
        distribution = distribution * (1 - smoothing) + smoothing / x.shape[1]
    if weights is not None:
        distribution = distribution * to_device_array(weights, x.device)
    return distribution
