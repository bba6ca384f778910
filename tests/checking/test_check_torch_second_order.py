"""`check_torch` of gradients of gradients."""

import re

import pytest
from torch_samples import Power, WrongPower, derivatives, failure, normal, torch

import minialex as ma

pytestmark = [pytest.mark.full, pytest.mark.usefixtures("one_torch_thread")]


def test_second_order():
    x = normal(3, 2)
    report = ma.check_torch(torch.tanh, x, order=2)
    assert report.name == "gradient of tanh"
    # The derivatives of 6 gradients by 6 inputs and 6 upstream gradients.
    assert derivatives(report) == 6 * (6 + 6)
    assert re.match(r"first order: \d+ derivatives agree to", report.notes[-1])
    assert derivatives(ma.check_torch(Power, [x, 3], order=2)) == 72
    assert ma.check_torch(torch.nn.Linear(2, 2), x, order=2).compared > 0


def test_second_order_checks_the_first():
    assert failure(WrongPower, [normal(3), 3], order=2).operation == "WrongPower"


def test_intermediates_on_ctx_are_wrong_in_second_order():
    # [58509, 76185] what is saved on ctx is a constant to PyTorch; gradgradcheck has to see it.
    class Square(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.doubled = 2 * x
            return x**2

        @staticmethod
        def backward(ctx, u):
            return ctx.doubled * u

    x = normal(3)
    assert derivatives(ma.check_torch(Square, x)) == 9
    error = failure(Square, x, order=2)
    assert (error.check, error.pattern) == ("values", "all zero")
    assert "gradient of" in error.operation
    assert "the gradient of inputs[0] is wrong" in str(error)


def test_a_wrong_second_gradient():
    class WrongTwice(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, u):
            ctx.save_for_backward(x, u)
            return 2 * x * u

        @staticmethod
        def backward(ctx, v):
            x, u = ctx.saved_tensors
            return 2 * u * v, 2.002 * x * v

    class Square(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x**2

        @staticmethod
        def backward(ctx, u):
            return WrongTwice.apply(ctx.saved_tensors[0], u)

    assert derivatives(ma.check_torch(Square, normal(3))) == 9
    error = failure(Square, normal(3), order=2)
    assert "the gradient of the upstream gradient of result is wrong" in str(error)
    assert error.pattern == "a constant factor of 1.001"


def test_backwards_that_cannot_be_differentiated():
    class Once(Power):
        @staticmethod
        @torch.autograd.function.once_differentiable
        def backward(ctx, u):
            x, _ = ctx.saved_tensors
            return u * ctx.n * x ** (ctx.n - 1), None, None

    class Detached(Power):
        @staticmethod
        def backward(ctx, u):
            return Power.backward(ctx, u)[0].detach(), None, None

    for made, says in ((Once, "@once_differentiable"), (Detached, "is not part of the graph")):
        assert derivatives(ma.check_torch(made, [normal(3), 3])) == 9
        error = failure(made, [normal(3), 3], order=2)
        assert error.check == "result"
        assert says in str(error)
        assert "leave out order=2" in str(error)

    def nested(x):
        return torch.sin(Once.apply(torch.exp(x), 2))

    assert "@once_differentiable" in str(failure(nested, normal(3), order=2))

    class NoSecond(torch.autograd.Function):
        """Its backward calls what has no derivative in turn."""

        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x**2

        @staticmethod
        def backward(ctx, u):
            return Raising.apply(ctx.saved_tensors[0], u)

    class Raising(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, u):
            return 2 * x * u

        @staticmethod
        def backward(ctx, v):
            raise NotImplementedError("no third kernel")

    error = failure(NoSecond, normal(3), order=2)
    assert error.check == "raises"
    assert "differentiating its gradient raises NotImplementedError: no third kernel" in str(error)


def test_second_order_with_an_input_that_is_not_used():
    # [57649]
    assert ma.check_torch(lambda x, y: x**3, [normal(3), normal(2)], order=2).compared > 0
