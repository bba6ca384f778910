"""RMSprop, Adagrad, NAdam, LARS and LAMB against their formulas in plain Python floats."""

import json
import math

import numpy as np
import pytest

import minialex as ma
from minialex import optim
from minialex.errors import CheckpointError, MiniAlexError
from minialex.nn import Parameter

START = (1.5, -2.0, 0.25)
GRADIENTS = ((0.5, -1.0, 2.0), (-0.25, -0.5, 1.0), (1.0, 3.0, -2.0), (0.125, 0.0, 0.5))


def norm(values):
    return math.sqrt(sum(value * value for value in values))


def rmsprop(p, gradients, *, lr, alpha=0.99, eps=1e-8, weight_decay=0.0, momentum=0.0, centered=False):
    p, s, a, b = list(p), [0.0] * 3, [0.0] * 3, [0.0] * 3
    for gradient in gradients:
        for i, g in enumerate(gradient):
            g += weight_decay * p[i]
            s[i] = alpha * s[i] + (1 - alpha) * g * g
            a[i] = alpha * a[i] + (1 - alpha) * g
            size = math.sqrt(s[i] - (a[i] ** 2 if centered else 0)) + eps
            b[i] = momentum * b[i] + g / size
            p[i] -= lr * b[i]
    return p


def adagrad(p, gradients, *, lr, lr_decay=0.0, weight_decay=0.0, initial_accumulator_value=0.0, eps=1e-10):
    p, s = list(p), [initial_accumulator_value] * 3
    for t, gradient in enumerate(gradients):
        for i, g in enumerate(gradient):
            g += weight_decay * p[i]
            s[i] += g * g
            p[i] -= lr / (1 + t * lr_decay) * g / (math.sqrt(s[i]) + eps)
    return p


def nadam(
    p,
    gradients,
    *,
    lr,
    betas=(0.9, 0.999),
    eps=1e-8,
    weight_decay=0.0,
    momentum_decay=4e-3,
    decoupled_weight_decay=False,
):
    """Dozat 2016, with the schedule of the momentum from its section 2."""

    def mu(t):
        return betas[0] * (1 - 0.5 * 0.96 ** (t * momentum_decay))

    p, m, v = list(p), [0.0] * 3, [0.0] * 3
    for t, gradient in enumerate(gradients, start=1):
        product = math.prod(mu(i) for i in range(1, t + 1))
        for i, g in enumerate(gradient):
            if decoupled_weight_decay:
                p[i] -= lr * weight_decay * p[i]
            else:
                g += weight_decay * p[i]
            m[i] = betas[0] * m[i] + (1 - betas[0]) * g
            v[i] = betas[1] * v[i] + (1 - betas[1]) * g * g
            n = mu(t + 1) * m[i] / (1 - product * mu(t + 1)) + (1 - mu(t)) * g / (1 - product)
            p[i] -= lr * n / (math.sqrt(v[i] / (1 - betas[1] ** t)) + eps)
    return p


def lars(p, gradients, *, lr, momentum=0.9, weight_decay=0.0, trust_coefficient=1e-3, eps=1e-8):
    """You, Gitman and Ginsburg 2017, algorithm 1."""
    p, v = list(p), [0.0] * 3
    for gradient in gradients:
        rate = trust_coefficient * norm(p) / (norm(gradient) + weight_decay * norm(p) + eps)
        for i, g in enumerate(gradient):
            v[i] = momentum * v[i] + lr * rate * (g + weight_decay * p[i])
        p = [value - step for value, step in zip(p, v, strict=True)]
    return p


def lamb(p, gradients, *, lr, betas=(0.9, 0.999), eps=1e-6, weight_decay=0.0):
    """You et al. 2020, algorithm 2."""
    p, m, v = list(p), [0.0] * 3, [0.0] * 3
    for t, gradient in enumerate(gradients, start=1):
        u = []
        for i, g in enumerate(gradient):
            m[i] = betas[0] * m[i] + (1 - betas[0]) * g
            v[i] = betas[1] * v[i] + (1 - betas[1]) * g * g
            root = math.sqrt(v[i] / (1 - betas[1] ** t))
            u.append(m[i] / (1 - betas[0] ** t) / (root + eps) + weight_decay * p[i])
        ratio = norm(p) / norm(u)
        p = [value - lr * ratio * step for value, step in zip(p, u, strict=True)]
    return p


