"""Pooling: padding, NaN, infinities, ties, ceil mode; averages against a direct mean; adjoints."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from minialex.checking.testing.algorithms import every_algorithm
from minialex.checking.testing.compare import assert_close, largest, rounding
from minialex.checking.testing.strategies import call, normal_values, poolings, seeds
from minialex.checking.testing.values import distinct_values
from minialex.errors import ShapeError
from minialex.kernels import find_kernel, output_shape

every_kernel = every_algorithm("max_pool2d")
EXACT = rounding(np.float64)
NO_PADDING = ((0, 0), (0, 0))


def pooled(algorithm, x, **parameters):
    """Values and winners; and the values alone are the same."""
    y, index = find_kernel("max_pool2d.forward", **algorithm)(x, **parameters)
    alone = find_kernel("max_pool2d.evaluate", **algorithm)(x, **parameters)
    assert alone.dtype == y.dtype
    np.testing.assert_array_equal(alone, y)
    return y, index


def max_pool(algorithm, rows, kernel, stride=None, padding=NO_PADDING, dilation=(1, 1), ceil_mode=False):
    """Pool one image, given as its rows; return its (values, winners)."""
    y, index = pooled(
        algorithm,
        np.array([[rows]], dtype=np.float64),
        kernel_size=kernel,
        stride=stride or kernel,
        padding=padding,
        dilation=dilation,
        ceil_mode=ceil_mode,
    )
    return y[0, 0].tolist(), index[0, 0].tolist()


@every_kernel
def test_the_first_maximum_in_row_major_order_wins_a_tie(algorithm):
    assert max_pool(algorithm, [[1, 7, 2], [7, 7, 7]], (2, 3)) == ([[7]], [[1]])
    assert max_pool(algorithm, [[0, 0], [0, 0]], (1, 2)) == ([[0], [0]], [[0], [2]])


@every_kernel
def test_padding_never_wins_not_even_over_minus_infinity(algorithm):
    low = -np.inf
    around = ((1, 1), (1, 1))
    assert max_pool(algorithm, [[-3]], (3, 3), padding=around) == ([[-3]], [[0]])
    assert max_pool(algorithm, [[low, low], [low, low]], (2, 2)) == ([[low]], [[0]])
    # The window over the last column alone: its first cell is cell 1, not cell 0.
    assert max_pool(algorithm, [[low, low]], (1, 2), padding=((0, 0), (1, 1))) == ([[low, low]], [[0, 1]])


@every_kernel
@pytest.mark.parametrize("width", [3, 8, 13])
def test_padding_loses_against_minus_infinity_in_every_row(algorithm, width):
    rows = np.full((4, width), -np.inf)
    values, index = max_pool(algorithm, rows, (1, 3), (1, 1), padding=((0, 0), (2, 2)))
    starts = [max(0, q - 2) for q in range(width + 2)]
    assert np.isneginf(values).all()
    np.testing.assert_array_equal(index, [[row * width + start for start in starts] for row in range(4)])


@every_kernel
@pytest.mark.parametrize("kernel", [(5, 1), (1, 5), (4, 4), (6, 7)])
def test_every_cell_of_a_large_window_can_win(algorithm, kernel):
    x = distinct_values(np.random.default_rng(3), (40, 1, *kernel))
    y, index = pooled(
        algorithm, x, kernel_size=kernel, stride=(1, 1), padding=NO_PADDING, dilation=(1, 1), ceil_mode=False
    )
    np.testing.assert_array_equal(index.ravel(), x.reshape(40, -1).argmax(axis=1))
    np.testing.assert_array_equal(y.ravel(), x.reshape(40, -1).max(axis=1))


@every_kernel
def test_the_first_nan_of_a_window_is_passed_on(algorithm):
    values, index = max_pool(algorithm, [[np.inf, np.nan, 1, 2], [np.nan, 5, 3, 4]], (2, 2))
    np.testing.assert_array_equal(values, [[np.nan, 4]])
    assert index == [[1, 7]]


_TIED = (
    (0.0, 1.0),
    tuple(np.arange(20.0)),
    (-np.inf, -np.inf, 0.0),
    (-0.0, 0.0, 1.0, np.nan),
    (np.nan, np.inf),
)


@st.composite
def _tied_poolings(draw, same_size: bool = False):
    """Images of few different values, NaN and infinities among them, and windows of up to 5 x 5 cells.

    With `same_size` the result is as large as the image.
    """
    kernel, dilation = (draw(st.tuples(st.integers(1, most), st.integers(1, most))) for most in (5, 2))
    size = draw(st.tuples(st.integers(1, 9), st.integers(1, 21)))
    parameters = {
        "kernel_size": kernel,
        "stride": draw(st.tuples(st.integers(1, 3), st.integers(1, 3))),
        "padding": tuple(draw(st.tuples(st.integers(0, k - 1), st.integers(0, k - 1))) for k in kernel),
        "dilation": dilation,
        "ceil_mode": draw(st.booleans()),
    }
    if same_size:
        before = [draw(st.integers(0, (k - 1) * d)) for k, d in zip(kernel, dilation, strict=True)]
        beside = zip(before, kernel, dilation, strict=True)
        parameters["padding"] = tuple((first, (k - 1) * d - first) for first, k, d in beside)
        parameters["stride"] = (1, 1)
    try:
        output_shape("max_pool2d", (2, 1, *size), **parameters)
    except ShapeError:
        assume(False)
    values, dtype = draw(st.sampled_from(_TIED)), draw(st.sampled_from(["float32", "float64"]))
    return draw(seeds()).choice(values, (2, 1, *size)).astype(dtype), parameters


@every_kernel
@given(st.one_of(_tied_poolings(), _tied_poolings(same_size=True)))
def test_ties_nan_and_infinities_are_decided_as_by_the_definition(algorithm, drawn):
    x, parameters = drawn
    expected, first = find_kernel("max_pool2d.forward", algo="reference")(x, **parameters)
    y, index = pooled(algorithm, x, **parameters)
    np.testing.assert_array_equal(index, first)
    np.testing.assert_array_equal(y, expected)


@every_kernel
def test_ceil_mode_adds_a_window_that_is_cut_off(algorithm):
    row = [[1, 2, 3, 4, 5, 6]]
    assert max_pool(algorithm, row, (1, 4), (1, 4)) == ([[4]], [[3]])
    assert max_pool(algorithm, row, (1, 4), (1, 4), ceil_mode=True) == ([[4, 6]], [[3, 5]])


@every_kernel
def test_ceil_mode_drops_a_window_that_starts_in_the_padding(algorithm):
    # Windows of 2 at -1, 1 and 3; the fourth would start at 5, beyond the 4 cells, in the padding.
    row, padding = [[1, 2, 3, 4]], ((0, 0), (1, 2))
    assert max_pool(algorithm, row, (1, 2), padding=padding, ceil_mode=True) == ([[1, 3, 4]], [[0, 2, 3]])


@every_kernel
@given(st.data())
def test_a_winner_is_a_cell_of_its_window_that_holds_the_result(algorithm, data):
    drawn = data.draw(call("max_pool2d.forward"))
    y, index = pooled(algorithm, *drawn.arrays, **drawn.parameters)
    (x,), parameters = drawn.arrays, drawn.parameters
    for n, c, p, q in np.ndindex(*y.shape):
        cells = []
        for position, axis in ((p, 0), (q, 1)):
            start = position * parameters["stride"][axis] - parameters["padding"][axis][0]
            taps = range(parameters["kernel_size"][axis])
            cells.append([start + i * parameters["dilation"][axis] for i in taps])
        row, column = divmod(int(index[n, c, p, q]), x.shape[3])
        assert row in cells[0]
        assert column in cells[1]
        inside = [
            x[n, c, i, j] for i in cells[0] for j in cells[1] if 0 <= i < x.shape[2] and 0 <= j < x.shape[3]
        ]
        assert y[n, c, p, q] == x[n, c, row, column] == max(inside)


@every_kernel
@given(st.data(), seeds())
def test_scatter_and_gather_are_adjoint(algorithm, data, generator):
    drawn = data.draw(call("max_pool2d.scatter"))
    g, index = drawn.arrays
    gx = find_kernel("max_pool2d.scatter", **algorithm)(g, index, **drawn.parameters)
    x = normal_values(generator, gx.shape)
    y = find_kernel("max_pool2d.gather", **algorithm)(x, index)
    terms = np.abs(y).ravel() @ np.abs(g).ravel() + 1
    assert np.vdot(y, g) == pytest.approx(np.vdot(x, gx), rel=0, abs=EXACT * terms)


@every_kernel
@given(poolings(dilated=False), seeds())
def test_average_pooling_and_its_gradient_are_adjoint(algorithm, case, generator):
    x, g = normal_values(generator, case.x), normal_values(generator, case.y)
    y = find_kernel("avg_pool2d.forward", **algorithm)(x, **case.parameters)
    gx = find_kernel("avg_pool2d.input_grad", **algorithm)(g, input_size=case.x[2:], **case.parameters)
    terms = np.abs(y).ravel() @ np.abs(g).ravel() + 1
    assert np.vdot(y, g) == pytest.approx(np.vdot(x, gx), rel=0, abs=EXACT * terms)


@every_kernel
@given(poolings(dilated=False), seeds())
def test_average_pooling_is_the_mean_of_the_cells_that_count(algorithm, case, generator):
    x = normal_values(generator, case.x)
    y = find_kernel("avg_pool2d.forward", **algorithm)(x, **case.parameters)
    kernel, stride, padding = (case.parameters[name] for name in ("kernel_size", "stride", "padding"))
    # Cells that do not count are NaN: those that ceil mode adds, and the padding unless it is included.
    beyond = [(0, k) for k in kernel]
    outside = 0.0 if case.parameters["count_include_pad"] else np.nan
    padded = np.pad(x, ((0, 0), (0, 0), *padding), constant_values=outside)
    padded = np.pad(padded, ((0, 0), (0, 0), *beyond), constant_values=np.nan)
    expected = np.empty(y.shape)
    for p, q in np.ndindex(*y.shape[2:]):
        top, left = p * stride[0], q * stride[1]
        window = padded[:, :, top : top + kernel[0], left : left + kernel[1]]
        expected[:, :, p, q] = np.nanmean(window, axis=(2, 3))
    assert_close(y, expected, EXACT, scale=largest(x))


@every_kernel
@pytest.mark.parametrize(
    ("include", "ceil_mode", "expected"),
    [
        # A row of ones with one padded cell on each side, windows of 3 at -1, 1, 3 (cut off at 5).
        (True, False, [2 / 3, 1]),
        (False, False, [1, 1]),
        (True, True, [2 / 3, 1, 1 / 2]),
        (False, True, [1, 1, 1]),
    ],
)
def test_what_the_divisor_counts(algorithm, include, ceil_mode, expected):
    y = find_kernel("avg_pool2d.forward", **algorithm)(
        np.ones((1, 1, 1, 4)),
        kernel_size=(1, 3),
        stride=(1, 2),
        padding=((0, 0), (1, 1)),
        ceil_mode=ceil_mode,
        count_include_pad=include,
    )
    assert_close(y[0, 0, 0], np.array(expected, dtype=float), EXACT)


@pytest.mark.parametrize(
    ("options", "says"), [({}, "is missing"), ({"input_size": 4}, "must be a pair of integers, not 4")]
)
def test_the_input_size_of_a_gradient_is_checked(options, says):
    with pytest.raises(ShapeError, match=f"pooling, input_grad: input_size {says}"):
        find_kernel("avg_pool2d.input_grad", algo="plain")(np.zeros((1, 1, 2, 2)), kernel_size=2, **options)
