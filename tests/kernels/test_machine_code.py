"""The innermost loops of all products, as they are launched: their sums stay in registers."""

import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest
import tile_loops

from minialex.kernels.gemm._tile_code import UNROLLED
from minialex.kernels.gemm.processor import SKINNY_ROWS
from minialex.kernels.runtime.machine_code import multiply_loops, read_assembly

needs_x86 = pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="assembly of x86 only")

# A loop over tiles with an inner one over the depth, which multiplies. It keeps one vector on the stack.
NESTED = """
	.globl	product
product:
	.cfi_startproc
	subq	$128, %rsp
	vmovups	%zmm9, 64(%rsp)
.LBB0_1:
	vxorps	%xmm0, %xmm0, %xmm0
	movq	8(%rsp), %rbp
.LBB0_2:                                # %depth
	vbroadcastss	(%rbp,%rax,4), %zmm1
	vfmadd231ps	(%rsi,%rax,4), %zmm1, %zmm0
	#APP
	#NO_APP
	vmovups	64(%rsp), %zmm2
	vfmadd231ps	%zmm1, %zmm2, %zmm3
	incq	%rax
	cmpq	%rdx, %rax
	jl	.LBB0_2
	vmovups	%zmm0, (%rdi)
	decq	%rcx
	jne	.LBB0_1
	addq	$128, %rsp
	retq
.Lfunc_end0:
"""

FRAME = NESTED.replace("subq	$128, %rsp", "movq	%rsp, %rbp")


def test_the_innermost_loop_is_found_and_its_spills():
    """Of the outer loop no instruction multiplies; a vector loaded through %rbp is no spill."""
    (loop,) = multiply_loops(NESTED)
    expected = "vbroadcastss vfmadd231ps vmovups vfmadd231ps incq cmpq jl"
    assert " ".join(each.opcode for each in loop.instructions) == expected
    assert loop.multiply_adds == 2
    assert [str(each) for each in loop.spills] == ["vmovups 64(%rsp), %zmm2"]


def test_the_register_rbp_may_be_the_frame():
    (loop,) = multiply_loops(FRAME)
    assert [each.opcode for each in loop.spills] == ["vbroadcastss", "vmovups"]


def test_branches_lead_to_instructions():
    (instructions,) = read_assembly(NESTED).values()
    assert {each.address: each.target for each in instructions if each.target is not None} == {10: 4, 13: 2}


def test_straight_code_and_no_code_have_no_loop():
    assert multiply_loops(NESTED.replace("	jl	.LBB0_2", "").replace("	jne	.LBB0_1", "")) == []
    assert multiply_loops("") == []


def assert_in_registers(found):
    """Each loop has the inner loops that it should have, without spills, and little beside multiply-adds."""
    rows, widest = found["processor"]["rows"], found["processor"]["widest"]
    assert len(found["loops"]) >= 8
    for name, each in found["loops"].items():
        assert each["loops"], (
            f"{name} uses tiles, and no kernel of the CPU runs it for the call that was drawn"
        )
        for inner in each["loops"]:
            assert not inner["spills"], f"{name}: " + "; ".join(inner["spills"])
        counts = {inner["multiply_adds"] for inner in each["loops"]}
        if "tile_wide" in each["intrinsics"]:
            assert counts >= {UNROLLED * rows * vectors for vectors in range(1, widest + 1)}, name
            if found["processor"]["fused"]:
                # A step loads its vectors, a number of each row, and where these stand.
                most = UNROLLED * (rows * widest + widest + rows + 1) + 6
                assert max(inner["instructions"] for inner in each["loops"]) <= most, name
        elif "plane_tile_1" in each["intrinsics"]:
            assert counts >= {1 * 8, 2 * 6, 4 * (3 if found["processor"]["fused"] else 2)}, name
        elif "tap_tile_1" in each["intrinsics"]:
            assert counts >= {1 * 9, 2 * 5, 4 * 2}, name
        else:
            # LLVM may unroll these itself.
            assert any(count % (SKINNY_ROWS * widest) == 0 for count in counts), name


@needs_x86
def test_sums_stay_in_registers_on_this_processor():
    assert_in_registers(tile_loops.figures())


@needs_x86
@pytest.mark.full
@pytest.mark.parametrize(
    ("cpu", "lanes"), [("skylake-avx512", 16), ("znver4", 16), ("haswell", 8), ("znver3", 8), ("x86-64", 4)]
)
def test_sums_stay_in_registers_on_other_processors(cpu, lanes):
    environment = {**os.environ, "NUMBA_CPU_NAME": cpu, "NUMBA_CPU_FEATURES": ""}
    script = Path(tile_loops.__file__)
    done = subprocess.run(
        [sys.executable, script], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["processor"]["lanes"] == lanes
    assert_in_registers(found)
