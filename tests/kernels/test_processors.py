"""Tiles for other processors than this one: computed here, and translated for the other.

LLVM splits a vector that is longer than the processor's, and so the tiles of every processor can be
computed on any, but for the fence between steps, which names registers that the processor must have.
"""

import os
import subprocess
import sys

import pytest

COMPUTE = """
import dataclasses
import sys
import numpy as np
from minialex.kernels import find_kernel, micro_kernel

wanted = dataclasses.replace(getattr(micro_kernel, sys.argv[1]), register="")
micro_kernel._FUSED = ((".", wanted),)

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
import dataclasses
import platform
import sys
import llvmlite.binding as llvm
import numba
from minialex.kernels import micro_kernel
from minialex.kernels.compiled import compiled

arm = platform.machine() in ("aarch64", "arm64")
wanted = dataclasses.replace(micro_kernel._NEON, register="w" if arm else "x")
micro_kernel._FUSED = ((".", wanted),)
from minialex.kernels.micro_kernel import tile_wide

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
    found, error = run(COMPUTE, processor, windows, folder=tmp_path).split()
    assert int(found) == lanes
    assert 0 < float(error) < 1e-5


def test_the_loop_of_a_tile_keeps_its_sums_in_registers_on_arm(tmp_path):
    """The tile alone: `test_machine_code` reads the loops that contain it, but on x86 only."""
    lines = run(TRANSLATE, folder=tmp_path).splitlines()
    products = [i for i, line in enumerate(lines) if "fmla" in line and ".4s" in line]
    # Four steps of 8 x 3, and the loop for those that are left.
    assert len(products) == 5 * 24
    loop = lines[products[0] : products[4 * 24 - 1]]
    spilled = [line for line in loop if "[sp" in line]
    assert not spilled, "\n".join(spilled)
