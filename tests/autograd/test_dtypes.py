"""What a tensor can hold, and what an operation takes: the right values, or one line that says what to do."""

import numpy as np
import pytest

import minialex as ma
import minialex.functional as F
from minialex import kernels, operations
from minialex.errors import KernelError
from minialex.kernels import find_kernel

DEVICES = ["cpu", pytest.param("cuda-host", marks=pytest.mark.needs_gxx)]
INTEGERS = [np.int8, np.uint8, np.int32, np.int64, np.uint64]


# What a tensor holds


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.bool_, *INTEGERS])
def test_the_dtypes_that_a_tensor_holds(dtype, device):
    array = np.array([[0, 1], [1, 0]], dtype)
    for make in (ma.Tensor, ma.tensor):
        np.testing.assert_array_equal(make(array, device=device).numpy(), array, strict=True)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", ["f4", "f8", "i2", "i8", "u4"])
def test_an_array_in_the_other_byte_order_gives_its_values(dtype, device):
    native = np.array([1, 2, 250], dtype)
    for order in "<>":
        swapped = native.astype(np.dtype(dtype).newbyteorder(order))
        for make in (ma.Tensor, ma.tensor):
            np.testing.assert_array_equal(make(swapped, device=device).numpy(), native, strict=True)
    assert (ma.Tensor(native) == native.astype(np.dtype(dtype).newbyteorder())).all()
    assert (ma.Tensor(native) * native.astype(np.dtype(dtype).newbyteorder()) == native * native).all()


@pytest.mark.parametrize("dtype", [np.float16, np.longdouble])
def test_floats_of_other_sizes_are_refused_with_advice(dtype):
    message = rf"holds float32, float64, integers or bools, not {np.dtype(dtype)}; convert it with \.astype"
    for make in (ma.Tensor, ma.tensor, lambda a: ma.tensor([1.0], dtype=dtype)):
        with pytest.raises(TypeError, match=message):
            make(np.ones(2, dtype))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (np.ones(2, np.complex64), "integers or bools, not complex64$"),
        (1j, "not complex128$"),
        ("abc", "not <U3$"),
        (["a", 1], "not <U"),
        (b"abc", r"not \|S3$"),
        (np.array(["2020-01-01"], "M8[D]"), r"not datetime64\[D\]$"),
        (np.zeros(2, [("a", "f4")]), "integers or bools, not "),
        (None, "not a number, or rows of unequal length"),
        ([1, None], "not a number, or rows of unequal length"),
        ([[1], [1, 2]], "not a number, or rows of unequal length"),
        ([[1.0], 2.0], "not a number, or rows of unequal length"),
        ([np.ones((2, 2)), np.ones(3)], "not a number, or rows of unequal length"),
        (np.ma.array([1.0, 2.0], mask=[True, False]), r"masked array.*\.filled\(value\)"),
    ],
)
def test_what_holds_no_real_numbers_is_refused(data, message):
    for make in (ma.Tensor, ma.tensor):
        with pytest.raises(TypeError, match=message):
            make(data)


# Operands


@pytest.mark.parametrize("use", [np.add, np.equal, np.less, lambda t, a: F.cross_entropy(t[None], a[None])])
def test_the_mask_of_an_operand_is_not_lost(use):
    for values in ([1.0, 2.0], [1, 0]):
        with pytest.raises(TypeError, match=r"masked array.*\.filled\(value\)"):
            use(ma.Tensor(np.ones(2), requires_grad=True), np.ma.array(values, mask=[True, False]))


@pytest.mark.parametrize(
    "operand", [None, "1", 1j, object(), [1j], ["a"], [[1], [1, 2]], np.ones(2, "M8[s]")]
)
def test_an_operand_that_is_no_number_is_refused(operand):
    for compute in (lambda t: t + operand, lambda t: operand * t, lambda t: t / operand):
        with pytest.raises(TypeError, match=r"must be a number, an array of numbers or a tensor, not "):
            compute(ma.tensor([1.0, 2.0]))


@pytest.mark.parametrize(
    ("dtype", "number"), [(np.int64, 0.5), (np.uint8, 300), (np.uint8, -1), (np.int32, np.nan)]
)
def test_a_number_that_integers_cannot_hold_is_refused(dtype, number):
    with pytest.raises(TypeError, match=r"meets .*, which cannot hold it; make that one of floats"):
        ma.tensor([1, 2], dtype=dtype) + number
    assert (ma.tensor([1, 2], dtype=dtype) + 2.0).tolist() == [3, 4]


def test_an_exponent_is_a_number():
    for exponent in (np.ones(2), [1, 2], None, 1j, ma.tensor([1.0])):
        with pytest.raises(TypeError, match="power: exponent must be a number, not "):
            ma.tensor([1.0, 2.0]) ** exponent


# Operations


def images(device, dtype):
    return ma.Tensor(np.arange(32).reshape(1, 2, 4, 4).astype(dtype), device=device)


