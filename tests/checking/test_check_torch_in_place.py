"""`check_torch` of functions that change in place what they are given."""

import re

import pytest
from torch_samples import Doubled, constant, derivatives, failure, normal, torch

import minialex as ma

pytestmark = [pytest.mark.full, pytest.mark.usefixtures("one_torch_thread")]


def in_forward(ctx, x, constant=None):
    x.mul_(2)
    return x.clone()


def marked_dirty(ctx, x, constant=None):
    ctx.mark_dirty(x)
    return x.mul_(2)


def of_a_constant(ctx, x, constant):
    constant.add_(1)
    return 2 * x


def in_backward(ctx, u):
    (x,) = ctx.saved_tensors
    x.zero_()
    return 2 * u, None


def of_upstream(ctx, u):
    return u.mul_(2), None


@pytest.mark.parametrize(
    ("method", "change", "says"),
    [
        ("forward", in_forward, r"the function changes inputs\[0\] in place"),
        # [97332]
        ("forward", marked_dirty, "the function changes an input or a parameter in place"),
        ("forward", of_a_constant, r"the function changes inputs\[1\] in place"),
        ("backward", in_backward, r"backward changes inputs\[0\] in place"),
        ("backward", of_upstream, "backward changes the upstream gradient in place"),
    ],
    ids=["input", "mark_dirty", "constant", "saved", "upstream"],
)
def test_changes_in_place(method, change, says):
    made = type("Changing", (Doubled,), {method: staticmethod(change)})
    x, c = normal(3), constant(3)
    kept = x.detach().clone(), c.clone()
    error = failure(made, [x, c])
    assert error.check == "changed input"
    assert re.search(says, str(error))
    assert torch.equal(x, kept[0])
    assert torch.equal(c, kept[1])
    assert derivatives(ma.check_torch(Doubled, [x, c])) == 9


def test_an_in_place_activation():
    assert failure(lambda x: torch.relu_(x), normal(3)).check == "changed input"
    assert derivatives(ma.check_torch(lambda x: torch.relu_(x.clone()), normal(3))) == 9


@pytest.mark.parametrize("trained", [True, False])
def test_a_module_that_changes_its_parameter(trained):
    class Clips(torch.nn.Linear):
        def forward(self, x):
            self.weight.data.clamp_(-0.1, 0.1)
            return super().forward(x)

    module = Clips(3, 2)
    module.weight.requires_grad_(trained)
    error = failure(module, normal(2, 3))
    assert error.check == "changed input"
    assert "the function changes parameter 'weight' in place" in str(error)


def test_a_buffer_that_the_next_call_overwrites():
    kept = torch.zeros(3, dtype=torch.float64)

    class Reuses(Doubled):
        @staticmethod
        def backward(ctx, u):
            torch.mul(u, 2, out=kept)
            return kept, None

    assert failure(Reuses, [normal(3)]).check == "aliasing"


def test_gradients_that_are_one_tensor_are_no_fault():
    assert derivatives(ma.check_torch(torch.add, [normal(3), normal(3, seed=1)])) == 18
    assert derivatives(ma.check_torch(lambda x: x, normal(3))) == 9
    parts = [normal(2), normal(3)]
    assert derivatives(ma.check_torch(lambda a, b, c: torch.cat([a, b]) + c, [*parts, normal(5)])) == 50
