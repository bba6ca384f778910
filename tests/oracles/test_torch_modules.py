"""Modules, initialisers and optimisers under PyTorch's names give PyTorch's values, in float64.

Each row is an expression that is evaluated twice: with `minialex` and with PyTorch in the place of ``nn``.
PyTorch's parameters are loaded into ours through `state_dict`.
"""

import copy
import math
import warnings
from collections import OrderedDict

import numpy as np
import pytest

import minialex as ma
from minialex import nn, optim

torch = pytest.importorskip("torch", reason="the oracle is not installed")

TOLERANCE = 1e-12


def assert_agrees(ours, theirs):
    np.testing.assert_allclose(ours, theirs, rtol=TOLERANCE, atol=TOLERANCE)


def drawn(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).standard_normal(shape)


# An expression and the shape of its input.
MODULES = {
    "nn.Identity(3, a=4)": (2, 3),
    "nn.Sigmoid()": (2, 3, 4),
    "nn.Tanh()": (2, 3, 4),
    "nn.ReLU(inplace=True)": (2, 3, 4),
    "nn.ReLU6(True)": (2, 3, 4),
    "nn.LeakyReLU(0.2, inplace=True)": (2, 3, 4),
    "nn.LeakyReLU()": (2, 3, 4),
    "nn.PReLU()": (2, 3, 4),
    "nn.PReLU(3, 0.1)": (2, 3, 4),
    "nn.ELU(0.7)": (2, 3, 4),
    "nn.GELU()": (2, 3, 4),
    "nn.GELU('tanh')": (2, 3, 4),
    "nn.SiLU(inplace=True)": (2, 3, 4),
    "nn.Hardswish()": (2, 3, 4),
    "nn.Softplus(2, 1.5)": (2, 3, 4),
    "nn.LogSigmoid()": (2, 3, 4),
    "nn.Mish()": (2, 3, 4),
    "nn.Softmax(dim=1)": (2, 3, 4),
    "nn.LogSoftmax(dim=2)": (2, 3, 4),
    "nn.LayerNorm(4)": (2, 3, 4),
    "nn.LayerNorm([3, 4], 1e-3)": (2, 3, 4),
    "nn.LayerNorm((3, 4), elementwise_affine=False)": (2, 3, 4),
    "nn.LayerNorm(4, bias=False)": (2, 3, 4),
    "nn.GroupNorm(2, 6, 1e-3)": (2, 6, 4, 3),
    "nn.GroupNorm(3, 6, affine=False)": (2, 6, 4, 3),
    "nn.InstanceNorm2d(6)": (2, 6, 4, 3),
    "nn.InstanceNorm2d(6, 1e-3, 0.3, True, True)": (2, 6, 4, 3),
    "nn.BatchNorm1d(4)": (5, 4),
    "nn.BatchNorm1d(4, 1e-3, 0.4)": (5, 4, 3),
    "nn.BatchNorm2d(6, momentum=0.3, affine=False)": (2, 6, 4, 3),
    "nn.BatchNorm2d(6, track_running_stats=False)": (2, 6, 4, 3),
    "nn.BatchNorm2d(6, momentum=None)": (2, 6, 4, 3),
    "nn.Linear(4, 3)": (2, 5, 4),
    "nn.AdaptiveAvgPool2d((3, None))": (2, 3, 7, 5),
    "nn.AdaptiveMaxPool2d(2)": (2, 3, 7, 5),
    "nn.Conv1d(4, 6, 3, 2, 1, groups=2)": (2, 4, 9),
    "nn.Conv1d(4, 6, 3, padding=2, padding_mode='circular', bias=False)": (2, 4, 9),
    "nn.Conv2d(4, 6, 3, padding=(1, 2), padding_mode='reflect')": (2, 4, 7, 6),
    "nn.Conv2d(4, 6, (3, 2), padding='same', padding_mode='replicate', dilation=2)": (2, 4, 7, 6),
    "nn.ConvTranspose2d(4, 6, 3)": (2, 4, 5, 4),
    "nn.ConvTranspose2d(4, 6, (3, 2), (2, 3), (1, 0), (1, 2), 2, False, (2, 1))": (2, 4, 5, 4),
    "nn.ZeroPad2d((1, 2, 0, 3))": (2, 3, 5, 4),
    "nn.ReflectionPad2d(2)": (2, 3, 5, 4),
    "nn.ReplicationPad2d((3, 0, 1, 2))": (2, 3, 5, 4),
    "nn.Unfold((3, 2), padding=1, stride=2)": (2, 3, 5, 4),
    "nn.Fold((5, 6), 3)": (2, 36, 12),
    "nn.Upsample(scale_factor=2.0)": (2, 3, 5, 4),
    "nn.Upsample((7, 9), mode='bilinear', align_corners=True)": (2, 3, 5, 4),
    "nn.Upsample(scale_factor=1.7, mode='bilinear', recompute_scale_factor=True)": (2, 3, 5, 4),
    "nn.Upsample(scale_factor=(1.7, 2.3), mode='bilinear')": (2, 3, 5, 4),
    "nn.Dropout2d(0.0)": (2, 3, 5, 4),
    "nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Sequential(nn.Linear(3, 2)))": (5, 4),
    "nn.Sequential(OrderedDict(a=nn.Conv2d(3, 4, 3), b=nn.BatchNorm2d(4), c=nn.ReLU()))": (2, 3, 6, 5),
}


