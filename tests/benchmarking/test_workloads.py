"""What kernels are timed on."""

import pytest

from minialex.benchmarking.workloads import model_workloads, workloads
from minialex.errors import KernelError, ModelError
from minialex.kernels import kernel, unregister
from minialex.kernels.contract import examples as registered


def by_operation(found, operation):
    return [each for each in found if each.operation == operation]


def test_the_convolutions_of_alexnet():
    """Shapes and products as the paper's network has them; see the table of `minialex summary`."""
    every = model_workloads("alexnet", 2)
    found = by_operation(every, "conv2d.forward")
    assert [each.name for each in found] == [f"alexnet conv{i}" for i in range(1, 6)]
    assert [each.products for each in found] == [
        2 * macs for macs in (105_415_200, 223_948_800, 149_520_384, 112_140_288, 74_760_192)
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


def test_choosing():
    directions = {"conv2d.forward", "conv2d.forward_relu", "conv2d.input_grad", "conv2d.weight_grad"}
    assert {each.operation for each in workloads("conv2d", "awkward", 1)} == directions
    assert {each.operation for each in workloads("relu.backward", "all", 1)} == {"relu.backward"}


@pytest.fixture
def swish(monkeypatch):
    """A kernel of an operation of one's own, for the length of a test."""
    registered.operations_with_examples()  # What is loaded later would go with the copy.
    monkeypatch.setattr(registered, "_families", dict(registered._families))
    kernel("swish.forward", algo="mine")(lambda x: x)
    yield
    unregister("swish.forward", algo="mine")


@pytest.mark.usefixtures("swish")
def test_an_operation_without_examples_says_how_to_register_some():
    with pytest.raises(KernelError, match=r"'swish' has no example calls to time; .* @examples") as refused:
        workloads("swish", "all", 1)
    assert "--shapes" not in str(refused.value)
    registered.examples("swish.forward", small=[registered.case((3,))])(lambda x: [])
    with pytest.raises(KernelError, match=r"not called with --shapes all; give its .* the cases awkward="):
        workloads("swish", "all", 1)


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
