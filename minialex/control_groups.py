"""Linux's control groups, with which a container or a batch system limits its processes."""

from __future__ import annotations

from pathlib import Path

_MOUNTED = Path("/sys/fs/cgroup")
_MEMBERSHIP = Path("/proc/self/cgroup")


def groups() -> list[Path]:
    """The version 2 folders of the process's group and of its ancestors; none on another system."""
    return [folder for controllers, folder in _folders() if not controllers]


def processors() -> float | None:
    """How many processors' time the groups allow, such as 1.5; None without a limit.

    A process's affinity does not show this limit: it may run on every processor, in turn.
    """
    quotas = []
    for controllers, folder in _folders():
        if not controllers:
            quotas.append(_words(folder / "cpu.max"))
        elif "cpu" in controllers:
            quotas.append(_words(folder / "cpu.cfs_quota_us") + _words(folder / "cpu.cfs_period_us"))
    allowed = [
        int(quota[0]) / int(quota[1])
        for quota in quotas
        if len(quota) == 2 and all(word.isdecimal() and int(word) for word in quota)
    ]
    return min(allowed, default=None)


def _folders() -> list[tuple[list[str], Path]]:
    """The controllers of each hierarchy, none for version 2, with its folders from the process's own up."""
    found = []
    for line in _text(_MEMBERSHIP).splitlines():
        _, names, place = line.split(":", 2)
        mount = _MOUNTED / names if names else _MOUNTED
        own = mount / place.strip("/")
        controllers = names.split(",") if names else []
        found += [(controllers, path) for path in (own, *own.parents) if path.is_relative_to(mount)]
    return found


def _words(file: Path) -> list[str]:
    return _text(file).split()


def _text(file: Path) -> str:
    try:
        return file.read_text()
    except (OSError, UnicodeDecodeError):
        return ""
