"""Tensors where NumPy and Python look at them: values, comparisons, products, what would leave the graph."""

import math
import operator

import numpy as np
import pytest

import minialex as ma
from minialex import operations
from minialex.errors import DeviceError, ShapeError

DEVICES = ["cpu", pytest.param("cuda-host", marks=pytest.mark.needs_gxx)]
every_device = pytest.mark.parametrize("device", DEVICES)

A = np.array([[1, 2.5, -3], [0, np.inf, 4]], np.float32)
B = np.array([[1, 2, -3], [5, np.inf, np.nan]], np.float32)


def leaf(array, device="cpu"):
    return ma.Tensor(array, requires_grad=True, device=device)


# Conversion


@every_device
@pytest.mark.parametrize("array", [A, np.arange(6).reshape(2, 3), A > 1, np.array(2.5), np.ones((0, 3))])
def test_an_array_of_a_tensor_has_its_values_and_its_memory(array, device):
    tensor = ma.Tensor(array, device=device)
    np.testing.assert_array_equal(np.asarray(tensor), array, strict=True)
    assert np.shares_memory(np.asarray(tensor), tensor.data) == bool(array.size)
    assert not np.shares_memory(np.array(tensor), tensor.data)
    assert not np.shares_memory(np.asarray(tensor, copy=True), tensor.data)
    assert np.shares_memory(np.asarray(tensor, copy=False), tensor.data) == bool(array.size)


def test_an_array_of_a_tensor_in_another_dtype():
    tensor = leaf(A)
    for made in (np.array(tensor, dtype=np.float64), np.asarray(tensor, np.float64)):
        np.testing.assert_array_equal(made, A.astype(np.float64), strict=True)
    with pytest.raises(ValueError, match="copy"):
        np.asarray(tensor, np.float64, copy=False)
    np.testing.assert_array_equal(np.array([tensor, tensor]), np.stack([A, A]), strict=True)


def test_a_list_of_tensors_is_a_tensor_unless_gradients_would_be_lost():
    rows = [ma.Tensor(row) for row in A]
    np.testing.assert_array_equal(ma.tensor(rows).numpy(), A, strict=True)
    with pytest.raises(TypeError, match=r"requires a gradient, which would be lost; pass \.detach\(\)"):
        ma.tensor([rows[0], leaf(A[1])])


def test_python_sees_numbers_and_rows():
    tensor = ma.tensor([[1.0, 2.5], [3.0, 4.0]])
    assert tensor.tolist() == [[1, 2.5], [3, 4]]
    assert ma.tensor(7).tolist() == 7
    assert len(tensor) == 2
    assert [row.tolist() for row in tensor] == [[1, 2.5], [3, 4]]
    assert (int(ma.tensor([2.9])), float(ma.tensor([2.5])), bool(ma.tensor([[0]]))) == (2, 2.5, False)
    x = leaf(np.array([1.0, 2.0]))
    first, second = x
    (3 * first + second).backward()
    assert x.grad.tolist() == [3, 1]


@pytest.mark.parametrize(
    ("ask", "error", "message"),
    [
        (bool, ValueError, r"shape \(2, 2\) is neither true nor false; take its \.any\(\) or \.all\(\)"),
        (lambda t: bool(t[:0]), ValueError, r"shape \(0, 2\) is neither true nor false"),
        (lambda t: t.item(), ValueError, r"shape \(2, 2\) has 4 elements; item\(\) is for one"),
        (float, ValueError, "has 4 elements"),
        (int, ValueError, "has 4 elements"),
        (lambda t: list(t.sum()), TypeError, "without axes cannot be iterated"),
        (lambda t: len(t.sum()), TypeError, "unsized"),
    ],
)
def test_what_a_tensor_is_not(ask, error, message):
    with pytest.raises(error, match=message):
        ask(ma.tensor([[1.0, 2.0], [3.0, 4.0]]))


# Comparisons


COMPARISONS = [operator.eq, operator.ne, operator.lt, operator.le, operator.gt, operator.ge]


def right(compare, a, b):
    """The comparison in Python's numbers."""
    a, b = np.broadcast_arrays(a, b)
    return np.array(
        [compare(x, y) for x, y in zip(a.ravel().tolist(), b.ravel().tolist(), strict=True)]
    ).reshape(a.shape)


