"""How much memory a kernel may take beyond its inputs and results.

A kernel that needs a large intermediate array (the matrix of im2col) works in chunks that fit this budget.
A single unit of work (one row of output positions) is done even if it exceeds the budget on its own.
"""

from __future__ import annotations

import re
from typing import Any

from minialex.checks import in_words, is_int
from minialex.config import declare, set_for_process, setting
from minialex.errors import KernelError

# On the whole the fastest for AlexNet's layers, of 4 to 128 MiB: larger matrices are evicted from the cache
# before they are read.
_DEFAULT_BYTES = 8 * 2**20
_UNITS = {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}


def workspace_limit() -> int:
    """The budget of one kernel call, in bytes."""
    return setting("workspace", _DEFAULT_BYTES)


def set_workspace_limit(limit: int | str | None) -> None:
    """Set the budget of one kernel call: bytes, or a string such as "32 MiB"; None restores 8 MiB."""
    set_for_process(workspace=limit)


def _require_bytes(limit: Any) -> int | None:
    if limit is None:
        return None
    match = re.fullmatch(r"\s*(\d+)\s*(B|KiB|MiB|GiB)\s*", limit) if isinstance(limit, str) else None
    if match is not None:
        limit = int(match[1]) * _UNITS[match[2]]
    if not is_int(limit, 1):
        raise KernelError(
            "workspace must be a number of bytes, an integer 1 or more, or a text such as '32 MiB', "
            f"not {in_words(limit)}"
        )
    return int(limit)


declare("workspace", _require_bytes)
