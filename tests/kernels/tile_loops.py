"""The compiled loops that use tiles, as they are launched, and what is in their innermost loops.

A script, too, which prints that as JSON for the processor of ``NUMBA_CPU_NAME``, which need not be this one:
nothing that is compiled is run.
"""

import json
import sys
from dataclasses import asdict

import numpy as np
from hypothesis import HealthCheck, Phase, find, settings

from minialex.checking.testing.strategies import call
from minialex.kernels import list_kernels
from minialex.kernels.gemm.processor import processor
from minialex.kernels.runtime.compiled import loops, only_compiling
from minialex.kernels.runtime.machine_code import assembly, multiply_loops

_FIRST = settings(
    max_examples=5000,
    phases=(Phase.generate,),
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


def uses_tiles(loop) -> bool:
    return any("tile_" in name and name != "tile_rows" for name in loop.intrinsics())


def figures() -> dict:
    """Of each loop that uses tiles, by its name: its intrinsics, and its loops that multiply.

    Compiled are the loops that the tiled kernels of the CPU run for the first call drawn that each supports.
    A loop that none of them runs has no loops here.
    """
    with only_compiling() as compiled:
        for entry in list_kernels(device="cpu"):
            if entry.function.__module__.startswith("minialex.") and entry.dtypes == ("float32",):
                drawn = find(
                    call(entry.operation, np.float32, entry),
                    lambda each, entry=entry: entry.refusal(*each.arrays, **each.parameters) is None,
                    settings=_FIRST,
                )
                entry(*drawn.arrays, **drawn.parameters)
    tiled = {
        loop: {"intrinsics": sorted(loop.intrinsics()), "loops": []}
        for loop in loops()
        if loop.__module__.startswith("minialex.") and uses_tiles(loop)
    }
    for loop, types in compiled:
        if loop in tiled:
            tiled[loop]["loops"] += [
                {
                    "instructions": len(inner.instructions),
                    "multiply_adds": inner.multiply_adds,
                    "spills": [str(each) for each in inner.spills],
                }
                for inner in multiply_loops(assembly(loop, types))
            ]
    return {
        "processor": asdict(processor()),
        "loops": {f"{loop.__module__}.{loop.__qualname__}": found for loop, found in tiled.items()},
    }


if __name__ == "__main__":
    json.dump(figures(), sys.stdout)
