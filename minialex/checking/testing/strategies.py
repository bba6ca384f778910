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

import inspect
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import InitVar, dataclass, field

import numpy as np
from hypothesis import assume
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from hypothesis.strategies import DrawFn, SearchStrategy

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
from minialex.errors import ShapeError
from minialex.kernels import Kernel, output_shape
from minialex.kernels.contract.registry import Sizes

MUTATED: dict[str, tuple[int, ...]] = {"sgd.update": (0, 2), "adam.update": (0, 2, 3)}
"""The positions of the arrays that a kernel changes in place. All other kernels change none."""


@dataclass(frozen=True, repr=False)
class Call:
    """One call of a kernel.

    Attributes
    ----------
    operation : str
        Such as ``"conv2d.forward"``.
    arrays : tuple of array or None
        The positional arguments.
    parameters : dict
        The keyword arguments.
    memory : sequence of str, optional
        A memory layout to bring each array into, one of those that `layouts` draws: ``"Fortran"``,
        ``"strided, read-only"``. It is how an example that is pasted gets back the layouts it had.
    """

    operation: str
    arrays: tuple[np.ndarray | None, ...]
    parameters: dict = field(default_factory=dict)
    memory: InitVar[tuple[str, ...]] = ()

    def __post_init__(self, memory):
        if memory:
            arrays = zip(self.arrays, memory, strict=True)
            arranged = tuple(None if a is None else _arranged(a, how) for a, how in arrays)
            object.__setattr__(self, "arrays", arranged)

    def astype(self, dtype) -> Call:
        """The same call with its floats in another dtype. The arrays are new and C-contiguous."""
        arrays = (
            None if a is None else np.array(a, dtype if a.dtype.kind == "f" else a.dtype, order="C")
            for a in self.arrays
        )
        return Call(self.operation, tuple(arrays), self.parameters)

    def as_code(self, algorithm: str = "reference", device: str = "cpu") -> str:
        """Lines of Python that build the arrays again, each in its memory layout, and call a kernel."""
        arrays = "".join(f"\n        {_code(a)}," for a in self.arrays)
        place = f"algo={algorithm!r}, device={device!r}"
        return (
            "import numpy as np\n"
            "from minialex.kernels import find_kernel\n"
            "from minialex.checking.testing.strategies import Call\n\n"
            f"call = Call(\n    {self.operation!r},\n    ({arrays}\n    ),\n"
            f"    {_code(self.parameters)},{self._memory_code(chr(10) + '    ')}\n)\n"
            f"result = find_kernel(call.operation, {place})(*call.arrays, **call.parameters)\n"
        )

    def __repr__(self) -> str:
        if sum(a.size for a in self.arrays if a is not None) > _SMALL:
            arrays = ", ".join("None" if a is None else _describe(a) for a in self.arrays)
            return f"Call({self.operation!r}, ({arrays}), {self.parameters!r})"
        memory = self._memory_code(" ").rstrip(",")
        return f"Call({self.operation!r}, {_code(self.arrays)}, {_code(self.parameters)}" + (
            f",{memory})" if memory else ")"
        )

    def _repr_pretty_(self, printer, cycle: bool) -> None:
        # Hypothesis would print the fields of a data class, and leave out the memory layouts.
        printer.text(repr(self))

    def _memory_code(self, before: str) -> str:
        layouts = tuple("C" if a is None else _layout_of(a) for a in self.arrays)
        return f"{before}memory={layouts!r}," if set(layouts) - {"C"} else ""


