"""Hypothesis strategies: shapes and parameters for each operation, well-separated values without ties,
awkward strides, degenerate sizes.

`call` draws what a kernel is called with: arrays and parameters in the canonical form that every
kernel of the operation takes.

    @given(call("conv2d.forward"))
    def test_my_kernel(drawn):
        my_kernel(*drawn.arrays, **drawn.parameters)

A function of your own takes `convolutions`, `poolings`, `shapes` or `square_shapes`, and `distinct_arrays`,
`normal_arrays`, `positive_arrays` or another strategy named ``..._arrays`` to fill them; `layouts` puts an
array in an awkward memory layout.

    @given(normal_arrays(shapes()).flatmap(layouts))
    def test_my_function(x): ...

Sizes are tiny, because the reference kernels are Python loops; and because a mistake in an index shows
on a 3x4 image as well as on a large one. Values come from a NumPy generator whose seed Hypothesis
draws: an example takes microseconds, and shrinks by its shapes and parameters. No two arrays of an example
hold the same numbers, even where their seeds shrink to the same: `x @ w` of two equal arrays hides mistakes.

A failing example prints as code. A `Call` can be pasted, with `import numpy as np`, and is the same again,
memory layout included; so can ``normal_values(default_rng((0, 0, 1)), (2, 3))``, with the names in it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import reject
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from hypothesis.strategies import DrawFn, SearchStrategy

from minialex.checking.testing.calls import READ_ONLY, Call, arranged
from minialex.checking.testing.values import (
    bounded_values,
    dependent_column_values,
    distinct_values,
    normal_values,
    positive_definite_values,
    positive_values,
    scaled_values,
    simplex_values,
    symmetric_values,
)
from minialex.kernels import Kernel, output_shape
from minialex.kernels.contract.examples import domain_words, drawn_example, operations_with_examples
from minialex.kernels.contract.shapes import Shape


def call(operation: str, dtype=np.float64, kernel: Kernel | None = None, **domain) -> SearchStrategy[Call]:
    """Calls of an operation's kernels, with arrays in awkward memory layouts.

    Parameters
    ----------
    operation : str
        One of `operations`.
    dtype : float32 or float64
    kernel : Kernel, optional
        Whose `domain` the calls should be in. It may still refuse some: ask its `refusal`.
    **domain
        More of the words in which a kernel states its domain, such as ``limit=2`` for smaller convolutions.

    Raises
    ------
    ValueError
        For an operation that has no strategy, or a domain in words that its strategy does not know.
    """
    if operation not in operations():
        raise ValueError(
            f"operation={operation!r} has no example calls; there are: {', '.join(operations())}"
        )
    if kernel is not None and kernel.domain is not None:
        domain = {**kernel.domain(), **domain}
    known = domain_words(operation)
    if unknown := sorted(domain.keys() - set(known)):
        who = "" if kernel is None else f"kernel={kernel.name}: "
        raise ValueError(
            f"{who}the domain speaks of {', '.join(unknown)}; "
            f"calls of {operation} are drawn by: {', '.join(known) or 'nothing'}"
        )
    return _calls(operation, np.dtype(dtype), domain)


def operations() -> list[str]:
    """The operations that `call` knows."""
    return operations_with_examples()


# Values


def _shift_each_way() -> Iterator[int]:
    """0, 1, -1, 2, -2, ..."""
    for n in itertools.count():
        yield (n + 1) // 2 * (1 if n % 2 else -1)


# One counter an example: whatever draws from it in the same example gets another number.
_numbers = st.shared(
    st.builds(lambda: itertools.count(1)), key="minialex.checking.testing.strategies: generators"
)
# Three words: the checker takes its upstream gradients from streams of two, which may begin alike.
_seeds = st.tuples(st.integers(0, 2**16 - 1), st.just(0), _numbers.map(next)).map(np.random.default_rng)
_shifts = st.shared(st.builds(_shift_each_way), key="minialex.checking.testing.strategies: shifts")


# Not 10.0**n, which misses 1e-7 by a bit and would print so.
_powers_of_ten = st.integers(-8, 8).map(lambda exponent: float(f"1e{exponent}"))


def seeds() -> SearchStrategy[np.random.Generator]:
    """NumPy generators with drawn seeds; no two of one example give the same numbers.

    Seeds shrink to 0, and Hypothesis likes to draw one again: a generator starts from its number in the
    example, too.
    """
    return _seeds


def _filled(values: Callable, shape, dtype, **options: SearchStrategy) -> SearchStrategy[np.ndarray]:
    shapes = shape if isinstance(shape, SearchStrategy) else st.just(tuple(shape))
    # Hypothesis prints the call, which one can then paste: it names the dtype, and only where that is needed.
    named = () if np.dtype(dtype) == np.float64 else (st.just(np.dtype(dtype).name),)
    return st.builds(values, seeds(), shapes, *named, **options)


def normal_arrays(shape, dtype=np.float64) -> SearchStrategy[np.ndarray]:
    """Arrays of `normal_values`; `shape` is a shape or a strategy that draws some."""
    return _filled(normal_values, shape, dtype)


def positive_arrays(shape, dtype=np.float64) -> SearchStrategy[np.ndarray]:
    """Arrays of `positive_values`; `shape` is a shape or a strategy that draws some."""
    return _filled(positive_values, shape, dtype)


def distinct_arrays(shape, dtype=np.float64) -> SearchStrategy[np.ndarray]:
    """Arrays of `distinct_values`, without ties; `shape` is a shape or a strategy that draws some.

    The second of an example is shifted up, the third down, and so on, as two orders of few numbers may be the
    same.
    """
    return _filled(distinct_values, shape, dtype, shift=_shifts.map(next))


def bounded_arrays(shape, low: float, high: float, dtype=np.float64) -> SearchStrategy[np.ndarray]:
    """Arrays of `bounded_values`, between two numbers; `shape` is a shape or a strategy that draws some."""
    return _filled(bounded_values, shape, dtype, low=st.just(low), high=st.just(high))


def scaled_arrays(shape, scale: float | None = None, dtype=np.float64) -> SearchStrategy[np.ndarray]:
    """Arrays of `scaled_values`: normal ones times `scale`, by default any power of ten from 1e-8 to 1e8.

    A drawn scale shrinks to 1: another one that is printed matters. `shape` is a shape or a strategy that
    draws some.
    """
    scales = _powers_of_ten if scale is None else st.just(scale)
    return _filled(scaled_values, shape, dtype, scale=scales)


def symmetric_arrays(shape, dtype=np.float64) -> SearchStrategy[np.ndarray]:
    """Arrays of `symmetric_values`, symmetric matrices; `shape` is one of `square_shapes`, or draws such."""
    return _filled(symmetric_values, shape, dtype)


def positive_definite_arrays(shape, condition: float = 100.0, dtype=np.float64) -> SearchStrategy[np.ndarray]:
    """Arrays of `positive_definite_values`, whose condition number is `condition` at most.

    `shape` is one of `square_shapes`, or draws such.
    """
    return _filled(positive_definite_values, shape, dtype, condition=st.just(condition))


def simplex_arrays(shape, dtype=np.float64) -> SearchStrategy[np.ndarray]:
    """Arrays of `simplex_values`, positive numbers that add up to 1 along the last axis.

    `shape` is a shape or a strategy that draws some; one number would always be 1, so two are the least.
    """
    return _filled(simplex_values, shape, dtype)


def dependent_column_arrays(
    shape, columns: Mapping[int, Mapping[int, float]], dtype=np.float64
) -> SearchStrategy[np.ndarray]:
    """Arrays of `dependent_column_values`: matrices some of whose columns are combinations of others.

    `columns` says of which: ``{2: {0: 1.0, 1: -2.0}}``. `shape` has the columns that it names, or draws such.
    """
    return _filled(dependent_column_values, shape, dtype, columns=st.just(columns))


# Memory layouts


@st.composite
def layouts(draw: DrawFn, array: np.ndarray) -> np.ndarray:
    """The same values in another memory layout.

    C-contiguous; Fortran order; every second element, or every element backwards, of an array whose
    other elements are NaN (integers: the largest), so that whoever reads them is found out; and each
    of these also read-only.
    """
    layout = draw(st.sampled_from(("C", "Fortran", "strided", "backwards")))
    return arranged(array, layout + (READ_ONLY if draw(st.booleans()) else ""))


# Shapes and parameters


class _Choices:
    """Hypothesis as the one who chooses an example (`minialex.kernels.contract.examples.Choices`)."""

    def __init__(self, draw: DrawFn):
        self._draw = draw

    def one_of(self, values: Sequence) -> Any:
        return self._draw(st.sampled_from(values))

    def between(self, low: int, high: int) -> int:
        return self._draw(st.integers(low, high))

    def shape(self, min_dims: int = 0, max_dims: int = 3, min_side: int = 0, max_side: int = 4) -> Shape:
        return self._draw(shapes(min_dims, max_dims, min_side, max_side))

    def broadcasting(self) -> tuple[Shape, Shape]:
        return self._draw(broadcasting_shapes())

    def index(self, shape: Shape) -> Any:
        return self._draw(indices(shape))

    def reject(self) -> Any:
        return reject()


def shapes(
    min_dims: int = 0, max_dims: int = 3, min_side: int = 0, max_side: int = 4
) -> SearchStrategy[Shape]:
    """Shapes of arrays of any rank."""
    return hnp.array_shapes(min_dims=min_dims, max_dims=max_dims, min_side=min_side, max_side=max_side)


def square_shapes(
    min_dims: int = 2, max_dims: int = 3, min_side: int = 1, max_side: int = 4
) -> SearchStrategy[Shape]:
    """Shapes of square matrices, and of batches of them."""
    batches = hnp.array_shapes(min_dims=min_dims - 2, max_dims=max_dims - 2, max_side=3)
    return st.builds(lambda batch, n: (*batch, n, n), batches, st.integers(min_side, max_side))


def broadcasting_shapes() -> SearchStrategy[tuple[Shape, Shape]]:
    """Two shapes that broadcast, in any of NumPy's ways."""
    shapes = hnp.mutually_broadcastable_shapes(num_shapes=2, min_side=0, max_side=3, max_dims=3)
    return shapes.map(lambda drawn: drawn.input_shapes)


