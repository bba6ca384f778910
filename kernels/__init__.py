"""How a CNN is computed: one folder per operation, its kernels in a registry.

Every module below this folder is imported here, and registers what it holds. A new operation or a
new algorithm is therefore one new file. (Not those with a leading underscore: they import Numba.)
"""

import importlib
import pkgutil

from minialex.kernels.contract.registry import (
    Kernel,
    devices,
    find_kernel,
    kernel,
    list_kernels,
    load_plugin,
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

for _module in pkgutil.walk_packages(__path__, prefix=f"{__name__}."):
    if not _module.name.rpartition(".")[2].startswith("_"):
        importlib.import_module(_module.name)
del _module
