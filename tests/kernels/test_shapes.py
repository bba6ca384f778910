"""Output shapes: published ones, TensorFlow's SAME padding, and what each bad argument is told."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minialex.errors import ShapeError
from minialex.kernels import operations_with_shapes, output_shape
from minialex.kernels.contract.windows import (
    Axis,
    Window,
    has_empty_window,
    output_positions,
    pair,
    resolve_padding,
    tap_slices,
)
from minialex.kernels.elementwise.shape import UNARY

ALEXNET = [
    ("conv2d", ((1, 3, 227, 227), (96, 3, 11, 11)), {"stride": 4}, (1, 96, 55, 55)),
    ("local_response_norm", ((1, 96, 55, 55),), {"size": 5}, (1, 96, 55, 55)),
    ("max_pool2d", ((1, 96, 55, 55),), {"kernel_size": 3, "stride": 2}, (1, 96, 27, 27)),
    ("conv2d", ((1, 96, 27, 27), (256, 48, 5, 5)), {"padding": 2, "groups": 2}, (1, 256, 27, 27)),
    ("max_pool2d", ((1, 256, 27, 27),), {"kernel_size": 3, "stride": 2}, (1, 256, 13, 13)),
    ("conv2d", ((1, 256, 13, 13), (384, 256, 3, 3)), {"padding": 1}, (1, 384, 13, 13)),
    ("conv2d", ((1, 384, 13, 13), (384, 192, 3, 3)), {"padding": 1, "groups": 2}, (1, 384, 13, 13)),
    ("conv2d", ((1, 384, 13, 13), (256, 192, 3, 3)), {"padding": 1, "groups": 2}, (1, 256, 13, 13)),
    ("max_pool2d", ((1, 256, 13, 13),), {"kernel_size": 3, "stride": 2}, (1, 256, 6, 6)),
    ("linear", ((1, 9216), (4096, 9216), (4096,)), {}, (1, 4096)),
    # A 224 image needs two cells of padding to come out at 55; without, it comes out at 54.
    ("conv2d", ((1, 3, 224, 224), (64, 3, 11, 11)), {"stride": 4, "padding": 2}, (1, 64, 55, 55)),
    ("conv2d", ((1, 3, 224, 224), (96, 3, 11, 11)), {"stride": 4}, (1, 96, 54, 54)),
]


@pytest.mark.parametrize(("operation", "shapes", "parameters", "expected"), ALEXNET)
def test_the_layers_of_alexnet(operation, shapes, parameters, expected):
    assert output_shape(operation, *shapes, **parameters) == expected


OTHERS = [
    ("conv2d", ((2, 4, 5, 6), (6, 2, 3, 1), None), {"groups": 2, "dilation": (2, 1)}, (2, 6, 1, 6)),
    ("avg_pool2d", ((1, 2, 5, 7),), {"kernel_size": (2, 3)}, (1, 2, 2, 2)),
    ("avg_pool2d", ((1, 2, 5, 7),), {"kernel_size": (2, 3), "ceil_mode": True}, (1, 2, 3, 3)),
    ("max_pool2d", ((0, 0, 4, 4),), {"kernel_size": 2, "padding": ((1, 0), (0, 1))}, (0, 0, 2, 2)),
    ("max_pool2d", ((1, 2, 5, 5),), {"kernel_size": 3, "stride": 2**31 - 1, "ceil_mode": True}, (1, 2, 1, 1)),
    ("batch_norm", ((4, 3, 2), (3,), (3,)), {}, (4, 3, 2)),
    ("batch_norm", ((4, 3, 2), None, (2,)), {"axis": -1}, (4, 3, 2)),
    ("cross_entropy", ((4, 3), (4,)), {}, (4,)),
    ("cross_entropy", ((4, 3), (4, 3)), {}, (4,)),
    ("softmax", ((2, 3),), {"axis": 0}, (2, 3)),
    ("log_softmax", ((2, 3),), {}, (2, 3)),
    ("channel_window_sum", ((1, 2, 3, 4),), {"size": 9}, (1, 2, 3, 4)),
    ("matmul", ((2, 3), (3, 4)), {}, (2, 4)),
    ("sum", ((2, 3, 4),), {"axis": (0, -1)}, (3,)),
    ("sum", ((2, 3, 4),), {"axis": 1, "keepdims": True}, (2, 1, 4)),
    ("amax", ((2, 3, 4),), {}, ()),
    ("add", ((2, 1), (3,)), {}, (2, 3)),
    ("relu", ((),), {}, ()),
    ("dropout", ((3, 0),), {"p": 0.5}, (3, 0)),
    ("power", ((3, 2),), {"exponent": 2}, (3, 2)),
    ("flatten", ((2, 3, 4, 5),), {}, (2, 60)),
    ("flatten", ((2, 3, 4, 5),), {"start_dim": 1, "end_dim": 2}, (2, 12, 5)),
    ("flatten", ((2, 3, 4, 5),), {"start_dim": -1}, (2, 3, 4, 5)),
]


@pytest.mark.parametrize(("operation", "shapes", "parameters", "expected"), OTHERS)
def test_output_shapes(operation, shapes, parameters, expected):
    assert output_shape(operation, *shapes, **parameters) == expected


def test_shapes_may_be_lists():
    assert output_shape("linear", [2, 3], [4, 3]) == (2, 4)
    assert output_shape("linear", (5, 2, 3), (4, 3)) == (5, 2, 4)
    assert output_shape("linear", (3,), (4, 3)) == (4,)


CONV = ((1, 4, 5, 5), (6, 4, 3, 3))
POOL = ((1, 2, 5, 5),)
WRONG = [
    ("conv3d", (), {}, ["'conv3d' has no shape rule", "conv2d"]),
    ("conv2d", ((4, 5, 5), CONV[1]), {}, [r"input must have 4 axes \(N, C, H, W\)", r"\(4, 5, 5\)"]),
    ("conv2d", (CONV[0], (6, 4, 3)), {}, ["weight must have 4 axes", r"\(6, 4, 3\)"]),
    ("conv2d", (CONV[0], (6, 3, 3, 3)), {}, [r"\(1, 4, 5, 5\) has 4 channels", r"\(6, 3, 3, 3\) takes 3"]),
    ("conv2d", (CONV[0], (6, 1, 3, 3)), {"groups": 4}, ["4 groups for 6 outputs", "multiple of groups"]),
    ("conv2d", (CONV[0], (6, 4, 0, 3)), {}, ["empty window", r"\(6, 4, 0, 3\)"]),
    ("conv2d", (*CONV, (5,)), {}, [r"bias must have shape \(6,\) .*, not \(5,\)"]),
    ("conv2d", CONV, {"groups": 0}, ["groups must be an integer 1 or more, not 0"]),
    ("conv2d", CONV, {"groups": True}, ["groups must be .*, not True"]),
    ("conv2d", CONV, {"stride": 0}, ["stride must be an integer from 1 to 2,147,.*, not 0"]),
    ("conv2d", CONV, {"stride": (1, 2, 3)}, [r"stride must be .*, or a pair of them, not \(1, 2, 3\)"]),
    ("conv2d", CONV, {"stride": 1.0}, [r"stride must be .*, not 1\.0"]),
    ("conv2d", CONV, {"dilation": "2"}, ["dilation must be .*, not '2'"]),
    ("conv2d", CONV, {"padding": -1}, ["padding must be .* an integer from 0 to .*, not -1"]),
    ("conv2d", CONV, {"stride": 2**31}, ["to 2,147,483,647, .*, not 2147483648"]),
    ("conv2d", CONV, {"dilation": (1, 2**62)}, [r"dilation must be .*, not \(1, 4611686018427387904\)"]),
    ("conv2d", CONV, {"padding": 2**40}, ["to 2,147,483,647, .*, not 1099511627776"]),
    (
        "conv2d",
        CONV,
        {"padding": ((0, 2**31), (0, 0))},
        [r"padding \(top, bottom\) must be .*, not \(0, 21.*"],
    ),
    (
        "conv2d",
        CONV,
        {"padding": 2**20},
        ["1,099,511,627,776 cells of an input of 5x5", "not 2097157x2097157, as 1048576 does"],
    ),
    (
        "conv2d",
        CONV,
        {"padding": "same", "dilation": 2**31 - 1},
        ["not 4294967299x4294967299, as 'same' does", "dilation 2147483647x2147483647"],
    ),
    (
        "max_pool2d",
        POOL,
        {"kernel_size": 3, "stride": 2**70},
        ["stride must be .*, not 118059162071741130.*"],
    ),
    ("avg_pool2d", POOL, {"kernel_size": 2**40}, ["kernel_size must be .*, not 1099511627776"]),
    ("conv2d", CONV, {"padding": "full"}, ["padding must be 'valid', 'same', or .*, not 'full'"]),
    ("conv2d", CONV, {"padding": ((1, -1), (0, 0))}, [r"padding \(top, bottom\) must be .*, not \(1, -1\)"]),
    ("conv2d", CONV, {"padding": ((0, 0), (1, 2, 3))}, [r"padding \(left, right\)"]),
    (
        "conv2d",
        CONV,
        {"dilation": 3, "padding": ((1, 0), (0, 0))},
        ["does not fit", r"\(1, 4, 5, 5\)", "kernel 3x3", "top 1 bottom 0 left 0 right 0", "dilation 3x3"],
    ),
    ("max_pool2d", ((2, 5, 5),), {"kernel_size": 2}, ["pooling input must have 4 axes", r"\(2, 5, 5\)"]),
    ("max_pool2d", POOL, {"kernel_size": 0}, ["kernel_size must be .*, not 0"]),
    ("max_pool2d", POOL, {"kernel_size": 2, "stride": -1}, ["stride must be .*, not -1"]),
    ("max_pool2d", POOL, {"kernel_size": 6}, ["does not fit", "kernel 6x6"]),
    ("max_pool2d", POOL, {"kernel_size": 2, "padding": 2}, ["nothing but padding", "less padding"]),
    ("max_pool2d", POOL, {"kernel_size": 2, "dilation": 6, "padding": 1}, ["nothing but padding"]),
    ("avg_pool2d", POOL, {"kernel_size": (2, 2), "padding": ((0, 0), (0, 3))}, ["nothing but padding"]),
    ("local_response_norm", ((1, 2, 3),), {}, ["local_response_norm input must have 4 axes"]),
    ("local_response_norm", POOL, {"size": 4}, ["size must be an odd .*, not 4; libraries disagree"]),
    ("local_response_norm", POOL, {"size": -1}, ["size must be an odd integer 1 or more, not -1"]),
    ("channel_window_sum", POOL, {"size": 1.0}, [r"size must be .*, not 1\.0"]),
    ("linear", ((2, 3), (4, 5)), {}, [r"\(2, 3\) has 3 features", r"\(4, 5\) takes 5"]),
    ("linear", ((2, 3, 1), (4, 3)), {}, [r"\(2, 3, 1\) has 1 features", r"\(4, 3\) takes 3"]),
    ("linear", ((), (4, 3)), {}, [r"linear input must have axes \(\.\.\., I\), not shape \(\)"]),
    ("linear", ((2, 3), (3,)), {}, ["linear weight must have 2 axes"]),
    ("linear", ((2, 3), (4, 3), (3,)), {}, [r"bias must have shape \(4,\) .*, not \(3,\)"]),
    ("matmul", ((2, 3), (2, 3)), {}, [r"\(2, 3\) @ \(2, 3\)", "3 and 2 differ"]),
    ("matmul", ((3,), (3, 2)), {}, ["left operand must have 2 axes"]),
    ("matmul", ((2, 3), (3,)), {}, ["right operand must have 2 axes"]),
    ("batch_norm", ((2, 3),), {"axis": 2}, [r"axis must be an axis of shape \(2, 3\), not 2"]),
    ("batch_norm", ((2, 3), (2,)), {}, [r"weight must have shape \(3,\) .* axis 1 .*, not \(2,\)"]),
    ("batch_norm", ((2, 3), None, (3, 1)), {}, [r"bias must have shape \(3,\) .*, not \(3, 1\)"]),
    ("cross_entropy", ((2, 3, 4), (2,)), {}, ["cross_entropy input must have 2 axes"]),
    ("cross_entropy", ((2, 3), (3,)), {}, [r"must have shape \(2,\) \(labels\) or \(2, 3\) .*, not \(3,\)"]),
    ("cross_entropy", ((2, 0), (2,)), {}, [r"must have one class or more, not shape \(2, 0\)"]),
    ("softmax", ((2, 3),), {"axis": 2}, [r"axis must be an axis of shape \(2, 3\), not 2"]),
    ("softmax", ((2, 0),), {}, ["axis -1", "empty"]),
    ("sum", ((2, 3),), {"axis": 2}, [r"axis must be an axis of shape \(2, 3\), not 2"]),
    ("sum", ((2, 3),), {"axis": (1, -1)}, [r"axis must name different axes .*, not \(1, -1\)"]),
    ("amax", ((2, 0),), {"axis": 1}, [r"\(2, 0\) has no elements along axis=1"]),
    ("flatten", ((2, 3, 4),), {"start_dim": 2, "end_dim": 1}, [r"\(2, 3, 4\) from start_dim=2 on, not 1"]),
    ("add", ((2, 3), (2,)), {}, [r"add: shapes \(2, 3\) and \(2,\) do not broadcast"]),
]


@pytest.mark.parametrize(
    ("operation", "shapes", "parameters", "messages"),
    WRONG,
    ids=[f"{operation}-{shapes}-{parameters}" for operation, shapes, parameters, _ in WRONG],
)
def test_a_bad_argument_is_named_with_what_was_given(operation, shapes, parameters, messages):
    with pytest.raises(ShapeError, match=messages[0]) as raised:
        output_shape(operation, *shapes, **parameters)
    for message in messages[1:]:
        raised.match(message)


def test_every_operation_with_a_shape_is_tried_here():
    tried = {case[0] for case in (*ALEXNET, *OTHERS)}
    alike = {"subtract", "multiply", "divide", "maximum", "minimum"}  # made by the same line as add
    alike |= set(UNARY) - {"power"}  # made by the same line as power
    assert set(operations_with_shapes()) == tried | alike


# Windows


def same(size, kernel, stride, dilation=1):
    axis = resolve_padding("same", (size, 1), (kernel, 1), (stride, 1), (dilation, 1))[0]
    return axis, output_positions(size, kernel, stride, axis, dilation)


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "padding", "positions"),
    [
        # TensorFlow: ceil(32 / 4) = 8 outputs need (8 - 1) * 4 + 11 - 32 = 7 cells, the odd one after.
        (32, 11, 4, (3, 4), 8),
        (8, 3, 2, (0, 1), 4),
        (7, 3, 2, (1, 1), 4),
        (5, 2, 1, (0, 1), 5),
        (5, 5, 1, (2, 2), 5),
        (5, 1, 2, (0, 0), 3),
        (2, 1, 3, (0, 0), 1),
    ],
)
def test_same_padding_is_tensorflows(size, kernel, stride, padding, positions):
    assert same(size, kernel, stride) == (padding, positions)


@given(st.integers(1, 40), st.integers(1, 12), st.integers(1, 6), st.integers(1, 3))
def test_same_padding_gives_ceil_of_size_over_stride(size, kernel, stride, dilation):
    (before, after), positions = same(size, kernel, stride, dilation)
    assert positions == -(-size // stride)
    assert after - before in (0, 1)


@pytest.mark.parametrize(
    ("padding", "expected"),
    [
        (2, ((2, 2), (2, 2))),
        ((1, 2), ((1, 1), (2, 2))),
        ([1, 2], ((1, 1), (2, 2))),
        (((0, 1), (2, 3)), ((0, 1), (2, 3))),
        ("valid", ((0, 0), (0, 0))),
    ],
)
def test_paddings_are_brought_into_one_form(padding, expected):
    assert resolve_padding(padding, (5, 5), (3, 3), (1, 1), (1, 1)) == expected


def test_pairs():
    assert pair(3, "stride") == pair((3, 3), "stride") == pair([3, 3], "stride") == (3, 3)
    assert pair(0, "padding", minimum=0) == (0, 0)
    with pytest.raises(ShapeError, match=r"stride must be .*, not \(1, True\)"):
        pair((1, True), "stride")


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "padding", "floor", "ceil"),
    [
        (6, 2, 2, (0, 0), 3, 3),
        (5, 2, 2, (0, 0), 2, 3),
        (4, 2, 2, (1, 2), 3, 3),  # the fourth would start at cell 5, in the padding
        (4, 2, 2, (1, 1), 3, 3),
        (2, 1, 4, (0, 0), 1, 1),
        (1, 4, 1, (0, 0), -2, -2),  # does not fit
    ],
)
def test_positions_with_and_without_ceil_mode(size, kernel, stride, padding, floor, ceil):
    assert output_positions(size, kernel, stride, padding, 1) == floor
    assert output_positions(size, kernel, stride, padding, 1, ceil_mode=True) == ceil


def test_a_window_is_empty_where_none_of_its_cells_lies_in_the_input():
    """Against a look at every cell of every window, for all small windows that fit, in both modes."""
    seen = {True: 0, False: 0}
    for size, kernel, stride, before, after, dilation, ceil_mode in itertools.product(
        (1, 2, 5), (1, 2, 3, 4), (1, 2, 3, 4), range(8), (0, 2), (1, 2, 3, 5, 6, 8), (False, True)
    ):
        padding = (before, after)
        positions = output_positions(size, kernel, stride, padding, dilation, ceil_mode=ceil_mode)
        starts = range(-before, positions * stride - before, stride)
        empty = any(not any(0 <= s + i * dilation < size for i in range(kernel)) for s in starts)
        if positions >= 1:
            axis = Axis(size, kernel, stride, before, after, dilation, positions)
            assert has_empty_window(axis) == empty
            seen[empty] += 1
    assert min(seen.values()) > 1000


LONG = 10**9


@pytest.mark.parametrize(
    ("operation", "shapes", "parameters", "positions"),
    [
        ("max_pool2d", [(1, 1, LONG, LONG)], {"kernel_size": 3, "padding": 1, "stride": 1}, LONG),
        ("avg_pool2d", [(1, 1, LONG, LONG)], {"kernel_size": 3, "padding": 1, "stride": 1}, LONG),
        (
            "max_pool2d",
            [(1, 1, LONG, LONG)],
            {"kernel_size": LONG, "padding": LONG - 1, "stride": 1},
            2 * LONG - 1,
        ),
        # The gap between the two cells of a window is one cell less than the input.
        (
            "max_pool2d",
            [(1, 1, LONG, LONG)],
            {"kernel_size": 2, "dilation": LONG, "padding": LONG, "stride": 1},
            2 * LONG,
        ),
        # The one window that starts before the input has its second cell at the input's first.
        (
            "max_pool2d",
            [(1, 1, LONG - 1, LONG - 1)],
            {"kernel_size": 2, "dilation": LONG, "padding": ((LONG, 0), (LONG, 0)), "stride": LONG},
            1,
        ),
        (
            "max_pool2d",
            [(1, 1, LONG, LONG)],
            {"kernel_size": 2, "stride": 2, "padding": 1, "ceil_mode": True},
            LONG // 2 + 1,
        ),
        ("conv2d", [(1, 1, LONG, LONG), (1, 1, 3, 3)], {"padding": "same"}, LONG),
        ("conv2d", [(1, 1, LONG, LONG), (1, 1, 3, 3)], {"padding": LONG, "dilation": LONG}, LONG),
    ],
)
def test_a_shape_takes_no_longer_for_more_cells(operation, shapes, parameters, positions):
    assert output_shape(operation, *shapes, **parameters) == (1, 1, positions, positions)


def test_one_empty_window_among_many_is_found():
    # Cell 10**9 - 1 of the gap lies behind the input, and one start of 10**9 reads from there.
    parameters = {"kernel_size": 2, "dilation": LONG, "padding": LONG, "stride": 1}
    with pytest.raises(ShapeError, match="nothing but padding"):
        output_shape("max_pool2d", (1, 1, LONG - 1, LONG - 1), **parameters)


sides = st.tuples(st.integers(1, 4), st.integers(1, 4))


@given(
    sides,
    sides,
    sides,
    sides,
    sides,
    st.tuples(*[st.tuples(st.integers(0, 3), st.integers(0, 3))] * 2),
)
def test_tap_slices_are_the_cells_that_windows_read(size, positions, kernel, stride, dilation, padding):
    read = {}
    axes = zip(size, kernel, stride, *zip(*padding, strict=True), dilation, positions, strict=True)
    for tap, at_y, at_x in tap_slices(Window(*(Axis(*axis) for axis in axes))):
        rows, columns = (
            zip(range(4)[ys], range(10)[xs], strict=True) for ys, xs in zip(at_y, at_x, strict=True)
        )
        columns = list(columns)
        read[tap] = {(p, q, row, column) for p, row in rows for q, column in columns}
    expected = {}
    for i, j in ((i, j) for i in range(kernel[0]) for j in range(kernel[1])):
        for p, q in ((p, q) for p in range(positions[0]) for q in range(positions[1])):
            row = p * stride[0] - padding[0][0] + i * dilation[0]
            column = q * stride[1] - padding[1][0] + j * dilation[1]
            if 0 <= row < size[0] and 0 <= column < size[1]:
                expected.setdefault((i, j), set()).add((p, q, row, column))
    assert read == expected
    assert list(read) == sorted(read)
