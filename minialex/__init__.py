"""MiniAlex: a from-scratch CNN engine that assembles AlexNet and its published variants.

Importing it loads only NumPy. Data, models and training are imported at first use.
"""

import importlib
from typing import TYPE_CHECKING

import minialex.kernels as kernels
from minialex import functional, gradient_hooks, numpy_functions  # noqa: F401 - found through tensors
from minialex.autograd import Operation, enable_grad, grad, is_grad_enabled, no_grad
from minialex.config import using
from minialex.creation import (
    arange,
    as_tensor,
    bool_,
    empty,
    empty_like,
    eye,
    float32,
    float64,
    from_numpy,
    full,
    full_like,
    int32,
    int64,
    linspace,
    ones,
    ones_like,
    rand,
    rand_like,
    randint,
    randn,
    randn_like,
    randperm,
    uint8,
    zeros,
    zeros_like,
)
from minialex.errors import MiniAlexError
from minialex.kernels import output_shape
from minialex.operations import (
    absolute as abs,
)
from minialex.operations import (
    amax,
    amin,
    argmax,
    argmin,
    cat,
    chunk,
    clamp,
    clone,
    einsum,
    erf,
    exp,
    flatten,
    gather,
    index_select,
    log,
    log1p,
    matmul,
    max,
    maximum,
    mean,
    min,
    minimum,
    norm,
    permute,
    relu,
    reshape,
    sigmoid,
    softmax,
    split,
    sqrt,
    squeeze,
    stack,
    std,
    sum,
    tanh,
    topk,
    transpose,
    unbind,
    unsqueeze,
    var,
    where,
)
from minialex.random import manual_seed
from minialex.tensor import Tensor, tensor
from minialex.torch_habits import cuda, device, utils
from minialex.version import __version__

if TYPE_CHECKING:  # what __getattr__ below imports at first use, for editors and type checkers
    from minialex import checking, data, interchange, models, nn, optim, training
    from minialex.checking import (
        GradcheckError,
        check_cuda,
        check_jax,
        check_jvp,
        check_second_vjp,
        check_torch,
        check_vjp,
        gradcheck,
        gradgradcheck,
    )
    from minialex.saving import load, save
    from minialex.sharing import from_dlpack

__all__ = [
    "GradcheckError",
    "MiniAlexError",
    "Operation",
    "Tensor",
    "__version__",
    "abs",
    "amax",
    "amin",
    "arange",
    "argmax",
    "argmin",
    "as_tensor",
    "bool_",
    "cat",
    "check_cuda",
    "check_jax",
    "check_jvp",
    "check_second_vjp",
    "check_torch",
    "check_vjp",
    "checking",
    "chunk",
    "clamp",
    "clone",
    "cuda",
    "data",
    "device",
    "einsum",
    "empty",
    "empty_like",
    "enable_grad",
    "erf",
    "exp",
    "eye",
    "flatten",
    "float32",
    "float64",
    "from_dlpack",
    "from_numpy",
    "full",
    "full_like",
    "functional",
    "gather",
    "grad",
    "gradcheck",
    "gradgradcheck",
    "index_select",
    "int32",
    "int64",
    "interchange",
    "is_grad_enabled",
    "kernels",
    "linspace",
    "load",
    "log",
    "log1p",
    "manual_seed",
    "matmul",
    "max",
    "maximum",
    "mean",
    "min",
    "minimum",
    "models",
    "nn",
    "no_grad",
    "norm",
    "ones",
    "ones_like",
    "optim",
    "output_shape",
    "permute",
    "rand",
    "rand_like",
    "randint",
    "randn",
    "randn_like",
    "randperm",
    "relu",
    "reshape",
    "save",
    "sigmoid",
    "softmax",
    "split",
    "sqrt",
    "squeeze",
    "stack",
    "std",
    "sum",
    "tanh",
    "tensor",
    "topk",
    "training",
    "transpose",
    "uint8",
    "unbind",
    "unsqueeze",
    "using",
    "utils",
    "var",
    "where",
    "zeros",
    "zeros_like",
]

_MODULES = ("checking", "data", "interchange", "models", "nn", "optim", "training")
_CHECKS = (
    "GradcheckError",
    "check_cuda",
    "check_jax",
    "check_jvp",
    "check_second_vjp",
    "check_torch",
    "check_vjp",
    "gradcheck",
    "gradgradcheck",
)


def __getattr__(name: str):
    if name in _MODULES:
        return importlib.import_module(f"minialex.{name}")
    if name in _CHECKS:
        return getattr(importlib.import_module("minialex.checking"), name)
    if name == "from_dlpack":
        return importlib.import_module("minialex.sharing").from_dlpack
    if name in ("load", "save"):
        return getattr(importlib.import_module("minialex.saving"), name)
    raise AttributeError(f"module 'minialex' has no attribute {name!r}")
