"""What is read of compiled kernels, on disassembly and ELF files whose answers are counted by hand."""

import math
import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from minialex.errors import DeviceError, KernelError
from minialex.kernels.cuda.inspection import compile as compiling
from minialex.kernels.cuda.inspection import disassemble
from minialex.kernels.cuda.inspection.compile import Resources, choose_compiler, read_resources
from minialex.kernels.cuda.inspection.disassemble import find_disassembler, read_disassembly
from minialex.kernels.cuda.inspection.gpus import GPUS, find_gpu
from minialex.kernels.cuda.inspection.launch_bounds import launch_bounds
from minialex.kernels.cuda.inspection.loops import Mix, hottest_loop, mix_of
from minialex.kernels.cuda.inspection.occupancy import MULTIPROCESSORS, occupancy
from minialex.kernels.cuda.inspection.roofline import predict
from minialex.kernels.runtime.control_flow import natural_loops

# A loop from 0030 to 00b0 that holds another from 0060 to 0080, code behind the end that branches back into
# it, and a second kernel whose label has the same place as one of the first.
TWO_KERNELS = """
	.target	sm_80
//--------------------- .text.first                --------------------------
	.section	.text.first,"ax",@progbits
first:
.text.first:
        /*0000*/                   IMAD.MOV.U32 R1, RZ, RZ, c[0x0][0x28] ;
        /*0010*/                   ISETP.GE.AND P0, PT, R0, c[0x0][0x170], PT ;
        /*0020*/               @P0 EXIT ;
.L_x_1:
        /*0030*/                   LDG.E.128.CONSTANT R4, [R2.64] ;
        /*0040*/                   STS.64 [R8], R4 ;
        /*0050*/                   FFMA.FTZ R9, R4, R5, R9 ;
.L_x_0:
        /*0060*/                   LDS.U.128 R12, [R8] ;
        /*0070*/                   FFMA.FTZ R9, R12, R13, R9 ;
        /*0080*/              @!P1 BRA `(.L_x_0) ;
        /*0090*/                   BRA.DIV ~URZ, `(.L_x_2) ;
.L_x_3:
        /*00a0*/                   FADD.FTZ R9, R9, R10 ;
        /*00b0*/                   BRA.U UP0, `(.L_x_1) ;
        /*00c0*/                   STG.E [R2.64], R9 ;
        /*00d0*/                   EXIT ;
.L_x_2:
        /*00e0*/                   WARPSYNC 0xffffffff ;
        /*00f0*/                   BRA `(.L_x_3) ;
.L_x_4:
        /*0100*/                   BRA `(.L_x_4);
        /*0110*/                   NOP;
.L_x_5:

//--------------------- .text.second               --------------------------
second:
.text.second:
        /*0000*/                   LDG.E.U8 R4, [R2.64] ;
.L_x_6:
        /*0010*/                   HMMA.1688.F32.TF32 R4, R4, R5, R4 ;
        /*0020*/                   LDGSTS.E.BYPASS.LTC128B.128 [R8], [R2.64] ;
        /*0030*/                   LDSM.16.M88.4 R4, [R8] ;
        /*0040*/              @!P0 BRA `(.L_x_6) ;
        /*0050*/                   EXIT ;
"""


