"""What the executor refuses, and what it says: bad launches, bad sources, kernels that never end."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from minialex import kernels
from minialex.errors import DeviceError, KernelError
from minialex.kernels import cuda_host
from minialex.kernels.cuda_host import compiler

pytestmark = pytest.mark.needs_gxx

SOURCE = r"""
extern "C" __global__ void __launch_bounds__(512) scale(const float* x, float* y, float factor, int n)
{
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) y[i] = factor * x[i];
}

extern "C" __global__ void some_leave(int* y, int staying, int block)
{
    if (blockIdx.x == block && threadIdx.x >= staying) return;
    __syncthreads();
    y[blockIdx.x * blockDim.x + threadIdx.x] = 1;
}

extern "C" __global__ void different_barriers(int* y)
{
    if (threadIdx.x < 3) __syncthreads();
    else y[threadIdx.x] = __syncthreads_count(1);
}

extern "C" __global__ void barrier_and_warp(int* y)
{
    if (threadIdx.x % 32 < 8) __syncthreads();
    else __syncwarp();
    y[threadIdx.x] = 1;
}

extern "C" __global__ void different_masks(int* y)
{
    y[threadIdx.x] = __ballot_sync(threadIdx.x % 2 ? 0xffffffff : 0x7fffffff, 1);
}

extern "C" __global__ void not_in_the_mask(int* y) { y[threadIdx.x] = __shfl_sync(0xffff, 1, 0); }

extern "C" __global__ void odd_width(int* y) { y[threadIdx.x] = __shfl_sync(0xffffffff, 1, 0, 12); }

extern "C" __global__ void asserts(const int* x)
{
    __syncthreads();
    assert(x[threadIdx.x] != 40);
}

extern "C" __global__ void traps(int block)
{
    if (blockIdx.y == block && threadIdx.z == 2) __trap();
}

