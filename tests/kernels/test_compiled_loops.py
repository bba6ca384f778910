"""The compiled kernels of normalisation, pooling, ReLU and dropout on arrays that several threads share.

The tests that draw tiny arrays never cut the work into several items; these do. The oracle is the NumPy
kernel of the same operation, which works on the array as a whole.
"""

import numpy as np
import pytest

from minialex.kernels import find_kernel, threads
from minialex.testing.compare import assert_close, largest, rounding

RESPONSE_NORM = {"size": 5, "alpha": 0.9, "beta": 0.75, "k": 2.0}
WINDOW = {"kernel_size": (3, 3), "stride": (2, 2), "padding": ((1, 0), (0, 1)), "ceil_mode": True}
MAXIMUM = {**WINDOW, "dilation": (1, 1)}
MEAN = {**WINDOW, "count_include_pad": False}
IMAGES = (3, 7, 89, 101)  # 5.8 items of 2**15 elements, 7 of three planes each
POOLED = (3, 7, 45, 51)


def _normal(*shape):
    return np.random.default_rng(sum(shape)).standard_normal(shape)


def _cells(shape, size):
    return np.random.default_rng(1).integers(0, size[0] * size[1], shape, dtype=np.int32)


# Operation, float64 arrays or int32 indices, parameters.
CALLS = [
    ("local_response_norm.forward", (_normal(*IMAGES),), RESPONSE_NORM),
    ("local_response_norm.backward", (_normal(*IMAGES), _normal(*IMAGES)[::-1]), RESPONSE_NORM),
    ("channel_window_sum.forward", (_normal(*IMAGES),), {"size": 7}),
    ("max_pool2d.forward", (_normal(*IMAGES),), MAXIMUM),
    ("max_pool2d.scatter", (_normal(*POOLED), _cells(POOLED, IMAGES[2:])), {"input_size": IMAGES[2:]}),
    ("max_pool2d.gather", (_normal(*IMAGES), _cells(POOLED, IMAGES[2:])), {}),
    ("avg_pool2d.forward", (_normal(*IMAGES),), MEAN),
    ("avg_pool2d.input_grad", (_normal(*POOLED),), {"input_size": IMAGES[2:], **MEAN}),
    ("relu.forward", (_normal(*IMAGES),), {}),
    ("relu.backward", (_normal(*IMAGES), np.maximum(_normal(*IMAGES)[::-1], 0)), {}),
    ("dropout.forward", (_normal(*IMAGES),), {"p": 0.3, "seed": 2**40 + 3, "offset": 2**33 + 1}),
]
every_call = pytest.mark.parametrize(("operation", "arrays", "parameters"), CALLS, ids=[c[0] for c in CALLS])


@pytest.fixture
def _default_threads():
    yield
    threads.set_num_threads(None)


def _results(operation, algorithm, arrays, parameters):
    results = find_kernel(operation, algo=algorithm)(*arrays, **parameters)
    return results if isinstance(results, tuple) else (results,)


def _typed(arrays, dtype):
    return [a.astype(dtype) if a.dtype.kind == "f" else a for a in arrays]


@every_call
@pytest.mark.parametrize("dtype", [np.float64, np.float32], ids=["float64", "float32"])
@pytest.mark.usefixtures("_default_threads")
def test_many_items_give_what_the_numpy_kernel_gives(operation, arrays, parameters, dtype):
    arrays = _typed(arrays, dtype)
    threads.set_num_threads(2)
    actual = _results(operation, "numba", arrays, parameters)
    expected = _results(operation, "numpy", arrays, parameters)
    scale = largest(*(a for a in arrays if a.dtype.kind == "f"), expected[0])
    for mine, right in zip(actual, expected, strict=True):
        assert_close(mine, right, rounding(dtype) if right.dtype.kind == "f" else 0, scale=scale)


@every_call
@pytest.mark.usefixtures("_default_threads")
def test_results_are_the_same_bits_for_any_number_of_threads(operation, arrays, parameters):
    # Long enough for the threads to work at the same time.
    arrays = [np.concatenate([each] * 8) for each in _typed(arrays, np.float32)]
    outcomes = []
    for number in (1, 2, 3, 2):
        threads.set_num_threads(number)
        outcomes.append([each.tobytes() for each in _results(operation, "numba", arrays, parameters)])
    assert all(outcome == outcomes[0] for outcome in outcomes[1:])
