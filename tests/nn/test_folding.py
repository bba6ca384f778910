"""Batch normalisation folded into the convolutions before it."""

import numpy as np
import pytest

import minialex as ma
import minialex.functional as F
from minialex import nn
from minialex.errors import ModelError, ShapeError
from minialex.models import create_model
from minialex.nn.utils import fold_batch_norm, fuse_for_inference
from minialex.operations.conv2d_relu import conv2d_relu


def with_statistics(network):
    """Random parameters and running statistics in float64: those of a new network would hide mistakes."""
    generator = np.random.default_rng(3)
    for module in network.double().modules():
        if isinstance(module, nn.BatchNorm2d):
            for kept in (module.weight, module.bias):
                if kept is not None:
                    kept.data[...] = generator.uniform(-2, 2, kept.shape)
            if module.running_mean is not None:
                module.running_mean[...] = generator.normal(0, 1, module.running_mean.shape)
                module.running_var[...] = generator.uniform(0.2, 3, module.running_var.shape)
    return network.eval()


def norms_left(network):
    return [name for name, module in network.named_modules() if isinstance(module, nn.BatchNorm2d)]


def assert_same(network, folded, shape):
    x = ma.randn(*shape, dtype="float64")
    with ma.no_grad():
        expected, found = network(x).numpy(), folded(x).numpy()
    error = np.linalg.norm(found - expected) / np.linalg.norm(expected)
    assert error < 1e-12


@pytest.mark.parametrize(
    ("name", "left"), [("shufflenet_v2_x1_0", 0), ("resnet18", 0), ("mobilenet_v2", 0), ("densenet121", 62)]
)
def test_models_give_the_same_with_fewer_layers(name, left):
    network = with_statistics(create_model(name, 5))
    shape = (2, 3, 64, 64)
    folded = fold_batch_norm(network, shape)
    remaining = norms_left(folded)
    # Of DenseNet each first normalisation of a layer reads concatenated maps, not a convolution's.
    assert len(remaining) == left
    assert len(norms_left(network)) > len(remaining)
    assert_same(network, folded, shape)


def test_without_weights_biases_and_with_groups():
    network = nn.Sequential(
        nn.Conv2d(4, 8, 3, groups=2, bias=False),
        nn.BatchNorm2d(8, affine=False),
        nn.Conv2d(8, 6, 1),
        nn.BatchNorm2d(6, bias=False, eps=0.1),
    )
    folded = fold_batch_norm(with_statistics(network), (2, 4, 7, 6))
    assert norms_left(folded) == []
    assert_same(network, folded, (2, 4, 7, 6))


class Odd(nn.Module):
    """What must not be folded: a result that is read twice, a layer that runs twice, another order."""

    def __init__(self):
        super().__init__()
        self.read_twice, self.norm1 = nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.runs_twice, self.norm2 = nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.between, self.norm3 = nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.batch_only, self.norm4 = nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4, track_running_stats=False)

    def forward(self, x):
        y = self.read_twice(x)
        x = self.norm1(y) + y.reshape(y.shape)
        x = self.norm2(self.runs_twice(self.runs_twice(x)))
        x = self.norm3(F.relu(self.between(x)))
        return self.norm4(self.batch_only(x))


def test_what_is_not_the_same_is_left():
    network = with_statistics(Odd())
    folded = fold_batch_norm(network, (2, 4, 5, 5))
    assert norms_left(folded) == ["norm1", "norm2", "norm3", "norm4"]
    assert_same(network, folded, (2, 4, 5, 5))


def test_the_network_itself_stays():
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    weight = network[0].weight.numpy().copy()
    folded = fold_batch_norm(network, (1, 3, 8, 8))
    assert network.training
    assert not folded.training
    assert isinstance(network[1], nn.BatchNorm2d)
    assert isinstance(folded[1], nn.Identity)
    np.testing.assert_array_equal(network[0].weight.numpy(), weight)
    folded[0].weight.data[:] = 0
    np.testing.assert_array_equal(network[0].weight.numpy(), weight)


def relus_left(network):
    return [name for name, module in network.named_modules() if isinstance(module, nn.ReLU)]


@pytest.mark.parametrize(
    ("name", "left"),
    # Those behind sums, behind a normalisation that is left, behind dense layers.
    [("resnet18", 8), ("squeezenet1_1", 0), ("densenet121", 62), ("vgg11_bn", 2)],
)
def test_relu_becomes_a_step_of_the_convolution_before_it(name, left):
    network = with_statistics(create_model(name, 5))
    shape = (2, 3, 64, 64)
    fused = fuse_for_inference(network, shape)
    assert len(relus_left(fused)) == left
    assert len(relus_left(network)) > left
    assert_same(network, fused, shape)