def call(operation: str, dtype=np.float64, kernel: Kernel | None = None) -> SearchStrategy[Call]:
    """Calls of an operation's kernels, with arrays in awkward memory layouts.

    Parameters
    ----------
    operation : str
        One of `operations`.
    dtype : float32 or float64
    kernel : Kernel, optional
        Whose `domain` the calls should be in. It may still refuse some: ask its `refusal`.

    Raises
    ------
    ValueError
        For an operation that has no strategy, or a domain in words that its strategy does not know.
    """
    if operation not in _DRAW:
        raise ValueError(f"operation={operation!r} has no strategy; there are: {', '.join(operations())}")
    domain = {} if kernel is None or kernel.domain is None else dict(kernel.domain())
    known = list(inspect.signature(_DRAW[operation]).parameters)[3:]
    if unknown := sorted(domain.keys() - set(known)):
        raise ValueError(
            f"kernel={kernel.name}: its domain speaks of {', '.join(unknown)}; "
            f"calls of {operation} are drawn by: {', '.join(known) or 'nothing'}"
        )
    return _calls(operation, np.dtype(dtype), domain)


def operations() -> list[str]:
    """The operations that `call` knows."""
    return sorted(_DRAW)


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
    return _arranged(array, layout + (_READ_ONLY if draw(st.booleans()) else ""))


_READ_ONLY = ", read-only"


def _arranged(array: np.ndarray, memory: str) -> np.ndarray:
    """A copy in a memory layout: C, Fortran, strided or backwards, with ", read-only" or without."""
    layout = memory.removesuffix(_READ_ONLY)
    if layout not in ("C", "Fortran", "strided", "backwards"):
        raise ValueError(f"memory={memory!r} should be C, Fortran, strided or backwards[, read-only]")
    if layout == "C" or array.ndim == 0:
        result = np.array(array, order="C")
    elif layout == "Fortran":
        result = np.array(array, order="F")
    else:
        filler = np.nan if array.dtype.kind == "f" else np.iinfo(array.dtype).max
        step = 2 if layout == "strided" else -2
        base = np.full([2 * n for n in array.shape], filler, array.dtype)
        result = base[(slice(None, None, step),) * array.ndim]
        result[...] = array
    result.flags.writeable = memory == layout
    return result


def _layout_of(array: np.ndarray) -> str:
    """The nearest of the layouts that `_arranged` makes."""
    # Strides, not flags: NumPy calls a single element contiguous, whatever lies beside it.
    if not array.size or array.strides == np.empty(array.shape, array.dtype).strides:
        layout = "C"
    elif array.strides == np.empty(array.shape, array.dtype, order="F").strides:
        layout = "Fortran"
    else:
        layout = "backwards" if max(array.strides) < 0 else "strided"
    return layout + ("" if array.flags.writeable else _READ_ONLY)


# Code that gives a value again. Up to this many elements it is printed; larger ones are described.
_SMALL = 100


def _describe(array: np.ndarray) -> str:
    return f"{array.dtype}{array.shape} {_layout_of(array)}"


def _code(value) -> str:
    """An expression for a value that calls or parameters hold, given NumPy as np."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name!r}: {_code(each)}" for name, each in value.items()) + "}"
    if isinstance(value, tuple):
        return "(" + ", ".join(map(_code, value)) + (",)" if len(value) == 1 else ")")
    if not isinstance(value, np.ndarray):
        return repr(value)
    if not value.size:
        return f"np.zeros({value.shape}, np.{value.dtype.name})"
    implied = np.array(value.tolist()).dtype == value.dtype
    return f"np.array({_elements(value)}{'' if implied else f', np.{value.dtype.name}'})"


def _elements(array: np.ndarray) -> str:
    """Nested lists, with as many digits as tell an element from its neighbours."""
    if array.ndim:
        return "[" + ", ".join(map(_elements, array)) + "]"
    text = str(array[()])
    return text if array.dtype.kind != "f" or np.isfinite(array) else f"np.{text.replace('-', '-np.')}"


# Shapes and parameters

# Seldom 0: an empty array finds few mistakes, and finds them at once.
_lengths = st.sampled_from((1, 2, 3, 1, 2, 3, 4, 0))
_positive = st.integers(1, 4)
_ANY = Sizes()
_sides = st.integers(1, 3)


def _sizes(sizes: Sizes) -> SearchStrategy[int]:
    """Lengths in a kernel's domain: the least ones, and those next to its grain and twice as much."""
    drawn = [n + max(0, sizes.least - 1) for n in (1, 2, 3, 1, 2, 3, 4)] + [sizes.least]
    if sizes.grain > 1:
        drawn += [n for i in (1, 2) for n in (i * sizes.grain - 1, i * sizes.grain, i * sizes.grain + 1)]
    most = max(drawn) if sizes.most is None else sizes.most
    return st.sampled_from([n for n in drawn if sizes.least <= n <= most])


