"""Stopping when a metric no longer improves."""

from __future__ import annotations

from minialex.checks import require_int
from minialex.training.callbacks.best import Best
from minialex.training.callbacks.callback import Callback


class EarlyStopping(Callback):
    """Stops the training after `patience` epochs in a row without an improvement, as Keras's does.

    Parameters
    ----------
    monitor : str
        A name of `EpochMetrics.to_dict`, such as ``"validation_loss"``.
    patience : int
        At least 1.
    mode : "min" or "max"
        Whether smaller or larger is better.
    min_delta : float
        By how much a value must be better to count as an improvement.

    Raises
    ------
    MiniAlexError
        If an argument is out of range; from `before_training` if the run has no such metric.
    """

    def __init__(
        self, monitor: str = "validation_loss", patience: int = 10, mode: str = "min", min_delta: float = 0.0
    ):
        require_int("patience", patience, 1)
        self.best, self.patience = Best(monitor, mode, min_delta), patience
        self.key = f"early_stopping of {monitor}"

    def before_training(self, trainer) -> None:
        trainer.require_metric(self.best.monitor)
        self._stop = trainer.stop

    def after_epoch(self, metrics, network, validation) -> None:
        best = self.best
        if best.update(metrics) or best.waited < self.patience:
            return
        reason = f"{best.monitor} has not improved for {best.waited} epochs"
        if best.value is not None:
            reason += f"; its best was {best.value:.4g} in epoch {best.epoch}"
        self._stop(reason)

    def state_dict(self) -> dict:
        return self.best.state_dict()

    def load_state_dict(self, state) -> None:
        self.best.load_state_dict(state)