def test_relu_stays_where_something_else_reads_the_convolution():
    class ReadTwice(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.relu = nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect"), nn.ReLU()
            self.again, self.act = nn.Conv2d(4, 4, 1), nn.ReLU()

        def forward(self, x):
            y = self.conv(x)
            return self.act(self.again(self.relu(y) - y))

    network = ReadTwice().double()
    fused = fuse_for_inference(network, (2, 3, 6, 5))
    assert relus_left(fused) == ["relu"]
    assert_same(network, fused, (2, 3, 6, 5))


class Joined(nn.Module):
    """Concatenated maps before ReLU and batch normalisation, of which some must stay as they are."""

    def __init__(self):
        super().__init__()
        self.left, self.right, self.read = (nn.Conv2d(3, n, 3, padding=1) for n in (2, 4, 5))
        self.relu1, self.relu2, self.relu3, self.norm = nn.ReLU(), nn.ReLU(), nn.ReLU(), nn.BatchNorm2d(12)
        self.third, self.nested = nn.Conv2d(3, 6, 1), nn.Conv2d(12, 3, 1)

    def forward(self, x):
        # Two levels of convolutions only; one that is read twice; one that is no convolution.
        y = self.relu1(ma.cat([ma.cat([self.left(x), self.right(x)], dim=1), self.third(x)], dim=1))
        read = self.read(x)
        z = self.relu2(ma.cat([read, read, y[:, :2]], dim=1))
        nested = self.nested(self.norm(z))
        return self.relu3(ma.cat([nested, y], dim=1))


def test_relu_behind_concatenated_convolutions_goes_into_each():
    network = with_statistics(Joined())
    fused = fuse_for_inference(network, (2, 3, 6, 5))
    assert relus_left(fused) == ["relu2", "relu3"]
    assert norms_left(fused) == ["norm"]
    kinds = {name: type(module).__name__ for name, module in fused.named_modules()}
    assert [kinds[name] for name in ("left", "right", "third", "read", "nested")] == [
        *["ConvReLU2d"] * 3,
        *["Conv2d"] * 2,
    ]
    assert_same(network, fused, (2, 3, 6, 5))


def test_a_fused_network_has_the_gradients_of_the_network():
    network = nn.Sequential(nn.Conv2d(3, 5, 3, padding=1, padding_mode="circular"), nn.ReLU()).double()
    fused = fuse_for_inference(network, (2, 3, 6, 5))
    g = ma.randn(2, 5, 6, 5, dtype="float64")
    gradients = []
    for each in (network, fused):
        x = ma.Tensor(np.random.default_rng(4).standard_normal((2, 3, 6, 5)), requires_grad=True)
        for parameter in each.parameters():
            parameter.grad = None
        each(x).backward(g)
        gradients.append([x.grad.numpy(), *(p.grad.numpy() for p in each.parameters())])
    for expected, found in zip(*gradients, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-13)


def test_gradients_of_a_convolution_with_relu_of_first_and_second_order():
    generator = np.random.default_rng(11)
    arrays = [generator.standard_normal(shape) for shape in ((2, 4, 6, 5), (6, 2, 3, 2), (6,))]
    inputs = [ma.Tensor(array, requires_grad=True) for array in arrays]

    def function(x, weight, bias):
        return conv2d_relu(x, weight, bias, stride=(2, 1), padding=1, groups=2)

    assert ma.gradcheck(function, inputs)
    assert ma.gradgradcheck(function, inputs)


class Doubled(nn.Conv2d):
    def forward(self, x):
        return super().forward(x) * 2


class Both(nn.Module):
    """Returns what the ReLU reads, too."""

    def __init__(self):
        super().__init__()
        self.conv, self.relu = nn.Conv2d(3, 4, 1), nn.ReLU()

    def forward(self, x):
        y = self.conv(x)
        return self.relu(y) - 1, y


def hooked(network, at):
    network[at].register_forward_hook(lambda module, args, output: -output)
    return network


@pytest.mark.parametrize(
    "network",
    [
        nn.Sequential(Doubled(3, 4, 1), nn.ReLU()),
        nn.Sequential(Doubled(3, 4, 1), nn.BatchNorm2d(4)),
        hooked(nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU()), 0),
        hooked(nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)), 1),
    ],
    ids=["own forward", "own forward and norm", "hook before", "hook behind"],
)
def test_a_layer_that_does_something_else_stays(network):
    network = with_statistics(network)
    fused = fuse_for_inference(network, (1, 3, 5, 6))
    assert [type(layer) for layer in fused] == [type(layer) for layer in network]
    assert_same(network, fused, (2, 3, 5, 6))


