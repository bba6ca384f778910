"""SGD, Adam and AdamW against their formulas in plain Python floats, over several steps."""

import json
import math

import numpy as np
import pytest

import minialex as ma
from minialex import nn, optim
from minialex.errors import CheckpointError, MiniAlexError
from minialex.nn import Parameter

START = (1.5, -2.0, 0.25)
# One gradient a step for each element; with a sign change, so that momentum and gradient disagree once.
GRADIENTS = ((0.5, -1.0, 2.0), (-0.25, -0.5, 1.0), (1.0, 3.0, -2.0), (0.125, 0.0, 0.5))


def sgd(p, gradients, *, lr, momentum=0.0, weight_decay=0.0, nesterov=False):
    """Sutskever et al. 2013 in PyTorch's form: the rate stands outside of the velocity."""
    velocity = 0.0
    for g in gradients:
        g += weight_decay * p
        velocity = momentum * velocity + g
        p -= lr * (g + momentum * velocity if nesterov else velocity)
    return p


def adam(p, gradients, *, lr, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, decoupled=False):
    """Kingma and Ba 2015, algorithm 1; decoupled: Loshchilov and Hutter 2019, algorithm 2."""
    m = v = 0.0
    for t, g in enumerate(gradients, start=1):
        if decoupled:
            p -= lr * weight_decay * p
        else:
            g += weight_decay * p
        m = betas[0] * m + (1 - betas[0]) * g
        v = betas[1] * v + (1 - betas[1]) * g**2
        p -= lr * (m / (1 - betas[0] ** t)) / (math.sqrt(v / (1 - betas[1] ** t)) + eps)
    return p


def parameter(values=START, dtype=np.float64):
    return Parameter(np.array(values, dtype))


def set_gradient(p, values):
    p.grad = ma.Tensor(np.array(values, p.dtype))


def stepped(optimizer, parameters, gradients=GRADIENTS):
    """Run the optimiser, giving every parameter the same gradients."""
    for values in gradients:
        for p in parameters:
            set_gradient(p, values)
        optimizer.step()


def by_formula(formula, start=START, gradients=GRADIENTS, **options):
    return [
        formula(p, column, **options) for p, column in zip(start, zip(*gradients, strict=True), strict=True)
    ]


def assert_equal_up_to_rounding(actual, expected):
    """A few dozen float64 operations on numbers around 1."""
    np.testing.assert_allclose(actual, expected, rtol=1e-14, atol=1e-15)


SGD_OPTIONS = [
    {"lr": 0.1},
    {"lr": 0.1, "momentum": 0.9},
    {"lr": 0.1, "momentum": 0.8, "nesterov": True},
    {"lr": 0.1, "weight_decay": 0.05},
    {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.05},
    {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.05, "nesterov": True},
]
ADAM_OPTIONS = [
    {"lr": 0.1},
    {"lr": 0.1, "betas": (0.7, 0.9), "eps": 0.1},
    {"lr": 0.1, "weight_decay": 0.05},
    {"lr": 0.1, "betas": (0.0, 0.5), "weight_decay": 0.5},
]


@pytest.mark.parametrize("options", SGD_OPTIONS, ids=str)
def test_sgd(options):
    p = parameter()
    stepped(optim.SGD([p], **options), [p])
    assert_equal_up_to_rounding(p.numpy(), by_formula(sgd, **options))


@pytest.mark.parametrize("options", ADAM_OPTIONS, ids=str)
def test_adam(options):
    p = parameter()
    stepped(optim.Adam([p], **options), [p])
    assert_equal_up_to_rounding(p.numpy(), by_formula(adam, **options))


@pytest.mark.parametrize("options", ADAM_OPTIONS, ids=str)
def test_adamw(options):
    p = parameter()
    stepped(optim.AdamW([p], **options), [p])
    assert_equal_up_to_rounding(
        p.numpy(), by_formula(adam, decoupled=True, **{"weight_decay": 1e-2, **options})
    )


def test_the_decoupled_decay_is_not_that_of_adam():
    results = [by_formula(adam, lr=0.1, weight_decay=0.5, decoupled=decoupled) for decoupled in (False, True)]
    assert np.abs(np.subtract(*results)).max() > 1e-2, "the cases above would not tell the two apart"


def test_float32_stays_float32_and_is_updated_in_place():
    p = parameter(dtype=np.float32)
    memory = p.data
    stepped(optim.Adam([p], lr=0.1), [p])
    assert p.data is memory
    assert p.dtype == np.float32
    # Four steps of about 0.1 in float32: one rounding error of 6e-8 per operation and step.
    np.testing.assert_allclose(p.numpy(), by_formula(adam, lr=0.1), rtol=2e-6)