CASES = [
    (optim.RMSprop, rmsprop, {"lr": 0.1}),
    (optim.RMSprop, rmsprop, {"lr": 0.1, "alpha": 0.8, "eps": 0.1, "weight_decay": 0.05}),
    (optim.RMSprop, rmsprop, {"lr": 0.1, "momentum": 0.9, "centered": True}),
    (optim.Adagrad, adagrad, {"lr": 0.1}),
    (
        optim.Adagrad,
        adagrad,
        {"lr": 0.1, "lr_decay": 0.2, "weight_decay": 0.05, "initial_accumulator_value": 0.3, "eps": 0.1},
    ),
    (optim.NAdam, nadam, {"lr": 0.1}),
    (optim.NAdam, nadam, {"lr": 0.1, "betas": (0.7, 0.9), "eps": 0.1, "weight_decay": 0.05}),
    (
        optim.NAdam,
        nadam,
        {"lr": 0.1, "weight_decay": 0.5, "decoupled_weight_decay": True, "momentum_decay": 0.5},
    ),
    (optim.LARS, lars, {"lr": 0.1}),
    (
        optim.LARS,
        lars,
        {"lr": 0.1, "momentum": 0.5, "weight_decay": 0.1, "trust_coefficient": 0.5, "eps": 0.1},
    ),
    (optim.LAMB, lamb, {"lr": 0.1}),
    (optim.LAMB, lamb, {"lr": 0.1, "betas": (0.7, 0.9), "eps": 0.1, "weight_decay": 0.5}),
]
KINDS = [optim.RMSprop, optim.Adagrad, optim.NAdam, optim.LARS, optim.LAMB]


def parameter(values=START, dtype=np.float64, device="cpu"):
    return Parameter(np.array(values, dtype), device=device)


def stepped(optimizer, parameters, gradients=GRADIENTS):
    for values in gradients:
        for p in parameters:
            p.grad = ma.Tensor(np.array(values, p.dtype), device=p.device)
        optimizer.step()


every_case = pytest.mark.parametrize(
    ("kind", "formula", "options"), CASES, ids=lambda value: getattr(value, "__name__", str(value))
)


