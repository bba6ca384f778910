"""The device ``cuda-host`` with every launch under the checker.

`CheckingDevice` takes the place of the device that a registered kernel would run on, and keeps what the
checker says about each launch.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from minialex.kernels import cuda_host
from minialex.kernels.cuda import launcher
from minialex.kernels.cuda.host import HostDevice
from minialex.kernels.cuda.launcher import Launch
from minialex.kernels.cuda.source import Source, SourceKernel, compiler_options


@dataclass(frozen=True)
class CheckedLaunch:
    """One launch and what the checker says about it."""

    kernel: str
    source: Source
    grid: tuple[int, int, int]
    block: tuple[int, int, int]
    report: cuda_host.Report


Compile = Callable[[SourceKernel, np.dtype], Any]


@contextmanager
def few_blocks(most: int = 1):
    """Let `blocks_for` give at most that many blocks, so that grid-stride loops go round for small arrays."""
    before = launcher.MAX_BLOCKS
    launcher.MAX_BLOCKS = most
    try:
        yield
    finally:
        launcher.MAX_BLOCKS = before


class CheckingDevice(HostDevice):
    """Runs each launch under `minialex.kernels.cuda_host.check`.

    What comes from `empty` counts as uninitialised until a launch has been given it to write.

    Parameters
    ----------
    compile : callable, optional
        Gives the compiled kernel for a kernel of a source and the type of `real`; that of the source as it
        is unless given. With another one, changed sources are run in place of those on disk.

    Attributes
    ----------
    launches : list of CheckedLaunch
    """

    def __init__(self, compile: Compile | None = None):
        self.launches: list[CheckedLaunch] = []
        self._compile: Compile = compile or self.instrumented
        self._unwritten: list[np.ndarray] = []  # kept, so that no other array comes to lie at its address

    @staticmethod
    def instrumented(kernel: SourceKernel, real: np.dtype):
        """The kernel of a source as it is, compiled for the checker."""
        return _instrumented_module(kernel.source, real)[kernel.name]

    def empty(self, shape, dtype):
        array = np.empty(shape, dtype)
        self._unwritten.append(array)
        return array

    def zeros(self, shape, dtype):
        return np.zeros(shape, dtype)

    def contiguous(self, x):
        return super().contiguous(x) if x.flags.c_contiguous else np.array(x, order="C")

    def run(self, kernel: SourceKernel, launch: Launch) -> None:
        arrays = {i: array for i, array in enumerate(launch.args) if isinstance(array, np.ndarray)}
        unwritten = [i for i, array in arrays.items() if self._is_unwritten(array)]
        compiled = self._compile(kernel, launch.real)
        found = cuda_host.check(compiled, launch.grid, launch.block, launch.args, uninitialised=unwritten)
        self.launches.append(CheckedLaunch(kernel.name, kernel.source, launch.grid, launch.block, found))
        for parameter, array in zip(kernel.signature.parameters, launch.args, strict=True):
            if parameter.pointer and not parameter.const:
                self._unwritten = [each for each in self._unwritten if not np.may_share_memory(each, array)]

    def _is_unwritten(self, array: np.ndarray) -> bool:
        return any(np.may_share_memory(each, array) for each in self._unwritten)


@functools.cache
def _instrumented_module(source: Source, real: np.dtype):
    return cuda_host.load(source_text=source.text, options=compiler_options(real), checked=True)
