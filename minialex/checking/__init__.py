"""Checking gradients, ours and anyone's, against numerical derivatives.

The rooms, each of which knows only those above it in this list (and all of them the files beside them that
hold constraints, reports and reproductions):

    gradients/   one check of a gradient, from numerical derivatives to the verdict: `check_vjp` and its kin
    adapters/    functions of tensors, ours, PyTorch's and JAX's, as functions of arrays
    cuda/        a pair of CUDA kernels as functions of arrays
    testing/     what tests are made of: comparison, values, Hypothesis strategies, the pytest plug-in
    kernels/     the registry's kernels: their derivatives, their results, each access to memory
    gallery/     wrong gradients, each one line different from a right one

`explain` shows a check in full; `from_file` runs those in a user's file; `results` writes them down.
"""

from minialex.checking.adapters.jax_functions import check_jax
from minialex.checking.adapters.tensors import gradcheck, gradgradcheck
from minialex.checking.adapters.torch_functions import check_torch
from minialex.checking.cuda.arguments import CudaKernel
from minialex.checking.cuda.pair import check_cuda
from minialex.checking.gradients.jvp import check_jvp
from minialex.checking.gradients.second_order import check_second_vjp
from minialex.checking.gradients.vjp import check_vjp
from minialex.checking.kernels.cases import Case, cases_of
from minialex.checking.kernels.suite import check_kernels, check_model
from minialex.checking.report import GradcheckError, InputReport, Report

__all__ = [
    "Case",
    "CudaKernel",
    "GradcheckError",
    "InputReport",
    "Report",
    "cases_of",
    "check_cuda",
    "check_jax",
    "check_jvp",
    "check_kernels",
    "check_model",
    "check_second_vjp",
    "check_torch",
    "check_vjp",
    "gradcheck",
    "gradgradcheck",
]