def built(expression):
    """The module of each side in float64, with PyTorch's parameters, and none of them at its default."""
    theirs = eval(expression, {"nn": torch.nn, "OrderedDict": OrderedDict}).double()
    with torch.no_grad():
        for i, p in enumerate(theirs.parameters()):
            p += torch.tensor(drawn(*p.shape, seed=i))
    ours = eval(expression, {"nn": nn, "OrderedDict": OrderedDict}).double()
    ours.load_state_dict(theirs.state_dict())
    return ours, theirs


@pytest.mark.parametrize("expression", MODULES)
def test_a_module_computes_what_pytorchs_does(expression):
    ours, theirs = built(expression)
    shape = MODULES[expression]
    for training in (True, True, False):
        x = drawn(*shape, seed=training)
        mine = ma.tensor(x, requires_grad=True)
        other = torch.tensor(x, requires_grad=True)
        y, expected = ours.train(training)(mine), theirs.train(training)(other * 1)
        upstream = drawn(*expected.shape, seed=9)
        ours.zero_grad()
        theirs.zero_grad()
        y.backward(ma.tensor(upstream))
        expected.backward(torch.tensor(upstream))
        assert_agrees(y.numpy(), expected.detach().numpy())
        assert_agrees(mine.grad.numpy(), other.grad.numpy())
        for (name, p), (expected_name, q) in zip(
            ours.named_parameters(), theirs.named_parameters(), strict=True
        ):
            assert name == expected_name
            assert_agrees(p.grad.numpy(), q.grad.numpy())
    for name, value in ours.state_dict().items():
        assert_agrees(value, theirs.state_dict()[name].numpy())


@pytest.mark.parametrize("expression", MODULES)
def test_states_have_pytorchs_names_and_go_both_ways(expression):
    ours, theirs = built(expression)
    # The count of batches is kept where it is used.
    counted = "momentum=None" in expression
    names = {name for name in theirs.state_dict() if counted or not name.endswith("num_batches_tracked")}
    assert set(ours.state_dict()) == names
    theirs.load_state_dict(OrderedDict((k, torch.tensor(v)) for k, v in ours.state_dict().items()))


# Layers that were here before print themselves more briefly.
PRINTED_BRIEFLY = ("nn.Conv", "nn.BatchNorm", "nn.Sequential", "nn.Linear")


@pytest.mark.parametrize("expression", [each for each in MODULES if not each.startswith(PRINTED_BRIEFLY)])
def test_what_is_printed_is_what_pytorch_prints(expression):
    theirs = repr(eval(expression, {"nn": torch.nn}))
    if "Dropout2d" in expression:
        theirs = theirs.replace(", inplace=False", "")
    assert repr(eval(expression, {"nn": nn})) == theirs


@pytest.mark.parametrize("shape", [(3,), (2, 3), (2, 3, 4), (2, 3, 4, 2)])
@pytest.mark.parametrize("kind", ["Softmax", "LogSoftmax"])
def test_softmax_without_an_axis_takes_pytorchs(kind, shape):
    x = drawn(*shape)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = getattr(torch.nn, kind)()(torch.tensor(x))
    assert_agrees(getattr(nn, kind)()(ma.tensor(x)).numpy(), expected.numpy())