class TestDisassembly:
    def test_instructions(self):
        kernels = read_disassembly(TWO_KERNELS)
        assert list(kernels) == ["first", "second"]
        first = kernels["first"]
        assert [each.address for each in first] == list(range(0, 0x120, 16))
        load = first[3]
        assert (load.opcode, load.name, load.operands) == ("LDG.E.128.CONSTANT", "LDG", "R4, [R2.64]")
        assert load.modifiers == ("E", "128", "CONSTANT")

    def test_branches(self):
        first = read_disassembly(TWO_KERNELS)["first"]
        targets = {each.address: each.target for each in first if each.target is not None}
        assert targets == {0x80: 0x60, 0x90: 0xE0, 0xB0: 0x30, 0xF0: 0xA0, 0x100: 0x100}
        conditional = [each.address for each in first if each.conditional]
        assert conditional == [0x20, 0x80, 0x90, 0xB0]

    def test_loops(self):
        """The code behind the end belongs to the outer loop, and its branch back is none of its own."""
        kernels = read_disassembly(TWO_KERNELS)
        addresses = [[each.address for each in body] for body in natural_loops(kernels["first"])]
        outer, inner = addresses
        assert inner == [0x60, 0x70, 0x80]
        assert outer == [*range(0x30, 0xC0, 16), 0xE0, 0xF0]
        assert [len(body) for body in natural_loops(kernels["second"])] == [4]

    def test_straight_code_has_no_loop(self):
        text = TWO_KERNELS.replace("@!P0 BRA `(.L_x_6)", "NOP")
        second = read_disassembly(text)["second"]
        assert natural_loops(second) == []
        whole = hottest_loop(second)
        assert not whole.is_loop
        assert (whole.mix.instructions, whole.mix.tensor) == (5, 1)

    def test_nothing(self):
        assert read_disassembly("") == {}
        assert hottest_loop([]).mix.density == 0


class TestMix:
    def test_of_the_outer_loop(self):
        """3 floating-point instructions of 11; 16 bytes loaded from global and from shared memory each."""
        outer, _ = natural_loops(read_disassembly(TWO_KERNELS)["first"])
        mix = mix_of(outer)
        assert (mix.instructions, mix.multiply_adds, mix.tensor) == (11, 2, 0)
        assert mix.fused_flop == 2 * 64
        assert mix.flop == 2 * 64 + 32
        assert mix.loads == {("global", 16): 1, ("shared", 16): 1}
        assert mix.stores == {("shared", 8): 1}
        assert mix.density == 2 / 11
        assert mix.moved("shared") == 32 * (16 + 8)
        assert mix.intensity("global") == (2 * 64 + 32) / (32 * 16)

    def test_of_tensor_instructions(self):
        """A product of 16 x 8 x 8 is 2048 operations; a copy to shared memory is a load and a store."""
        loop = hottest_loop(read_disassembly(TWO_KERNELS)["second"])
        assert (loop.first, loop.last, loop.is_loop) == (0x10, 0x40, True)
        assert (loop.mix.tensor, loop.mix.flop, loop.mix.density) == (1, 2048, 0.25)
        assert loop.mix.loads == {("global", 16): 1, ("shared", 16): 1}
        assert loop.mix.stores == {("shared", 16): 1}

    @pytest.mark.parametrize(
        ("opcode", "width"),
        [
            ("LDG.E", 4),
            ("LDG.E.U8.CONSTANT", 1),
            ("LDG.E.S16", 2),
            ("LDG.E.64", 8),
            ("LDG.E.LTC128B", 4),
            ("LDG.E.128", 16),
            ("LDG.E.ENL2.256", 32),
            ("LDG.E.STRONG.GPU", 4),
        ],
    )
    def test_widths(self, opcode, width):
        (load,) = read_disassembly(f".text.k:\n        /*0000*/    {opcode} R0, [R2.64] ;")["k"]
        assert mix_of([load]).loads == {("global", width): 1}

    def test_the_hottest_loop_is_the_one_with_most_multiply_adds_of_its_own(self):
        first = read_disassembly(TWO_KERNELS)["first"]
        # Each loop has one; the outer one loads from global memory.
        assert hottest_loop(first).first == 0x30
        more = TWO_KERNELS.replace("LDS.U.128 R12, [R8]", "FFMA.FTZ R9, R12, R13, R9")
        assert hottest_loop(read_disassembly(more)["first"]).first == 0x60

    def test_of_equal_loops_the_shorter(self):
        loop = ".L_x_{0}:\n /*{1:04x}*/ FFMA R0, R0, R0, R0 ;\n{2} /*{3:04x}*/ @P0 BRA `(.L_x_{0}) ;\n"
        text = (
            ".text.k:\n"
            + loop.format(0, 0, " /*0010*/ MOV R1, R2 ;\n", 0x20)
            + loop.format(1, 0x30, "", 0x40)
        )
        found = hottest_loop(read_disassembly(text)["k"])
        assert (found.first, found.mix.density) == (0x30, 0.5)