OF_FLOATS = {
    "max_pool2d": lambda x: F.max_pool2d(x, 2),
    "avg_pool2d": lambda x: F.avg_pool2d(x, 2),
    "conv2d": lambda x: F.conv2d(x, x[:, :, :2, :2]),
    "local_response_norm": F.local_response_norm,
    "relu": F.relu,
    "dropout": F.dropout,
    "linear": lambda x: F.linear(x[0, 0], x[0, 0]),
    "batch_norm": lambda x: F.batch_norm(x, None, None, training=True),
    "softmax": F.softmax,
    "log_softmax": F.log_softmax,
    "cross_entropy": lambda x: F.cross_entropy(x[0, 0], [0, 1, 2, 3], label_smoothing=0.1),
    "tanh": lambda x: x.tanh(),
    "channel_window_sum": lambda x: operations.channel_window_sum(x, 3),
}
KERNELS_OF_FLOATS = {
    "matmul": lambda x: x[0, 0] @ x[0, 0],
    "exp": lambda x: x.exp(),
    "log": lambda x: x.log(),
    "sqrt": lambda x: x.sqrt(),
    "divide": lambda x: x / x,
}


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [np.bool_, np.uint8, np.int64])
@pytest.mark.parametrize("name", OF_FLOATS)
def test_a_function_of_floats_refuses_integers_in_one_line(name, dtype, device):
    message = (
        rf"^{name}: x must be of float32 or float64, not {np.dtype(dtype)}; convert it with x\.float\(\)$"
    )
    with pytest.raises(TypeError, match=message):
        OF_FLOATS[name](images(device, dtype))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [np.bool_, np.uint8, np.int64])
@pytest.mark.parametrize("name", KERNELS_OF_FLOATS)
def test_a_kernel_of_floats_refuses_integers_in_one_line(name, dtype, device):
    message = (
        rf"{name}\.\w+ takes float32 or float64 on '{device}', not {np.dtype(dtype)}; "
        r"convert the data with \.astype\('float32'\)$"
    )
    with pytest.raises(KernelError, match=message):
        KERNELS_OF_FLOATS[name](images(device, dtype))


@pytest.mark.parametrize("dtype", INTEGERS)
@pytest.mark.parametrize(
    ("compute", "values"),
    [
        (lambda a, b: a + b, [7, 5, 5]),
        (lambda a, b: b - a, [3, 1, 3]),
        (lambda a, b: a * b, [10, 6, 4]),
        (lambda a, b: operations.maximum(a, b), [5, 3, 4]),
        (lambda a, b: operations.minimum(a, b), [2, 2, 1]),
        (lambda a, b: a.abs(), [2, 2, 1]),
        (lambda a, b: a**3, [8, 8, 1]),
        (lambda a, b: 2 * a, [4, 4, 2]),
        (lambda a, b: (a + b).max(), 7),
        (lambda a, b: a[::-1], [1, 2, 2]),
        (lambda a, b: F.flatten(a.reshape(1, 3)), [[2, 2, 1]]),
    ],
)
def test_arithmetic_of_integers_keeps_their_dtype(compute, values, dtype):
    found = compute(ma.tensor([2, 2, 1], dtype), ma.tensor([5, 3, 4], dtype))
    np.testing.assert_array_equal(found.numpy(), np.array(values, dtype), strict=True)


def test_sums_count_without_overflow():
    assert ma.tensor([200, 100], np.uint8).sum().item() == 300
    assert ma.tensor([True, False, True]).sum().item() == 2


@pytest.mark.parametrize("exponent", [0.5, -1, 2.0])
def test_a_power_that_is_no_integer_is_refused(exponent):
    with pytest.raises(KernelError, match=r"int32 to the power of .* is no int32"):
        ma.tensor([4, 9], np.int32) ** exponent


def test_bools_have_no_arithmetic():
    true = ma.tensor([True, False])
    for compute in (lambda: true + true, lambda: -true, lambda: true * 1, lambda: true.max()):
        with pytest.raises(KernelError, match="takes float32 or float64 or integers on 'cpu', not bool"):
            compute()


@pytest.mark.needs_gxx
def test_integers_are_refused_where_the_kernels_are_of_floats():
    x = ma.tensor([1, 2], device="cuda-host")
    with pytest.raises(KernelError, match=r"add\.forward takes float32 or float64 on 'cuda-host', not int64"):
        x + x


# Kernels


@pytest.mark.parametrize("dtype", ["f2", "g", "c8", ">f4", "i4", "?"])
def test_no_kernel_is_called_with_what_it_does_not_take(dtype):
    """Every kernel says so itself, as a benchmark, a test or a user may call it without the engine."""
    array = np.ones((2, 3), dtype)
    checked = 0
    for entry in kernels.list_kernels():
        if (array.dtype.kind in "i" and "i" in entry.kinds) or (
            array.dtype.kind == "b" and "b" in entry.kinds
        ):
            continue
        refusal = entry.refusal(array)
        assert refusal is not None, entry.name
        assert refusal.endswith(f"only, not {array.dtype}"), entry.name
        checked += 1
    assert checked > 100


def test_indices_beside_the_data_are_integers():
    gather = find_kernel("max_pool2d.gather", algo="plain")
    x, index = np.arange(4.0).reshape(1, 1, 2, 2), np.array([[[[2]]]], np.int32)
    assert gather(x, index).tolist() == [[[[2]]]]