@st.composite
def indices(draw: DrawFn, shape: Shape):
    """Indices into an array of `shape`: basic ones, integer arrays with repetitions, boolean masks."""
    kind = draw(st.sampled_from(("basic", "integers", "mask", "mixed")))
    if kind == "basic":
        return draw(hnp.basic_indices(shape, allow_ellipsis=True, allow_newaxis=True))
    if kind == "mask":
        return draw(hnp.arrays(bool, shape))
    rows = draw(hnp.arrays(np.int64, hnp.array_shapes(max_dims=2, max_side=4), elements=st.integers(-1, 0)))
    # Only -1 and 0: every element is named often.
    return rows if kind == "integers" else (rows, ..., slice(None, None, -1))[: 1 + len(shape)]


@dataclass(frozen=True)
class Convolution:
    """The shapes and the parameters of one convolution."""

    x: tuple[int, int, int, int]
    weight: tuple[int, int, int, int]
    y: tuple[int, int, int, int]
    has_bias: bool
    parameters: dict


@st.composite
def convolutions(draw: DrawFn, limit: int = 3, **domain) -> Convolution:
    """Convolutions of at most some ten thousand products; see `minialex.kernels.conv2d.examples`.

    Images smaller than the window, padding that differs on all four sides, strides beyond the window,
    dilation, groups, empty arrays. `limit` and the domain (`empty`, `windows`, `strides`, `dilations`,
    `padded`) are those of `draw_convolution` there.
    """
    forward = drawn_example("conv2d.forward", _Choices(draw), limit=limit, **domain)
    x, weight, bias = forward.shapes
    y = output_shape("conv2d", x, weight, **forward.parameters)
    return Convolution(x, weight, y, bias is not None, forward.parameters)


