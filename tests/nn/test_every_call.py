"""Every function of `minialex.functional` and every layer: what it refuses, empty batches, and NaN.

That results with NaN and infinity are PyTorch's is a test of tests/oracles.
"""

import numpy as np
import pytest
from every_call import CALLS, FUNCTIONS, LAYERS, N, evaluated

import minialex as ma
from minialex import nn
from minialex.errors import DataError, MiniAlexError

# They move numbers, of any kind.
OF_INTEGERS = {
    *("flatten", "pad", "embedding"),
    *("Flatten", "Identity", "ZeroPad2d", "ReflectionPad2d", "ReplicationPad2d", "ChannelShuffle"),
}
OF_PROBABILITIES = {"binary_cross_entropy", "BCELoss"}
# What the messages of functions that share a rule say.
CALLED = {"max_pool2d": "pooling", "avg_pool2d": "pooling"}


def each(calls):
    return pytest.mark.parametrize("call", calls, ids=lambda call: call.expression)


def test_every_function_and_layer_has_a_call():
    assert {call.name for call in FUNCTIONS} == set(ma.functional.__all__)
    modules = {name: kind for name in nn.__all__ if isinstance(kind := getattr(nn, name), type)}
    layers = {name for name, kind in modules.items() if issubclass(kind, nn.layer.Layer)}
    assert {call.name for call in LAYERS} == layers | {"Identity"}


@each(FUNCTIONS)
def test_what_is_no_tensor_is_refused(call):
    _, tensors = evaluated(call, ma, call.arrays())
    names = {"F": ma.functional, "ALPHA": 0.1} | tensors
    for x, kind in (([1.0], "list"), (call.arrays()["x"], "ndarray"), (None, "NoneType")):
        with pytest.raises(TypeError, match=f"^{call.name}: x must be a tensor, not {kind}; wrap an array"):
            eval(call.expression, names | {"x": x})


@each([call for call in CALLS if call.name not in OF_INTEGERS])
def test_integers_are_refused_by_name(call):
    for dtype in (np.int64, np.uint8, np.bool_):
        arrays = call.arrays() | {"x": np.ones((N, *call.x), dtype)}
        name = call.name if call in FUNCTIONS else r"\w+"
        expected = (
            rf"^{name}: x must be of float32 or float64, not {np.dtype(dtype)}; convert it with x\.float"
        )
        with pytest.raises(TypeError, match=expected):
            evaluated(call, ma, arrays)


@each([call for call in CALLS if call.wrong])
def test_shapes_that_do_not_fit_are_refused_with_the_name_and_the_shape(call):
    for shape in call.wrong:
        arrays = call.arrays() | {"x": np.random.default_rng(0).uniform(0.1, 0.9, shape)}
        with pytest.raises(MiniAlexError) as error:
            evaluated(call, ma, arrays)
        # Of images, some messages have the height and the width.
        assert str(shape) in str(error.value) or str(shape[2:]) in str(error.value)
        if call in FUNCTIONS:
            assert str(error.value).startswith(CALLED.get(call.name, call.name))


@each([call for call in CALLS if call.name != "embedding"])
def test_a_batch_may_be_empty(call):
    whole, _ = evaluated(call, ma, call.arrays())
    empty, tensors = evaluated(call, ma, call.arrays(batch=0))
    assert empty.shape == (0, *whole.shape[1:])
    assert empty.dtype == np.float64
    empty.backward(ma.Tensor(np.zeros(empty.shape)))
    assert tensors["x"].grad.shape == (0, *call.x)
    for name, tensor in tensors.items():
        if tensor.requires_grad and name not in call.others:
            assert not tensor.grad.numpy().any()


@each([call for call in CALLS if call.name != "embedding"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_stays_in_its_sample_and_is_not_lost(call, value):
    arrays = call.arrays()
    state = None
    if call in LAYERS:
        layer = eval(call.expression, {"nn": nn, "ALPHA": 0.1}).double()
        state = {name: array.copy() for name, array in layer.state_dict().items()}
    before, _ = evaluated(call, ma, arrays, state)
    arrays["x"][0] = value
    if call.name in OF_PROBABILITIES:
        with pytest.raises(DataError, match="the input must hold probabilities, from 0 to 1"):
            evaluated(call, ma, arrays, state)
        return
    with np.errstate(all="ignore"):
        after, _ = evaluated(call, ma, arrays, state)
    np.testing.assert_array_equal(after.numpy()[1:], before.numpy()[1:])
    if np.isnan(value):
        assert np.isnan(after.numpy()[0]).any()