extern "C" __global__ void reverse(int* y)
{
    __shared__ int line[1024];
    line[threadIdx.x] = y[threadIdx.x];
    __syncthreads();
    y[threadIdx.x] = line[blockDim.x - 1 - threadIdx.x];
}
"""


@pytest.fixture(scope="module")
def module():
    return cuda_host.load(source_text=SOURCE)


def _line(text: str) -> int:
    return next(i for i, line in enumerate(SOURCE.splitlines(), start=1) if text in line)


# ---- Launches that are refused ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("grid", "block", "message"),
    [
        ((0,), (32,), r"grid must be 1 to 2147483647 along x, not \(0,\)"),
        ((2**31,), (32,), "grid must be 1 to 2147483647 along x"),
        ((1, 65536), (32,), "grid must be 1 to 65535 along y"),
        ((1, 1, 65536), (32,), "grid must be 1 to 65535 along z"),
        ((1,), (0,), r"block must be 1 to 1024 along x, not \(0,\)"),
        ((1,), (1025,), "block must be 1 to 1024 along x"),
        ((1,), (1, 1025), "block must be 1 to 1024 along y"),
        ((1,), (1, 1, 65), "block must be 1 to 64 along z"),
        ((1,), (32, 33), r"block=\(32, 33, 1\) has 1056 threads; a block has 1024 at most"),
        ((1,), (513,), r"block=\(513, 1, 1\) has 513 threads; the kernel declares __launch_bounds__\(512\)"),
        ((1, 1, 1, 1), (32,), "grid must be one to three integers"),
        ((), (32,), "grid must be one to three integers"),
        ((1.0,), (32,), "grid must be one to three integers"),
        ((1,), (True,), "block must be one to three integers"),
    ],
)
def test_grids_and_blocks_beyond_the_limits(module, grid, block, message):
    x, y = np.ones(4, np.float32), np.zeros(4, np.float32)

    with pytest.raises(KernelError, match="^scale: " + message):
        module["scale"](grid, block, (x, y, np.float32(1), np.int32(4)))

    assert not y.any()


X, Y, FACTOR, N = np.ones(4, np.float32), np.zeros(4, np.float32), np.float32(2), np.int32(4)
_READ_ONLY = np.zeros(4, np.float32)
_READ_ONLY.flags.writeable = False


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (
            (X, Y, FACTOR),
            r"3 arguments were given; it takes 4: \(const float\* x, float\* y, float factor",
        ),
        ((X, Y, FACTOR, N, N), "5 arguments were given"),
        (
            (X.astype(np.float64), Y, FACTOR, N),
            r"argument 0 \(const float\* x\): .*must be float32, not float64",
        ),
        ((X.astype(">f4"), Y, FACTOR, N), r"argument 0 .*dtype must be float32, not >f4"),
        ((X, np.zeros(8, np.float32)[::2], FACTOR, N), r"argument 1 \(float\* y\): .*not C-contiguous"),
        ((X, np.zeros((2, 2), np.float32).T, FACTOR, N), r"argument 1 .*not C-contiguous"),
        ((X, _READ_ONLY, FACTOR, N), r"argument 1 .*read-only"),
        (([1.0], Y, FACTOR, N), r"argument 0 .*it is a list; give a NumPy array"),
        ((FACTOR, Y, FACTOR, N), r"argument 0 .*it is a float32; give a NumPy array"),
        ((X, Y, 2.0, N), r"argument 2 \(float factor\): it is a float; give np.float32\(...\)"),
        ((X, Y, np.float64(2), N), r"argument 2 .*type is float64; give np.float32\(...\)"),
        ((X, Y, FACTOR, 4), r"argument 3 \(int n\): it is a int; give np.int32\(...\)"),
        ((X, Y, np.int32(2), N), r"argument 2 .*type is int32; give np.float32\(...\)"),
        ((X, Y, FACTOR, np.uint32(4)), r"argument 3 .*type is uint32; give np.int32\(...\)"),
        ((X.astype(np.int32), Y, FACTOR, N), r"argument 0 .*dtype must be float32, not int32"),
        ((X, Y, FACTOR, np.int64(4)), r"argument 3 .*type is int64; give np.int32\(...\)"),
        ((X, Y, FACTOR, np.array(4, np.int32)), r"argument 3 .*it is a ndarray"),
        ((X, Y, FACTOR, None), r"argument 3 .*it is a NoneType"),
    ],
)
def test_arguments_that_do_not_fit(module, args, message):
    with pytest.raises(KernelError, match="^scale: " + message):
        module["scale"](1, 32, args)

    assert not Y.any()


def test_arguments_that_fit_exactly(module):
    y = np.zeros((2, 2), np.float32)

    module["scale"]([1], np.int64(32), [_READ_ONLY + 1, y, FACTOR, N])

    assert (y == 2).all()


@pytest.mark.parametrize("shared_mem", [-1, 227 * 1024 + 1, 8.0, None])
def test_shared_memory_beyond_the_limit(module, shared_mem):
    with pytest.raises(KernelError, match="scale: shared_mem must be an integer from 0 to 232,448, not"):
        module["scale"](1, 32, (X, Y, FACTOR, N), shared_mem=shared_mem)


def test_a_kernel_that_is_not_there(module):
    with pytest.raises(KernelError, match=r"<source_text> has no kernel 'scaled'; it has scale, some_leave"):
        module["scaled"]


# ---- Kernels that fail ------------------------------------------------------------------


def _is_healthy(module) -> bool:
    y = np.arange(1024, dtype=np.int32)
    module["reverse"](1, 1024, (y,))
    return (y == np.arange(1024)[::-1]).all()


def _failure(module, name, *launch) -> str:
    with pytest.raises(KernelError) as failure:
        module[name](*launch)
    assert _is_healthy(module)
    return str(failure.value)


@pytest.mark.parametrize("threads", [1, 3])
def test_a_barrier_that_some_threads_do_not_reach(module, threads):
    kernels.set_num_threads(threads)
    try:
        y = np.zeros(5 * 100, np.int32)
        message = _failure(module, "some_leave", 5, 100, (y, np.int32(64), np.int32(3)))
    finally:
        kernels.set_num_threads(None)
    assert message == (
        "some_leave: in block (3, 0, 0): the threads wait for each other forever: threads 0 to 63 wait at "
        "__syncthreads for all threads of the block; threads 64 to 99 have ended"
    )
    assert not y[300:400].any()


def test_the_first_thread_does_not_reach_the_barrier(module):
    y = np.zeros(64, np.int32)
    message = _failure(module, "some_leave", 1, 64, (y, np.int32(1), np.int32(0)))
    assert "threads 0 wait at __syncthreads" in message
    assert "threads 1 to 63 have ended" in message


def test_barriers_of_two_kinds(module):
    message = _failure(module, "different_barriers", 1, 32, (np.zeros(32, np.int32),))
    assert message == (
        "different_barriers: in block (0, 0, 0): thread 3 waits at __syncthreads_count, while other threads "
        "wait at __syncthreads"
    )


def test_threads_that_wait_at_a_barrier_and_in_a_warp_operation(module):
    message = _failure(module, "barrier_and_warp", 1, 64, (np.zeros(64, np.int32),))
    assert "threads 0 to 7, 32 to 39 wait at __syncthreads for all threads of the block" in message
    assert "threads 8 to 31 wait in __syncwarp for the lanes 0xffffffff of warp 0" in message
    assert "threads 40 to 63 wait in __syncwarp for the lanes 0xffffffff of warp 1" in message


def test_lanes_with_different_masks(module):
    message = _failure(module, "different_masks", 2, 32, (np.zeros(32, np.int32),))
    assert "wait in __ballot_sync for the lanes 0x7fffffff of warp 0" in message
    assert "wait in __ballot_sync for the lanes 0xffffffff of warp 0" in message


def test_a_lane_that_its_own_mask_lacks(module):
    message = _failure(module, "not_in_the_mask", 1, 64, (np.zeros(64, np.int32),))
    assert message == (
        "not_in_the_mask: in block (0, 0, 0): thread 16, lane 16 of its warp, calls __shfl_sync with the "
        "mask 0x0000ffff, which lacks that lane"
    )


def test_a_width_that_is_not_a_power_of_two(module):
    message = _failure(module, "odd_width", 1, 64, (np.zeros(64, np.int32),))
    assert "calls __shfl_sync with the width 12, which is not 1, 2, 4, 8, 16 or 32" in message


def test_an_assertion_and_a_trap(module):
    message = _failure(module, "asserts", 1, 64, (np.arange(64, dtype=np.int32),))
    assert message == (
        "asserts: in block (0, 0, 0): thread (40, 0, 0): the assertion x[threadIdx.x] != 40 failed, "
        f"at <source_text>:{_line('assert(')}"
    )
    message = _failure(module, "traps", (2, 3), (2, 2, 3), (np.int32(1),))
    assert message == (
        "traps: in block (0, 1, 0): thread (0, 0, 2): __trap() was called, "
        f"at <source_text>:{_line('__trap()')}"
    )


def test_failures_leave_no_stacks_behind(module):
    def mappings() -> int:
        return len(Path("/proc/self/maps").read_text().splitlines())

    args = (np.zeros(1024, np.int32), np.int32(1000), np.int32(0))
    _failure(module, "some_leave", 1, 1024, args)
    before = mappings()

    for _ in range(5):
        _failure(module, "some_leave", 1, 1024, args)

    assert mappings() < before + 500  # the threads of one launch have 1,000 stacks, and two mappings each


# ---- Sources that do not compile ------------------------------------------------------------------

BROKEN = """// A comment.

