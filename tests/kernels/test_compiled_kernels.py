"""The compiled kernels of everything but products, on arrays that several threads share.

The tests that draw tiny arrays never cut the work into several items; these do. The oracle is the NumPy
kernel of the same operation in float64, which works on the array as a whole.
"""

import numpy as np
import pytest

from minialex.checking.testing.compare import assert_close, largest, rounding
from minialex.kernels import find_kernel
from minialex.kernels.adam import AdamCall
from minialex.kernels.contract.examples import changed_by
from minialex.kernels.runtime import threads
from minialex.kernels.sgd import SgdCall

RESPONSE_NORM = {"size": 5, "alpha": 0.9, "beta": 0.75, "k": 2.0}
WINDOW = {"kernel_size": (3, 3), "stride": (2, 2), "padding": ((1, 0), (0, 1)), "ceil_mode": True}
MAXIMUM = {**WINDOW, "dilation": (1, 1)}
MEAN = {**WINDOW, "count_include_pad": False}
LARGE = (24, 7, 89, 101)  # 46.1 items of 2**15 elements, 56 of three planes each
POOLED = (24, 7, 45, 51)
NORM = {"axis": 1, "eps": 1e-3}
ROWS = {"axis": 2, "eps": 1e-3}
IMAGES = (7, 51, 21, 23)  # 51 features of 483 elements: 17 items of 3
PLANES = (10, 1500, 3, 3)  # 1500 features of 9 elements: 17 items of 93, the last of 12
SGD = {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.05}
ADAM = {"lr": 0.1, "beta1": 0.9, "beta2": 0.99, "eps": 1e-8, "weight_decay": 0.05}
PARAMETERS = (5, 2**15 + 11)  # 5.001 items of 2**15


def _normal(*shape):
    return np.random.default_rng(sum(shape)).standard_normal(shape)


def _cells(shape, size):
    return np.random.default_rng(1).integers(0, size[0] * size[1], shape, dtype=np.int32)


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
    y = find_kernel("softmax.forward", algo="plain")(x, axis=1)
    target = np.abs(_normal(n, classes, 2)[..., 0])
    return [
        ("softmax.forward", (x,), {"axis": 1}),
        ("softmax.backward", (g, y), {"axis": 1}),
        ("log_softmax.forward", (x,), {"axis": 1}),
        ("log_softmax.backward", (g, np.log(y)), {"axis": 1}),
        ("cross_entropy.forward", (x, target), {}),
        ("cross_entropy.backward", (losses, x, target), {}),
    ]


