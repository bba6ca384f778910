"""Checking functions of tensors: `gradcheck` and, for second derivatives, `gradgradcheck`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from minialex.autograd import branches_taken, enable_grad, grad
from minialex.checking.adapters.foreign import check_for, described_as
from minialex.checking.gradients.arguments import (
    refuse_options,
    require_callables,
    require_dtype,
)
from minialex.checking.gradients.vjp import check_vjp, joined, split
from minialex.checking.report import GradcheckError, Report
from minialex.checking.reproduction import Reproduction
from minialex.checks import in_words, require_int
from minialex.errors import MiniAlexError
from minialex.tensor import Tensor

_NOTHING_ASKED = "no input requires a gradient; make one with requires_grad=True"


def gradcheck(fn: Callable, inputs: Tensor | Sequence, **options) -> Report:
    """Check the gradient of a function of tensors against numerical derivatives.

    Parameters
    ----------
    fn : callable
        Takes the inputs; gives a Tensor, or a tuple or list of them. Called twice it must give the same: seed
        dropout. It may itself call `minialex.grad`, with ``create_graph=True``, as a gradient penalty does.
    inputs : Tensor or sequence of Tensor
        Tensors that require a gradient are differentiated; others, and whatever else the sequence
        holds, are passed on. Their values are taken, in float64 if no other dtype is asked for.
    **options
        Those of `check_vjp`, but for ``wrt`` and ``branches``: kinks are recognised by the branch that each
        operation takes (ReLU's sign, a pool's winners), and by second differences in what has none.

    Returns
    -------
    Report

    Raises
    ------
    GradcheckError
        If the gradient is wrong; see there for what it carries.

    Examples
    --------
    >>> x = ma.tensor([[0.3, -1.2], [2.0, 0.7]], requires_grad=True)
    >>> ma.gradcheck(lambda x: x.tanh() @ x, x)
    """
    require_callables(fn=fn)
    _require_ours(fn, inputs)
    _require_options("gradcheck", options)
    require_dtype(options.get("dtype", np.float64))
    inputs = _as_tuple(inputs)
    if not any(isinstance(t, Tensor) and t.requires_grad for t in inputs):
        raise MiniAlexError(_NOTHING_ASKED)
    options.setdefault("name", getattr(fn, "__qualname__", type(fn).__name__))
    tensors = [t for t in inputs if isinstance(t, Tensor)]
    arrays = [t.numpy() for t in tensors]
    wanted = [t.requires_grad for t in tensors]
    options.setdefault("reproduce", _reproduction(gradcheck, inputs, options))
    forward, vjp, branches = on_arrays(fn, inputs)
    wrt = [i for i, each in enumerate(wanted) if each]
    return check_vjp(forward, vjp, arrays, wrt=wrt, branches=branches, **options)


def _as_tuple(inputs) -> tuple:
    if isinstance(inputs, Tensor):
        return (inputs,)
    if not isinstance(inputs, Iterable):
        raise MiniAlexError(f"inputs must be a tensor or a sequence of them, not {in_words(inputs)}")
    return tuple(inputs)


def _require_options(check: str, options: dict) -> None:
    refuse_options(
        check,
        options,
        wrt="requires_grad of each tensor says what is differentiated",
        branches="the operations themselves say which branches they took; leave it out",
    )


def _require_ours(fn, inputs) -> None:
    """Refuse functions and arrays of other libraries, whose backward would never be called."""
    others = {"fn": fn, "inputs": inputs}
    if isinstance(inputs, list | tuple):
        others |= {f"input {i}": each for i, each in enumerate(inputs)}
    for what, value in others.items():
        if (check := check_for(value)) is not None:
            raise MiniAlexError(
                f"{what} is {described_as(value)}, and gradcheck takes functions of MiniAlex tensors: its "
                f"own gradient would not be checked; call ma.{check}"
            )


def on_arrays(fn: Callable, inputs: Sequence) -> tuple[Callable, Callable, Callable]:
    """Write a function of tensors as three functions of arrays: forward, vjp and branches.

    Parameters
    ----------
    fn : callable
        Takes the inputs; gives a Tensor, or several, which `forward` joins into a vector.
    inputs : sequence
        Which of them are tensors, and which of these require a gradient: their arrays are the
        arguments of the three functions. The others are passed on.
    """
    tensors = [i for i, t in enumerate(inputs) if isinstance(t, Tensor)]
    wrt = [i for i in tensors if inputs[i].requires_grad]
    # The arguments of the last call, and its branches: to ask for them costs no second one.
    latest: tuple[Sequence[np.ndarray], list[np.ndarray]] = ((), [])

    def call(arrays):
        arguments = list(inputs)
        for i, array in zip(tensors, arrays, strict=True):
            arguments[i] = Tensor(array, requires_grad=i in wrt, device=inputs[i].device)
        # Recorded, as fn may differentiate on its own.
        with enable_grad():
            return arguments, outputs_of(fn, arguments)

    def forward(*arrays):
        nonlocal latest
        with branches_taken() as taken:
            _, results = call(arrays)
        latest = arrays, taken
        return joined([t.numpy() for t in results])

    def vjp(upstream, *arrays):
        arguments, results = call(arrays)
        parts = split(upstream, [t.shape for t in results])
        used = [
            (t, Tensor(u, device=t.device)) for t, u in zip(results, parts, strict=True) if t.requires_grad
        ]
        asked = [arguments[i] for i in wrt]
        found = grad([t for t, _ in used], asked, [u for _, u in used], allow_unused=True)
        # What the function does not depend on has a gradient of zero.
        gradients = {
            i: np.zeros(t.shape, t.dtype) if g is None else g.numpy()
            for i, t, g in zip(wrt, asked, found, strict=True)
        }
        return tuple(gradients.get(i) for i in tensors)

    def branches(*arrays):
        called, _ = latest
        if len(called) != len(arrays) or any(a is not b for a, b in zip(called, arrays, strict=True)):
            forward(*arrays)
        return latest[1]

    return forward, vjp, branches


def outputs_of(fn: Callable, arguments: Sequence) -> tuple[Tensor, ...]:
    """Call a function of tensors; refuse what cannot be differentiated in what it returns.

    Raises
    ------
    GradcheckError
        If that is neither a Tensor nor a tuple or list of them, if one has another dtype or device than the
        arguments that are differentiated, or if none is part of the graph.
    """

    def fail(check: str, summary: str):
        raise GradcheckError(check, summary, operation=getattr(fn, "__qualname__", type(fn).__name__))

    results = fn(*arguments)
    several = isinstance(results, tuple | list)
    outputs = tuple(results) if several else (results,)
    asked = next(t for t in arguments if isinstance(t, Tensor) and t.requires_grad)
    if not outputs:
        fail("result", f"it returns an empty {type(results).__name__}, no Tensor")
    for i, each in enumerate(outputs):
        what = f"result {i}" if several else "the result"
        if not isinstance(each, Tensor):
            if (check := check_for(each)) is not None:
                own = "and its own gradient would not be checked"
                fail("result", f"{what} is {described_as(each)}, {own}; call ma.{check}")
            given = "None" if each is None else f"of type {type(each).__name__}"
            should = "it should return a Tensor, or a tuple of them, computed from its inputs"
            fail("result", f"{what} is {given}; {should}")
        if each.dtype != asked.dtype:
            fail("dtype", f"{what} is {each.dtype} for inputs of {asked.dtype}; it should keep the dtype")
        if each.device != asked.device:
            places = f"on {each.device} for inputs on {asked.device}"
            fail("result", f"{what} is {places}; leave out .to(), which is not differentiated")
    if not any(each.requires_grad for each in outputs):
        fail(
            "result",
            "nothing that it returns is part of the graph: return what operations on its inputs give, not "
            "what was made from .data, .numpy() or .detach(), or by grad without create_graph=True",
        )
    return outputs


def _reproduction(check: Callable, inputs: Sequence, options: dict) -> Reproduction:
    chosen = {"dtype": np.float64} | {k: v for k, v in options.items() if k not in ("name", "kernel")}
    return Reproduction(check, ("fn",), inputs, chosen, f"fn: {options['name']}")


def gradgradcheck(fn: Callable, inputs: Tensor | Sequence, *, seed: int = 0, **options) -> Report:
    """Check second derivatives: the gradient of the gradients of a function of tensors.

    The gradients are taken for a random upstream gradient, which is an input like the others: the
    derivative with respect to it is checked, too.

    Parameters, results and errors are those of `gradcheck`.
    """
    require_callables(fn=fn)
    _require_ours(fn, inputs)
    _require_options("gradgradcheck", options)
    require_int("seed", seed, 0)
    dtype = require_dtype(options.get("dtype", np.float64))
    inputs = _as_tuple(inputs)
    wrt = [i for i, t in enumerate(inputs) if isinstance(t, Tensor) and t.requires_grad]
    if not wrt:
        raise MiniAlexError(_NOTHING_ASKED)
    try:
        with enable_grad():
            results = outputs_of(fn, [_as_checked(t, dtype) for t in inputs])
    except MiniAlexError:
        raise
    except Exception as error:
        name = getattr(fn, "__qualname__", type(fn).__name__)
        raise GradcheckError(
            "raises", f"fn raises {type(error).__name__}: {error}", operation=name
        ) from error
    # Not the stream that inputs are often drawn from: an upstream gradient equal to an input hides mistakes.
    generator = np.random.default_rng([seed, 2])
    upstream = [
        Tensor(generator.standard_normal(t.shape).astype(dtype), True, device=t.device) for t in results
    ]

    def gradients(*arguments):
        given, us = arguments[: len(inputs)], arguments[len(inputs) :]
        outputs = outputs_of(fn, given)
        used = [(t, u) for t, u in zip(outputs, us, strict=True) if t.requires_grad]
        asked = [given[i] for i in wrt]
        found = grad([t for t, _ in used], asked, [u for _, u in used], create_graph=True, allow_unused=True)
        zeros = (Tensor(np.zeros(t.shape, t.dtype), device=t.device) for t in asked)
        return tuple(zero if g is None else g for g, zero in zip(found, zeros, strict=True))

    own_name = getattr(fn, "__qualname__", type(fn).__name__)
    options.setdefault("name", f"gradient of {own_name}")
    text = _reproduction(gradgradcheck, inputs, options | {"name": own_name, "seed": seed})
    options.setdefault("reproduce", text)
    return gradcheck(gradients, (*inputs, *upstream), seed=seed, **options)


def _as_checked(argument, dtype):
    """An argument in the dtype in which it is checked; a leaf of its own if it requires a gradient."""
    if not isinstance(argument, Tensor):
        return argument
    array = argument.numpy()
    array = array.astype(dtype) if array.dtype.kind == "f" else array
    return Tensor(array, requires_grad=argument.requires_grad, device=argument.device)
