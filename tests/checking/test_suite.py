"""What a row of `minialex gradcheck` says of a kernel: checked, wrong, or unchecked, and never more."""

import importlib
import itertools
import re

import numpy as np
import pytest

import minialex as ma
from minialex.checking.kernels import cases as cases_module
from minialex.checking.kernels import suite
from minialex.checking.kernels.agreement import Setting, check_agreement
from minialex.checking.kernels.cases import Case, case_of, cases_of, make_cases
from minialex.checking.kernels.derivatives import NOT_DIFFERENTIATED
from minialex.checking.kernels.drawn_cases import case_code, drawn_calls, usual_calls
from minialex.checking.kernels.kernel_runs import KernelRuns
from minialex.checking.kernels.thin_models import model_case
from minialex.checking.testing.calls import Call
from minialex.errors import KernelError
from minialex.kernels import find_kernel, kernel, list_kernels, unregister
from minialex.kernels.contract import examples as examples_module
from minialex.kernels.contract.examples import example_calls

MINE = "mine of the suite"


@pytest.fixture
def registered():
    """Register kernels under one algorithm for the length of a test: functions by operation."""
    names = []

    def register(functions, **options):
        for operation, function in functions.items():
            kernel(operation, algo=MINE, **options)(function)
            names.append(operation)

    yield register
    for operation in names:
        unregister(operation, algo=MINE)


def reference(operation):
    return find_kernel(operation, algo="reference")


def rows(operation, **options):
    return list(suite.check_kernels(operation, MINE, "cpu", **options))


def scaled(operation, factor):
    return lambda *arrays, **parameters: reference(operation)(*arrays, **parameters) * np.float32(factor)


@pytest.mark.parametrize("factor", [1.0, 1.0005])
def test_a_kernel_for_float32_is_compared_with_the_definition(registered, factor):
    registered({"tanh.forward": scaled("tanh.forward", factor)}, dtypes=("float32",))
    first, second = rows("tanh")
    assert first.dtype == second.dtype == "float32"
    assert first.mode == "reference"
    if factor == 1:
        assert first.passed
        # Of twelve outputs each depends on one of twelve inputs.
        assert (first.compared, first.zeros) == (12, 132)
        assert 0 < first.worst_error < first.tolerance < 1e-4
    else:
        assert first.error.check == "reference"
        assert "is not the reference kernel's" in first.error.summary


