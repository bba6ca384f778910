"""Every function and layer takes, refuses and passes on what PyTorch's does."""

import numpy as np
import pytest
from every_call import CALLS, N, evaluated

import minialex as ma
from minialex import nn

torch = pytest.importorskip("torch", reason="the oracle is not installed")
pytestmark = pytest.mark.full

OF_PROBABILITIES = {"binary_cross_entropy", "BCELoss"}
# A NaN is on no side of a joint, so its derivative is a convention: 0 here for relu and elu, where PyTorch
# lets the gradient pass or makes it NaN, and NaN here for l1_loss, where PyTorch has 0.
AT_A_JOINT = {"relu", "ReLU", "elu", "ELU", "l1_loss", "L1Loss"}
# PyTorch computes the derivative 1 / 6 in float32.
IN_FLOAT32 = {"hardsigmoid", "Hardsigmoid"}

each = pytest.mark.parametrize("call", CALLS, ids=lambda call: call.expression)


def both(call, arrays):
    """Our result and PyTorch's, of a layer with the same parameters."""
    state = None
    if call.expression.startswith("nn."):
        layer = eval(call.expression, {"nn": nn, "ALPHA": 0.1}).double()
        state = {name: array.copy() for name, array in layer.state_dict().items()}
    theirs = state and {name: torch.tensor(array) for name, array in state.items()}
    return evaluated(call, ma, arrays, state), evaluated(call, torch, arrays, theirs)


def refuses(call, library, arrays):
    try:
        evaluated(call, library, arrays)
    except Exception:
        return True
    return False


@each
@pytest.mark.parametrize("value", [0.5, np.nan, np.inf, -np.inf])
def test_what_is_not_finite_goes_where_it_goes_in_pytorch(call, value):
    """At the first and the last cell, and in the middle: at borders of windows, and within."""
    arrays = call.arrays()
    x = arrays["x"].reshape(N, -1)
    x[0, 0] = x[1, -1] = x[2, x.shape[1] // 2] = value
    if call.name in OF_PROBABILITIES and not np.isfinite(value):
        assert refuses(call, ma, arrays)
        assert refuses(call, torch, arrays)
        return
    with np.errstate(all="ignore"):
        (mine, _), (theirs, _) = both(call, arrays)
    np.testing.assert_allclose(mine.numpy(), theirs.detach().numpy(), rtol=1e-11, atol=1e-12, equal_nan=True)


@pytest.mark.parametrize(
    "call",
    [call for call in CALLS if call.name not in OF_PROBABILITIES | AT_A_JOINT | IN_FLOAT32],
    ids=lambda call: call.expression,
)
def test_gradients_at_nan_are_pytorchs(call):
    arrays = call.arrays()
    x = arrays["x"].reshape(N, -1)
    x[0, 0] = x[1, -1] = x[2, x.shape[1] // 2] = np.nan
    with np.errstate(all="ignore"):
        (mine, of_ours), (theirs, of_theirs) = both(call, arrays)
        upstream = np.random.default_rng(3).standard_normal(mine.shape)
        mine.backward(ma.tensor(upstream))
        theirs.backward(torch.tensor(upstream))
    np.testing.assert_allclose(
        of_ours["x"].grad.numpy(), of_theirs["x"].grad.numpy(), rtol=1e-10, atol=1e-11, equal_nan=True
    )


@each
def test_an_empty_batch_gives_pytorchs_shape(call):
    if call.name == "embedding":
        return
    (mine, _), (theirs, _) = both(call, call.arrays(batch=0))
    assert mine.shape == tuple(theirs.shape)


@each
def test_shapes_that_we_refuse_are_refused_there(call):
    for shape in call.wrong:
        arrays = call.arrays() | {"x": np.random.default_rng(0).uniform(0.1, 0.9, shape)}
        assert refuses(call, torch, arrays), shape


@each
def test_integers_that_pytorch_refuses_are_refused(call):
    arrays = call.arrays() | {"x": np.ones((N, *call.x), np.int64)}
    if refuses(call, torch, arrays):
        assert refuses(call, ma, arrays)
