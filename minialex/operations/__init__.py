"""Differentiable functions of tensors: one file per operation, with its gradients and public function."""

from minialex import tensor
from minialex.operations import comparison
from minialex.operations.activations import (
    elu,
    gelu,
    hardsigmoid,
    hardswish,
    leaky_relu,
    logsigmoid,
    mish,
    prelu,
    relu6,
    silu,
    softplus,
)
from minialex.operations.adaptive_pooling import adaptive_avg_pool2d, adaptive_max_pool2d
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
from minialex.operations.conv1d import conv1d
from minialex.operations.conv2d import conv2d
from minialex.operations.conv_transpose2d import conv_transpose2d
from minialex.operations.conversion import to
from minialex.operations.cross_entropy import cross_entropy
from minialex.operations.dropout import dropout, dropout2d
from minialex.operations.einsum import einsum
from minialex.operations.elementwise import (
    absolute,
    add,
    divide,
    erf,
    exp,
    expm1,
    log,
    log1p,
    maximum,
    minimum,
    multiply,
    negative,
    power,
    sigmoid,
    sqrt,
    subtract,
    tanh,
)
from minialex.operations.embedding import embedding
from minialex.operations.in_place import add_, copy_, div_, fill_, mul_, setitem_
from minialex.operations.joining import cat, chunk, split, stack, unbind
from minialex.operations.layout import (
    astype,
    clone,
    flatten,
    getitem,
    permute,
    reshape,
    squeeze,
    transpose,
    unsqueeze,
)
from minialex.operations.linear import linear
from minialex.operations.local_response_norm import channel_window_sum, local_response_norm
from minialex.operations.losses import (
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    huber_loss,
    kl_div,
    l1_loss,
    mse_loss,
    nll_loss,
    smooth_l1_loss,
)
from minialex.operations.matmul import matmul
from minialex.operations.max_pool2d import max_pool2d, max_unpool2d
from minialex.operations.normalisation import group_norm, instance_norm, layer_norm
from minialex.operations.padding import pad
from minialex.operations.patches import fold, unfold
from minialex.operations.reduction import amax, broadcast_to, mean, repeat, sum
from minialex.operations.relu import relu
from minialex.operations.resizing import interpolate
from minialex.operations.selection import (
    amin,
    argmax,
    argmin,
    clamp,
    gather,
    index_select,
    masked_fill,
    max,
    min,
    topk,
    where,
)
from minialex.operations.softmax import log_softmax, softmax
from minialex.operations.statistics import norm, std, var

__all__ = [
    "absolute",
    "adaptive_avg_pool2d",
    "adaptive_max_pool2d",
    "add",
    "add_",
    "all",
    "amax",
    "amin",
    "any",
    "argmax",
    "argmin",
    "astype",
    "avg_pool2d",
    "batch_norm",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "bitwise_and",
    "bitwise_or",
    "bitwise_xor",
    "broadcast_to",
    "cat",
    "channel_window_sum",
    "chunk",
    "clamp",
    "clone",
    "conv1d",
    "conv2d",
    "conv_transpose2d",
    "copy_",
    "cross_entropy",
    "div_",
    "divide",
    "dropout",
    "dropout2d",
    "einsum",
    "elu",
    "embedding",
    "equal",
    "erf",
    "exp",
    "expm1",
    "fill_",
    "flatten",
    "fold",
    "gather",
    "gelu",
    "getitem",
    "greater",
    "greater_equal",
    "group_norm",
    "hardsigmoid",
    "hardswish",
    "huber_loss",
    "index_select",
    "instance_norm",
    "interpolate",
    "invert",
    "kl_div",
    "l1_loss",
    "layer_norm",
    "leaky_relu",
    "less",
    "less_equal",
    "linear",
    "local_response_norm",
    "log",
    "log1p",
    "log_softmax",
    "logsigmoid",
    "masked_fill",
    "matmul",
    "max",
    "max_pool2d",
    "max_unpool2d",
    "maximum",
    "mean",
    "min",
    "minimum",
    "mish",
    "mse_loss",
    "mul_",
    "multiply",
    "negative",
    "nll_loss",
    "norm",
    "not_equal",
    "pad",
    "permute",
    "power",
    "prelu",
    "relu",
    "relu6",
    "repeat",
    "reshape",
    "setitem_",
    "sigmoid",
    "silu",
    "smooth_l1_loss",
    "softmax",
    "softplus",
    "split",
    "sqrt",
    "squeeze",
    "stack",
    "std",
    "subtract",
    "sum",
    "tanh",
    "to",
    "topk",
    "transpose",
    "unbind",
    "unfold",
    "unsqueeze",
    "var",
    "where",
]

# The operators and methods of tensors.
vars(tensor.functions).update({name: globals()[name] for name in __all__}, is_operand=comparison.is_operand)
