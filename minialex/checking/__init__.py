"""Checking gradients, ours and anyone's, against numerical derivatives."""

from minialex.checking.cases import Case, cases_of
from minialex.checking.cuda_arguments import CudaKernel
from minialex.checking.cuda_pair import check_cuda
from minialex.checking.jax_functions import check_jax
from minialex.checking.jvp import check_jvp
from minialex.checking.report import GradcheckError, InputReport, Report
from minialex.checking.second_order import check_second_vjp
from minialex.checking.suite import check_kernels, check_model
from minialex.checking.tensors import gradcheck, gradgradcheck
from minialex.checking.torch_functions import check_torch
from minialex.checking.vjp import check_vjp

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
