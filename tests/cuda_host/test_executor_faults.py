"""Kernels that would end a process: each is an error that names block, thread and line, and nothing more."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from minialex import kernels
from minialex.errors import KernelError
from minialex.kernels import cuda_host

pytestmark = pytest.mark.needs_gxx

SOURCE = r"""
#include <assert.h>
#include <string.h>

extern "C" __global__ void null_pointer(int* y, int who)
{
    int* nothing = nullptr;
    y[threadIdx.x] = 3;
    if (blockIdx.x == 1 && threadIdx.y == 1 && threadIdx.x == who) *nothing = 1;  // null
}

extern "C" __global__ void far_away(const int* x, int* y, long long elements)
{
    y[threadIdx.x] = x[threadIdx.x == 7 ? elements : 0];  // far
}

// A loop over threads that becomes vector instructions, but for the division.
extern "C" __global__ void divide(const int* x, int* y)
{
    y[threadIdx.x] = 5 / x[threadIdx.x];  // divide
}

extern "C" __global__ void rest_after_a_barrier(const int* x, int* y)
{
    __syncthreads();
    y[threadIdx.x] = 5 % x[threadIdx.x];  // rest
}

__device__ __noinline__ int deeper(int depth) {  // begin
    volatile int local[30];
    local[depth % 30] = depth;  // local
    return deeper(depth + 1) + local[3];  // deeper
}

extern "C" __global__ void recursion(int* y)
{
    if (threadIdx.z == 2) y[0] = deeper(y[1]);
}

// 200,000 bytes of a thread's own, all of them used, while the others use theirs.
extern "C" __global__ void large_array(int* y, int factor)
{
    int values[50000];
    for (int i = 0; i < 50000; ++i) values[i] = i * factor;
    __syncthreads();
    y[threadIdx.x] = values[(threadIdx.x * 997 + factor) % 50000];
}

extern "C" __global__ void array_beyond_the_limit(int* y, int factor)
{
    int values[500000];
    for (int i = 0; i < 500000; ++i) values[i] = i * factor;
    __syncthreads();
    y[threadIdx.x] = values[(threadIdx.x * 997 + factor) % 500000];
}

extern "C" __global__ void assertion(const int* x)
{
    assert(x[threadIdx.x] != 40);  // assertion
}

extern "C" __global__ void copy_bytes(unsigned char* y, const unsigned char* x)
{
    memcpy(y + threadIdx.x, x, y[0] + 100);  // memcpy
}

extern "C" __global__ void add_to(int* sum, const int* x)
{
    atomicAdd(sum, x[threadIdx.x]);  // atomic
}

extern "C" __global__ void vectors(float4* y)
{
    y[threadIdx.x].x += 1; y[threadIdx.x].y *= 2; y[threadIdx.x].z += 2; y[threadIdx.x].w *= 3;  // vectors
}

extern "C" __global__ void half_a_sum(int* y, const char* text)
{
    if (threadIdx.x == 0) y[20] = printf("%s of %d and %.2f\n", "a line", 7, 1.5f) + 10 * printf("and one\n");
    y[threadIdx.x] += __shfl_down_sync(0xffff, y[threadIdx.x], 16);  // lanes
    if (threadIdx.x == 3) printf("%s\n", text);
}

extern "C" __global__ void print_text(int* y, long long address)
{
    y[threadIdx.x] = printf("%s\n", (const char*)address);  // text
}

extern "C" __global__ void print_and_divide(int* y)
{
    printf("%d\n", threadIdx.x);
    y[threadIdx.x] = 5 / y[threadIdx.x];
}

