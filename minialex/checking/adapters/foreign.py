"""What `check_torch` and `check_jax`, the checks of other libraries' functions, share.

Both write a function as a forward and a vjp of arrays, for `check_vjp`. Here are the names that messages give
the arguments, the notes in the report, and the options that are not passed on.
"""

from __future__ import annotations

import functools
import re
import types
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, fields
from typing import NamedTuple, NoReturn, Protocol

import numpy as np

from minialex.checking.gradients.arguments import (
    refuse_options,
    require_callables,
    require_dtype,
    require_texts,
)
from minialex.checking.gradients.differences import largest
from minialex.checking.gradients.noise import ROUNDING
from minialex.checking.gradients.vjp import check_vjp
from minialex.checking.report import GradcheckError, Report
from minialex.checks import in_words, is_int, require_choice, require_int
from minialex.errors import MiniAlexError

# Upstream gradients come from a stream of their own: equal to inputs that were drawn from the same seed, they
# would hide mistakes.
_STREAM = 3
# Which check is that of a library, by the package that its classes and functions are in.
_CHECKS = {"torch": "check_torch", "jax": "check_jax", "jaxlib": "check_jax"}
# At how many points rounding is looked for, how many last bits away at most, and how many times what they
# show it may be.
_POINTS = 6
_BITS = 4
_SCATTER = 32
# How much of an exception's message is shown.
_LONG = 500


@dataclass
class ForeignReport(Report):
    """What was checked of another library's function.

    Attributes
    ----------
    notes : tuple of str
        Also worth knowing: results that have no gradient, buffers that the function changes.
    """

    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        return "; ".join([super().__str__(), *self.notes])


class ForeignGradcheckError(GradcheckError):
    """A `GradcheckError` whose message calls each input by its name: ``parameter 'weight'``."""

    def __init__(self, check: str, summary: str, *, names: Sequence[str] = (), **details):
        self.names = tuple(names)
        super().__init__(check, summary, **details)

    @classmethod
    def of(cls, error: GradcheckError, names: Sequence[str]) -> ForeignGradcheckError:
        """The same error, with names."""
        attributes = {name: value for name, value in vars(error).items() if name != "names"}
        return cls(attributes.pop("check"), attributes.pop("summary"), names=names, **attributes)

    def _text(self) -> str:
        # The lines to reproduce it are code, and stay as they are.
        said, separator, rest = super()._text().partition("  to reproduce:\n")
        return _named(said, self.names) + separator + rest


def _named(text: str, names: Sequence[str]) -> str:
    """A message of `check_vjp`, which numbers the inputs, with their names."""

    def name(found: re.Match) -> str:
        return names[int(found[1])] if int(found[1]) < len(names) else found[0]

    return re.sub(r"\binput (\d+)\b", name, text)


class Differentiable(Protocol):
    """A function of another library, as functions of arrays.

    Attributes
    ----------
    arrays : list of array
        By which it is differentiated, in the dtype of the check.
    names, paths : list of str
        What messages call each of them, and each result.
    kept : list of int
        Which of the results are differentiated.
    positions : list of int or None
        Which of the `count` arguments each is part of; None for what is not an argument, such as a parameter.
    """

    arrays: list[np.ndarray]
    names: list[str]
    paths: list[str]
    kept: list[int]
    positions: list[int | None]
    count: int
    dtype: np.dtype

    def environment(self) -> AbstractContextManager:
        """The context in which the function is called."""

    def forward(self, *arrays: np.ndarray): ...

    def vjp(self, upstream, *arrays: np.ndarray) -> tuple[np.ndarray, ...]: ...

    def take(self, inputs) -> None:
        """Take other arguments."""


class GradientFunction:
    """The gradient of such a function, as one of the same arrays and of upstream gradients."""

    def __init__(self, first: Differentiable, upstreams: Sequence[np.ndarray]):
        self.__dict__ |= vars(first)
        self.first, self.given = first, list(upstreams)
        results = [first.paths[k] for k in first.kept]
        self.names = first.names + [f"the upstream gradient of {path}" for path in results]
        self.arrays = first.arrays + self.given
        self.positions = first.positions + [None] * len(self.given)

    def take(self, inputs, kwargs=None) -> None:
        self.first.take(inputs, kwargs)
        self.arrays = self.first.arrays + self.given


class Origin(NamedTuple):
    """What some results come from, or some gradients, for which there are upstream gradients.

    Attributes
    ----------
    upstreams : sequence of array
    arrays : sequence of array, optional
        Those that the function was called with; its own by default.
    first : int
        The number of the first of the results or gradients.
    """

    upstreams: Sequence[np.ndarray] = ()
    arrays: Sequence[np.ndarray] | None = None
    first: int = 0