extern "C" __global__ void broken(float* y)
{
    y[threadIdx.x] = undeclared;
}
"""


def test_an_error_of_the_compiler_names_the_line_of_the_file(tmp_path):
    path = tmp_path / "broken.cu"
    path.write_text(BROKEN)

    with pytest.raises(KernelError) as failure:
        cuda_host.load(path)

    assert str(failure.value).startswith(f"{path} does not compile:\n")
    assert re.search(rf"^{re.escape(str(path))}:5:\d+: error: .*undeclared", str(failure.value), re.MULTILINE)


@pytest.mark.parametrize("body", ["throw 1;", "try { y[0] = 1; } catch (int) {}"])
def test_exceptions_are_refused_as_cuda_has_none(body):
    """Nobody would catch one: it ended the process."""
    with pytest.raises(KernelError, match=r":2:\d+: error: exception handling disabled"):
        cuda_host.load(source_text=f'extern "C" __global__ void k(int* y)\n{{ {body} }}')


def test_an_error_of_the_compiler_names_the_line_of_a_header(tmp_path):
    (tmp_path / "helper.cuh").write_text("\n__device__ int wrong() { return missing; }\n")
    (tmp_path / "ok.cu").write_text('#include "helper.cuh"\n__global__ void k(int* y) { *y = wrong(); }\n')

    with pytest.raises(KernelError, match=r"helper\.cuh:2:\d+: error: .*missing"):
        cuda_host.load(tmp_path / "ok.cu")


def test_an_error_in_a_source_text_names_its_line():
    with pytest.raises(KernelError, match=r"<source_text>:5:\d+: error: .*undeclared"):
        cuda_host.load(source_text=BROKEN)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("int x;", "<source_text> defines no kernel"),
        ("template <class T> __global__ void t(T* y) {}", "<source_text> defines no kernel"),
        ('#include "not_there.cuh"\n', r"<source_text>:1:.*not_there\.cuh: No such file"),
        ("#define H <math.h>\n#include H\n", "#include H: name the file itself"),
        ("__device__ int f(); __global__ void k(int* y) { *y = f(); }", r"undefined reference to `f\(\)'"),
        ("__global__ void k(float* y) { __shfl_sync(~0u, make_float2(0, 0), 0); }", "of 8 bytes at most"),
    ],
)
def test_sources_that_are_refused(text, message):
    with pytest.raises(KernelError, match=message):
        cuda_host.load(source_text=text)


UNSUPPORTED = [
    ('asm volatile("mov.u32 %0, %%laneid;" : "=r"(y[0]));', "asm: cuda-host has no inline PTX"),
    ("cooperative_groups::this_thread_block().sync();", "cooperative_groups: cuda-host does not have it"),
    ("half x = y[0];", "half: cuda-host does not have it, there are no numbers of half precision"),
    ("y[0] = __half2float(y[1]);", "__half2float: cuda-host does not have it"),
    ("__nv_bfloat16* z;", "__nv_bfloat16: cuda-host does not have it, there are no bfloat16 numbers"),
    ("y[0] = tex2D<float>(t, 0, 0);", "tex2D: cuda-host does not have it, there are no textures"),
    ("cuda::atomic_ref<int> a(y[0]);", "cuda::: cuda-host has no libcu++"),
    ("cub::WarpReduce<int> r;", "cub::: cuda-host has no CUB"),
    (
        "nvcuda::wmma::fragment<int> f;",
        "nvcuda: cuda-host does not have it, there are no matrix instructions",
    ),
    ("other<<<1, 32>>>(y);", "<<<: cuda-host has no host code"),
    ("cudaMalloc(&y, 4);", "cudaMalloc: cuda-host does not have it, there is no host code"),
    (
        "y[0] = __shfl_down(y[0], 1);",
        "__shfl_down: cuda-host does not have it, it is gone since sm_70: use __shfl_down_sync",
    ),
    (
        "y[0] = __reduce_add_sync(~0u, y[0]);",
        "__reduce_add_sync: sm_75 does not have it: load with -arch=sm_80",
    ),
    ("y = (int*)calloc(1, 4);", r"calloc: cuda-host does not have it, and neither does CUDA: use malloc\(\)"),
    ("y[0] = __isShared(y);", "__isShared: cuda-host does not have it, there are no address spaces"),
]


@pytest.mark.parametrize(("statement", "message"), UNSUPPORTED)
def test_what_is_not_there_is_refused_by_name(statement, message, monkeypatch):
    def compile_(*_):
        raise AssertionError("the compiler saw it")

    monkeypatch.setattr(compiler, "_compile", compile_)
    text = f"#include <stdint.h>\n__global__ void k(int* y)\n{{\n    y[0] = 1;\n    {statement}\n}}\n"
    with pytest.raises(KernelError) as failure:
        cuda_host.load(source_text=text)
    assert re.match(rf"<source_text>:5: {message}", str(failure.value))
    assert "\n" not in str(failure.value)


HARMLESS = """
#include <assert.h>
#include <cuda_runtime.h>
#include <math_constants.h>
#if __CUDA_ARCH__ >= 800
__device__ void copy(half* y) { asm volatile("cp.async.ca.shared.global [%0], [%1], 16;" :: "r"(0), "l"(0)); }
#include <cuda_fp16.h>
#endif
// half precision: __half2float, asm("mov"), tex2D(t, 0, 0), kernel<<<1, 1>>>()
namespace cub { __device__ int cudaLike(int i) { return i; } }
struct Table { int half; int tex1D(int i) const { return i + half; } };
__device__ float __hmul(float a, float b) { return a * b; }
__global__ void k(float* y, int n)
{
    const int half = n / 2, half2 = half * 2;
    Table texture{half};
    asm volatile("" ::: "memory");
    if (y[half - half] > 1) printf("half <<< __half asm(");
    y[0] = __hmul(texture.tex1D(half2), 1.0f) + CUDART_PI_F + cub::cudaLike(1);
}
"""


def test_words_of_its_own_are_the_sources():
    y = np.zeros(1, np.float32)

    cuda_host.load(source_text=HARMLESS)["k"](1, 1, (y, np.int32(8)))

    np.testing.assert_allclose(y, [8 + 4 + np.pi + 1], rtol=1e-6)


@pytest.mark.parametrize(
    "header",
    ["cuda_fp16.h", "mma.h", "cuda/std/array", "cub/cub.cuh", "cooperative_groups.h", "curand_kernel.h"],
)
def test_a_header_of_the_toolkit_is_said_in_one_line(header):
    text = f"// A comment.\n#include <{header}>\n__global__ void k() {{}}\n"
    with pytest.raises(KernelError) as failure:
        cuda_host.load(source_text=text)
    assert str(failure.value).startswith(
        f"<source_text>:2: #include <{header}>: cuda-host has no headers of the CUDA Toolkit."
    )
    assert "\n" not in str(failure.value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "either the path of a .cu file or source_text"),
        ({"path": "a.cu", "source_text": ""}, "either the path of a .cu file or source_text"),
        ({"path": "not_there.cu"}, r"not_there\.cu cannot be read: No such file"),
        ({"source_text": "", "options": "-DN=1"}, "options and instances must be tuples of str"),
        (
            {"source_text": "", "options": ("--use_fast_math",)},
            "option '--use_fast_math': cuda-host knows -D",
        ),
        ({"source_text": "", "sanitize": "memory"}, "sanitize must be 'address', .*, not 'memory'"),
        ({"source_text": "", "sanitize": "address", "checked": True}, "None with checked"),
    ],
)
def test_arguments_of_load(arguments, message):
    with pytest.raises(KernelError, match=message):
        cuda_host.load(**arguments)


def test_a_missing_compiler_is_said_in_one_line(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda _: None)
    compiler.find_compiler.cache_clear()
    try:
        with pytest.raises(DeviceError) as failure:
            cuda_host.load(source_text=SOURCE)
    finally:
        compiler.find_compiler.cache_clear()
    assert "\n" not in str(failure.value)
    assert "there is no 'g++' on this machine: install GCC" in str(failure.value)
