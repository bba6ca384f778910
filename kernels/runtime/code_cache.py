"""Compiled functions on disk: what one process compiles, later ones load.

A folder holds the code for one state of the sources (every ``.py`` file below kernels/) and one
environment: the versions of Python, Numba and llvmlite, and the processor that Numba compiles for, so
that each ``NUMBA_CPU_NAME`` has its own. The folders are below `root`. New ones replace old ones: for each
environment the three last used are kept, and none unused for 30 days.

Like any compiler's cache, it holds code that is run as read, so folders and files are writable only by
the user. What belongs to another user, or is writable by one, is not read; nor is a file whose
SHA-256 does not match, or that was written for something else. All of these
are compiled again, as if they were not there. A cache that cannot be written costs a warning.

This module does not know Numba; `minialex.kernels.runtime._numba_internals` connects the two.
"""

from __future__ import annotations

import functools
import hashlib
import os
import platform
import re
import stat
import time
import warnings
from pathlib import Path

_SOURCES = Path(__file__).parents[1]  # kernels/
_VARIABLE = "MINIALEX_CACHE_DIR"
_MAGIC = b"minialex code 1\n"
_FOLDER = re.compile(r"[0-9a-f]{16}-[0-9a-f]{16}")
_KEPT_SOURCES = 3
_KEPT_SECONDS = 30 * 24 * 3600


def root() -> Path:
    """Where the folders are: ``$MINIALEX_CACHE_DIR``, or the user's cache directory."""
    given = os.environ.get(_VARIABLE)
    if given:
        return Path(given).absolute()
    import platformdirs

    return platformdirs.user_cache_path("minialex") / "compiled"


def is_empty() -> bool:
    """Whether no compiled code is kept yet."""
    try:
        return not any(path.is_file() for path in root().rglob("*"))
    except OSError:
        return True


@functools.cache
def store() -> Store | None:
    """The files for this environment and these sources.

    None, with a warning, if the folder cannot be used; None, too, if the sources have changed since they
    were imported: the process would store old code for new sources.
    """
    if not _IMPORTED or _state_of_sources() != _IMPORTED:
        return None
    sources = _digest(
        *(str(path.relative_to(_SOURCES)) for path in _sources()), *map(Path.read_bytes, _sources())
    )
    folder = root() / f"{_digest(environment())[:16]}-{sources[:16]}"
    try:
        new = not folder.exists()
        folder.parent.mkdir(parents=True, exist_ok=True)
        make_private(folder)
        os.utime(folder)
        if new:
            _remove_old(folder.parent)
    except OSError as error:
        _warn(f"{folder}: {error.strerror or error}")
        return None
    return Store(folder)


def environment() -> str:
    """What machine code depends on besides its source."""
    from minialex.kernels.runtime import _numba_internals

    return repr((platform.python_implementation(), platform.python_version(), _numba_internals.build()))