PTXAS = """
ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function 'relu' for 'sm_90'
ptxas info    : Function properties for relu
ptxas         .     0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 12 registers, used 0 barriers, 372 bytes cmem[0]
ptxas info    : Compiling entry function 'product' for 'sm_90'
ptxas info    : Function properties for product
    24 bytes stack frame, 8 bytes spill stores, 12 bytes spill loads
ptxas info    : Used 255 registers, used 1 barriers, 8320 bytes smem, 388 bytes cmem[0]
"""


class TestCompiler:
    def test_resources(self):
        found = read_resources(PTXAS)
        assert found == {"relu": Resources(12, 0, 0, 0, 0), "product": Resources(255, 24, 8, 12, 8320)}
        assert found["product"].spills == 20

    def test_output_of_another_form_is_not_taken_for_zeros(self):
        with pytest.raises(KernelError, match="nothing about relu's registers"):
            read_resources(PTXAS.replace("bytes spill loads", "bytes loaded"))

    def test_no_compiler(self, monkeypatch):
        def without_cupy():
            raise ImportError

        monkeypatch.setattr(compiling, "_nvrtc", without_cupy)
        monkeypatch.setattr(compiling.shutil, "which", lambda name: None)
        with pytest.raises(DeviceError) as error:
            choose_compiler()
        assert "pip install 'minialex[cuda]'" in str(error.value)
        assert "CUDA toolkit" in str(error.value)
        assert "\n" not in str(error.value)

    def test_cupy_without_nvrtc(self, monkeypatch):
        class Nvrtc:
            @staticmethod
            def getVersion():
                raise RuntimeError("libnvrtc.so.13: cannot open")

        monkeypatch.setattr(compiling, "_nvrtc", lambda: Nvrtc)
        with pytest.raises(DeviceError, match="pip install nvidia-cuda-nvrtc"):
            choose_compiler("nvrtc")

    def test_no_disassembler(self, monkeypatch):
        def missing(name):
            raise disassemble.importlib.metadata.PackageNotFoundError(name)

        monkeypatch.setattr(disassemble.shutil, "which", lambda name: None)
        monkeypatch.setattr(disassemble.importlib.metadata, "files", missing)
        with pytest.raises(DeviceError, match="pip install nvidia-cuda-nvdisasm"):
            find_disassembler()

    def test_unknown_names(self):
        with pytest.raises(KernelError, match="'sm_99' is unknown; there are: sm_75"):
            compiling.check_architecture("sm_99")
        with pytest.raises(DeviceError, match="'clang' is unknown; there are: nvrtc, nvcc"):
            choose_compiler("clang")


def elf_with(sections):
    """A 64-bit ELF file with nothing but sections, given as name: content."""
    names, contents, headers = b"", b"", []
    for name, content in {**sections, b".shstrtab": b""}.items():
        headers.append((len(names), 64 + len(contents), len(content)))
        names += name + b"\0"
        contents += content
    headers[-1] = (headers[-1][0], 64 + len(contents), len(names))
    table = 64 + len(contents) + len(names)
    start = bytearray(64)
    struct.pack_into("<Q10xHHH", start, 0x28, table, 64, len(headers), len(headers) - 1)
    packed = b"".join(struct.pack("<IIQQQQ24x", at, 1, 0, 0, offset, size) for at, offset, size in headers)
    return bytes(start) + contents + names + packed


def test_launch_bounds():
    other = struct.pack("<BBH", 3, 0x1B, 255)  # holds its value itself
    sized = struct.pack("<BBHII", 4, 0x11, 8, 1, 2)
    bounds = struct.pack("<BBHIII", 4, 5, 12, 16, 8, 2)
    found = launch_bounds(
        elf_with(
            {b".text.a": b"", b".nv.info.a": other + sized + bounds, b".nv.info.b": other, b".nv.info": sized}
        )
    )
    assert found == {"a": 256}


