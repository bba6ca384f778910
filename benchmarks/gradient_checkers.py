"""Three gradient checkers at their defaults, on one case each: ours, PyTorch's and JAX's.

Each takes a `Case` of `gradients_of_others` and says why it refuses the gradient, in a word; "" where it
passes it. PyTorch sees the two functions as an `autograd.Function`, JAX as a `custom_vjp` of callbacks.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable

import numpy as np
from gradients_of_others import Case

from minialex.checking import GradcheckError, check_vjp


def ours(case: Case) -> str:
    """`minialex.check_vjp`."""
    try:
        check_vjp(case.forward, case.vjp, case.inputs, wrt=case.wrt)
    except GradcheckError as error:
        return error.check
    except Exception as error:  # what it should have told as its own
        return type(error).__name__
    return ""


def pytorch(case: Case) -> str:
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
    """`jax.test_util.check_grads`: one random direction, at a step of 1e-4, to 1e-5 + 1e-5 of it."""
    import jax
    from jax.test_util import check_grads

    inputs, wrt = case.inputs, case.differentiated()
    native = case.function.native if case.function.library == "JAX" else None

    def filled(moving):
        """All inputs of the functions, as arrays of NumPy's."""
        given = dict(zip(wrt, map(np.asarray, moving), strict=True))
        return [given.get(i, a) for i, a in enumerate(inputs)]

    with jax.enable_x64(True):
        y = jax.tree_util.tree_map(np.asarray, case.forward(*inputs))
        shapes = jax.tree_util.tree_map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype), y)
        moving = tuple(inputs[i] for i in wrt)
        moving_shapes = tuple(jax.ShapeDtypeStruct(a.shape, a.dtype) for a in moving)

        @jax.custom_vjp
        def wrapped(*moving):
            # A callback that runs JAX may wait for the very thread it was called from.
            if native is not None:
                return native(*moving)

            def call(*moving):
                return jax.tree_util.tree_map(np.asarray, case.forward(*filled(moving)))

            return jax.pure_callback(call, shapes, *moving)

        def backward(moving, upstream):
            def call(upstream, *moving):
                gradients = case.vjp(jax.tree_util.tree_map(np.asarray, upstream), *filled(moving))
                return tuple(np.asarray(gradients[i]) for i in wrt)

            return jax.pure_callback(call, moving_shapes, upstream, *moving)

        wrapped.defvjp(lambda *moving: (wrapped(*moving), moving), backward)
        try:
            own = case.vjp is case.function.own and native is not None
            check_grads(native if own else wrapped, moving, order=1, modes=("rev",))
        except Exception as error:  # an AssertionError, or what a step out of the domain raises
            return type(error).__name__
    return ""


def installed() -> dict[str, Callable[[Case], str]]:
    """The checkers that can run here, by name; ours first."""
    peers = {"PyTorch": ("torch", pytorch), "JAX": ("jax", jax_)}
    found = {name: check for name, (module, check) in peers.items() if importlib.util.find_spec(module)}
    return {"MiniAlex": ours} | found