def test_gradients_are_left_as_they_are():
    p = parameter()
    set_gradient(p, GRADIENTS[0])
    optim.SGD([p], lr=0.1, momentum=0.9, weight_decay=0.1, nesterov=True).step()
    np.testing.assert_array_equal(p.grad.numpy(), GRADIENTS[0])


def test_a_parameter_without_a_gradient_is_left_alone_decay_included():
    p, q = parameter(), parameter()
    optimizer = optim.SGD([p, q], lr=0.1, momentum=0.9, weight_decay=0.1)
    set_gradient(p, GRADIENTS[0])
    optimizer.step()
    np.testing.assert_array_equal(q.numpy(), START)
    assert list(optimizer.state) == [0]


def test_zero_grad():
    p = parameter()
    set_gradient(p, GRADIENTS[0])
    optim.SGD([p]).zero_grad()
    assert p.grad is None


# Groups


def test_groups_have_their_own_rate_and_decay():
    """As in Caffe: biases with twice the rate and no decay."""
    weight, bias = parameter(), parameter()
    groups = [{"params": weight}, {"params": [bias], "lr": 0.2, "weight_decay": 0.0}]
    stepped(optim.SGD(groups, lr=0.1, momentum=0.9, weight_decay=0.05), [weight, bias])
    assert_equal_up_to_rounding(weight.numpy(), by_formula(sgd, lr=0.1, momentum=0.9, weight_decay=0.05))
    assert_equal_up_to_rounding(bias.numpy(), by_formula(sgd, lr=0.2, momentum=0.9))


def test_a_group_can_be_added_later():
    first, second = parameter(), parameter()
    optimizer = optim.Adam([first], lr=0.1)
    stepped(optimizer, [first], GRADIENTS[:1])
    optimizer.add_param_group({"params": second, "lr": 0.3})
    stepped(optimizer, [first, second], GRADIENTS[1:])
    assert [p is q for p, q in zip(optimizer.parameters(), (first, second), strict=True)] == [True, True]
    assert_equal_up_to_rounding(first.numpy(), by_formula(adam, lr=0.1))
    assert_equal_up_to_rounding(second.numpy(), by_formula(adam, gradients=GRADIENTS[1:], lr=0.3))


# Saving and loading


OPTIMISERS = [
    (optim.SGD, {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01}),
    (optim.Adam, {"lr": 0.1, "weight_decay": 0.01}),
    (optim.AdamW, {"lr": 0.1}),
]


@pytest.mark.parametrize(("kind", "options"), OPTIMISERS)
def test_a_loaded_state_continues_to_the_bit(kind, options):
    through = [parameter(dtype=np.float32), parameter((3.0, 1.0, 2.0), np.float32)]
    groups = [{"params": through[:1]}, {"params": through[1:], "lr": 0.05}]
    optimizer = kind(groups, **options)
    stepped(optimizer, through, GRADIENTS[:2])

    resumed = [parameter(p.numpy(), np.float32) for p in through]
    fresh = kind([{"params": resumed[:1]}, {"params": resumed[1:]}], lr=0.7)  # the saved options replace it
    fresh.load_state_dict(optimizer.state_dict())
    stepped(optimizer, through, GRADIENTS[2:])
    stepped(fresh, resumed, GRADIENTS[2:])
    for p, q in zip(through, resumed, strict=True):
        np.testing.assert_array_equal(q.numpy(), p.numpy())


def test_a_loaded_state_is_a_copy():
    p, q = parameter(), parameter()
    first, second = optim.SGD([p], momentum=0.9), optim.SGD([q], momentum=0.9)
    stepped(first, [p], GRADIENTS[:1])
    second.load_state_dict(first.state_dict())
    stepped(second, [q], GRADIENTS[1:2])
    np.testing.assert_array_equal(first.state[0]["velocity"], GRADIENTS[0])


def test_the_layout_is_that_of_torch_optim():
    p, q = parameter(), parameter()
    optimizer = optim.SGD([{"params": p}, {"params": q, "lr": 0.2}], lr=0.1, momentum=0.9)
    stepped(optimizer, [p, q], GRADIENTS[:1])
    saved = optimizer.state_dict()
    assert [group["params"] for group in saved["param_groups"]] == [[0], [1]]
    assert [group["lr"] for group in saved["param_groups"]] == [0.1, 0.2]
    assert sorted(saved["state"]) == [0, 1]