@every_case
def test_steps_follow_the_formula(kind, formula, options):
    p = parameter()
    stepped(kind([p], **options), [p])
    np.testing.assert_allclose(p.numpy(), formula(START, GRADIENTS, **options), rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda-host", marks=pytest.mark.needs_gxx)])
@every_case
def test_float32_is_updated_in_place_on_its_device(kind, formula, options, device):
    p = parameter(dtype=np.float32, device=device)
    memory, version = p.data, p.version
    optimizer = kind([p], **options)
    stepped(optimizer, [p])
    assert p.data is memory
    assert p.version == version + len(GRADIENTS)
    assert {value.dtype for value in optimizer.state[0].values() if isinstance(value, np.ndarray)} == {
        np.dtype(np.float32)
    }
    # Four steps of about 0.1, some ten roundings of 6e-8 in each.
    np.testing.assert_allclose(p.numpy(), formula(START, GRADIENTS, **options), rtol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_the_first_step_of_zeros_and_of_a_number_is_finite(kind):
    zeros, number = parameter((0.0, 0.0, 0.0)), Parameter(np.array(2.0))
    zeros.grad, number.grad = ma.Tensor(np.zeros(3)), ma.Tensor(np.array(0.5))
    optimizer = kind([zeros, number], lr=0.1)
    optimizer.step()
    assert zeros.tolist() == [0, 0, 0]
    assert 0 < number.item() < 2


@pytest.mark.parametrize("kind", [optim.LARS, optim.LAMB])
def test_weights_of_zero_move_by_the_rate_itself(kind):
    p = parameter((0.0, 0.0, 0.0))
    stepped(kind([p], lr=0.1), [p], GRADIENTS[:1])
    expected = -0.1 * np.array(GRADIENTS[0]) if kind is optim.LARS else -0.1 * np.sign(GRADIENTS[0])
    np.testing.assert_allclose(p.numpy(), expected, rtol=1e-5)


@every_case
def test_gradients_are_left_as_they_are_and_a_parameter_without_one_alone(kind, formula, options):
    p, q = parameter(), parameter()
    optimizer = kind([p, q], **options)
    stepped(optimizer, [p], GRADIENTS[:1])
    np.testing.assert_array_equal(p.grad.numpy(), GRADIENTS[0])
    np.testing.assert_array_equal(q.numpy(), START)
    assert list(optimizer.state) == [0]


@every_case
def test_a_loaded_state_continues_to_the_bit(kind, formula, options):
    through = [parameter(dtype=np.float32), parameter((3.0, 1.0, 2.0), np.float32)]
    optimizer = kind([{"params": through[:1]}, {"params": through[1:], "lr": 0.05}], **options)
    stepped(optimizer, through, GRADIENTS[:2])
    resumed = [parameter(p.numpy(), np.float32) for p in through]
    fresh = kind([{"params": resumed[:1]}, {"params": resumed[1:]}], lr=0.7)
    saved = optimizer.state_dict()
    saved["param_groups"] = json.loads(json.dumps(saved["param_groups"]))
    fresh.load_state_dict(saved)
    stepped(optimizer, through, GRADIENTS[2:])
    stepped(fresh, resumed, GRADIENTS[2:])
    for p, q in zip(through, resumed, strict=True):
        np.testing.assert_array_equal(q.numpy(), p.numpy())


def test_what_rmsprop_keeps_follows_from_its_options():
    p = parameter()
    optimizer = optim.RMSprop([p], momentum=0.9)
    stepped(optimizer, [p], GRADIENTS[:1])
    assert sorted(optimizer.state[0]) == ["momentum_buffer", "square_avg"]
    saved = optimizer.state_dict()
    del saved["state"][0]["momentum_buffer"]
    with pytest.raises(CheckpointError, match="keeps square_avg, momentum_buffer"):
        optimizer.load_state_dict(saved)


@pytest.mark.parametrize("kind", KINDS)
def test_groups_are_added_and_schedules_set_their_rates(kind):
    p, q = parameter(), parameter()
    optimizer = kind([p], lr=0.4)
    schedule = optim.lr_scheduler.StepLR(optimizer, 1, 0.5)
    optimizer.add_param_group({"params": q, "lr": 0.2})
    schedule.step()
    assert [group["lr"] for group in optimizer.param_groups] == [0.2, 0.1]
    stepped(optimizer, [p, q])
    assert (p.numpy() != q.numpy()).all()


@pytest.mark.parametrize("kind", [optim.SGD, *KINDS])
def test_gradients_are_forgotten_or_set_to_zero_in_their_memory(kind):
    p = parameter()
    optimizer = kind([p])
    p.grad = ma.Tensor(np.ones(3))
    memory = p.grad.data
    optimizer.zero_grad(set_to_none=False)
    assert p.grad.data is memory
    assert memory.tolist() == [0, 0, 0]
    optimizer.zero_grad()
    assert p.grad is None


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (optim.RMSprop, {"lr": 0.02}),
        (optim.RMSprop, {"lr": 0.005, "momentum": 0.8, "centered": True}),
        (optim.Adagrad, {"lr": 0.5}),
        (optim.NAdam, {"lr": 0.05}),
    ],
)
def test_least_squares_comes_near_its_solution(kind, options):
    generator = np.random.default_rng(0)
    a, solution = generator.standard_normal((20, 3)), np.array(START)
    b = a @ solution
    x = Parameter(np.zeros((3, 1)))
    optimizer = kind([x], **options)
    for _ in range(600):
        optimizer.zero_grad()
        residual = ma.Tensor(a) @ x - b[:, None]
        (residual * residual).mean().backward()
        optimizer.step()
    np.testing.assert_allclose(x.numpy()[:, 0], solution, atol=2e-2)


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        (optim.RMSprop, {"alpha": 1}, "alpha must be a number 0 or more and below 1, not 1"),
        (optim.RMSprop, {"eps": -1}, "eps must be a number 0 or more, not -1"),
        (optim.RMSprop, {"momentum": "0.9"}, "momentum must be a number 0 or more, not '0.9'"),
        (optim.Adagrad, {"lr_decay": -0.1}, "lr_decay must be"),
        (optim.Adagrad, {"initial_accumulator_value": None}, "initial_accumulator_value must be"),
        (optim.NAdam, {"betas": (0.9, 1.0)}, "betas must be two numbers, 0 or more and below 1, not"),
        (optim.NAdam, {"momentum_decay": math.nan}, "momentum_decay must be"),
        (optim.LARS, {"momentum": 1.0}, "momentum must be"),
        (optim.LARS, {"trust_coefficient": -1}, "trust_coefficient must be"),
        (optim.LAMB, {"betas": 0.9}, "betas must be"),
        (optim.LAMB, {"weight_decay": -1}, "weight_decay"),
    ],
)
def test_an_impossible_option_is_refused_by_name(kind, options, message):
    with pytest.raises(MiniAlexError, match=message):
        kind([parameter()], **options)
