"""How a CNN is computed: one folder per operation, its kernels in a registry.

    contract/            what kernels and their callers agree on
    runtime/, gemm/      what fast kernels on the CPU share
    cuda/, cuda_host/    what CUDA kernels share; the executor that runs them on the processor
    conv2d/, relu/, ...  the operations

Every module of an operation is imported here and registers the kernels it holds, so that a new operation or a
new algorithm is one new file. Modules named ``cuda...`` are imported when a kernel of a CUDA device is first
asked for; ``examples``, when a test, a check or a benchmark asks for calls; those with a leading underscore,
which import Numba, when something is compiled.
"""

import functools
import importlib
import pkgutil

from minialex.kernels.contract import examples, registry
from minialex.kernels.contract.plugins import load_plugin
from minialex.kernels.contract.registry import (
    Kernel,
    devices,
    find_kernel,
    kernel,
    list_kernels,
    ranked,
    run,
    select,
    unregister,
    use,
)
from minialex.kernels.contract.shapes import operations_with_shapes, output_shape
from minialex.kernels.contract.tuning import is_tuning, set_tuning
from minialex.kernels.contract.workspace import set_workspace_limit, workspace_limit
from minialex.kernels.runtime.threads import num_threads, set_num_threads

__all__ = [
    "Kernel",
    "devices",
    "find_kernel",
    "is_tuning",
    "kernel",
    "list_kernels",
    "load_plugin",
    "num_threads",
    "operations_with_shapes",
    "output_shape",
    "ranked",
    "run",
    "select",
    "set_num_threads",
    "set_tuning",
    "set_workspace_limit",
    "unregister",
    "use",
    "workspace_limit",
]

_SHARED = ("contract", "cuda", "cuda_host", "gemm", "runtime")


def _import_operations(kind: str) -> None:
    """Import the modules of one kind of all operations."""
    for operation in pkgutil.iter_modules(__path__):
        if operation.name not in _SHARED:
            package = importlib.import_module(f"{__name__}.{operation.name}")
            for module in pkgutil.iter_modules(package.__path__):
                if _kind(module.name) == kind:
                    importlib.import_module(f"{package.__name__}.{module.name}")


def _kind(module: str) -> str:
    """What a module of an operation is for: the processor, CUDA, examples, or others to import."""
    if module.startswith("_"):
        return "compiled"
    if module.startswith("cuda"):
        return "cuda"
    return "examples" if module == "examples" else "cpu"


_import_operations("cpu")
registry.register_later(("cuda", "cuda-host"), functools.partial(_import_operations, "cuda"))
examples.register_later(functools.partial(_import_operations, "examples"))


def __getattr__(name: str):
    """Import the rooms of CUDA when they are first asked for: ``minialex.kernels.cuda_host.load(...)``."""
    if name in ("cuda", "cuda_host"):
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
