"""Vectors and structures as arguments of a kernel: by value, from pointers, and what is refused."""

import re

import numpy as np
import pytest

from minialex.errors import KernelError
from minialex.kernels import cuda_host

pytestmark = pytest.mark.needs_gxx

SOURCE = r"""
namespace space {
struct Particle { char kind; double mass; float3 at; short charges[3]; };
}
using space::Particle;

enum Mode : unsigned char { ADD, SUBTRACT = 7 };

template <class T, int N>
struct Few { T values[N]; };

extern "C" __global__ void vectors(
    float3 v, int after, dim3 d, double2 w, uchar4 u, long long last, double* y)
{
    const double all[] = {v.x, v.y, v.z, double(after), double(d.x), double(d.y), double(d.z), w.x, w.y,
                          double(u.x), double(u.y), double(u.z), double(u.w), double(last)};
    y[threadIdx.x] = all[threadIdx.x];
}

extern "C" __global__ void structures(
    int before, const Particle p, Few<short, 5> few, Mode mode, float after, double* y)
{
    const double all[] = {double(before), double(p.kind), p.mass, p.at.x, p.at.y, p.at.z,
                          double(p.charges[0]), double(p.charges[2]), double(few.values[0]),
                          double(few.values[4]), double(mode), after};
    y[threadIdx.x] = all[threadIdx.x];
}

extern "C" __global__ void move(Particle* particles, const float3* by, int n)
{
    const int i = threadIdx.x;
    if (i >= n) return;
    particles[i].at.x += by[i].x;
    particles[i].at.z += by[i].z;
    particles[i].charges[1] = i;
}

// The kernel's own copy: what one thread writes is not what others read.
extern "C" __global__ void own_copy(float4 v, float* y)
{
    v.y += threadIdx.x;
    y[threadIdx.x] = v.y;
}
"""

PARTICLE = np.dtype([("kind", "i1"), ("mass", "f8"), ("at", "f4", 3), ("charges", "i2", (3,))], align=True)
POINT = np.dtype([("x", "f4"), ("y", "f4"), ("z", "f4")])
FEW = np.dtype([("values", "i2", 5)])


@pytest.fixture(scope="module")
def module():
    return cuda_host.load(source_text=SOURCE)


def _vectors() -> tuple:
    """Arguments of `vectors`, without y."""
    return (
        np.array([1.5, -2, 3], np.float32),
        np.int32(-4),
        np.array([5, 6, 4000000000], np.uint32),
        np.array([7.25, 1e300]),
        np.array([8, 9, 255, 0], np.uint8),
        np.int64(-(2**40)),
    )


EXPECTED = [1.5, -2, 3, -4, 5, 6, 4000000000, 7.25, 1e300, 8, 9, 255, 0, -(2**40)]


def test_vectors_from_arrays(module):
    y = np.zeros(14)

    module["vectors"](1, 14, (*_vectors(), y))

    np.testing.assert_array_equal(y, EXPECTED)


def test_vectors_from_structured_scalars(module):
    point, after, dims, _, _, last = _vectors()
    y = np.zeros(14)
    args = (
        np.array(tuple(point), POINT)[()],
        after,
        np.array(tuple(dims), [("x", "u4"), ("y", "u4"), ("z", "u4")])[()],
        np.array(((7.25, 1e300),), [("re_im", "f8", 2)])[()],
        np.array(((8, 9), (255, 0)), [("low", [("a", "u1"), ("b", "u1")]), ("high", "u1", 2)])[()],
        last,
        y,
    )

    module["vectors"](1, 14, args)

    np.testing.assert_array_equal(y, EXPECTED)


def _particle(dtype=PARTICLE) -> np.void:
    return np.array((-3, 1e200, (0.5, 1.5, 2.5), (10, 20, -30)), dtype)[()]


def test_structures_from_structured_scalars(module):
    y = np.zeros(12)
    few = np.array(((1, 2, 3, 4, -5),), FEW)[()]

    module["structures"](1, 12, (np.int32(11), _particle(), few, np.uint8(7), np.float32(0.25), y))

    np.testing.assert_array_equal(y, [11, -3, 1e200, 0.5, 1.5, 2.5, 10, -30, 1, -5, 7, 0.25])


def test_parameters_are_told_as_the_source_has_them(module):
    assert module["vectors"].parameters[:4] == [
        ("v", "float3"),
        ("after", "int"),
        ("d", "dim3"),
        ("w", "double2"),
    ]
    assert module["structures"].parameters[1:4] == [
        ("p", "space::Particle"),
        ("few", "Few<short int, 5>"),
        ("mode", "unsigned char"),
    ]
    assert module["move"].parameters[:2] == [("particles", "space::Particle*"), ("by", "const float3*")]
    assert [each.bytes for each in module["structures"].signature] == [4, PARTICLE.itemsize, 10, 1, 4, 8]


@pytest.mark.parametrize("checked", [False, True])
def test_arrays_of_structures(module, checked):
    particles = np.zeros(5, PARTICLE)
    particles["at"] = np.arange(15).reshape(5, 3)
    by = np.random.default_rng(0).integers(0, 100, (5, 3)).astype(np.float32)
    args = (particles, by, np.int32(5))

    if checked:
        assert cuda_host.check(module["move"], 1, 8, args).findings == []
    else:
        module["move"](1, 8, args)

    expected = np.arange(15).reshape(5, 3) + by * [1, 0, 1]
    np.testing.assert_array_equal(particles["at"], expected)
    np.testing.assert_array_equal(particles["charges"], [[0, i, 0] for i in range(5)])