def _pairs(elements: SearchStrategy) -> SearchStrategy[tuple]:
    return st.tuples(elements, elements)


def shapes(min_dims: int = 0, max_dims: int = 3, min_side: int = 0) -> SearchStrategy[tuple[int, ...]]:
    """Shapes of arrays of any rank."""
    return hnp.array_shapes(min_dims=min_dims, max_dims=max_dims, min_side=min_side, max_side=4)


def square_shapes(
    min_dims: int = 2, max_dims: int = 3, min_side: int = 1, max_side: int = 4
) -> SearchStrategy[tuple[int, ...]]:
    """Shapes of square matrices, and of batches of them."""
    batches = hnp.array_shapes(min_dims=min_dims - 2, max_dims=max_dims - 2, max_side=3)
    return st.builds(lambda batch, n: (*batch, n, n), batches, st.integers(min_side, max_side))


@dataclass(frozen=True)
class Convolution:
    """The shapes and the parameters of one convolution."""

    x: tuple[int, int, int, int]
    weight: tuple[int, int, int, int]
    y: tuple[int, int, int, int]
    has_bias: bool
    parameters: dict


@st.composite
def convolutions(
    draw: DrawFn,
    limit: int = 3,
    *,
    empty: bool = True,
    windows: Sequence[tuple[int, int]] | None = None,
    strides: Sequence[int] | None = None,
    dilations: Sequence[int] | None = None,
) -> Convolution:
    """Convolutions of at most some thousand products.

    The number of positions is drawn first and the image follows from it, so that every draw is legal:
    images smaller than the window, and empty ones, that padding makes large enough; padding that
    differs on all four sides; strides beyond the window, which leave cells unread; dilation; groups,
    depthwise ones included; batches and channels of any number, sometimes 0. One in three is what
    Winograd's algorithm is for: a window of 3 x 3 or 5 x 5, without stride and dilation.

    Parameters
    ----------
    limit : int
        No more images, groups, positions along an axis, cells of a window's side than this, but twice as
        many positions, and five cells, in the last kind.
    empty : bool
        Whether arrays may be without elements.
    windows, strides, dilations : sequence, optional
        Draw windows (rows, columns), strides and dilations from these only.
    """
    few = st.integers(1, limit)
    groups = draw(few)
    channels = ((1, 1), (2, 1), (1, 2), (2, 2), (0, 1), (1, 0))
    per_group, outputs_per_group = draw(st.sampled_from(channels if empty else channels[:4]))
    kernel, stride, dilation, positions = draw(
        st.tuples(
            _pairs(few) if windows is None else st.sampled_from(windows),
            _pairs(st.integers(1, limit + 1) if strides is None else st.sampled_from(strides)),
            _pairs(few if dilations is None else st.sampled_from(dilations)),
            _pairs(few if windows is None else st.integers(1, 2 * limit)),
        )
    )
    free = windows is None and strides is None and dilations is None
    side = draw(st.sampled_from((None, None, None, None, 3, 5))) if free else None
    if side is not None:
        kernel, stride, dilation = (side, side), (1, 1), (1, 1)
        positions = draw(_pairs(st.integers(1, 2 * limit)))
    axes = [
        draw(_extent(axis, limit, empty)) for axis in zip(positions, kernel, stride, dilation, strict=True)
    ]
    size, padding = zip(*axes, strict=True)
    batch = draw(st.sampled_from((*range(1, limit + 1), *range(0 if empty else 1, limit + 1))))
    x = (batch, groups * per_group, *size)
    weight = (groups * outputs_per_group, per_group, *kernel)
    parameters = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    return Convolution(x, weight, (batch, weight[0], *positions), draw(st.booleans()), parameters)


