"""What each kernel is said to return, on the device ``meta``, against what its reference returns."""

import numpy as np
import pytest

from minialex import kernels
from minialex.errors import DeviceError, ShapeError
from minialex.kernels import find_kernel, kernel, list_kernels, unregister
from minialex.kernels.contract import results as described_results
from minialex.kernels.contract.call import as_taken
from minialex.kernels.contract.examples import example_calls
from minialex.kernels.contract.results import calls_heard, results
from minialex.stand_ins import is_stand_in, stand_in

OPERATIONS = sorted({entry.operation for entry in list_kernels(device="cpu")})


def described(array):
    return None if array is None else (array.shape, array.dtype)


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
def test_stand_ins_are_like_the_results_of_the_reference(operation, dtype):
    reference = find_kernel(operation, algo="reference")
    for example in example_calls(operation, "small"):
        arrays = example.arrays(dtype)
        parameters = as_taken(operation, tuple(arrays), example.parameters)
        expected = reference(*arrays, **parameters)
        blank = [None if each is None else stand_in(each.shape, each.dtype) for each in arrays]
        found = kernels.run(operation, "meta", *blank, **example.parameters)
        if isinstance(expected, tuple):
            assert list(map(described, found)) == list(map(described, expected))
            assert all(map(is_stand_in, found))
        else:
            assert described(found) == described(expected)
            assert found is None or is_stand_in(found)


def test_who_listens_hears_each_call_with_its_arrays():
    heard = []
    x, weight = stand_in((2, 3, 9, 9)), stand_in((4, 3, 3, 3))
    with calls_heard(lambda *call: heard.append(call)):
        y = kernels.run("conv2d.forward", "meta", x, weight, None, stride=2, padding=1, dilation=1, groups=1)
        kernels.run("relu.forward", "meta", y)
    kernels.run("relu.forward", "meta", y)
    (first, arrays, parameters), (second, (of_relu,), _) = heard
    assert (first, second) == ("conv2d.forward", "relu.forward")
    assert arrays[0] is x
    assert arrays[1] is weight
    assert of_relu is y
    assert parameters["call"].y_shape == y.shape == (2, 4, 5, 5)


def test_shapes_that_do_not_fit_are_refused_as_everywhere():
    with pytest.raises(ShapeError, match="do not broadcast"):
        kernels.run("add.forward", "meta", stand_in((3,)), stand_in((2,)))


def test_an_operation_that_says_nothing_of_its_results_is_told_how(monkeypatch):
    monkeypatch.setattr(described_results, "_rules", dict(described_results._rules))

    @kernel("swish.forward", algo="reference")
    def swish(x):
        return x

    try:
        with pytest.raises(DeviceError, match=r"swish.forward does not say .* @results"):
            kernels.run("swish.forward", "meta", stand_in((3,)))
        results("swish.forward")(lambda x: (x.shape, x.dtype))
        assert kernels.run("swish.forward", "meta", stand_in((3,))).shape == (3,)
    finally:
        unregister("swish.forward", algo="reference")
