"""Checking JAX's gradients: of plain functions, `jax.jit`, `jax.custom_vjp`, whatever `jax.vjp` takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from minialex.checking.adapters.foreign import (
    ForeignCheck,
    ForeignReport,
    Origin,
    function_name,
    in_one_line,
    prepare_options,
    run_orders,
)
from minialex.checking.adapters.jax_traces import Traced, TracedGradient
from minialex.checking.reproduction import Reproduction
from minialex.checks import in_words


def check_jax(
    function: Callable,
    inputs: Any,
    *,
    kwargs: Mapping[str, Any] | None = None,
    argnums: int | Sequence[int] | None = None,
    order: int = 1,
    **options,
) -> ForeignReport:
    """Check the gradient of a JAX function.

    Parameters
    ----------
    function : callable
        A plain function, or what `jax.jit`, `jax.custom_vjp` and others make of one. It gives an array or a
        pytree of arrays; integers and booleans among these have no gradient, which the report says.
    inputs : array or sequence
        The arguments, each an array or a pytree. Floating-point arrays, JAX's or NumPy's, are
        differentiated; integer arrays, Python's numbers, functions and whatever else are passed on, and so
        are the ``nondiff_argnums`` of a `jax.custom_vjp`.
    argnums : int or sequence of int, optional
        The arguments to differentiate, as `jax.grad` has it: all that hold a floating-point array by default.
    kwargs, order, **options
        As of `check_torch`. For float64, 64-bit numbers are enabled while the check runs.

    Returns
    -------
    ForeignReport
        A `Report`, with notes.

    Raises
    ------
    GradcheckError
        As of `check_torch`, where JAX's arrays can go wrong in the same way; and if a ``fwd`` gives another
        result than the function (``"values"``).
    MiniAlexError
        If an argument is not as described.

    Examples
    --------
    >>> ma.check_jax(lambda p, x: jnp.tanh(x @ p["w"]), [{"w": w}, x])
    """
    dtype = prepare_options("check_jax", function, order, options, chosen_by="argnums")
    name = options["name"] = options.get("name") or function_name(function)
    traced = Traced(function, inputs, {} if kwargs is None else kwargs, argnums, dtype)
    if options.get("reproduce") is None:
        options["reproduce"] = _reproduction(traced, options, order)
    return run_orders(_Check(traced, options, name), _SecondCheck, order)


class _Check(ForeignCheck):
    """The check of a function, or of its gradient: what is looked at once, and the comparison."""

    function: Traced
    backward = "its backward"
    one_input = "where only {} is differentiated"
    one_result = "where only {} is used"

    def probe(self) -> None:
        """Call the function and its backward once, and refuse what cannot be checked."""
        traced = self.function
        try:
            found = traced.record(list(map(traced.own, traced.arrays)))
        except Exception as error:
            self.fail("raises", f"the function raises {in_one_line(error)}", error)
        self._require_results(found)
        values = [np.array(found[k][1], traced.dtype_of(found[k][1])) for k in traced.kept]
        recorded, _ = self._pulled("", self.drawn(y.shape for y in values))
        names, failure = ["the result"] * len(values), ("values", "where it is differentiated (its fwd)")
        self.require_same(values, recorded, names, failure, Origin())

    def _require_results(self, found) -> None:
        traced, numpy = self.function, self.function.jax.numpy
        traced.paths, traced.kept = [path for path, _ in found], []
        for k, (path, value) in enumerate(found):
            what = "what it returns" if path == "result" else path
            if not hasattr(value, "dtype") and not isinstance(value, bool | int | float | complex):
                self.fail("result", f"{what} is {in_words(value)}: return arrays")
            dtype = value.dtype if hasattr(value, "dtype") else np.dtype(type(value))
            if numpy.issubdtype(dtype, numpy.complexfloating):
                self.fail("result", f"{what} is {dtype}: return its real and its imaginary part")
            elif numpy.issubdtype(dtype, numpy.floating):
                if traced.dtype_of(value) != traced.dtype:
                    given = f"{dtype} for inputs of {traced.dtype.name}"
                    self.fail("dtype", f"{what} is {given}: the function should keep the dtype")
                traced.kept.append(k)
            else:
                self.notes.append(f"{path} is {dtype} and has no gradient")
        if not traced.kept:
            self.fail("result", "it returns no floating-point array: there is nothing to differentiate")

    def _pulled(self, where: str, drawn, asked: Sequence[int] | None = None, only: int | None = None):
        """The results, and the gradients of some inputs and some results, of a call of its own."""
        traced = self.function
        leaves = list(map(traced.own, traced.arrays))
        asked = range(len(leaves)) if asked is None else asked
        kept = range(len(drawn)) if only is None else [only]

        def part(*some):
            every = list(leaves)
            for i, leaf in zip(asked, some, strict=True):
                every[i] = leaf
            results = traced.results(*every)
            return tuple(results[k] for k in kept)

        try:
            results, pull = traced.jax.vjp(part, *(leaves[i] for i in asked))
            gradients = pull(tuple(traced.own(drawn[k]) for k in kept))
        except Exception as error:
            self.fail("raises", f"{where}{self.backward} raises {in_one_line(error)}", error)
        return list(map(np.array, results)), list(map(np.array, gradients))

    def part(self, where: str, drawn, *, asked=None, only=None):
        return self._pulled(f"{where} ", drawn, asked, only)[1]

    def used_results(self) -> tuple[list[np.ndarray], list[int]]:
        traced = self.function
        drawn = self.drawn(y.shape for y in traced.results(*map(traced.own, traced.arrays)))
        return drawn, list(range(len(drawn)))


class _SecondCheck(_Check):
    """The check of the gradient, as a function of inputs and upstream gradients."""

    backward = "differentiating its gradient"

    def __init__(self, first: _Check):
        with first.function.environment():
            drawn, _ = first.used_results()
        super().__init__(TracedGradient(first.function, drawn), first.options, f"gradient of {first.name}")

    def check_parts(self) -> None:
        """The first order has asked for them."""


def _reproduction(traced: Traced, options: dict, order: int) -> Reproduction:
    def written(argument):
        return traced.jax.tree_util.tree_map(as_array, argument)

    def as_array(leaf):
        jax = traced.jax
        plain = isinstance(leaf, jax.Array) and not jax.numpy.issubdtype(leaf.dtype, jax.dtypes.extended)
        return np.asarray(leaf) if plain else leaf

    chosen = {key: value for key, value in options.items() if key not in ("name", "kernel")}
    chosen |= {"argnums": traced.argnums, "order": order}
    if traced.kwargs:
        chosen["kwargs"] = written(dict(traced.kwargs))
    given = [each if i in traced.static else written(each) for i, each in enumerate(traced.inputs)]
    return Reproduction(check_jax, ("function",), given, chosen, f"function: {options['name']}")
