"""What training reports: a line for each epoch, and where it stands after each step."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields

from minialex.checks import in_words, is_number, require_int
from minialex.errors import RunError


@dataclass(frozen=True)
class EpochMetrics:
    """The metrics of one epoch.

    Attributes
    ----------
    epoch : int
        Counted from 1.
    train_loss, train_accuracy : float
        Means over the epoch's images as they were trained on, with dropout and changing weights.
    validation_loss, validation_accuracy : float or None
        After the epoch; None where there are no validation images.
    lr : float
        The learning rate of its last step.
    seconds : float
        Spent on training, without the validation; of all processes together that took part in the epoch.
    images_per_second : float
        Of training.
    extra : dict of float
        Further figures of the validation by name, such as ``validation_top5_accuracy``.
    """

    epoch: int
    train_loss: float
    train_accuracy: float
    validation_loss: float | None
    validation_accuracy: float | None
    lr: float
    seconds: float
    images_per_second: float
    extra: Mapping[str, float] = field(default_factory=dict)

    def to_dict(self) -> dict:
        """The metrics as one line of metrics.jsonl holds them: the extra ones stand beside the others."""
        values = asdict(self)
        return values | values.pop("extra")

    @classmethod
    def from_dict(cls, values: object) -> EpochMetrics:
        """Read what `to_dict` gave, from a file that anyone may have edited.

        Raises
        ------
        RunError
            If a figure is missing, or is not a finite number.
        """
        if not isinstance(values, dict):
            raise RunError(f"the metrics of an epoch must be a table of numbers, not {type(values).__name__}")
        missing = [name for name in _NAMES if name not in values]
        if missing:
            raise RunError(f"the metrics of an epoch lack {', '.join(missing)}")
        for name, value in values.items():
            if not _is_number(value) and not (value is None and name in _OPTIONAL):
                raise RunError(f"the metric {name} must be a finite number, not {in_words(value)}")
        require_int("the metric epoch", values["epoch"], 1, error=RunError)
        extra = {name: value for name, value in values.items() if name not in _NAMES}
        return cls(**{name: values[name] for name in _NAMES}, extra=extra)


_NAMES = tuple(each.name for each in fields(EpochMetrics) if each.name != "extra")
_OPTIONAL = ("validation_loss", "validation_accuracy")


def _is_number(value) -> bool:
    return is_number(value) and math.isfinite(value)


@dataclass(frozen=True)
class Step:
    """Where training stands after a step of the optimiser.

    Attributes
    ----------
    number : int
        Counts the steps of the whole training, from 1.
    epoch, batch, batches : int
        The epoch, from 1; how many of its batches have been trained on, and how many it has.
    images : int
        Of this step.
    loss, accuracy : float
        The epoch's means so far.
    images_per_second : float
        Of the epoch so far.
    lr : float
        The learning rate that the step had.
    step_loss, step_accuracy : float
        Of this step's images only.
    gradient_norm : float or None
        Before clipping; None where gradients are not clipped.
    """

    number: int
    epoch: int
    batch: int
    batches: int
    images: int
    loss: float
    accuracy: float
    images_per_second: float
    lr: float
    step_loss: float
    step_accuracy: float
    gradient_norm: float | None = None


@dataclass
class EpochSums:
    """The sums from which an epoch's means are taken, so far.

    Attributes
    ----------
    images, correct : int
        How many images were trained on, and how many of these were classified right.
    loss : float
        The sum of their losses.
    skipped : int
        Damaged samples that were left out.
    seconds : float
        Spent on the epoch's steps.
    lr : float
        The learning rate of the last step.
    """

    images: int = 0
    correct: int = 0
    loss: float = 0.0
    skipped: int = 0
    seconds: float = 0.0
    lr: float = 0.0
