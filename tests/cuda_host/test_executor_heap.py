"""malloc, free, new and delete in kernels."""

import numpy as np
import pytest

from minialex.errors import KernelError
from minialex.kernels import cuda_host

pytestmark = pytest.mark.needs_gxx

SOURCE = r"""
__device__ float* kept;
__device__ int freed;

__global__ void take(int n)
{
    kept = static_cast<float*>(malloc(n * sizeof(float)));
    for (int i = 0; i < n; ++i) kept[i] = 2 * i;
}
__global__ void use(float* y) { y[threadIdx.x] = kept[threadIdx.x]; }
__global__ void give()
{
    if (threadIdx.x == 3) free(kept);
}

struct Node {
    int value;
    Node* next;
    __device__ Node(int value, Node* next) : value(value), next(next) {}
    __device__ ~Node() { atomicAdd(&freed, 1); }
};
__global__ void lists(int* y)
{
    Node* head = nullptr;
    for (int i = 0; i < 10; ++i) head = new Node(i * int(threadIdx.x), head);
    __syncthreads();
    int sum = 0;
    while (head) {
        Node* const next = head->next;
        sum += head->value;
        delete head;
        head = next;
    }
    long long* const squares = new long long[5];
    for (int i = 0; i < 5; ++i) squares[i] = i * i;
    Node* const nodes = static_cast<Node*>(malloc(sizeof(Node)));
    y[blockIdx.x * blockDim.x + threadIdx.x] = sum + int(squares[4]);
    delete[] squares;
    free(nodes);
    free(nullptr);
    delete static_cast<Node*>(nullptr);
}

__global__ void too_much(int* y, size_t bytes)
{
    y[0] = malloc(bytes) == nullptr;
    y[1] = new char[bytes] == nullptr;
}

__global__ void mistakes(int* y)
{
    int* const mine = new int[3];
    mine[0] = 7;
    if (threadIdx.x == 0) mine[3] = 1;
    if (threadIdx.x == 1) y[0] = mine[2];
    if (threadIdx.x == 2) mine[-1] = 1;
    if (threadIdx.x == 3) {
        delete[] mine;
        y[3] = mine[0];
    }
    if (threadIdx.x == 4) free(y);
    if (threadIdx.x == 5) {
        delete[] mine;
        delete[] mine;
    }
    if (threadIdx.x == 6) kept = reinterpret_cast<float*>(mine);
    __syncthreads();
    if (threadIdx.x == 7) *kept = 1;
    if (threadIdx.x == 8) *kept = 2;
}
"""


@pytest.fixture(scope="module")
def module():
    return cuda_host.load(source_text=SOURCE)


def _line(text: str) -> int:
    return SOURCE[: SOURCE.index(text)].count("\n") + 1


def test_what_a_thread_takes_stays_until_it_is_given_back(module):
    y = np.zeros(30, np.float32)

    module["take"](1, 1, (np.int32(30),))
    module["use"](1, 30, (y,))
    module["give"](1, 4, ())

    np.testing.assert_array_equal(y, 2 * np.arange(30))
    with pytest.raises(KernelError) as failure:
        module["give"](1, 4, ())
    assert str(failure.value) == (
        "give: in block (0, 0, 0): thread (3, 0, 0): free() or delete of memory that malloc() or new did not "
        f"give, or that was given back before, at <source_text>:{_line('free(kept)')}"
    )


def test_threads_build_lists(module):
    y = np.zeros(20 * 64, np.int32)
    module.get_global("freed")[...] = 0

    module["lists"](20, 64, (y,))

    np.testing.assert_array_equal(y, np.tile(45 * np.arange(64) + 16, 20))
    assert module.get_global("freed") == 20 * 64 * 10


def test_there_is_no_memory_for_too_much(module):
    y = np.zeros(2, np.int32)
    module["too_much"](1, 1, (y, np.uint64(2**61)))
    assert (y == 1).all()


def test_the_checker_finds_nothing_in_right_lists(module):
    assert cuda_host.check(module["lists"], 2, 40, (np.zeros(80, np.int32),)).findings == []


def test_the_checker_finds_mistakes_with_the_heap(module):
    report = cuda_host.check(module["mistakes"], 1, 9, (np.zeros(9, np.int32),))

    found = {finding.line: (finding.kind, finding.message) for finding in report.findings}
    expected = {
        "mine[3] = 1": (
            "out-of-bounds",
            "writes memory from malloc() at byte 12, 4 bytes that are not in it",
        ),
        "y[0] = mine[2]": (
            "uninitialised",
            "reads memory from malloc() at byte 8, which no thread has written",
        ),
        "mine[-1] = 1": ("out-of-bounds", "in no array"),
        "y[3] = mine[0]": ("heap", "reads memory from malloc() at byte 0, which was freed"),
        "free(y)": ("heap", "which malloc() or new did not give"),
        "delete[] mine;\n    }\n    if (threadIdx.x == 6)": ("heap", "which was freed before"),
        "*kept = 2": ("race", "memory from malloc() at byte 0, which thread (7, 0, 0) writes"),
    }
    assert sorted(found) == sorted(map(_line, expected))
    for text, (kind, message) in expected.items():
        assert found[_line(text)][0] == kind
        assert message in found[_line(text)][1]
