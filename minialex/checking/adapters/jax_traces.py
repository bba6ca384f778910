"""A JAX function as functions of arrays: called, traced, and differentiated by JAX itself."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from minialex.checking.adapters.foreign import GradientFunction
from minialex.checks import in_words, is_int
from minialex.errors import MiniAlexError


class Traced:
    """A function of JAX as functions of arrays: of the leaves of its arguments.

    Attributes
    ----------
    names, arrays, positions, count
        As `Differentiable` has them.
    paths : list of str
        Where the function returns what: ``result['loss']``. Set, as is `kept`, at the first call.
    kept : list of int
        Which of these are differentiated.
    """

    def __init__(self, function, inputs, kwargs, argnums, dtype: np.dtype):
        self.jax, self.enable_float64 = import_jax()
        self.call, self.argnums, self.dtype = function, argnums, dtype
        self.paths: list[str] = []
        self.kept: list[int] = []
        self.last: tuple[tuple, Any] = ((), None)
        self.take(inputs, kwargs)

    def take(self, inputs, kwargs=None) -> None:
        """Take these arguments, at first and whenever others are drawn."""
        tree, numpy = self.jax.tree_util, self.jax.numpy
        if isinstance(inputs, dict) or self._is_array(inputs):
            inputs = (inputs,)
        if not isinstance(inputs, list | tuple):
            raise MiniAlexError(
                f"inputs must be an array, or a list of the function's arguments, not {in_words(inputs)}"
            )
        self.kwargs = self.kwargs if kwargs is None else kwargs
        if not isinstance(self.kwargs, Mapping):
            raise MiniAlexError(
                f"kwargs must be a dict of the arguments by name, not {in_words(self.kwargs)}"
            )
        self.inputs, self.count = tuple(inputs), len(inputs)
        asked = self._asked()
        # In these places a custom_vjp takes any argument but one that JAX traces.
        static = getattr(self.call, "nondiff_argnums", ())
        self.static = {i % self.count for i in static if -self.count <= i < self.count}
        traced = tuple(None if i in self.static else each for i, each in enumerate(self.inputs))
        found, self.structure = tree.tree_flatten_with_path((traced, dict(self.kwargs)))
        self.leaves: list[Any] = []
        self.wanted: list[int] = []
        self.converted: list[int] = []
        self.names, self.arrays, self.positions = [], [], []
        for k, (path, leaf) in enumerate(found):
            of_inputs = path[0].idx == 0
            position = path[1].idx if of_inputs else None
            name = ("inputs" if of_inputs else "kwargs") + tree.keystr(path[1:])
            real = self._is_array(leaf) and numpy.issubdtype(leaf.dtype, numpy.floating)
            chosen = position in asked if of_inputs else self.argnums is None
            if chosen and self._is_array(leaf) and numpy.issubdtype(leaf.dtype, numpy.complexfloating):
                raise MiniAlexError(
                    f"{name} is {leaf.dtype}: complex inputs cannot be checked; pass the real and the "
                    "imaginary part, and join them in the function, or leave it out of argnums"
                )
            # A function of float64 need not take float32 beside it.
            self.leaves.append(np.array(np.asarray(leaf), self.dtype, order="C") if real else leaf)
            if real and isinstance(leaf, self.jax.Array):
                self.converted.append(k)
            if real and chosen:
                self.wanted.append(k)
                self.names.append(name)
                self.positions.append(position)
                self.arrays.append(self.leaves[k])
        if not self.arrays:
            raise MiniAlexError(
                "there is nothing to differentiate: no argument that is asked for holds a floating-point "
                "array (Python's numbers are passed on as they are)"
            )

    def _asked(self) -> set[int]:
        """The positions of the arguments that are differentiated."""
        if self.argnums is None:
            return set(range(self.count))
        given = [self.argnums] if is_int(self.argnums, -self.count) else self.argnums
        if (
            not isinstance(given, list | tuple)
            or not given
            or not all(is_int(i, -self.count, self.count - 1) for i in given)
        ):
            raise MiniAlexError(
                f"argnums must be the position of one of the {self.count} arguments, or a list of such "
                f"positions, not {in_words(self.argnums)}"
            )
        return {i % self.count for i in given}

    def _is_array(self, value) -> bool:
        return isinstance(value, np.ndarray | np.generic | self.jax.Array)

    def environment(self):
        """The context in which the function is called: with 64-bit numbers, where they are asked for."""
        return self.enable_float64() if self.dtype == np.float64 else contextlib.nullcontext()

    def own(self, array: np.ndarray):
        """An array of JAX in memory of its own."""
        return self.jax.numpy.array(np.array(array, order="C"))

    def record(self, leaves) -> list[tuple[str, Any]]:
        """Call the function with these leaves; give what it returns, with the paths."""
        tree, every = self.jax.tree_util, list(self.leaves)
        for k in self.converted:
            every[k] = self.own(every[k])
        for k, leaf in zip(self.wanted, leaves, strict=True):
            every[k] = leaf
        args, kwargs = tree.tree_unflatten(self.structure, every)
        args = [self.inputs[i] if i in self.static else each for i, each in enumerate(args)]
        found = tree.tree_flatten_with_path(self.call(*args, **kwargs))[0]
        return [("result" + tree.keystr(path), value) for path, value in found]

    def results(self, *leaves) -> tuple:
        """The results that are differentiated."""
        found = self.record(leaves)
        if [path for path, _ in found] != self.paths:
            raise ValueError(f"it returns {len(found)} results here, and {len(self.paths)} in the first call")
        return tuple(self.jax.numpy.asarray(found[k][1], self.dtype_of(found[k][1])) for k in self.kept)

    def dtype_of(self, result):
        """The dtype of a result; a number of Python, which has none of its own, has that of the check."""
        return result.dtype if hasattr(result, "dtype") else self.dtype

    def forward(self, *arrays):
        """The results, as an array or a tuple of arrays."""
        with self.environment():
            values = tuple(map(np.array, self.results(*map(self.own, arrays))))
        return values if len(values) > 1 else values[0]

    def vjp(self, upstream, *arrays):
        """The gradients of all arrays."""
        parts = upstream if isinstance(upstream, tuple) else (upstream,)
        with self.environment():
            # Tracing takes longer than calling what was traced, which each row of a Jacobian does.
            key = tuple(array.tobytes() for array in arrays)
            if self.last[0] != key:
                self.last = key, self.jax.vjp(self.results, *map(self.own, arrays))[1]
            return tuple(map(np.array, self.last[1](tuple(map(self.own, parts)))))


class TracedGradient(GradientFunction, Traced):
    """The gradient of a function, traced so that it can be differentiated."""

    def __init__(self, first: Traced, upstreams: Sequence[np.ndarray]):
        super().__init__(first, upstreams)
        self.last = ((), None)

    def record(self, leaves):
        first, count = self.first, len(self.first.arrays)
        _, pull = first.jax.vjp(first.results, *leaves[:count])
        names = [f"the gradient of {name}" for name in first.names]
        return list(zip(names, pull(tuple(leaves[count:])), strict=True))


def import_jax():
    """JAX, which nothing else of the package needs, and its context of 64-bit numbers.

    Raises
    ------
    MiniAlexError
        If it is not installed.
    """
    try:
        import jax
        import jax.numpy
    except ImportError as error:
        raise MiniAlexError(f"check_jax needs JAX, which cannot be imported: {error}") from error
    if hasattr(jax, "enable_x64"):
        return jax, lambda: jax.enable_x64(True)
    # Where JAX had it until version 0.8.
    from jax.experimental import enable_x64

    return jax, enable_x64
