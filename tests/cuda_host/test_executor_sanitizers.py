"""Modules with a sanitizer of g++, and the documentation's example: in processes of their own."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.needs_gxx

SOURCE = """
extern "C" __global__ void reverse(const float* x, float* y, int shift)
{
    __shared__ float line[64];
    line[threadIdx.x] = x[threadIdx.x];
    __syncthreads();
    y[threadIdx.x + shift] = line[63 - threadIdx.x];
}

extern "C" __global__ void shift(int* y, int bits) { y[threadIdx.x] = 1 << bits; }
"""

LAUNCHES = """
import sys
import numpy as np
from minialex.kernels import cuda_host
path, sanitizer, shift, bits = sys.argv[1:]
module = cuda_host.load(path, sanitize=sanitizer)
x, y, z = np.ones(64, np.float32), np.zeros(64, np.float32), np.zeros(8, np.int32)
module["reverse"](100, 64, (x, y, np.int32(shift)))
module["shift"](1, 8, (z, np.int32(bits)))
print("reached the end", y.sum(), z[0])
"""


def _run(folder: Path, sanitizer: str, shift: int, bits: int) -> subprocess.CompletedProcess:
    path = folder / "faults.cu"
    path.write_text(SOURCE)
    name = {"address": "libasan.so", "undefined": "libubsan.so"}[sanitizer]
    library = subprocess.run(
        [shutil.which("g++"), f"-print-file-name={name}"], capture_output=True, text=True, check=True
    ).stdout.strip()
    if not os.path.isabs(library):
        pytest.skip(f"g++ has no {name}")
    environment = {**os.environ, "LD_PRELOAD": library, "ASAN_OPTIONS": "detect_leaks=0"}
    command = [sys.executable, "-c", LAUNCHES, str(path), sanitizer, str(shift), str(bits)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300, check=False)


@pytest.mark.parametrize("sanitizer", [pytest.param("address", marks=pytest.mark.full), "undefined"])
def test_a_correct_kernel_passes(tmp_path, sanitizer):
    answer = _run(tmp_path, sanitizer, 0, 3)

    assert answer.returncode == 0, answer.stderr
    assert answer.stdout == "reached the end 64.0 8\n"
    assert answer.stderr == ""


@pytest.mark.parametrize(
    ("sanitizer", "shift", "bits", "message", "line"),
    [
        ("address", 1, 3, "heap-buffer-overflow", 7),
        ("undefined", 0, 33, "runtime error: shift exponent 33 is too large", 10),
    ],
)
def test_a_fault_is_reported_with_its_line(tmp_path, sanitizer, shift, bits, message, line):
    answer = _run(tmp_path, sanitizer, shift, bits)

    assert answer.returncode != 0
    assert "reached the end" not in answer.stdout
    assert message in answer.stderr
    assert f"{tmp_path / 'faults.cu'}:{line}" in answer.stderr


def test_the_example_of_the_documentation_runs():
    text = (Path(__file__).parents[2] / "docs" / "cuda_host.md").read_text()
    (example,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    shown = (
        'assert module["row_sums"].parameters == [("x", "const float*"), ("y", "float*"), ("columns", "int")]'
    )

    subprocess.run([sys.executable, "-c", example + shown], check=True, timeout=120)
