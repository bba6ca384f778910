"""Tiles for other processors than this one: computed here, and translated for the other.

LLVM splits a vector that is longer than the processor's, and so the tiles of every processor can be
computed on any. Whether the machine code is good is then read from the code itself.
"""

import os
import subprocess
import sys

import pytest

from minialex.kernels import micro_kernel

COMPUTE = """
import sys
import numpy as np
from minialex.kernels import find_kernel, micro_kernel

wanted = getattr(micro_kernel, sys.argv[1])
for name in ("_AVX512", "_AVX2", "_NEON", "_PLAIN"):
    setattr(micro_kernel, name, wanted)

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
print(micro_kernel.processor().lanes, max(errors))
"""

TRANSLATE = """
import sys
import llvmlite.binding as llvm
import numba
from minialex.kernels import micro_kernel
from minialex.kernels.compiled import compiled

wanted = getattr(micro_kernel, sys.argv[1])
for name in ("_AVX512", "_AVX2", "_NEON", "_PLAIN"):
    setattr(micro_kernel, name, wanted)
from minialex.kernels.micro_kernel import {tile}

@compiled
def product({parameters}):
    {tile}({parameters})

dispatcher = product.dispatcher
dispatcher.compile(numba.void(*[numba.int64] * {count}))
(code,) = dispatcher.inspect_llvm().values()
lines = [line for line in code.splitlines() if not line.startswith("target ")]
llvm.initialize_all_targets()
llvm.initialize_all_asmprinters()
target = llvm.Target.from_triple(sys.argv[2])
machine = target.create_target_machine(cpu=sys.argv[3], features=sys.argv[4], opt=3)
print(machine.emit_assembly(llvm.parse_assembly(chr(10).join(lines))))
"""


def run(script, *arguments, folder):
    environment = {**os.environ, "MINIALEX_CACHE_DIR": str(folder)}
    path = folder / "script.py"
    path.write_text(script)
    done = subprocess.run(
        [sys.executable, str(path), *arguments], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.full
@pytest.mark.parametrize(
    ("processor", "lanes", "windows"),
    [("_AVX512", 16, "3,5"), ("_AVX2", 8, "3"), ("_NEON", 4, "3"), ("_PLAIN", 4, "3")],
)
def test_tiles_of_every_processor_compute_the_same(processor, lanes, windows, tmp_path):
    if micro_kernel.processor() == getattr(micro_kernel, processor):
        pytest.skip("this processor's own tiles, which all other tests run")
    found, error = run(COMPUTE, processor, windows, folder=tmp_path).split()
    assert int(found) == lanes
    assert 0 < float(error) < 1e-5


@pytest.mark.parametrize(
    ("processor", "tile", "triple", "cpu", "features", "multiply_add", "register", "sums"),
    [
        ("_AVX512", "tile_wide", "x86_64-linux-gnu", "skylake-avx512", "", "vfmadd", "%zmm", 24),
        ("_AVX512", "tile_medium", "x86_64-linux-gnu", "skylake-avx512", "", "vfmadd", "%zmm", 16),
        ("_AVX2", "tile_wide", "x86_64-linux-gnu", "haswell", "", "vfmadd", "%ymm", 12),
        ("_NEON", "tile_wide", "aarch64-linux-gnu", "neoverse-n1", "", "fmla", ".4s", 24),
        ("_AVX512", "dot_tile_3", "x86_64-linux-gnu", "skylake-avx512", "", "vfmadd", "%zmm", 12),
        ("_AVX2", "dot_tile_3", "x86_64-linux-gnu", "haswell", "", "vfmadd", "%ymm", 12),
        ("_AVX512", "add_tile_3", "x86_64-linux-gnu", "skylake-avx512", "", "vfmadd", "%zmm", 12),
        ("_AVX2", "add_tile_3", "x86_64-linux-gnu", "haswell", "", "vfmadd", "%ymm", 12),
    ],
)
def test_the_loop_keeps_its_sums_in_registers(
    processor, tile, triple, cpu, features, multiply_add, register, sums, tmp_path
):
    turns, count = (4, 9) if tile.startswith("tile") else (1, 7)
    parameters = ", ".join("abcdefghi"[:count])
    script = TRANSLATE
    for name, text in (("{tile}", tile), ("{parameters}", parameters), ("{count}", str(count))):
        script = script.replace(name, text)
    lines = run(script, processor, triple, cpu, features, folder=tmp_path).splitlines()
    products = [i for i, line in enumerate(lines) if multiply_add in line and register in line]
    assert products
    # From the first to the last product are the unrolled loop and the one for the rest, and at the end
    # of each, where a function may save what it no longer needs, a branch.
    loop = []
    for i in range(products[0], len(lines)):
        loop.append(lines[i])
        if len([line for line in loop if multiply_add in line]) == turns * sums:
            break
    assert len([line for line in loop if multiply_add in line]) == turns * sums, (
        f"the loop has not {turns} turns in one"
    )
    spilled = [line for line in loop if "sp)" in line or "[sp" in line]
    assert not spilled, "\n".join(spilled)