class TestOccupancy:
    @pytest.mark.parametrize(
        ("architecture", "threads", "registers", "shared", "blocks", "limit"),
        [
            ("sm_80", 256, 32, 0, 8, "registers"),  # 8 warps of 1024 registers: 64 of 64 warps
            ("sm_80", 256, 33, 0, 6, "registers"),  # 1280 registers a warp: 12 in each quarter
            ("sm_80", 256, 128, 0, 2, "registers"),  # 16 warps
            ("sm_80", 1024, 65, 0, 0, "registers"),  # a block does not fit
            ("sm_80", 32, 16, 0, 32, "blocks"),
            ("sm_86", 32, 16, 0, 16, "blocks"),
            ("sm_86", 256, 32, 0, 6, "warps"),
            ("sm_75", 256, 32, 0, 4, "warps"),
            ("sm_75", 64, 16, 16 * 1024, 4, "shared memory"),  # of 64 KiB
            ("sm_80", 64, 16, 16 * 1024, 9, "shared memory"),  # 164 KiB in pieces of 17
            ("sm_90", 64, 16, 48 * 1024, 4, "shared memory"),  # 228 KiB in pieces of 49
        ],
    )
    def test_by_hand(self, architecture, threads, registers, shared, blocks, limit):
        found = occupancy(architecture, threads, registers, shared)
        assert (found.blocks, found.limit) == (blocks, limit)
        assert found.share == blocks * threads / 32 / MULTIPROCESSORS[architecture].warps

    def test_refused(self):
        with pytest.raises(KernelError, match="the threads of a block must be 1 to 1024, not 1025"):
            occupancy("sm_80", 1025, 32, 0)


CALCULATOR = r"""
#include <cstdio>
#include "cuda_occupancy.h"
int main() {
    int major, minor, warps, shared, threads, registers, bytes;
    while (scanf("%d %d %d %d %d %d %d",
                 &major, &minor, &warps, &shared, &threads, &registers, &bytes) == 7) {
        cudaOccDeviceProp device;
        device.computeMajor = major;
        device.computeMinor = minor;
        device.maxThreadsPerBlock = 1024;
        device.maxThreadsPerMultiprocessor = 32 * warps;
        device.regsPerBlock = device.regsPerMultiprocessor = 65536;
        device.warpSize = 32;
        device.sharedMemPerBlock = 49152;
        device.sharedMemPerMultiprocessor = shared;
        device.numSms = 1;
        device.sharedMemPerBlockOptin = shared - (major == 7 ? 0 : 1024);
        device.reservedSharedMemPerBlock = major == 7 ? 0 : 1024;
        cudaOccFuncAttributes kernel;
        kernel.maxThreadsPerBlock = 1024;
        kernel.numRegs = registers;
        kernel.sharedSizeBytes = bytes;
        kernel.partitionedGCConfig = PARTITIONED_GC_OFF;
        kernel.shmemLimitConfig = FUNC_SHMEM_LIMIT_DEFAULT;
        kernel.maxDynamicSharedSizeBytes = 0;
        kernel.numBlockBarriers = 1;
        cudaOccDeviceState state;
        state.carveoutConfig = SHAREDMEM_CARVEOUT_MAX_SHARED;
        cudaOccResult result;
        int error = cudaOccMaxActiveBlocksPerMultiprocessor(&result, &device, &kernel, &state, threads, 0);
        printf("%d\n", error ? -error : result.activeBlocksPerMultiprocessor);
    }
}
"""