@st.composite
def _extent(draw: DrawFn, axis: tuple[int, int, int, int], limit: int, empty: bool):
    """The (size, (before, after)) of an axis: its (positions, kernel, stride, dilation)."""
    positions, kernel, stride, dilation = axis
    unread = draw(st.integers(0, stride - 1))  # cells after the last window
    padded = (positions - 1) * stride + dilation * (kernel - 1) + 1 + unread
    most = padded if empty else padded - 1
    before = draw(st.integers(0, min(limit, most)))
    after = draw(st.integers(0, min(limit, most - before)))
    return padded - before - after, (before, after)


@dataclass(frozen=True)
class Pooling:
    """The shapes and the parameters of one pooling; those of average pooling without dilation."""

    x: tuple[int, int, int, int]
    y: tuple[int, int, int, int]
    parameters: dict


@st.composite
def poolings(draw: DrawFn, dilated: bool = True) -> Pooling:
    """Poolings, each window of which holds a cell of the image.

    Overlapping windows, strides beyond the window, windows larger than the image, padding that differs
    on all four sides, and ceil mode, with last windows that are cut off or dropped.
    """
    kernel, stride = draw(_pairs(_sides)), draw(_pairs(st.integers(1, 4)))
    size = draw(_pairs(st.integers(1, 6)))
    padding = tuple(draw(_pairs(st.integers(0, side - 1))) for side in kernel)
    parameters = {"kernel_size": kernel, "stride": stride, "padding": padding}
    parameters["dilation" if dilated else "count_include_pad"] = draw(
        _pairs(_sides) if dilated else st.booleans()
    )
    parameters["ceil_mode"] = draw(st.booleans())
    x = (draw(_lengths), draw(_lengths), *size)
    try:
        y = output_shape("max_pool2d" if dilated else "avg_pool2d", x, **parameters)
    except ShapeError:
        assume(False)
    return Pooling(x, y, parameters)


def response_norms() -> SearchStrategy[dict]:
    """Parameters of local response normalisation: windows beyond the channels, alpha near 1.

    At the paper's alpha of 1e-4 neighbouring channels hardly count, and a mistake in how they count
    drowns in rounding.
    """
    return st.fixed_dictionaries(
        {
            "size": st.sampled_from((1, 3, 5, 7, 9)),
            "alpha": st.sampled_from((1.0, 0.7, 1.5)),
            "beta": st.sampled_from((0.75, 0.5, 1.0, 0.6)),
            "k": st.sampled_from((1.0, 2.0)),
        }
    )


@st.composite
def indices(draw: DrawFn, shape: tuple[int, ...]):
    """Indices into an array of `shape`: basic ones, integer arrays with repetitions, boolean masks."""
    kind = draw(st.sampled_from(("basic", "integers", "mask", "mixed")))
    if kind == "basic":
        return draw(hnp.basic_indices(shape, allow_ellipsis=True, allow_newaxis=True))
    if kind == "mask":
        return draw(hnp.arrays(bool, shape))
    rows = draw(hnp.arrays(np.int64, hnp.array_shapes(max_dims=2, max_side=4), elements=st.integers(-1, 0)))
    # Only -1 and 0: every element is named often.
    return rows if kind == "integers" else (rows, ..., slice(None, None, -1))[: 1 + len(shape)]


# Calls. Each function draws the arrays and the parameters of an operation. What it takes beyond draw,
# generator and dtype are the words in which a kernel states its domain.

_DRAW: dict[str, Callable] = {}


