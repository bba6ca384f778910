"""Forward against reverse mode: <u, J v> = <Jᵀ u, v> for any u and v.

Both sides are exact but for rounding: the comparison sees errors that numerical derivatives do not resolve.
What rounding may be is measured, as the terms of a product may be much larger than the product itself (in
the gradient of a confident prediction they cancel). J (a v) / a is J v but for rounding, for any number a;
where the inputs move by their last bits, so does J v. With δ that difference, for each element of J v and
of Jᵀ u,

    size      = max(|J v|, δ / 16 eps)
    tolerance = 512 eps (Σ |u| size(J v) + Σ |v| size(Jᵀ u))

v is drawn in proportion to the inputs, so that J v has the unit of the results y, and u in inverse proportion
to size(J v), so that each output weighs as much as the others, however small it is; for every other pair to
max(size(J v), |y|). What is lost within J itself no such measure shows, as in 1 - tanh² x where that is
1e-13: a pair that is off by no more than |y| is rounded does not count, neither as right nor as wrong. NaN is
never within a tolerance.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from minialex.checking.constraints import Constraint, free
from minialex.checking.gradients.check import Arrays
from minialex.checking.gradients.noise import ROUNDING
from minialex.checking.gradients.returned import as_array, described, one_per_input
from minialex.checking.gradients.tangents import Product
from minialex.checking.report import worst_of
from minialex.errors import MiniAlexError

# Pairs u, v for all inputs at once, and for each by itself.
PAIRS, PAIRS_OF_EACH = 3, 2
# How often rounding is measured, and of how many differences it is taken to be.
_SAMPLES = 4
_ROUNDED = 32
# To which share of its terms a product must be known for a comparison to mean anything.
KNOWN = {np.dtype(np.float64): 1e-7, np.dtype(np.float32): 1e-3}
_STREAM = 3


@dataclass(frozen=True)
class DotProducts:
    """How well the two modes agree.

    Attributes
    ----------
    pairs : int
        How many pairs u, v were compared.
    error, tolerance : float
        Of the pair whose error takes the largest share of its tolerance; relative to the sum of the absolute
        terms of both products.
    """

    pairs: int
    error: float
    tolerance: float

    def __str__(self) -> str:
        return (
            f"<u, J v> and <vjp(u), v> of {self.pairs} random pairs agree to {self.error:.1e} "
            f"(tolerance {self.tolerance:.1e})"
        )


def compare_modes(
    product: Product,
    vjp: Callable,
    inputs: Arrays,
    constraints: Sequence[Constraint],
    max_tolerance: float | None,
    seed: int,
) -> DotProducts:
    """Compare the two products for random u and v.

    Parameters
    ----------
    product : Product
        The jvp.
    vjp : callable
        As of `check_vjp`.
    inputs : sequence of array
    constraints : sequence of Constraint
        One an input: v lies in their moves.
    max_tolerance : float or None
        A pair that is not known to this share of its terms compares nothing; `KNOWN` if None.
    seed : int

    Raises
    ------
    GradcheckError
        ``"dot product"`` if they differ, ``"uncertain"`` if no pair is known well enough to compare.
    """
    pair = _Pairs(product, vjp, inputs, constraints, np.random.default_rng([seed, _STREAM]))
    limit = max_tolerance or KNOWN[product.dtype]
    found = [pair.compare(product.wrt, even=k % 2 == 0) for k in range(PAIRS)]
    if len(product.wrt) > 1:
        found += [pair.compare((i,), even=k % 2 == 0) for i in product.wrt for k in range(PAIRS_OF_EACH)]
    # A pair may be 0 on both sides, as where an input has no influence: it agrees.
    shares = [(error / terms, tolerance / terms) for error, tolerance, terms in found if terms]
    known = [(e, t) for e, t in shares if e <= t <= limit]
    if shares and not known:
        product.fail(
            "uncertain",
            f"<u, J v> and <vjp(u), v> are not known to {limit:.1e} of their terms: they are known to "
            f"{min(t for _, t in shares):.1e}, as far as rounding was measured",
            seed=seed,
        )
    return DotProducts(len(known) + len(found) - len(shares), *worst_of(known))


@dataclass
class _Pairs:
    product: Product
    vjp: Callable
    inputs: Arrays
    constraints: Sequence[Constraint]
    random: np.random.Generator

    def compare(self, moving: Sequence[int], even: bool) -> tuple[float, float, float]:
        """The difference of the two products, its tolerance, and the sum of the absolute terms.

        With `even` each output weighs the same, else no more than its rounding allows.
        """
        product, eps = self.product, float(np.finfo(self.product.dtype).eps)
        tangents = [self._tangent(i) if i in moving else np.zeros_like(self.inputs[i]) for i in product.wrt]
        with np.errstate(all="ignore"):
            of_jvp = product.vector(tangents, self.inputs)
            if not np.isfinite(of_jvp).all():
                # Large results of large inputs may be beyond the largest number.
                tangents = [tangent * product.dtype.type(2.0**-32) for tangent in tangents]
                of_jvp = product.vector(tangents, self.inputs)
        # In a unit in which nothing overflows.
        unit = _power_of_two(of_jvp)
        tangents, of_jvp = [(tangent / unit).astype(product.dtype) for tangent in tangents], of_jvp / unit
        results = np.concatenate([np.abs(y.ravel()) for y in product.results]).astype(np.float64) / unit
        sizes = self._sizes(of_jvp, product.vector, tangents)
        upstream = self._upstream(sizes if even else np.maximum(sizes, results))
        u = np.concatenate([part.ravel() for part in upstream]).astype(np.float64)
        of_vjp = self._gradients(upstream, self.inputs)
        v = np.concatenate([tangent.ravel() for tangent in tangents]).astype(np.float64)
        others = self._sizes(of_vjp, self._gradients, upstream)
        with np.errstate(all="ignore"):
            left, right = float(u @ of_jvp), float(of_vjp @ v)
            terms = float(np.abs(u * of_jvp).sum() + np.abs(of_vjp * v).sum())
            tolerance = ROUNDING * eps * float(np.abs(u) @ sizes + np.abs(v) @ others)
            rounded = ROUNDING * eps * float(np.abs(u) @ results)
        error = abs(left - right)
        if not error <= tolerance + rounded or not math.isfinite(terms):
            where = f" along input {moving[0]}" if len(moving) == 1 < len(product.wrt) else ""
            product.fail(
                "dot product",
                f"forward and reverse mode do not belong to one Jacobian{where}: <u, J v> = {left!r} and "
                f"<vjp(u), v> = {right!r}, {error:.3g} apart (tolerance {tolerance:.3g}), for random u and v",
                input=moving[0] if len(moving) == 1 else None,
                absolute_error=error,
                relative_error=error / max(abs(left), abs(right)) if left or right else math.inf,
                tolerance=tolerance,
            )
        return error, tolerance, terms

    def _tangent(self, i: int) -> np.ndarray:
        """Random, in proportion to the input."""
        x = self.inputs[i]
        typical = float(np.sqrt(np.mean(np.square(x, dtype=np.float64)))) if x.any() else 1.0
        if self.constraints[i] is free:
            scale = np.where(x != 0, np.abs(x), typical)
            return (self.random.standard_normal(x.shape) * scale).astype(x.dtype)
        tangent = np.zeros(x.size)
        for k in range(self.constraints[i].count(x)):
            move = self.constraints[i].move(x, k)
            tangent[move.indices] += self.random.standard_normal() * typical * move.weights
        return tangent.reshape(x.shape).astype(x.dtype)

    def _upstream(self, sizes: np.ndarray) -> list[np.ndarray]:
        """Random, in inverse proportion to the sizes of the outputs' terms, as far as numbers reach."""
        dtype = self.product.dtype
        tiny = float(np.finfo(dtype).tiny)
        largest = float(sizes.max(initial=0)) or 1.0
        scale = np.maximum(np.where(sizes > 0, sizes, largest), max(largest * tiny**0.25, tiny**0.5))
        values = (self.random.standard_normal(sizes.shape) / scale).astype(dtype)
        ends = np.cumsum([y.size for y in self.product.results])[:-1]
        parts = np.split(values, ends)
        return [part.reshape(y.shape) for part, y in zip(parts, self.product.results, strict=True)]

    def _nearby(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The same numbers but for their last bits."""
        eps = np.finfo(self.product.dtype).eps
        return [(a * (1 + eps * self.random.integers(-2, 3, a.shape))).astype(a.dtype) for a in arrays]

    def _sizes(self, found: np.ndarray, product: Callable, factor: Sequence[np.ndarray]) -> np.ndarray:
        """How large the numbers are whose rounding is felt in a product with u or v."""
        moved, smallest = np.zeros(found.shape), np.full(found.shape, np.inf)
        for _ in range(_SAMPLES):
            inputs = list(self.inputs)
            for i in self.product.wrt:
                if self.constraints[i] is free:  # else it might leave its domain
                    (inputs[i],) = self._nearby([inputs[i]])
            a = self.product.dtype.type(self.random.uniform(0.6, 0.9))
            with np.errstate(all="ignore"):
                again = product([a * each for each in factor], self.inputs) / float(a)
                moved = np.fmax(moved, np.abs(again - found))
                # Where the function takes another branch, J jumps: the smallest of several is no such jump.
                smallest = np.fmin(smallest, np.abs(product(factor, inputs) - found))
        moved = np.maximum(moved, np.where(np.isfinite(smallest), smallest, 0))
        unit = ROUNDING * float(np.finfo(self.product.dtype).eps)
        return np.maximum(_ROUNDED / unit * np.where(np.isfinite(moved), moved, 0), np.abs(found))

    def _gradients(self, upstream: Sequence[np.ndarray], inputs: Arrays) -> np.ndarray:
        product = self.product
        try:
            given = self.vjp(upstream[0] if product.single else tuple(upstream), *inputs)
        except MiniAlexError:
            raise
        except Exception as error:
            product.fail("raises", f"vjp raises {type(error).__name__}: {error}", cause=error)
        given = one_per_input(given, len(inputs), product.dtype, product.fail)
        found = []
        for i in product.wrt:
            gradient = None if given[i] is None else as_array(given[i], product.dtype)
            if gradient is None or gradient.dtype.kind not in "fiub" or gradient.shape != inputs[i].shape:
                what = "None" if given[i] is None else described(gradient)
                shape = "" if gradient is None else f" and shape {gradient.shape}"
                product.fail(
                    "shape" if shape else "result",
                    f"vjp gives {what}{shape} for input {i}; it should give an array of its shape, "
                    f"{inputs[i].shape}",
                    input=i,
                )
            found.append(gradient.ravel().astype(np.float64))
        return np.concatenate(found)


def _power_of_two(values: np.ndarray) -> float:
    largest = float(np.abs(values).max(initial=0))
    return 2.0 ** math.floor(math.log2(largest)) if 0 < largest < math.inf else 1.0
