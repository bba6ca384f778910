"""Tiles for other processors than this one: computed here, and translated for the other.

LLVM splits a vector that is longer than the processor's, and so the tiles of every processor can be
computed on any, but for the fence between steps, which names registers that the processor must have.
"""

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from minialex.kernels.gemm.processor import processor

COMPUTE = """
import dataclasses
import sys
import numpy as np
from minialex.kernels import find_kernel
from minialex.kernels.gemm import processor

wanted = dataclasses.replace(getattr(processor, sys.argv[1]), register="")
processor._FUSED = ((".", wanted),)

generator = np.random.default_rng(0)
def normal(*shape):
    return generator.standard_normal(shape, np.float32)
def error(kernel, plain, *arrays, **parameters):
    exact = find_kernel(kernel, algo=plain)(
        *(None if a is None else a.astype(np.float64) for a in arrays), **parameters
    )
    return lambda algo: (
        np.abs(find_kernel(kernel, algo=algo)(*arrays, **parameters) - exact).max() / np.abs(exact).max()
    )
errors = []
for taps in map(int, sys.argv[2].split(",")):
    window = dict(stride=(1, 1), padding=((1, 1), (1, 1)), dilation=(1, 1), groups=2)
    size = 14 + 3 - taps
    x, g = normal(2, 38, 14, 14), normal(2, 70, size, size)
    weight, bias = normal(70, 19, taps, taps), normal(70)
    for algo in ("direct", "winograd"):
        errors += [
            error("conv2d.forward", "im2col", x, weight, bias, **window)(algo),
            error("conv2d.input_grad", "im2col", g, weight, input_size=(14, 14), **window)(algo),
            error("conv2d.weight_grad", "im2col", g, x, kernel_size=(taps, taps), **window)(algo),
        ]
errors.append(error("matmul.forward", "blas", normal(101, 130), normal(130, 77))("blocked"))
for images in (1, 5, 9):
    errors += [
        error("linear.forward", "blas", normal(images, 130), normal(70, 130), normal(70))("streamed"),
        error("linear.input_grad", "blas", normal(images, 70), normal(70, 130))("streamed"),
        error("linear.weight_grad", "blas", normal(images, 70), normal(images, 130))("streamed"),
    ]
print(processor.processor().lanes, max(errors))
"""

TRANSLATE = """
import dataclasses
import platform
import sys
import llvmlite.binding as llvm
import numba
from minialex.kernels.gemm import processor
from minialex.kernels.runtime.compiled import compiled

arm = platform.machine() in ("aarch64", "arm64")
wanted = dataclasses.replace(processor._NEON, register="w" if arm else "x")
processor._FUSED = ((".", wanted),)
from minialex.kernels.gemm.tile import tile_wide

@compiled
def product(a, b, c, d, e, f, g, h, i):
    tile_wide(a, b, c, d, e, f, g, h, i)

dispatcher = product.dispatcher
dispatcher.compile(numba.void(*[numba.int64] * 9))
(code,) = dispatcher.inspect_llvm().values()
lines = [line for line in code.replace("=x,", "=w,").splitlines() if not line.startswith("target ")]
llvm.initialize_all_targets()
llvm.initialize_all_asmprinters()
target = llvm.Target.from_triple("aarch64-linux-gnu")
machine = target.create_target_machine(cpu="neoverse-n1", opt=3)
print(machine.emit_assembly(llvm.parse_assembly(chr(10).join(lines))))
"""


def run(script, *arguments, folder, **variables):
    environment = {**os.environ, "MINIALEX_CACHE_DIR": str(folder), **variables}
    path = folder / "script.py"
    path.write_text(script)
    done = subprocess.run(
        [sys.executable, str(path), *arguments], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.full
@pytest.mark.parametrize(
    ("wanted", "lanes", "windows"),
    [("_AVX512", 16, "3,5"), ("_AVX2", 8, "3"), ("_NEON", 4, "3"), ("_PLAIN", 4, "3")],
)
def test_tiles_of_every_processor_compute_the_same(wanted, lanes, windows, tmp_path):
    found, error = run(COMPUTE, wanted, windows, folder=tmp_path).split()
    assert int(found) == lanes
    assert 0 < float(error) < 1e-5


# What LLVM calls some processors, with features that it knows by that name, and their vectors.
NAMES = {
    "skylake-avx512": 16,
    "znver4": 16,
    "haswell": 8,
    "znver2": 8,
    "nehalem": 4,
    "x86-64": 4,
    "generic": 4,
}
needs_x86 = pytest.mark.skipif(
    platform.machine() not in ("x86_64", "AMD64"), reason="names of processors, x86 only"
)


@needs_x86
@pytest.mark.full
@pytest.mark.parametrize("name", NAMES)
def test_a_name_of_a_processor_is_enough(name, tmp_path):
    script = "from minialex.kernels.gemm.processor import processor; print(processor().lanes)"
    found = run(script, folder=tmp_path, NUMBA_CPU_NAME=name, NUMBA_CPU_FEATURES="")
    assert int(found) == NAMES[name]


@needs_x86
@pytest.mark.full
@pytest.mark.parametrize("name", ["haswell", "x86-64"])
def test_kernels_agree_with_the_reference_on_other_processors(name, tmp_path):
    """The sweep over the registry, and the tiles at larger sizes, with shorter vectors than here."""
    if NAMES[name] > processor().lanes:
        pytest.skip(f"this processor has no instructions of {name}")
    here = Path(__file__).parent
    environment = {**os.environ, "NUMBA_CPU_NAME": name, "NUMBA_CPU_FEATURES": ""}
    environment["HYPOTHESIS_PROFILE"] = "quick"
    files = [here / "test_kernels_against_reference.py", here / "test_tile_kernels.py"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:xdist", "-k", "not cuda", *files],
        env=environment,
        cwd=here.parents[1],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:]
    assert " passed" in done.stdout


def test_the_loop_of_a_tile_keeps_its_sums_in_registers_on_arm(tmp_path):
    """The tile alone: `test_machine_code` reads the loops that contain it, but on x86 only."""
    lines = run(TRANSLATE, folder=tmp_path).splitlines()
    products = [i for i, line in enumerate(lines) if "fmla" in line and ".4s" in line]
    # Four steps of 8 x 3, and the loop for those that are left.
    assert len(products) == 5 * 24
    loop = lines[products[0] : products[4 * 24 - 1]]
    spilled = [line for line in loop if "[sp" in line]
    assert not spilled, "\n".join(spilled)