@every_device
@pytest.mark.parametrize("compare", COMPARISONS)
def test_comparisons_are_elementwise_and_outside_of_the_graph(compare, device):
    a, b = leaf(A, device), leaf(B, device)
    double = ma.Tensor(B.astype(np.float64), device=device)
    for left, other, expected in (
        (a, b, right(compare, A, B)),
        (a, B, right(compare, A, B)),
        (A, b, right(compare, A, B)),
        (a, 1, right(compare, A, 1)),
        (1, a, right(compare, 1, A)),
        (a, 2.5, right(compare, A, 2.5)),
        (np.float32(2.5), a, right(compare, 2.5, A)),
        (a, True, right(compare, A, 1)),
        (a, [1, 2.5, 0], right(compare, A, np.array([1, 2.5, 0]))),
        (a, double, right(compare, A, B)),
        (a, np.arange(3), right(compare, A, np.arange(3))),
        (a, a, right(compare, A, A)),
        (a, math.nan, right(compare, A, math.nan)),
    ):
        found = compare(left, other)
        assert isinstance(found, ma.Tensor)
        assert (found.device, found.requires_grad) == (device, False)
        np.testing.assert_array_equal(found.numpy(), expected, strict=True)


def test_numbers_and_lists_are_compared_in_the_dtype_of_the_tensor():
    tenth = ma.tensor([0.1])
    for other in (0.1, np.float64(0.1), [0.1], np.float32(0.1)):
        assert (tenth == other).tolist() == [True], repr(other)
    # An array has a dtype of its own, and nothing is rounded.
    assert (tenth == np.array([0.1])).tolist() == [False]
    whole = ma.tensor([0, 1, 300], dtype=np.int16)
    assert (whole == 0.5).tolist() == [False] * 3
    assert (whole < 0.5).tolist() == [True, False, False]
    assert (whole == 2**70).tolist() == [False] * 3
    assert (ma.tensor([44], dtype=np.uint8) == 300).tolist() == [False]


def test_what_is_no_number_is_another_thing():
    tensor = ma.tensor([1.0, 2.0])
    for other in (None, "ab", object(), {}):
        assert (tensor == other) is False
        assert (tensor != other) is True
        with pytest.raises(TypeError, match="not supported between instances"):
            _ = tensor < other
    for other in (1j, ["a", "b"], np.array([1j, 2])):
        with pytest.raises(TypeError, match="a tensor of float32 cannot be compared with"):
            _ = tensor == other


def test_shapes_that_do_not_broadcast_are_refused():
    for other in (np.ones(3), [1, 2, 3], ma.tensor([1, 2, 3])):
        with pytest.raises(ShapeError, match=r"equal: shapes \(2,\) and \(3,\) do not broadcast"):
            _ = ma.tensor([1.0, 2.0]) == other


@pytest.mark.needs_gxx
def test_tensors_on_two_devices_are_not_compared():
    with pytest.raises(DeviceError, match="tensors on 'cuda-host' and 'cpu' meet"):
        _ = ma.tensor([1.0]) == ma.tensor([1.0], device="cuda-host")


@every_device
def test_any_and_all(device):
    true = ma.Tensor(np.array([[True, False], [True, True]]), device=device)
    assert (true.any().item(), true.all().item()) == (True, False)
    assert (true.any(0).tolist(), true.all(0).tolist()) == ([True, True], [True, False])
    assert true.all(1, keepdims=True).tolist() == [[False], [True]]
    assert ma.tensor([0.0, 2.0]).any(-1).tolist() is True
    with pytest.raises(ShapeError, match=r"axis must be an axis of shape .*, not 2"):
        true.all(2)


def test_a_tensor_is_a_key_by_its_identity():
    first, second = leaf(A), leaf(A)
    names = {first: "first", second: "second"}
    assert (names[first], names[second], len({first, second})) == ("first", "second", 2)
    assert first in [first]
    assert first in names
    assert None not in [first]
    with pytest.raises(ValueError, match="neither true nor false"):
        _ = first in [second]


def test_membership_is_that_of_an_element():
    tensor = ma.tensor([1.0, 2.5])
    assert 2.5 in tensor
    assert 3 not in tensor
    assert None not in tensor
    assert tensor[1] in tensor


def test_a_comparison_is_an_index_and_can_be_counted():
    x = leaf(A)
    (x[x > 1] * np.array([2, 3, 5], np.float32)).sum().backward()
    assert x.grad.tolist() == [[0, 2, 0], [0, 3, 5]]
    assert (x > 1).sum().item() == 3


