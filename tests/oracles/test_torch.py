"""PyTorch as an oracle: the same calls on the same float64 arrays, up to second gradients."""

import numpy as np
import pytest

import minialex as ma
from minialex import functional as F
from minialex import optim
from minialex.checking.testing.compare import assert_close
from minialex.models import create_model
from minialex.optim import lr_scheduler

torch = pytest.importorskip("torch", reason="the peer that is compared with; install the CPU build of torch")

TF = torch.nn.functional

# Sums of some hundred float64 terms, through up to three nested derivatives, differ by some hundred units
# of rounding; a wrong term by far more.
TOLERANCE = 1e-12


def drawn(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).standard_normal(shape)


LABELS = np.array([2, 0, 3, 3, 1, 4])
WEIGHT = np.random.default_rng(2).uniform(0.2, 3, 5)
DISTRIBUTION = np.random.default_rng(1).dirichlet(np.ones(5), size=6)


def _padded(x, left, right, top, bottom, value=0.0):
    return TF.pad(x, (left, right, top, bottom), value=value)


# A name: our function, PyTorch's, and the shapes of the inputs.
OPERATIONS = {
    "conv2d": (
        lambda x, w, b: F.conv2d(x, w, b, stride=(2, 1), padding=(1, 2)),
        lambda x, w, b: TF.conv2d(x, w, b, stride=(2, 1), padding=(1, 2)),
        [(2, 3, 7, 6), (4, 3, 3, 2), (4,)],
    ),
    "conv2d, groups and dilation": (
        lambda x, w, b: F.conv2d(x, w, b, dilation=(2, 1), groups=2),
        lambda x, w, b: TF.conv2d(x, w, b, dilation=(2, 1), groups=2),
        [(2, 4, 7, 6), (6, 2, 3, 3), (6,)],
    ),
    "conv2d, no bias, same": (
        lambda x, w: F.conv2d(x, w, padding="same"),
        lambda x, w: TF.conv2d(x, w, padding="same"),
        [(1, 2, 5, 6), (3, 2, 3, 5)],
    ),
    "conv2d, TensorFlow's SAME at stride 4": (
        lambda x, w, b: F.conv2d(x, w, b, stride=4, padding="same"),
        lambda x, w, b: TF.conv2d(_padded(x, 3, 4, 3, 4), w, b, stride=4),
        [(1, 2, 8, 8), (3, 2, 11, 11), (3,)],
    ),
    "max_pool2d": (
        lambda x: F.max_pool2d(x, 3, 2),
        lambda x: TF.max_pool2d(x, 3, 2),
        [(2, 3, 7, 9)],
    ),
    "max_pool2d, padding, dilation and ceil": (
        lambda x: F.max_pool2d(x, (3, 2), 2, 1, (1, 2), True),
        lambda x: TF.max_pool2d(x, (3, 2), 2, 1, (1, 2), True),
        [(2, 2, 8, 7)],
    ),
    "max_pool2d, same": (
        lambda x: F.max_pool2d(x, 3, 2, "same"),
        lambda x: TF.max_pool2d(_padded(x, 0, 1, 0, 1, -torch.inf), 3, 2),
        [(1, 2, 8, 4)],
    ),
    "avg_pool2d": (
        lambda x: F.avg_pool2d(x, (3, 2), 2, 1, True),
        lambda x: TF.avg_pool2d(x, (3, 2), 2, 1, True),
        [(2, 3, 7, 6)],
    ),
    "avg_pool2d, padding not counted": (
        lambda x: F.avg_pool2d(x, 3, 2, 1, False, False),
        lambda x: TF.avg_pool2d(x, 3, 2, 1, False, False),
        [(2, 3, 7, 6)],
    ),
    "local_response_norm": (
        lambda x: F.local_response_norm(x, 5, 0.9, 0.75, 1.5, "mean"),
        lambda x: TF.local_response_norm(x, 5, 0.9, 0.75, 1.5),
        [(2, 7, 3, 2)],
    ),
    "local_response_norm, sum, window beyond the channels": (
        lambda x: F.local_response_norm(x, 7, 0.2, 0.6, 2.0),
        lambda x: TF.local_response_norm(x, 7, 7 * 0.2, 0.6, 2.0),
        [(2, 3, 2, 4)],
    ),
    "batch_norm, training": (
        lambda x, w, b: F.batch_norm(x, None, None, w, b, training=True, eps=0.01),
        lambda x, w, b: TF.batch_norm(x, None, None, w, b, training=True, eps=0.01),
        [(3, 4, 2, 5), (4,), (4,)],
    ),
    "batch_norm, evaluation": (
        lambda x, w, b: F.batch_norm(x, np.arange(4.0), np.arange(1.0, 5.0), w, b),
        lambda x, w, b: TF.batch_norm(
            x, torch.arange(4, dtype=x.dtype), torch.arange(1, 5, dtype=x.dtype), w, b
        ),
        [(3, 4, 2, 5), (4,), (4,)],
    ),
    "linear": (F.linear, lambda x, w, b: TF.linear(x, w, b), [(4, 5), (3, 5), (3,)]),
    "relu": (F.relu, lambda x: TF.relu(x), [(4, 5)]),
    "softmax": (lambda x: F.softmax(x, 1), lambda x: TF.softmax(x, 1), [(3, 4, 2)]),
    "log_softmax": (lambda x: F.log_softmax(x, 0), lambda x: TF.log_softmax(x, 0), [(3, 4)]),
    "cross_entropy, labels": (
        lambda x: F.cross_entropy(x, LABELS),
        lambda x: TF.cross_entropy(x, torch.tensor(LABELS)),
        [(6, 5)],
    ),
    "cross_entropy, distribution and smoothing": (
        lambda x: F.cross_entropy(x, DISTRIBUTION, reduction="none", label_smoothing=0.1),
        lambda x: TF.cross_entropy(x, torch.tensor(DISTRIBUTION), reduction="none", label_smoothing=0.1),
        [(6, 5)],
    ),
    "cross_entropy, sum": (
        lambda x: F.cross_entropy(x, LABELS, reduction="sum"),
        lambda x: TF.cross_entropy(x, torch.tensor(LABELS), reduction="sum"),
        [(6, 5)],
    ),
    **{
        f"cross_entropy, {reduction}, smoothing {smoothing}, ignore_index {ignored}": (
            lambda x, options=options: F.cross_entropy(x, LABELS, WEIGHT, **options),
            lambda x, options=options: TF.cross_entropy(
                x, torch.tensor(LABELS), torch.tensor(WEIGHT), **options
            ),
            [(6, 5)],
        )
        for reduction in ("mean", "sum", "none")
        for smoothing in (0.0, 0.3)
        for ignored in (3, -100)
        for options in [{"reduction": reduction, "label_smoothing": smoothing, "ignore_index": ignored}]
    },
    "cross_entropy, distribution with a gradient, weights and smoothing": (
        lambda x, t: F.cross_entropy(x, t, WEIGHT, label_smoothing=0.2),
        lambda x, t: TF.cross_entropy(x, t, torch.tensor(WEIGHT), label_smoothing=0.2),
        [(6, 5), (6, 5)],
    ),
}