def test_a_state_of_other_groups_is_refused():
    saved = optim.SGD([parameter(), parameter()]).state_dict()
    with pytest.raises(CheckpointError, match=r"groups of \[1\] parameters, the saved state of \[2\]"):
        optim.SGD([parameter()]).load_state_dict(saved)


def test_a_state_of_other_shapes_is_refused_and_nothing_is_changed():
    p = parameter()
    optimizer = optim.SGD([p], lr=0.1, momentum=0.9)
    stepped(optimizer, [p], GRADIENTS[:1])
    other = parameter((1.0, 2.0))
    foreign = optim.SGD([other], lr=0.5, momentum=0.9)
    set_gradient(other, (1.0, 1.0))
    foreign.step()
    with pytest.raises(
        CheckpointError, match=r"velocity of parameter 0 has shape \(2,\), the parameter \(3,\)"
    ):
        optimizer.load_state_dict(foreign.state_dict())
    assert optimizer.param_groups[0]["lr"] == 0.1
    np.testing.assert_array_equal(optimizer.state[0]["velocity"], GRADIENTS[0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"state": {0: {"step": 1, "m": np.zeros(3)}}},
            "keeps m, step of parameter 0, Adam keeps step, m, v",
        ),
        ({"state": {0: {"velocity": np.zeros(3)}}}, "keeps velocity of parameter 0"),
        ({"param_groups": {"lr": "x"}}, r"lr='x'; such an option is 0\.001 here"),
        ({"param_groups": {"lr": True}}, "lr=True"),
        ({"param_groups": {"lr": math.nan}}, "impossible: lr must be .*, not nan"),
        ({"param_groups": {"betas": (0.9,)}}, "betas="),
        ({"param_groups": {"betas": (0.9, "x")}}, "betas="),
    ],
)
def test_a_state_of_another_optimiser_is_refused_and_nothing_is_changed(change, message):
    adam = optim.Adam([parameter()])
    saved = adam.state_dict()
    if "param_groups" in change:
        change = {"param_groups": [saved["param_groups"][0] | change["param_groups"]]}
    with pytest.raises(CheckpointError, match=message):
        adam.load_state_dict(saved | change)
    assert adam.state == {}
    assert adam.state_dict() == saved


@pytest.mark.parametrize(
    "state",
    [
        {},
        None,
        {"state": {}, "param_groups": 1},
        {"state": {}, "param_groups": [{}]},
        {"state": 1, "param_groups": []},
        {"state": {0: 1}, "param_groups": []},
    ],
)
def test_what_is_no_state_is_refused(state):
    with pytest.raises(CheckpointError, match="the saved state must be what state_dict gives"):
        optim.SGD([parameter()]).load_state_dict(state)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        (nn.Linear(2, 2), r"params must be tensors, not Linear\(2, 2\); pass network\.parameters\(\)"),
        (nn.Sequential(nn.Linear(2, 2)), r"params must be .*; pass network\.parameters\(\)"),
        (1, "params must be a list of tensors or of groups, not 1"),
        ([1], "a parameter must be a leaf tensor, not 1"),
        ([{"params": 1}], 'the "params" of a group must be tensors, not 1'),
    ],
)
def test_what_holds_no_parameters_is_refused(params, message):
    with pytest.raises(MiniAlexError, match=message):
        optim.SGD(params)


def test_a_state_that_went_through_json_has_its_tuples_again():
    adam = optim.Adam([parameter()], betas=(0.8, 0.9))
    saved = json.loads(json.dumps(adam.state_dict()))
    fresh = optim.Adam([parameter()])
    fresh.load_state_dict(saved)
    assert fresh.param_groups[0]["betas"] == (0.8, 0.9)


def test_a_state_of_a_parameter_that_is_not_there_is_refused():
    optimizer = optim.SGD([parameter()], momentum=0.9)
    saved = optimizer.state_dict() | {"state": {1: {"velocity": np.zeros(3)}}}
    with pytest.raises(CheckpointError, match="parameter 1"):
        optimizer.load_state_dict(saved)


# What is refused


