"""How much memory a kernel may take beyond its inputs and results.

A kernel that needs a large intermediate (the matrix of im2col) works in chunks that fit this budget.
A single unit of work (one row of output positions) is done even where it alone exceeds the budget.
"""

from __future__ import annotations

from minialex.checks import is_int
from minialex.errors import KernelError

# On the whole the fastest for AlexNet's layers among 4 to 128 MiB: larger matrices leave the cache before
# they are read.
_DEFAULT_BYTES = 8 * 2**20
_limit = _DEFAULT_BYTES


def workspace_limit() -> int:
    """The budget of one kernel call, in bytes."""
    return _limit


def set_workspace_limit(limit: int | None) -> None:
    """Set the budget of one kernel call, in bytes; None goes back to the default of 8 MiB."""
    global _limit
    if limit is None:
        limit = _DEFAULT_BYTES
    if not is_int(limit, 1):
        raise KernelError(f"workspace limit={limit!r} should be a positive number of bytes")
    _limit = limit