def test_occupancy_is_that_of_nvidias_header(tmp_path):
    """`cuda_occupancy.h` knows the rules and the most blocks; warps and bytes are ours."""
    nvcc, compiler = shutil.which("nvcc"), shutil.which("g++")
    if nvcc is None or compiler is None:
        pytest.skip("needs g++ and the CUDA toolkit, for its cuda_occupancy.h")
    done = subprocess.run([nvcc, "-v", "--dryrun", "x.cu"], capture_output=True, text=True, check=False)
    top = next(line.partition("TOP=")[2] for line in done.stderr.splitlines() if "TOP=" in line)
    folder = Path(top, "include").resolve()
    if not (folder / "cuda_occupancy.h").is_file():
        pytest.skip("this CUDA toolkit has no cuda_occupancy.h")
    (tmp_path / "calculator.cpp").write_text(CALCULATOR)
    program = tmp_path / "calculator"
    subprocess.run([compiler, "-I", folder, tmp_path / "calculator.cpp", "-o", program], check=True)
    calls = [
        (architecture, threads, registers, shared)
        for architecture in MULTIPROCESSORS
        for threads in (1, 31, 32, 33, 64, 96, 128, 160, 256, 384, 512, 672, 1024)
        for registers in (16, 32, 33, 40, 64, 65, 96, 127, 128, 168, 255)
        for shared in (0, 1, 128, 1000, 4224, 8320, 12345, 16896, 33000, 49152)
    ]
    lines = []
    for architecture, *numbers in calls:
        machine, number = MULTIPROCESSORS[architecture], int(architecture.removeprefix("sm_"))
        lines.append((number // 10, number % 10, machine.warps, machine.shared, *numbers))
    done = subprocess.run(
        [program],
        input="\n".join(" ".join(map(str, line)) for line in lines),
        capture_output=True,
        text=True,
        check=True,
    )
    theirs = [int(line) for line in done.stdout.split()]
    assert len(theirs) == len(calls)
    differing = [
        (call, mine, found)
        for call, found in zip(calls, theirs, strict=True)
        if (mine := occupancy(*call).blocks) != found
    ]
    assert not differing, differing[:10]


class TestRoofline:
    GPU = find_gpu("h100")

    def test_bound_by_instructions(self):
        """3 of 4 instructions multiply and add: three quarters of what 4 x 132 schedulers can issue."""
        mix = Mix(4, 3, 0, 3 * 64, 3 * 64, {("global", 16): 1})
        found = predict(mix, 10**12, 10**6, 132 * 7, self.GPU)
        rate = 132 * 4 * 1.98e9 * 64 * 0.75
        assert found.arithmetic == pytest.approx(1e12 / rate)
        assert found.memory == pytest.approx(1e6 / 3.35e12)
        assert found.seconds == found.arithmetic
        assert found.bound == "issue"
        # 192 operations for 512 bytes.
        assert found.uncached == pytest.approx(1e12 * 512 / 192 / 3.35e12)

    def test_bound_by_the_peak_where_lanes_are_few(self):
        """An A100 has half the lanes: half of the instructions are enough."""
        mix = Mix(4, 3, 0, 3 * 64, 3 * 64, {})
        found = predict(mix, 10**12, 0, 108, find_gpu("A100"))
        assert found.arithmetic == pytest.approx(1e12 / 19.5e12)
        assert found.bound == "peak"

    def test_blocks_that_do_not_fill_the_gpu(self):
        mix = Mix(1, 1, 0, 64, 64, {})
        times = [predict(mix, 10**12, 0, blocks, self.GPU).arithmetic for blocks in (132, 66, 133)]
        assert times[1] == pytest.approx(2 * times[0])
        assert [predict(mix, 10**12, 0, blocks, self.GPU).bound for blocks in (65, 66)] == ["blocks", "peak"]
        assert times[2] == pytest.approx(times[0] * 2 * 132 / 133)

    def test_tensor_cores(self):
        mix = Mix(2, 0, 1, 2048, 2048, {})
        found = predict(mix, 10**12, 0, 132, self.GPU)
        assert found.arithmetic == pytest.approx(1e12 / 494.5e12)

    def test_bound_by_memory(self):
        found = predict(Mix(10, 0, 0, 0, 0, {("global", 4): 1}), 0, 67 * 10**9, 1, self.GPU)
        assert (found.seconds, found.bound) == (pytest.approx(0.02), "memory")

    @pytest.mark.parametrize("gpu", GPUS.values(), ids=list(GPUS))
    def test_the_datasheets_agree_with_themselves(self, gpu):
        """The peak is the lanes of all multiprocessors times the boost clock, two operations each."""
        lanes = 64 if gpu.architecture in ("sm_75", "sm_80") else 128
        assert 2 * lanes * gpu.multiprocessors * gpu.clock == pytest.approx(gpu.float32, rel=0.01)

    def test_an_unknown_gpu(self):
        assert find_gpu("rtx4090").name == "RTX 4090"
        with pytest.raises(KernelError, match="no datasheet of a GPU 'H999'; there are: T4"):
            find_gpu("H999")


def test_intensity_without_memory():
    assert Mix(1, 1, 0, 64, 64).intensity("global") == math.inf