extern "C" __global__ void reverse(int* y)
{
    __shared__ int line[256];
    line[threadIdx.x] = y[threadIdx.x];
    __syncthreads();
    y[threadIdx.x] = line[blockDim.x - 1 - threadIdx.x];
}
"""


@pytest.fixture(scope="module")
def module():
    return cuda_host.load(source_text=SOURCE)


@pytest.fixture(params=[1, 2])
def threads(request):
    kernels.set_num_threads(request.param)
    yield request.param
    kernels.set_num_threads(None)


def _at(mark: str) -> str:
    lines = [i for i, line in enumerate(SOURCE.splitlines(), start=1) if line.endswith(f"// {mark}")]
    return f"at <source_text>:{lines[0]}"


def _failure(module, name, *launch) -> str:
    with pytest.raises(KernelError) as failure:
        module[name](*launch)
    y = np.arange(256, dtype=np.int32)
    module["reverse"](1, 256, (y,))
    np.testing.assert_array_equal(y, np.arange(256)[::-1])
    return str(failure.value)


# ---- What is said, and that the module works afterwards --------------------------------------------


def test_a_null_pointer(module, threads):
    message = _failure(module, "null_pointer", 3, (50, 2), (np.zeros(50, np.int32), np.int32(37)))

    assert message == (
        "null_pointer: in block (1, 0, 0): thread (37, 1, 0): an access to the address 0x0, which is in no "
        f"array (a null pointer), {_at('null')}"
    )


def test_an_address_without_memory(module):
    x, y = np.zeros(64, np.int32), np.zeros(64, np.int32)
    address = x.__array_interface__["data"][0] - 4 * 2**42

    message = _failure(module, "far_away", 1, 64, (x, y, np.int64(-(2**42))))

    assert message == (
        f"far_away: in block (0, 0, 0): thread (7, 0, 0): an access to the address {address:#x}, which is in "
        f"no array, {_at('far')}"
    )


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="aarch64 divides by zero without a fault")
@pytest.mark.parametrize(
    ("name", "thread", "mark"), [("divide", 77, "divide"), ("rest_after_a_barrier", 77, "rest")]
)
def test_an_integer_division_by_zero(module, threads, name, thread, mark):
    x, y = np.ones(128, np.int32), np.zeros(128, np.int32)
    x[thread] = 0

    message = _failure(module, name, 2, 128, (x, y))

    assert message.startswith(f"{name}: in block (")
    assert message.endswith(
        f"thread ({thread}, 0, 0): an integer division by zero, or of the least integer by -1: CUDA defines "
        f"no result, {_at(mark)}"
    )


def test_a_recursion_without_an_end(module, threads):
    message = _failure(module, "recursion", 2, (2, 2, 4), (np.zeros(2, np.int32),))

    assert "recursion: in block (" in message
    assert "thread (0, 0, 2): its stack is full" in message
    # The stack is full where the function begins, or where it calls the next one.
    assert message.rpartition(", ")[2] in {_at(mark) for mark in ("begin", "local", "deeper")}


def test_large_local_arrays_have_room(module, threads):
    y = np.zeros(64, np.int32)

    module["large_array"](3, 64, (y, np.int32(3)))

    np.testing.assert_array_equal(y, (np.arange(64) * 997 + 3) % 50000 * 3)


def test_the_room_for_large_arrays_is_given_back(module):
    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    kernels.set_num_threads(1)
    try:
        before = resident()
        module["large_array"](1, 256, (np.zeros(256, np.int32), np.int32(3)))  # 51 MB
        after = resident()
    finally:
        kernels.set_num_threads(None)

    assert after < before + 256 * (128 << 10) + (8 << 20)  # what stacks keep, and a margin


def test_local_arrays_beyond_what_a_stack_has(module):
    message = _failure(module, "array_beyond_the_limit", 1, 64, (np.zeros(64, np.int32), np.int32(3)))

    assert "thread (0, 0, 0): its stack is full: it has 960 KiB" in message
    line = next(i for i, text in enumerate(SOURCE.splitlines(), start=1) if "array_beyond_the_limit" in text)
    assert message.endswith(f", in the kernel at <source_text>:{line}")


def test_an_assertion_of_assert_h(module):
    message = _failure(module, "assertion", 1, 64, (np.arange(64, dtype=np.int32),))

    assert message == (
        "assertion: in block (0, 0, 0): thread (40, 0, 0): the assertion x[threadIdx.x] != 40 failed, "
        + _at("assertion")
    )


def test_a_fault_in_a_function_of_the_c_library(module):
    message = _failure(module, "copy_bytes", 1, 1, (np.zeros(200, np.uint8), None))

    assert "an access to the address 0x" in message
    assert message.endswith(_at("memcpy"))


def test_a_fault_in_a_function_of_the_executor_is_where_it_is_called(module):
    message = _failure(module, "add_to", 1, 64, (None, np.ones(64, np.int32)))

    assert message == (
        "add_to: in block (0, 0, 0): thread (0, 0, 0): an access to the address 0x0, which is in no "
        f"array (a null pointer), {_at('atomic')}"
    )


def test_a_text_that_printf_cannot_read(module):
    message = _failure(module, "print_text", 1, 64, (np.zeros(64, np.int32), np.int64(16)))

    assert message.endswith(_at("text"))


def test_what_is_run_again_prints_nothing(module, capfd):
    """The checker runs it again for the lanes, a plain launch for the thread that divides by zero."""
    report = cuda_host.check(module["half_a_sum"], 1, 16, (np.arange(21, dtype=np.int32), None))

    assert [finding.kind for finding in report.findings] == ["warp-lane"]
    assert capfd.readouterr().out == "a line of 7 and 1.50\nand one\n(null)\n"

    _failure(module, "print_and_divide", 1, 2, (np.arange(2, dtype=np.int32)[::-1].copy(),))

    assert capfd.readouterr().out == "0\n1\n"


def test_a_fault_that_comes_again_and_again(module):
    for _ in range(20):
        message = _failure(module, "null_pointer", 2, (50, 2), (np.zeros(50, np.int32), np.int32(0)))
        assert "(a null pointer)" in message


def test_the_checker_finds_the_same(module):
    x, y = np.ones(64, np.int32), np.zeros(64, np.int32)
    x[9] = 0
    launches = {
        "null_pointer": ((2, (64, 2), (y, np.int32(3))), ("out-of-bounds", "null")),
        "divide": ((1, 64, (x, y)), ("division", "divide")),
        "assertion": ((1, 64, (np.arange(64, dtype=np.int32),)), ("trap", "assertion")),
        "copy_bytes": ((1, 1, (np.zeros(200, np.uint8), None)), ("out-of-bounds", "memcpy")),
        "large_array": ((1, 2, (y, np.int32(3))), None),
    }
    for name, (launch, expected) in launches.items():
        report = cuda_host.check(module[name], *launch)

        found = {(finding.kind, f"at {finding.file}:{finding.line}") for finding in report.findings}
        found -= {fault for fault in found if fault[0] == "race"}
        assert found == ({(expected[0], _at(expected[1]))} if expected else set()), name


# ---- Faults of others ------------------------------------------------------------------------------

OUTSIDE = """
import ctypes, faulthandler, sys
import numpy as np
from minialex.kernels import cuda_host
early, checked = (argument == "True" for argument in sys.argv[2:])
if early:
    faulthandler.enable()
