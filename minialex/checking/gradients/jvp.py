"""Forward mode: a Jacobian-vector product against numerical derivatives, and against reverse mode.

A vjp gives rows of the Jacobian, a jvp its columns. From the columns along all unit tangents every row
follows, so that the engine of `check_vjp` compares each derivative; that a jvp behaves is checked by the same
engine on the transposed map, whose vjp it is:

    forward(x)    has the vjp    u -> uᵀ J          J from its columns
    p -> Jᵀ p     has the vjp    v -> J v           the jvp itself

Where there are too many elements for that, a few random directions stand for the unit tangents.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NoReturn

import numpy as np

from minialex.checking import constraints as constraints_of_inputs
from minialex.checking.arguments import (
    choose_inputs,
    constrain_inputs,
    prepare_inputs,
    require_callables,
    require_choice,
    require_dtype,
    require_seed,
    require_texts,
)
from minialex.checking.constraints import Constraint, Move
from minialex.checking.gradients import elsewhere
from minialex.checking.gradients.check import Arrays, as_array, described
from minialex.checking.gradients.dot_product import DotProducts, compare_modes
from minialex.checking.gradients.rewording import reworded
from minialex.checking.gradients.vjp import DIRECTIONS, JACOBIAN_LIMIT, check_vjp
from minialex.checking.report import GradcheckError, Report
from minialex.checking.reproduction import Reproduction
from minialex.checks import in_words, is_int
from minialex.errors import MiniAlexError

# Up to so many unit tangents jvp is called with each of them.
COLUMN_LIMIT = 10_000
# The directions of a quick check come from a stream of their own, as the upstream gradients do.
_STREAM = 2


@dataclass
class JvpReport(Report):
    """What `check_jvp` has compared.

    Attributes
    ----------
    dot_products : DotProducts or None
        How well forward and reverse mode agree, if a vjp was given.
    """

    dot_products: DotProducts | None = None

    def __str__(self) -> str:
        both = "" if self.dot_products is None else f"; {self.dot_products}"
        return f"{super().__str__()}{both}"


def check_jvp(
    forward: Callable[..., np.ndarray],
    jvp: Callable[..., np.ndarray],
    inputs: np.ndarray | Arrays,
    *,
    vjp: Callable[..., Sequence[np.ndarray | None]] | None = None,
    wrt: Sequence[int] | None = None,
    dtype=np.float64,
    mode: str = "auto",
    directions: int = DIRECTIONS,
    constraints: Constraint | Sequence[Constraint | None] | None = None,
    seed: int = 0,
    name: str | None = None,
    reproduce: str | None = None,
    **options,
) -> JvpReport:
    """Check that `jvp` is the Jacobian-vector product of `forward`, and well behaved.

    Parameters
    ----------
    forward : callable
        ``forward(*arrays)`` gives an array, or a tuple of arrays.
    jvp : callable
        ``jvp(tangents, *arrays)`` gives J v, in the form of forward's result. `tangents` is a tuple with one
        tangent for each input, of its shape and dtype; None for those that are not differentiated, such as
        integers.
    inputs : array, or sequence of array
        As of `check_vjp`.
    vjp : callable, optional
        ``vjp(upstream, *arrays)``, as of `check_vjp`. If it is given, the dot products <u, J v> and
        <vjp(u), v> are compared for random u and v: they are equal but for rounding.
    wrt, dtype, seed, name, reproduce
        As of `check_vjp`.
    mode : "auto", "jacobian" or "directions"
        Every derivative, for which `jvp` is called with each unit tangent, at most 10,000; or a number of
        random directions, a weaker and quicker check. "auto" takes the first up to 250,000 derivatives.
    directions : int
        How many random directions.
    constraints : Constraint or sequence of them, optional
        As of `check_vjp`. The tangents are those along which a constrained input may move.
    **options
        The others of `check_vjp`.

    Returns
    -------
    JvpReport

    Raises
    ------
    GradcheckError
        If a check fails. Besides those of `check_vjp` there are ``"zero tangent"`` in the place of
        ``"zero upstream"``, and ``"dot product"``: forward and reverse mode do not belong to one Jacobian.
    MiniAlexError
        If an argument is not as described.

    Notes
    -----
    That the two modes agree to the last bits does not make them right: both may leave out the same term. So
    the numerical derivatives are compared as well.
    """
    require_callables(forward=forward, jvp=jvp)
    require_callables(optional=True, vjp=vjp)
    dtype = require_dtype(dtype)
    require_seed(seed)
    require_texts(name=name, reproduce=reproduce)
    require_choice("mode", mode, "auto", "jacobian", "directions")
    if not is_int(directions, 1):
        raise MiniAlexError(f"directions={in_words(directions)} should be an int, 1 or more")
    name = name or getattr(forward, "__qualname__", type(forward).__name__)
    arrays = prepare_inputs(inputs, dtype, "inputs")
    chosen = choose_inputs(wrt, arrays)
    constrained = constrain_inputs(constraints, arrays, chosen)
    given = {
        "vjp": vjp, "wrt": None if wrt is None else chosen, "dtype": dtype, "mode": mode,
        "directions": directions, "constraints": constraints, "seed": seed,
    }  # fmt: skip
    functions = ("forward", "jvp")
    text = reproduce or Reproduction(check_jvp, functions, arrays, given | options, f"forward: {name}")
    product = Product(jvp, chosen, dtype, name, text, *_results(forward, arrays, name, text))
    count = sum(constrained[i].count(arrays[i]) for i in chosen)
    mode = _mode(mode, count, product.size)
    if mode == "directions":
        random = np.random.default_rng([seed, _STREAM])
        for i in chosen:
            constrained[i] = _Directions(constrained[i], arrays[i], directions, random)
    columns = Columns(product, constrained)
    common = {"dtype": dtype, "seed": seed, "name": name, "reproduce": text}
    _check_behaviour(columns, arrays, nondeterminism=options.get("nondeterminism", 0.0), **common)
    with reworded({r"the gradient of input (\d+)": r"what jvp gives along input \1", r"\bvjp\b": "jvp"}):
        report = check_vjp(
            forward, columns.vjp, arrays, wrt=chosen, mode=mode, directions=directions,
            constraints=[each if i in chosen else None for i, each in enumerate(constrained)],
            **common, **options,
        )  # fmt: skip
    found = JvpReport(**vars(report))
    if vjp is not None:
        limit = options.get("max_tolerance")
        found.dot_products = compare_modes(product, vjp, arrays, constrained, limit, seed)
    return found


def _mode(mode: str, tangents: int, outputs: int) -> str:
    if mode == "jacobian" and tangents > COLUMN_LIMIT:
        raise MiniAlexError(
            f'mode="jacobian" would call jvp with {tangents:,} unit tangents, and {COLUMN_LIMIT:,} are '
            'allowed; take smaller inputs, choose some of them with wrt, or take mode="directions"'
        )
    if mode != "auto":
        return mode
    return "jacobian" if tangents <= COLUMN_LIMIT and tangents * outputs <= JACOBIAN_LIMIT else "directions"


def _results(forward: Callable, arrays: Arrays, name: str, text) -> tuple[list[np.ndarray], bool]:
    """What forward gives, as a list, and whether it gives one array."""

    def refuse(check: str, summary: str, cause=None):
        raise GradcheckError(check, f"forward {summary}", operation=name, reproduce=text) from cause

    try:
        results = forward(*[a.copy() for a in arrays])
    except MiniAlexError:
        raise
    except Exception as error:
        refuse("raises", f"raises {type(error).__name__}: {error}", error)
    single = not isinstance(results, tuple)
    dtype = next(a.dtype for a in arrays if a.dtype.kind == "f")
    found = [as_array(each, dtype) for each in ((results,) if single else results)]
    for i, y in enumerate(found):
        which = "" if single else f" as result {i}"
        if y is None or y.dtype.kind not in "fciub":
            refuse("result", f"gives {described(y)}{which}; it should return an array, or a tuple of arrays")
        if y.dtype != dtype:
            refuse("dtype", f"gives {y.dtype}{which} for inputs of {dtype}; it should keep the dtype")
    if not found:
        refuse("result", "gives an empty tuple; it should return an array, or a tuple of arrays")
    return [np.array(y) for y in found], single


@dataclass
class Product:
    """A jvp, and what belongs to it: called with a tangent for each input that is differentiated.

    Attributes
    ----------
    jvp : callable
    wrt : tuple of int
        The inputs that have tangents.
    dtype : dtype
    name, reproduce : str
        For messages.
    results : list of array
        What forward gives.
    single : bool
        Whether it gives an array, and no tuple.
    """

    jvp: Callable
    wrt: tuple[int, ...]
    dtype: np.dtype
    name: str
    reproduce: str | Reproduction
    results: list[np.ndarray]
    single: bool

    @property
    def size(self) -> int:
        return sum(y.size for y in self.results)

    def fail(self, check: str, summary: str, *, cause: Exception | None = None, **details) -> NoReturn:
        details |= {"operation": self.name, "reproduce": self.reproduce}
        raise GradcheckError(check, summary, **details) from cause

    def __call__(self, tangents: Arrays, inputs: Arrays) -> list[np.ndarray]:
        """J v, an array for each result of forward; their shapes and dtypes are not looked at."""
        whole: list[np.ndarray | None] = [None] * len(inputs)
        for i, tangent in zip(self.wrt, tangents, strict=True):
            whole[i] = tangent
        before = [tangent.tobytes() for tangent in tangents]
        found = self.jvp(tuple(whole), *inputs)
        for i, tangent, bits in zip(self.wrt, tangents, before, strict=True):
            if tangent.tobytes() != bits:
                self.fail("changed input", f"jvp changes tangent {i}")
        if self.single:
            found = (found,)
        elif not isinstance(found, tuple | list) or len(found) != len(self.results):
            several = isinstance(found, tuple | list)
            given = f"{len(found)} arrays" if several else described(as_array(found, self.dtype))
            self.fail(
                "result",
                f"jvp gives {given}; it should give a tuple of {len(self.results)} arrays, as the function",
            )
        return [self._array(i, each) for i, each in enumerate(found)]

    def _array(self, i: int, given) -> np.ndarray:
        array = None if isinstance(given, tuple) else as_array(given, self.dtype)
        if array is None or array.dtype.kind not in "fciub":
            what = "a tuple" if isinstance(given, tuple) else described(array)
            which = "" if self.single else f" for result {i}"
            shape = self.results[i].shape
            self.fail("result", f"jvp gives {what}{which}; it should give an array of shape {shape}")
        return array

    def vector(self, tangents: Arrays, inputs: Arrays) -> np.ndarray:
        """J v as one vector of float64."""
        found = self(tangents, inputs)
        for i, (array, y) in enumerate(zip(found, self.results, strict=True)):
            if array.shape != y.shape:
                which = "" if self.single else f" for result {i}"
                self.fail("shape", f"jvp gives an array of shape {array.shape}{which}, not {y.shape}")
        return np.concatenate([array.ravel().astype(np.float64) for array in found])


class Columns:
    """The Jacobian along the moves of each input, column by column, and the vjp that it makes.

    Along moves d₁, d₂, ... of an input, which need not be its elements, a jvp gives J dₖ alone. A gradient g
    of the input that has the products <g, dₖ> = <u, J dₖ> is all that a comparison along them needs: the
    smallest.
    """

    def __init__(self, product: Product, constraints: Sequence[Constraint]):
        self.product, self.constraints = product, constraints
        self._inverses: dict[int, np.ndarray] = {}
        self._kept: tuple[tuple, list[np.ndarray]] | None = None

    def is_free(self, i: int) -> bool:
        """Whether the elements of input i move one by one."""
        return self.constraints[i] is constraints_of_inputs.free

    def moves_freely(self, i: int) -> bool:
        """Whether no constraint keeps input i where it is, whatever it is moved along."""
        constraint = self.constraints[i]
        base = constraint.base if isinstance(constraint, _Directions) else constraint
        return base is constraints_of_inputs.free

    def tangents(self, i: int, x: np.ndarray) -> Iterator[np.ndarray]:
        """The moves of input i, one tangent after another."""
        for k in range(self.constraints[i].count(x)):
            move = self.constraints[i].move(x, k)
            tangent = np.zeros(x.shape, self.product.dtype)
            tangent.flat[move.indices] = move.weights
            yield tangent

    def at(self, inputs: Arrays) -> list[np.ndarray]:
        """The derivatives (M, K) of all outputs along the moves of each input; kept for the last inputs."""
        key = tuple((a.dtype.str, a.shape, a.tobytes()) for a in inputs)
        if self._kept is None or self._kept[0] != key:
            self._kept = key, [self._columns(i, inputs) for i in self.product.wrt]
        return self._kept[1]

    def _columns(self, i: int, inputs: Arrays) -> np.ndarray:
        at = self.product.wrt.index(i)
        tangents = [np.zeros(inputs[j].shape, self.product.dtype) for j in self.product.wrt]
        whole = np.empty((self.product.size, self.constraints[i].count(inputs[i])))
        for k, tangent in enumerate(self.tangents(i, inputs[i])):
            tangents[at] = tangent
            whole[:, k] = self.product.vector(tangents, inputs)
        return whole

    def slopes(self, upstream: np.ndarray, inputs: Arrays) -> list[np.ndarray]:
        """<u, J dₖ> for the moves of each input, arrays (K,)."""
        return [upstream @ columns for columns in self.at(inputs)]

    def vjp(self, upstream, *inputs: np.ndarray) -> tuple[np.ndarray | None, ...]:
        """The gradients that have these slopes, as a vjp gives them; None for what is not differentiated."""
        parts = (upstream,) if self.product.single else upstream
        joined = np.concatenate([np.ravel(part).astype(np.float64) for part in parts])
        found: list[np.ndarray | None] = [None] * len(inputs)
        for i, slopes in zip(self.product.wrt, self.slopes(joined, inputs), strict=True):
            gradient = self._gradient(i, slopes, inputs[i])
            found[i] = gradient.reshape(inputs[i].shape).astype(self.product.dtype)
        return tuple(found)

    def _gradient(self, i: int, slopes: np.ndarray, x: np.ndarray) -> np.ndarray:
        if self.is_free(i):
            return slopes
        if not slopes.size:
            return np.zeros(x.size)
        if i not in self._inverses:
            moves = np.array([tangent.ravel() for tangent in self.tangents(i, x)], np.float64)
            # Moves may be of very different sizes; those of one size are far from parallel.
            sizes = np.linalg.norm(moves, axis=1)
            self._inverses[i] = np.linalg.pinv(moves / sizes[:, None]) / sizes
        return self._inverses[i] @ slopes


@dataclass(frozen=True, repr=False, eq=False)
class _Directions(Constraint):
    """A few moves in the place of all: each joins a random share of them, and no two the same.

    So that every element moves along one of them.
    """

    base: Constraint
    moves: list[Move] = field(default_factory=list)

    def __init__(self, base: Constraint, x: np.ndarray, count: int, random: np.random.Generator):
        object.__setattr__(self, "base", base)
        object.__setattr__(self, "moves", list(_joined_moves(base, x, count, random)))

    @property
    def name(self) -> str:
        return f"{len(self.moves)} random directions"

    def violation(self, x):
        return self.base.violation(x)

    def count(self, x):
        return len(self.moves)

    def move(self, x, k):
        return self.moves[k]

    def reach(self, x, move):
        return self.base.reach(x, move)


def _joined_moves(base: Constraint, x: np.ndarray, count: int, random: np.random.Generator) -> Iterator[Move]:
    total = base.count(x)
    group = random.permutation(total) % count
    weights = random.uniform(0.25, 1, total) * random.choice([-1.0, 1.0], total)
    if base is constraints_of_inputs.free:
        # In proportion to the elements, so that small ones are not moved by a multiple of themselves.
        flat = np.abs(x.ravel().astype(np.float64))
        typical = float(np.sqrt(np.mean(flat**2))) if flat.any() else 1.0
        weights *= np.where(flat > 0, flat, typical)
        for g in range(min(count, total)):
            indices = np.flatnonzero(group == g)
            yield Move(indices, weights[indices])
        return
    for g in range(min(count, total)):
        direction = np.zeros(x.size)
        for k in np.flatnonzero(group == g):
            move = base.move(x, int(k))
            direction[move.indices] += weights[k] * move.weights
        indices = np.flatnonzero(direction)
        yield Move(indices, direction[indices])


def _check_behaviour(columns: Columns, arrays: Arrays, **options) -> None:
    """Check the jvp as what it is to the transposed map: its vjp.

    The map p -> Jᵀ p has one input p for each result of forward, and one result for each tangent: for each of
    the moves where these are no elements.
    """
    product = columns.product
    count = len(product.results)
    free = all(map(columns.is_free, product.wrt))
    shapes = [arrays[i].shape for i in product.wrt]

    def transposed(*given):
        p = np.concatenate([np.ravel(each).astype(np.float64) for each in given[:count]])
        slopes = [each.astype(product.dtype) for each in columns.slopes(p, given[count:])]
        if free:
            slopes = [each.reshape(shape) for each, shape in zip(slopes, shapes, strict=True)]
        return slopes[0] if len(slopes) == 1 else tuple(slopes)

    random = np.random.default_rng([options["seed"], _STREAM])
    points = [random.choice([-1.0, 1.0], y.shape).astype(product.dtype) for y in product.results]
    factors = [random.integers(1, 8, a.shape) * random.choice([-1, 1], a.shape) for a in arrays]

    def of_tangents(given, *inputs):
        parts = (given,) if len(product.wrt) == 1 else given
        # The engine moves p by some last bits where it asks how a result scatters. J v does not depend on p:
        # what it scatters with is x, which moves in its place; by odd numbers, too, as sums of even ones may
        # never round.
        bits = _last_bits(inputs[:count], points) // 2
        rest = [
            _moved_by_last_bits(a, bits * factor)
            if bits and i in product.wrt and columns.moves_freely(i)
            else a
            for i, (a, factor) in enumerate(zip(inputs[count:], factors, strict=True))
        ]
        if not free:
            pairs = zip(product.wrt, parts, strict=True)
            parts = [_along(columns.tangents(i, rest[i]), c, rest[i]) for i, c in pairs]
        return (*product(parts, rest), *[None] * len(rest))

    def renamed(match) -> str:
        i = int(match[1])
        return "jvp's result" if product.single else f"jvp's result {i}"

    words = {
        r"the gradient of input (\d+)": renamed,
        r"(an? \w+ )?upstream gradient": lambda match: f"{match[1] or ''}tangent",
        r"input (\d+)": lambda match: f"input {int(match[1]) - count}",
        r"\b(?:forward|vjp)\b": "jvp",
    }
    # Moving p moves x here.
    with elsewhere.left_out(), reworded(words, {"zero upstream": "zero tangent"}, input=None, step=None):
        check_vjp(
            transposed, of_tangents, [*points, *arrays], wrt=range(count), mode="directions", directions=1,
            min_compared=0, max_skipped=1.0, **options,
        )  # fmt: skip


def _last_bits(moved: Arrays, points: Arrays) -> int:
    """By how many last bits points of 1 and -1 were moved."""
    for now, before in zip(moved, points, strict=True):
        if now.size:
            return round(float(now.flat[0] - before.flat[0]) / float(np.finfo(before.dtype).eps))
    return 0


def _moved_by_last_bits(x: np.ndarray, bits: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore"):
        unit = np.where(x != 0, 2.0 ** np.floor(np.log2(np.abs(x, dtype=np.float64))), 0)
    return (x + bits * float(np.finfo(x.dtype).eps) * unit).astype(x.dtype)


def _along(tangents: Iterator[np.ndarray], coefficients: np.ndarray, x: np.ndarray) -> np.ndarray:
    total = np.zeros(x.shape, x.dtype)
    for coefficient, tangent in zip(coefficients, tangents, strict=True):
        total += coefficient * tangent
    return total
