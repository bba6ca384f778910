"""`check_torch`: options, reports, and the lines that repeat a failure."""

import pickle

import pytest
from torch_samples import LAYOUTS, WrongPower, constant, derivatives, failure, laid, normal, torch

import minialex as ma
from minialex.checking import constraints
from minialex.errors import MiniAlexError

pytestmark = [pytest.mark.full, pytest.mark.usefixtures("one_torch_thread")]


def test_options_are_passed_on():
    x = normal(6)
    report = ma.check_torch(torch.sin, x, mode="directions", directions=3, seed=4)
    assert (report.mode, report.directions, report.seed) == ("directions", 3, 4)


def test_nothing_compared_is_no_pass():
    for function, x in ((lambda x: x.sum(0), torch.zeros(0, 3)), (lambda x: 0 * x + 1, torch.ones(2))):
        x.requires_grad_()
        assert failure(function, x).check == "nothing compared"
        assert ma.check_torch(function, x, min_compared=0).compared == 0


def test_constraints_are_given_for_each_argument():
    a = constant(3, 3)
    a = laid(a @ a.T + torch.eye(3))
    a = laid((a + a.T) / 2)

    def factor(n, a, scale):
        return n * torch.linalg.cholesky(a) * scale

    inputs = [2, a, laid(torch.tensor(1e-3))]
    given = [None, constraints.positive_definite, constraints.positive]
    for order in (1, 2):
        assert ma.check_torch(factor, inputs, constraints=given, order=order).compared > 0
    error = failure(lambda n, a, scale: factor(n, a, scale.detach()), inputs, constraints=given)
    assert "the gradient of inputs[2] is wrong along move 0 of positive" in str(error)
    with pytest.raises(MiniAlexError, match="must be a list with one for each of the 3 arguments"):
        ma.check_torch(factor, inputs, constraints=given[:2])
    with pytest.raises(MiniAlexError, match=r"^inputs\[1\] is not in positive"):
        ma.check_torch(lambda n, x: n * x, [2, laid(-a)], constraints=[None, constraints.positive])


def test_constraints_leave_parameters_free():
    module = torch.nn.Linear(2, 2)
    x = laid(torch.tensor([[0.5, 2.0]]))
    assert ma.check_torch(module, x, constraints=[constraints.positive]).compared > 0


def test_redraw_gives_other_inputs():
    # A plateau: all of its derivatives lie at kinks where the elements are 0.
    def redraw(generator):
        return [torch.tensor(1 + generator.random(3), requires_grad=True), 2]

    x = laid(torch.zeros(3, dtype=torch.float64))
    report = ma.check_torch(lambda x, n: n * x.abs(), [x, 2], redraw=redraw)
    assert report.redrawn == 1
    with pytest.raises(MiniAlexError, match="redraw must give as many arrays"):
        ma.check_torch(lambda x, n: n * x.abs(), [x, 2], redraw=lambda g: [normal(4), 2])


def run_lines(text, **names):
    """Run the lines of an error, with `function` defined."""
    lines = text.splitlines()
    exec("\n".join(lines), {**names})


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_lines_of_a_failure_repeat_it(layout):
    x = LAYOUTS[layout]()
    error = failure(WrongPower, [x, 3, None], seed=2)
    with pytest.raises(ma.GradcheckError) as again:
        run_lines(error.reproduce, function=WrongPower)
    assert again.value.index == error.index
    assert (again.value.analytic, again.value.numeric) == (error.analytic, error.numeric)
    assert f"{tuple(x.stride())}" in error.reproduce or x.is_contiguous()


def test_the_lines_of_a_failing_module_and_of_nests():
    class Wrong(torch.nn.BatchNorm1d):
        def forward(self, x, options, *, mask):
            return super().forward(x) * self.weight.detach() * mask * options["scale"][0]

    torch.manual_seed(0)
    module = Wrong(3)
    torch.nn.init.normal_(module.weight)
    arguments = [normal(4, 3), {"scale": (normal(1), "a")}]
    error = failure(module, arguments, kwargs={"mask": torch.tensor([True, False, True])}, order=2)
    assert "order=2" in error.reproduce
    # Another module of the class, in the dtype of the lines.
    with pytest.raises(ma.GradcheckError) as again:
        run_lines(error.reproduce, function=Wrong(3).double())
    assert again.value.summary == error.summary
    assert (again.value.analytic, again.value.numeric) == (error.analytic, error.numeric)


def test_an_error_can_be_pickled():
    error = failure(WrongPower, [normal(3), 3])
    again = pickle.loads(pickle.dumps(error))
    assert str(again) == str(error)
    assert again.names == ("inputs[0]",)


def test_the_fixture(gradcheck):
    assert derivatives(gradcheck.torch(torch.sin, [normal(3)])) == 9
    with pytest.raises(ma.GradcheckError):
        gradcheck.torch(WrongPower, [normal(3), 3])


def test_tensors_stay_on_their_device():
    if not torch.cuda.is_available():
        pytest.skip("PyTorch finds no GPU")
    seen = set()

    def function(x, n, w):
        seen.update({x.device.type, n.device.type, w.device.type})
        return (x * w).sum(0)[n] + torch.rand(1, device=x.device, dtype=x.dtype)

    x, n, w = laid(normal(3, 2).cuda()), torch.tensor([0, 1]).cuda(), constant(3, 2).cuda()
    assert ma.check_torch(function, [x, n, w], order=2).compared > 0
    assert seen == {"cuda"}
    assert failure(WrongPower, [x, 3]).check == "values"