@st.composite
def _calls(draw: DrawFn, operation: str, dtype: np.dtype, domain: dict) -> Call:
    arrays, parameters = _DRAW[operation](draw, draw(seeds()), dtype, **domain)
    fixed = range(len(arrays)) if domain.get("layout") == "C" else MUTATED.get(operation, ())
    arrays = (a if a is None or i in fixed else draw(layouts(a)) for i, a in enumerate(arrays))
    return Call(operation, tuple(arrays), parameters)


def _draws(*names: str):
    """Register a function (draw, generator, dtype, ...) -> (arrays, parameters) for these operations."""

    def register(function: Callable) -> Callable:
        _DRAW.update(dict.fromkeys(names, function))
        return function

    return register


@_draws("conv2d.forward")
def _conv2d_forward(draw, generator, dtype, empty=True, windows=None, strides=None, dilations=None):
    case = draw(convolutions(empty=empty, windows=windows, strides=strides, dilations=dilations))
    x, weight = (normal_values(generator, shape, dtype) for shape in (case.x, case.weight))
    bias = normal_values(generator, case.weight[:1], dtype) if case.has_bias else None
    return (x, weight, bias), case.parameters


@_draws("conv2d.input_grad")
def _conv2d_input_grad(draw, generator, dtype, empty=True, windows=None, strides=None, dilations=None):
    case = draw(convolutions(empty=empty, windows=windows, strides=strides, dilations=dilations))
    g, weight = (normal_values(generator, shape, dtype) for shape in (case.y, case.weight))
    return (g, weight), {"input_size": case.x[2:], **case.parameters}


@_draws("conv2d.weight_grad")
def _conv2d_weight_grad(draw, generator, dtype, empty=True, windows=None, strides=None, dilations=None):
    case = draw(convolutions(empty=empty, windows=windows, strides=strides, dilations=dilations))
    g, x = (normal_values(generator, shape, dtype) for shape in (case.y, case.x))
    return (g, x), {"kernel_size": case.weight[2:], **case.parameters}


@_draws("max_pool2d.forward")
def _max_pool2d_forward(draw, generator, dtype):
    case = draw(poolings())
    return (distinct_values(generator, case.x, dtype),), case.parameters


def _winners(generator, case):
    """Any cells of the image, some of them the winner of several windows."""
    return generator.integers(0, case.x[2] * case.x[3], case.y, dtype=np.int32)


@_draws("max_pool2d.scatter")
def _max_pool2d_scatter(draw, generator, dtype):
    case = draw(poolings())
    return (normal_values(generator, case.y, dtype), _winners(generator, case)), {"input_size": case.x[2:]}


@_draws("max_pool2d.gather")
def _max_pool2d_gather(draw, generator, dtype):
    case = draw(poolings())
    return (normal_values(generator, case.x, dtype), _winners(generator, case)), {}


@_draws("avg_pool2d.forward")
def _avg_pool2d_forward(draw, generator, dtype):
    case = draw(poolings(dilated=False))
    return (normal_values(generator, case.x, dtype),), case.parameters


@_draws("avg_pool2d.input_grad")
def _avg_pool2d_input_grad(draw, generator, dtype):
    case = draw(poolings(dilated=False))
    return (normal_values(generator, case.y, dtype),), {"input_size": case.x[2:], **case.parameters}


def _images(draw) -> tuple[int, int, int, int]:
    """Shapes (N, C, H, W) with up to 6 channels."""
    return draw(st.tuples(_lengths, st.integers(0, 6), _lengths, _lengths))


@_draws("local_response_norm.forward")
def _local_response_norm_forward(draw, generator, dtype):
    return (normal_values(generator, _images(draw), dtype),), draw(response_norms())


@_draws("local_response_norm.backward")
def _local_response_norm_backward(draw, generator, dtype):
    shape = _images(draw)
    return tuple(normal_values(generator, shape, dtype) for _ in range(2)), draw(response_norms())


@_draws("channel_window_sum.forward")
def _channel_window_sum(draw, generator, dtype):
    return (normal_values(generator, _images(draw), dtype),), {"size": draw(response_norms())["size"]}


