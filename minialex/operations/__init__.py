"""Differentiable functions of tensors: one file per operation, with its gradients and public function."""

from minialex import tensor
from minialex.operations import comparison
from minialex.operations.avg_pool2d import avg_pool2d
from minialex.operations.batch_norm import batch_norm
from minialex.operations.comparison import (
    all,
    any,
    bitwise_and,
    bitwise_or,
    bitwise_xor,
    equal,
    greater,
    greater_equal,
    invert,
    less,
    less_equal,
    not_equal,
)
from minialex.operations.conv2d import conv2d
from minialex.operations.cross_entropy import cross_entropy
from minialex.operations.dropout import dropout
from minialex.operations.elementwise import (
    absolute,
    add,
    divide,
    exp,
    log,
    maximum,
    minimum,
    multiply,
    negative,
    power,
    sqrt,
    subtract,
    tanh,
)
from minialex.operations.layout import flatten, getitem, reshape, transpose
from minialex.operations.linear import linear
from minialex.operations.local_response_norm import channel_window_sum, local_response_norm
from minialex.operations.matmul import matmul
from minialex.operations.max_pool2d import max_pool2d
from minialex.operations.reduction import amax, broadcast_to, mean, sum
from minialex.operations.relu import relu
from minialex.operations.softmax import log_softmax, softmax

__all__ = [
    "absolute",
    "add",
    "all",
    "amax",
    "any",
    "avg_pool2d",
    "batch_norm",
    "bitwise_and",
    "bitwise_or",
    "bitwise_xor",
    "broadcast_to",
    "channel_window_sum",
    "conv2d",
    "cross_entropy",
    "divide",
    "dropout",
    "equal",
    "exp",
    "flatten",
    "getitem",
    "greater",
    "greater_equal",
    "invert",
    "less",
    "less_equal",
    "linear",
    "local_response_norm",
    "log",
    "log_softmax",
    "matmul",
    "max_pool2d",
    "maximum",
    "mean",
    "minimum",
    "multiply",
    "negative",
    "not_equal",
    "power",
    "relu",
    "reshape",
    "softmax",
    "sqrt",
    "subtract",
    "sum",
    "tanh",
    "transpose",
]

# The operators and methods of tensors.
vars(tensor.functions).update({name: globals()[name] for name in __all__}, is_operand=comparison.is_operand)