# NumPy's functions


FINITE = np.array([[1, 2.5, -3], [0.5, 6, 4]], np.float32)


@every_device
@pytest.mark.parametrize(
    ("function", "operation"),
    [
        (lambda a, t: a + t, lambda a, t: operations.add(t, a)),
        (lambda a, t: a - t, lambda a, t: -operations.subtract(t, a)),
        (lambda a, t: a * t, lambda a, t: operations.multiply(t, a)),
        (lambda a, t: a / t, lambda a, t: t**-1 * a),
        (lambda a, t: a @ t.T, lambda a, t: (t @ a.T).T),
        (np.add, lambda a, t: t + a),
        (lambda a, t: np.matmul(a, t.T), lambda a, t: (t @ a.T).T),
        (np.maximum, lambda a, t: operations.maximum(t, a)),
        (lambda a, t: np.exp(t), lambda a, t: t.exp()),
        (lambda a, t: np.negative(t), lambda a, t: -t),
        (lambda a, t: np.power(t, 2), lambda a, t: t * t),
        (lambda a, t: np.float32(2) * t, lambda a, t: t + t),
        (lambda a, t: np.float64(2) * t, lambda a, t: t + t),
    ],
)
def test_an_operation_of_numpy_is_that_of_the_tensor_with_its_gradient(function, operation, device):
    array = FINITE[::-1].copy()
    results, gradients = [], []
    for each in (function, operation):
        tensor = leaf(FINITE, device)
        y = each(array, tensor)
        assert isinstance(y, ma.Tensor)
        upstream = np.random.default_rng(0).standard_normal(y.shape).astype(np.float32)
        y.backward(ma.Tensor(upstream, device=device))
        results.append(y.numpy())
        gradients.append(tensor.grad.numpy())
    np.testing.assert_allclose(*results, rtol=1e-6)
    np.testing.assert_allclose(*gradients, rtol=1e-6)


def test_the_product_of_an_array_and_a_tensor():
    a, b = np.array([[1.0, 2], [3, 4]]), np.array([[5.0, 6, 7], [8, 9, 10]])
    tensor = leaf(b)
    y = a @ tensor
    assert y.tolist() == [[21, 24, 27], [47, 54, 61]]
    y.backward([[1, 0, 2], [0, 1, 0]])
    assert tensor.grad.tolist() == [[1, 3, 2], [2, 4, 4]]


def test_other_functions_see_the_values():
    tensor = ma.Tensor(FINITE)
    np.testing.assert_array_equal(np.sin(tensor), np.sin(FINITE), strict=True)
    np.testing.assert_array_equal(
        np.concatenate([tensor, FINITE]), np.concatenate([FINITE, FINITE]), strict=True
    )
    assert np.mean(tensor) == np.mean(FINITE)
    assert np.add.reduce(tensor, axis=1).tolist() == [0.5, 10.5]
    total = np.ones((2, 3), np.float32)
    total += tensor
    np.testing.assert_array_equal(total, FINITE + 1, strict=True)


def test_a_result_without_a_derivative_may_be_asked_of_any_tensor():
    tensor = leaf(FINITE)
    assert np.argmax(tensor) == 4
    assert np.isfinite(tensor).all()
    assert np.allclose(tensor, FINITE)
    assert np.shape(tensor) == (2, 3)
    np.testing.assert_array_equal(np.zeros_like(tensor), np.zeros((2, 3), np.float32), strict=True)
    np.testing.assert_allclose(tensor, FINITE)


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("sin", np.sin),
        ("mean", np.mean),
        ("sum", lambda t: np.sum(t, axis=0)),
        ("stack", lambda t: np.stack([FINITE, t])),
        ("modf", np.modf),
        ("norm", np.linalg.norm),
        ("add", lambda t: np.add(FINITE, t, out=np.zeros((2, 3), np.float32))),
        ("add", lambda t: np.add.reduce(t)),
        ("add", lambda t: operator.iadd(np.zeros((2, 3), np.float32), t)),
    ],
)
def test_a_function_that_would_leave_the_graph_unseen_is_refused(name, call):
    tensor = leaf(FINITE)
    with pytest.raises(TypeError, match=rf"np\.{name} knows nothing of gradients, .* pass \.detach\(\)"):
        call(tensor)
    with ma.no_grad():
        assert call(tensor) is not None
    assert call(tensor.detach()) is not None