module = cuda_host.load(sys.argv[1])
y = np.arange(256, dtype=np.int32)
module["reverse"](1, 256, (y,))
if checked:
    cuda_host.check(module["reverse"], 1, 256, (y,))
if not early:
    faulthandler.enable()
module["reverse"](1, 256, (y,))
try:
    module["recursion"](1, (1, 1, 3), (y,))
except Exception as error:
    print("caught", type(error).__name__, flush=True)
ctypes.string_at(0)
"""


@pytest.mark.parametrize(
    ("early", "checked"),
    [(True, False), pytest.param(False, True, marks=pytest.mark.full)],
)
def test_a_fault_outside_of_a_launch_is_none_of_the_executor(tmp_path, early, checked):
    """It ends the process by its signal, and Python's faulthandler tells where it was."""
    path = tmp_path / "faults.cu"
    path.write_text(SOURCE)

    answer = subprocess.run(
        [sys.executable, "-c", OUTSIDE, str(path), str(early), str(checked)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert answer.stdout == "caught KernelError\n"
    assert answer.returncode == -signal.SIGSEGV
    assert answer.stderr.count("Fatal Python error: Segmentation fault") == 1
    assert "string_at" in answer.stderr


# ---- Loops without an end ------------------------------------------------------------------------------

ENDLESS = """
import os, signal, sys, threading, time
import numpy as np
from minialex import kernels
from minialex.errors import KernelError
from minialex.kernels import cuda_host
source = '''
extern "C" __global__ void wait_for(const volatile int* flag, int* y)
{
    while (flag[0] == 0) {}
    y[blockIdx.x] = 1;
}
'''
# Shells let programs in the background ignore it, these tests, too, and so what they start.
signal.signal(signal.SIGINT, signal.default_int_handler)
kernels.set_num_threads(int(sys.argv[1]))
kernel = cuda_host.load(source_text=source)["wait_for"]
y, go, stop = np.zeros(100, np.int32), np.ones(1, np.int32), np.zeros(1, np.int32)

def press(times):
    for _ in range(times):
        time.sleep(0.3)
        os.kill(os.getpid(), signal.SIGINT)

def launch(times, flag):
    y[:] = 0
    thread = threading.Thread(target=press, args=(times,))
    thread.start()
    try:
        kernel(100, 1, (flag, y))
        return "ended", int(y.sum())
    except (KeyboardInterrupt, KernelError) as error:
        return type(error).__name__, str(error)
    finally:
        thread.join()

# Once: the launch goes on, here until the flag is set.
threading.Timer(0.8, lambda: flag.fill(1)).start()
flag = np.zeros(1, np.int32)
print(launch(1, flag)[0], y.sum())
# Twice: it ends.
print(launch(2, stop))
# With a handler that raises nothing, the launch itself says it.
signal.signal(signal.SIGINT, lambda *_: None)
print(launch(2, stop))
print(launch(0, go))
"""


@pytest.mark.parametrize("threads", [2, pytest.param(1, marks=pytest.mark.full)])
def test_a_loop_without_an_end_can_be_interrupted(threads):
    """Ctrl-C as always, and the second time the kernel ends."""
    answer = subprocess.run(
        [sys.executable, "-c", ENDLESS, str(threads)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert answer.returncode == 0, answer.stderr
    first, second, third, last = answer.stdout.splitlines()
    assert first == "KeyboardInterrupt 100"
    assert second == "('KeyboardInterrupt', '')"
    assert third.startswith("('KernelError', 'wait_for: in block (")
    assert third.endswith("thread (?, 0, 0): it was interrupted before it had ended, at <source_text>:4')")
    assert last == "('ended', 100)"
