"""Convolution: an independent oracle, the three directions against each other, and the memory they take."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from scipy.signal import correlate2d

import minialex as ma
from minialex.checking.testing.algorithms import every_algorithm
from minialex.checking.testing.compare import assert_close, largest, rounding
from minialex.checking.testing.strategies import call, convolutions, normal_values, seeds
from minialex.errors import ShapeError
from minialex.kernels import find_kernel, list_kernels, set_workspace_limit, workspace_limit

# Those with all three directions: `pointwise`, which has no weight gradient, takes none of the windows below.
ALGORITHMS = sorted({entry.algorithm for entry in list_kernels("conv2d.weight_grad", device="cpu")})
EXACT = rounding(np.float64)
DEFAULT_LIMIT = workspace_limit()


def correlate_with_scipy(x, weight, bias, *, stride, padding, dilation, groups):
    """The same sum from scipy.signal, which knows neither stride nor dilation nor groups."""
    x = np.pad(x, ((0, 0), (0, 0), *padding))
    outputs, per_group, height, width = weight.shape
    spread = np.zeros((outputs, per_group, (height - 1) * dilation[0] + 1, (width - 1) * dilation[1] + 1))
    spread[:, :, :: dilation[0], :: dilation[1]] = weight
    images = []
    for image in x:
        planes = []
        for o in range(outputs):
            first = o // (outputs // groups) * per_group
            plane = sum(correlate2d(image[first + c], spread[o, c], "valid") for c in range(per_group))
            planes.append(plane[:: stride[0], :: stride[1]] + (0 if bias is None else bias[o]))
        images.append(planes)
    return np.array(images)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@settings(suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow])
@given(convolutions().filter(lambda case: 0 not in (*case.x[:2], *case.weight)), seeds())
def test_forward_agrees_with_scipy(algorithm, case, generator):
    entry = find_kernel("conv2d.forward", algo=algorithm)
    dtype = (entry.dtypes or ("float64",))[0]
    x, weight = (normal_values(generator, shape, dtype) for shape in (case.x, case.weight))
    bias = normal_values(generator, case.weight[:1], dtype) if case.has_bias else None
    assume(entry.refusal(x, weight, bias, **case.parameters) is None)
    actual = entry(x, weight, bias, **case.parameters).astype(np.float64)
    wide = [None if a is None else a.astype(np.float64) for a in (x, weight, bias)]
    expected = correlate_with_scipy(*wide, **case.parameters)
    assert_close(actual, expected, entry.error or rounding(dtype), scale=largest(*wide, expected))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@settings(suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow])
@given(convolutions(), seeds())
def test_the_gradients_are_the_adjoints_of_forward(algorithm, case, generator):
    # <conv(x, w), g> = <x, input_grad(g, w)> = <w, weight_grad(g, x)>: the same products, in three orders.
    kernels = {
        direction: find_kernel(f"conv2d.{direction}", algo=algorithm)
        for direction in ("forward", "input_grad", "weight_grad")
    }
    forward = kernels["forward"]
    dtype = (forward.dtypes or ("float64",))[0]
    x, weight, g = (normal_values(generator, shape, dtype) for shape in (case.x, case.weight, case.y))
    gradient_of_x = {"input_size": case.x[2:], **case.parameters}
    assume(forward.refusal(x, weight, None, **case.parameters) is None)
    assume(kernels["input_grad"].refusal(g, weight, **gradient_of_x) is None)
    y = forward(x, weight, None, **case.parameters)
    gx = kernels["input_grad"](g, weight, **gradient_of_x)
    gw = kernels["weight_grad"](g, x, kernel_size=case.weight[2:], **case.parameters)
    x, weight, g, y, gx, gw = (a.astype(np.float64) for a in (x, weight, g, y, gx, gw))
    tolerance = (forward.error or rounding(dtype)) * (np.abs(y).ravel() @ np.abs(g).ravel() + 1)
    assert np.vdot(y, g) == pytest.approx(np.vdot(x, gx), rel=0, abs=tolerance)
    assert np.vdot(y, g) == pytest.approx(np.vdot(weight, gw), rel=0, abs=tolerance)


@pytest.mark.parametrize("direction", ["forward", "input_grad", "weight_grad"])
@given(st.data(), st.integers(1, 900))
def test_im2col_gives_the_same_in_chunks_of_any_size(direction, data, limit):
    # 900 bytes are some rows of these matrices; 1 byte is a single row of output positions at a time.
    drawn = data.draw(call(f"conv2d.{direction}"))
    kernel = find_kernel(f"conv2d.{direction}", algo="im2col")
    expected = kernel(*drawn.arrays, **drawn.parameters)
    with ma.using(workspace=limit):
        actual = kernel(*drawn.arrays, **drawn.parameters)
    assert_close(actual, expected, EXACT, scale=largest(*drawn.arrays, expected))


# The second convolution of AlexNet, one of its two groups, with 8 images.
X, WEIGHT, Y = (8, 48, 27, 27), (128, 48, 5, 5), (8, 128, 27, 27)
WINDOW = {"stride": (1, 1), "padding": ((2, 2), (2, 2)), "dilation": (1, 1), "groups": 1}
LAYER = {
    "forward": ((X, WEIGHT), {}),
    "input_grad": ((Y, WEIGHT), {"input_size": (27, 27)}),
    "weight_grad": ((Y, X), {"kernel_size": (5, 5)}),
}


@pytest.mark.parametrize("direction", LAYER)
def test_im2col_keeps_to_the_workspace_limit(direction):
    limit = 8 * 2**20
    shapes, parameters = LAYER[direction]
    generator = np.random.default_rng(0)
    arrays = [normal_values(generator, shape, np.float32) for shape in shapes]
    arrays += [None] if direction == "forward" else []
    kernel = find_kernel(f"conv2d.{direction}", algo="im2col")

    with ma.using(workspace=limit):
        tracemalloc.start()
        try:
            result = kernel(*arrays, **parameters, **WINDOW)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        declared = kernel.workspace_bytes(*arrays, **parameters, **WINDOW)

    assert declared <= limit
    # Beside the matrix, which the limit is for, a chunk has its images with their padding, and its
    # outputs with the images last. A matrix of an image is 48*5*5*27*27 floats: 2 images fit the limit.
    images = limit // (4 * 48 * 5 * 5 * 27 * 27)
    padded, outputs = 4 * images * 48 * 31 * 31, 4 * images * 128 * 27 * 27
    weight_product = 4 * 128 * 48 * 5 * 5 if direction == "weight_grad" else 0  # added up per chunk
    small = 2**17  # Python's objects, and the buffers of NumPy's loops
    assert peak <= result.nbytes + limit + padded + outputs + weight_product + small


@pytest.mark.parametrize("direction", LAYER)
def test_im2col_declares_its_matrix_or_the_limit_or_a_row_of_positions(direction):
    shapes, parameters = LAYER[direction]
    arrays = [np.zeros(shape, np.float32) for shape in shapes] + [None] * (direction == "forward")
    kernel = find_kernel(f"conv2d.{direction}", algo="im2col")
    with ma.using(workspace=2**30):
        assert kernel.workspace_bytes(*arrays, **parameters, **WINDOW) == 4 * 8 * 48 * 5 * 5 * 27 * 27
    with ma.using(workspace=2**23):
        assert kernel.workspace_bytes(*arrays, **parameters, **WINDOW) == 2**23
    with ma.using(workspace=1000):  # less than a row of positions: 27 * 48 * 25 floats
        assert kernel.workspace_bytes(*arrays, **parameters, **WINDOW) == 4 * 27 * 48 * 25


@pytest.mark.parametrize("limit", [0, -1, 1.5, True, "1"])
def test_a_workspace_limit_is_a_positive_number_of_bytes(limit):
    with pytest.raises(ValueError, match="workspace must be a number of bytes"):
        set_workspace_limit(limit)
    assert workspace_limit() == DEFAULT_LIMIT


def test_none_restores_the_default_workspace_limit():
    set_workspace_limit(5)
    assert workspace_limit() == 5
    set_workspace_limit(None)
    assert workspace_limit() == DEFAULT_LIMIT


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_number_that_is_not_finite_stays_in_its_position_of_a_pointwise_convolution(value):
    generator = np.random.default_rng(8)
    x = generator.standard_normal((2, 5, 7, 9)).astype(np.float32)
    weight = generator.standard_normal((6, 5, 1, 1)).astype(np.float32)
    x[1, 3, 6, 8] = value
    window = {"stride": (1, 1), "padding": ((0, 0), (0, 0)), "dilation": (1, 1), "groups": 1}
    y = find_kernel("conv2d.forward", algo="pointwise")(x, weight, None, **window)
    infected = np.zeros(y.shape, bool)
    infected[1, :, 6, 8] = True
    np.testing.assert_array_equal(~np.isfinite(y), infected)


@every_algorithm("conv2d.weight_grad")
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_number_that_is_not_finite_stays_in_its_windows_and_with_winograd_in_its_tiles(algorithm, value):
    generator = np.random.default_rng(8)
    x = generator.standard_normal((3, 8, 11, 11)).astype(np.float32)
    weight = generator.standard_normal((8, 8, 3, 3)).astype(np.float32)
    x[1, 5, 6, 3] = value
    window = {"stride": (1, 1), "padding": ((1, 1), (1, 1)), "dilation": (1, 1), "groups": 1}
    y = find_kernel("conv2d.forward", **algorithm)(x, weight, None, **window)
    infected = ~np.isfinite(y)
    assert infected[1, :, 5:8, 2:5].all()
    beyond = 5 if algorithm["algo"] == "winograd" else 0
    allowed = np.zeros_like(infected)
    allowed[1, :, max(0, 5 - beyond) : 8 + beyond, max(0, 2 - beyond) : 5 + beyond] = True
    assert not (infected & ~allowed).any()


@pytest.mark.parametrize("algorithm", sorted({*ALGORITHMS} - {"winograd"}))
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_weight_has_a_finite_gradient_where_its_cells_have_no_number_that_is_not(algorithm, value):
    generator = np.random.default_rng(8)
    x = generator.standard_normal((2, 3, 5, 7)).astype(np.float32)
    g = generator.standard_normal((2, 3, 5, 5)).astype(np.float32)
    # Only the last column of the window reads the image's last column.
    x[0, 1, 2, 6] = value
    window = {"stride": (1, 1), "padding": ((0, 0), (0, 0)), "dilation": (1, 1), "groups": 3}
    gw = find_kernel("conv2d.weight_grad", algo=algorithm)(g, x, kernel_size=(1, 3), **window)
    finite = np.ones((3, 1, 1, 3), bool)
    finite[1, 0, 0, 2] = False
    np.testing.assert_array_equal(np.isfinite(gw), finite)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_kernel_is_not_flipped_and_the_bias_is_added_once(algorithm):
    entry = find_kernel("conv2d.forward", algo=algorithm)
    dtype = (entry.dtypes or ("float64",))[0]
    x = np.arange(16, dtype=dtype).reshape(1, 1, 4, 4)
    weight = np.arange(1, 10, dtype=dtype).reshape(1, 1, 3, 3)
    bias = np.array([0.5], dtype)
    window = {"stride": (1, 1), "padding": ((0, 0), (0, 0)), "dilation": (1, 1), "groups": 1}
    y = entry(x, weight, bias, **window)
    # The first: 1*0 + 2*1 + 3*2 + 4*4 + 5*5 + 6*6 + 7*8 + 8*9 + 9*10 + 0.5; flipped it would be 147.5.
    np.testing.assert_allclose(y, [[[[303.5, 348.5], [483.5, 528.5]]]], rtol=1e-5)


# Windows larger than any image


def each_direction(algorithm, x, weight, g, window):
    """What the three kernels of an algorithm give, which claim their workspace first."""
    arguments = {
        "forward": ((x, weight, None), {}),
        "input_grad": ((g, weight), {"input_size": x.shape[2:]}),
        "weight_grad": ((g, x), {"kernel_size": weight.shape[2:]}),
    }
    for direction, (arrays, sizes) in arguments.items():
        entry = find_kernel(f"conv2d.{direction}", algo=algorithm)
        if entry.refusal(*arrays, **sizes, **window) is None:
            if entry.workspace is not None:
                assert entry.workspace_bytes(*arrays, **sizes, **window) < 2**24
            yield entry, entry(*arrays, **sizes, **window)


@pytest.mark.parametrize("stride", [10**5, 2**31 - 1])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_stride_beyond_the_image_costs_nothing_and_leaves_one_window(algorithm, stride):
    generator = np.random.default_rng(0)
    entry = find_kernel("conv2d.forward", algo=algorithm)
    dtype = (entry.dtypes or ("float32",))[0]
    x, weight, g = (normal_values(generator, s, dtype) for s in ((2, 2, 5, 6), (3, 2, 3, 2), (2, 3, 1, 1)))
    window = {"stride": (stride, stride), "padding": ((1, 0), (2, 3)), "dilation": (1, 3), "groups": 1}
    # The one window starts at row -1 and column -2, and its taps stand at columns -2 and 1: by hand, and
    # in float64.
    wide_x, wide_weight, wide_g = (a.astype(np.float64) for a in (x, weight, g))
    image, taps = wide_x[:, :, :2, 1], wide_weight[:, :, 1:, 1]
    gx, gw = np.zeros(x.shape), np.zeros(weight.shape)
    gx[:, :, :2, 1] = np.einsum("no,ocr->ncr", wide_g[:, :, 0, 0], taps)
    gw[:, :, 1:, 1] = np.einsum("no,ncr->ocr", wide_g[:, :, 0, 0], image)
    expected = {
        "conv2d.forward": np.einsum("ncr,ocr->no", image, taps)[:, :, None, None],
        "conv2d.input_grad": gx,
        "conv2d.weight_grad": gw,
    }
    for entry, actual in each_direction(algorithm, x, weight, g, window):
        right = expected[entry.operation]
        assert_close(
            actual.astype(np.float64),
            right,
            entry.error or rounding(dtype),
            scale=largest(x, weight, g, right),
        )


def test_windows_far_apart_read_their_own_cells():
    # Four windows at the corners: 512 x 512 remainders, of which taps reach 3 x 2.
    generator = np.random.default_rng(1)
    x, weight, g = (
        normal_values(generator, s, "float32") for s in ((1, 2, 515, 514), (2, 2, 3, 2), (1, 2, 2, 2))
    )
    window = {"stride": (512, 512), "padding": ((0, 0), (0, 0)), "dilation": (1, 1), "groups": 1}
    corners = x.reshape(1, 2, 515, 514)[:, :, [0, 1, 2, 512, 513, 514]][..., [0, 1, 512, 513]]
    corners = corners.astype(np.float64).reshape(1, 2, 2, 3, 2, 2)  # (N, C, P, KH, Q, KW)
    gx = np.zeros(x.shape)
    spread = np.einsum("nopq,ocij->ncpiqj", g, weight, dtype=np.float64).reshape(1, 2, 6, 4)
    gx[:, :, np.array([0, 1, 2, 512, 513, 514])[:, None], [0, 1, 512, 513]] = spread
    expected = {
        "conv2d.forward": np.einsum("ncpiqj,ocij->nopq", corners, weight),
        "conv2d.input_grad": gx,
        "conv2d.weight_grad": np.einsum("ncpiqj,nopq->ocij", corners, g),
    }
    for entry, actual in each_direction("direct", x, weight, g, window):
        right = expected[entry.operation]
        assert_close(
            actual.astype(np.float64), right, rounding(np.float32), scale=largest(x, weight, g, right)
        )


@pytest.mark.parametrize(
    ("direction", "options", "says"),
    [
        ("input_grad", {}, "conv2d.input_grad: input_size is missing"),
        ("weight_grad", {}, "conv2d.weight_grad: kernel_size is missing"),
        *(
            ("input_grad", {"input_size": size}, f"input_size must be a pair of integers, not {size!r}$")
            for size in (6, "66", True)
        ),
        ("weight_grad", {"kernel_size": 3}, "kernel_size must be a pair of integers, not 3"),
        ("weight_grad", {"kernel_size": (3, 3), "groups": 0}, "groups must be an integer 1 or more, not 0"),
        ("input_grad", {"input_size": (6, 6), "groups": "2"}, "groups must be an integer 1 or more, not '2'"),
    ],
)
def test_what_a_gradient_cannot_tell_from_its_arrays_is_checked(direction, options, says):
    g, other = np.zeros((1, 2, 4, 4)), {"input_grad": (2, 2, 3, 3), "weight_grad": (1, 2, 6, 6)}[direction]
    with pytest.raises(ShapeError, match=says):
        find_kernel(f"conv2d.{direction}", algo="im2col")(g, np.zeros(other), **options)