@pytest.mark.parametrize("size", [(9, 8), (10, 8)])
def test_a_transposed_convolution_to_a_size(size):
    ours, theirs = built("nn.ConvTranspose2d(4, 6, 3, (2, 1), 1)")
    x = drawn(2, 4, 5, 8)
    assert_agrees(
        ours(ma.tensor(x), output_size=size).detach().numpy(),
        theirs(torch.tensor(x), output_size=size).detach().numpy(),
    )


def test_an_embedding():
    ours, theirs = built("nn.Embedding(7, 3, padding_idx=-6)")
    index = np.array([[1, 2, 2], [6, 1, 0]])
    upstream = drawn(2, 3, 3)
    ours(index).backward(ma.tensor(upstream))
    theirs(torch.tensor(index)).backward(torch.tensor(upstream))
    assert_agrees(ours.weight.grad.numpy(), theirs.weight.grad.numpy())
    assert repr(ours) == repr(theirs)


WEIGHTS = np.array([0.5, 2.0, 1.0, 0.7])
LABELS = np.array([1, 3, 2])
LOSSES = {
    "nn.MSELoss()": drawn(3, 4),
    "nn.MSELoss(reduction='sum')": drawn(3, 4),
    "nn.L1Loss(reduction='none')": drawn(3, 4),
    "nn.SmoothL1Loss(beta=0.3)": drawn(3, 4),
    "nn.HuberLoss('sum', 0.7)": drawn(3, 4),
    "nn.BCEWithLogitsLoss(weight=W, pos_weight=W + 1)": 1 / (1 + np.exp(drawn(3, 4))),
    "nn.NLLLoss(weight=W, ignore_index=3)": LABELS,
    "nn.CrossEntropyLoss()": LABELS,
    "nn.CrossEntropyLoss(weight=W, ignore_index=2, reduction='sum', label_smoothing=0.1)": LABELS,
    "nn.KLDivLoss(reduction='batchmean')": np.random.default_rng(0).dirichlet(np.ones(4), 3),
    "nn.KLDivLoss(reduction='sum', log_target=True)": -np.abs(drawn(3, 4)),
}


@pytest.mark.parametrize("expression", [*LOSSES, "nn.BCELoss(weight=W)"])
def test_a_loss(expression):
    sides = []
    for of, names in ((ma, nn), (torch, torch.nn)):
        loss = eval(expression, {"nn": names, "W": of.tensor(WEIGHTS)})
        x = of.tensor(drawn(3, 4, seed=3), requires_grad=True)
        inputs, target = x, LOSSES.get(expression)
        if target is None:
            inputs, target = x.sigmoid(), np.abs(drawn(3, 4)) / 5
        value = loss(inputs, of.tensor(target))
        value.sum().backward()
        sides.append((value.detach().numpy(), x.grad.numpy(), set(loss.state_dict()), repr(loss)))
    assert_agrees(sides[0][0], sides[1][0])
    assert_agrees(sides[0][1], sides[1][1])
    assert sides[0][2] == sides[1][2]


# Hooks


def _log_of_hooks(of, names):
    """What hooks of a small network see, with one of each kind that changes something."""
    torch.manual_seed(0)
    log, handles = [], []

    def note(name, *groups):
        log.append((name, [[None if t is None else t.detach().numpy().copy() for t in g] for g in groups]))

    first, act, last = names.Linear(3, 4), names.Tanh(), names.Linear(4, 2)
    network = names.Sequential(first, act, last)
    for i, p in enumerate(network.parameters()):
        p.requires_grad_(False)
        p.copy_(of.tensor(drawn(*p.shape, seed=i).astype(np.float32)))
        p.requires_grad_(True)
    network.double()

    def double_input(module, args):
        note("pre", args)
        return args[0] * 2

    def shift_output(module, args, output):
        note("after", args, [output])
        return output + 1

    def scale_gradient(module, grad_input, grad_output):
        note("scale", grad_input, grad_output)
        return tuple(g * 3 for g in grad_input)

    handles += [
        first.register_forward_pre_hook(double_input),
        act.register_forward_hook(shift_output),
        act.register_full_backward_hook(scale_gradient),
        last.register_full_backward_hook(lambda m, i, o: note("last", i, o)),
        last.register_full_backward_hook(lambda m, i, o: note("before last", i, o), prepend=True),
        first.register_full_backward_hook(lambda m, i, o: note("first", i, o)),
        network.register_full_backward_hook(lambda m, i, o: note("all", i, o)),
        last.register_forward_hook(lambda m, a, k, o: note(f"kwargs {k}", a, [o]), with_kwargs=True),
        last.register_forward_pre_hook(lambda m, a, k: ((a[0] - 1,), k), with_kwargs=True),
    ]
    for requires_grad in (False, True):
        x = of.tensor(drawn(5, 3), requires_grad=requires_grad)
        network(x).backward(of.tensor(drawn(5, 2, seed=4)))
        if requires_grad:
            note("x", [x.grad])
    note("gradients", [p.grad for p in network.parameters()])
    for handle in handles:
        handle.remove()
    seen = len(log)
    network(of.tensor(drawn(5, 3))).sum().backward()
    assert len(log) == seen
    return log


