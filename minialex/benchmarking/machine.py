"""What the machine is, and which versions ran on it; no names of hosts, users or folders."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from pathlib import Path

from minialex.kernels.runtime.threads import available_threads
from minialex.version import __version__

# The instruction sets that decide what a kernel can do, as Linux spells them.
_INSTRUCTIONS = ("sse4_2", "avx", "fma", "avx2", "avx512f", "avx512_bf16", "amx_tile", "asimd", "sve")
_LIBRARIES = ("numpy", "numba", "llvmlite", "torch", "onnxruntime", "openvino", "onnx")


def describe_machine() -> dict:
    """Processor, cores, instruction sets, caches and memory, as far as the system tells."""
    fields = _processor_fields()
    flags = set((fields.get("flags") or fields.get("Features") or "").split())
    return {
        "processor": fields.get("model name") or platform.processor() or platform.machine(),
        "architecture": platform.machine(),
        "system": platform.system(),
        "cores": os.cpu_count(),
        "usable_cores": available_threads(),
        "instructions": [name for name in _INSTRUCTIONS if name in flags],
        "caches": _caches(),
        "memory_bytes": _memory_bytes(),
    }


def describe_versions() -> dict[str, str]:
    """The versions of Python, of MiniAlex and of the libraries that are installed."""
    versions = {"python": platform.python_version(), "minialex": __version__}
    for name in _LIBRARIES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def largest_cache() -> int:
    """The bytes of the largest cache; 32 MiB where the system does not tell."""
    return max((cache["bytes"] for cache in _caches()), default=32 * 2**20)


def _processor_fields() -> dict[str, str]:
    """What Linux says of the first processor."""
    fields: dict[str, str] = {}
    for line in (_read(Path("/proc/cpuinfo")) or "").splitlines():
        name, _, value = line.partition(":")
        fields.setdefault(name.strip(), value.strip())
    return fields


def _caches() -> list[dict]:
    """The caches of the first processor that hold data."""
    caches = []
    for folder in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        kind, level, size = (_read(folder / name) for name in ("type", "level", "size"))
        if kind in ("Data", "Unified") and level and size and size.endswith("K"):
            caches.append({"level": int(level), "bytes": int(size[:-1]) * 2**10})
    return caches


def _memory_bytes() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return None


def _read(path: Path) -> str | None:
    try:
        return path.read_text().strip()
    except OSError:
        return None
