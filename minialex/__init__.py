"""MiniAlex: a from-scratch CNN engine that assembles AlexNet and its published variants.

Importing it loads only NumPy. Data, models and training are imported at first use.
"""

import importlib
from typing import TYPE_CHECKING

import minialex.kernels as kernels
from minialex import functional, numpy_functions  # noqa: F401 - which NumPy finds through tensors
from minialex.autograd import Operation, enable_grad, grad, is_grad_enabled, no_grad
from minialex.config import using
from minialex.errors import MiniAlexError
from minialex.kernels import output_shape
from minialex.random import manual_seed
from minialex.tensor import Tensor, tensor
from minialex.version import __version__

if TYPE_CHECKING:  # what __getattr__ below imports at first use, for editors and type checkers
    from minialex import checking, data, models, nn, optim
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

__all__ = [
    "GradcheckError",
    "MiniAlexError",
    "Operation",
    "Tensor",
    "__version__",
    "check_cuda",
    "check_jax",
    "check_jvp",
    "check_second_vjp",
    "check_torch",
    "check_vjp",
    "checking",
    "data",
    "enable_grad",
    "functional",
    "grad",
    "gradcheck",
    "gradgradcheck",
    "is_grad_enabled",
    "kernels",
    "manual_seed",
    "models",
    "nn",
    "no_grad",
    "optim",
    "output_shape",
    "tensor",
    "using",
]

_MODULES = ("checking", "data", "models", "nn", "optim")
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
    raise AttributeError(f"module 'minialex' has no attribute {name!r}")
