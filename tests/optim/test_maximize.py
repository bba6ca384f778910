"""``maximize``: the same steps up the objective as down its negative."""

import numpy as np
import pytest

import minialex as ma
from minialex import optim
from minialex.errors import CheckpointError, MiniAlexError
from minialex.nn import Parameter

KINDS = {
    "SGD": (optim.SGD, {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.1, "nesterov": True}),
    "Adam": (optim.Adam, {"lr": 0.1, "weight_decay": 0.1}),
    "AdamW": (optim.AdamW, {"lr": 0.1}),
    "RMSprop": (optim.RMSprop, {"lr": 0.1, "momentum": 0.5, "centered": True, "weight_decay": 0.1}),
    "Adagrad": (optim.Adagrad, {"lr": 0.1, "weight_decay": 0.1}),
    "NAdam": (optim.NAdam, {"lr": 0.1, "weight_decay": 0.1}),
    "LARS": (optim.LARS, {"lr": 0.1, "weight_decay": 0.1}),
    "LAMB": (optim.LAMB, {"lr": 0.1, "weight_decay": 0.1}),
}
every_kind = pytest.mark.parametrize(("kind", "options"), KINDS.values(), ids=KINDS)
GRADIENTS = np.random.default_rng(0).standard_normal((4, 2, 3))


def parameter():
    return Parameter(np.array([[1.5, -2.0, 0.25], [1.0, 0.5, -0.75]]))


def stepped(optimizer, p, gradients):
    for gradient in gradients:
        p.grad = ma.Tensor(gradient)
        optimizer.step()
        assert p.grad.numpy() is gradient or (p.grad.numpy() == gradient).all()
    return p.numpy().copy()


@every_kind
def test_a_step_up_is_one_down_the_negative(kind, options):
    up, down = parameter(), parameter()
    risen = stepped(kind([up], **options, maximize=True), up, GRADIENTS)
    fallen = stepped(kind([down], **options), down, -GRADIENTS)
    np.testing.assert_array_equal(risen, fallen)
    other = parameter()
    assert not np.allclose(risen, stepped(kind([other], **options), other, GRADIENTS))


def test_it_is_an_option_of_a_group():
    up, down = parameter(), parameter()
    optimizer = optim.SGD([{"params": [up], "maximize": True}, {"params": [down]}], lr=1.0)
    up.grad, down.grad = ma.Tensor(GRADIENTS[0]), ma.Tensor(GRADIENTS[0])
    optimizer.step()
    np.testing.assert_array_equal(up.numpy(), parameter().numpy() + GRADIENTS[0])
    np.testing.assert_array_equal(down.numpy(), parameter().numpy() - GRADIENTS[0])


@every_kind
def test_states_of_before_it_was_there_load(kind, options):
    optimizer = kind([parameter()], **options, maximize=True)
    saved = optimizer.state_dict()
    assert saved["param_groups"][0].pop("maximize") is True
    optimizer.load_state_dict(saved)
    assert optimizer.param_groups[0]["maximize"] is False
    saved["param_groups"][0]["maximize"] = True
    optimizer.load_state_dict(saved)
    assert optimizer.param_groups[0]["maximize"] is True
    saved["param_groups"][0]["maximize"] = 1
    with pytest.raises(CheckpointError, match="maximize=1; such an option is True here"):
        optimizer.load_state_dict(saved)


@every_kind
def test_it_is_true_or_false(kind, options):
    with pytest.raises(MiniAlexError, match="maximize must be True or False, not 'up'"):
        kind([parameter()], **options, maximize="up")
