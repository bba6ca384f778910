"""How the lines of a reduction are shared out among threads, for the kernels that use ``reduce.cuh``.

An array (outer, length, inner) has outer * inner lines along its middle axis.
"""

from typing import NamedTuple

from minialex.integers import ceil_div

THREADS = 256
WARP = 32


class LineBlock(NamedTuple):
    """A block of 256 threads, and who shares a line in it.

    Attributes
    ----------
    kind : str
        ``"rows"`` for `RowThreads`, ``"columns"`` for `ColumnThreads`: the end of the kernels' names.
    shape : (int, int)
    """

    kind: str
    shape: tuple[int, int]

    @property
    def threads(self) -> int:
        """How many threads share a line."""
        return self.shape[0 if self.kind == "rows" else 1]

    def grid(self, lines: int) -> int:
        """The blocks for that many lines."""
        return ceil_div(lines, self.shape[1 if self.kind == "rows" else 0])


def line_block(length: int, inner: int = 1) -> LineBlock:
    """The block for lines of `length` elements whose neighbours are `inner` apart in memory.

    Short lines get few threads each, so that not many stand idle.
    """
    if inner == 1:
        # Four elements a thread pay for the exchange between warps, which a line in one warp does without.
        threads = max(min(WARP, _power_of_two(length)), min(THREADS, _power_of_two(ceil_div(length, 4))))
        return LineBlock("rows", (threads, THREADS // threads))
    beside = min(WARP, _power_of_two(inner))
    threads = min(THREADS // beside, _power_of_two(length))
    return LineBlock("columns", (THREADS // threads, threads))


def _power_of_two(n: int) -> int:
    """The least power of two that is n or more."""
    return 1 << max(0, n - 1).bit_length()