class Store:
    """The files of a folder, each with a header that proves it intact and meant for its reader."""

    def __init__(self, folder: Path):
        self.folder = folder

    def read(self, name: str, identity: str) -> bytes | None:
        """What was written under this name for this identity; None if there is no such file."""
        try:
            with open(self.folder / name, "rb") as file:
                if not is_private(os.fstat(file.fileno())):
                    return None
                content = file.read()
        except OSError:
            return None
        header, payload = content[: len(_MAGIC) + 32], content[len(_MAGIC) + 32 :]
        return payload if header == self._header(identity, payload) else None

    def write(self, name: str, identity: str, payload: bytes) -> None:
        """Keep bytes under a name. Readers see the old file or the new one, never part of one.

        Raises
        ------
        OSError
        """
        import tempfile

        path = self.folder / name
        make_private(self.folder)  # another process may have removed it as old
        # Only the user can read it.
        handle, temporary = tempfile.mkstemp(dir=self.folder, prefix=".writing-")
        try:
            with open(handle, "wb") as file:
                file.write(self._header(identity, payload) + payload)
            if path.is_dir() and not path.is_symlink():
                _remove(path)
            os.replace(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise

    def _header(self, identity: str, payload: bytes) -> bytes:
        whole = hashlib.sha256(f"{self.folder.name}\n{identity}\n".encode())
        whole.update(payload)
        return _MAGIC + whole.digest()


class FunctionCache:
    """The code of one function, for each of its signatures.

    Parameters
    ----------
    name : str
        The function's name, with its module's.
    digest : str
        Tells functions of the same name apart.
    persistent : bool
        Whether the function may be kept on disk.
    """

    def __init__(self, name: str, digest: str, persistent: bool):
        self.name, self.digest, self.persistent = name, digest, persistent

    def symbol(self, signature) -> str:
        """A name for the machine code: the same in every process, if the code may be kept on disk."""
        mark = "" if self.persistent else f"\n{id(self)}"
        return f"minialex_{_digest(self._place(signature)[1] + mark)[:32]}"

    @property
    def folder(self) -> str | None:
        """Where the code is kept; None if it is not."""
        files = self._files()
        return None if files is None else str(files.folder)

    def read(self, signature) -> bytes | None:
        """The code for a signature; None if none is kept."""
        files = self._files()
        return None if files is None else files.read(*self._place(signature))

    def write(self, signature, payload: bytes) -> None:
        """Keep the code for a signature, or warn of what prevents it."""
        files = self._files()
        if files is None:
            return
        name, identity = self._place(signature)
        try:
            files.write(name, identity, payload)
        except OSError as error:
            _warn(f"{files.folder / name}: {error.strerror or error}")

    def complain(self, problem: str) -> None:
        """Warn that the function's code has a problem."""
        _warn(f"{self.name} {problem}")

    def _files(self) -> Store | None:
        return store() if self.persistent else None

    def _place(self, signature) -> tuple[str, str]:
        identity = f"{self.name}\n{self.digest}\n{signature!r}"
        name = re.sub(r"[^\w.]", "", self.name)
        return f"{name}-{_digest(identity)[:16]}", identity


def _sources() -> list[Path]:
    return sorted(_SOURCES.rglob("*.py"))


def _state_of_sources() -> list:
    """What changes whenever a source does, found without reading it."""
    states = ((path, path.stat()) for path in _sources())
    return [(path, state.st_mtime_ns, state.st_size) for path, state in states]


_IMPORTED = _state_of_sources()


def _digest(*parts: str | bytes) -> str:
    """The SHA-256 of a sequence of texts: of their digests, so that it depends on where each ends."""
    texts = (part.encode() if isinstance(part, str) else part for part in parts)
    return hashlib.sha256(b"".join(hashlib.sha256(text).digest() for text in texts)).hexdigest()


def is_private(status: os.stat_result) -> bool:
    """Whether a file or a folder is the user's, and writable by no one else."""
    if not hasattr(os, "geteuid"):
        return True
    return status.st_uid == os.geteuid() and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def make_private(folder: Path) -> None:
    """Make a folder that only the user can write to, in place of one that others could write to."""
    if os.path.lexists(folder):
        status = folder.lstat()
        if stat.S_ISDIR(status.st_mode) and is_private(status):
            return
        if hasattr(os, "geteuid") and status.st_uid != os.geteuid():
            raise PermissionError(0, "it belongs to another user")
        _remove(folder) if stat.S_ISDIR(status.st_mode) else folder.unlink()
    folder.mkdir(mode=0o700, exist_ok=True)


def _remove(folder: Path, ignore_errors: bool = False) -> None:
    import shutil

    shutil.rmtree(folder, ignore_errors)


def _remove_old(folder: Path) -> None:
    """Remove the folders that a cache no longer needs."""
    found: dict[str, list[tuple[float, Path]]] = {}
    for path in folder.iterdir():
        if _FOLDER.fullmatch(path.name) and path.is_dir() and not path.is_symlink():
            found.setdefault(path.name[:16], []).append((path.stat().st_mtime, path))
    for same_environment in found.values():
        same_environment.sort(reverse=True)
        for place, (used, path) in enumerate(same_environment):
            if place >= _KEPT_SOURCES or used < time.time() - _KEPT_SECONDS:
                _remove(path, ignore_errors=True)


_warned = False


def _warn(message: str) -> None:
    """Warn of the first problem; the others in a process are likely to be the same."""
    global _warned
    if not _warned:
        _warned = True
        warnings.warn(
            f"the cache of compiled kernels cannot be used, so each process compiles them: {message}. "
            f"Set {_VARIABLE} to a folder that only you can write to",
            RuntimeWarning,
            stacklevel=2,
        )
