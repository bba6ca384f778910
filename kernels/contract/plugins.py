"""Kernels from a file of the user's."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

from minialex.errors import KernelError
from minialex.kernels.contract.registry import Kernel, list_kernels


def load_plugin(path: str | Path) -> list[Kernel]:
    """Run a Python file that registers kernels; return the kernels it added.

    Raises
    ------
    KernelError
        If the file is missing, fails to run, or registers nothing.
    """
    path = Path(path)
    if not path.is_file():
        raise KernelError(f"plug-in {str(path)!r} is not a file")
    before = set(list_kernels())
    name = f"minialex_plugin_{path.stem}"
    specification = importlib.util.spec_from_file_location(name, path)
    if specification is None or specification.loader is None:
        raise KernelError(f"the name of a plug-in must end in .py, not {str(path)!r}")
    module = importlib.util.module_from_spec(specification)
    sys.modules[name] = module
    try:
        specification.loader.exec_module(module)
    except Exception as error:
        raise KernelError(f"plug-in {str(path)!r} failed: {type(error).__name__}: {error}") from error
    added = [entry for entry in list_kernels() if entry not in before]
    if not added:
        raise KernelError(f"plug-in {str(path)!r} registered no kernel; decorate one with @kernel")
    return added
