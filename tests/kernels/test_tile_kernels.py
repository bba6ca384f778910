"""Kernels made of register tiles, at sizes with many panels, blocks and chunks, against float64."""

from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minialex as ma
from minialex.checking.testing.compare import assert_close
from minialex.checking.testing.strategies import normal_values
from minialex.integers import ceil_div
from minialex.kernels import find_kernel, select, set_workspace_limit, use
from minialex.kernels.conv2d import winograd_matrices
from minialex.kernels.conv2d.winograd import tile_size
from minialex.kernels.gemm.processor import processor
from minialex.kernels.gemm.tile import pack_panels
from minialex.kernels.runtime.threads import set_num_threads

# What the project promises of AlexNet's layers, relative to float64, by norm and worst element. A processor
# without fused multiply-add rounds each product, too, and then each sum of Winograd's longer chains.
DIRECT, WINOGRAD = 2e-6, 1e-5 if processor().fused else 2e-5

# (images, C, H, W), (O, C / groups, KH, KW), stride, padding, dilation, groups
LAYERS = {
    "conv1 of AlexNet": ((2, 3, 227, 227), (96, 3, 11, 11), (4, 4), ((0, 0), (0, 0)), (1, 1), 1),
    "conv2 of AlexNet": ((3, 96, 27, 27), (256, 48, 5, 5), (1, 1), ((2, 2), (2, 2)), (1, 1), 2),
    "conv3 of AlexNet": ((3, 256, 13, 13), (384, 256, 3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1), 1),
    "conv5 of AlexNet": ((3, 384, 13, 13), (256, 192, 3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1), 2),
    "odd channels": ((5, 21, 10, 9), (57, 7, 3, 3), (1, 1), ((1, 0), (2, 1)), (1, 1), 3),
    "one channel": ((4, 1, 28, 28), (64, 1, 5, 5), (1, 1), ((2, 2), (2, 2)), (1, 1), 1),
    "one position": ((33, 40, 3, 3), (70, 40, 3, 3), (1, 1), ((0, 0), (0, 0)), (1, 1), 1),
    "stride and dilation": ((3, 10, 23, 31), (26, 5, 4, 3), (3, 2), ((4, 1), (0, 3)), (2, 3), 2),
    "stride beyond the window": ((2, 9, 25, 22), (17, 9, 2, 3), (4, 5), ((0, 1), (2, 0)), (1, 1), 1),
    "pointwise": ((3, 50, 11, 7), (90, 50, 1, 1), (1, 1), ((0, 0), (0, 0)), (1, 1), 1),
    # Planes of several strips, the last of which is lower.
    "depthwise": ((2, 3, 301, 211), (6, 1, 3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1), 3),
    "depthwise at stride 2": ((2, 5, 425, 203), (5, 1, 5, 4), (2, 2), ((0, 2), (3, 0)), (1, 1), 5),
    "depthwise at stride 3": ((2, 2, 400, 401), (6, 1, 2, 3), (3, 3), ((1, 0), (0, 2)), (1, 2), 2),
    "small groups": ((3, 28, 117, 40), (36, 7, 3, 3), (1, 2), ((1, 1), (1, 1)), (2, 1), 4),
}
DIRECTIONS = ("forward", "input_grad", "weight_grad")


def layer_call(layer, direction):
    """Arrays and parameters of a layer in one direction."""
    x_shape, weight_shape, stride, padding, dilation, groups = LAYERS[layer]
    window = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    generator = np.random.default_rng(7)
    x = normal_values(generator, x_shape, np.float32)
    weight = normal_values(generator, weight_shape, np.float32)
    if direction == "forward":
        return (x, weight, normal_values(generator, weight_shape[:1], np.float32)), window
    positions = [
        (size + sum(pad) - gap * (taps - 1) - 1) // step + 1
        for size, taps, step, pad, gap in zip(
            x_shape[2:], weight_shape[2:], stride, padding, dilation, strict=True
        )
    ]
    g = normal_values(generator, (x_shape[0], weight_shape[0], *positions), np.float32)
    if direction == "input_grad":
        return (g, weight), {"input_size": x_shape[2:], **window}
    return (g, x), {"kernel_size": weight_shape[2:], **window}


