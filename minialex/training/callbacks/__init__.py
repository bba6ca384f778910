"""What follows a training: files, pictures of its course, and the decision to stop."""

from minialex.training.callbacks.callback import Callback
from minialex.training.callbacks.checkpoints import Checkpoints
from minialex.training.callbacks.early_stopping import EarlyStopping
from minialex.training.callbacks.metrics_file import MetricsFile
from minialex.training.callbacks.tensorboard import TensorBoard

__all__ = ["Callback", "Checkpoints", "EarlyStopping", "MetricsFile", "TensorBoard"]