def results_of(function, leaf, grad, arrays):
    """The result, its gradients g for a drawn upstream u, and the gradients of g for another one.

    The second gradients are those with respect to the inputs and to u. What does not depend on an input
    (PyTorch gives None or zeros) is taken as zeros.
    """
    inputs = [leaf(array) for array in arrays]
    y = function(*inputs)
    u = leaf(drawn(*y.shape, seed=1))
    first = grad(y, inputs, u, create_graph=True)
    second_upstream = [leaf(drawn(*g.shape, seed=2)) for g in first]
    second = grad(first, [*inputs, u], second_upstream, allow_unused=True)
    seconds = [
        np.zeros(tuple(each.shape)) if g is None else as_array(g)
        for g, each in zip(second, [*inputs, u], strict=True)
    ]
    return as_array(y), [as_array(g) for g in first], seconds


def as_array(tensor):
    return np.asarray(tensor.detach().numpy())


@pytest.mark.parametrize("name", OPERATIONS)
def test_values_first_and_second_gradients(name):
    ours, theirs, shapes = OPERATIONS[name]
    arrays = [drawn(*shape) for shape in shapes]
    y, first, second = results_of(ours, lambda a: ma.Tensor(a.copy(), requires_grad=True), ma.grad, arrays)
    expected_y, expected_first, expected_second = results_of(
        theirs, lambda a: torch.tensor(a, requires_grad=True), torch.autograd.grad, arrays
    )
    assert_close(y, expected_y, TOLERANCE, name="value")
    for order, found, expected in (("first", first, expected_first), ("second", second, expected_second)):
        for i, (a, b) in enumerate(zip(found, expected, strict=True)):
            assert_close(a, b, TOLERANCE, scale=max(1.0, np.abs(b).max()), name=f"{order} gradient {i}")


