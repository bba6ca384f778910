"""Three gradient checkers at their defaults, on one case each: ours, PyTorch's and JAX's.

Each takes a `Case` of `gradients_of_others` and says why it refuses the gradient, in a word; "" where it
passes it. PyTorch sees the two functions as an `autograd.Function`. The cases stand among the tests, which
run them, too.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from minialex.checking import GradcheckError, check_vjp

_TESTS = Path(__file__).parents[1] / "tests" / "checking"
if not (_TESTS / "gradients_of_others").is_dir():
    sys.exit(
        f"{_TESTS / 'gradients_of_others'}, which holds the functions to compare on, is missing: run this in "
        "a checkout of the project"
    )
sys.path.insert(0, str(_TESTS))

from gradients_of_others import Case  # noqa: E402


class Gradient(NamedTuple):
    """A function and its gradient, where there is no `Case` of them."""

    forward: Callable
    vjp: Callable
    inputs: Sequence[np.ndarray]

    def differentiated(self) -> tuple[int, ...]:
        """The positions of the inputs that are differentiated."""
        return tuple(i for i, a in enumerate(self.inputs) if a.dtype.kind == "f")


def ours(case: Case) -> str:
    """`minialex.check_vjp`."""
    try:
        check_vjp(case.forward, case.vjp, case.inputs, wrt=case.wrt)
    except GradcheckError as error:
        return error.check
    except Exception as error:  # what it should have told as its own
        return type(error).__name__
    return ""


def pytorch(case: Case | Gradient) -> str:
    """`torch.autograd.gradcheck`: every derivative, at a step of 1e-6, to 1e-5 + 1e-3 of it."""
    import torch

    class Wrapped(torch.autograd.Function):
        @staticmethod
        def forward(ctx, *inputs):
            ctx.save_for_backward(*inputs)
            results = case.forward(*(t.detach().numpy() for t in inputs))
            # A copy: the result may be a view of an input.
            if isinstance(results, tuple):
                return tuple(torch.from_numpy(np.array(y)) for y in results)
            return torch.from_numpy(np.array(results))

        @staticmethod
        def backward(ctx, *upstream):
            us = tuple(u.numpy() for u in upstream)
            inputs = [t.detach().numpy() for t in ctx.saved_tensors]
            gradients = case.vjp(us if len(us) > 1 else us[0], *inputs)
            return tuple(None if g is None else torch.from_numpy(np.array(g)) for g in gradients)

    wrt = case.differentiated()
    tensors = [torch.tensor(a, requires_grad=i in wrt) for i, a in enumerate(case.inputs)]
    try:
        torch.autograd.gradcheck(Wrapped.apply, tensors)
    except Exception as error:  # its GradcheckError, or what a step out of the domain raises
        return type(error).__name__
    return ""


def jax_(case: Case) -> str:
    """`jax.test_util.check_vjp` as `check_grads` calls it: one direction, a step of 1e-4, to 1e-5 of it.

    It takes any functions: these are the ones of NumPy's arrays as they are.
    """
    import jax
    from jax.test_util import check_vjp as check_vjp_of_jax

    inputs, wrt = case.inputs, case.differentiated()

    def filled(moving):
        given = dict(zip(wrt, map(np.asarray, moving), strict=True))
        return [given.get(i, a) for i, a in enumerate(inputs)]

    def arrays(results):
        return tuple(map(np.asarray, results)) if isinstance(results, tuple) else np.asarray(results)

    def forward(*moving):
        return arrays(case.forward(*filled(moving)))

    def vjp(*moving):
        def backward(upstream):
            gradients = case.vjp(arrays(upstream), *filled(moving))
            return tuple(np.asarray(gradients[i]) for i in wrt)

        return forward(*moving), backward

    with jax.enable_x64(True):
        try:
            check_vjp_of_jax(forward, vjp, tuple(inputs[i] for i in wrt))
        except Exception as error:  # an AssertionError, or what a step out of the domain raises
            return type(error).__name__
    return ""


def installed() -> dict[str, Callable[[Case], str]]:
    """The checkers that can run here, by name; ours first."""
    peers = {"PyTorch": ("torch", pytorch), "JAX": ("jax", jax_)}
    found = {name: check for name, (module, check) in peers.items() if importlib.util.find_spec(module)}
    return {"MiniAlex": ours} | found
