"""Options of layers: what is refused and how, first weights, and the habits that are accepted.

That each computes what PyTorch's does is a test of tests/oracles.
"""

import math

import numpy as np
import pytest

import minialex as ma
from minialex import functional as F
from minialex import nn
from minialex.errors import ShapeError

# One of each, with an input.
LAYERS = [
    (nn.Conv2d(3, 4, 3), (2, 3, 5, 5)),
    (nn.Conv1d(3, 4, 3), (2, 3, 5)),
    (nn.ConvTranspose2d(3, 4, 3), (2, 3, 5, 5)),
    (nn.Linear(3, 4), (2, 3)),
    (nn.MaxPool2d(2), (2, 3, 4, 4)),
    (nn.AvgPool2d(2), (2, 3, 4, 4)),
    (nn.AdaptiveAvgPool2d(2), (2, 3, 4, 4)),
    (nn.AdaptiveMaxPool2d(2), (2, 3, 4, 4)),
    (nn.BatchNorm2d(3), (2, 3, 4, 4)),
    (nn.BatchNorm1d(3), (2, 3)),
    (nn.LayerNorm(3), (2, 3)),
    (nn.GroupNorm(1, 3), (2, 3, 4, 4)),
    (nn.InstanceNorm2d(3), (2, 3, 4, 4)),
    (nn.LocalResponseNorm(), (2, 3, 4, 4)),
    *(
        (getattr(nn, name)(), (2, 3))
        for name in ("ReLU", "ReLU6", "LeakyReLU", "PReLU", "ELU", "GELU", "SiLU")
    ),
    *((getattr(nn, name)(), (2, 3)) for name in ("Sigmoid", "Tanh", "Softmax", "LogSoftmax", "Hardswish")),
    *((getattr(nn, name)(), (2, 3)) for name in ("Hardsigmoid", "Softplus", "LogSigmoid", "Mish", "Dropout")),
    (nn.Dropout2d(), (2, 3, 4)),
    (nn.Flatten(), (2, 3, 4)),
    (nn.ChannelShuffle(3), (2, 6, 4, 5)),
    (nn.Unfold(2), (2, 3, 4, 4)),
    (nn.Fold((3, 3), 2), (2, 4, 4)),
    (nn.Upsample(scale_factor=2), (2, 3, 4, 4)),
    (nn.ZeroPad2d(1), (2, 3, 4, 4)),
    (nn.ReflectionPad2d(1), (2, 3, 4, 4)),
    (nn.ReplicationPad2d(1), (2, 3, 4, 4)),
]


def _id(value):
    return type(value).__name__ if isinstance(value, nn.Module) else ""


@pytest.mark.parametrize(("layer", "shape"), LAYERS, ids=_id)
def test_a_layer_takes_tensors_and_says_what_to_write_for_an_array(layer, shape):
    array = np.ones(shape, np.float32)
    assert isinstance(layer(ma.Tensor(array)), ma.Tensor)
    message = (
        rf"^{type(layer).__name__} takes tensors, not ndarray; wrap an array with minialex.Tensor\(array\)$"
    )
    for called in (layer, nn.Sequential(layer)):
        with pytest.raises(TypeError, match=message):
            called(array)


def test_every_layer_is_tried():
    tried = {type(layer).__name__ for layer, _ in LAYERS}
    layers = {
        name
        for name in nn.__all__
        if isinstance(getattr(nn, name), type) and issubclass(getattr(nn, name), nn.layer.Layer)
    }
    # Unpooling takes two tensors; tests/nn/test_unpooling.py has it.
    assert {name for name in layers - tried if not name.endswith("Loss")} == {"MaxUnpool2d"}


def test_an_embedding_takes_arrays_and_tensors_of_integers():
    layer = nn.Embedding(5, 3, padding_idx=-1)
    assert layer.padding_idx == 4
    assert not layer.weight.numpy()[4].any()
    index = np.array([[0, 4], [2, 2]])
    np.testing.assert_array_equal(layer(index).numpy(), layer.weight.numpy()[index])
    np.testing.assert_array_equal(layer(ma.tensor(index)).numpy(), layer.weight.numpy()[index])