LOGITS_AT_THE_ENDS = np.array(
    [
        [0, -np.inf, 1],
        [2e38, -2e38, 0],
        [-np.inf, 3, -np.inf],
        [-2e38, 2e38, 2e38],
        [-np.inf] * 3,
        [np.inf, 0, 0],
    ],
    np.float32,
)


@pytest.mark.parametrize("labels", [[2, 0, 1, 2, 1, 2], [1, 1, 0, 0, 1, 0], [-100, 0, -100, 1, -100, -100]])
@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_cross_entropy_of_infinite_and_huge_logits(labels, smoothing):
    upstream = np.array([0.5, -1, 2, 1.5, 3, 0.25], np.float32)
    options = {"reduction": "none", "label_smoothing": smoothing}
    x = ma.Tensor(LOGITS_AT_THE_ENDS, requires_grad=True)
    losses = F.cross_entropy(x, np.array(labels), **options)
    losses.backward(upstream)
    theirs = torch.tensor(LOGITS_AT_THE_ENDS, requires_grad=True)
    their_losses = TF.cross_entropy(theirs, torch.tensor(labels), **options)
    their_losses.backward(torch.tensor(upstream))
    # A row without weight has no gradient here, whatever its logits; PyTorch's is 0 * NaN.
    counted = np.array(labels) >= 0
    np.testing.assert_allclose(losses.numpy(), their_losses.detach().numpy(), rtol=1e-6)
    np.testing.assert_allclose(x.grad.numpy()[counted], theirs.grad.numpy()[counted], rtol=1e-6)
    assert not x.grad.numpy()[~counted].any()


