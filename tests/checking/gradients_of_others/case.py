"""What a case is made of: a function, where it is differentiated, and a gradient, right or wrong.

for case in cases():
print(case.name, case.right)
check_vjp(case.forward, case.vjp, case.inputs, wrt=case.wrt)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

Vjp = Callable[..., tuple]


@dataclass(frozen=True)
class Mistake:
    """How a right gradient becomes a wrong one.

    Attributes
    ----------
    name : str
    of : callable
        Gives the wrong vjp for the right one.
    at : tuple of str, optional
        The points at which it is one; all by default.
    """

    name: str
    of: Callable[[Vjp], Vjp]
    at: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Function:
    """A function of somebody else's library, and its gradient, written by hand from the formula.

    Attributes
    ----------
    name : str
    forward : callable
        ``forward(*inputs)`` gives an array, or a tuple of them. It uses NumPy as ``np`` and SciPy's special
        functions as ``special``, and changes nothing in place: so JAX, put in their place, differentiates the
        same source.
    vjp : callable
        ``vjp(upstream, *inputs)`` gives a tuple, None for what is not differentiated.
    at : dict
        The inputs by the name of the point or the scale.
    wrong : sequence of Mistake
    wrt : tuple of int, optional
        The inputs that are differentiated; all floating-point ones by default.
    library : str
    native : callable, optional
        The function on the library's own arrays, which the library differentiates itself.
    own : callable, optional
        The vjp that the library's own differentiation gives: right as well, but rounded differently.
    """

    name: str
    forward: Callable
    vjp: Vjp
    at: dict[str, Sequence[np.ndarray]]
    wrong: Sequence[Mistake]
    wrt: tuple[int, ...] | None = None
    library: str = "NumPy"
    native: Callable | None = None
    own: Vjp | None = None

    def cases(self) -> Iterable[Case]:
        """The right gradient at every point, and there every mistake."""
        for where in self.at:
            yield Case(self, where, "right", self.vjp, True)
            if self.own is not None:
                yield Case(self, where, f"right: {self.library}'s own", self.own, True)
            for mistake in self.wrong:
                if mistake.at is None or where in mistake.at:
                    yield Case(self, where, mistake.name, mistake.of(self.vjp), False)


@dataclass(frozen=True)
class Case:
    """One gradient at one point, and whether it is right."""

    function: Function
    where: str
    gradient: str
    vjp: Vjp = field(repr=False)
    right: bool

    @property
    def name(self) -> str:
        return f"{self.function.name} at {self.where}: {self.gradient}"

    @property
    def forward(self) -> Callable:
        return self.function.forward

    @property
    def inputs(self) -> list[np.ndarray]:
        return [np.array(a) for a in self.function.at[self.where]]

    @property
    def wrt(self) -> tuple[int, ...] | None:
        return self.function.wrt

    def differentiated(self) -> tuple[int, ...]:
        """The positions of the inputs that are differentiated."""
        if self.wrt is not None:
            return self.wrt
        return tuple(i for i, a in enumerate(self.inputs) if a.dtype.kind == "f")


def elementwise(
    name: str, f: Callable, slope: Callable, at: dict[str, np.ndarray], wrong, **more
) -> Function:
    """A function of one array, element by element, by its derivative."""
    return Function(name, f, lambda u, x: (u * slope(x),), {k: [x] for k, x in at.items()}, wrong, **more)


# Where to differentiate


def positive(scale: float) -> np.ndarray:
    """Five positive numbers of a magnitude."""
    return scale * np.array([0.71, 1.37, 1.93, 2.62, 3.19])


def signed(scale: float) -> np.ndarray:
    """Six numbers of either sign of a magnitude."""
    return scale * np.array([-2.13, -1.41, -0.67, 0.59, 1.72, 2.91])


def normal(seed: int, *shape: int, scale: float = 1.0, mean: float = 0.0) -> np.ndarray:
    """Normally distributed numbers."""
    return mean + scale * np.random.default_rng(seed).standard_normal(shape)


def scales(make: Callable[[float], np.ndarray], *magnitudes: float) -> dict[str, np.ndarray]:
    """The same at several magnitudes, by their names."""
    return {f"{magnitude:g}": make(magnitude) for magnitude in magnitudes}


def normal_scales(seed: int, shape: tuple[int, ...], *magnitudes: float) -> dict[str, list[np.ndarray]]:
    """One normally distributed array at several magnitudes."""
    return {f"{m:g}": [normal(seed, *shape, scale=m)] for m in magnitudes}


# What goes wrong in a gradient of anything


def _each(change: Callable[..., np.ndarray]) -> Callable[[Vjp], Vjp]:
    """The mistake that changes each gradient, given it and the input it belongs to."""

    def of(right: Vjp) -> Vjp:
        def wrong(u, *inputs):
            gradients = right(u, *inputs)
            return tuple(None if g is None else change(g, a) for g, a in zip(gradients, inputs, strict=True))

        return wrong

    return of


def times(factor: float, at=None) -> Mistake:
    """A constant factor."""
    return Mistake(f"a factor of {factor:g}", _each(lambda g, a: g * factor), at)


def negated(at=None) -> Mistake:
    return Mistake("the sign", _each(lambda g, a: -g), at)


def instead(name: str, vjp: Vjp, at=None) -> Mistake:
    """Another gradient altogether."""
    return Mistake(name, lambda right: vjp, at)


def slope(name: str, derivative: Callable[[np.ndarray], np.ndarray], at=None) -> Mistake:
    """Another derivative of a function of one array, element by element."""
    return Mistake(name, lambda right: lambda u, x: (u * derivative(x),), at)


def one_element(factor: float = 1.01, at=None) -> Mistake:
    """Only one element is wrong: the last."""

    def change(g, a):
        g = np.array(g)
        g.reshape(-1)[-1:] *= factor
        return g

    return Mistake(f"only the last element, by {factor:g}", _each(change), at)


def at_smallest(factor: float = 2.0, at=None) -> Mistake:
    """The gradient of the element that is smallest by magnitude is wrong."""

    def change(g, a):
        return np.where(np.abs(a) == np.abs(a).min(), g * factor, g)

    return Mistake(f"only the smallest element, by {factor:g}", _each(change), at)


def in_float32(at=None) -> Mistake:
    """The right formula in single precision."""

    def of(right):
        def wrong(u, *inputs):
            short = (a.astype(np.float32) if a.dtype.kind == "f" else a for a in map(np.asarray, inputs))
            us = (
                tuple(each.astype(np.float32) for each in u) if isinstance(u, tuple) else u.astype(np.float32)
            )
            return tuple(None if g is None else g.astype(np.float64) for g in right(us, *short))

        return wrong

    return Mistake("computed in float32", of, at)


def squared_upstream(at=None) -> Mistake:
    return Mistake("the upstream gradient squared", lambda right: lambda u, *x: right(u * u, *x), at)


def ignored_upstream(at=None) -> Mistake:
    return Mistake(
        "the upstream gradient ignored", lambda right: lambda u, *x: right(np.ones_like(u), *x), at
    )


def stale(factor: float = 1.1, at=None) -> Mistake:
    """The derivative at other inputs, as of an earlier call."""

    def of(right):
        return lambda u, *inputs: right(u, *(a * factor if a.dtype.kind == "f" else a for a in inputs))

    return Mistake("at the inputs of another call", of, at)


def without(position: int, at=None) -> Mistake:
    """The gradient of one input is forgotten: zeros."""

    def of(right):
        def wrong(u, *inputs):
            gradients = list(right(u, *inputs))
            gradients[position] = np.zeros_like(gradients[position])
            return tuple(gradients)

        return wrong

    return Mistake(f"the gradient of input {position} forgotten", of, at)


def swapped(at=None) -> Mistake:
    """The gradients of two inputs of one shape in the wrong order."""
    return Mistake("two gradients swapped", lambda right: lambda u, *x: tuple(right(u, *x))[::-1], at)
