"""The layers as functions, under the names of ``torch.nn.functional``."""

from minialex.operations import (
    avg_pool2d,
    batch_norm,
    conv2d,
    cross_entropy,
    dropout,
    flatten,
    linear,
    local_response_norm,
    log_softmax,
    max_pool2d,
    relu,
    softmax,
)

__all__ = [
    "avg_pool2d",
    "batch_norm",
    "conv2d",
    "cross_entropy",
    "dropout",
    "flatten",
    "linear",
    "local_response_norm",
    "log_softmax",
    "max_pool2d",
    "relu",
    "softmax",
]
