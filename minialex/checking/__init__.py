"""Checking gradients, ours and anyone's, against numerical derivatives."""

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
