"""Forward mode: a Jacobian-vector product against numerical derivatives, and against reverse mode.

A vjp gives rows of the Jacobian, a jvp its columns. From the columns along all unit tangents every row
follows, so that the engine of `check_vjp` compares each derivative; that a jvp behaves is checked by the same
engine on the transposed map, whose vjp it is:

    forward(x)    has the vjp    u -> uᵀ J          J from its columns
    p -> Jᵀ p     has the vjp    v -> J v           the jvp itself

Where there are too many elements for that, a few random directions stand for the unit tangents.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

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
from minialex.checking.gradients.check import Arrays
from minialex.checking.gradients.dot_product import DotProducts, compare_modes
from minialex.checking.gradients.elsewhere import left_out
from minialex.checking.gradients.returned import forward_results
from minialex.checking.gradients.rewording import reworded
from minialex.checking.gradients.tangents import Columns, FewDirections, Product, along_tangents
from minialex.checking.gradients.vjp import DIRECTIONS, JACOBIAN_LIMIT, check_vjp
from minialex.checking.report import Report
from minialex.checking.reproduction import Reproduction
from minialex.checks import require_choice, require_int
from minialex.errors import MiniAlexError

# Up to this many unit tangents jvp is called with each of them.
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
        If a check fails. Besides those of `check_vjp` there are ``"zero tangent"`` in place of
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
    require_int("seed", seed, 0)
    require_texts(name=name, reproduce=reproduce)
    require_choice("mode", mode, ("auto", "jacobian", "directions"))
    require_int("directions", directions, 1)
    name = name or getattr(forward, "__qualname__", type(forward).__name__)
    arrays = prepare_inputs(inputs, dtype, "inputs")
    chosen = choose_inputs(wrt, arrays)
    constrained = constrain_inputs(constraints, arrays, chosen)
    given = {"vjp": vjp, "wrt": None if wrt is None else chosen, "dtype": dtype, "mode": mode}
    given |= {"directions": directions, "constraints": constraints, "seed": seed}
    functions = ("forward", "jvp")
    text = reproduce or Reproduction(check_jvp, functions, arrays, given | options, f"forward: {name}")
    product = Product(jvp, chosen, dtype, name, text)
    product.results, product.single = _results(forward, arrays, product)
    count = sum(constrained[i].count(arrays[i]) for i in chosen)
    mode = _mode(mode, count, product.size)
    if mode == "directions":
        random = np.random.default_rng([seed, _STREAM])
        for i in chosen:
            constrained[i] = FewDirections(constrained[i], arrays[i], directions, random)
    columns = Columns(product, constrained)
    common = {"dtype": dtype, "seed": seed, "name": name, "reproduce": text}
    _check_behaviour(columns, arrays, nondeterminism=options.get("nondeterminism", 0.0), **common)
    with reworded({r"the gradient of input (\d+)": r"what jvp gives along input \1", r"\bvjp\b": "jvp"}):
        options |= {"mode": mode, "directions": directions}
        options["constraints"] = [each if i in chosen else None for i, each in enumerate(constrained)]
        report = check_vjp(forward, columns.vjp, arrays, wrt=chosen, **common, **options)
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


def _results(forward: Callable, arrays: Arrays, product: Product) -> tuple[list[np.ndarray], bool]:
    """What forward gives, as a list, and whether it gives one array."""
    dtype = product.dtype
    found, single = forward_results(forward, [a.copy() for a in arrays], dtype, product.fail)
    if single and found[0].dtype != dtype:
        given = f"forward gives {found[0].dtype} for inputs of {dtype}"
        product.fail("dtype", f"{given}; it should keep the dtype")
    return [np.array(y) for y in found], single


def _check_behaviour(columns: Columns, arrays: Arrays, **options) -> None:
    """Check the jvp as the vjp of the transposed map, which it is.

    The map p -> Jᵀ p has one input p for each result of forward, and one result for each tangent: for each of
    the moves where these are not single elements.
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
            parts = [along_tangents(columns.tangents(i, rest[i]), c, rest[i]) for i, c in pairs]
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
    with left_out(), reworded(words, {"zero upstream": "zero tangent"}, input=None, step=None):
        options |= {"mode": "directions", "directions": 1, "min_compared": 0, "max_skipped": 1.0}
        check_vjp(transposed, of_tangents, [*points, *arrays], wrt=range(count), **options)


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
