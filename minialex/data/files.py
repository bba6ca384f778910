"""Opening a file that a user named."""

import os
import stat
from typing import BinaryIO

from minialex.errors import DataError


def open_file(path: str | os.PathLike[str]) -> BinaryIO:
    """Open a regular file for reading bytes.

    A directory is refused, and so is a pipe or a device: reading one may never end.

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
