"""Checking functions of tensors: `gradcheck` and, for second derivatives, `gradgradcheck`."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from minialex.autograd import branches_taken, enable_grad, grad, no_grad
from minialex.checking.report import Report
from minialex.checking.reproduction import array_lines, options_text
from minialex.checking.vjp import check_vjp
from minialex.errors import MiniAlexError
from minialex.tensor import Tensor


def gradcheck(fn: Callable, inputs: Tensor | Sequence, **options) -> Report:
    """Check the gradient of a function of tensors against numerical derivatives.

    Parameters
    ----------
    fn : callable
        Takes the inputs; gives a Tensor or a tuple of them. Called twice it must give the same: seed dropout.
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
    inputs = (inputs,) if isinstance(inputs, Tensor) else tuple(inputs)
    if not any(isinstance(t, Tensor) and t.requires_grad for t in inputs):
        raise MiniAlexError("no input requires a gradient; make one with requires_grad=True")
    options.setdefault("name", getattr(fn, "__qualname__", type(fn).__name__))
    tensors = [t for t in inputs if isinstance(t, Tensor)]
    arrays = [t.numpy() for t in tensors]
    wanted = [t.requires_grad for t in tensors]
    options.setdefault("reproduce", _reproduction("gradcheck", options, arrays, wanted))
    forward, vjp, branches = on_arrays(fn, inputs)
    wrt = [i for i, each in enumerate(wanted) if each]
    return check_vjp(forward, vjp, arrays, wrt=wrt, branches=branches, **options)


def on_arrays(fn: Callable, inputs: Sequence) -> tuple[Callable, Callable, Callable]:
    """Write a function of tensors as three functions of arrays: forward, vjp and branches.

    Parameters
    ----------
    fn : callable
        Takes the inputs; gives a Tensor or a tuple of them, which `forward` joins into a vector.
    inputs : sequence
        Which of them are tensors, and which of these require a gradient: their arrays are the
        arguments of the three functions. The others are passed on.
    """
    tensors = [i for i, t in enumerate(inputs) if isinstance(t, Tensor)]
    wrt = [i for i in tensors if inputs[i].requires_grad]
    device = inputs[tensors[0]].device

    def call(arrays, recorded: bool):
        arguments = list(inputs)
        for i, array in zip(tensors, arrays, strict=True):
            arguments[i] = Tensor(array, requires_grad=recorded and i in wrt, device=device)
        results = fn(*arguments)
        return arguments, results if isinstance(results, tuple) else (results,)

    def forward(*arrays):
        with no_grad():
            _, results = call(arrays, recorded=False)
        return _joined([t.numpy() for t in results])

    def vjp(upstream, *arrays):
        arguments, results = call(arrays, recorded=True)
        parts = _split(upstream, [t.shape for t in results])
        used = [(t, Tensor(u, device=device)) for t, u in zip(results, parts, strict=True) if t.requires_grad]
        asked = [arguments[i] for i in wrt]
        found = [None] * len(asked)
        if used:
            found = grad([t for t, _ in used], asked, [u for _, u in used], allow_unused=True)
        # What the function does not depend on has a gradient of zero.
        gradients = {
            i: np.zeros(t.shape, t.dtype) if g is None else g.numpy()
            for i, t, g in zip(wrt, asked, found, strict=True)
        }
        return tuple(gradients.get(i) for i in tensors)

    def branches(*arrays):
        with branches_taken() as taken:
            forward(*arrays)
        return taken

    return forward, vjp, branches


def _reproduction(check: str, options: dict, arrays, differentiated) -> str:
    dtype = np.dtype(options.get("dtype", np.float64))
    arrays = [a.astype(dtype) if a.dtype.kind == "f" else a for a in arrays]
    tensors = ", ".join(
        f"ma.Tensor(x{i}, requires_grad=True)" if wanted else f"ma.Tensor(x{i})"
        for i, wanted in enumerate(differentiated)
    )
    names = ("mode", "directions", "step", "seed", "max_skipped")
    chosen = options_text(dtype=dtype.name, **{name: options.get(name) for name in names})
    return "\n".join(
        [
            "import numpy as np",
            "import minialex as ma",
            *array_lines(arrays),
            f"ma.{check}(fn, [{tensors}]{chosen})  # fn: {options['name']}",
        ]
    )


def _joined(arrays: Sequence[np.ndarray]) -> np.ndarray:
    """All results as one: the array itself, or a vector of several."""
    return arrays[0] if len(arrays) == 1 else np.concatenate([a.ravel() for a in arrays])


def _split(upstream: np.ndarray, shapes) -> list[np.ndarray]:
    """Take apart what `_joined` has joined."""
    if len(shapes) == 1:
        return [upstream]
    ends = np.cumsum([math.prod(shape) for shape in shapes])[:-1]
    return [part.reshape(shape) for part, shape in zip(np.split(upstream, ends), shapes, strict=True)]


def gradgradcheck(fn: Callable, inputs: Tensor | Sequence, *, seed: int = 0, **options) -> Report:
    """Check second derivatives: the gradient of the gradients of a function of tensors.

    The gradients are taken for a random upstream gradient, which is an input like the others: the
    derivative with respect to it is checked, too.

    Parameters, results and errors are those of `gradcheck`.
    """
    inputs = (inputs,) if isinstance(inputs, Tensor) else tuple(inputs)
    wrt = [i for i, t in enumerate(inputs) if isinstance(t, Tensor) and t.requires_grad]
    with no_grad():
        results = fn(*inputs)
    results = results if isinstance(results, tuple) else (results,)
    # Not the stream that inputs are often drawn from: an upstream gradient equal to an input hides mistakes.
    generator = np.random.default_rng([seed, 2])
    upstream = [
        Tensor(generator.standard_normal(t.shape).astype(t.dtype), True, device=t.device) for t in results
    ]

    def gradients(*arguments):
        given, us = arguments[: len(inputs)], arguments[len(inputs) :]
        given = list(given)
        # Where only values are asked for the inputs require no gradient; the first derivative needs one.
        asked = [t if t.requires_grad else Tensor(t.data, True, t.device) for t in (given[i] for i in wrt)]
        for i, t in zip(wrt, asked, strict=True):
            given[i] = t
        with enable_grad():
            outputs = fn(*given)
            outputs = outputs if isinstance(outputs, tuple) else (outputs,)
            found = grad(list(outputs), asked, list(us), create_graph=True, allow_unused=True)
        zeros = (Tensor(np.zeros(t.shape, t.dtype), device=t.device) for t in asked)
        return tuple(zero if g is None else g for g, zero in zip(found, zeros, strict=True))

    own_name = getattr(fn, "__qualname__", type(fn).__name__)
    options.setdefault("name", f"gradient of {own_name}")
    tensors = [t for t in inputs if isinstance(t, Tensor)]
    text = _reproduction(
        "gradgradcheck",
        options | {"name": own_name, "seed": seed},
        [t.numpy() for t in tensors],
        [t.requires_grad for t in tensors],
    )
    options.setdefault("reproduce", text)
    return gradcheck(gradients, (*inputs, *upstream), seed=seed, **options)