@pytest.mark.filterwarnings("ignore:Full backward hook is firing")
def test_hooks_see_and_change_what_pytorchs_do():
    ours, theirs = _log_of_hooks(ma, nn), _log_of_hooks(torch, torch.nn)
    assert [name for name, _ in ours] == [name for name, _ in theirs]
    assert len(ours) > 12
    for (name, mine), (_, expected) in zip(ours, theirs, strict=True):
        for a, b in zip(mine, expected, strict=True):
            assert [t is None for t in a] == [t is None for t in b], name
            for t, u in zip(a, b, strict=True):
                if t is not None:
                    assert_agrees(t, u)


# Initialisers


@pytest.mark.parametrize("param", [None, 0.2])
@pytest.mark.parametrize("name", nn.init.NONLINEARITIES)
def test_gains(name, param):
    assert nn.init.calculate_gain(name, param) == pytest.approx(
        torch.nn.init.calculate_gain(name, param), rel=1e-15
    )


CALLS = [
    "normal_(t, 0.5, 2)",
    "uniform_(t, -1, 3)",
    "xavier_uniform_(t, 1.5)",
    "xavier_normal_(t, gain=2.0)",
    "kaiming_uniform_(t, a=0.3, mode='fan_out')",
    "kaiming_normal_(t, nonlinearity='relu')",
    "kaiming_normal_(t, mode='fan_out', nonlinearity='tanh')",
    "trunc_normal_(t, 0.1, 2.0, -1, 3)",
    "trunc_normal_(t, 0.0, 1.0, 3.0, 3.5)",
    "orthogonal_(t, 2)",
]


@pytest.mark.filterwarnings("ignore:mean is more than 2 std")
@pytest.mark.parametrize("call", CALLS)
def test_distributions_have_pytorchs_moments_and_limits(call):
    """Of 96,000 numbers: means and deviations agree to 5 standard errors of each side."""
    samples = []
    torch.manual_seed(0)
    ma.manual_seed(0)
    for of, names in ((ma, nn.init), (torch, torch.nn.init)):
        t = of.zeros(80, 40, 5, 6, dtype=of.float64)
        assert eval(f"init.{call}", {"init": names, "t": t}) is t
        samples.append(t.numpy().ravel())
    ours, theirs = samples
    error = theirs.std() / math.sqrt(theirs.size)
    assert abs(ours.mean() - theirs.mean()) < 10 * error
    assert ours.std() == pytest.approx(theirs.std(), rel=10 / math.sqrt(2 * ours.size))
    if "normal" not in call or "trunc" in call:
        spread = theirs.max() - theirs.min()
        assert ours.max() == pytest.approx(theirs.max(), abs=(0.2 if "ortho" in call else 2e-3) * spread)
        assert ours.min() == pytest.approx(theirs.min(), abs=(0.2 if "ortho" in call else 2e-3) * spread)


@pytest.mark.parametrize("shape", [(4, 6), (6, 4), (3, 2, 2)])
def test_orthogonal_rows_or_columns(shape):
    t = nn.init.orthogonal_(ma.zeros(*shape, dtype=ma.float64), 3)
    matrix = t.numpy().reshape(shape[0], -1)
    small = matrix @ matrix.T if matrix.shape[0] <= matrix.shape[1] else matrix.T @ matrix
    assert_agrees(small, 9 * np.eye(len(small)))


# Optimisers


