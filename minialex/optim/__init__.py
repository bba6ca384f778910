"""Optimisers, schedules and gradient clipping, under the names of ``torch.optim``."""

from minialex.operations.gradients import clip_grad_norm_, clip_grad_value_
from minialex.optim import lr_scheduler
from minialex.optim.adam import Adam, AdamW
from minialex.optim.layerwise import LAMB, LARS
from minialex.optim.normalised import Adagrad, NAdam, RMSprop
from minialex.optim.optimizer import Optimizer
from minialex.optim.sgd import SGD

__all__ = [
    "LAMB",
    "LARS",
    "SGD",
    "Adagrad",
    "Adam",
    "AdamW",
    "NAdam",
    "Optimizer",
    "RMSprop",
    "clip_grad_norm_",
    "clip_grad_value_",
    "lr_scheduler",
]