class ForeignCheck:
    """The check of such a function: its comparison by `check_vjp`, and what failures and reports say.

    Attributes
    ----------
    one_input, one_result : str
        What is said of a gradient where only that of one input is asked for, or only one result is used.
    """

    one_input = one_result = ""

    def __init__(self, function: Differentiable, options: dict, name: str):
        self.function, self.options, self.seed = function, options | {"name": name}, options["seed"]
        self.name = name
        self.notes: list[str] = []

    def run(self, *notes: str) -> ForeignReport:
        """All of it: what is looked at once, the comparison, and parts of the gradient by themselves."""
        with self.function.environment():
            self.probe()
        report = self.compare(*notes)
        with self.function.environment():
            self.check_parts()
        return report

    def probe(self) -> None:
        """Call the function and its backward once, and refuse what cannot be checked."""
        raise NotImplementedError

    def part(self, where: str, drawn: Sequence[np.ndarray], *, asked=None, only: int | None = None) -> list:
        """The gradients of the inputs asked for, where all results or only one are used, by a new call."""
        raise NotImplementedError

    def used_results(self) -> tuple[list[np.ndarray], list[int]]:
        """Random upstream gradients for all results, and which results are part of the graph."""
        raise NotImplementedError

    def check_parts(self) -> None:
        """Ask for the gradient of one input by itself, and for that of one result by itself."""
        function, names = self.function, self.gradient_names()
        drawn, used = self.used_results()
        whole = self.part("once more", drawn)
        for i, name in enumerate(function.names if len(names) > 1 else []):
            where, one = self.one_input.format(name), slice(i, i + 1)
            found = self.part(where, drawn, asked=[i])
            self.require_same(whole[one], found, names[one], ("values", where), Origin(drawn, first=i))
        for k in used if len(used) > 1 else []:
            where = self.one_result.format(function.paths[function.kept[k]])
            others = [u if j == k else np.zeros_like(u) for j, u in enumerate(drawn)]
            expected = self.part("for zeros", others)
            found = self.part(where, drawn, only=k)
            self.require_same(expected, found, names, ("values", where), Origin(drawn))

    def fail(self, check: str, summary: str, cause: Exception | None = None) -> NoReturn:
        raise ForeignGradcheckError(
            check, summary, operation=self.name, seed=self.seed, reproduce=str(self.options["reproduce"])
        ) from cause

    def drawn(self, shapes: Iterable[tuple[int, ...]]) -> list[np.ndarray]:
        """Random upstream gradients."""
        generator = np.random.default_rng([self.seed, _STREAM])
        return [generator.standard_normal(shape).astype(self.function.dtype) for shape in shapes]

    def compare(self, *notes: str) -> ForeignReport:
        """Compare the derivatives, and what else `check_vjp` looks at."""
        function, options = self.function, dict(self.options)
        if options.get("constraints") is not None:
            options["constraints"] = _constraints_for(options["constraints"], function)
        if options.get("redraw") is not None:
            options["redraw"] = functools.partial(_redrawn, function, options["redraw"])
        try:
            report = check_vjp(function.forward, function.vjp, function.arrays, **options)
        except GradcheckError as error:
            raise ForeignGradcheckError.of(error, function.names) from error.__cause__
        except MiniAlexError as error:
            if type(error) is not MiniAlexError:
                raise
            raise MiniAlexError(_named(str(error), function.names)) from error
        values = {each.name: getattr(report, each.name) for each in fields(report) if each.init}
        return ForeignReport(**values, notes=tuple(dict.fromkeys((*notes, *self.notes))))

    def require_same(self, expected, found, names, failure: tuple[str, str], origin: Origin) -> None:
        """Fail unless two lists of arrays agree but for rounding.

        `failure` is the check that fails, and where the two differ, in words.
        """
        scattered = None
        for at, (a, b, name) in enumerate(zip(expected, found, names, strict=True), origin.first):
            if np.array_equal(a, b, equal_nan=a.dtype.kind == "f"):
                continue
            limit = ROUNDING * float(np.finfo(a.dtype).eps) * (largest(a) + largest(b))
            if _agree(a, b, limit):
                continue
            # Only now is it worth asking what the last bits of larger numbers do to it.
            if scattered is None:
                arrays = self.function.arrays if origin.arrays is None else origin.arrays
                scattered = self._scattered(origin.upstreams, arrays)
            if not _agree(a, b, limit + _SCATTER * scattered[at]):
                check, where = failure
                self.fail(check, f"{name} is different {where}")

    def _scattered(self, upstreams, arrays) -> list[float]:
        """By how much each result, or each gradient, differs where inputs differ by their last bits."""
        generator = np.random.default_rng([self.seed, _STREAM, 1])

        def nearby(array: np.ndarray) -> np.ndarray:
            bits = float(np.finfo(array.dtype).eps) * generator.integers(-_BITS, _BITS + 1, array.shape)
            return (array * (1 + bits)).astype(array.dtype)

        values = []
        for _ in range(_POINTS):
            moved = [nearby(array) for array in arrays]
            given = tuple(map(nearby, upstreams))
            try:
                with np.errstate(all="ignore"):
                    found = (
                        self.function.vjp(given if len(given) > 1 else given[0], *moved)
                        if upstreams
                        else self.function.forward(*moved)
                    )
            except Exception:
                continue  # It is not defined there.
            values.append(found if isinstance(found, tuple) else (found,))
        with np.errstate(all="ignore"):
            return [largest(np.ptp(np.array(each, np.float64), axis=0)) for each in zip(*values, strict=True)]

    def gradient_names(self) -> list[str]:
        return [f"the gradient of {name}" for name in self.function.names]