def test_an_embedding_of_a_table_shares_it_and_is_not_trained():
    table = ma.tensor([[1.0, 2.0], [3.0, 4.0]])
    layer = nn.Embedding.from_pretrained(table)
    assert layer.weight.data is table.data
    assert not layer.weight.requires_grad
    assert nn.Embedding.from_pretrained(table, freeze=False).weight.requires_grad


def test_a_channel_shuffle_deals_out_the_groups():
    x = np.random.default_rng(0).standard_normal((2, 6, 4, 5))
    shuffled = nn.ChannelShuffle(3)(ma.Tensor(x)).numpy()
    np.testing.assert_array_equal(shuffled, x[:, [0, 2, 4, 1, 3, 5]])
    with pytest.raises(ShapeError, match="C divisible by 3"):
        nn.ChannelShuffle(3)(ma.Tensor(x[:, :4]))


def test_hardsigmoid_is_its_formula():
    x = np.linspace(-5, 5, 41)
    np.testing.assert_allclose(
        nn.Hardsigmoid()(ma.Tensor(x)).numpy(), np.clip(x + 3, 0, 6) / 6, rtol=1e-15, atol=1e-16
    )


@pytest.mark.parametrize(
    "kind", ["ReLU", "ReLU6", "LeakyReLU", "ELU", "SiLU", "Hardswish", "Hardsigmoid", "Mish"]
)
def test_in_place_is_accepted_and_leaves_the_input(kind):
    x = ma.tensor([-2.0, -0.5, 0.0, 1.5])
    before = x.numpy().copy()
    layer = getattr(nn, kind)(inplace=True)
    np.testing.assert_array_equal(layer(x).numpy(), getattr(nn, kind)()(x).numpy())
    np.testing.assert_array_equal(x.numpy(), before)
    assert "inplace=True" in repr(layer)
    assert "inplace" not in repr(getattr(nn, kind)())


def test_dropout_of_channels_is_active_in_training_only():
    ma.manual_seed(0)
    layer, x = nn.Dropout2d(0.5, inplace=True), ma.ones(8, 16, 3, 2)
    y = layer(x).numpy().reshape(8, 16, 6)
    assert set(np.unique(y)) == {0.0, 2.0}
    assert (y == y[:, :, :1]).all()
    assert layer.eval()(x) is x


def test_identity_takes_anything():
    thing = object()
    assert nn.Identity(54, unused=0.1)(thing) is thing


def test_first_weights_of_convolutions_lie_in_pytorchs_range():
    """+-1 / sqrt(fan-in), from end to end: of 1,000 numbers the largest is within a hundredth of it."""
    ma.manual_seed(0)
    for layer, fan_in in ((nn.Conv1d(10, 20, 5), 50), (nn.ConvTranspose2d(10, 6, (5, 4), groups=2), 60)):
        most = np.abs(layer.weight.numpy()).max()
        assert 0.99 < most * np.sqrt(fan_in) <= 1
        assert np.abs(layer.bias.numpy()).max() * np.sqrt(fan_in) <= 1


@pytest.mark.parametrize(
    "layer",
    [nn.Linear(3, 2), nn.Conv2d(2, 2, 1), nn.Embedding(3, 2), nn.BatchNorm2d(2), nn.PReLU(2)],
    ids=_id,
)
def test_parameters_can_be_drawn_anew(layer):
    for p in layer.parameters():
        p.data[...] = 77
    layer.reset_parameters()
    assert all((p.numpy() != 77).all() for p in layer.parameters())


