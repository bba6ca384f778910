"""From a recipe's tables to the objects that train."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from minialex import functional as F
from minialex import nn, optim
from minialex.data import DataLoader, ImageDataset
from minialex.data.transforms import Pipeline
from minialex.models import Network, create_model
from minialex.optim import Optimizer
from minialex.optim.lr_scheduler import (
    CosineAnnealingLR,
    LRScheduler,
    MultiStepLR,
    ReduceLROnPlateau,
    WarmupLR,
)
from minialex.tensor import Tensor
from minialex.training.recipes.recipe import (
    Adam,
    Constant,
    Data,
    Model,
    MultiStep,
    Plateau,
    Sgd,
    Training,
    WarmupCosine,
)
from minialex.training.trainer import steps_per_epoch

# Images in a batch of a test, and of one with ten crops of each.
_TEST_BATCH, _CROPS_BATCH = 250, 25


def make_network(model: Model, classes: int) -> Network:
    """Build the network that a recipe names and draw its weights."""
    return create_model(model.name, classes, model.initialiser)


def make_optimizer(network: Network, table: Sgd | Adam) -> Optimizer:
    """Make the optimiser over a network's parameters.

    Weight decay d adds d w to a weight's gradient. Keras's ``regularizers.l2(l)`` adds l sum(w^2) to the
    loss, so 2 l w to the gradient: it becomes a weight decay of 2 l, on the weights of convolutions only.
    """
    options = {"lr": table.lr, "weight_decay": table.weight_decay}
    if isinstance(table, Sgd):
        make, options = optim.SGD, options | {"momentum": table.momentum, "nesterov": table.nesterov}
    else:
        make, options = optim.Adam, options | {"betas": table.betas, "eps": table.eps}
    if not table.l2_convolutions:
        return make(network.parameters(), **options)
    kernels = [layer.weight for layer in network.modules() if isinstance(layer, nn.Conv2d)]
    chosen = {id(kernel) for kernel in kernels}
    others = [p for p in network.parameters() if id(p) not in chosen]
    decay = table.weight_decay + 2 * table.l2_convolutions
    return make([{"params": kernels, "weight_decay": decay}, {"params": others}], **options)


def optimizer_arrays(table: Sgd | Adam) -> int:
    """How many arrays the optimiser keeps for each parameter."""
    return 2 if isinstance(table, Adam) else int(table.momentum > 0)


def make_schedule(
    optimizer: Optimizer,
    table: Constant | WarmupCosine | MultiStep | Plateau,
    loader: DataLoader,
    training: Training,
) -> LRScheduler | ReduceLROnPlateau | None:
    """Make the schedule of the learning rate for the training's epochs over a loader."""
    if isinstance(table, WarmupCosine):
        steps = training.epochs * steps_per_epoch(loader, training.accumulate)
        warmup = max(1, round(table.warmup * steps))
        return WarmupLR(optimizer, warmup, CosineAnnealingLR(optimizer, max(1, steps - warmup)))
    if isinstance(table, MultiStep):
        return MultiStepLR(optimizer, table.milestones, table.gamma, per="epoch")
    if isinstance(table, Plateau):
        return ReduceLROnPlateau(
            optimizer, table.mode, table.factor, table.patience, min_lr=table.min_lr, monitor=table.monitor
        )
    return None


def make_loss(labels: str) -> Callable[[Tensor, np.ndarray], Tensor]:
    """Cross-entropy on class numbers, or on rows of zeros and a one made of them."""
    return F.cross_entropy if labels == "integer" else _one_hot_cross_entropy


def _one_hot_cross_entropy(logits: Tensor, labels: np.ndarray) -> Tensor:
    return F.cross_entropy(logits, np.eye(logits.shape[1], dtype=logits.dtype)[labels])


def make_test_loader(dataset: ImageDataset, pipeline: Pipeline, data: Data) -> DataLoader:
    """The batches of a part that is tested on."""
    has_crops = any(transform.name == "ten_crop" for transform in pipeline.transforms)
    batch = _CROPS_BATCH if has_crops else _TEST_BATCH
    return DataLoader(dataset, batch, transform=pipeline, on_error=data.damaged)
