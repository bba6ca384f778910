"""`check_torch`: what cannot be checked, and what is said of it."""

import re

import numpy as np
import pytest
from torch_samples import Doubled, constant, failure, laid, normal, torch

import minialex as ma
from minialex.errors import MiniAlexError

pytestmark = [pytest.mark.full, pytest.mark.usefixtures("one_torch_thread")]


@pytest.mark.parametrize(
    ("function", "says"),
    [
        (lambda x: x.sum().item(), "what it returns is .*: return floating-point tensors"),
        (lambda x: (x, x.detach().numpy()), r"result\[1\] is an array of float64 and shape \(3,\): return"),
        (lambda x: None, "what it returns is None"),
        (lambda x: x.argmax(), "what it returns is int64"),
        (lambda x: (x.argmax(), None), "returns no floating-point tensor"),
        (lambda x: x.detach() ** 2, "nothing that it returns is part of the graph"),
        (lambda x: torch.tensor(x.tolist()).double(), "nothing that it returns is part of the graph"),
        (lambda x: torch.no_grad()(torch.sin)(x), "nothing that it returns is part of the graph"),
        (lambda x: torch.complex(x, x), "what it returns is torch.complex128: return real"),
        (lambda x: x.to_sparse(), "what it returns is not dense: return y.to_dense"),
    ],
    ids=["item", "array", "None", "argmax", "integers", "detached", "tolist", "no_grad", "complex", "sparse"],
)
def test_results_that_cannot_be_checked(function, says):
    error = failure(function, normal(3))
    assert error.check == "result"
    assert re.search(says, str(error))


def test_a_number_of_results_that_changes():
    calls = []

    def function(x):
        calls.append(0)
        return (x, x) if len(calls) == 1 else (x, x, x)

    with pytest.raises(
        (ma.GradcheckError, ValueError), match="returns 3 results here, and 2 in the first call"
    ):
        ma.check_torch(function, normal(3))


@pytest.mark.parametrize(
    ("inputs", "options", "says"),
    [
        # [9192] with nothing that requires a gradient nothing was tested.
        ([constant(3)], {}, "there is nothing to differentiate.*requires_grad_"),
        ([np.ones(3)], {}, "pass tensors instead of arrays"),
        ([normal(3).to(torch.complex128)], {}, r"inputs\[0\] is torch.complex128: complex inputs cannot"),
        ([laid(constant(3, 3).to_sparse())], {}, r"inputs\[0\] is sparse_coo: only dense tensors"),
        ([laid(torch.empty(3, device="meta"))], {}, r"inputs\[0\] is on the device meta"),
        (7, {}, "inputs must be a tensor, or a list.*, not 7"),
        ([normal(3)], {"kwargs": [1]}, r"kwargs must be a dict.*, not \[1\]"),
        ([normal(3)], {"order": 3}, "order must be 1.*, not 3"),
        ([normal(3)], {"order": True}, "order must be 1.*, not True"),
        ([normal(3)], {"wrt": [0]}, "wrt is not an option of check_torch: requires_grad says"),
        ([normal(3)], {"branches": len}, "branches is not an option of check_torch"),
        ([normal(3)], {"method": "complex"}, 'method="complex" is not for check_torch'),
        ([normal(3)], {"dtype": torch.float16}, "dtype=float16 cannot be checked"),
        ([normal(3)], {"seed": -1}, "seed must be an integer 0 or more, not -1"),
        ([normal(3)], {"mode": "full"}, "mode must be .*, not 'full'"),
    ],
    ids=lambda value: None if isinstance(value, list) else str(value)[:20],
)
def test_arguments_that_cannot_be_checked(inputs, options, says):
    with pytest.raises(MiniAlexError, match=says) as caught:
        ma.check_torch(torch.sin, inputs, **options)
    assert not isinstance(caught.value, ma.GradcheckError)


def test_a_function_must_be_callable():
    with pytest.raises(MiniAlexError, match="function must be a function, not 3"):
        ma.check_torch(3, normal(3))


def test_a_subclass_of_tensor_is_refused():
    class Labelled(torch.Tensor):
        pass

    with pytest.raises(MiniAlexError, match="is a Labelled: of a tensor that is not plain"):
        ma.check_torch(torch.sin, laid(constant(3).as_subclass(Labelled)))


def test_constants_may_be_sparse_or_complex():
    adjacency = torch.eye(3).to_sparse()
    assert ma.check_torch(lambda a, x: torch.sparse.mm(a, x), [adjacency, normal(3, 2)]).compared > 0
    phase = torch.exp(1j * torch.arange(3.0))
    assert ma.check_torch(lambda x, p: torch.view_as_real(x * p), [normal(3), phase]).compared > 0


def test_functions_that_raise():
    def raises(x):
        raise ValueError("three is\n  too many")

    error = failure(raises, normal(3))
    assert error.check == "raises"
    assert "the function raises ValueError: three is too many" in str(error)
    assert isinstance(error.__cause__, ValueError)

    class Two(Doubled):
        @staticmethod
        def backward(ctx, u):
            return 2 * u

    # [13540] a backward with too few gradients.
    error = failure(Two, [normal(3), None])
    assert error.check == "raises"
    assert "backward raises RuntimeError" in str(error)
    assert "incorrect number of gradients" in str(error)
