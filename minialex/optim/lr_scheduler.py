"""Learning rate schedules, under the names of ``torch.optim.lr_scheduler``.

A schedule gives the rate as a function of the number of steps taken: it counts its own calls. As that number
is its only state, `seek` can put it anywhere. A step is an optimiser's step or an epoch; `per`, "step" or
"epoch", says when the trainer is to call the schedule. It sets the rate, whatever that was: of two schedules
of one optimiser the last one called wins, where PyTorch multiplies.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import Any

from minialex.checks import (
    in_words,
    is_int,
    is_number,
    require_choice,
    require_int,
    require_number,
    require_share,
)
from minialex.errors import CheckpointError, MiniAlexError
from minialex.optim.optimizer import Optimizer


class LRScheduler:
    """Base of the schedules: sets every group's ``lr`` from its initial one and the number of steps.

    Parameters
    ----------
    optimizer : Optimizer
    per : "step" or "epoch"
        What a step of the schedule is.
    """

    def __init__(self, optimizer: Optimizer, *, per: str = "step"):
        self.optimizer = _require_optimizer(optimizer)
        self.per = require_choice("per", per, ("step", "epoch"))
        self.seek(0)

    def rate(self, initial: float, step: int) -> float:
        """The rate after this many steps, for a group that starts with `initial`."""
        raise NotImplementedError(f"{type(self).__name__} must define rate")

    def step(self) -> None:
        """Count one step and set the rates."""
        self.seek(self.last_step + 1)

    def seek(self, step: int) -> None:
        """Set the rates as they are after this many steps."""
        self.last_step = step = require_int("step", step, 0)
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate(group["initial_lr"], step)

    def state_dict(self) -> dict:
        """What `load_state_dict` takes; the rates themselves are part of the optimiser's state."""
        return {"last_step": self.last_step}

    def check_state_dict(self, saved: dict) -> None:
        """Raise `CheckpointError` if `load_state_dict` could not take over a state."""
        _require_entries(self, saved)
        require_int("last_step in the saved schedule", saved["last_step"], 0, error=CheckpointError)

    def load_state_dict(self, saved: dict) -> None:
        """Take over what `state_dict` gave. The rates stay: those of the optimiser's state are exact.

        Raises
        ------
        CheckpointError
            If it does not fit; nothing is changed then.
        """
        self.check_state_dict(saved)
        self.last_step = saved["last_step"]


class StepLR(LRScheduler):
    """Multiply by gamma every step_size steps."""

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1, *, per: str = "step"):
        self.step_size, self.gamma = require_int("step_size", step_size, 1), _rate("gamma", gamma)
        super().__init__(optimizer, per=per)

    def rate(self, initial, step):
        return initial * self.gamma ** (step // self.step_size)


class MultiStepLR(LRScheduler):
    """Multiply by gamma at each of the milestones."""

    def __init__(
        self, optimizer: Optimizer, milestones: Sequence[int], gamma: float = 0.1, *, per: str = "step"
    ):
        if not isinstance(milestones, Sequence) or not all(is_int(n, 0) for n in milestones):
            raise MiniAlexError(
                f"milestones must be a list of integers 0 or more, not {in_words(milestones)}"
            )
        self.milestones, self.gamma = sorted(milestones), _rate("gamma", gamma)
        super().__init__(optimizer, per=per)

    def rate(self, initial, step):
        return initial * self.gamma ** bisect_right(self.milestones, step)


class ExponentialLR(LRScheduler):
    """Multiply by gamma at every step."""

    def __init__(self, optimizer: Optimizer, gamma: float, *, per: str = "step"):
        self.gamma = _rate("gamma", gamma)
        super().__init__(optimizer, per=per)

    def rate(self, initial, step):
        return initial * self.gamma**step


class CosineAnnealingLR(LRScheduler):
    """Half a cosine from the initial rate down to eta_min in T_max steps, and eta_min from then on.

    Loshchilov and Hutter 2017, equation 5, without restarts. PyTorch's version rises again after T_max.
    """

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0, *, per: str = "step"):
        self.T_max, self.eta_min = require_int("T_max", T_max, 1), _rate("eta_min", eta_min)
        super().__init__(optimizer, per=per)

    def rate(self, initial, step):
        share = min(step / self.T_max, 1.0)
        return self.eta_min + (initial - self.eta_min) * (1 + math.cos(math.pi * share)) / 2