@_draws("relu.forward", "absolute.forward")
def _kinked(draw, generator, dtype):
    return (distinct_values(generator, draw(shapes()), dtype),), {}


@_draws("relu.backward")
def _relu_backward(draw, generator, dtype):
    shape = draw(shapes())
    y = np.maximum(distinct_values(generator, shape, dtype), 0, dtype=dtype)
    return (normal_values(generator, shape, dtype), np.asarray(y)), {}


@_draws("dropout.forward")
def _dropout(draw, generator, dtype):
    words = st.integers(0, 2**64 - 1)
    parameters = {
        "p": draw(st.sampled_from((0.0, 0.1, 0.5, 0.9))),
        "seed": draw(words),
        "offset": draw(words),
    }
    return (normal_values(generator, draw(shapes()), dtype),), parameters


@_draws("linear.forward")
def _linear_forward(draw, generator, dtype, images=_ANY, inputs=_ANY, outputs=_ANY):
    n, inputs, outputs = draw(st.tuples(*map(_sizes, (images, inputs, outputs))))
    bias = normal_values(generator, outputs, dtype) if draw(st.booleans()) else None
    return (*_matrices(generator, dtype, (n, inputs), (outputs, inputs)), bias), {}


@_draws("linear.input_grad")
def _linear_input_grad(draw, generator, dtype, images=_ANY, inputs=_ANY, outputs=_ANY):
    n, inputs, outputs = draw(st.tuples(*map(_sizes, (images, inputs, outputs))))
    return _matrices(generator, dtype, (n, outputs), (outputs, inputs)), {}


@_draws("linear.weight_grad")
def _linear_weight_grad(draw, generator, dtype, images=_ANY, inputs=_ANY, outputs=_ANY):
    n, inputs, outputs = draw(st.tuples(*map(_sizes, (images, inputs, outputs))))
    return _matrices(generator, dtype, (n, outputs), (n, inputs)), {}


@_draws("matmul.forward")
def _matmul(draw, generator, dtype, rows=_ANY, inner=_ANY, columns=_ANY):
    rows, inner, columns = draw(st.tuples(*map(_sizes, (rows, inner, columns))))
    return _matrices(generator, dtype, (rows, inner), (inner, columns)), {}


def _matrices(generator, dtype, *shapes):
    return tuple(normal_values(generator, shape, dtype) for shape in shapes)


@st.composite
def normalised_shapes(draw: DrawFn, inner: Sizes = _ANY) -> tuple[tuple[int, ...], int]:
    """A shape and a feature axis, with at least two elements for each of 0 or more features.

    `inner` are how many elements a feature has behind its axis; if that is at least one, there is a feature.
    """
    if inner.least:
        before = draw(_outer_shapes)
        return (*before, draw(_positive), *draw(_inner_shapes(inner))), len(before)
    shape = list(draw(hnp.array_shapes(min_dims=2, max_dims=4, max_side=3)))
    axis = draw(st.integers(0, len(shape) - 1))
    shape[axis] = draw(_lengths)
    assume(np.prod([n for i, n in enumerate(shape) if i != axis]) > 1)
    return tuple(shape), axis


# Axes before that of the features: with their elements, rows are added four at a time.
_outer_shapes = st.sampled_from(((), (1,), (2,), (5,), (2, 3)))


def _inner_shapes(inner: Sizes) -> SearchStrategy[tuple[int, ...]]:
    """Axes behind that of the features, with that many elements."""
    elements = _sizes(inner)
    return st.one_of(st.tuples(elements), st.tuples(st.integers(1, 2), elements))


def _batch(draw, generator, dtype, inner=_ANY):
    """Distinct values: a feature whose values were nearly equal would be divided by nearly 0."""
    shape, axis = draw(normalised_shapes(inner))
    weight, bias = (normal_values(generator, shape[axis], dtype) for _ in range(2))
    parameters = {"axis": axis, "eps": draw(st.sampled_from((1e-5, 1e-3, 0.1)))}
    return distinct_values(generator, shape, dtype), weight, bias, parameters


