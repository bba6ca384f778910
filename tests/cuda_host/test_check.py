"""`check`: its arguments, what it does to arrays, and what it says."""

import numpy as np
import pytest

from minialex.errors import KernelError
from minialex.kernels import cuda_host

pytestmark = pytest.mark.needs_gxx

SOURCE = """
extern "C" __global__ void add_neighbour(const float* x, float* y, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) y[i] += x[i] + x[(i + 1) % n];
}

extern "C" __global__ void copy_vectors(const float* x, float* y, int n) {
    int i = threadIdx.x;
    if (4 * i < n) ((float4*)y)[i] = ((const float4*)x)[i];
}

extern "C" __global__ void shift_by_one(const float* x, float* y, int n) {
    int i = threadIdx.x;
    if (i < n) y[i + 1] = x[i];
}

extern "C" __global__ void overwrite(const float* x, float* y, int n) {
    if (threadIdx.x < n) ((float*)x)[threadIdx.x] = 7;
}

extern "C" __global__ void reverse(float* x, int n) {
    extern __shared__ float tile[];
    tile[threadIdx.x] = x[threadIdx.x];
    __syncthreads();
    x[threadIdx.x] = tile[n - 1 - threadIdx.x];
}

extern "C" __global__ void bytes_of_words(unsigned char* x, int n) {
    if (threadIdx.x < n) x[threadIdx.x] = threadIdx.x;
}

extern "C" __global__ void bytes_of_floats(float* x, int n) {
    ((unsigned char*)x)[threadIdx.x] = 1;
}

extern "C" __global__ void same_byte_of_floats(float* x, int n) {
    ((unsigned char*)x)[threadIdx.x / 2] = 1;
}

extern "C" __global__ void doubles(const double* x, double* y, int n) {
    if (threadIdx.x < n) y[threadIdx.x] = x[threadIdx.x];
}
"""


@pytest.fixture(scope="module")
def module():
    return cuda_host.load(source_text=SOURCE)


def _line(text: str) -> int:
    return next(i for i, line in enumerate(SOURCE.splitlines(), start=1) if text in line)


def _arrays(n=100):
    return np.arange(n, dtype=np.float32), np.zeros(n, np.float32), np.int32(n)


def test_results_are_in_the_arrays_as_after_a_launch(module):
    x, y, n = _arrays()

    report = cuda_host.check(module["add_neighbour"], (2,), (64,), (x, y, n))

    assert report.findings == []
    np.testing.assert_array_equal(y, x + np.roll(x, -1))


@pytest.mark.parametrize("named", [("y",), (1,), "y", 1], ids=repr)
def test_a_read_of_an_array_that_is_named_uninitialised(module, named):
    report = cuda_host.check(module["add_neighbour"], (2,), (64,), _arrays(), uninitialised=named)

    [finding] = report.findings
    assert (finding.kind, finding.line) == ("uninitialised", _line("y[i] += x[i]"))
    assert "y[0]" in finding.message


@pytest.mark.parametrize("named", [("z",), (3,), (-1,), ("n",), (2,)], ids=repr)
def test_uninitialised_must_name_an_array(module, named):
    with pytest.raises(
        KernelError, match=r"uninitialised must be (parameters of the kernel, 0 to 2, |arrays, and )"
    ):
        cuda_host.check(module["add_neighbour"], (2,), (64,), _arrays(), uninitialised=named)


def test_arguments_are_checked_as_in_a_launch(module):
    x, y, _ = _arrays()
    with pytest.raises(KernelError, match="int32"):
        cuda_host.check(module["add_neighbour"], (2,), (64,), (x, y, 100))
    with pytest.raises(KernelError, match="3"):
        cuda_host.check(module["add_neighbour"], (2,), (64,), (x, y))
    with pytest.raises(KernelError, match="contiguous"):
        cuda_host.check(module["add_neighbour"], (2,), (64,), (x[::2], y[:50], np.int32(50)))

    # And the checker can be used again.
    assert cuda_host.check(module["add_neighbour"], (2,), (64,), _arrays()).findings == []


def test_arrays_that_share_memory_are_one_array_for_the_kernel(module):
    """In place and shifted: thread 31's write is thread 32's read."""
    memory = np.arange(65, dtype=np.float32)

    report = cuda_host.check(module["shift_by_one"], (1,), (64,), (memory, memory, np.int32(64)))

    assert {finding.kind for finding in report.findings} == {"race"}
    apart = np.arange(64, dtype=np.float32), np.zeros(65, np.float32), np.int32(64)
    assert cuda_host.check(module["shift_by_one"], (1,), (64,), apart).findings == []