@pytest.fixture
def numbers_of_float64():
    """Let PyTorch keep NAdam's product of momenta, a number, in float64, too."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


OPTIMISERS = [
    ("RMSprop", {}),
    ("RMSprop", {"lr": 0.05, "alpha": 0.8, "eps": 1e-3, "weight_decay": 0.1}),
    ("RMSprop", {"momentum": 0.7, "weight_decay": 0.01}),
    ("RMSprop", {"centered": True, "momentum": 0.5}),
    ("Adagrad", {}),
    (
        "Adagrad",
        {"lr": 0.2, "lr_decay": 0.1, "weight_decay": 0.1, "initial_accumulator_value": 0.3, "eps": 1e-3},
    ),
    ("NAdam", {}),
    ("NAdam", {"lr": 0.1, "betas": (0.7, 0.9), "eps": 1e-3, "weight_decay": 0.1, "momentum_decay": 0.1}),
    ("NAdam", {"weight_decay": 0.1, "decoupled_weight_decay": True}),
]


@pytest.mark.parametrize(("name", "options"), OPTIMISERS, ids=str)
@pytest.mark.usefixtures("numbers_of_float64")
def test_an_optimiser_steps_as_pytorchs(name, options):
    shapes = [(3, 4), (5,), ()]
    ours = [nn.Parameter(np.asarray(drawn(*shape, seed=1))) for shape in shapes]
    theirs = [torch.nn.Parameter(torch.tensor(drawn(*shape, seed=1))) for shape in shapes]
    mine, other = (
        getattr(of, name)([{"params": p[:2]}, {"params": p[2:], "lr": 0.03, "weight_decay": 0.02}], **options)
        for of, p in ((optim, ours), (torch.optim, theirs))
    )
    ours_schedule = optim.lr_scheduler.ExponentialLR(mine, 0.9)
    their_schedule = torch.optim.lr_scheduler.ExponentialLR(other, 0.9)
    for step in range(12):
        mine.zero_grad(set_to_none=step % 2 == 0)
        for i, (p, q) in enumerate(zip(ours, theirs, strict=True)):
            gradient = np.asarray(drawn(*p.shape, seed=10 * step + i))
            p.grad, q.grad = ma.tensor(gradient), torch.tensor(gradient)
        mine.step()
        other.step()
        ours_schedule.step()
        their_schedule.step()
        for p, q in zip(ours, theirs, strict=True):
            assert_agrees(p.numpy(), q.detach().numpy())


@pytest.mark.parametrize("norm_type", [1, 2.0, 3, math.inf])
def test_norms_of_gradients(norm_type):
    ours, theirs = [], []
    for i, shape in enumerate([(3, 4), (5,)]):
        p, q = nn.Parameter(np.zeros(shape)), torch.nn.Parameter(torch.zeros(shape, dtype=torch.float64))
        p.grad, q.grad = ma.tensor(drawn(*shape, seed=i)), torch.tensor(drawn(*shape, seed=i))
        ours.append(p)
        theirs.append(q)
    expected = torch.nn.utils.clip_grad_norm_(theirs, 0.5, norm_type).item()
    assert nn.utils.clip_grad_norm_(ours, 0.5, norm_type) == pytest.approx(expected, rel=TOLERANCE)
    for p, q in zip(ours, theirs, strict=True):  # PyTorch divides by 1e-6 more
        np.testing.assert_allclose(p.grad.numpy(), q.grad.numpy(), rtol=3e-6)


def test_vectors_of_parameters():
    ours, theirs = built("nn.Sequential(nn.Linear(3, 2), nn.PReLU(2))")
    vector = nn.utils.parameters_to_vector(ours.parameters())
    assert_agrees(
        vector.detach().numpy(), torch.nn.utils.parameters_to_vector(theirs.parameters()).detach().numpy()
    )
    new = drawn(*vector.shape, seed=5)
    nn.utils.vector_to_parameters(ma.tensor(new), ours.parameters())
    torch.nn.utils.vector_to_parameters(torch.tensor(new), theirs.parameters())
    for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert_agrees(p.numpy(), q.detach().numpy())


def test_names_of_a_module_with_shared_parts_are_pytorchs():
    def names(of):
        shared = of.Linear(2, 2)
        network = of.Sequential(OrderedDict(a=shared, b=of.ReLU(), c=shared, d=of.Sequential(shared)))
        network = copy.deepcopy(network)
        return (
            [name for name, _ in network.named_modules()],
            [name for name, _ in network.named_modules(remove_duplicate=False)],
            [name for name, _ in network.named_children()],
            [name for name, _ in network.named_parameters(prefix="x")],
            [name for name, _ in network.named_parameters(recurse=False)],
        )

    assert names(nn) == names(torch.nn)