@_draws("batch_norm.forward")
def _batch_norm_forward(draw, generator, dtype, inner=_ANY):
    *arrays, parameters = _batch(draw, generator, dtype, inner)
    return tuple(arrays), parameters


@_draws("batch_norm.backward")
def _batch_norm_backward(draw, generator, dtype, inner=_ANY):
    x, weight, _, parameters = _batch(draw, generator, dtype, inner)
    others = tuple(i for i in range(x.ndim) if i != parameters["axis"])
    g = normal_values(generator, x.shape, dtype)
    return (g, x, weight, x.mean(axis=others), x.var(axis=others)), parameters


@_draws("batch_norm.evaluate")
def _batch_norm_evaluate(draw, generator, dtype, inner=_ANY):
    x, weight, bias, parameters = _batch(draw, generator, dtype, inner)
    mean = normal_values(generator, weight.shape, dtype)
    return (x, weight, bias, mean, positive_values(generator, weight.shape, dtype)), parameters


@st.composite
def lines(draw: DrawFn, empty: bool = True, last: bool = False) -> tuple[tuple[int, ...], int]:
    """A shape, empty or not, and an axis of it that is not empty: any one, or the last."""
    shape = list(draw(shapes(min_dims=1, min_side=0 if empty else 1)))
    axis = len(shape) - 1 if last else draw(st.integers(0, len(shape) - 1))
    shape[axis] = draw(_positive)
    return tuple(shape), axis


@_draws("softmax.forward", "log_softmax.forward")
def _softmax_forward(draw, generator, dtype, empty=True, last=False):
    shape, axis = draw(lines(empty, last))
    return (3 * normal_values(generator, shape, dtype),), {"axis": axis}


@_draws("softmax.backward")
def _softmax_backward(draw, generator, dtype, empty=True, last=False):
    shape, axis = draw(lines(empty, last))
    y = positive_values(generator, shape)
    y /= y.sum(axis=axis, keepdims=True)
    return (normal_values(generator, shape, dtype), y.astype(dtype)), {"axis": axis}


@_draws("log_softmax.backward")
def _log_softmax_backward(draw, generator, dtype, empty=True, last=False):
    (g, y), parameters = _softmax_backward(draw, generator, dtype, empty, last)
    return (g, np.log(y)), parameters


def distributions(generator: np.random.Generator, shape, dtype=np.float64) -> np.ndarray:
    """Targets of cross-entropy: weights of the classes, which need not add up to 1."""
    return generator.uniform(0, 1, shape).astype(dtype)


@_draws("cross_entropy.forward")
def _cross_entropy_forward(draw, generator, dtype, images=_ANY):
    shape = draw(st.tuples(_sizes(images), st.integers(1, 5)))
    return (3 * normal_values(generator, shape, dtype), distributions(generator, shape, dtype)), {}


@_draws("cross_entropy.backward")
def _cross_entropy_backward(draw, generator, dtype, images=_ANY):
    (x, target), _ = _cross_entropy_forward(draw, generator, dtype, images)
    return (normal_values(generator, len(x), dtype), x, target), {}


