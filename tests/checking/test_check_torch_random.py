"""`check_torch` of functions that draw random numbers."""

import numpy as np
import pytest
from torch_samples import derivatives, failure, laid, normal, torch

import minialex as ma

pytestmark = [pytest.mark.full, pytest.mark.usefixtures("one_torch_thread")]


def test_dropout_repeats():
    # [114333]
    x = normal(4, 5)
    assert derivatives(ma.check_torch(torch.nn.Dropout(0.4), x)) == 400
    # A mask is drawn in the order of memory, so that it is different for other strides.
    assert derivatives(ma.check_torch(torch.nn.Dropout(0.4), laid(x.T))) == 400

    class Redrawn(torch.autograd.Function):
        """Drops with one mask forward, and with another one backward."""

        @staticmethod
        def forward(ctx, x):
            return x * (torch.rand_like(x) > 0.4)

        @staticmethod
        def backward(ctx, u):
            return u * (torch.rand_like(u) > 0.4)

    assert failure(Redrawn, x).check in ("values", "layout")


def test_random_numbers_of_others_are_told():
    generator = np.random.default_rng(0)
    error = failure(lambda x: x * float(generator.standard_normal()), normal(3))
    assert error.check == "not deterministic"


def test_the_callers_state_is_left_alone():
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    with torch.no_grad():
        ma.check_torch(torch.nn.Dropout(0.5), normal(3))
        assert not torch.is_grad_enabled()
    assert torch.equal(torch.rand(4), expected)
    with torch.inference_mode():
        assert derivatives(ma.check_torch(torch.sin, normal(3))) == 9
