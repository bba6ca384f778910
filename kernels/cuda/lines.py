"""How the lines of a reduction are shared out among threads, for the kernels that use ``reduce.cuh``.

An array (outer, length, inner) has outer * inner lines along its middle axis.
"""

THREADS = 256
WARP = 32


def line_block(length: int, inner: int) -> tuple[str, tuple[int, int]]:
    """Who shares a line, and the block.

    Parameters
    ----------
    length : int
        Elements of a line.
    inner : int
        How far apart in memory two neighbours of a line are.

    Returns
    -------
    kind : str
        ``"rows"`` for `RowThreads`, ``"columns"`` for `ColumnThreads`.
    block : (int, int)
        256 threads. Few to a line where lines are short, so that not many stand idle.
    """
    if inner == 1:
        # Four elements a thread pay for the exchange between warps, which a line in one warp does without.
        threads = max(min(WARP, _power_of_two(length)), min(THREADS, _power_of_two(-(-length // 4))))
        return "rows", (threads, THREADS // threads)
    beside = min(WARP, _power_of_two(inner))
    threads = min(THREADS // beside, _power_of_two(length))
    return "columns", (THREADS // threads, threads)


def line_grid(lines: int, kind: str, block: tuple[int, int]) -> int:
    """The blocks that it takes for so many lines."""
    return -(-lines // block[1 if kind == "rows" else 0])


def line_threads(kind: str, block: tuple[int, int]) -> int:
    """How many threads share a line."""
    return block[0 if kind == "rows" else 1]


def _power_of_two(n: int) -> int:
    """The least power of two that is n or more."""
    return 1 << max(0, n - 1).bit_length()
