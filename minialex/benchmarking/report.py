"""What a benchmark leaves behind: a folder with result.json and pictures.

result.json, schema 1:

    schema, kind      1, and "kernels", "train", "infer", "convnet", "memory" or "scaling"
    command, date     the command line, file names without their folders; the day
    machine, versions, threads
    limits            multiply-add peak in GFLOP/s and copy bandwidth in GB/s, on one and on all threads
    noise             {"noisy": true or false, "reasons": [...], and the figures}
    settings          what was asked for
    results           a list of rows; seconds are medians, and every sample is there
    profile           seconds by layer and by kernel, where it was asked for
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path, PurePath

from minialex.benchmarking.limits import Limits
from minialex.benchmarking.machine import describe_machine, describe_versions
from minialex.benchmarking.noise import Noise
from minialex.errors import RunError
from minialex.files import write_json

SCHEMA = 1


@dataclass(frozen=True)
class Report:
    """One run of `minialex bench`."""

    kind: str
    arguments: Sequence[str]
    threads: int
    limits: Limits
    noise: Noise
    settings: dict
    results: list[dict]
    extra: dict = field(default_factory=dict)

    def to_dict(self) -> dict:
        """The contents of result.json."""
        return {
            "schema": SCHEMA,
            "kind": self.kind,
            "command": " ".join(("minialex", *map(without_folder, self.arguments))),
            "date": f"{datetime.now():%Y-%m-%d}",
            "machine": describe_machine(),
            "versions": describe_versions(),
            "threads": self.threads,
            "limits": self.limits.to_dict(),
            "noise": self.noise.to_dict(),
            "settings": self.settings,
            "results": self.results,
            **self.extra,
        }


def where(result: dict) -> str:
    """What a benchmark ran on, from its result: threads of the processor, or a GPU."""
    device, threads = result["settings"].get("device", "cpu"), result["threads"]
    if device == "cuda":
        return result["limits"]["gpu"]
    on_threads = f"{threads} thread{'' if threads == 1 else 's'}"
    return on_threads if device == "cpu" else f"CUDA kernels on the CPU, {on_threads}, no GPU"


def without_folder(argument: str) -> str:
    """An argument of the command line, a path reduced to its last part."""
    option, equals, value = argument.partition("=")
    if equals and option.startswith("-"):
        return f"{option}={without_folder(value)}"
    return PurePath(argument).name or argument if os.sep in argument else argument


def open_folder(path: Path | None, name: str) -> Path:
    """Make the folder of a run, and check that files can be written to it.

    `path` is None for a new folder in bench-results/, named after `name` and the time.

    Raises
    ------
    RunError
        If it is a file, holds something, or cannot be written.
    """
    if path is None:
        path = Path("bench-results") / f"{name}-{datetime.now():%Y%m%d-%H%M%S}"
    text = f"output folder {str(path)!r}"
    if path.exists() and not path.is_dir():
        raise RunError(f"{text} is a file; name another with --output")
    try:
        if path.exists() and any(path.iterdir()):
            raise RunError(f"{text} is not empty, and nothing is overwritten; name another with --output")
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise RunError(
            f"{text} cannot be written: {os.strerror(error.errno or 0)}; name another with --output"
        ) from None
    return path


def save(folder: Path, result: dict) -> None:
    """Write result.json."""
    write_json(folder / "result.json", result)
