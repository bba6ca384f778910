"""`check_torch` of tensors with strides: inputs keep theirs, and gradients may not depend on them."""

from typing import ClassVar

import pytest
from torch_samples import LAYOUTS, constant, derivatives, failure, laid, normal, torch

import minialex as ma
from minialex.checking.adapters.torch_tensors import laid_out

pytestmark = [pytest.mark.full, pytest.mark.usefixtures("one_torch_thread")]


class SeesStrides(torch.autograd.Function):
    """x², noting the strides that it meets; wrong where asked to assume an order."""

    assume = None
    seen: ClassVar[set] = set()

    @classmethod
    def forward(cls, ctx, x):
        cls.seen.add(x.stride())
        ctx.save_for_backward(x)
        return (x**2).contiguous()

    @classmethod
    def backward(cls, ctx, u):
        (x,) = ctx.saved_tensors
        if cls.assume == "x":
            # A kernel that walks through memory, whatever the strides.
            memory = x.as_strided((x.numel(),), (1,), x.storage_offset())
            return 2 * u * memory.reshape(x.shape)
        if cls.assume == "u" and u.numel() and 0 not in u.stride():
            memory = u.as_strided((u.numel(),), (1,), u.storage_offset())
            return 2 * memory.reshape(u.shape) * x
        return 2 * u * x


@pytest.mark.parametrize("layout", LAYOUTS)
def test_inputs_keep_their_strides(layout):
    # [38586] elements that share memory cannot be moved by themselves: gradcheck fails on a right gradient.
    x = LAYOUTS[layout]()

    class Square(SeesStrides):
        seen: ClassVar[set] = set()

    report = ma.check_torch(Square, x)
    assert derivatives(report) == x.numel() ** 2
    assert x.stride() in Square.seen


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_backward_that_ignores_the_strides_of_its_input(layout):
    class Wrong(SeesStrides):
        assume = "x"

    # For contiguous inputs it is right; those are checked in other layouts, too.
    assert failure(Wrong, LAYOUTS[layout]()).check in ("values", "layout", "raises")


def test_a_backward_that_ignores_the_strides_of_the_upstream_gradient():
    class Wrong(SeesStrides):
        assume = "u"

    assert failure(Wrong, normal(3, 4)).check == "layout"


def test_a_forward_that_is_wrong_for_these_strides_alone():
    def function(x):
        # Right for what it computes, which is another function for channels_last.
        return x**2 if x.is_contiguous() else x**3

    x = LAYOUTS["channels_last"]()
    error = failure(function, x)
    assert error.check == "layout"
    assert "different for contiguous inputs than for inputs[0] as it came" in str(error)


def test_a_function_may_refuse_a_layout():
    def flat(x):
        return x.view(-1).sin()

    assert derivatives(ma.check_torch(flat, normal(3, 4))) == 144
    error = failure(flat, LAYOUTS["transposed"]())
    assert error.check == "raises"
    assert "view size is not compatible" in str(error)

    def only_channels_last(x):
        if not x.is_contiguous(memory_format=torch.channels_last):
            raise ValueError("channels_last, please")
        return x.sin()

    x = laid(normal(1, 2, 2, 3).to(memory_format=torch.channels_last))
    assert derivatives(ma.check_torch(only_channels_last, x)) == 144


def test_memory_between_the_elements_is_filled():
    values = constant(3, 2)
    strided = laid_out(values, (5, 2))
    assert torch.equal(strided, values)
    memory = strided.as_strided((13,), (1,))
    assert (memory == torch.finfo(torch.float64).max).sum() == 13 - 6
    assert laid_out(values, (0, 1)) is None
    assert laid_out(values[:1].expand(3, 2), (0, 1)).stride() == (0, 1)
