"""The kernels of the gallery: how each is launched, and what the checker has to find in it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

FOLDER = Path(__file__).parent / "gallery"
_KERNEL = re.compile(r'extern "C" __global__ void (\w+)\(')
_LAUNCH = re.compile(r"// grid (.+), block (.+), n (\d+)")
_FAULTS = re.compile(r"// <- ([a-z, -]+)$")


@dataclass
class Example:
    """A kernel of a gallery's file.

    Attributes
    ----------
    name : str
    grid, block : tuple of int
    n : int
        Elements of x and of y.
    in_place : bool
        Whether y holds something before the launch.
    faults : set of (str, int)
        Kinds and lines that are marked in the source.
    """

    name: str
    grid: tuple[int, ...]
    block: tuple[int, ...]
    n: int
    in_place: bool
    faults: set[tuple[str, int]] = field(default_factory=set)

    def arguments(self) -> tuple[np.ndarray, np.ndarray, np.int32]:
        x = np.random.default_rng(0).random(self.n, np.float32)
        return x, np.zeros(self.n, np.float32), np.int32(self.n)


def examples(name: str) -> list[Example]:
    """The kernels of a file of the gallery."""
    found: list[Example] = []
    comment: list[str] = []
    in_kernel, marks = False, set()  # those of a function belong to the kernel that follows and calls it
    for number, line in enumerate((FOLDER / name).read_text().splitlines(), start=1):
        if line.startswith("//"):
            comment.append(line)
            continue
        kernel = _KERNEL.match(line)
        if kernel:
            launches = [match for match in map(_LAUNCH.match, comment) if match]
            grid, block, n = launches[0].groups() if launches else ("1", "64", "64")
            in_place = any("In place" in each for each in comment)
            found.append(Example(kernel[1], _axes(grid), _axes(block), int(n), in_place, marks))
            in_kernel = True
        marked = _FAULTS.search(line)
        if marked:
            marks |= {(kind, number) for kind in marked[1].split(", ")}
        if line == "}" and in_kernel:
            in_kernel, marks = False, set()
        comment = []
    return found


def _axes(text: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", text)))
