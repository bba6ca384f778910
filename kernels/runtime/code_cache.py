"""Compiled functions on disk: what one process has compiled, later ones load.

A folder holds the code for one state of the sources (every ``.py`` file below kernels/) and one
environment: the versions of Python, Numba and llvmlite, and the processor that Numba compiles for, so
that ``NUMBA_CPU_NAME`` has a folder of its own. The folders are below `root`. A new one takes the place of
old ones: of each environment the three used last are kept, and none that was not used for 30 days.

As any compiler's cache, it holds code that is run as it is read. Folders and files are therefore the
user's alone. What belongs to another user, or can be written by one, is not read; nor is a file whose
SHA-256 is not the one that it was written with, or that was written for something else: all of these
are compiled again, as if they were not there. A cache that cannot be written costs a warning.
"""

from __future__ import annotations

import functools
import hashlib
import os
import pickle
import platform
import re
import shutil
import stat
import tempfile
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
    """Where the folders are: ``$MINIALEX_CACHE_DIR``, or else in the user's cache directory."""
    given = os.environ.get(_VARIABLE)
    if given:
        return Path(given).absolute()
    import platformdirs

    return platformdirs.user_cache_path("minialex") / "compiled"


def is_empty() -> bool:
    """Whether nothing that was compiled is kept yet."""
    try:
        return not any(path.is_file() for path in root().rglob("*"))
    except OSError:
        return True


