"""Second derivatives of anyone's code on plain arrays: `check_second_vjp`.

A vjp is a function itself, of the upstream gradient and the inputs:

    (u, x) -> J(x)ᵀ u

What a library calls double backward is the vjp of that function, so that the same engine checks it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from minialex.checking.constraints import Constraint
from minialex.checking.gradients.arguments import (
    choose_inputs,
    prepare_inputs,
    require_callables,
    require_dtype,
    require_texts,
)
from minialex.checking.gradients.check import Arrays
from minialex.checking.gradients.returned import as_array
from minialex.checking.gradients.rewording import reworded
from minialex.checking.gradients.vjp import check_vjp
from minialex.checking.report import GradcheckError, Report, Totals
from minialex.checking.reproduction import Reproduction

_STREAM = 4


@dataclass
class SecondOrderReport(Totals):
    """What was compared of both orders.

    Attributes
    ----------
    first, second : Report
        Of the gradient, and of the gradient's own. The inputs of the second are the upstream gradients, then
        those of the function.
    """

    first: Report
    second: Report

    @property
    def mode(self) -> str:
        """The weaker of the two."""
        return min((self.first.mode, self.second.mode))

    @property
    def weak(self) -> bool:
        return self.first.weak

    @property
    def dtype(self) -> str:
        return self.first.dtype

    @property
    def parts(self) -> tuple[Report, Report]:
        return self.first, self.second

    def __str__(self) -> str:
        return f"{self.first}\n{self.second}"


def check_second_vjp(
    forward: Callable[..., np.ndarray],
    vjp: Callable[..., Sequence[np.ndarray | None]],
    second: Callable[..., Sequence[np.ndarray | None]],
    inputs: np.ndarray | Arrays,
    *,
    wrt: Sequence[int] | None = None,
    dtype=np.float64,
    constraints: Constraint | Sequence[Constraint | None] | None = None,
    redraw: Callable[[np.random.Generator], Arrays] | None = None,
    branches: Callable[..., Sequence[np.ndarray]] | None = None,
    seed: int = 0,
    name: str | None = None,
    reproduce: str | None = None,
    **options,
) -> SecondOrderReport:
    """Check a gradient, and the gradient of that gradient.

    Parameters
    ----------
    forward, vjp : callable
        As of `check_vjp`, which checks them first.
    second : callable
        The vjp of vjp, or double backward: ``second(cotangents, upstream, *arrays)``. `cotangents` has the
        form of what vjp returns: a tuple with None for each None in it, or an array. `upstream` is what vjp
        gets. It gives a tuple: the gradient of `upstream` (where that is a tuple, a tuple of them, or all of
        them one after another), then that of each input; None for what is not differentiated.
    inputs, wrt, dtype, constraints, redraw, branches, seed, name, reproduce
        As of `check_vjp`. The upstream gradient of the second order is random.
    **options
        The others of `check_vjp`, for both orders.

    Returns
    -------
    SecondOrderReport

    Raises
    ------
    GradcheckError
        If a check fails. In those of the second order the inputs are numbered as second's gradients are:
        input 0 is the upstream gradient (each of several counts), input 1 the first array.
    MiniAlexError
        If an argument is not as described.

    Examples
    --------
    >>> def vjp(u, x):
    ...     return (u * np.cos(x),)
    >>> def second(cotangents, u, x):
    ...     (c,) = cotangents
    ...     return c * np.cos(x), -c * u * np.sin(x)
    >>> ma.check_second_vjp(np.sin, vjp, second, [np.array([0.3, -1.2])])
    """
    require_callables(forward=forward, vjp=vjp, second=second)
    require_texts(name=name, reproduce=reproduce)
    dtype = require_dtype(dtype)
    name = name or getattr(forward, "__qualname__", type(forward).__name__)
    arrays = prepare_inputs(inputs, dtype, "inputs")
    chosen = choose_inputs(wrt, arrays)
    given = {"wrt": None if wrt is None else chosen, "dtype": dtype, "constraints": constraints}
    given |= {"branches": branches, "seed": seed}
    functions = ("forward", "vjp", "second")
    text = reproduce or Reproduction(check_second_vjp, functions, arrays, given | options, f"forward: {name}")
    common = {"dtype": dtype, "seed": seed, "reproduce": text, **options}
    own = {"wrt": chosen, "constraints": constraints, "redraw": redraw, "branches": branches, "name": name}
    first = check_vjp(forward, vjp, arrays, **own, **common)
    random = np.random.default_rng([seed, _STREAM])
    shapes, single = _shapes(forward(*arrays))
    count = len(shapes)

    def drawn(generator: np.random.Generator) -> list[np.ndarray]:
        return [generator.standard_normal(shape).astype(dtype) for shape in shapes]

    def whole(upstreams):
        return upstreams[0] if single else tuple(upstreams)

    # Which gradients there are, and whether vjp gives them as a tuple.
    example = vjp(whole(drawn(random)), *arrays)
    bare = not isinstance(example, tuple | list)
    there = [i for i, g in enumerate((example,) if bare else example) if i in chosen and g is not None]

    def gradients(*upstreams_and_inputs):
        upstreams, rest = upstreams_and_inputs[:count], upstreams_and_inputs[count:]
        found = vjp(whole(upstreams), *rest)
        return as_array(found, dtype) if bare else tuple(as_array(found[i], dtype) for i in there)

    def second_vjp(cotangents, *upstreams_and_inputs):
        upstreams, rest = upstreams_and_inputs[:count], upstreams_and_inputs[count:]
        if not bare:
            parts = dict(zip(there, cotangents, strict=True))
            cotangents = tuple(parts.get(i) for i in range(len(arrays)))
        found = second(cotangents, whole(upstreams), *rest)
        if single or not isinstance(found, tuple | list) or len(found) != 1 + len(rest):
            return found
        several = isinstance(found[0], tuple | list)
        if not several or len(found[0]) != count:
            raise GradcheckError(
                "result",
                f"second gives {len(found[0]) if several else 'one array'} for the gradients of the upstream "
                f"gradients; it should give a tuple of {count}, then one gradient for each input",
                operation=name,
                reproduce=text,
            )
        return (*found[0], *found[1:])

    inner = None if constraints is None else [None] * count + _listed(constraints)
    which = (
        "input 0 is the upstream gradient"
        if single
        else f"the first {count} inputs are the upstream gradients"
    )
    words = {r"\bforward\b": "vjp", r"\bvjp\b": "second"}
    with reworded(words):
        found = check_vjp(
            gradients,
            second_vjp,
            [*drawn(random), *arrays],
            wrt=[*range(count), *(count + i for i in chosen)],
            constraints=inner,
            redraw=None if redraw is None else lambda g: [*drawn(g), *_listed(redraw(g))],
            branches=None if branches is None else lambda *a: branches(*a[count:]),
            name=f"{name}, second order ({which})",
            **common,
        )
    return SecondOrderReport(first, found)


def _shapes(results) -> tuple[list[tuple[int, ...]], bool]:
    """The shapes of what forward gives, and whether it is one array."""
    single = not isinstance(results, tuple)
    return [np.shape(each) for each in ((results,) if single else results)], single


def _listed(given) -> list:
    """One for each input; that of a single input need not be in a list."""
    return list(given) if isinstance(given, list | tuple) else [given]
