"""Optimisers, schedules and gradient clipping, under the names of ``torch.optim``."""

from minialex.optim import lr_scheduler
from minialex.optim.adam import Adam, AdamW
from minialex.optim.clipping import clip_grad_norm_, clip_grad_value_
from minialex.optim.optimizer import Optimizer
from minialex.optim.sgd import SGD

__all__ = [
    "SGD",
    "Adam",
    "AdamW",
    "Optimizer",
    "clip_grad_norm_",
    "clip_grad_value_",
    "lr_scheduler",
]