@pytest.mark.parametrize("kind", [optim.SGD, optim.Adam, optim.AdamW])
@pytest.mark.parametrize("name", ["lr", "weight_decay"])
@pytest.mark.parametrize("value", [-0.1, float("nan"), float("inf")])
def test_an_impossible_rate_or_decay_is_refused_by_name(kind, name, value):
    with pytest.raises(MiniAlexError, match=f"{name} must be a number 0 or more, not {value}"):
        kind([parameter()], **{name: value})


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        (optim.SGD, {"momentum": 1.0}, "momentum must be a number 0 or more and below 1, not 1.0"),
        (optim.SGD, {"momentum": -0.5}, "momentum must be .*, not -0.5"),
        (optim.SGD, {"momentum": float("nan")}, "momentum must be .*, not nan"),
        (optim.SGD, {"nesterov": "no", "momentum": 0.9}, "nesterov must be True or False, not 'no'"),
        (optim.RMSprop, {"centered": "no"}, "centered must be True or False, not 'no'"),
        (optim.NAdam, {"decoupled_weight_decay": 1}, "decoupled_weight_decay must be True or False, not 1"),
        (optim.SGD, {"nesterov": True}, "nesterov must be False where momentum is 0, not True"),
        (optim.Adam, {"betas": (0.9, 1.0)}, r"betas\[1\] must be .* below 1, not 1\.0"),
        (optim.Adam, {"betas": (0.9,)}, r"betas must be two numbers, not \(0\.9,\)"),
        (optim.Adam, {"betas": (-0.1, 0.9)}, r"betas\[0\] must be a number 0 or more .*, not -0\.1"),
        (optim.AdamW, {"eps": 0.0}, "eps must be a number above 0, not 0.0"),
        (optim.AdamW, {"eps": float("nan")}, "eps must be .*, not nan"),
    ],
)
def test_an_impossible_option_is_refused_by_name(kind, options, message):
    with pytest.raises(MiniAlexError, match=message):
        kind([parameter()], **options)


def test_a_group_s_own_option_is_checked_too():
    with pytest.raises(MiniAlexError, match=r"lr must be .*, not -1"):
        optim.SGD([{"params": parameter(), "lr": -1}])


def test_a_misspelt_option_of_a_group_is_refused_with_those_there_are():
    expected = r"unknown option\(s\) weight_deacy; there are: lr, momentum, weight_decay, nesterov, maximize"
    with pytest.raises(MiniAlexError, match=expected):
        optim.SGD([{"params": parameter(), "weight_deacy": 0.1}])


def test_a_group_without_parameters_is_refused():
    with pytest.raises(MiniAlexError, match="params"):
        optim.SGD([{"lr": 0.1}])


def test_groups_and_parameters_in_one_list_are_refused():
    with pytest.raises(MiniAlexError, match="mixes parameters and groups"):
        optim.SGD([parameter(), {"params": parameter()}])
    with pytest.raises(MiniAlexError, match="group"):
        optim.SGD([{"params": parameter()}, parameter()])


def test_nothing_to_optimise_is_refused():
    with pytest.raises(MiniAlexError, match="params is empty"):
        optim.SGD([])


def test_a_parameter_given_twice_is_refused():
    p = parameter()
    with pytest.raises(MiniAlexError, match=r"shape \(3,\) is given twice"):
        optim.SGD([{"params": p}, {"params": p}])


def test_results_and_arrays_are_no_parameters():
    with pytest.raises(MiniAlexError, match="a parameter must be a leaf tensor, not"):
        optim.SGD([parameter() * 2])
    with pytest.raises(MiniAlexError, match="a parameter must be a leaf tensor, not"):
        optim.SGD([np.zeros(3)])


# Convergence


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (optim.SGD, {"lr": 0.05}),
        (optim.SGD, {"lr": 0.05, "momentum": 0.8}),
        (optim.SGD, {"lr": 0.05, "momentum": 0.8, "nesterov": True}),
        (optim.Adam, {"lr": 0.05}),
        (optim.AdamW, {"lr": 0.05, "weight_decay": 0.0}),
    ],
)
def test_least_squares_converges_to_its_solution(kind, options):
    """A regression of 20 rows on 3 unknowns, whose solution NumPy finds directly."""
    generator = np.random.default_rng(0)
    a, solution = generator.standard_normal((20, 3)), np.array(START)
    b = a @ solution
    x = Parameter(np.zeros((3, 1)))
    optimizer = kind([x], **options)
    for _ in range(400):
        optimizer.zero_grad()
        residual = ma.Tensor(a) @ x - b[:, None]
        (residual * residual).mean().backward()
        optimizer.step()
    np.testing.assert_allclose(x.numpy()[:, 0], solution, atol=1e-3)


# What does not fit


