"""Labels and weights of classes, as losses take them: checked, and brought to the dtype of the input."""

from __future__ import annotations

import numpy as np

from minialex.devices import to_numpy
from minialex.errors import DataError
from minialex.kernels.contract.shapes import require_shape
from minialex.reading import require_readable
from minialex.tensor import Tensor


def counted_labels(name: str, labels: np.ndarray, classes: int, ignore_index: int) -> np.ndarray:
    """Where a label counts, bools in the shape of the labels.

    Raises
    ------
    DataError
        If the labels are not integers, or one that counts is none of the classes.
    """
    if labels.dtype.kind not in "iu":
        raise DataError(f"{name}: labels must be integers, not {labels.dtype}")
    counted = labels != ignore_index
    wrong = counted & ((labels < 0) | (labels >= classes))
    if wrong.any():
        raise DataError(f"{name}: labels must be classes from 0 to {classes - 1}, not {labels[wrong][0]}")
    return counted


def class_weights(name: str, weight, x: Tensor) -> np.ndarray:
    """The weights of the classes of x (N, C, ...), a constant (C,) in its dtype.

    Raises
    ------
    ShapeError
        If there is not one for each class.
    DataError
        If they require a gradient, are no numbers, or one is NaN.
    """
    if isinstance(weight, Tensor):
        if weight.requires_grad:
            raise DataError(f"{name}: weight is a constant and gets no gradient; pass weight.detach()")
        require_readable()
        weight = weight.data
    classes = x.shape[1]
    if isinstance(weight, str):
        raise DataError(
            f"{name}: weight must be {classes} numbers, not {weight!r}; write reduction={weight!r}"
        )
    weights = to_numpy(weight)
    if weights.dtype.kind not in "biuf":
        raise DataError(f"{name}: weight must be {classes} numbers, not of {weights.dtype}")
    require_shape(f"{name}: weight", weights.shape, (classes,), f"for the classes of the input {x.shape}")
    if np.isnan(weights).any():
        raise DataError(f"{name}: weight must be {classes} numbers, and has a NaN")
    return weights.astype(x.dtype)
