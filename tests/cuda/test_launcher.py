"""The launcher: what it hands on, and each thing that it refuses before anything runs."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minialex.errors import DeviceError, KernelError
from minialex.kernels.cuda import Source, blocks_for
from minialex.kernels.cuda.host import HostDevice

TEXT = """
typedef float real;
extern "C" __global__ void __launch_bounds__(256) scale(const real* __restrict__ x, real* y, real a, int n) {}
extern "C" __global__ void scalars(float f, double d, int i, unsigned int u, long long l,
                                   unsigned long long v) {}
extern "C" __global__ void bytes(const unsigned char* mask, int* index) {}
extern "C" __global__ void copies(const real* x, real* y) {}
extern "C" __global__ void nothing() {}
"""


class Recorder(HostDevice):
    """Keeps what it would run."""

    def __init__(self):
        self.launches = []

    def run(self, kernel, launch):
        self.launches.append((kernel.name, launch))


@pytest.fixture
def device():
    return Recorder()


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    path = tmp_path_factory.mktemp("source") / "scale.cu"
    path.write_text(TEXT)
    return Source(path, "scale.cu")


@pytest.fixture
def launch(device, source):
    """Launch ``scale`` with arguments that fit, but for those that are given."""

    def launch(grid=1, block=32, **changed):
        arguments = {
            "x": np.ones(6, np.float32),
            "y": np.ones(6, np.float32),
            "a": 2.0,
            "n": 6,
        } | changed
        device.launch(source["scale"], grid, block, *arguments.values())
        return device.launches[-1][1] if device.launches else None

    return launch


@pytest.fixture
def assert_refused(launch, device):
    """Check that a launch is refused with a message that holds every text, and that nothing was run."""

    def assert_refused(*says, error=KernelError, **arguments):
        with pytest.raises(error) as raised:
            launch(**arguments)
        message = str(raised.value)
        assert message.startswith("scale")
        for text in says:
            assert text in message
        assert not device.launches

    return assert_refused


# What is handed on


def test_a_launch_gets_three_axes_and_scalars_of_the_declared_types(launch, device):
    x, y = np.ones((2, 3), np.float32), np.empty(6, np.float32)
    found = launch(grid=(3, 2), block=[8, 4], x=x, y=y, a=1, n=6)
    assert (found.grid, found.block, found.real) == ((3, 2, 1), (8, 4, 1), np.float32)
    assert found.args[0] is x
    assert found.args[1] is y
    assert [(type(a), a) for a in found.args[2:]] == [(np.float32, 1.0), (np.int32, 6)]
    assert device.launches[0][0] == "scale"


def test_real_is_the_dtype_of_the_arrays(launch):
    found = launch(x=np.ones(2), y=np.ones(2), a=0.1)
    assert found.real == np.float64
    assert (type(found.args[2]), found.args[2]) == (np.float64, 0.1)


def test_every_scalar_type_is_made_exactly(device, source):
    device.launch(source["scalars"], 1, 1, 0.1, 0.1, -(2**31), 2**32 - 1, -(2**63), 2**64 - 1)
    (_, found) = device.launches[0]
    expected = [np.float32(0.1), np.float64(0.1), np.int32(-(2**31)), np.uint32(2**32 - 1)]
    expected += [np.int64(-(2**63)), np.uint64(2**64 - 1)]
    assert [(type(a), a) for a in found.args] == [(type(a), a) for a in expected]


def test_a_numpy_scalar_of_the_declared_type_is_taken_as_it_is(launch):
    found = launch(a=np.float32(0.1), n=np.int32(3))
    assert [(type(a), a) for a in found.args[2:]] == [(np.float32, np.float32(0.1)), (np.int32, 3)]


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan")])
def test_a_float_that_is_not_finite_is_handed_on(launch, value):
    np.testing.assert_equal(launch(a=value).args[2], np.float32(value))


@pytest.mark.parametrize("grid", [0, (0, 3), (3, 0, 1), (1, 1, 0)])
def test_a_grid_without_blocks_runs_nothing(launch, device, grid):
    launch(grid=grid)
    assert not device.launches


def test_the_arguments_of_a_grid_without_blocks_are_checked_all_the_same(assert_refused):
    assert_refused("a is declared", grid=0, a="2")


def test_empty_arrays_are_arguments_like_others(launch):
    assert launch(x=np.empty((0, 3), np.float32), y=np.empty(0, np.float32)).args[0].shape == (0, 3)


def test_a_read_only_array_may_be_given_for_const(launch):
    x = np.ones(3, np.float32)
    x.flags.writeable = False
    assert launch(x=x).args[0] is x


@given(st.integers(0, 2**31), st.integers(1, 1024))
def test_blocks_for_is_the_least_number_of_blocks_up_to_the_limit(n, threads):
    blocks = blocks_for(n, threads)
    assert 0 <= blocks <= 65535
    if blocks < 65535:
        assert (blocks - 1) * threads < n <= blocks * threads
    else:
        assert n > 65534 * threads


# Arguments


def test_too_few_and_too_many_arguments(device, source):
    x = np.ones(3, np.float32)
    for arguments in ((x, x, 1.0), (x, x, 1.0, 3, 3), ()):
        with pytest.raises(
            KernelError,
            match=rf"scale takes 4 arguments, not {len(arguments)}: scale\(const real\* x, real\* y",
        ):
            device.launch(source["scale"], 1, 1, *arguments)
    assert not device.launches


@pytest.mark.parametrize("dtype", [np.float16, np.int32, np.uint8, np.bool_, np.complex64, ">f4"])
def test_an_array_of_another_dtype(assert_refused, dtype):
    assert_refused("x is declared const real*", str(np.dtype(dtype)), x=np.ones(6, dtype))


def test_arrays_of_two_real_types(assert_refused):
    assert_refused("one dtype", "x of float32 and y of float64", y=np.ones(6))


def test_an_array_of_another_integer_type(device, source):
    mask, index = np.ones(3, np.uint8), np.ones(3, np.int64)
    with pytest.raises(KernelError, match=r"index is declared int\*; got an array of int64, not int32"):
        device.launch(source["bytes"], 1, 1, mask, index)
    with pytest.raises(KernelError, match=r"mask is declared const unsigned char\*; got an array of bool"):
        device.launch(source["bytes"], 1, 1, mask.astype(bool), index.astype(np.int32))


@pytest.mark.parametrize("value", [1.0, 3, None, [1.0, 2.0], "x", np.float32(1)])
def test_something_that_is_not_an_array(assert_refused, value):
    assert_refused("x is declared const real*; got", x=value)


def test_an_array_of_another_library(assert_refused):
    class Foreign:
        """As an array of CuPy looks to the launcher."""

        dtype = np.dtype(np.float32)
        flags = np.ones(1).flags
        size, shape = 6, (6,)

    Foreign.__module__ = "cupy.core"
    assert_refused(
        "x must be an array of device 'cuda-host', not a cupy Foreign", error=DeviceError, x=Foreign()
    )


@pytest.mark.parametrize(
    "view",
    [
        lambda a: a.T,
        lambda a: a[:, ::2],
        lambda a: a[::-1],
        lambda a: np.broadcast_to(a[0], a.shape),
        lambda a: a[:, 1:],
    ],
    ids=["transposed", "strided", "reversed", "broadcast", "cut"],
)
def test_a_view_that_is_not_contiguous(assert_refused, launch, device, view):
    x = view(np.arange(24, dtype=np.float32).reshape(4, 6))
    assert_refused("x is a view that is not C-contiguous", str(x.strides), "device.contiguous", x=x)
    copy = device.contiguous(x)
    assert launch(x=copy).args[0] is copy
    np.testing.assert_array_equal(copy, x)


def test_a_view_that_is_contiguous_but_not_aligned(assert_refused, launch, device):
    x = np.arange(9, dtype=np.float32)[1:]
    assert_refused("x starts at an address that is not a multiple of 16 bytes", x=x)
    assert launch(x=device.contiguous(x)).args[0].tolist() == x.tolist()


def test_contiguous_copies_nothing_that_can_be_launched(device):
    for x in (np.ones((2, 3)), np.ones(()), np.empty((0, 4)), np.arange(8.0)[2:]):
        assert device.contiguous(x) is x
    assert device.contiguous(np.ones((3, 4)).T).flags.c_contiguous


def test_a_read_only_array_for_what_is_written(assert_refused):
    y = np.ones(6, np.float32)
    y.flags.writeable = False
    assert_refused("y is declared real*, to be written; got a read-only array", y=y)


def test_too_many_elements(assert_refused):
    # Memory that is reserved and never touched.
    huge = np.empty(2**30 + 1, np.uint8)
    assert_refused("x has 1073741825 elements", "above 2**30", x=huge)


def test_arrays_that_overlap_one_that_is_written(assert_refused, launch, device, source):
    x = np.ones(32, np.float32)
    assert_refused("x and y share memory", "__restrict__", x=x, y=x)
    assert_refused("x and y share memory", x=x[:20], y=x[16:])
    assert launch(x=x[:16], y=x[16:]).args[1].base is x
    # In place is allowed where nothing else was promised.
    device.launch(source["copies"], 1, 1, x, x)
    assert len(device.launches) == 2


@pytest.mark.parametrize("value", [6.0, np.float32(6), "6", None, True, np.array(6), [6]])
def test_something_that_is_not_an_int_for_an_int(assert_refused, value):
    assert_refused("n is declared int; got", n=value)


@pytest.mark.parametrize("value", [2**31, -(2**31) - 1, 2**40])
def test_an_int_that_is_out_of_range(assert_refused, value):
    assert_refused("n is declared int", str(value), "out of its range: -2147483648 to 2147483647", n=value)


@pytest.mark.parametrize(
    ("position", "value"),
    [(2, 2**31), (3, -1), (3, 2**32), (4, 2**63), (5, -1), (5, 2**64), (0, 1e39), (1, 10**400)],
)
def test_each_type_has_its_range(device, source, position, value):
    arguments = [1.0, 1.0, 1, 1, 1, 1]
    arguments[position] = value
    with pytest.raises(KernelError, match="out of its range"):
        device.launch(source["scalars"], 1, 1, *arguments)
    assert not device.launches


@pytest.mark.parametrize("value", ["2", None, True, 1j, np.array(2.0), [2.0]])
def test_something_that_is_not_a_number_for_a_float(assert_refused, value):
    assert_refused("a is declared float; got", a=value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("a", np.float64(2)),
        ("a", np.float16(2)),
        ("a", np.int32(2)),
        ("n", np.int64(6)),
        ("n", np.uint32(6)),
        ("n", np.int16(6)),
        ("n", np.bool_(1)),
    ],
)
def test_a_numpy_scalar_of_another_type(assert_refused, name, value):
    assert_refused(f"{name} is declared", f"a scalar of {value.dtype}", **{name: value})


def test_a_float_scalar_has_the_type_of_the_arrays(launch):
    arrays = {"x": np.ones(2), "y": np.ones(2)}
    with pytest.raises(KernelError, match="a is declared double; got a scalar of float32"):
        launch(**arrays, a=np.float32(1))


# Grid and block


@pytest.mark.parametrize("argument", ["grid", "block"])
@pytest.mark.parametrize("value", [1.0, "1", None, True, (1, 2.0), (1, True), [None]])
def test_a_grid_or_block_that_is_not_made_of_ints(assert_refused, argument, value):
    assert_refused(f"{argument} must be one to three integers, not {value!r}", **{argument: value})


@pytest.mark.parametrize("argument", ["grid", "block"])
@pytest.mark.parametrize("value", [(), (1, 1, 1, 1)])
def test_a_grid_or_block_with_other_than_one_to_three_axes(assert_refused, argument, value):
    assert_refused(f"{argument} must be one to three integers, not {value!r}", **{argument: value})


@pytest.mark.parametrize(
    ("grid", "axis"), [(-1, "x"), (2**31, "x"), ((1, 65536), "y"), ((1, 1, 65536), "z"), ((1, -1), "y")]
)
def test_a_grid_beyond_the_limits(assert_refused, grid, axis):
    assert_refused("grid must be 0 to ", f" along {axis}, not {grid!r}", grid=grid, block=1)


@pytest.mark.parametrize(
    ("block", "says"),
    [
        (1025, "must be 0 to 1024 along x"),
        ((1, 1025), "must be 0 to 1024 along y"),
        ((1, 1, 65), "must be 0 to 64 along z"),
        (-1, "along x"),
        (0, "has 0 threads"),
        ((32, 0), "has 0 threads"),
        (512, "has 512 threads; it must have 1 to 256, as its __launch_bounds__(256) says"),
        ((32, 16), "has 512 threads"),
    ],
)
def test_a_block_beyond_the_limits(assert_refused, block, says):
    assert_refused(says, block=block)


def test_a_block_of_a_kernel_without_launch_bounds(device, source):
    device.launch(source["nothing"], 1, 1024)
    with pytest.raises(KernelError, match=r"block=\(32, 64, 1\) has 2048 threads; it must have 1 to 1024"):
        device.launch(source["nothing"], 1, (32, 64))
    assert len(device.launches) == 1


def test_threads_that_an_int_index_could_not_count(assert_refused, launch):
    assert_refused("threads along x", "above 2**30", grid=2**30 // 256 + 1, block=256)
    assert launch(grid=2**30 // 256, block=256).grid == (2**22, 1, 1)