@pytest.mark.parametrize("kind", [optim.SGD, optim.Adam, optim.AdamW])
@pytest.mark.parametrize(
    ("gradient", "message"),
    [
        (ma.Tensor(np.ones((1, 3))), r"gradient of parameter 1 is float64 \(1, 3\) on 'cpu', the parameter"),
        (ma.Tensor(np.ones(1)), r"float64 \(1,\) on 'cpu', the parameter float64 \(3,\)"),
        (ma.Tensor(np.ones(3, np.float32)), r"is float32 \(3,\) on 'cpu', the parameter float64 \(3,\)"),
        (np.ones(3), "of type ndarray; assign a Tensor"),
    ],
    ids=["shape", "broadcast", "dtype", "array"],
)
def test_a_gradient_that_does_not_fit_is_refused_and_nothing_changes(kind, gradient, message):
    first, second = Parameter(np.array(START)), Parameter(np.array(START))
    first.grad, second.grad = ma.Tensor(np.ones(3)), gradient
    optimizer = kind([first, second], lr=0.1)
    with pytest.raises(MiniAlexError, match=message):
        optimizer.step()
    assert first.data.tolist() == second.data.tolist() == list(START)
    assert not optimizer.state


@pytest.mark.parametrize(("kind", "options"), [(optim.SGD, {"momentum": 0.9}), (optim.Adam, {})])
def test_a_network_converted_after_a_step_needs_the_state_converted_too(kind, options):
    layer = ma.nn.Linear(2, 1)
    optimizer = kind(layer.parameters(), lr=0.1, **options)

    def step(dtype):
        for p in layer.parameters():
            p.grad = ma.Tensor(np.full(p.shape, 0.5, dtype))
        optimizer.step()

    step(np.float32)
    layer.astype(np.float64)
    with pytest.raises(MiniAlexError, match=r"of parameter 0 is float32, .* float64 on 'cpu' now: convert"):
        step(np.float64)
    before = layer.bias.item()
    optimizer.load_state_dict(optimizer.state_dict())
    step(np.float64)
    # A gradient that stays as it is: Adam moves by the rate, SGD by it and the velocity of one step before.
    moved = 0.1 if kind is optim.Adam else 0.1 * (0.5 + 0.9 * 0.5)
    assert layer.bias.item() == pytest.approx(before - moved, rel=1e-6)
    assert layer.bias.dtype == np.float64


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda-host", marks=pytest.mark.needs_gxx)])
@pytest.mark.parametrize(
    ("kind", "reference", "options"),
    [
        (optim.SGD, sgd, {"lr": 0.1, "momentum": 0.9}),
        (optim.Adam, adam, {"lr": 0.1}),
    ],
)
@pytest.mark.parametrize("layout", ["transposed", "every other", "backwards"])
def test_a_parameter_of_any_layout_is_updated_in_its_own_memory(kind, reference, options, layout, device):
    memory = np.arange(12, dtype=np.float32).reshape(3, 4)
    view = {"transposed": memory.T, "every other": memory[:, ::2], "backwards": memory[::-1, ::-1]}[layout]
    start = view.copy()
    p = ma.Tensor(view, requires_grad=True, device=device)
    optimizer = kind([p], **options)
    gradients = np.random.default_rng(2).standard_normal((2, *p.shape))
    for gradient in gradients:
        p.grad = ma.Tensor(np.asfortranarray(gradient.astype(np.float32)), device=device)
        optimizer.step()
    assert np.shares_memory(p.data, memory)
    expected = [
        reference(float(value), [float(g[at]) for g in gradients], **options)
        for at, value in np.ndenumerate(start)
    ]
    np.testing.assert_allclose(view.ravel(), expected, rtol=1e-5)


@pytest.mark.parametrize("kind", [optim.SGD, optim.Adam])
@pytest.mark.parametrize("value", ["0.1", None, 1j, True, np.array(0.1)], ids=repr)
def test_a_rate_that_is_no_number_is_refused(kind, value):
    with pytest.raises(MiniAlexError, match="lr must be"):
        kind([Parameter(np.ones(2))], lr=value)


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        (optim.Adam, {"betas": 0.9}, "betas must be two numbers, not 0.9"),
        (optim.Adam, {"betas": ("a", "b")}, r"betas\[0\] must be .*, not 'a'"),
        (optim.Adam, {"eps": None}, "eps must be .*, not None"),
        (optim.SGD, {"momentum": "0.9"}, "momentum must be .*, not '0.9'"),
    ],
)
def test_an_option_that_is_no_number_is_refused(kind, options, message):
    with pytest.raises(MiniAlexError, match=message):
        kind([Parameter(np.ones(2))], **options)


def test_one_tensor_instead_of_a_list_is_refused():
    with pytest.raises(MiniAlexError, match=r"put it into a list: \[tensor\]"):
        optim.SGD(Parameter(np.ones(2)))
