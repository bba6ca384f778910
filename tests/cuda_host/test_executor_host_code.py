"""Sources whose code would run on the host, outside of launches or of what CUDA has: refused before that."""

import numpy as np
import pytest

from minialex.errors import KernelError
from minialex.kernels import cuda_host

pytestmark = pytest.mark.needs_gxx

# ---- Initialisation at run time: CUDA has none -----------------------------------------------------------

INITIALISED = {
    "a constructor": (
        "struct Q { int a; Q() { volatile int z = 0; a = 5 / z; } };\n__device__ Q q;\n{kernel}",
        r"^<source_text>:2: q would be initialised at run time\. CUDA initialises no variable at run time",
    ),
    "a function": (
        "__device__ int f() { return (int)clock64(); }\n__device__ int x = 3;\n"
        "__device__ __constant__ int y = f();\n{kernel}",
        r"^<source_text>:3: y would be initialised at run time",
    ),
    "an array in shared memory": (
        "struct Q { int a; Q() { a = 5; a /= clock64(); } };\n"
        "__global__ void s(int* y) {\n__shared__ Q raw[4];\n*y = raw[1].a; }\n{kernel}",
        r"^<source_text>:3: .*raw.* would be initialised at run time",
    ),
    "a destructor": (
        "struct Q { int a; ~Q() { a = a / 0; } };\n__device__ Q q;\n{kernel}",
        r"^<source_text>: code would run when it is loaded",
    ),
    "no qualifier": (
        "int f();\nint x = f();\nint f() { return x / 0; }\n{kernel}",
        r"^<source_text>: code would run when it is loaded",
    ),
    "an attribute": (
        "__attribute__((constructor)) void f() { volatile int x = 0; x = 1 / x; }\n{kernel}",
        r"^<source_text>: code would run when it is loaded",
    ),
}


@pytest.mark.parametrize("checked", [False, True])
@pytest.mark.parametrize("name", INITIALISED)
def test_what_would_be_initialised_at_run_time_is_refused(name, checked):
    """It ran when the library was loaded, where a fault ended the process."""
    text, message = INITIALISED[name]
    text = text.replace("{kernel}", "__global__ void k(int* y) { *y = 1; }")

    with pytest.raises(KernelError, match=message) as failure:
        cuda_host.load(source_text=text, checked=checked)

    assert "\n" not in str(failure.value)


CONSTANT = """
struct Empty { int a; __device__ Empty() {} };
struct Known { int a; constexpr Known(int a) : a(a) {} };
__device__ Empty empty[2];
__device__ __constant__ Known known{3};
__device__ constexpr int fixed = 4;
extern __device__ int later;
__device__ int later = 5;
template <class T> __device__ T of_type() { __shared__ Empty shared[2]; return T(shared[1].a); }
__global__ void k(int* y)
{
    __shared__ Empty shared[2];
    y[0] = empty[1].a + shared[0].a + of_type<int>();
    y[1] = known.a;
    y[2] = fixed;
    y[3] = later;
}
"""


def test_empty_constructors_and_known_values_are_taken_as_in_cuda():
    y = np.ones(4, np.int32)

    cuda_host.load(source_text=CONSTANT)["k"](1, 1, (y,))

    assert y.tolist() == [0, 3, 4, 5]
