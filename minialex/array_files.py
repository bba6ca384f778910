"""Arrays by name in a safetensors file.

safetensors holds only arrays and strings, so that reading a file runs none of its contents; its
library checks the header against the file's size before it reads.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from minialex.errors import CheckpointError
from minialex.files import write_atomically

# safetensors' names of the types that NumPy has.
_DTYPES = frozenset(
    ["BOOL", "U8", "I8", "U16", "I16", "U32", "I32", "U64", "I64", "F16", "F32", "F64", "C64"]
)


def write_arrays(
    path: Path, arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str], previous: Path | None = None
) -> None:
    """Write a safetensors file, as `minialex.files.write_atomically` does.

    Raises
    ------
    CheckpointError
        If it cannot be written; what was there before is untouched.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    # Not ascontiguousarray, which gives an array without axes one.
    contiguous = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    try:
        write_atomically(path, lambda temporary: save_file(contiguous, temporary, dict(metadata)), previous)
    except (OSError, SafetensorError) as error:
        reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else error
        raise CheckpointError(f"{str(path)!r} cannot be written: {reason}; make room for it") from None


def read_arrays(
    path: Path, check: Callable[[dict[str, str]], None]
) -> tuple[dict[str, str], dict[str, np.ndarray]]:
    """Read a safetensors file, after `check` has accepted its metadata.

    Returns
    -------
    (dict of str, dict of array)
        The metadata and the arrays.

    Raises
    ------
    CheckpointError
        If the file is damaged, or holds numbers of a type that NumPy lacks; or as `check` does.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            check(metadata)
            names = list(file.keys())
            for name in names:
                # The library's answer to others depends on whether some package has taught NumPy bfloat16.
                if (dtype := file.get_slice(name).get_dtype()) not in _DTYPES:
                    raise CheckpointError(
                        f"{str(path)!r} holds numbers of a type that NumPy lacks ({name} is {dtype})"
                    )
            return metadata, {name: file.get_tensor(name) for name in names}
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            f"{str(path)!r} is damaged or not a safetensors file ({error}); take another one"
        ) from None
