"""The best value of a metric so far."""

from __future__ import annotations

import math

from minialex.checks import require_choice, require_number
from minialex.errors import CheckpointError
from minialex.training.metrics import EpochMetrics

MODES = ("min", "max")


class Best:
    """Follows one metric, and knows its best value.

    Parameters
    ----------
    monitor : str
        A name of `EpochMetrics.to_dict`, such as ``"validation_loss"``.
    mode : "min" or "max"
        Whether smaller or larger is better.
    min_delta : float
        By how much a value must be better to count as an improvement.

    Attributes
    ----------
    value : float or None
        The best so far; None before the first epoch.
    epoch : int or None
        The epoch that had it: the first one, where several did.
    waited : int
        How many epochs have passed since.

    Raises
    ------
    MiniAlexError
        If mode or min_delta is not one of these.
    """

    def __init__(self, monitor: str, mode: str, min_delta: float = 0.0):
        require_choice("mode", mode, MODES)
        require_number("min_delta", min_delta, 0)
        self.monitor, self.mode, self.min_delta = monitor, mode, min_delta
        self.value: float | None = None
        self.epoch: int | None = None
        self.waited = 0

    def update(self, metrics: EpochMetrics) -> bool:
        """Look at the metrics of an epoch; say whether they are the best so far. A NaN never is."""
        value = metrics.to_dict()[self.monitor]
        if self._improves(value):
            self.value, self.epoch, self.waited = value, metrics.epoch, 0
            return True
        self.waited += 1
        return False

    def _improves(self, value: float) -> bool:
        if self.value is None:
            return not math.isnan(value)
        if self.mode == "min":
            return value < self.value - self.min_delta
        return value > self.value + self.min_delta

    def state_dict(self) -> dict:
        """What `load_state_dict` takes."""
        return {"monitor": self.monitor, "value": self.value, "epoch": self.epoch, "waited": self.waited}

    def load_state_dict(self, state: dict) -> None:
        """Take over what `state_dict` gave.

        Raises
        ------
        CheckpointError
            If it is of another metric, or is not a state.
        """
        if set(state) != set(self.state_dict()):
            raise CheckpointError(f"the saved best value has the entries {', '.join(sorted(state))}")
        if state["monitor"] != self.monitor:
            raise CheckpointError(
                f"the saved best value is one of {state['monitor']!r}; this run monitors {self.monitor!r}"
            )
        value, epoch, waited = state["value"], state["epoch"], state["waited"]
        is_none = value is None and epoch is None
        is_pair = isinstance(value, int | float) and isinstance(epoch, int)
        if not (is_none or is_pair) or not isinstance(waited, int) or waited < 0:
            raise CheckpointError(f"the saved best value does not belong to an epoch: {state!r}")
        self.value, self.epoch, self.waited = value, epoch, waited
