"""Tensors from a shape, and what a tensor says of itself in PyTorch's words."""

import numpy as np
import pytest

import minialex as ma
from minialex.errors import ShapeError


@pytest.mark.parametrize(
    ("tensor", "expected"),
    [
        (lambda: ma.zeros(2, 3), np.zeros((2, 3), np.float32)),
        (lambda: ma.zeros((2, 3), dtype=ma.int64), np.zeros((2, 3), np.int64)),
        (lambda: ma.ones([2]), np.ones(2, np.float32)),
        (lambda: ma.full((2,), 1.5), np.full(2, 1.5, np.float32)),
        (lambda: ma.full((2,), 3), np.full(2, 3)),
        (lambda: ma.arange(3), np.arange(3)),
        (lambda: ma.arange(1, 2, 0.25), np.float32([1, 1.25, 1.5, 1.75])),
        (lambda: ma.linspace(0, 1, 5), np.float32([0, 0.25, 0.5, 0.75, 1])),
        (lambda: ma.eye(2, 3, dtype=ma.float64), np.eye(2, 3)),
        (lambda: ma.zeros_like(ma.ones(2, dtype=ma.float64)), np.zeros(2)),
        (lambda: ma.ones_like(ma.zeros(2), dtype="int32"), np.ones(2, np.int32)),
        (lambda: ma.full_like(ma.zeros(2), 4), np.full(2, 4, np.float32)),
        (lambda: ma.as_tensor([1.0, 2.0]), np.float32([1, 2])),
    ],
)
def test_values_and_dtypes(tensor, expected):
    found = tensor().numpy()
    np.testing.assert_array_equal(found, expected)
    assert found.dtype == expected.dtype


def test_shapes_without_values():
    assert ma.empty(2, 0).shape == ma.empty_like(ma.zeros(2, 0)).shape == (2, 0)
    with pytest.raises(ShapeError, match="lengths must be 0 or more"):
        ma.zeros(2, -1)


def test_random_numbers_follow_from_the_seed():
    def draw():
        ma.manual_seed(3)
        return [
            ma.rand(500),
            ma.randn(500, dtype=ma.float64),
            ma.randint(2, 5, (500,)),
            ma.randint(4, (500,)),
            ma.randperm(500),
            ma.rand_like(ma.zeros(500)),
            ma.randn_like(ma.zeros(500)),
        ]

    first, again = draw(), draw()
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())
    uniform, normal, low, ints, order, *_ = (t.numpy() for t in first)
    assert 0 <= uniform.min() < 0.05
    assert 0.95 < uniform.max() < 1
    assert abs(normal.mean()) < 0.2
    assert 0.85 < normal.std() < 1.15
    assert set(low) == {2, 3, 4}
    assert set(ints) == {0, 1, 2, 3}
    assert sorted(order) == list(range(500))


def test_memory_is_shared_or_not_as_said():
    array = np.zeros(3)
    shared, copied = ma.from_numpy(array), ma.tensor(array)
    array[0] = 5
    assert shared.tolist() == [5, 0, 0]
    assert copied.tolist() == [0, 0, 0]
    assert ma.as_tensor(array).data is array
    assert ma.as_tensor(shared) is shared
    with pytest.raises(TypeError, match="from_numpy takes a NumPy array, not list"):
        ma.from_numpy([1.0])
    with pytest.raises(TypeError, match="byte order"):
        ma.from_numpy(np.zeros(2, ">f4"))


def test_size_is_a_number_and_a_question():
    x = ma.zeros(2, 3, 4)
    assert x.size == x.numel() == 24
    assert x.size() == (2, 3, 4)
    assert x.size(0) == 2
    assert x.size(-1) == 4
    assert x.dim() == x.ndim == 3


def test_another_dtype_is_a_part_of_the_graph_if_it_has_derivatives():
    x = ma.tensor([1.5, -2.5], requires_grad=True)
    y = x.double() * 2
    assert y.dtype == ma.float64
    y.backward(np.array([1.0, 3.0]))
    assert x.grad.dtype == ma.float32
    assert x.grad.tolist() == [2, 6]
    assert x.long().tolist() == [1, -2]
    assert not x.int().requires_grad
    assert x.to(ma.float32) is x
    assert x.to("cpu") is x
    assert x.to(y).dtype == ma.float64
    assert x.bool().tolist() == [True, True]
    with pytest.raises(TypeError, match="float16"):
        x.to("float16")
    with pytest.raises(TypeError, match="neither a dtype nor a device"):
        x.to("nowhere")


def test_devices_by_pytorchs_names():
    assert ma.device("cpu") == "cpu"
    assert ma.device("cuda:0") == "cuda"
    assert ma.device("cpu").type == "cpu"
    assert ma.cuda.is_available() in (True, False)
    assert ma.zeros(2).to(ma.device("cpu")).device == "cpu"
    with pytest.raises(ma.MiniAlexError, match="device must be one of"):
        ma.device("cuda:1")
    assert ma.utils.data.__name__ == "minialex.data"


@pytest.mark.parametrize("dtype", ["uint8", "int64", "float32"])
def test_the_largest_of_every_dtype_in_the_order_they_stand(dtype):
    x = ma.tensor([3, 0, 200, 3, 255 if dtype == "uint8" else 300], dtype=dtype)
    assert x.topk(4).indices.tolist() == [4, 2, 0, 3]
    assert x.topk(3, largest=False).indices.tolist() == [1, 0, 3]
    with_nan = ma.tensor([1.0, float("nan"), 2.0])
    assert with_nan.topk(2).indices.tolist() == [1, 2]
    assert with_nan.topk(3, largest=False).indices.tolist() == [0, 2, 1]
