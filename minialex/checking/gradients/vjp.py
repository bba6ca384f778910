"""The gradient checker for anyone's code on plain arrays: `check_vjp`."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from minialex.checking.constraints import Constraint
from minialex.checking.gradients.arguments import (
    choose_inputs,
    constrain_inputs,
    prepare_inputs,
    require_callables,
    require_dtype,
    require_texts,
)
from minialex.checking.gradients.check import Arrays, Check
from minialex.checking.gradients.differences import DIRECTION_STEPS, STEPS
from minialex.checking.gradients.order_of_checks import run_checks
from minialex.checking.gradients.returned import as_array, described, forward_results, is_number_array
from minialex.checking.report import GradcheckError, Report
from minialex.checking.reproduction import Reproduction
from minialex.checks import require_choice, require_int, require_number, require_share
from minialex.errors import MiniAlexError

# Up to this many derivatives the whole Jacobian is compared.
JACOBIAN_LIMIT = 250_000
DIRECTIONS = 8
# A derivative that is not known to this share of itself is not compared.
MAX_TOLERANCE = {np.dtype(np.float64): 1e-3, np.dtype(np.float32): 0.1}
_REDRAWS = 5
# What other inputs may cure.
_OF_THE_INPUTS = ("kinks", "uncertain", "nothing compared")


def check_vjp(
    forward: Callable[..., np.ndarray],
    vjp: Callable[..., Sequence[np.ndarray | None]],
    inputs: np.ndarray | Arrays,
    *,
    wrt: Sequence[int] | None = None,
    dtype=np.float64,
    mode: str = "auto",
    directions: int = DIRECTIONS,
    method: str = "central",
    step: float | None = None,
    max_skipped: float = 0.2,
    redraw: Callable[[np.random.Generator], Arrays] | None = None,
    branches: Callable[..., Sequence[np.ndarray]] | None = None,
    constraints: Constraint | Sequence[Constraint | None] | None = None,
    min_compared: int = 1,
    max_tolerance: float | None = None,
    nondeterminism: float = 0.0,
    seed: int = 0,
    name: str | None = None,
    kernel: str = "",
    reproduce: str | None = None,
) -> Report:
    """Check that `vjp` is the vector-Jacobian product of `forward`, and well behaved.

    Parameters
    ----------
    forward : callable
        ``forward(*arrays)`` gives an array, or a tuple of arrays. (What NumPy makes an array of is one: a
        number, a list.)
    vjp : callable
        ``vjp(upstream, *arrays)`` gives a tuple with the gradient of each input; None for those
        that are not differentiated. An array is that of a single input. `upstream` has the shape of
        forward's result: for a tuple it is a tuple.
    inputs : array, or sequence of array
        Arrays of float32 and float64 are converted to `dtype`; integers and booleans are passed on as
        constants. An array is a single input.
    wrt : sequence of int, optional
        The inputs to differentiate; all floating-point ones if not given.
    dtype : float64 or float32
        float32 is a weak check, and is reported as one.
    mode : "auto", "jacobian" or "directions"
        Every derivative, or a number of random directions, a weaker and quicker check. "auto" takes
        the first up to 250,000 derivatives. The report says which it was.
    directions : int
        How many random directions.
    method : "central" or "complex"
        Central differences with an error estimate; or the complex step, for a function that is analytic and
        computes with complex numbers.
    step : float, optional
        The larger of the two steps to begin with, relative to abs(x), or to what is typical of its array
        where that is larger, both as the next power of two below. Other steps are tried where a derivative is
        not certain.
    max_skipped : float
        The share of derivatives that are not 0 that may lie at kinks, or be uncertain; they are skipped,
        counted and reported.
    redraw : callable, optional
        ``redraw(generator)`` gives other inputs; called, up to five times, where too many lie at kinks, or
        too few could be compared.
    branches : callable, optional
        ``branches(*arrays)`` gives arrays that tell which branch the function takes (a sign, an argmax):
        where they differ within a step there is a kink. Second differences show the others.
    constraints : Constraint or sequence of them, optional
        For each input one of `minialex.checking.constraints`, or None: positive numbers, symmetric matrices,
        and so on move within their domain only. A single one is that of a single input.
    min_compared : int
        A check that compares fewer derivatives that are not 0 fails. 0 is for functions that may be
        constant, or have no elements to differentiate.
    max_tolerance : float, optional
        A derivative with a wider tolerance, relative to itself, is not compared but called uncertain: 1e-3
        in float64 and 0.1 in float32 if nothing else is asked for.
    nondeterminism : float
        By how much a result may differ when it is computed again, absolutely; the report says by how much it
        did.
    seed : int
        Of the upstream gradients and directions.
    name, kernel : str
        What to call the function in messages.
    reproduce : str, optional
        Lines of Python that repeat the check, for messages, in place of those that are written by default.

    Returns
    -------
    Report

    Raises
    ------
    GradcheckError
        If a check fails; it carries and prints the details.
    MiniAlexError
        If an argument is not as described.
    """
    require_callables(forward=forward, vjp=vjp)
    require_callables(optional=True, redraw=redraw, branches=branches)
    dtype = require_dtype(dtype)
    require_int("seed", seed, 0)
    require_choice("mode", mode, ("auto", "jacobian", "directions"))
    require_choice("method", method, ("central", "complex"))
    require_int("directions", directions, 1)
    require_int("min_compared", min_compared, 0)
    require_number("max_skipped", max_skipped, 0, 1)
    require_number("nondeterminism", nondeterminism, 0, bounds="[)")
    for option, share in (("step", step), ("max_tolerance", max_tolerance)):
        if share is not None:
            require_share(option, share)
    require_texts(name=name, kernel=kernel, reproduce=reproduce)
    name = name or getattr(forward, "__qualname__", type(forward).__name__)
    given = forward, vjp
    generator = np.random.default_rng(seed)
    for attempt in range(_REDRAWS + 1):
        arrays = prepare_inputs(inputs, dtype, "inputs" if attempt == 0 else "what redraw gives")
        chosen = choose_inputs(wrt, arrays)
        constrained = constrain_inputs(constraints, arrays, chosen)
        # Copies: should forward change its inputs, the check finds out, and prints them as they were.
        forward, vjp, outputs = _of_one_result(name, *given, [a.copy() for a in arrays], dtype)
        how = mode if mode != "auto" else _choose_mode(outputs, arrays, chosen)
        default = STEPS[dtype] if how == "jacobian" else DIRECTION_STEPS[dtype]
        report = Report(name, kernel, how, dtype.name, float(step or default), seed)
        report.directions, report.redrawn = directions if how == "directions" else 0, attempt
        report.elements, report.moves = sum(arrays[i].size for i in chosen), _moves(constrained, arrays)
        options = {"wrt": None if wrt is None else chosen, "dtype": dtype, "mode": how}
        options |= {"directions": directions, "method": method, "step": step, "max_skipped": max_skipped}
        options |= {"branches": branches, "constraints": constraints, "min_compared": min_compared}
        options |= {"max_tolerance": max_tolerance, "nondeterminism": nondeterminism, "seed": seed}
        functions, note = ("forward", "vjp"), f"forward: {name}"
        check = Check(
            forward,
            vjp,
            arrays,
            chosen,
            dtype,
            report,
            method=method,
            max_skipped=max_skipped,
            branches=branches,
            reproduce=reproduce or Reproduction(check_vjp, functions, arrays, options, note),
            max_tolerance=max_tolerance or MAX_TOLERANCE[dtype],
            min_compared=min_compared,
            nondeterminism=nondeterminism,
            constraints=constrained,
        )
        try:
            run_checks(check)
        except GradcheckError as error:
            if error.check not in _OF_THE_INPUTS or redraw is None or attempt == _REDRAWS:
                raise
            inputs = _redrawn(redraw, generator, arrays, dtype)
        else:
            return report
    raise AssertionError("unreachable: the last attempt returns or raises")


def _redrawn(redraw: Callable, generator: np.random.Generator, before: Arrays, dtype) -> list[np.ndarray]:
    """Other inputs of the same shapes."""
    try:
        given = redraw(generator)
    except Exception as error:
        raise MiniAlexError(
            f"redraw raises {type(error).__name__}: {error}; it is called with a numpy.random.Generator, and "
            "must give inputs like the first"
        ) from error
    arrays = prepare_inputs(given, dtype, "what redraw gives")
    shapes, expected = [a.shape for a in arrays], [a.shape for a in before]
    if shapes != expected:
        raise MiniAlexError(f"redraw must give inputs of the shapes {expected}, not {shapes}")
    return given


def _of_one_result(name: str, forward, vjp, arrays, dtype) -> tuple[Callable, Callable, int]:
    """The two functions for one result, into which several are joined; and how many elements it has."""

    def fail(check: str, summary: str, cause: Exception | None = None):
        raise GradcheckError(check, summary, operation=name) from cause

    def result(y):
        y = as_array(y, dtype)
        if not is_number_array(y):
            should = "it should return an array, or a tuple of arrays"
            fail("result", f"forward gives {described(y)}; {should}")
        return y

    first, single = forward_results(forward, arrays, dtype, fail)
    if single:
        return lambda *inputs: result(forward(*inputs)), vjp, first[0].size
    shapes = [y.shape for y in first]
    return (
        lambda *inputs: joined([result(y) for y in forward(*inputs)]),
        lambda upstream, *inputs: vjp(tuple(_parts(upstream, shapes)), *inputs),
        sum(y.size for y in first),
    )


def _parts(upstream: np.ndarray, shapes) -> list[np.ndarray]:
    """The upstream gradient of each result; where that of all is strided, they are transposed in memory."""
    parts = split(upstream, shapes)
    return parts if upstream.flags.c_contiguous else [part.copy(order="F") for part in parts]


def joined(arrays: Sequence[np.ndarray]) -> np.ndarray:
    """All results as one: the array itself, or a vector of several."""
    return arrays[0] if len(arrays) == 1 else np.concatenate([a.ravel() for a in arrays])


def split(vector: np.ndarray, shapes: Sequence[tuple[int, ...]]) -> list[np.ndarray]:
    """Take apart what `joined` has joined."""
    if len(shapes) == 1:
        return [vector]
    ends = np.cumsum([math.prod(shape) for shape in shapes])[:-1]
    return [part.reshape(shape) for part, shape in zip(np.split(vector, ends), shapes, strict=True)]


def _moves(constrained: Sequence[Constraint], arrays: Arrays) -> int | None:
    """Along how many directions those inputs move that constraints hold; None if there are none."""
    counts = [(each.count(array), array.size) for each, array in zip(constrained, arrays, strict=True)]
    moves = [count for count, size in counts if count < size]
    return sum(moves) if moves else None


def _choose_mode(outputs: int, arrays, wrt) -> str:
    return "jacobian" if outputs * sum(arrays[i].size for i in wrt) <= JACOBIAN_LIMIT else "directions"
