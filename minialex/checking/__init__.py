"""Checking gradients, ours and anyone's, against numerical derivatives.

The rooms, each of which knows only those above it in this list (and all of them the files beside them that
hold constraints, reports and reproductions):

    gradients/   one check of a gradient, from numerical derivatives to the verdict: `check_vjp` and its kin
    adapters/    functions of tensors, ours, PyTorch's and JAX's, as functions of arrays
    cuda/        a pair of CUDA kernels as functions of arrays
    testing/     what tests are made of: comparison, values, Hypothesis strategies
    kernels/     the registry's kernels: their derivatives, their results, each access to memory
    gallery/     wrong gradients, each one line different from a right one

`explain` shows a check in full; `from_file` runs those in a user's file, `pytest_plugin` those in a test;
`results` writes them down.
"""

import importlib

# Where each name stands: a test that uses the pytest plug-in for nothing should not load the checker.
_MODULES = {
    "check_jax": "adapters.jax_functions",
    "gradcheck": "adapters.tensors",
    "gradgradcheck": "adapters.tensors",
    "check_torch": "adapters.torch_functions",
    "CudaKernel": "cuda.arguments",
    "check_cuda": "cuda.pair",
    "check_jvp": "gradients.jvp",
    "check_second_vjp": "gradients.second_order",
    "check_vjp": "gradients.vjp",
    "Case": "kernels.cases",
    "cases_of": "kernels.cases",
    "check_kernels": "kernels.suite",
    "check_model": "kernels.suite",
    "GradcheckError": "report",
    "InputReport": "report",
    "Report": "report",
}

__all__ = sorted(_MODULES)


def __getattr__(name: str):
    if name not in _MODULES:
        raise AttributeError(f"module 'minialex.checking' has no attribute {name!r}")
    return getattr(importlib.import_module(f"minialex.checking.{_MODULES[name]}"), name)
