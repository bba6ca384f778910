"""Every option of every check, given what it is not: a clear error or a report, never another exception."""

import inspect

import numpy as np
import pytest

import minialex as ma

X = np.array([0.3, -1.2, 2.0])


def sine_vjp(u, x):
    return (u * np.cos(x),)


def sine_jvp(tangents, x):
    return tangents[0] * np.cos(x)


def sine_second(cotangents, u, x):
    return cotangents[0] * np.cos(x), -cotangents[0] * u * np.sin(x)


def torch_check(**options):
    torch = pytest.importorskip("torch")
    return ma.check_torch(torch.sin, torch.tensor(X, requires_grad=True), **options)


def jax_check(**options):
    jnp = pytest.importorskip("jax.numpy")
    return ma.check_jax(jnp.sin, jnp.asarray(X), **options)


def tensor():
    return ma.Tensor(X, requires_grad=True)


CHECKS = {
    "check_vjp": lambda **options: ma.check_vjp(np.sin, sine_vjp, [X], **options),
    "check_jvp": lambda **options: ma.check_jvp(np.sin, sine_jvp, [X], **options),
    "check_second_vjp": lambda **options: ma.check_second_vjp(np.sin, sine_vjp, sine_second, [X], **options),
    "gradcheck": lambda **options: ma.gradcheck(lambda t: t.tanh(), [tensor()], **options),
    "gradgradcheck": lambda **options: ma.gradgradcheck(lambda t: t.tanh(), [tensor()], **options),
    "check_torch": torch_check,
    "check_jax": jax_check,
}

VALUES = {
    "array": np.array([1.0, 2.0]),
    "object": object(),
    "word": "sideways",
    "negative": -1,
    "nan": float("nan"),
    "huge": 10**400,
    "list": [],
    "nested": [[1, 2], [3]],
    "dict": {"a": 1},
    "fraction": 2.5,
    "bool": True,
    "none": None,
    "function": len,
    "class": int,
    "bytes": b"x",
    "number array": np.float64(1.5),
    "complex": 1j,
    "set": {0},
}


def options_of(name):
    parameters = inspect.signature(getattr(ma, name)).parameters.values()
    own = [p.name for p in parameters if p.kind == p.KEYWORD_ONLY]
    if not any(p.kind == p.VAR_KEYWORD for p in parameters):
        return own
    return own + [option for option in options_of("check_vjp") if option not in own]


@pytest.mark.parametrize("given", VALUES)
@pytest.mark.parametrize(("name", "option"), [(name, each) for name in CHECKS for each in options_of(name)])
def test_what_an_option_is_not(name, option, given):
    try:
        found = str(CHECKS[name](**{option: VALUES[given]}))
    except ma.MiniAlexError as error:
        found = str(error)
    # An option may be that after all: then the gradient, which is right, passes.
    assert "agree to" in found or len(found.splitlines()[0]) > 20
