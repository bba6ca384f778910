"""The places of maxima, and putting them back: against loops over the windows."""

import numpy as np
import pytest

import minialex as ma
from minialex import functional as F
from minialex import nn
from minialex.errors import DataError, ShapeError

X = np.random.default_rng(3).standard_normal((2, 3, 5, 6))


def pooled(x, kernel, stride, padding):
    """The maxima and their places, window by window."""
    n, c, h, w = x.shape
    p, q = ((m + 2 * pad - k) // s + 1 for m, k, s, pad in zip((h, w), kernel, stride, padding, strict=True))
    y, places = np.empty((n, c, p, q)), np.empty((n, c, p, q), np.int64)
    for at in np.ndindex(n, c, p, q):
        rows, columns = (
            range(max(i * s - pad, 0), min(i * s - pad + k, m))
            for i, s, pad, k, m in zip(at[2:], stride, padding, kernel, (h, w), strict=True)
        )
        y[at], places[at] = max((x[at[0], at[1], i, j], -(i * w + j)) for i in rows for j in columns)
        places[at] *= -1
    return y, places


@pytest.mark.parametrize(
    ("kernel", "stride", "padding"),
    [((2, 2), (2, 2), (0, 0)), ((2, 3), (2, 3), (1, 0)), ((3, 2), (1, 2), (1, 1))],
)
def test_places_are_those_of_the_maxima(kernel, stride, padding):
    y, places = F.max_pool2d(ma.Tensor(X), kernel, stride, padding, return_indices=True)
    expected = pooled(X, kernel, stride, padding)
    np.testing.assert_array_equal(y.numpy(), expected[0])
    np.testing.assert_array_equal(places.numpy(), expected[1])
    assert places.dtype == np.int64
    layer = nn.MaxPool2d(kernel, stride, padding, return_indices=True)
    np.testing.assert_array_equal(layer(ma.Tensor(X))[1].numpy(), expected[1])


def test_maxima_go_back_to_their_places_and_their_gradients_with_them():
    x = ma.Tensor(X, requires_grad=True)
    pool, unpool = nn.MaxPool2d(2, return_indices=True), nn.MaxUnpool2d(2)
    y, places = pool(x)
    back = unpool(y, places, output_size=(5, 6))
    maxima, at = pooled(X, (2, 2), (2, 2), (0, 0))
    expected, is_maximum = np.zeros(X.shape), np.zeros(X.shape)
    for n, c, p, q in np.ndindex(maxima.shape):
        cell = (n, c, *divmod(int(at[n, c, p, q]), 6))
        expected[cell], is_maximum[cell] = maxima[n, c, p, q], 1
    np.testing.assert_array_equal(back.numpy(), expected)
    assert unpool(y, places).shape == (2, 3, 4, 6)
    upstream = np.random.default_rng(4).standard_normal(X.shape)
    back.backward(ma.Tensor(upstream))
    np.testing.assert_array_equal(x.grad.numpy(), upstream * is_maximum)


def test_the_layer_unpools_as_the_function_does():
    y, places = F.max_pool2d(ma.Tensor(X), 2, (3, 2), return_indices=True)
    layer = nn.MaxUnpool2d(2, (3, 2))
    np.testing.assert_array_equal(
        layer(y, places).numpy(), F.max_unpool2d(y, places.numpy(), 2, (3, 2)).numpy()
    )
    assert layer(y, places).shape == (2, 3, 5, 6)
    assert layer(y, places, (1, 3, 6, 6)).shape == (2, 3, 6, 6)
    assert repr(layer) == "MaxUnpool2d(kernel_size=2, stride=(3, 2), padding=0)"


@pytest.mark.parametrize(
    ("indices", "error", "message"),
    [
        (
            np.zeros((1, 1, 1, 2), int),
            ShapeError,
            r"indices must have shape \(1, 1, 2, 2\) .*, not \(1, 1, 1, 2\)",
        ),
        (np.zeros((1, 1, 2, 2)), DataError, "indices must be integers, not float64"),
        (np.array([[[[0, 1], [2, 16]]]]), DataError, r"from 0 to 15 for images of \(4, 4\), not 16"),
        (np.array([[[[0, 1], [-1, 3]]]]), DataError, "from 0 to 15 .*, not -1"),
        (np.array([[[[0, 1], [1, 3]]]]), DataError, "once in a plane"),
    ],
)
def test_indices_that_do_not_fit_are_refused(indices, error, message):
    with pytest.raises(error, match=message):
        F.max_unpool2d(ma.ones(1, 1, 2, 2), indices, 2)