def widened(arrays):
    return tuple(None if array is None else array.astype(np.float64) for array in arrays)


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize(
    ("algorithm", "tolerance"), [("depthwise", DIRECT), ("direct", DIRECT), ("winograd", WINOGRAD)]
)
def test_error_of_a_layer(algorithm, tolerance, layer, direction):
    arrays, parameters = layer_call(layer, direction)
    entry = find_kernel(f"conv2d.{direction}", algo=algorithm)
    if entry.refusal(*arrays, **parameters):
        (outputs, channels, *window), stride, groups = LAYERS[layer][1], LAYERS[layer][2], LAYERS[layer][5]
        if algorithm == "depthwise":
            assert max(channels, outputs // groups) > 16
        else:
            assert algorithm == "winograd"
            assert stride != (1, 1) or window not in ([3, 3], [5, 5])
        return
    # In float64, by the kernel that the property tests hold against the definition.
    expected = find_kernel(f"conv2d.{direction}", algo="im2col")(*widened(arrays), **parameters)

    actual = entry(*arrays, **parameters)

    assert actual.dtype == np.float32
    if not layer.endswith("AlexNet"):
        tolerance = entry.error or tolerance
    assert_close(actual.astype(np.float64), expected, tolerance)


# Shares of rows and ranges of columns, the last of which end within a tile; groups; more depth than one pass.
POINTWISE = {
    "one range": ((3, 50, 11, 7), 90, 1),
    "ranges": ((2, 24, 31, 29), 37, 1),
    "a pixel": ((5, 130, 1, 1), 66, 1),
    "deep": ((1, 700, 9, 9), 150, 1),
    "whole tiles": ((1, 16, 16, 24), 64, 1),
    "groups": ((2, 42, 13, 17), 63, 3),
}


def pointwise_call(layer, direction):
    """Arrays and parameters of a pointwise layer in one direction."""
    x_shape, outputs, groups = POINTWISE[layer]
    generator = np.random.default_rng(7)
    weight = normal_values(generator, (outputs, x_shape[1] // groups, 1, 1), np.float32)
    parameters = {"groups": groups}
    if direction == "forward":
        bias = normal_values(generator, (outputs,), np.float32)
        return (normal_values(generator, x_shape, np.float32), weight, bias), parameters
    g = normal_values(generator, (x_shape[0], outputs, *x_shape[2:]), np.float32)
    return (g, weight), {"input_size": x_shape[2:], **parameters}


@pytest.mark.parametrize("direction", ["forward", "input_grad"])
@pytest.mark.parametrize("layer", POINTWISE)
def test_pointwise_is_a_product_on_any_number_of_threads(layer, direction):
    arrays, parameters = pointwise_call(layer, direction)
    entry = find_kernel(f"conv2d.{direction}", algo="pointwise")
    numbers, weight, *bias = widened(arrays)
    groups = parameters["groups"]
    matrices = weight.reshape(groups, -1, weight.shape[1])  # (G, O/G, C/G)
    if direction == "input_grad":
        matrices = matrices.transpose(0, 2, 1)
    images = numbers.reshape(len(numbers), groups, matrices.shape[2], -1)
    expected = np.einsum("gok,ngkp->ngop", matrices, images).reshape(len(numbers), -1, *numbers.shape[2:])
    if bias:
        expected += bias[0][:, None, None]

    try:
        results = []
        for threads in (1, 2, 3):
            set_num_threads(threads)
            results.append(entry(*arrays, **parameters))
    finally:
        set_num_threads(None)

    assert_close(results[0].astype(np.float64), expected, DIRECT)
    np.testing.assert_array_equal(results[1], results[0])
    np.testing.assert_array_equal(results[2], results[0])


@pytest.mark.parametrize("groups", [1, 6])
def test_kept_weights_of_one_channel_are_not_confused(groups):
    """Of one channel in a group, rows and depth of both directions have the same strides."""
    generator = np.random.default_rng(7)
    x = normal_values(generator, (2, groups, 40, 40), np.float32)
    g = normal_values(generator, (2, 24, 40, 40), np.float32)
    weight = normal_values(generator, (24, 1, 1, 1), np.float32)
    weight.flags.writeable = False
    find_kernel("conv2d.forward", algo="pointwise")(x, weight, None, groups=groups)
    actual = find_kernel("conv2d.input_grad", algo="pointwise")(g, weight, input_size=(40, 40), groups=groups)
    products = weight[:, 0].astype(np.float64) * g
    expected = products.reshape(2, groups, 24 // groups, 40, 40).sum(2)
    assert_close(actual.astype(np.float64), expected, DIRECT)


def test_kept_weights_of_both_directions_are_not_confused():
    """A square frozen weight is kept once for each direction."""
    generator = np.random.default_rng(7)
    x = normal_values(generator, (1, 20, 6, 5), np.float32)
    weight = normal_values(generator, (20, 20, 1, 1), np.float32)
    weight.flags.writeable = False
    for direction, spec, parameters in (
        ("forward", "oc,nchw->nohw", {}),
        ("input_grad", "oc,nohw->nchw", {"input_size": (6, 5)}),
    ):
        arrays = (x, weight, None) if direction == "forward" else (x, weight)
        for _ in range(2):
            actual = find_kernel(f"conv2d.{direction}", algo="pointwise")(*arrays, **parameters)
            expected = np.einsum(spec, weight[:, :, 0, 0].astype(np.float64), x.astype(np.float64))
            assert_close(actual.astype(np.float64), expected, DIRECT)


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize(
    ("algorithm", "layer"),
    [
        ("direct", "conv2 of AlexNet"),
        ("direct", "odd channels"),
        ("winograd", "conv2 of AlexNet"),
        ("winograd", "odd channels"),
        ("depthwise", "depthwise"),
        ("depthwise", "small groups"),
    ],
)
def test_bits_do_not_depend_on_threads(algorithm, layer, direction):
    arrays, parameters = layer_call(layer, direction)
    entry = find_kernel(f"conv2d.{direction}", algo=algorithm)
    expected = entry(*arrays, **parameters)
    try:
        for threads in (1, 2, 3):
            set_num_threads(threads)
            np.testing.assert_array_equal(entry(*arrays, **parameters), expected)
    finally:
        set_num_threads(None)


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize(("algorithm", "tolerance"), [("direct", DIRECT), ("winograd", WINOGRAD)])
def test_chunks_of_one_image(algorithm, tolerance, direction):
    arrays, parameters = layer_call("odd channels", direction)
    entry = find_kernel(f"conv2d.{direction}", algo=algorithm)
    expected = entry(*arrays, **parameters)
    set_workspace_limit(1)
    try:
        actual = entry(*arrays, **parameters)
    finally:
        set_workspace_limit(None)
    if direction == "weight_grad":  # a sum over images, which chunks cut into other pieces
        assert_close(actual, expected, tolerance)
    else:
        np.testing.assert_array_equal(actual, expected)


def test_an_image_does_not_depend_on_the_batch_it_is_in():
    (x, weight, bias), parameters = layer_call("conv3 of AlexNet", "forward")
    for algorithm in ("direct", "winograd"):
        entry = find_kernel("conv2d.forward", algo=algorithm)
        np.testing.assert_array_equal(
            entry(x, weight, bias, **parameters)[1:2], entry(x[1:2], weight, bias, **parameters)
        )


lengths = st.integers(1, 300)


@given(lengths, lengths, lengths, st.integers(0, 2**16))
def test_products_of_any_size(rows, depth, columns, seed):
    generator = np.random.default_rng(seed)
    a = normal_values(generator, (rows, depth), np.float32)
    b = normal_values(generator, (depth, columns), np.float32)
    expected = a.astype(np.float64) @ b.astype(np.float64)
    scale = np.sqrt(depth) * 4
    product = find_kernel("matmul.forward", algo="blocked")(a, b)
    assert_close(product.astype(np.float64), expected, DIRECT, scale=scale)
    gradient = find_kernel("linear.weight_grad", algo="blocked")(np.ascontiguousarray(a.T), b)
    assert_close(gradient.astype(np.float64), expected, DIRECT, scale=scale)
    gradient = find_kernel("linear.input_grad", algo="blocked")(a, b)
    assert_close(gradient.astype(np.float64), expected, DIRECT, scale=scale)
    bias = normal_values(generator, (columns,), np.float32)
    layer = find_kernel("linear.forward", algo="blocked")(a, np.ascontiguousarray(b.T), bias)
    assert_close(layer.astype(np.float64), expected + bias, DIRECT, scale=scale)


@given(st.integers(1, 40), st.integers(1, 300), st.integers(8, 600), st.integers(0, 2**16))
def test_products_with_few_vectors(images, inputs, outputs, seed):
    generator = np.random.default_rng(seed)
    x, weight, bias, g = (
        normal_values(generator, shape, np.float32)
        for shape in ((images, inputs), (outputs, inputs), outputs, (images, outputs))
    )
    exact_x, exact_weight, exact_bias, exact_g = (a.astype(np.float64) for a in (x, weight, bias, g))
    for operation, arrays, expected, depth in (
        ("linear.forward", (x, weight, bias), exact_x @ exact_weight.T + exact_bias, inputs),
        ("linear.input_grad", (g, weight), exact_g @ exact_weight, outputs),
        ("linear.weight_grad", (g, x), exact_g.T @ exact_x, images),
    ):
        entry = select(operation, "cpu", *arrays)
        assert entry.algorithm == "streamed"
        assert_close(entry(*arrays).astype(np.float64), expected, DIRECT, scale=np.sqrt(depth) * 4)


@pytest.mark.parametrize("outputs", [40, 1029, 1030, 1031])
def test_products_with_few_vectors_do_not_depend_on_the_threads(outputs):
    """Each thread takes columns or rows of its own; the last are no whole vector or four."""
    generator = np.random.default_rng(0)
    x, weight, bias, g = (
        normal_values(generator, shape, np.float32)
        for shape in ((5, 5003), (outputs, 5003), outputs, (5, outputs))
    )
    calls = (
        ("linear.forward", (x, weight, bias)),
        ("linear.input_grad", (g, weight)),
        ("linear.weight_grad", (g, x)),
    )
    found = []
    for number in (1, 2, 3):
        with ma.using(threads=number):
            found.append([find_kernel(operation, algo="streamed")(*arrays) for operation, arrays in calls])
    for others in found[1:]:
        for first, other in zip(found[0], others, strict=True):
            np.testing.assert_array_equal(other, first)
    expected = g.astype(np.float64) @ weight.astype(np.float64)
    assert_close(found[0][1].astype(np.float64), expected, DIRECT, scale=np.sqrt(outputs) * 4)


def test_an_infinite_weight_stays_in_its_column():
    """With 39 outputs, whose last three have no whole four of rows."""
    weight = np.ones((39, 21), np.float32)
    weight[35, 2], weight[38, 20] = np.inf, -np.inf
    found = find_kernel("linear.input_grad", algo="streamed")(np.ones((2, 39), np.float32), weight)
    expected = np.full((2, 21), 39.0, np.float32)
    expected[:, 2], expected[:, 20] = np.inf, -np.inf
    np.testing.assert_array_equal(found, expected)


@given(st.integers(1, 300), st.integers(1, 40), st.integers(1, 5), st.booleans())
def test_panels_hold_each_column_once_and_zeros_beyond(columns, depth, stride, run):
    source = np.arange(1, columns * stride + depth * 3 + 1, dtype=np.float32)[None]
    offsets = np.arange(depth) * (1 if run else 3)
    packed = pack_panels(source, columns, stride, offsets)[0]
    lanes, widest = processor().lanes, processor().widest
    vectors = ceil_div(columns, lanes)
    count = ceil_div(vectors, widest)
    starts = [panel * vectors // count * lanes for panel in range(count + 1)]
    seen = np.concatenate(
        [
            packed[depth * start : depth * stop].reshape(depth, stop - start)
            for start, stop in pairwise(starts)
        ],
        axis=1,
    )
    expected = source[0][np.add.outer(offsets, np.arange(columns) * stride)]
    np.testing.assert_array_equal(seen[:, :columns], expected)
    assert not seen[:, columns:].any()
    assert max(np.diff(starts)) <= widest * lanes


@pytest.mark.parametrize(("m", "r"), [(4, 3), (5, 3), (4, 5)])
def test_winograd_matrices_are_exact(m, r):
    """In fractions, the product of the transforms is the correlation of a filter and a strip."""
    n = m + r - 1
    output = winograd_matrices.transposed(winograd_matrices.evaluation(n, m))
    weight = winograd_matrices.scaled_evaluation(n, r)
    for i in range(m):
        for k in range(r):
            for j in range(n):
                # The factor of w[k] * x[j] in y[i], which is 1 where j = i + k.
                factor = sum(
                    output[i][e] * weight[e][k] * winograd_matrices.input_transform(n)[e][j] for e in range(n)
                )
                assert factor == Fraction(int(j == i + k))


def test_tile_size_takes_the_fewest_multiplications():
    # 13 positions: four tiles of 4 (4 * 4 * 36) or three of 5 (3 * 3 * 49).
    assert tile_size(3, (13, 13)) == 5
    # 8: two tiles of either, 2 * 2 * 36 or 2 * 2 * 49.
    assert tile_size(3, (8, 8)) == 4
    assert tile_size(5, (27, 27)) == 4


def test_float64_keeps_the_plain_kernels():
    arrays, parameters = layer_call("odd channels", "forward")
    assert select("conv2d.forward", "cpu", *arrays, **parameters).dtypes == ("float32",)
    assert select("conv2d.forward", "cpu", *widened(arrays), **parameters).algorithm == "im2col"


def test_the_exact_mode():
    arrays, parameters = layer_call("conv3 of AlexNet", "forward")
    with use(conv2d="direct"):
        assert select("conv2d.forward", "cpu", *arrays, **parameters).algorithm == "direct"


def test_a_column_with_gaps_between_its_numbers_is_read_without_them():
    # As many rows as the widest vectors have lanes, and more.
    apart = np.full((96, 2), np.nan, np.float32)
    x = apart[::2, ::2]
    x[:, 0] = np.arange(48)
    y = find_kernel("linear.forward", algo="blocked")(x, np.float32([[2]]), None)
    np.testing.assert_array_equal(y[:, 0], 2 * np.arange(48))
