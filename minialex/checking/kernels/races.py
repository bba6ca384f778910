"""Registered kernels of ``cuda-host`` under the checker of races, bounds and unwritten memory."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from minialex.checking.testing.calls import Call, kernel_calls
from minialex.errors import KernelError
from minialex.kernels import Kernel, list_kernels

if TYPE_CHECKING:
    from minialex.kernels.cuda_host import Access, Finding

DEVICE = "cuda-host"


@dataclass
class KernelCheck:
    """What the checker has said about the launches of one registered kernel.

    Attributes
    ----------
    kernel : str
        Such as ``"conv2d.forward[cuda-host, naive]"``.
    launches : int
    findings : list of (str, Finding)
        With the call that provoked it; each finding in a line once.
    accesses : list of (str, Access)
        With the name of the CUDA kernel, for each launch.
    """

    kernel: str
    launches: int = 0
    findings: list[tuple[str, Finding]] = field(default_factory=list)
    accesses: list[tuple[str, Access]] = field(default_factory=list)

    @property
    def sectors(self) -> int:
        return sum(access.sectors for _, access in self.accesses)

    @property
    def ideal_sectors(self) -> int:
        return sum(access.ideal_sectors for _, access in self.accesses)

    @property
    def bank_conflicts(self) -> int:
        return sum(access.bank_conflicts for _, access in self.accesses)

    @property
    def coalescing(self) -> float:
        """Ideal sectors as a share of those moved; 1 where nothing was moved."""
        return self.ideal_sectors / self.sectors if self.sectors else 1.0


def kernels_to_check(name: str | None = None) -> list[Kernel]:
    """The kernels of ``cuda-host``: all, those of an operation, or of one direction.

    Raises
    ------
    KernelError
        If there is none of that name.
    """
    found = list_kernels(name, DEVICE)
    if not found:
        known = sorted({entry.operation for entry in list_kernels(device=DEVICE)})
        raise KernelError(f"no kernel of {name!r} on {DEVICE}; there are: {', '.join(known) or 'none'}")
    return found


def check_kernel(kernel: Kernel, dtype=np.float32, seed: int = 0) -> KernelCheck:
    """Run a kernel on calls of several thread blocks, each launch under the checker.

    Each call is made twice: with as many blocks as it asks for, and with a single one where a grid-stride
    loop allows that.

    Raises
    ------
    KernelError
        If the operation has no calls, or the kernel supports none of them.
    DeviceError
        If there is no compiler.
    """
    from minialex.kernels.cuda.checking_device import CheckingDevice, few_blocks

    result = KernelCheck(kernel.name)
    known = set()
    for call in supported_calls(kernel, dtype, seed):
        device = CheckingDevice()
        device.call(kernel, *call.arrays, **call.parameters)
        with few_blocks():
            device.call(kernel, *call.arrays, **call.parameters)
        result.launches += len(device.launches)
        for launch in device.launches:
            result.accesses += [(launch.kernel, access) for access in launch.report.accesses]
            for finding in launch.report.findings:
                place = finding.kind, finding.file, finding.line, finding.related
                if place not in known:
                    known.add(place)
                    result.findings.append((str(call), finding))
    return result


def supported_calls(kernel: Kernel, dtype=np.float32, seed: int = 0) -> list[Call]:
    """The calls of the kernel's operation that it can do.

    Raises
    ------
    KernelError
        If there is none.
    """
    calls = [
        call
        for call in kernel_calls(kernel.operation, "blocks", dtype, seed)
        if kernel.refusal(*call.arrays, **call.parameters) is None
    ]
    if not calls:
        raise KernelError(f"{kernel.name} supports none of the calls that its operation is checked with")
    return calls