def tail_forgotten(g, mask):
    """A ReLU's gradient in vectors of 32, without what is left over."""
    gradient = reference("relu.backward")(g, mask)
    if g.size > 32:
        gradient.reshape(-1)[g.size // 32 * 32 :] = 0
    return gradient


def one_tile_of_terms(a, b):
    return a[:, :16] @ b[:16]


def without_the_maximum(x, *, axis):
    with np.errstate(all="ignore"):
        e = np.exp(x)
        return e / e.sum(axis=axis, keepdims=True)


def wrong_at_stride_2(g, weight, *, call):
    gradient = reference("conv2d.input_grad")(g, weight, call=call)
    plain = call.stride == (2, 2) and not np.any(call.padding)
    return gradient * 1.01 if plain else gradient


@pytest.mark.parametrize(
    ("operation", "wrong"),
    [
        ("relu.backward", tail_forgotten),
        ("matmul.forward", one_tile_of_terms),
        ("softmax.forward", without_the_maximum),
        ("conv2d.input_grad", wrong_at_stride_2),
    ],
)
def test_kernels_that_are_wrong_beyond_small_cases(registered, operation, wrong):
    registered({operation: wrong})
    first, _ = rows(operation.split(".")[0], quick=True)
    assert first.error.check == "reference"
    try:
        exec(first.error.reproduce, names := {})
    except ma.GradcheckError:
        return  # It is wrong in a call that a network makes.
    found, expected = names["found"], names["expected"]
    assert found.shape == expected.shape
    assert not np.allclose(found, expected, rtol=1e-6, atol=1e-6)


def test_the_same_kernels_when_they_are_right(registered):
    registered({name: reference(name) for name in ("relu.backward", "relu.forward")})
    assert all(row.passed for row in rows("relu", quick=True))


def test_a_kernel_of_second_derivatives_has_no_row_of_first_ones(registered):
    registered({"max_pool2d.gather": reference("max_pool2d.gather")})
    (row,) = rows("max_pool2d", quick=True)
    assert row.order == 2
    assert row.passed
    assert row.compared


def test_cases_in_which_a_kernel_has_no_part_do_not_count(registered):
    # Half of the cases of batch_norm are those of training.
    registered({"batch_norm.evaluate": reference("batch_norm.evaluate")})
    first, _ = rows("batch_norm", quick=True)
    assert first.passed
    assert first.cases == len(list(example_calls("batch_norm.evaluate", "small")))


def test_some_directions_supporting_nothing_leave_the_kernel_unchecked(registered, monkeypatch):
    monkeypatch.setattr("minialex.checking.kernels.drawn_cases._ROUNDS", 1)
    registered({"avg_pool2d.forward": reference("avg_pool2d.forward")})
    gradient = reference("avg_pool2d.input_grad")
    registered({"avg_pool2d.input_grad": gradient}, supports=lambda g, *, call: "nothing")
    first, second = rows("avg_pool2d")
    for row in (first, second):
        assert row.unchecked
        assert not row.passed
        assert "avg_pool2d.input_grad supports: nothing" in row.unchecked


def test_nothing_but_zeros_is_unchecked(registered, monkeypatch):
    case = Case("constant", lambda x: ma.functional.relu(x), (np.array([-1.0, -2.0]),))
    monkeypatch.setattr("minialex.checking.kernels.derivatives.make_cases", lambda operation, seed: [case])
    registered({"relu.forward": reference("relu.forward"), "relu.backward": reference("relu.backward")})
    for row in rows("relu"):
        assert not row.compared
        assert row.unchecked == "no derivative that is not 0 was compared"


def test_a_kernel_that_raises_is_wrong_and_not_unsupported(registered):
    def raises(x):
        raise KernelError("grid of 0 blocks")

    registered({"exp.forward": raises})
    first, second = rows("exp")
    for row in (first, second):
        assert row.error.check == "raises"
        assert "KernelError: grid of 0 blocks" in str(row.error)
        with pytest.raises(KernelError, match="grid of 0 blocks"):
            exec(row.error.reproduce, {})


def test_a_kernel_that_promises_little_is_unchecked(registered):
    registered({"exp.forward": reference("exp.forward")}, error=0.5)
    for row in rows("exp"):
        assert "promises a relative error of 0.5" in row.unchecked


def test_a_domain_that_raises_is_a_reason(registered):
    registered({"exp.forward": reference("exp.forward")}, supports=lambda x: "nothing", domain=lambda: 1 / 0)
    for row in rows("exp"):
        assert "its domain raises ZeroDivisionError" in row.unchecked


def test_an_operation_without_cases_is_unchecked(registered):
    registered({"swish.forward": lambda x: x})
    for row in rows("swish"):
        assert "cases_of" in row.unchecked


@pytest.fixture
def swish_cases(monkeypatch):
    """A place for cases of swish, for the length of a test."""
    monkeypatch.setattr(cases_module, "_cases", dict(cases_module._cases))
    return cases_of("swish")


@pytest.mark.parametrize(
    ("cases", "says"),
    [
        (None, r"must yield Case\(...\), not return None"),
        ([("3", np.tanh, ())], r"each must be Case\(...\), not \('3'"),
        ([Case("3", np.tanh, np.ones(3))], "'3': arrays must be a tuple of arrays, not an array"),
        ([Case("3", np.tanh, (3.0,))], "'3': arrays must be a tuple of arrays, not \\(3"),
    ],
)
def test_cases_that_are_none_are_a_reason(registered, swish_cases, cases, says):
    registered({"swish.forward": lambda x: x})
    swish_cases(lambda random: cases)
    for row in rows("swish"):
        assert re.match(f"cases of swish.*{says}", row.unchecked)


def test_cases_that_run_another_kernel_are_a_reason(registered, swish_cases):
    registered({"swish.forward": lambda x: x})
    swish_cases(lambda random: [Case("3", ma.functional.relu, (np.ones(3),))])
    for row in rows("swish"):
        assert "no case of swish runs swish.forward" in row.unchecked
        assert "@cases_of" in row.unchecked


def test_an_example_that_is_none_is_a_reason(registered, swish_cases, monkeypatch):
    examples_module.operations_with_examples()  # What is loaded later would go with the copy.
    monkeypatch.setattr(examples_module, "_families", dict(examples_module._families))
    registered({"swish.forward": lambda x: x})
    swish_cases(lambda random: [Case("3", ma.functional.relu, (np.ones(3),))])
    examples_module.examples("swish.forward", blocks=[(3, 4)])(lambda x: [])
    assert rows("swish")[0].unchecked.startswith("examples of swish.forward, case '(3, 4)': it must be case")


def test_without_hypothesis_it_says_so(registered, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "minialex.checking.testing.strategies", None)
    registered({"exp.forward": reference("exp.forward")}, supports=lambda x: "nothing")
    for row in rows("exp"):
        assert "pip install hypothesis" in row.unchecked


def wrong_relu_backward(g, mask):
    return reference("relu.backward")(g, mask) * 1.5


def wrong_conv(*arrays, **window):
    return reference("conv2d.forward")(*arrays, **window) * 1.5


@pytest.mark.parametrize(
    ("functions", "options"),
    [
        ({"relu.forward": reference("relu.forward"), "relu.backward": wrong_relu_backward}, {}),
        ({"conv2d.forward": wrong_conv}, {"domain": lambda: {"windows": ((2, 2),), "empty": False}}),
        ({"tanh.forward": lambda x: np.tanh(x) * np.float32(1.5)}, {"dtypes": ("float32",)}),
    ],
    ids=["a case", "a drawn case", "float32"],
)
def test_failures_of_rows_can_be_pasted(registered, functions, options):
    if "conv2d.forward" in functions:
        options = options | {
            "supports": lambda x, weight, bias, **window: weight.shape[2:] == (2, 2) or "2 x 2 only"
        }
    registered(functions, **options)
    found = rows(next(iter(functions)).split(".")[0])
    assert [row.error is not None for row in found] == [True, True]
    for row in found:
        with pytest.raises(ma.GradcheckError) as again:
            exec(row.error.reproduce, {})
        for name in (
            "check",
            "summary",
            "input",
            "index",
            "output_index",
            "analytic",
            "numeric",
            "tolerance",
        ):
            assert getattr(again.value, name) == getattr(row.error, name), name


def test_failures_of_models_can_be_pasted(monkeypatch):
    relu = importlib.import_module("minialex.operations.relu")
    monkeypatch.setattr(relu.ReLU, "backward", lambda self, g: (g * 0.5,))
    (first, _) = suite.model_tasks("alexnet_cifar_thinner4")
    row = suite.run(first)
    assert row.error.check == "values"
    with pytest.raises(ma.GradcheckError) as again:
        exec(row.error.reproduce, {})
    assert again.value.analytic == row.error.analytic


# Of their layers of two channels, and their dropout of two features, many a draw switches off both.
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("name", ["alexnet_half", "nin", "squeezenet1_0", "squeezenet1_1"])
def test_thin_models_depend_on_each_image_for_any_seed(name, seed):
    case = model_case(name, seed)
    images, *parameters = case.arrays
    others = np.array(images)
    others[0] += np.random.default_rng(5).uniform(-0.02, 0.02, images.shape[1:])
    here, there = (case.function(*map(ma.Tensor, (x, *parameters))).numpy() for x in (images, others))
    assert np.any(here != there, axis=1).tolist() == [True, False]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", ["alexnet_half_bn", "alexnet_cifar_thinner4"])
def test_a_gradient_reaches_every_parameter_of_a_thin_model(name, seed):
    # Of seeds up to 4 some draw a layer that ReLU switches off: then 20 of 21 gradients are 0, and right.
    case = model_case(name, seed)
    inputs = [ma.Tensor(a, requires_grad=True) for a in case.arrays]
    result = case.function(*inputs)
    result.backward(np.random.default_rng(1).standard_normal(result.shape))
    assert [t.grad.any() for t in inputs] == [True] * len(inputs)


def test_drawn_calls_follow_from_the_seed_and_can_be_written_down():
    kernels = [find_kernel("conv2d.forward", algo="reference")]
    calls = [list(itertools.islice(drawn_calls("conv2d", kernels, seed), 5)) for seed in (0, 0, 1)]
    assert repr(calls[0]) == repr(calls[1]) != repr(calls[2])
    names = {"np": np}
    first = calls[0][0]
    exec("\n".join(case_code(first)), names)
    case = case_of(first)
    assert [a.tobytes() for a in names["case"].arrays] == [a.tobytes() for a in case.arrays]
    tensors = [ma.Tensor(a) for a in case.arrays]
    expected = reference("conv2d.forward")(*[*case.arrays, None][:3], **first.parameters)
    np.testing.assert_allclose(names["case"].function(*tensors).numpy(), expected, rtol=1e-12, atol=1e-12)


def forward_directions():
    operations = {entry.operation for entry in list_kernels()} - NOT_DIFFERENTIATED
    roots = {operation.split(".")[0] for operation in operations} - {*suite.WITHOUT_GRADIENT}
    return [
        name
        for root in sorted(roots)
        for name in (f"{root}.forward", f"{root}.evaluate", f"{root}.forward_relu")
        if name in operations
    ]


@pytest.mark.parametrize("operation", forward_directions())
def test_what_is_drawn_runs_the_operation(operation):
    """Each case made of a call runs that kernel with the call's arrays."""
    root = operation.split(".")[0]
    calls = (call for call in drawn_calls(root, [], 0) if call.operation == operation)
    # Without anything to drop, dropout runs no kernel.
    call = next(call for call in calls if call.parameters.get("p", 1))
    case = case_of(call)
    with KernelRuns([find_kernel(operation, algo="reference")]) as runs:
        y = case.function(*(ma.Tensor(np.array(a), requires_grad=True) for a in case.arrays))
        if root == "index_add":
            y.backward(ma.Tensor(np.ones(y.shape)))
    assert runs.run[operation] == 1
    if root not in ("index_add", "dropout"):
        expected = reference(operation)(*call.arrays, **call.parameters)
        expected = expected[0] if isinstance(expected, tuple) else expected
        np.testing.assert_allclose(y.numpy(), expected, rtol=1e-12, atol=1e-12)


def test_agreement_counts_zeros_apart():
    (case, _) = make_cases("relu", 0)
    agreement = check_agreement(
        case, Setting({"relu.forward": "plain", "relu.backward": "plain"}, jacobian=True)
    )
    positive = int((case.arrays[0] > 0).sum())
    assert (agreement.compared, agreement.zeros) == (positive, 400 - positive)


def test_runs_leave_the_registry_as_it_was():
    before = list_kernels()
    with pytest.raises(ZeroDivisionError), KernelRuns([find_kernel("exp.forward", algo="plain")]):
        raise ZeroDivisionError
    assert list_kernels() == before


def test_empty_calls_are_not_drawn():
    for call, _ in zip(drawn_calls("softmax", [], 3), range(30), strict=False):
        assert isinstance(call, Call)
        assert all(a.size for a in call.arrays)


@pytest.mark.parametrize(
    "operation", ["conv2d.forward", "conv2d.forward_relu", "max_pool2d.forward", "avg_pool2d.forward"]
)
def test_usual_calls_are_calls_of_the_operation(operation):
    root = operation.split(".")[0]
    calls = usual_calls(operation, 0)
    assert {tuple(call.parameters) for call in calls} == {tuple(next(drawn_calls(root, [], 0)).parameters)}
    windows = set()
    for call in calls[::5]:
        case = case_of(call)
        y = case.function(*map(ma.Tensor, case.arrays))
        assert y.data.size
        windows.add(call.parameters.get("kernel_size") or case.arrays[1].shape[2:])
    assert windows >= {(2, 2), (3, 3), (5, 5)}