def test_statistics_can_be_forgotten():
    layer = nn.BatchNorm2d(2)
    layer(ma.Tensor(np.random.default_rng(0).standard_normal((4, 2, 3, 3), np.float32)))
    layer.reset_running_stats()
    assert layer.running_mean.tolist() == [0, 0]
    assert layer.running_var.tolist() == [1, 1]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: nn.Conv1d(4, 6, 3, groups=3),
            "Conv1d: in_channels and out_channels must be multiples of groups=3, not 4 and 6",
        ),
        (lambda: nn.Conv1d(4, 6, (3, 3)), "kernel_size must be an integer from 1 to .*, not"),
        (lambda: nn.Conv1d(4, 6, 3, padding="same", padding_mode="reflect"), "padding must be an int with"),
        (
            lambda: nn.Conv2d(4, 6, 3, padding_mode="zero"),
            "padding_mode must be 'zeros', 'reflect', .*, not 'zero'",
        ),
        (
            lambda: nn.ConvTranspose2d(4, 6, 3, padding_mode="reflect"),
            "padding_mode must be 'zeros', not 'reflect'",
        ),
        (lambda: nn.BatchNorm1d(0), "num_features must be an integer 1 or more, not 0"),
        (lambda: nn.LayerNorm(()), "normalized_shape must be"),
        (lambda: nn.GroupNorm(4, 6), "num_groups must divide num_channels=6, not be 4"),
        (lambda: nn.AdaptiveMaxPool2d(2, True), "return_indices must be False, not True"),
        (lambda: nn.Embedding(4, 2, 4), "padding_idx must be from -4 to 3, not 4"),
        (lambda: nn.Embedding(4, 3, max_norm=1.0), "max_norm must be None, not 1.0: scale the rows"),
        (lambda: nn.Embedding(4, 3, sparse=True), "sparse must be False, not True: gradients are dense"),
        (lambda: nn.Embedding(4, 3, scale_grad_by_freq=True), "scale_grad_by_freq must be False, not True"),
        (
            lambda: F.embedding([0], ma.ones(2, 2), sparse=True),
            "embedding: sparse must be False, not True: gradients are dense",
        ),
        (lambda: nn.InstanceNorm2d(3, momentum=None), "momentum must be a number from 0 to 1, not None"),
        (lambda: nn.MaxPool2d(2, return_indices="no"), "return_indices must be True or False, not 'no'"),
        (lambda: nn.MaxUnpool2d(0), "kernel_size must be .*, not 0"),
        (lambda: nn.Embedding(4, 0), "embedding_dim must be an integer 1 or more, not 0"),
        (lambda: nn.Embedding.from_pretrained(np.ones((2, 2))), "embeddings must be a tensor"),
        (
            lambda: nn.ZeroPad2d((1, 2)),
            r"padding must be an int or \(left, right, top, bottom\), not \(1, 2\)",
        ),
        (lambda: nn.PReLU(0), "num_parameters must be an integer 1 or more, not 0"),
        (lambda: nn.Conv2d(4, 6, 3, stride=0), "stride must be an integer from 1 .*, not 0"),
        (lambda: nn.Conv2d(4, 6, 3, padding=-1), "padding must be .*, not -1"),
        (lambda: nn.Conv2d(4, 6, 3, dilation=(1, 0)), r"dilation must be .*, not \(1, 0\)"),
        (lambda: nn.Conv2d(4, 6, 3, bias="no"), "bias must be True or False, not 'no'"),
        (lambda: nn.Conv1d(4, 6, 3, stride=0), "stride must be an integer from 1 to .*, not 0"),
        (lambda: nn.Conv1d(4, 6, 3, dilation=0), "dilation must be an integer from 1 to .*, not 0"),
        (lambda: nn.Conv1d(4, 6, 3, padding="full"), "padding must be 'valid', 'same', or .*, not 'full'"),
        (lambda: nn.ConvTranspose2d(4, 6, 3, stride=0), "stride must be .*, not 0"),
        (lambda: nn.ConvTranspose2d(4, 6, 3, output_padding=-1), "output_padding must be .*, not -1"),
        (lambda: nn.Linear(4, 6, bias=math.nan), "bias must be True or False, not nan"),
        (lambda: nn.MaxPool2d("a"), "kernel_size must be .*, not 'a'"),
        (lambda: nn.MaxPool2d(2, ceil_mode="no"), "ceil_mode must be True or False, not 'no'"),
        (lambda: nn.AvgPool2d(2, 0), "stride must be .*, not 0"),
        (
            lambda: nn.AvgPool2d(2, count_include_pad="no"),
            "count_include_pad must be True or False, not 'no'",
        ),
        (lambda: nn.AdaptiveAvgPool2d(0), "output_size must be .*, not 0"),
        (lambda: nn.AdaptiveMaxPool2d((1, 2, 3)), r"output_size must be .*, not \(1, 2, 3\)"),
        (lambda: nn.Dropout(-1), "p must be a number from 0 to 1, not -1"),
        (lambda: nn.Dropout(inplace="no"), "inplace must be True or False, not 'no'"),
        (lambda: nn.LeakyReLU("a"), "negative_slope must be a number"),
        (lambda: nn.ELU(math.nan), "alpha must be a number .*, not nan"),
        (lambda: nn.BatchNorm2d(3, eps=math.nan), "eps must be a number 0 or more, not nan"),
        (lambda: nn.BatchNorm2d(3, momentum=2), "momentum must be a number from 0 to 1, not 2"),
        (lambda: nn.BatchNorm2d(3, affine="no"), "affine must be True or False, not 'no'"),
        (
            lambda: nn.BatchNorm2d(3, track_running_stats=0),
            "track_running_stats must be True or False, not 0",
        ),
        (lambda: nn.InstanceNorm2d(3, eps=-1), "eps must be .*, not -1"),
        (lambda: nn.LayerNorm(3, eps=-1), "eps must be .*, not -1"),
        (lambda: nn.LayerNorm(3, elementwise_affine="no"), "elementwise_affine must be .*, not 'no'"),
        (lambda: nn.GroupNorm(1, 3, eps=-1), "eps must be .*, not -1"),
        (lambda: nn.GroupNorm(1, 3, bias="no"), "bias must be True or False, not 'no'"),
        (lambda: nn.LocalResponseNorm(4), "size must be an odd integer 1 or more, not 4"),
        (lambda: nn.LocalResponseNorm(alpha=-1), "alpha must be .*, not -1"),
        (lambda: nn.LocalResponseNorm(alpha_mode="max"), "alpha_mode must be 'sum' or 'mean', not 'max'"),
        (lambda: nn.CrossEntropyLoss(label_smoothing=2), "label_smoothing must be .*, not 2"),
        (lambda: nn.MSELoss(size_average=True), "size_average must be None, not True"),
        (lambda: nn.NLLLoss(reduce=False), "reduce must be None, not False"),
        (
            lambda: nn.L1Loss(reduction="average"),
            'reduction must be "mean", "sum" or "none", not \'average\'',
        ),
    ],
)
def test_an_impossible_option_is_refused_by_name(make, message):
    with pytest.raises(ShapeError, match=message):
        make()


