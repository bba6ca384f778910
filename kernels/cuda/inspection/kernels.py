"""The figures of compiled kernels: registers, shared memory, occupancy, the hottest loop."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from minialex.errors import KernelError
from minialex.kernels.cuda.inspection.compile import Resources, compile_source
from minialex.kernels.cuda.inspection.disassemble import disassemble
from minialex.kernels.cuda.inspection.launch_bounds import launch_bounds
from minialex.kernels.cuda.inspection.loops import Loop, hottest_loop
from minialex.kernels.cuda.inspection.occupancy import Occupancy, occupancy
from minialex.kernels.cuda.source import Source, project_sources

TUNED_DENSITY = 0.5
"""From this share of multiply-adds in its hottest loop on, a kernel counts as tuned for arithmetic."""


@dataclass(frozen=True)
class Inspected:
    """A kernel, compiled for one architecture and one type.

    Attributes
    ----------
    file, name : str
    architecture, real : str
        Such as ``"sm_80"``, ``"float32"``.
    compiler : str
    resources : Resources
    threads : int or None
        Of a block, from its launch bounds; None where it has none.
    occupancy : Occupancy or None
        For blocks of that many threads.
    loop : Loop
    """

    file: str
    name: str
    architecture: str
    real: str
    compiler: str
    resources: Resources
    threads: int | None
    occupancy: Occupancy | None
    loop: Loop

    def to_dict(self) -> dict:
        """Everything, in types that JSON has; None for an infinite intensity."""
        mix = self.loop.mix
        intensity = {space: mix.intensity(space) for space in ("global", "shared")}
        return {
            "file": self.file,
            "kernel": self.name,
            "architecture": self.architecture,
            "real": self.real,
            "compiler": self.compiler,
            "registers": self.resources.registers,
            "spill_bytes": self.resources.spills,
            "stack_bytes": self.resources.stack,
            "shared_bytes": self.resources.shared,
            "threads": self.threads,
            "occupancy": self.occupancy and self.occupancy.share,
            "blocks_resident": self.occupancy and self.occupancy.blocks,
            "occupancy_limit": self.occupancy and self.occupancy.limit,
            "loop": {
                "is_loop": self.loop.is_loop,
                "instructions": mix.instructions,
                "multiply_adds": mix.multiply_adds,
                "tensor": mix.tensor,
                "density": mix.density,
                "loads": _by_width(mix.loads),
                "stores": _by_width(mix.stores),
                "flop": mix.flop,
                "flop_per_byte": {
                    space: value if math.isfinite(value) else None for space, value in intensity.items()
                },
            },
        }


def inspect_source(
    source: Source, architecture: str, real: str = "float32", compiler: str | None = None
) -> list[Inspected]:
    """Compile and disassemble a source; the kernels in the file's order. See `compile_source` for errors."""
    cubin = compile_source(source, architecture, real, compiler)
    instructions, bounds = disassemble(cubin.code), launch_bounds(cubin.code)
    found = []
    for name in source.signatures:
        resources, threads = cubin.resources[name], bounds.get(name)
        used = resources.registers, resources.shared
        fits = occupancy(architecture, threads, *used) if threads else None
        loop = hottest_loop(instructions[name])
        found.append(
            Inspected(
                source.path.name, name, architecture, real, cubin.compiler, resources, threads, fits, loop
            )
        )
    return found


def sources_with(names: Iterable[str]) -> list[tuple[Source, list[str]]]:
    """The project's sources that define kernels whose name, or whose file's, is among those given.

    Parameters
    ----------
    names : iterable of str
        Names of kernels (``"relu_forward"``), of files (``"relu.cu"``) or of operations (``"relu"``); all
        sources if there are none.

    Returns
    -------
    list of (Source, names of kernels)

    Raises
    ------
    KernelError
        If a name is none of them.
    """
    names = set(names)
    found, used = [], set()
    for source in project_sources():
        file = {source.path.name, source.path.stem, source.path.parent.name} & names
        kernels = [name for name in source.signatures if file or name in names or not names]
        used |= file | (set(kernels) & names)
        if kernels:
            found.append((source, kernels))
    if names - used:
        raise KernelError(
            f"no CUDA kernel, file or operation {', '.join(sorted(map(repr, names - used)))}; files: "
            f"{', '.join(source.path.name for source in project_sources())}"
        )
    return found


def _by_width(counts: dict[tuple[str, int], int]) -> dict[str, int]:
    """Counts by names such as ``"global 16 B"``."""
    return {f"{space} {width} B": count for (space, width), count in counts.items()}
