"""Checking gradients, ours and anyone's, against numerical derivatives."""

from minialex.checking.report import GradcheckError, InputReport, Report
from minialex.checking.tensors import gradcheck, gradgradcheck
from minialex.checking.vjp import check_vjp

__all__ = ["GradcheckError", "InputReport", "Report", "check_vjp", "gradcheck", "gradgradcheck"]