@pytest.mark.parametrize("function", ["softmax", "log_softmax"])
def test_softmax_of_infinite_and_huge_logits(function):
    x, theirs = (
        ma.Tensor(LOGITS_AT_THE_ENDS, requires_grad=True),
        torch.tensor(LOGITS_AT_THE_ENDS, requires_grad=True),
    )
    y, right = getattr(F, function)(x, 1), getattr(TF, function)(theirs, 1)
    upstream = drawn(6, 3).astype(np.float32)
    y.backward(upstream)
    right.backward(torch.tensor(upstream))
    np.testing.assert_allclose(y.numpy(), right.detach().numpy(), rtol=1e-6)
    np.testing.assert_allclose(x.grad.numpy(), theirs.grad.numpy(), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
@pytest.mark.parametrize("weight", [None, [0.5, 1.0, 2.0]])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("rows", [0, 2])
def test_cross_entropy_of_no_rows_or_of_ignored_ones(rows, reduction, weight, smoothing):
    values, labels = drawn(rows, 3), np.full(rows, -100)
    options = {"reduction": reduction, "label_smoothing": smoothing}
    x, theirs = ma.Tensor(values, requires_grad=True), torch.tensor(values, requires_grad=True)
    loss = F.cross_entropy(x, labels, weight, **options)
    their_weight = None if weight is None else torch.tensor(weight, dtype=torch.float64)
    right = TF.cross_entropy(theirs, torch.tensor(labels), their_weight, **options)
    np.testing.assert_array_equal(loss.numpy(), right.detach().numpy())
    loss.backward(np.full(loss.shape, 0.7))
    right.backward(torch.full_like(right, 0.7))
    np.testing.assert_array_equal(x.grad.numpy(), theirs.grad.numpy())


def test_batch_norm_moves_the_running_statistics_as_pytorch_does():
    x, mean, var = drawn(3, 4, 2, 5), np.zeros(4), np.ones(4)
    their_mean, their_var = torch.zeros(4, dtype=torch.float64), torch.ones(4, dtype=torch.float64)
    F.batch_norm(ma.Tensor(x), mean, var, training=True, momentum=0.3)
    TF.batch_norm(torch.tensor(x), their_mean, their_var, training=True, momentum=0.3)
    assert_close(mean, their_mean.numpy(), TOLERANCE)
    assert_close(var, their_var.numpy(), TOLERANCE)


# Optimisers and schedules


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("SGD", {"lr": 0.1}),
        ("SGD", {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.05, "maximize": True}),
        ("Adam", {"lr": 0.1, "weight_decay": 0.05, "maximize": True}),
        ("SGD", {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.05}),
        ("SGD", {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.05, "nesterov": True}),
        ("Adam", {"lr": 0.1}),
        ("Adam", {"lr": 0.1, "betas": (0.7, 0.9), "eps": 0.01, "weight_decay": 0.05}),
        ("AdamW", {"lr": 0.1}),
        ("AdamW", {"lr": 0.1, "weight_decay": 0.3}),
    ],
)
def test_five_steps_of_an_optimiser(name, options):
    ours, theirs = ma.nn.Parameter(drawn(3, 4)), torch.nn.Parameter(torch.tensor(drawn(3, 4)))
    our_optimizer = getattr(optim, name)([ours], **options)
    their_optimizer = getattr(torch.optim, name)([theirs], **options)
    for step in range(5):
        gradient = drawn(3, 4, seed=10 + step)
        ours.grad, theirs.grad = ma.Tensor(gradient), torch.tensor(gradient)
        our_optimizer.step()
        their_optimizer.step()
        assert_close(ours.numpy(), as_array(theirs), TOLERANCE, name=f"after step {step}")


def two_optimisers():
    return optim.SGD([ma.nn.Parameter(np.zeros(1))], lr=0.4), torch.optim.SGD(
        [torch.nn.Parameter(torch.zeros(1))], lr=0.4
    )


@pytest.mark.parametrize(
    ("name", "options", "steps"),
    [
        ("StepLR", {"step_size": 3, "gamma": 0.5}, 10),
        ("MultiStepLR", {"milestones": [2, 7], "gamma": 0.1}, 10),
        ("ExponentialLR", {"gamma": 0.9}, 10),
        ("CosineAnnealingLR", {"T_max": 8, "eta_min": 0.05}, 8),  # PyTorch's rises again after T_max
    ],
)
def test_schedules(name, options, steps):
    ours, theirs = two_optimisers()
    our_schedule = getattr(lr_scheduler, name)(ours, **options)
    their_schedule = getattr(torch.optim.lr_scheduler, name)(theirs, **options)
    for step in range(steps):
        # PyTorch multiplies its rate on from step to step: one rounding error a step.
        assert ours.param_groups[0]["lr"] == pytest.approx(theirs.param_groups[0]["lr"], rel=1e-13), step
        theirs.step()
        our_schedule.step()
        their_schedule.step()
    assert ours.param_groups[0]["lr"] == pytest.approx(theirs.param_groups[0]["lr"], rel=1e-13)