@dataclass(frozen=True)
class Pooling:
    """The shapes and the parameters of one pooling; those of average pooling without dilation."""

    x: tuple[int, int, int, int]
    y: tuple[int, int, int, int]
    parameters: dict


@st.composite
def poolings(draw: DrawFn, dilated: bool = True) -> Pooling:
    """Poolings, each window of which holds a cell of the image; see `minialex.kernels.max_pool2d.examples`.

    Overlapping windows, strides beyond the window, windows larger than the image, padding that differs
    on all four sides, and ceil mode, with last windows that are cut off or dropped.
    """
    operation = "max_pool2d" if dilated else "avg_pool2d"
    forward = drawn_example(f"{operation}.forward", _Choices(draw))
    (x,) = forward.shapes
    return Pooling(x, output_shape(operation, x, **forward.parameters), forward.parameters)


# Calls


@st.composite
def _calls(draw: DrawFn, operation: str, dtype: np.dtype, domain: dict) -> Call:
    example = drawn_example(operation, _Choices(draw), **domain)
    fixed = range(len(example.operands)) if domain.get("layout") == "C" else example.changes
    arrays = (
        a if a is None or i in fixed else draw(layouts(a))
        for i, a in enumerate(example.arrays(dtype, draw(seeds())))
    )
    return Call(operation, tuple(arrays), example.parameters)
