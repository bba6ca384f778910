"""The compiled kernels of batch norm, softmax, sums and updates on arrays that several threads share.

The tests that draw tiny arrays never cut the work into several items; these do. The oracle is the NumPy
kernel of the same operation in float64, which works on the array as a whole.
"""

import numpy as np
import pytest

from minialex.kernels import find_kernel, threads
from minialex.testing.compare import assert_close, largest, rounding
from minialex.testing.strategies import MUTATED

NORM = {"axis": 1, "eps": 1e-3}
ROWS = {"axis": 2, "eps": 1e-3}
IMAGES = (7, 51, 21, 23)  # 51 features of 483 elements: 17 items of 3
PLANES = (10, 1500, 3, 3)  # 1500 features of 9 elements: 17 items of 93, the last of 12
SGD = {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.05}
ADAM = {"lr": 0.1, "beta1": 0.9, "beta2": 0.99, "eps": 1e-8, "weight_decay": 0.05}
PARAMETERS = (5, 2**15 + 11)  # 5.001 items of 2**15


def _normal(*shape):
    return np.random.default_rng(sum(shape)).standard_normal(shape)


def _of_batch(x, axis):
    others = tuple(i for i in range(x.ndim) if i != axis)
    return x.mean(axis=others), x.var(axis=others)


def _batch_norm(shape, parameters):
    x, features = 3 + _normal(*shape), shape[parameters["axis"]]
    weight, bias, mean, var = _normal(features), _normal(features, 1)[:, 0], *_of_batch(x, parameters["axis"])
    g = _normal(*shape, 1)[..., 0]
    return [
        ("batch_norm.forward", (x, weight, bias), parameters),
        ("batch_norm.backward", (g, x, weight, mean, var), parameters),
        ("batch_norm.evaluate", (x, weight, bias, mean + 1, 2 * var), parameters),
    ]


def _softmax(n, classes):
    x, g, losses = 3 * _normal(n, classes), _normal(n, classes, 1)[..., 0], _normal(n)
    y = find_kernel("softmax.forward", algo="numpy")(x, axis=1)
    target = np.abs(_normal(n, classes, 2)[..., 0])
    return [
        ("softmax.forward", (x,), {"axis": 1}),
        ("softmax.backward", (g, y), {"axis": 1}),
        ("log_softmax.forward", (x,), {"axis": 1}),
        ("log_softmax.backward", (g, np.log(y)), {"axis": 1}),
        ("cross_entropy.forward", (x, target), {}),
        ("cross_entropy.backward", (losses, x, target), {}),
    ]


# Operation, float64 arrays, parameters.
CALLS = [
    *_batch_norm(IMAGES, NORM),
    *_batch_norm(PLANES, NORM),
    *_batch_norm(IMAGES, ROWS),
    *_softmax(77, 1003),
    *_softmax(9001, 5),
    ("sum.forward", (_normal(*IMAGES),), {"axis": (0, 2, 3), "keepdims": False}),
    ("sum.forward", (_normal(*PLANES),), {"axis": (0, 2, 3), "keepdims": True}),
    ("sum.forward", (_normal(21, 23, 7, 51),), {"axis": (3,), "keepdims": False}),
    ("sum.forward", (_normal(5, 1, 33, 9, 131),), {"axis": (0, 1, 4), "keepdims": True}),
    ("sgd.update", (_normal(*PARAMETERS), _normal(*PARAMETERS[::-1]).T, None), {**SGD, "nesterov": False}),
    *(
        (
            "sgd.update",
            (*(_normal(*PARAMETERS, i)[..., 0] for i in (1, 2, 3)),),
            {**SGD, "nesterov": nesterov},
        )
        for nesterov in (False, True)
    ),
    *(
        (
            "adam.update",
            (*(_normal(*PARAMETERS, i)[..., 0] for i in (1, 2, 3)), np.square(_normal(*PARAMETERS))),
            {**ADAM, "decoupled": decoupled, "step": 3},
        )
        for decoupled in (False, True)
    ),
]
every_call = pytest.mark.parametrize(("operation", "arrays", "parameters"), CALLS)


@pytest.fixture
def _default_threads():
    yield
    threads.set_num_threads(None)


def _outcome(operation, algorithm, arrays, parameters, dtype=np.float64):
    """The results of a call, and the arrays that it changes in place."""
    arrays = [None if a is None else np.array(a, dtype) for a in arrays]
    kernel = find_kernel(operation, algo=algorithm)
    assert kernel.refusal(*arrays, **parameters) is None
    results = kernel(*arrays, **parameters)
    results = results if isinstance(results, tuple) else (results,)
    changed = (arrays[i] for i in MUTATED.get(operation, ()))
    return [each for each in (*results, *changed) if each is not None]


@every_call
@pytest.mark.parametrize("dtype", [np.float64, np.float32], ids=["float64", "float32"])
@pytest.mark.usefixtures("_default_threads")
def test_many_items_give_what_the_numpy_kernel_gives(operation, arrays, parameters, dtype):
    kernel = find_kernel(operation, algo="numba")
    if kernel.dtypes is not None and np.dtype(dtype).name not in kernel.dtypes:
        pytest.skip(f"the kernel takes {' and '.join(kernel.dtypes)} only")
    threads.set_num_threads(2)
    rounded = [None if a is None else a.astype(dtype) for a in arrays]
    actual = _outcome(operation, "numba", rounded, parameters, dtype)
    expected = _outcome(operation, "numpy", rounded, parameters)
    scale = largest(*arrays)
    for mine, right in zip(actual, expected, strict=True):
        assert mine.dtype == dtype
        assert_close(mine.astype(np.float64), right, rounding(dtype), scale=max(scale, largest(right)))


@every_call
@pytest.mark.usefixtures("_default_threads")
def test_results_are_the_same_bits_for_any_number_of_threads(operation, arrays, parameters):
    outcomes = []
    for number in (1, 2, 3, 2):
        threads.set_num_threads(number)
        results = _outcome(operation, "numba", arrays, parameters, np.float32)
        outcomes.append([each.tobytes() for each in results])
    assert all(outcome == outcomes[0] for outcome in outcomes[1:])


@pytest.mark.parametrize("axis", [(0,), (0, 1), (1,), (0, 2), (0, 1, 2, 3), ()])
def test_sums_that_numpy_does_as_well_are_left_to_it(axis):
    x = np.zeros((3, 4, 5, 6), np.float32)
    assert find_kernel("sum.forward", algo="numba").refusal(x, axis=axis, keepdims=False)


def test_a_sum_of_an_array_in_another_layout_is_left_to_numpy():
    x = np.zeros((5, 4, 7, 3), np.float32).transpose(3, 1, 2, 0)
    refusal = find_kernel("sum.forward", algo="numba").refusal(x, axis=(0, 2, 3), keepdims=False)
    assert refusal == "x is not C-contiguous"


@pytest.mark.parametrize("operation", ["sgd.update", "adam.update"])
def test_a_parameter_that_would_be_updated_as_a_copy_is_refused(operation):
    states = [np.zeros((2, 3)) for _ in MUTATED[operation][1:]]
    kernel = find_kernel(operation, algo="numba")
    assert "not C-contiguous" in kernel.refusal(np.ones((3, 2)).T, np.ones((2, 3)), *states)
    assert "not C-contiguous" in kernel.refusal(np.ones((2, 3)), np.ones((2, 3)), *states[1:], states[0].T)
    assert kernel.refusal(np.ones((2, 3)), np.ones((3, 2)).T, *states) is None