def test_plateau():
    ours, theirs = two_optimisers()
    options = {"factor": 0.5, "patience": 1, "threshold": 0.05, "min_lr": 0.02}
    our_schedule = lr_scheduler.ReduceLROnPlateau(ours, **options)
    their_schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(theirs, **options)
    for metric in [5, 4, 3.9, 3.85, 3.7, 3.7, 3.7, 2, float("nan"), float("nan"), 1.99, 2, 2, 2, 2, 2, 2]:
        our_schedule.step(metric)
        their_schedule.step(metric)
        assert ours.param_groups[0]["lr"] == theirs.param_groups[0]["lr"]
    assert ours.param_groups[0]["lr"] == 0.02, "the metrics should have brought the rate down to its limit"


# A whole network


def torchvision_alexnet():
    """torchvision.models.alexnet as a sequence, without its dropout."""
    nn = torch.nn
    return nn.Sequential(
        *(nn.Conv2d(3, 64, 11, stride=4, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2)),
        *(nn.Conv2d(64, 192, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2)),
        *(nn.Conv2d(192, 384, 3, padding=1), nn.ReLU()),
        *(nn.Conv2d(384, 256, 3, padding=1), nn.ReLU()),
        *(nn.Conv2d(256, 256, 3, padding=1), nn.ReLU(), nn.MaxPool2d(3, 2), nn.Flatten()),
        *(nn.Linear(9216, 4096), nn.ReLU()),
        *(nn.Linear(4096, 4096), nn.ReLU()),
        nn.Linear(4096, 1000),
    )


def test_alexnet_torchvision_trains_one_step_as_pytorch_s():
    """In float32, as users run it: logits, loss and every update agree to 1e-4 of their norm.

    Twelve layers in another order of additions cost some 1e-6; where that turns a ReLU or a pool's winner,
    one element of a gradient changes by much, the norm by little.
    """
    ours, theirs = create_model("alexnet_torchvision").eval(), torchvision_alexnet()
    with torch.no_grad():
        for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
            q.copy_(torch.from_numpy(p.numpy()))
    before = [p.numpy().copy() for p in ours.parameters()]
    images, labels = drawn(2, 3, 224, 224).astype(np.float32), np.array([3, 700])
    options = {"lr": 0.01, "momentum": 0.9, "weight_decay": 5e-4}
    our_optimizer = optim.SGD(ours.parameters(), **options)
    their_optimizer = torch.optim.SGD(theirs.parameters(), **options)

    logits, their_logits = ours(ma.Tensor(images)), theirs(torch.from_numpy(images))
    loss = F.cross_entropy(logits, labels)
    their_loss = TF.cross_entropy(their_logits, torch.tensor(labels))
    loss.backward()
    their_loss.backward()
    our_optimizer.step()
    their_optimizer.step()

    assert_same_up_to_norm(logits.numpy(), as_array(their_logits), "logits")
    assert loss.item() == pytest.approx(their_loss.item(), rel=1e-6)
    parameters = zip(ours.named_parameters(), theirs.parameters(), before, strict=True)
    for (name, p), q, start in parameters:
        assert_same_up_to_norm(p.grad.numpy(), as_array(q.grad), f"gradient of {name}")
        # A parameter moves between float32 numbers, which may be further apart than updates differ.
        apart = float(np.finfo(np.float32).eps * np.linalg.norm(start))
        assert_same_up_to_norm(p.numpy() - start, as_array(q) - start, f"update of {name}", apart)


def assert_same_up_to_norm(actual, expected, name, rounding=0.0):
    assert actual.shape == expected.shape
    assert np.linalg.norm(actual - expected) < 1e-4 * np.linalg.norm(expected) + rounding, name