def test_an_array_that_is_refused_its_sum_is_left_as_it_was():
    total = np.zeros((2, 3), np.float32)
    with pytest.raises(TypeError, match="knows nothing of gradients"):
        total += leaf(FINITE)
    assert not total.any()


def test_a_tensor_is_not_written_by_a_function():
    with pytest.raises(TypeError, match=r"np\.add: out must be an array, not a Tensor"):
        np.add(FINITE, FINITE, out=ma.Tensor(FINITE))


@pytest.mark.parametrize(
    "write",
    [
        lambda t: np.copyto(t, 9),
        lambda t: np.put(t, [0], 9),
        lambda t: np.place(t, np.ones(t.shape, bool), [9]),
        lambda t: np.putmask(t, np.ones(t.shape, bool), 9),
        lambda t: np.put_along_axis(t, np.zeros((1, t.shape[1]), int), 9, 0),
        lambda t: np.fill_diagonal(t, 9),
        lambda t: np.add.at(t, 0, 9),
        lambda t: np.median(t, overwrite_input=True),
    ],
)
@pytest.mark.parametrize("requires_grad", [False, True])
@every_device
def test_no_function_writes_a_tensor_unseen(write, requires_grad, device):
    """The graph would go on with values that its forward pass has not seen."""
    values = FINITE[:2, :2].copy()
    t = ma.Tensor(values.copy(), requires_grad, device)
    with pytest.raises(TypeError, match=r"np\.\w+ writes to one of its arguments; .* pass t\.numpy\(\)"):
        write(t)
    np.testing.assert_array_equal(t.numpy(), values)
    t.numpy()[0, 0] = 7
    assert t.data[0, 0] == 7


def test_a_tensor_of_one_element_is_formatted_as_its_number():
    loss = (ma.tensor([1.0, 2.0], requires_grad=True) / 3).sum()
    assert f"loss {loss:.3f}, {ma.tensor([[7]]):>4d}, {ma.tensor(0.5):%}" == "loss 1.000,    7, 50.000000%"
    assert f"{ma.tensor(2)}" == repr(ma.tensor(2))
    with pytest.raises(ValueError, match="has 2 elements"):
        f"{ma.tensor([1.0, 2.0]):.3f}"


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda-host", marks=pytest.mark.needs_gxx)])
def test_masks_combine_by_the_tables_of_logic(device):
    values = np.array([False, False, True, True]), np.array([False, True, False, True])
    a, b = (ma.Tensor(each, device=device) for each in values)
    for given in (b, values[1], values[1].tolist()):
        for result, expected in [
            (a & given, [0, 0, 0, 1]),
            (a | given, [0, 1, 1, 1]),
            (a ^ given, [0, 1, 1, 0]),
            (given & a, [0, 0, 0, 1]),
            (given | a, [0, 1, 1, 1]),
            (given ^ a, [0, 1, 1, 0]),
            (~a, [1, 1, 0, 0]),
            (a & True, [0, 0, 1, 1]),
            (False | a, [0, 0, 1, 1]),
        ]:
            assert isinstance(result, ma.Tensor)
            assert (result.device, result.dtype) == (device, np.bool_)
            assert result.tolist() == [bool(n) for n in expected]


def test_a_mask_of_no_axes_stays_a_tensor():
    inverse = ~ma.Tensor(np.array(True))
    assert inverse.shape == ()
    assert inverse.item() is False


@pytest.mark.parametrize(
    "other", [1, 1.0, [1, 2], np.array([1, 2]), ma.Tensor([1.0, 2.0]), None, "a"], ids=repr
)
def test_only_bools_are_combined(other):
    mask = ma.Tensor(np.array([True, False]))
    for meet in (lambda: mask & other, lambda: other | mask, lambda: mask ^ other):
        with pytest.raises(
            TypeError, match=r"combines bools, not |unsupported operand|cannot be compared with"
        ):
            meet()
    with pytest.raises(TypeError, match="invert combines bools, not int64; compare first"):
        ~ma.Tensor(np.array([1, 2]))


def test_the_signs_of_python():
    x = ma.Tensor([-2.0, 3.0], requires_grad=True)
    assert (+x) is x
    abs(x).backward([1.0, 10.0])
    assert abs(x).tolist() == [2.0, 3.0]
    assert x.grad.tolist() == [-1.0, 10.0]
