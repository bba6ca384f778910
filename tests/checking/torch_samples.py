"""What the tests of `check_torch` share: tensors of every layout, a right and a wrong function, its failure.

The kinds of mistake are those that people reported of `torch.autograd.gradcheck`: the numbers in brackets in
these tests are issues of pytorch/pytorch.
"""

import numpy as np
import pytest

import minialex as ma

torch = pytest.importorskip("torch")


def normal(*shape, dtype=torch.float64, seed=0):
    values = np.random.default_rng([seed, *shape]).standard_normal(shape)
    return torch.tensor(values, dtype=dtype, requires_grad=True)


def constant(*shape, seed=1):
    return normal(*shape, seed=seed).detach()


def laid(tensor):
    """A tensor of these strides that is a leaf."""
    return tensor.detach().requires_grad_()


def derivatives(report):
    """How many derivatives were compared, those that are 0 on both sides included."""
    return report.compared + report.zeros


def failure(function, inputs, **options):
    with pytest.raises(ma.GradcheckError) as caught:
        ma.check_torch(function, inputs, **options)
    return caught.value


class Power(torch.autograd.Function):
    """x ** n, times a weight where there is one."""

    factor = 1.0

    @staticmethod
    def forward(ctx, x, n, weight=None):
        ctx.save_for_backward(x, weight)
        ctx.n = n
        return x**n if weight is None else weight * x**n

    @classmethod
    def backward(cls, ctx, u):
        x, weight = ctx.saved_tensors
        slope = cls.factor * ctx.n * x ** (ctx.n - 1)
        if weight is None:
            return u * slope, None, None
        return u * weight * slope, None, u * x**ctx.n


class WrongPower(Power):
    factor = 1.001


class Doubled(torch.autograd.Function):
    """2 x, with something done in place on the way."""

    @staticmethod
    def forward(ctx, x, constant=None):
        ctx.save_for_backward(x)
        return 2 * x

    @staticmethod
    def backward(ctx, u):
        return 2 * u, None


LAYOUTS = {
    "contiguous": lambda: normal(2, 3, 4, 5),
    "channels_last": lambda: laid(normal(2, 3, 4, 5).to(memory_format=torch.channels_last)),
    "transposed": lambda: laid(normal(3, 4).T),
    "every second": lambda: laid(normal(3, 8)[:, ::2]),
    "expanded": lambda: laid(normal(1, 4).expand(3, 4)),
    "windows": lambda: laid(normal(6).unfold(0, 3, 1)),
}