def test_out_of_bounds_is_told_by_the_array_and_not_by_what_lies_behind_it(module):
    memory = np.zeros(128, np.float32)
    x, y = memory[:64], memory[64:127].copy()

    report = cuda_host.check(module["shift_by_one"], (1,), (64,), (x, y, np.int32(63)))

    [finding] = report.findings
    assert finding.kind == "out-of-bounds"
    assert "y[63]" in finding.message
    np.testing.assert_array_equal(memory, 0)


def test_a_view_is_as_aligned_as_it_would_be_on_a_gpu(module):
    memory, y = np.arange(68, dtype=np.float32), np.zeros(64, np.float32)

    shifted = cuda_host.check(module["copy_vectors"], (1,), (16,), (memory[1:65], y, np.int32(64)))
    by_four = cuda_host.check(module["copy_vectors"], (1,), (16,), (memory[4:], y, np.int32(64)))

    assert [finding.kind for finding in shifted.findings] == ["misaligned"]
    assert by_four.findings == []
    # A vector of the view that starts 16 bytes into a sector: 64 floats touch nine sectors, not eight.
    load = next(access for access in by_four.accesses if access.operation == "load")
    assert (load.sectors, load.ideal_sectors) == (9, 8)


def test_an_array_of_a_const_pointer_is_never_changed(module):
    x, y, n = _arrays(32)
    before = x.copy()

    report = cuda_host.check(module["overwrite"], (1,), (32,), (x, y, n))

    assert [(finding.kind, finding.line) for finding in report.findings] == [("const-write", _line("= 7;"))]
    np.testing.assert_array_equal(x, before)


def test_dynamic_shared_memory_has_bounds_too(module):
    x = np.arange(64, dtype=np.float32)

    enough = cuda_host.check(module["reverse"], (1,), (64,), (x, np.int32(64)), shared_mem=256)

    assert enough.findings == []
    np.testing.assert_array_equal(x, np.arange(64)[::-1])
    short = cuda_host.check(module["reverse"], (1,), (64,), (x, np.int32(64)), shared_mem=252)
    assert ("out-of-bounds", _line("tile[threadIdx.x] = x")) in {(f.kind, f.line) for f in short.findings}


def test_neighbours_may_write_the_bytes_of_one_word(module):
    assert (
        cuda_host.check(module["bytes_of_words"], 1, 61, (np.zeros(61, np.uint8), np.int32(61))).findings
        == []
    )
    words = np.zeros(16, np.float32)
    assert cuda_host.check(module["bytes_of_floats"], 1, 64, (words, np.int32(16))).findings == []

    twice = cuda_host.check(module["same_byte_of_floats"], 1, 64, (words, np.int32(16)))

    assert [finding.kind for finding in twice.findings] == ["race"]


def test_an_empty_array_has_no_element(module):
    empty = np.zeros(0, np.float64)

    assert cuda_host.check(module["doubles"], 1, 32, (empty, empty.copy(), np.int32(0))).findings == []
    report = cuda_host.check(module["doubles"], 1, 32, (empty, empty.copy(), np.int32(1)))

    assert [finding.kind for finding in report.findings] == ["out-of-bounds"]


def test_eight_bytes_a_lane_are_eight_sectors_a_warp(module):
    x, y = np.ones(32), np.zeros(32)

    load, store = cuda_host.check(module["doubles"], 1, 32, (x, y, np.int32(32))).accesses

    assert (load.sectors, load.ideal_sectors, store.sectors, store.ideal_sectors) == (8, 8, 8, 8)


def test_the_report_as_text(module):
    report = cuda_host.check(module["shift_by_one"], (1,), (64,), (*_arrays(64)[:2], np.int32(64)))

    text = str(report)

    assert "shift_by_one: 1 finding" in text
    assert (
        f"{_line('y[i + 1] = x[i]')}: out-of-bounds: thread (63, 0, 0) of block (0, 0, 0) writes y[64]"
        in text
    )
    assert "100%" in text
    assert report.coalescing == report.accesses[0].ideal_sectors / sum(a.sectors for a in report.accesses) + (
        report.accesses[1].ideal_sectors / sum(a.sectors for a in report.accesses)
    )


def test_a_header_of_the_user_is_where_the_finding_is(tmp_path):
    (tmp_path / "copy.cuh").write_text(
        "__device__ void copy_one(const float* x, float* y, int i) {\n    y[i] = x[i];\n}\n"
    )
    (tmp_path / "their.cu").write_text(
        '#include "copy.cuh"\nextern "C" __global__ void copy(const float* x, float* y) {\n'
        "    copy_one(x, y, threadIdx.x);\n}\n"
    )
    kernel = cuda_host.load(tmp_path / "their.cu")["copy"]

    report = cuda_host.check(kernel, 1, 33, (np.zeros(33, np.float32), np.zeros(32, np.float32)))

    [finding] = report.findings
    assert (finding.kind, finding.file, finding.line) == ("out-of-bounds", str(tmp_path / "copy.cuh"), 2)