@pytest.mark.parametrize("checked", [False, True])
def test_each_thread_has_a_copy_of_its_own(module, checked):
    vector, y = np.array([1, 2, 3, 4], np.float32), np.zeros(40, np.float32)

    if checked:
        assert cuda_host.check(module["own_copy"], 1, 40, (vector, y), uninitialised=("y",)).findings == []
    else:
        module["own_copy"](1, 40, (vector, y))

    np.testing.assert_array_equal(y, 2 + np.arange(40))
    np.testing.assert_array_equal(vector, [1, 2, 3, 4])


def test_a_value_is_nothing_that_can_be_uninitialised(module):
    args = (np.zeros(4, np.float32), np.zeros(8, np.float32))
    with pytest.raises(KernelError, match="uninitialised must be arrays, and 'v' is"):
        cuda_host.check(module["own_copy"], 1, 8, args, uninitialised=("v",))


# ---- What is refused ------------------------------------------------------------------


_UNALIGNED = np.dtype([(name, PARTICLE[name]) for name in PARTICLE.names])
_SWAPPED = np.dtype(
    {"names": ["a", "b"], "formats": [">f8", "V0"], "offsets": [0, 0], "itemsize": PARTICLE.itemsize}
)


@pytest.mark.parametrize(
    ("number", "value", "message"),
    [
        (
            0,
            np.float32(1),
            r"(float3 v): its type is float32; give an array of shape (3,) and dtype float32, or",
        ),
        (0, 1.0, "(float3 v): it is a float; give an array"),
        (0, None, "(float3 v): it is a NoneType; give an array"),
        (0, (1.0, 2.0, 3.0), "(float3 v): it is a tuple; give an array"),
        (0, np.zeros(3), "(float3 v): it is a ndarray of shape (3,) and dtype float64; give"),
        (0, np.zeros(4, np.float32), "(float3 v): it is a ndarray of shape (4,) and dtype float32; give"),
        (0, np.zeros((1, 3), np.float32), "(float3 v): it is a ndarray of shape (1, 3)"),
        (0, np.zeros(1, "V12")[0], "(float3 v): its type is |V12; give an array"),
        (0, np.zeros(1, "i4,f4,f4")[0], "(float3 v): its type is [('f0', '<i4')"),
        (0, np.zeros(1, ">f4,>f4,>f4")[0], "(float3 v): its type is [('f0', '>f4')"),
        (2, np.int32(1), "(dim3 d): its type is int32; give an array of shape (3,) and dtype uint32"),
        (2, np.zeros(3, np.int32), "(dim3 d): it is a ndarray of shape (3,) and dtype int32"),
    ],
)
def test_what_is_no_vector(module, number, value, message):
    args = [*_vectors(), np.zeros(14)]
    args[number] = value

    with pytest.raises(KernelError, match=re.escape(f"vectors: argument {number} {message}")) as failure:
        module["vectors"](1, 14, args)

    assert "\n" not in str(failure.value)
    assert not args[-1].any()


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (
            np.float64(1),
            f"its type is float64; give a structured scalar (np.void) of {PARTICLE.itemsize} bytes",
        ),
        (np.zeros((), PARTICLE), "it is a ndarray of shape ()"),
        ((1, 2), "it is a tuple; give a structured scalar"),
        (
            _particle(_UNALIGNED),
            f"has {_UNALIGNED.itemsize} bytes, and the structure has {PARTICLE.itemsize}; with "
            "np.dtype([...], align=True) fields lie where a compiler puts them",
        ),
        (np.zeros(1, _SWAPPED)[0], "has fields that are not numbers in the processor's byte order"),
    ],
)
def test_what_is_no_structure(module, value, message):
    y = np.zeros(12)
    few = np.zeros(1, FEW)[0]

    with pytest.raises(KernelError) as failure:
        module["structures"](1, 12, (np.int32(11), value, few, np.uint8(7), np.float32(0.25), y))

    assert str(failure.value).startswith("structures: argument 1 (space::Particle p): ")
    assert message in str(failure.value)
    assert not y.any()


@pytest.mark.parametrize(
    ("particles", "message"),
    [
        (np.zeros(5, np.float32), "the array's dtype must be a structured one of .* bytes, not float32"),
        (np.zeros(5, _UNALIGNED), f"has {_UNALIGNED.itemsize} bytes, and the structure has"),
        (np.zeros(10, PARTICLE)[::2], "is not C-contiguous"),
    ],
)
def test_what_is_no_array_of_structures(module, particles, message):
    with pytest.raises(KernelError, match=message):
        module["move"](1, 8, (particles, np.zeros((5, 3), np.float32), np.int32(5)))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("__global__ void k(const int& n) {}", "a kernel's parameter cannot be a reference"),
        (
            "struct S { int i; S(const S& s) : i(s.i) {} };\n__global__ void k(S s) {}",
            r"<source_text>:2:(.|\n)*must be one whose bytes can be copied",
        ),
        (
            "__global__ void k(float** rows) {}",
            "must be a number, a vector or a structure, or a pointer to",
        ),
    ],
)
def test_parameters_that_are_refused(text, message):
    with pytest.raises(KernelError, match=message):
        cuda_host.load(source_text=text)
