"""The example calls: each operation has some of each kind, and their arrays are as they are described."""

import numpy as np
import pytest

from minialex.errors import KernelError
from minialex.kernels import find_kernel, kernel, list_kernels, output_shape, unregister
from minialex.kernels.contract import examples as registered
from minialex.kernels.contract.examples import (
    Example,
    case,
    changed_by,
    distinct,
    drawn_example,
    example_calls,
    examples,
    operations_with_examples,
)

OPERATIONS = sorted({entry.operation for entry in list_kernels()})
KINDS = ("small", "blocks", "awkward")
ALL = [(kind, each) for kind in KINDS for name in OPERATIONS for each in example_calls(name, kind)]
every_example = pytest.mark.parametrize(
    ("kind", "example"), ALL, ids=[f"{kind} {each.operation} {each.name}" for kind, each in ALL]
)


def test_every_operation_has_examples_of_each_kind():
    """An operation that is added needs examples.py, or nobody can check or time it."""
    assert operations_with_examples() == OPERATIONS
    for kind in KINDS:
        assert {each.operation for of_kind, each in ALL if of_kind == kind} == set(OPERATIONS)


@every_example
def test_arrays_are_as_described(kind, example):
    for dtype in (np.float32, np.float64):
        arrays, blank = example.arrays(dtype), example.undefined(dtype)
        for array, empty, shape in zip(arrays, blank, example.shapes, strict=True):
            if array is None:
                assert empty is None
                continue
            assert array.shape == empty.shape == shape
            assert array.dtype == empty.dtype
            assert array.dtype in (dtype, np.int32, np.uint32)
            assert np.isfinite(array).all()
    again = example.arrays(np.float64)
    for a, b in zip(arrays, again, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_the_reference_takes_the_small_examples_and_changes_what_they_say(operation):
    reference = find_kernel(operation, algo="reference")
    for example in example_calls(operation, "small"):
        arrays = example.arrays(np.float64)
        before = [None if a is None else a.copy() for a in arrays]
        reference(*arrays, **example.parameters)
        changed = [
            i
            for i, (a, b) in enumerate(zip(arrays, before, strict=True))
            if a is not None and not np.array_equal(a, b)
        ]
        assert tuple(changed) == example.changes == changed_by(operation)


@pytest.mark.parametrize("operation", ["conv2d", "max_pool2d", "avg_pool2d"])
def test_the_gradients_of_an_example_have_the_shape_of_its_result(operation):
    backward = {"max_pool2d": "scatter"}.get(operation, "input_grad")
    for kind in (*KINDS, "usual"):
        pairs = zip(
            example_calls(f"{operation}.forward", kind),
            example_calls(f"{operation}.{backward}", kind),
            strict=True,
        )
        for forward, gradient in pairs:
            y = output_shape(operation, *forward.shapes, **forward.parameters)
            assert gradient.shapes[0] == y
            assert gradient.parameters["input_size"] == forward.shapes[0][2:]


def test_winners_lie_in_the_image():
    for example in example_calls("max_pool2d.scatter", "awkward"):
        _, index = example.arrays(np.float32)
        height, width = example.parameters["input_size"]
        assert 0 <= index.min() <= index.max() < height * width
        assert index.max() > 0.9 * height * width


def test_distinct_arrays_of_a_call_share_no_value():
    values = np.concatenate([a.ravel() for a in Example("", (distinct((4, 5)),) * 4).arrays(np.float32)])
    gaps = np.diff(np.sort(values))
    assert gaps.min() >= 1 / 32
    assert np.abs(values).min() >= 1 / 32


def test_the_statistics_of_the_backward_pass_are_those_of_its_batch():
    for example in example_calls("batch_norm.backward", "blocks"):
        _, x, _, mean, var = example.arrays(np.float64)
        rows = np.moveaxis(x, example.parameters["axis"], 0).reshape(mean.size, -1)
        np.testing.assert_allclose(mean, [sum(row) / len(row) for row in rows], atol=1e-14)
        np.testing.assert_allclose(var, [np.var(row) for row in rows], atol=1e-14)


def test_an_operation_without_examples_is_refused():
    with pytest.raises(KernelError, match=r"'conv3d.forward' has no example calls; .*conv2d.forward"):
        next(example_calls("conv3d.forward", "small"))


def test_examples_that_nobody_draws_are_refused(monkeypatch):
    monkeypatch.setattr(registered, "_families", dict(registered._families))

    @examples("nothing drawn.forward", small=[case((2,))])
    def nothing_drawn(x):
        yield Example("nothing drawn.forward", (distinct(x),))

    with pytest.raises(KernelError, match=r"nothing drawn.forward cannot be drawn: .* drawn="):
        drawn_example("nothing drawn.forward", None)


# Examples of plug-ins, which may be wrong


@pytest.fixture
def swish(monkeypatch):
    """A kernel swish.forward(x), for the length of a test; registers examples of it."""
    monkeypatch.setattr(registered, "_families", dict(registered._families))

    @kernel("swish.forward", algo="reference")
    def swish(x):
        return x / (1 + np.exp(-x))

    def register(build, small=None, drawn=None):
        small = [case((3, 4))] if small is None else small
        examples("swish.forward", small=small, drawn=drawn)(build)

    yield register
    unregister("swish.forward", algo="reference")


def right(x):
    yield Example("swish.forward", (distinct(x),))


def of_operands(operands, parameters=None):
    return lambda x: [Example("swish.forward", operands, parameters or {})]


@pytest.mark.parametrize(
    ("build", "says"),
    [
        (lambda x: None, "must yield examples, not return None"),
        (lambda x: [(3, 4)], r"must yield Example\(...\), not \(3, 4\)"),
        (lambda x: [Example("swish.backward", (distinct(x),))], "yields no Example of swish.forward"),
        (lambda x, y: [], "does not take its arguments: missing .*'y'; it takes \\(x, y\\)"),
        (of_operands((np.ones((3, 4)),)), "an operand must be an Operand, .* not an array of float64"),
        (of_operands(distinct((3, 4))), "operands must be a tuple, .* not an Operand"),
        (of_operands((distinct(3),)), "shape of an operand must be a tuple of integers, not 3"),
        (of_operands((distinct((3,)),), [1]), r"parameters must be a mapping by name, not \[1\]"),
        (of_operands((distinct((3,)),) * 2), "kernel swish does not take the call: too many positional"),
        (of_operands((distinct((3,)),), {"beta": 1}), "kernel swish does not take the call: .*'beta'"),
    ],
)
def test_a_wrong_example_is_named_with_its_case(swish, build, says):
    swish(build)
    with pytest.raises(KernelError, match=rf"^examples of swish\.forward, case '\(3, 4\)': .*{says}"):
        list(example_calls("swish.forward", "small"))
    swish(build, drawn=lambda choose: case((3, 4)))
    with pytest.raises(KernelError, match=rf"^examples of swish\.forward, drawn by <lambda>: .*{says}"):
        drawn_example("swish.forward", None)


@pytest.mark.parametrize(
    ("small", "says"),
    [
        ([(3, 4)], r", case '\(3, 4\)': it must be case\(...\), not \(3, 4\)"),
        ({"plain": (3, 4)}, r", case 'plain': it must be case\(...\), not \(3, 4\)"),
        (case((3, 4)), r": small must be a sequence of case\(...\), or a mapping of them by name, not Arg"),
    ],
)
def test_a_case_that_is_none_is_refused(swish, small, says):
    swish(right, small)
    with pytest.raises(KernelError, match=f"^examples of swish\\.forward{says}"):
        list(example_calls("swish.forward", "small"))


def test_what_is_drawn_must_be_a_case(swish):
    def draw(choose):
        return None

    swish(right, drawn=draw)
    with pytest.raises(KernelError, match=r"swish\.forward, drawn by draw: it must be case\(...\), not None"):
        drawn_example("swish.forward", None)


def test_what_changes_is_not_known_without_a_small_case(swish):
    swish(right, small=())
    with pytest.raises(KernelError, match=r"swish\.forward: there is no small case"):
        changed_by("swish.forward")