def _redrawn(function: Differentiable, redraw: Callable, generator) -> list[np.ndarray]:
    """The arrays of other arguments."""
    before = [array.shape for array in function.arrays]
    function.take(redraw(generator))
    if [array.shape for array in function.arrays] != before:
        raise MiniAlexError(
            "redraw must give as many arrays to differentiate by as inputs has, of the same shapes"
        )
    return function.arrays


def prepare_options(check: str, function: Callable, order: int, options: dict, chosen_by: str) -> np.dtype:
    """Refuse arguments that have no meaning for another library's functions; give the dtype to check in."""
    require_callables(function=function)
    refuse_options(
        check,
        options,
        wrt=f"{chosen_by} says what is differentiated",
        branches="kinks are told by second differences; leave it out",
    )
    require_texts(name=options.get("name"))
    require_choice("method", options.get("method", "central"), ("central", "complex"))
    if options.get("method") == "complex":
        raise MiniAlexError(
            f'method="complex" is not for {check}: gradients of other libraries do not take complex numbers '
            'for real ones; leave it out, or pass "central"'
        )
    if not is_int(order, 1, 2):
        raise MiniAlexError(
            f"order must be 1, for the gradient, or 2, for its own as well, not {in_words(order)}"
        )
    require_int("seed", options.setdefault("seed", 0), 0)
    dtype = require_dtype(options.get("dtype", np.float64))
    options["dtype"] = dtype.name
    return dtype


def run_orders(
    first: ForeignCheck, second: Callable[[ForeignCheck], ForeignCheck], order: int
) -> ForeignReport:
    """Check a function, and then its gradient, if that is asked for."""
    report = first.run()
    if order == 1:
        return report
    said = f"first order: {report.compared:,} derivatives agree to {report.worst_error:.1e}"
    return second(first).run(*first.notes, said)


def _constraints_for(constraints, function: Differentiable) -> list:
    """The constraint of each array, from those of the arguments: an argument's holds for all its arrays."""
    if not isinstance(constraints, list | tuple) or len(constraints) != function.count:
        raise MiniAlexError(
            f"constraints must be a list with one for each of the {function.count} arguments, None for what "
            f"is free, not {in_words(constraints)}"
        )
    return [None if position is None else constraints[position] for position in function.positions]


def _agree(a: np.ndarray, b: np.ndarray, limit: float) -> bool:
    return a.shape == b.shape and bool(np.all((np.abs(a - b) <= limit) | (a == b)))


def in_one_line(error: Exception) -> str:
    """An exception with its message, which libraries spread over many lines."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text if len(text) <= _LONG else text[: _LONG - 3] + '...'}"


def check_for(value: object) -> str | None:
    """The check for the library that an object comes from; None if it comes from none of them.

    Nothing is imported to tell: a class, or a function, names its module.
    """
    while isinstance(value, functools.partial):
        value = value.func
    owner = getattr(value, "__self__", None)
    kinds = [kind for each in (value, owner) for kind in _kinds(each)]
    modules = [each.__module__ for each in kinds] + [getattr(value, "__module__", None)]
    roots = [module.partition(".")[0] for module in modules if isinstance(module, str)]
    return next((_CHECKS[root] for root in roots if root in _CHECKS), None)


def described_as(value: object) -> str:
    """What an object of another library is, for a message: its own name, or that of its type."""
    named = getattr(value, "__name__", None)
    library = {"check_torch": "PyTorch", "check_jax": "JAX"}[check_for(value)]
    return f"{named} of {library}" if isinstance(named, str) else f"a {type(value).__name__} of {library}"


def _kinds(value: object) -> tuple[type, ...]:
    return (*type(value).__mro__, *(value.__mro__ if isinstance(value, type) else ()))


def function_name(function: Callable) -> str:
    """What to call a function in messages: its name; of a partial, that of the function in it."""
    while isinstance(function, functools.partial):
        function = function.func
    # A compiled function's qualified name is that of a class inside the library.
    name = "__name__" if isinstance(function, types.BuiltinFunctionType) else "__qualname__"
    return getattr(function, name, None) or type(function).__name__
