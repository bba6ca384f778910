"""Convolution kernels on more than one tile, which the drawn shapes are too small for.

The oracle is the im2col kernel of the CPU, in float64: other code, in another layout, on BLAS.
"""

import gc
import tracemalloc

import numpy as np
import pytest

import minialex as ma
from minialex.checking.testing.compare import assert_close, rounding
from minialex.checking.testing.strategies import normal_values
from minialex.errors import KernelError
from minialex.kernels import find_kernel, list_kernels, output_shape
from minialex.kernels.conv2d import cuda_packed
from minialex.kernels.cuda import gemm
from minialex.kernels.cuda.host import HostDevice

pytestmark = pytest.mark.needs_gxx

DIRECTIONS = ("forward", "input_grad", "weight_grad")
ALGORITHMS = sorted({entry.algorithm for entry in list_kernels("conv2d", "cuda-host")} - {"reference"})


def _window(stride=(1, 1), padding=((0, 0), (0, 0)), dilation=(1, 1), groups=1):
    return {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}


CASES = {
    "large strides, three channels": ((1, 3, 35, 33), (66, 3, 7, 7), _window(stride=(4, 4))),
    "conv4 of AlexNet, fewer channels": (
        (2, 64, 13, 13),
        (134, 32, 3, 3),
        _window(padding=((1, 1), (1, 1)), groups=2),
    ),
    "strides, dilations and paddings that differ": (
        (3, 6, 23, 29),
        (66, 6, 3, 5),
        _window((3, 2), ((2, 1), (0, 4)), (2, 3)),
    ),
    "strides above the kernel": ((2, 5, 31, 30), (7, 5, 2, 1), _window((5, 3), ((0, 3), (1, 0)))),
    "strides beyond the image": (
        (2, 5, 6, 7),
        (7, 5, 3, 2),
        _window((10**5, 2**31 - 1), ((1, 0), (0, 2)), (2, 1)),
    ),
    "a channel a group": ((2, 70, 9, 11), (140, 1, 3, 3), _window(padding=((1, 1), (1, 1)), groups=70)),
    "many positions": ((3, 5, 23, 29), (7, 5, 2, 2), _window()),
}


def _call(direction, x_shape, weight_shape, window, dtype):
    """The arrays and parameters of one direction."""
    y_shape = output_shape("conv2d", x_shape, weight_shape, **window)
    generator = np.random.default_rng(7)
    x, weight, bias, g = (
        normal_values(generator, shape, dtype) for shape in (x_shape, weight_shape, weight_shape[:1], y_shape)
    )
    arrays, parameters = {
        "forward": ((x, weight, bias), {}),
        "input_grad": ((g, weight), {"input_size": x_shape[2:]}),
        "weight_grad": ((g, x), {"kernel_size": weight_shape[2:]}),
    }[direction]
    return arrays, {**parameters, **window}


def _kernel(direction, algorithm, device="cuda-host"):
    return find_kernel(f"conv2d.{direction}", algo=algorithm, device=device)


def _assert_agrees_with_the_cpu(direction, algorithm, case, dtype):
    arrays, parameters = _call(direction, *case, dtype)
    expected = _kernel(direction, "im2col", "cpu")(*(a.astype(np.float64) for a in arrays), **parameters)

    actual = _kernel(direction, algorithm)(*arrays, **parameters)

    assert actual.dtype == dtype
    assert_close(actual.astype(np.float64), expected, rounding(dtype))


@pytest.mark.parametrize("dtype", [np.float64, np.float32], ids=["float64", "float32"])
@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_agrees_with_the_cpu_on_several_tiles(algorithm, name, direction, dtype):
    _assert_agrees_with_the_cpu(direction, algorithm, CASES[name], dtype)


@pytest.fixture
def launched(monkeypatch):
    """The names of the CUDA kernels that the test launches."""
    names = []
    run = HostDevice.run

    def recording(device, kernel, launch):
        names.append(kernel.name)
        run(device, kernel, launch)

    monkeypatch.setattr(HostDevice, "run", recording)
    return names


@pytest.mark.parametrize("dtype", [np.float64, np.float32], ids=["float64", "float32"])
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_large_tiles_agree_with_the_cpu(direction, dtype, launched, monkeypatch):
    monkeypatch.setattr(gemm, "ENOUGH_BLOCKS", 2)  # large tiles are taken from two blocks on
    case = (2, 70, 13, 11), (140, 70, 3, 3), _window(padding=((1, 1), (1, 1)))
    _assert_agrees_with_the_cpu(direction, "implicit_packed", case, dtype)
    assert ("gradient_parts_large" if direction == "weight_grad" else "convolve_large") in launched


def test_the_weight_gradient_of_many_positions_is_cut_in_parts():
    # As "many positions" above is: 3 * 22 * 28 of them.
    assert cuda_packed._parts(depth=1848, rows=7, columns=4 * 8, groups=1) == (3, 616)


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_gives_the_same_bits_on_any_number_of_threads(algorithm, direction):
    arrays, parameters = _call(direction, (2, 5, 33, 34), (67, 5, 3, 3), _window(), np.float32)
    results = []
    for count in (1, 2, 2):
        with ma.using(threads=count):
            results.append(_kernel(direction, algorithm)(*arrays, **parameters))
    np.testing.assert_array_equal(results[1], results[0])
    np.testing.assert_array_equal(results[2], results[0])


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_im2col_gives_the_same_in_chunks_of_images(direction, launched):
    case = ((7, 4, 9, 8), (6, 2, 3, 3), _window(padding=((1, 0), (0, 1)), groups=2))
    arrays, parameters = _call(direction, *case, np.float64)
    expected = _kernel(direction, "im2col", "cpu")(*arrays, **parameters)
    bytes_of_a_position = 8 * 2 * 18  # its taps in both groups
    with ma.using(workspace=bytes_of_a_position * 8 * 7 * 3):  # the P * Q positions of three images
        actual = _kernel(direction, "im2col")(*arrays, **parameters)
    assert_close(actual, expected, rounding(np.float64))
    product = {"forward": "weight_times_windows", "input_grad": "windows_gradient"}
    assert launched.count(product.get(direction, "add_weight_gradient")) == 3


# The second convolution of AlexNet with half of its channels.
CONV2 = ((4, 48, 27, 27), (128, 24, 5, 5), _window(padding=((2, 2), (2, 2)), groups=2))


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("algorithm", ["im2col", "implicit_packed"])
def test_peak_of_a_call_is_the_result_and_the_workspace(algorithm, direction):
    arrays, parameters = _call(direction, *CONV2, np.float32)
    entry = _kernel(direction, algorithm)
    entry(*arrays, **parameters)
    gc.collect()
    tracemalloc.start()
    try:
        result = entry(*arrays, **parameters)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    workspace = entry.workspace_bytes(*arrays, **parameters)
    small = 2**17  # Python's objects
    assert result.nbytes + 0.9 * workspace <= peak <= result.nbytes + workspace + small


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_refuses_a_padding_that_an_index_cannot_hold(algorithm, direction):
    # Two positions only, but 2**31 cells between them.
    window = _window(stride=(2**31 - 1, 1), padding=((2**31 - 1, 0), (0, 0)))
    arrays, parameters = _call(direction, (1, 1, 1, 1), (1, 1, 1, 1), window, np.float64)
    with pytest.raises(KernelError, match="1 \\+ 2147483647 \\+ 0 cells high"):
        _kernel(direction, algorithm)(*arrays, **parameters)
