"""What the compiled kernels of the project must not exceed: budgets.json, and the comparison with it.

No kernel may spill. For each kernel, type and architecture the file holds the registers, the bytes of shared
memory and, of those that are tuned for arithmetic (`TUNED_DENSITY`), the density of the hottest loop. They
are those of one compiler: another allocates registers differently. After an intended change, one
command writes them anew:

    minialex kernels inspect --write-budgets
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path

from minialex.kernels.cuda.inspection.compile import Cubin
from minialex.kernels.cuda.inspection.kernels import TUNED_DENSITY, Inspected

PATH = Path(__file__).parent / "budgets.json"

# Two compilations give the same figures; this is for their rounding in the file.
_ROUNDING = 0.001


def read_budgets(path: Path = PATH) -> dict:
    """The compiler, and ``[registers, shared, density]`` by ``"file kernel real"`` and architecture."""
    return json.loads(path.read_text(encoding="utf-8"))


def write_budgets(found: Iterable[Inspected], path: Path = PATH) -> None:
    """Write the figures as the new budgets: one line for each kernel and type."""
    kernels: dict[str, dict[str, list]] = {}
    compiler = None
    for each in found:
        compiler = each.compiler
        density = round(each.loop.mix.density, 3) if _is_tuned(each) else None
        budget = [each.resources.registers, each.resources.shared, density]
        kernels.setdefault(f"{each.file} {each.name} {each.real}", {})[each.architecture] = budget
    lines = ",\n".join(f"  {json.dumps(key)}: {json.dumps(kernels[key])}" for key in sorted(kernels))
    text = f'{{"compiler": {json.dumps(compiler)},\n "kernels": {{\n{lines}\n }}}}\n'
    path.write_text(text, encoding="utf-8")


def excesses(
    file: str, architecture: str, real: str, cubin: Cubin, density: Callable[[str], float], budgets: dict
) -> list[str]:
    """Where the kernels of a file exceed their budgets or fall short of their density; empty if they do not.

    The file's figures are compared only where they are of the same compiler; spills are always judged.

    Parameters
    ----------
    file, architecture, real : str
    cubin : Cubin
        The file, compiled for these.
    density : callable
        Gives the density of a kernel's hottest loop; called for kernels that have one in the budgets.
    budgets : dict
        See `read_budgets`.
    """
    found = []
    for name, resources in cubin.resources.items():
        where = f"{file}: {name}, {real}, {architecture}"
        if resources.spills:
            found.append(f"{where}: {resources.spills} bytes spilled (budget: 0)")
        if cubin.compiler != budgets["compiler"]:
            continue
        budget = budgets["kernels"].get(f"{file} {name} {real}", {}).get(architecture)
        if budget is None:
            found.append(f"{where}: no budget; write it with: minialex kernels inspect --write-budgets")
            continue
        registers, shared, least = budget
        if resources.registers > registers:
            found.append(f"{where}: {resources.registers} registers (budget: {registers})")
        if resources.shared > shared:
            found.append(f"{where}: {resources.shared} bytes of shared memory (budget: {shared})")
        if least is not None and not (reached := density(name)) >= least - _ROUNDING:
            found.append(f"{where}: density {reached:.3f} of the hottest loop (budget: {least})")
    return found


def _is_tuned(each: Inspected) -> bool:
    return each.loop.is_loop and each.loop.mix.density >= TUNED_DENSITY
