"""`check_torch` of modules: their parameters, their buffers, and what they keep of a call."""

import re
import warnings

import pytest
from torch_samples import constant, derivatives, failure, normal, torch

import minialex as ma
from minialex.errors import MiniAlexError

pytestmark = [pytest.mark.full, pytest.mark.usefixtures("one_torch_thread")]


def scripted(module):
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
        return torch.jit.script(module)


def test_parameters_are_differentiated_and_named():
    # [5351] gradcheck(nn.Linear(2, 1), x) looks only at x, and in float32.
    module = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.Tanh(), torch.nn.Linear(2, 2))
    report = ma.check_torch(module, normal(2, 3))
    assert report.name == "Sequential"
    assert derivatives(report) >= 4 * 6
    assert len(report.inputs) == 1 + 4

    class NoBias(torch.nn.Linear):
        def forward(self, x):
            return x @ self.weight.T + self.bias.detach()

    error = failure(torch.nn.Sequential(NoBias(3, 2)), normal(2, 3))
    assert "the gradient of parameter '0.bias' is wrong" in str(error)
    assert error.pattern == "all zero"


def test_frozen_parameters_are_constants():
    module = torch.nn.Linear(3, 2)
    module.weight.requires_grad_(False)
    report = ma.check_torch(module, constant(4, 3))
    assert [each.input for each in report.inputs] == [0]
    assert len(report.inputs) == 1


def test_inputs_that_require_none_leave_the_parameters():
    embedding = torch.nn.Embedding(4, 3)
    assert len(ma.check_torch(embedding, torch.tensor([0, 2, 2])).inputs) == 1
    sparse = torch.nn.Embedding(4, 3, sparse=True)
    assert len(ma.check_torch(sparse, torch.tensor([0, 2, 2])).inputs) == 1


def test_a_module_is_left_as_it_was():
    module = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4), torch.nn.Dropout(0.5))
    module.requires_grad_(True)
    module[0].bias.requires_grad_(False)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    state = torch.get_rng_state()
    ma.check_torch(module, normal(5, 3))
    assert module.training
    for name, value in module.state_dict().items():
        assert value.dtype == before[name].dtype, name
        assert torch.equal(value, before[name]), name
    assert [p.requires_grad for p in module.parameters()] == [True, False, True, True]
    assert all(p.grad is None for p in module.parameters())
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_default_dtype() == torch.float32


def test_batch_norm_does_not_drift():
    # torch/nn#744: running statistics that each call moves.
    class Momentum(torch.nn.Module):
        """Depends on its buffer, which it changes."""

        def __init__(self, replace):
            super().__init__()
            self.replace = replace
            self.register_buffer("mean", torch.zeros(3))

        def forward(self, x):
            mean = 0.9 * self.mean + 0.1 * x.mean(0)
            if self.replace:
                self.mean = mean.detach()
            else:
                self.mean.copy_(mean.detach())
            return x - mean

    for module in (Momentum(True), Momentum(False), torch.nn.BatchNorm1d(3)):
        report = ma.check_torch(module, normal(4, 3))
        (note,) = report.notes
        assert re.match(r"changes buffers \((mean|running_mean, running_var, num_batches_tracked)\)", note)
    assert ma.check_torch(torch.nn.BatchNorm1d(3).eval(), normal(4, 3)).notes == ()


def test_what_a_module_keeps_of_a_call():
    class Caches(torch.nn.Linear):
        """Computes something from its weight, or from its input, in the first call only."""

        kept = None

        def __init__(self, source):
            super().__init__(2, 2, bias=False)
            self.source = source

        def forward(self, x):
            if self.kept is None:
                sources = {"weight": self.weight.sum(), "input": x.sum(), "shape": torch.tensor(x.shape[1])}
                self.kept = 2 * sources[self.source].detach()
            return super().forward(x) * self.kept

    for source in ("weight", "input"):
        error = failure(Caches(source), normal(3, 2))
        assert error.check == "not deterministic"
        assert "different for a module that was called before" in str(error)
    assert ma.check_torch(Caches("shape"), normal(3, 2)).compared > 0


def test_a_method_of_a_module():
    class Coder(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.tensor([[0.5, -1.0]]))

        def encode(self, x):
            return x @ self.weight.T

        def wrong(self, x):
            return x @ self.weight.detach().T

    coder = Coder()
    report = ma.check_torch(coder.encode, normal(3, 2))
    assert report.name.endswith("Coder.encode")
    assert len(report.inputs) == 2
    assert "parameter 'weight'" in str(failure(coder.wrong, normal(3, 2)))


@pytest.mark.parametrize("tied", [True, False])
def test_tied_parameters_are_one(tied):
    class Tied(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.a = torch.nn.Linear(2, 2, bias=False)
            self.b = torch.nn.Linear(2, 2, bias=False)
            if tied:
                self.b.weight = self.a.weight

        def forward(self, x):
            return self.b(torch.tanh(self.a(x)))

    assert len(ma.check_torch(Tied(), constant(2, 2)).inputs) == (1 if tied else 2)


@pytest.mark.parametrize(
    "make",
    [
        lambda: torch.nn.LSTM(2, 2),
        lambda: torch.nn.utils.parametrizations.spectral_norm(torch.nn.Linear(2, 3)).eval(),
        lambda: torch.nn.utils.parametrizations.weight_norm(torch.nn.Linear(2, 3)),
        lambda: torch.nn.LayerNorm(2),
        lambda: torch.nn.PReLU(),
        lambda: scripted(torch.nn.Linear(2, 3)),
    ],
    ids=["LSTM", "spectral_norm", "weight_norm", "LayerNorm", "PReLU", "scripted"],
)
def test_modules_of_pytorch(make):
    torch.manual_seed(0)
    module = make()
    report = ma.check_torch(module, normal(3, 1, 2))
    assert report.compared > 0
    assert len(report.inputs) == 1 + len(list(module.parameters()))


def test_a_hook_of_a_parameter_is_not_left_out_silently():
    layer = torch.nn.Linear(3, 2)
    layer.weight.register_hook(lambda gradient: 2 * gradient)
    with pytest.raises(ma.MiniAlexError, match="parameter 'weight' has a hook"):
        ma.check_torch(layer, [normal(4, 3)])


def test_weights_that_a_hook_computes_can_be_copied():
    torch.manual_seed(0)
    with pytest.warns(FutureWarning):
        module = torch.nn.utils.weight_norm(torch.nn.Linear(2, 3))
    module(constant(1, 2).float())
    assert not module.weight.is_leaf
    assert len(ma.check_torch(module, normal(2, 2)).inputs) == 1 + 3


def test_modules_that_cannot_be_checked():
    with pytest.raises(MiniAlexError, match="parameter 'weight' has no shape yet: call the module once"):
        ma.check_torch(torch.nn.LazyLinear(2), normal(2, 3))
    with pytest.raises(MiniAlexError, match=r"parameter 'weight' is torch\.complex64: complex parameters"):
        ma.check_torch(torch.nn.Linear(2, 2, dtype=torch.complex64), normal(2, 2))

    class Uncopied(torch.nn.Linear):
        def __deepcopy__(self, memo):
            raise TypeError("not this one")

    with pytest.raises(MiniAlexError, match=r"cannot be copied \(TypeError: not this one\).*pass a function"):
        ma.check_torch(Uncopied(2, 2), normal(2, 2))
    with pytest.raises(MiniAlexError, match="is a class; pass an object of it"):
        ma.check_torch(torch.nn.Linear, normal(2, 2))