# Operation, arrays of float64, of int32 cells or of uint32 words, parameters.
CALLS = [
    ("local_response_norm.forward", (_normal(*LARGE),), RESPONSE_NORM),
    ("local_response_norm.backward", (_normal(*LARGE), _normal(*LARGE)[::-1]), RESPONSE_NORM),
    ("channel_window_sum.forward", (_normal(*LARGE),), {"size": 7}),
    ("max_pool2d.forward", (_normal(*LARGE),), MAXIMUM),
    ("max_pool2d.scatter", (_normal(*POOLED), _cells(POOLED, LARGE[2:])), {"input_size": LARGE[2:]}),
    ("max_pool2d.gather", (_normal(*LARGE), _cells(POOLED, LARGE[2:])), {}),
    ("avg_pool2d.forward", (_normal(*LARGE),), MEAN),
    ("avg_pool2d.input_grad", (_normal(*POOLED),), {"input_size": LARGE[2:], **MEAN}),
    ("relu.forward", (_normal(*LARGE),), {}),
    ("relu.mask", (_normal(*LARGE),), {}),
    (
        "relu.backward",
        (_normal(*LARGE), find_kernel("relu.mask", algo="reference")(_normal(*LARGE, 1)[..., 0])),
        {},
    ),
    ("dropout.forward", (_normal(*LARGE),), {"p": 0.3, "seed": 2**40 + 3, "offset": 2**33 + 1}),
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
every_call_and_dtype = pytest.mark.parametrize(
    ("operation", "arrays", "parameters", "dtype"),
    [
        (*call, np.dtype(dtype))
        for call in CALLS
        for dtype in find_kernel(call[0], algo="one-pass").dtypes or ("float64", "float32")
    ],
)


@pytest.fixture
def _default_threads():
    yield
    threads.set_num_threads(None)


def _typed(arrays, dtype):
    """Copies in a dtype, but for cells."""
    return [None if a is None else np.array(a, dtype if a.dtype.kind == "f" else a.dtype) for a in arrays]


def _outcome(operation, algorithm, arrays, parameters, dtype=np.float64):
    """The results of a call, and the arrays that it changes in place."""
    arrays = _typed(arrays, dtype)
    kernel = find_kernel(operation, algo=algorithm)
    assert kernel.refusal(*arrays, **parameters) is None
    results = kernel(*arrays, **parameters)
    results = results if isinstance(results, tuple) else (results,)
    changed = (arrays[i] for i in changed_by(operation))
    return [each for each in (*results, *changed) if each is not None]


@every_call_and_dtype
@pytest.mark.usefixtures("_default_threads")
def test_many_items_give_what_the_numpy_kernel_gives(operation, arrays, parameters, dtype):
    threads.set_num_threads(2)
    rounded = _typed(arrays, dtype)
    actual = _outcome(operation, "one-pass", rounded, parameters, dtype)
    expected = _outcome(operation, "plain", rounded, parameters)
    scale = largest(*(a for a in arrays if a is None or a.dtype.kind == "f"))
    for mine, right in zip(actual, expected, strict=True):
        if right.dtype.kind == "f":
            assert mine.dtype == dtype
            assert_close(mine.astype(np.float64), right, rounding(dtype), scale=max(scale, largest(right)))
        else:
            np.testing.assert_array_equal(mine, right, strict=True)


@every_call
@pytest.mark.usefixtures("_default_threads")
def test_results_are_the_same_bits_for_any_number_of_threads(operation, arrays, parameters):
    outcomes = []
    for number in (1, 2, 3, 2):
        threads.set_num_threads(number)
        results = _outcome(operation, "one-pass", arrays, parameters, np.float32)
        outcomes.append([each.tobytes() for each in results])
    assert all(outcome == outcomes[0] for outcome in outcomes[1:])


@pytest.mark.parametrize("axis", [(0,), (0, 1), (1,), (0, 2), (0, 1, 2, 3), ()])
def test_sums_that_numpy_does_as_well_are_left_to_it(axis):
    x = np.zeros((3, 4, 5, 6), np.float32)
    assert find_kernel("sum.forward", algo="one-pass").refusal(x, axis=axis, keepdims=False)


def test_a_sum_of_an_array_in_another_layout_is_left_to_numpy():
    x = np.zeros((5, 4, 7, 3), np.float32).transpose(3, 1, 2, 0)
    refusal = find_kernel("sum.forward", algo="one-pass").refusal(x, axis=(0, 2, 3), keepdims=False)
    assert refusal == "x is not C-contiguous"


@pytest.mark.parametrize(
    ("operation", "call"),
    [
        ("sgd.update", SgdCall(lr=0.1, momentum=0.9, weight_decay=0.0, nesterov=False)),
        (
            "adam.update",
            AdamCall(lr=0.1, beta1=0.9, beta2=0.9, eps=1e-8, weight_decay=0.0, decoupled=False, step=1),
        ),
    ],
    ids=["sgd.update", "adam.update"],
)
def test_a_parameter_that_would_be_updated_as_a_copy_is_refused(operation, call):
    def refusal(*arrays):
        return find_kernel(operation, algo="one-pass").refusal(*arrays, call=call)

    states = [np.zeros((2, 3)) for _ in changed_by(operation)[1:]]
    assert "not C-contiguous" in refusal(np.ones((3, 2)).T, np.ones((2, 3)), *states)
    assert "not C-contiguous" in refusal(np.ones((2, 3)), np.ones((2, 3)), *states[1:], states[0].T)
    assert refusal(np.ones((2, 3)), np.ones((3, 2)).T, *states) is None
