"""Opening files that a user named, and writing files so that a reader never sees half of one."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable
from glob import escape
from pathlib import Path
from typing import BinaryIO

from minialex.errors import DataError


def open_file(path: str | os.PathLike[str]) -> BinaryIO:
    """Open a regular file for reading bytes.

    A directory is refused, and so are pipes and devices: reading one may never end.

    Raises
    ------
    DataError
        If there is no such file, it is not a regular file, or it may not be read.
    """
    name = os.fspath(path)
    try:
        mode = os.stat(name).st_mode
        if stat.S_ISREG(mode):
            return open(name, "rb")
    except FileNotFoundError:
        raise DataError(f"there is no file {name}; check the path") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"cannot open {name!r}: {reason}") from None
    kind = "a directory" if stat.S_ISDIR(mode) else "not a regular file"
    raise DataError(f"{name} is {kind}; name a file")


def write_atomically(path: Path, write: Callable[[Path], object], previous: Path | None = None) -> None:
    """Let `write` fill a temporary file next to `path`, then move it there in one step.

    If writing fails, or the process dies, the previous file at `path` is untouched; only the temporary file
    may be left (`remove_leftovers`).

    Parameters
    ----------
    path : Path
    write : callable
        Takes the temporary file's path.
    previous : Path, optional
        Where to keep the previous file at `path`, in the same folder. A process that dies between the two
        renames leaves it there, and nothing at `path`.
    """
    import tempfile  # takes longer to import than the rest of the engine's floor

    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        write(temporary)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        # mkstemp makes the file readable only by its owner; a user's own files follow the umask.
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        if previous is not None and path.exists():
            path.replace(previous)
        temporary.replace(path)
        _sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def remove_leftovers(path: Path) -> None:
    """Remove the temporary files of processes that died while writing `path`. None may be writing it."""
    for leftover in path.parent.glob(f".{escape(path.name)}.*"):
        leftover.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """Flush the rename to disk, too. Windows cannot open a folder; its renames are journalled."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def write_text(path: Path, text: str) -> None:
    """Write a text file in UTF-8, atomically."""
    write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def write_json(path: Path, value) -> None:
    """Write a JSON file, atomically. NaN and infinity, which JSON lacks, are errors."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")