@functools.cache
def store() -> Store | None:
    """The files for this environment and these sources.

    None where the folder cannot be used, which is said in a warning; and None where the sources have
    changed since they were imported, so that a process would leave old code for new sources.
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
        _make_private(folder)
        os.utime(folder)
        if new:
            _remove_old(folder.parent)
    except OSError as error:
        _warn(f"{folder}: {error.strerror or error}")
        return None
    return Store(folder)


def environment() -> str:
    """What machine code depends on beside its source."""
    import llvmlite
    import numba
    from numba.core import config
    from numba.core.registry import cpu_target

    options = ["OPT", "LOOP_VECTORIZE", "SLP_VECTORIZE", "ENABLE_AVX", "BOUNDSCHECK", "DEBUGINFO_DEFAULT"]
    return repr(
        (
            platform.python_implementation(),
            platform.python_version(),
            numba.__version__,
            llvmlite.__version__,
            cpu_target.target_context.codegen().magic_tuple(),
            [(name, str(getattr(config, name, None))) for name in options],
        )
    )


class Store:
    """The files of a folder, each with a header that proves it whole and meant for its reader."""

    def __init__(self, folder: Path):
        self.folder = folder

    def read(self, name: str, identity: str) -> bytes | None:
        """What was written under this name for this identity; None if there is no such file."""
        try:
            with open(self.folder / name, "rb") as file:
                if not _is_private(os.fstat(file.fileno())):
                    return None
                content = file.read()
        except OSError:
            return None
        header, payload = content[: len(_MAGIC) + 32], content[len(_MAGIC) + 32 :]
        return payload if header == self._header(identity, payload) else None

    def write(self, name: str, identity: str, payload: bytes) -> None:
        """Keep bytes under a name. Readers see the old file or the new one, never a part.

        Raises
        ------
        OSError
        """
        path = self.folder / name
        _make_private(self.folder)  # another process may have removed it as old
        handle, temporary = tempfile.mkstemp(
            dir=self.folder, prefix=".writing-"
        )  # readable by the user alone
        try:
            with open(handle, "wb") as file:
                file.write(self._header(identity, payload) + payload)
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            os.replace(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise

    def _header(self, identity: str, payload: bytes) -> bytes:
        whole = hashlib.sha256(f"{self.folder.name}\n{identity}\n".encode())
        whole.update(payload)
        return _MAGIC + whole.digest()


class FunctionCache:
    """What one of Numba's dispatchers asks for compiled code, and hands compiled code to.

    Takes the place of ``numba.core.caching.FunctionCache``, whose methods it has.

    Parameters
    ----------
    name : str
        The function's name, with its module's.
    digest : str
        Tells apart functions of the same name.
    persistent : bool
        Whether the function may be kept on disk.
    """

    def __init__(self, name: str, digest: str, persistent: bool):
        self.name, self.digest, self.persistent = name, digest, persistent

    def symbol(self, signature) -> str:
        """A name for the machine code: the same in every process, where the code may be kept on disk."""
        mark = "" if self.persistent else f"\n{id(self)}"
        return f"minialex_{_digest(self._place(signature)[1] + mark)[:32]}"

    @property
    def cache_path(self) -> str | None:
        files = self._files()
        return None if files is None else str(files.folder)

    def load_overload(self, signature, target_context):
        files = self._files()
        payload = None if files is None else files.read(*self._place(signature))
        if payload is None:
            return None
        from numba.core.compiler import CompileResult
        from numba.core.runtime import rtsys

        try:
            # All that loaded code needs. Numba's own cache refreshes the context, which imports SciPy.
            rtsys.initialize(target_context)
            return CompileResult._rebuild(target_context, *pickle.loads(payload))
        except Exception as error:
            _warn(f"{self.name} cannot be loaded: {type(error).__name__}: {error}")
            return None

    def save_overload(self, signature, result) -> None:
        files = self._files()
        if files is None or result.lifted or result.library.has_dynamic_globals:
            return
        from numba.core.serialize import dumps

        name, identity = self._place(signature)
        try:
            files.write(name, identity, dumps(result._reduce()))
        except OSError as error:
            _warn(f"{files.folder / name}: {error.strerror or error}")
        except Exception as error:
            _warn(f"{self.name} cannot be kept: {type(error).__name__}: {error}")

    def flush(self) -> None:
        """Forget nothing: what is on disk is right for as long as its folder is."""

    def enable(self) -> None:
        """Do nothing."""

    def disable(self) -> None:
        """Do nothing."""

    def _files(self) -> Store | None:
        return store() if self.persistent else None

    def _place(self, signature) -> tuple[str, str]:
        identity = f"{self.name}\n{self.digest}\n{signature!r}"
        name = re.sub(r"[^\w.]", "", self.name)
        return f"{name}-{_digest(identity)[:16]}", identity


def _sources() -> list[Path]:
    return sorted(_SOURCES.rglob("*.py"))


def _state_of_sources() -> list:
    """What changes whenever a source does, without reading it."""
    states = ((path, path.stat()) for path in _sources())
    return [(path, state.st_mtime_ns, state.st_size) for path, state in states]


_IMPORTED = _state_of_sources()


def _digest(*parts: str | bytes) -> str:
    """The SHA-256 of a sequence of texts: of their digests, so that it tells where each ends."""
    parts = (part.encode() if isinstance(part, str) else part for part in parts)
    return hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()


def _is_private(status: os.stat_result) -> bool:
    """Whether a file or a folder is the user's, and writable by no one else."""
    if not hasattr(os, "geteuid"):
        return True
    return status.st_uid == os.geteuid() and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def _make_private(folder: Path) -> None:
    """Make a folder for the user alone; take away what stands there and could be written by others."""
    if os.path.lexists(folder):
        status = folder.lstat()
        if stat.S_ISDIR(status.st_mode) and _is_private(status):
            return
        if hasattr(os, "geteuid") and status.st_uid != os.geteuid():
            raise PermissionError(0, "it belongs to another user")
        shutil.rmtree(folder) if stat.S_ISDIR(status.st_mode) else folder.unlink()
    folder.mkdir(mode=0o700, exist_ok=True)


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
                shutil.rmtree(path, ignore_errors=True)


_warned = False


def _warn(message: str) -> None:
    """Warn of the first trouble; the others of a process are likely to be the same."""
    global _warned
    if not _warned:
        _warned = True
        warnings.warn(
            f"the cache of compiled kernels cannot be used, so that each process compiles them: {message}. "
            f"Set {_VARIABLE} to a folder that is yours alone",
            RuntimeWarning,
            stacklevel=2,
        )