def broadcasting_shapes() -> SearchStrategy[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Two shapes that broadcast, in any of NumPy's ways."""
    shapes = hnp.mutually_broadcastable_shapes(num_shapes=2, min_side=0, max_side=3, max_dims=3)
    return shapes.map(lambda drawn: drawn.input_shapes)


@_draws("add.forward", "subtract.forward", "multiply.forward")
def _binary(draw, generator, dtype):
    return tuple(normal_values(generator, shape, dtype) for shape in draw(broadcasting_shapes())), {}


@_draws("divide.forward")
def _divide(draw, generator, dtype):
    a, b = draw(broadcasting_shapes())
    divisor = positive_values(generator, b, dtype) * generator.choice(np.array([-1, 1], dtype), b)
    return (normal_values(generator, a, dtype), np.asarray(divisor)), {}


@_draws("maximum.forward", "minimum.forward")
def _maximum(draw, generator, dtype):
    a, b = draw(broadcasting_shapes())
    sizes = int(np.prod(a)), int(np.prod(b))
    values = distinct_values(generator, (sum(sizes),), dtype)
    return (values[: sizes[0]].reshape(a), values[sizes[0] :].reshape(b)), {}


@_draws("negative.forward", "exp.forward", "tanh.forward")
def _unary(draw, generator, dtype):
    return (normal_values(generator, draw(shapes()), dtype),), {}


@_draws("log.forward", "sqrt.forward")
def _unary_of_positive(draw, generator, dtype):
    return (positive_values(generator, draw(shapes()), dtype),), {}


@_draws("power.forward")
def _power(draw, generator, dtype):
    exponent = draw(st.sampled_from((2, 3, -1, -0.75, 0.5, 1, 0)))
    return (positive_values(generator, draw(shapes()), dtype),), {"exponent": exponent}


@_draws("sum.forward")
def _sum(draw, generator, dtype, layout=None, inner=_ANY):
    if inner.least:
        before, after = draw(_outer_shapes), draw(_inner_shapes(inner))
        shape = (*before, draw(st.integers(2, 4)), *after)
        axis = (*range(len(before)), *range(len(before) + 1, len(shape)))
        return (normal_values(generator, shape, dtype),), {"axis": axis, "keepdims": draw(st.booleans())}
    if draw(st.booleans()):
        x = normal_values(generator, draw(shapes()), dtype)
        return (x,), _reduction(draw, range(x.ndim))
    # All axes but one, which bias gradients keep.
    x = normal_values(generator, draw(shapes(min_dims=2, max_dims=4, min_side=2)), dtype)
    kept = draw(st.integers(0, x.ndim - 2))
    axis = tuple(i for i in range(x.ndim) if i != kept)
    return (x,), {"axis": axis, "keepdims": draw(st.booleans())}


@_draws("amax.forward")
def _amax(draw, generator, dtype):
    x = distinct_values(generator, draw(shapes()), dtype)
    return (x,), _reduction(draw, [i for i, n in enumerate(x.shape) if n])


def _reduction(draw, axes):
    chosen = draw(st.sets(st.sampled_from(tuple(axes)))) if len(axes) else ()
    return {"axis": tuple(sorted(chosen)), "keepdims": draw(st.booleans())}


@_draws("index_add.forward")
def _index_add(draw, generator, dtype):
    shape = draw(shapes(min_dims=1, min_side=1))
    index = draw(indices(shape))
    g = normal_values(generator, np.empty(shape)[index].shape, dtype)
    return (g,), {"index": index, "shape": shape}


@_draws("sgd.update")
def _sgd(draw, generator, dtype):
    shape = draw(shapes())
    momentum = draw(st.sampled_from((0.0, 0.9)))
    parameter, gradient, velocity = (normal_values(generator, shape, dtype) for _ in range(3))
    return (parameter, gradient, velocity if momentum else None), {
        "lr": 0.1,
        "momentum": momentum,
        "weight_decay": draw(st.sampled_from((0.0, 0.05))),
        "nesterov": bool(momentum) and draw(st.booleans()),
    }


@_draws("adam.update")
def _adam(draw, generator, dtype):
    shape = draw(shapes())
    parameter, gradient, m = (normal_values(generator, shape, dtype) for _ in range(3))
    return (parameter, gradient, m, positive_values(generator, shape, dtype)), {
        "lr": 0.1,
        "beta1": 0.9,
        "beta2": 0.99,
        "eps": draw(st.sampled_from((1e-8, 0.1))),
        "weight_decay": draw(st.sampled_from((0.0, 0.05))),
        "decoupled": draw(st.booleans()),
        "step": draw(st.integers(1, 5)),
    }