def test_what_is_also_returned_is_read_twice():
    network = Both()
    fused = fuse_for_inference(network, (1, 3, 5, 6))
    x = ma.randn(2, 3, 5, 6)
    for expected, found in zip(network(x), fused(x), strict=True):
        np.testing.assert_array_equal(found.numpy(), expected.numpy())


def test_a_norm_behind_relu_is_not_folded_into_what_is_fused_already():
    network = with_statistics(nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.BatchNorm2d(4)))
    twice = fuse_for_inference(fuse_for_inference(network, (1, 3, 5, 6)), (1, 3, 5, 6))
    assert_same(network, twice, (2, 3, 5, 6))


@pytest.mark.parametrize("function", [fold_batch_norm, fuse_for_inference])
@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ((nn.Conv2d(3, 4, 1),), ShapeError, "shapes of the network's inputs are missing; write"),
        ((nn.Conv2d(3, 4, 1), 3), ShapeError, r"must be a tuple of integers 0 or more, such as .*, not 3"),
        ((nn.Conv2d(3, 4, 1), (1, -3, 5, 5)), ShapeError, r"not \(1, -3, 5, 5\)"),
        ((nn.Conv2d(3, 4, 1), (1, 2, 5, 5)), ShapeError, "has 2 channels"),
        ((len, (1, 3, 5, 5)), TypeError, "the network must be a Module, not"),
    ],
)
def test_what_is_no_network_or_no_shape_is_refused(function, arguments, error, says):
    with pytest.raises(error, match=says):
        function(*arguments)


class Habits(nn.Module):
    """A convolution, a normalisation and a ReLU, used in a way that is given."""

    def __init__(self, forward, **others):
        super().__init__()
        self.conv, self.norm, self.relu = nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.ReLU()
        self.way = forward
        for name, module in others.items():
            setattr(self, name, getattr(self, module))

    def forward(self, x):
        return self.way(self, x)


def without_gradient(network, x):
    with ma.no_grad():
        y = network.norm(network.conv(x))
    return network.relu(y)


@pytest.mark.parametrize(
    "network",
    [
        Habits(without_gradient),
        Habits(lambda self, x: self.relu(self.norm(self.conv(x).detach()))),
        Habits(lambda self, x: self.alias(self.conv(x)), alias="norm"),
        Habits(lambda self, x: self.relu(self.alias(x)), alias="conv"),
        hooked(nn.Sequential(nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)), nn.ReLU()), 0),
    ],
    ids=["without gradient", "detached", "norm of two names", "convolution of two names", "hook"],
)
def test_networks_with_habits_of_their_own_give_what_they_gave(network):
    network = with_statistics(network)
    assert_same(network, fuse_for_inference(network, (1, 3, 5, 6)), (2, 3, 5, 6))


@pytest.mark.parametrize(
    "way",
    [
        lambda self, x: (lambda y: self.relu(y) + y.detach())(self.conv(x)),
        lambda self, x: self.norm(self.conv(x)) + F.conv2d(x, self.conv.weight),
        lambda self, x: (lambda y: self.relu(y) * 2 + (y < 0).to("float64"))(self.conv(x)),
        # Results of other types than floats; and a large one beside that which changes.
        lambda self, x: (lambda y: (self.relu(y), y < 0))(self.conv(x)),
        lambda self, x: (lambda y: (self.relu(y), (y * 100).long()))(self.conv(x)),
        lambda self, x: (lambda y: ma.cat([x * 1e6, self.relu(y) + y.detach() * 0.1], dim=1))(self.conv(x)),
    ],
)
def test_what_reads_unseen_is_found_by_a_run(way):
    with pytest.raises(ModelError, match="does not give what the network gives"):
        fuse_for_inference(with_statistics(Habits(way)), (1, 3, 5, 6))


def test_what_cannot_be_tried_out_is_refused():
    network = Habits(lambda self, x: self.relu(self.conv(x)))
    with pytest.raises(ShapeError, match=r"no length of an input may be 0, as in \(0, 3, 5, 6\)"):
        fuse_for_inference(network, (0, 3, 5, 6))
    counts = iter(range(100))
    changing = Habits(lambda self, x: self.relu(self.conv(x)) + next(counts))
    with pytest.raises(ModelError, match="does not give the same for the same input"):
        fuse_for_inference(changing, (1, 3, 5, 6))
    reads = Habits(lambda self, x: self.relu(self.norm(self.conv(x))) * self.norm.weight.sum())
    with pytest.raises(ModelError, match=r"the changed network does not run: AttributeError: .*weight"):
        fuse_for_inference(reads, (1, 3, 5, 6))


def test_whether_parameters_are_trained_is_kept():
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)).requires_grad_(False)
    assert not any(each.requires_grad for each in fold_batch_norm(network, (1, 3, 5, 6)).parameters())
