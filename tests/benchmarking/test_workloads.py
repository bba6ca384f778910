"""What kernels are timed on."""

import numpy as np
import pytest

from minialex.benchmarking.workloads import awkward_workloads, model_workloads, workloads
from minialex.checking.testing.strategies import MUTATED
from minialex.errors import KernelError, ModelError
from minialex.kernels import list_kernels


def by_operation(found, operation):
    return [each for each in found if each.operation == operation]


def test_the_convolutions_of_alexnet():
    """Shapes and products as the paper's network has them; see the table of `minialex summary`."""
    every = model_workloads("alexnet", 2)
    found = by_operation(every, "conv2d.forward")
    assert [each.name for each in found] == [f"alexnet conv{i}" for i in range(1, 6)]
    assert [each.operations for each in found] == [
        2 * 2 * macs for macs in (105_415_200, 223_948_800, 149_520_384, 112_140_288, 74_760_192)
    ]
    # Nobody asks for the gradient of the images.
    assert [each.name for each in by_operation(every, "conv2d.input_grad")] == [
        f"alexnet conv{i}" for i in range(2, 6)
    ]
    assert found[1].shapes == ((2, 96, 27, 27), (256, 48, 5, 5), (256,))
    window = {"stride": (1, 1), "padding": ((2, 2), (2, 2)), "dilation": (1, 1)}
    assert found[1].parameters == {**window, "groups": 2}


def test_layers_that_make_the_same_call_share_it():
    names = [each.name for each in by_operation(model_workloads("alexnet", 2), "relu.forward")]
    assert "alexnet relu3, relu4" in names


def test_the_dense_layers_and_their_updates():
    found = model_workloads("alexnet", 3)
    shapes = [((3, 4096), (3, 9216)), ((3, 4096), (3, 4096)), ((3, 1000), (3, 4096))]
    assert [each.shapes for each in by_operation(found, "linear.weight_grad")] == shapes
    assert (4096, 9216) in {each.shapes[0] for each in by_operation(found, "sgd.update")}


def test_every_operation_has_a_workload():
    """An operation that is added needs a line in workloads.py, or `minialex bench` cannot time it."""
    found = {each.operation for each in awkward_workloads()}
    assert {entry.operation for entry in list_kernels()} <= found


@pytest.mark.parametrize("each", awkward_workloads(), ids=lambda each: f"{each.operation} {each.name}")
def test_arrays_are_as_described(each):
    assert each.changes == MUTATED.get(each.operation, ())
    for dtype in (np.float32, np.float64):
        for array, shape in zip(each.draw(dtype), each.shapes, strict=True):
            assert array.shape == shape
            assert array.dtype in (dtype, np.int32)
            assert np.isfinite(array).all()
    first, again = each.draw(np.float32), each.draw(np.float32)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))


def test_winners_lie_in_the_image():
    for each in by_operation(awkward_workloads(), "max_pool2d.scatter"):
        _, index = each.draw(np.float32)
        height, width = each.parameters["input_size"]
        assert 0 <= index.min() <= index.max() < height * width
        assert index.max() > 0.9 * height * width


def test_choosing():
    directions = {"conv2d.forward", "conv2d.input_grad", "conv2d.weight_grad"}
    assert {each.operation for each in workloads("conv2d", "awkward", 1)} == directions
    assert {each.operation for each in workloads("relu.backward", "all", 1)} == {"relu.backward"}


@pytest.mark.parametrize(
    ("arguments", "kind", "says"),
    [
        (("conv3d", "awkward", 1), KernelError, "conv3d.*conv2d"),
        (("conv2d", "vgg", 1), ModelError, "vgg"),
        (("conv2d", "alexnet", 0), KernelError, "batch must be an integer 1 or more, not 0"),
        (("batch_norm", "alexnet", 1), KernelError, "--shapes alexnet"),
    ],
)
def test_refused(arguments, kind, says):
    with pytest.raises(kind, match=says):
        workloads(*arguments)
