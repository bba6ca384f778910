"""Batch normalisation as a function: running statistics of any kind, and what is refused."""

import numpy as np
import pytest

import minialex as ma
import minialex.functional as F
from minialex import nn
from minialex.errors import DeviceError, GraphError, ShapeError

DEVICES = ["cpu", pytest.param("cuda-host", marks=pytest.mark.needs_gxx)]
# Two features with the means 2 and 6 and, of three values each, the unbiased variances 1 and 4.
TWO = np.array([[1, 4], [2, 6], [3, 8]])


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", [ma.Tensor, np.array])
def test_running_statistics_move_as_tensors_and_as_arrays(kind, dtype, device):
    given = [np.array(values, dtype) for values in ([0, 1], [1, 2])]
    mean, var = given if kind is np.array else (ma.Tensor(array, device=device) for array in given)
    x = ma.Tensor(TWO.astype(dtype), device=device)
    F.batch_norm(x, mean, var, training=True, momentum=0.25)
    np.testing.assert_allclose(np.asarray(mean), np.array([0.5, 2.25], dtype), rtol=1e-6, strict=True)
    np.testing.assert_allclose(np.asarray(var), np.array([1, 2.5], dtype), rtol=1e-6, strict=True)
    # The memory that was given is what moved.
    np.testing.assert_array_equal(given[0], np.asarray(mean))

    y = F.batch_norm(x, mean, var, eps=0.0)
    right = (TWO - [0.5, 2.25]) / np.sqrt([1, 2.5])
    np.testing.assert_allclose(y.numpy(), right.astype(dtype), rtol=1e-5, atol=1e-6, strict=True)
    np.testing.assert_allclose(np.asarray(mean), [0.5, 2.25], rtol=1e-6)


def test_backward_at_evaluation_uses_the_statistics_of_its_forward():
    mean, var = ma.Tensor(np.array([0.5, 2.25])), ma.Tensor(np.array([4.0, 16.0]))
    x = ma.Tensor(TWO.astype(float), requires_grad=True)
    y = F.batch_norm(x, mean, var, eps=0.0)
    F.batch_norm(x.detach(), mean, var, training=True)
    y.backward(np.full((3, 2), 3.0))
    np.testing.assert_allclose(x.grad.numpy(), np.tile([1.5, 0.75], (3, 1)), rtol=1e-12)


def read_only(n):
    array = np.ones(n)
    array.flags.writeable = False
    return array


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize(
    ("mean", "var", "error", "message"),
    [
        ([0.0, 0.0], np.ones(2), TypeError, "running_mean must be an array or a tensor, not list"),
        (np.zeros(2), 1.0, TypeError, "running_var must be an array or a tensor, not float"),
        (
            np.zeros(2),
            ma.Tensor(np.ones(3)),
            ShapeError,
            r"running_var must have shape \(2,\) .*, not \(3,\)",
        ),
        (np.zeros((1, 2)), np.ones(2), ShapeError, r"running_mean must have shape \(2,\) .*, not \(1, 2\)"),
        (np.zeros(2, np.float32), np.ones(2), TypeError, "running_mean of float32 meets an input of float64"),
        (np.zeros(2, int), np.ones(2), TypeError, "running_mean of int64 meets an input of float64"),
        (np.zeros(2), ma.Tensor(np.ones(2, np.float32)), TypeError, "running_var of float32 meets"),
        (ma.Tensor(np.zeros(2), True), np.ones(2), GraphError, r"constant .* pass running_mean\.detach\(\)"),
        (None, np.ones(2), ShapeError, "running_mean is None; give both"),
        (np.zeros(2), None, ShapeError, "running_var is None; give both"),
    ],
)
def test_running_statistics_that_do_not_fit_are_refused(mean, var, error, message, training):
    with pytest.raises(error, match=message):
        F.batch_norm(ma.Tensor(TWO.astype(float)), mean, var, training=training)


def test_read_only_statistics_are_for_evaluation():
    x = ma.Tensor(TWO.astype(float))
    y = F.batch_norm(x, read_only(2), read_only(2), eps=0.0)
    np.testing.assert_allclose(y.numpy(), TWO - 1, rtol=1e-12)
    with pytest.raises(
        ValueError, match="running_mean is read-only, and training moves it in place; pass a copy"
    ):
        F.batch_norm(x, read_only(2), read_only(2), training=True)


@pytest.mark.needs_gxx
def test_running_statistics_on_another_device_are_refused():
    mean, var = (ma.Tensor(np.ones(2), device="cuda-host") for _ in range(2))
    with pytest.raises(
        DeviceError, match="running_mean is not on 'cpu', where the input is; move it there first"
    ):
        F.batch_norm(ma.Tensor(TWO.astype(float)), mean, var, training=True)


@pytest.mark.parametrize("momentum", [None, "0.1", True])
def test_momentum_is_a_number(momentum):
    with pytest.raises(ShapeError, match=r"batch_norm: momentum must be a number from 0 to 1, not "):
        F.batch_norm(ma.Tensor(TWO.astype(float)), np.zeros(2), np.ones(2), training=True, momentum=momentum)


def test_without_a_momentum_the_statistics_are_plain_averages():
    rng = np.random.default_rng(2)
    layer = nn.BatchNorm2d(3, momentum=None).double()
    means, variances = [], []
    for _ in range(4):
        x = rng.standard_normal((2, 3, 4, 5)) * rng.uniform(0.5, 2)
        layer(ma.Tensor(x))
        means.append(x.mean(axis=(0, 2, 3)))
        variances.append(x.var(axis=(0, 2, 3), ddof=1))
    layer.eval()(ma.Tensor(x))
    np.testing.assert_allclose(layer.running_mean, np.mean(means, axis=0), rtol=1e-13, atol=1e-15)
    np.testing.assert_allclose(layer.running_var, np.mean(variances, axis=0), rtol=1e-13)
    assert (layer.num_batches_tracked, layer.num_batches_tracked.dtype) == (4, np.int64)
    layer.reset_running_stats()
    assert layer.num_batches_tracked == 0


def test_a_failed_batch_is_not_counted():
    layer = nn.BatchNorm1d(3, momentum=None)
    with pytest.raises(ShapeError, match="training needs at least 2"):
        layer(ma.ones(1, 3))
    assert layer.num_batches_tracked == 0


def test_the_count_of_batches_is_saved_where_it_is_used_and_may_be_missing():
    layer, other = nn.BatchNorm2d(3, momentum=None), nn.BatchNorm2d(3, momentum=None)
    layer(ma.Tensor(np.random.default_rng(0).standard_normal((4, 3, 2, 2), np.float32)))
    state = layer.state_dict()
    assert list(state) == ["weight", "bias", "running_mean", "running_var", "num_batches_tracked"]
    other.load_state_dict(state)
    assert other.num_batches_tracked == 1
    nn.BatchNorm2d(3).load_state_dict(state)
    other.load_state_dict(nn.BatchNorm2d(3).state_dict())
    assert other.num_batches_tracked == 1
    assert "num_batches_tracked" not in nn.BatchNorm2d(3).state_dict()
    untracked = nn.BatchNorm2d(3, momentum=None, track_running_stats=False)
    assert list(untracked.state_dict()) == ["weight", "bias"]
    assert untracked(ma.ones(2, 3, 2, 2)).shape == (2, 3, 2, 2)