class WarmupLR(LRScheduler):
    """Rise linearly to the initial rate, then follow another schedule, or stay.

    The first of `warmup_steps` steps has the rate initial / (warmup_steps + 1), so that none is wasted at 0.
    """

    def __init__(
        self, optimizer: Optimizer, warmup_steps: int, after: LRScheduler | None = None, *, per: str = "step"
    ):
        if after is not None and not isinstance(after, LRScheduler):
            raise MiniAlexError(
                f"after must be None, or a schedule that only counts steps, not a {type(after).__name__}"
            )
        self.warmup_steps, self.after = require_int("warmup_steps", warmup_steps, 1), after
        super().__init__(optimizer, per=per)

    def rate(self, initial, step):
        if step < self.warmup_steps:
            return initial * (step + 1) / (self.warmup_steps + 1)
        return self.after.rate(initial, step - self.warmup_steps) if self.after else initial


class ReduceLROnPlateau:
    """Multiply by factor when a metric has not improved for more than `patience` steps.

    The paper divides by 10 "when the validation error rate stopped improving" (section 5).

    Parameters
    ----------
    mode : "min" or "max"
        Whether smaller or larger is better.
    factor : float
    patience : int
        How many steps without improvement to wait.
    threshold : float
        The relative change that counts as an improvement.
    min_lr : float
        The lower bound of every group's rate.
    monitor : str
        Which of an epoch's metrics the trainer passes to it.
    """

    per = "epoch"

    def __init__(
        self,
        optimizer: Optimizer,
        mode: str = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        min_lr: float = 0.0,
        *,
        monitor: str = "validation_loss",
    ):
        _require_optimizer(optimizer)
        require_choice("mode", mode, ("min", "max"))
        require_share("factor", factor)
        require_int("patience", patience, 0)
        _rate("threshold", threshold)
        _rate("min_lr", min_lr)
        self.optimizer, self.mode, self.factor, self.patience = optimizer, mode, factor, patience
        self.threshold, self.min_lr, self.monitor = threshold, min_lr, monitor
        self.best: float | None = None
        self.waited = 0

    def step(self, metric: Any) -> None:
        """Take a new value of the metric, a number or a tensor of one element. NaN is no improvement."""
        value = metric.item() if hasattr(metric, "item") else metric
        if not is_number(value):
            raise MiniAlexError(f"metric must be a number, not {in_words(metric)}")
        metric = float(value)
        if self._improves(metric):
            self.best, self.waited = metric, 0
            return
        self.waited += 1
        if self.waited > self.patience:
            self.waited = 0
            for group in self.optimizer.param_groups:
                group["lr"] = min(group["lr"], max(group["lr"] * self.factor, self.min_lr))

    def _improves(self, metric: float) -> bool:
        if self.best is None:
            return not math.isnan(metric)
        # Anything finite is better than the infinite loss of an epoch that overflowed.
        margin = self.threshold * abs(self.best) if math.isfinite(self.best) else 0.0
        return metric < self.best - margin if self.mode == "min" else metric > self.best + margin

    def state_dict(self) -> dict:
        """What `load_state_dict` takes; the rates themselves are part of the optimiser's state."""
        return {"best": self.best, "waited": self.waited}

    def check_state_dict(self, saved: dict) -> None:
        """Raise `CheckpointError` if `load_state_dict` could not take over a state."""
        _require_entries(self, saved)
        require_int("waited in the saved schedule", saved["waited"], 0, error=CheckpointError)
        best = saved["best"]
        if best is not None and not is_number(best):
            raise CheckpointError(
                f"best in the saved schedule must be a number or None, not {in_words(best)}"
            )

    def load_state_dict(self, saved: dict) -> None:
        """Take over what `state_dict` gave. The rates stay: those of the optimiser's state are exact.

        Raises
        ------
        CheckpointError
            If it does not fit; nothing is changed then.
        """
        self.check_state_dict(saved)
        self.best, self.waited = saved["best"], saved["waited"]


def _rate(name: str, value: float) -> float:
    return require_number(name, value, 0, bounds="[)")


def _require_optimizer(optimizer: Optimizer) -> Optimizer:
    if not isinstance(optimizer, Optimizer):
        raise MiniAlexError(f"optimizer must be an Optimizer, not {in_words(optimizer)}")
    return optimizer


def _require_entries(schedule, saved: dict) -> None:
    if not isinstance(saved, Mapping):
        raise CheckpointError(f"the saved schedule must be a mapping, not {in_words(saved)}")
    if set(saved) != set(schedule.state_dict()):
        raise CheckpointError(
            f"{type(schedule).__name__} keeps {', '.join(schedule.state_dict())}, the saved state "
            f"{', '.join(sorted(saved))}"
        )