@pytest.mark.parametrize(
    ("layer", "shape", "message"),
    [
        (nn.BatchNorm1d(3), (2, 3, 4, 4), r"must be \(N, F\) or \(N, F, L\), not \(2, 3, 4, 4\)"),
        (nn.GroupNorm(1, 3), (2, 4, 4), r"must be \(N, 3, ...\), not \(2, 4, 4\)"),
        (nn.InstanceNorm2d(3), (2, 4, 4, 4), r"must be \(N, 3, H, W\), not"),
        (nn.InstanceNorm2d(3), (2, 3, 1, 1), "2 or more cells in training"),
        (nn.MSELoss(reduction="batchmean"), (2, 3), "reduction"),
    ],
)
def test_an_input_that_does_not_fit_is_refused(layer, shape, message):
    inputs = [ma.ones(*shape)] * (2 if isinstance(layer, nn.MSELoss) else 1)
    with pytest.raises(ShapeError, match=message):
        layer(*inputs)


@pytest.mark.parametrize("size", [(8, 8), (11, 8), (9, 9), (9,)])
def test_a_size_that_no_transposed_convolution_gives_is_refused(size):
    layer = nn.ConvTranspose2d(2, 2, 3, (2, 1), 1)
    with pytest.raises(ShapeError, match=r"output_size must be from \(9, 8\) to \(10, 8\), not"):
        layer(ma.ones(1, 2, 5, 8), output_size=size)


def test_a_loss_keeps_its_weights_and_takes_arrays_as_targets():
    loss = nn.CrossEntropyLoss(weight=np.array([1.0, 2.0], np.float32))
    assert list(loss.state_dict()) == ["weight"]
    x = ma.tensor([[0.0, 0.0], [0.0, 0.0]])
    assert loss(x, np.array([0, 1])).item() == pytest.approx(np.log(2))
    with pytest.raises(TypeError, match="CrossEntropyLoss takes tensors, not ndarray"):
        loss(np.zeros((2, 2)), np.array([0, 1]))


def test_the_functions_are_where_pytorch_has_them():
    import minialex.nn.functional as there

    assert there.__all__ == ma.functional.__all__
    assert all(getattr(there, name) is getattr(ma.functional, name) for name in there.__all__)
    assert nn.functional is there
