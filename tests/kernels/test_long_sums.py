"""Sums of many numbers along any axis: added one after another in float32 they lose digits."""

import numpy as np
import pytest

import minialex as ma
import minialex.functional as F
from minialex.checking.testing.algorithms import every_algorithm
from minialex.checking.testing.compare import assert_close, rounding
from minialex.kernels import find_kernel

FLOAT32 = rounding(np.float32)
COUNT = 200_000
# A sum in float32, one after another, is off by 3e-4 of it.
TENTH = np.float32(0.1)


@every_algorithm("sum", only=("plain", "block-reduction"))
@pytest.mark.parametrize(
    ("shape", "axis"),
    [
        ((COUNT, 2), (0,)),
        ((2, COUNT), (1,)),
        ((1, COUNT, 3), (1,)),
        ((COUNT // 4, 2, 4), (0, 2)),
        ((COUNT,), (0,)),
    ],
)
@pytest.mark.parametrize("order", ["C", "F"])
def test_a_long_sum_keeps_its_digits_along_any_axis(algorithm, shape, axis, order):
    x = np.full(shape, TENTH, order=order)
    y = np.asarray(find_kernel("sum.forward", **algorithm)(x, axis=axis, keepdims=False))
    kept = [n for i, n in enumerate(shape) if i not in axis]
    assert y.dtype == np.float32
    assert_close(y.astype(np.float64), np.full(kept, float(TENTH) * COUNT), FLOAT32)


@every_algorithm("batch_norm", only=("plain", "block-reduction"))
def test_batch_norm_of_many_rows_has_their_mean_and_variance(algorithm):
    noise = np.random.default_rng(3).standard_normal((COUNT, 2))
    x = (0.1 + 1e-3 * noise).astype(np.float32)
    wide = x.astype(np.float64)
    weight, bias = np.array([1.5, -1.0], np.float32), np.array([0.5, 2.0], np.float32)
    y, mean, var = find_kernel("batch_norm.forward", **algorithm)(x, weight, bias, axis=1, eps=1e-5)
    right = (wide - wide.mean(0)) / np.sqrt(wide.var(0) + 1e-5) * weight + bias
    assert_close(mean.astype(np.float64), wide.mean(0), FLOAT32)
    assert_close(var.astype(np.float64), wide.var(0), FLOAT32)
    assert_close(y.astype(np.float64), right, FLOAT32)


@every_algorithm("softmax", only=("plain", "block-reduction"))
def test_softmax_down_many_rows_and_its_gradient(algorithm):
    generator = np.random.default_rng(5)
    x = generator.standard_normal((COUNT, 2)).astype(np.float32)
    g = (0.1 + 0.01 * generator.standard_normal((COUNT, 2))).astype(np.float32)
    exponentials = np.exp(x.astype(np.float64))
    share = exponentials / exponentials.sum(0)
    y = find_kernel("softmax.forward", **algorithm)(x, axis=0)
    assert_close(y.astype(np.float64), share, FLOAT32)
    gx = find_kernel("softmax.backward", **algorithm)(g, y, axis=0)
    assert_close(gx.astype(np.float64), share * (g - (g * share).sum(0)), FLOAT32)
    logarithms = np.log(share)
    y = find_kernel("log_softmax.forward", **algorithm)(x, axis=0)
    assert_close(y.astype(np.float64), logarithms, FLOAT32)
    gx = find_kernel("log_softmax.backward", **algorithm)(g, y, axis=0)
    assert_close(gx.astype(np.float64), g - share * g.sum(0, dtype=np.float64), FLOAT32)


def test_the_gradient_of_a_bias_over_many_rows():
    x, weight = ma.Tensor(np.zeros((COUNT, 1), np.float32)), ma.Tensor(np.zeros((2, 1), np.float32))
    bias = ma.Tensor(np.zeros(2, np.float32), requires_grad=True)
    upstream = np.repeat(np.array([[TENTH, 3 * TENTH]], np.float32), COUNT, axis=0)
    F.linear(x, weight, bias).backward(upstream)
    assert_close(bias.grad.numpy().astype(np.float64), COUNT * upstream[0].astype(np.float64), FLOAT32)


def test_integers_and_bools_are_added_as_numpy_adds_them():
    small = ma.tensor(np.full(1000, 255, np.uint8)).sum()
    assert small.item() == 255_000
    assert small.dtype == np.uint64
    assert ma.tensor(np.array([[True, True], [True, False]])).sum(0).numpy().tolist() == [2, 1]
