"""How large the models are: counts, shapes and products that others published, or that follow by hand."""

import math

import numpy as np
import pytest

import minialex as ma
from minialex import functional as F
from minialex import nn
from minialex.models import architecture, create_model, get_architecture, list_models, summarise

# Published for the default number of classes; written here a second time so that a slip in the
# architectures cannot change both.
TRAINABLE_PARAMETERS = {
    "alexnet": 60_965_224,
    "alexnet_caffe": 60_965_224,
    "alexnet_cifar": 21_622_154,
    "alexnet_cifar_slim": 87_650_186,
    "alexnet_cifar_slim_regular": 87_650_186,
    "alexnet_cifar_thinner2": 6_074_250,
    "alexnet_cifar_thinner4": 5_488_106,
    "alexnet_gray227": 58_299_082,
    "alexnet_half": 16_630_440,
    "alexnet_half_bn": 1_798_818,
    "alexnet_mnist28_bn": 29_457_738,
    "alexnet_mnist28_bn_rows": 29_455_254,
    "alexnet_mnist28_first_two_bn": 29_455_690,
    "alexnet_no_conv_bias": 61_264_904,
    "alexnet_one_tower": 62_378_344,
    "alexnet_torchvision": 61_100_840,
    "caffenet": 60_965_224,
}

# The family: published parameters, and products for one image: PyTorch's count where torchvision has the
# network (tests/oracles/test_torchvision.py), Keras's of mobilenet_v1, and the tables of the papers.
FAMILY = {
    "bn_inception": (11_295_240, 2_032_600_064),
    "densenet121": (7_978_856, 2_834_161_664),
    "googlenet": (13_004_888, 1_498_376_192),
    "lenet5": (61_706, 416_520),
    "mobilenet_v1": (4_231_976, 568_740_352),
    "mobilenet_v2": (3_504_872, 300_774_272),
    "nin": (7_595_176, 1_100_188_800),
    "resnet18": (11_689_512, 1_814_073_344),
    "resnet34": (21_797_672, 3_663_761_408),
    "resnet50": (25_557_032, 4_089_184_256),
    "resnext50_32x4d": (25_028_904, 4_230_479_872),
    "shufflenet_v2_x1_0": (2_278_604, 144_907_992),
    "squeezenet1_0": (1_248_424, 818_924_576),
    "squeezenet1_1": (1_235_496, 349_151_936),
    "vgg11": (132_863_336, 7_609_090_048),
    "vgg11_bn": (132_868_840, 7_609_090_048),
    "vgg16": (138_357_544, 15_470_264_320),
    "vgg16_bn": (138_365_992, 15_470_264_320),
    "vgg19": (143_667_240, 19_632_062_464),
    "vgg19_bn": (143_678_248, 19_632_062_464),
    "zfnet": (62_357_608, 1_168_032_896),
}

# Running means and variances: two numbers a feature of each batch normalisation.
RUNNING_STATISTICS = {
    "alexnet_half_bn": 2 * (48 + 128),
    "alexnet_mnist28_bn": 2 * (64 + 192 + 384 + 384 + 256),
    "alexnet_mnist28_bn_rows": 2 * (14 + 7 + 7 + 7 + 3),  # the heights, not the channels
    "alexnet_mnist28_first_two_bn": 2 * (64 + 192),
}

# Output of one image, parameters, multiply-accumulates.
ALEXNET = {
    "conv1": ((96, 55, 55), 34_944, 105_415_200),
    "pool1": ((96, 27, 27), 0, 0),
    "conv2": ((256, 27, 27), 307_456, 223_948_800),
    "pool2": ((256, 13, 13), 0, 0),
    "conv3": ((384, 13, 13), 885_120, 149_520_384),
    "conv4": ((384, 13, 13), 663_936, 112_140_288),
    "conv5": ((256, 13, 13), 442_624, 74_760_192),
    "pool5": ((256, 6, 6), 0, 0),
    "flatten": ((9216,), 0, 0),
    "fc6": ((4096,), 37_752_832, 37_748_736),
    "fc7": ((4096,), 16_781_312, 16_777_216),
    "fc8": ((1000,), 4_097_000, 4_096_000),
}

# What tf.keras printed for "AlexNet for handwritten digits".
GRAY227 = {
    "conv1": ((96, 55, 55), 11_712),
    "pool1": ((96, 27, 27), 0),
    "conv2": ((256, 27, 27), 614_656),
    "pool2": ((256, 13, 13), 0),
    "conv3": ((384, 13, 13), 885_120),
    "conv4": ((384, 13, 13), 1_327_488),
    "conv5": ((256, 13, 13), 884_992),
    "pool5": ((256, 6, 6), 0),
    "flatten": ((9216,), 0),
    "fc6": ((4096,), 37_752_832),
    "fc7": ((4096,), 16_781_312),
    "fc8": ((10,), 40_970),
}

# Positions along an axis and features, counted by hand. TensorFlow's SAME gives ceil(n / stride).
SHAPES = {
    "alexnet_torchvision": {
        "features.0": (64, 55, 55),
        "features.3": (192, 27, 27),
        "features.12": (256, 6, 6),
    },
    "alexnet_half": {"conv1": (48, 55, 55), "conv4": (192, 13, 13), "flatten": (4608,)},
    "alexnet_half_bn": {"conv1": (48, 54, 54), "pool1": (48, 26, 26), "pool5": (128, 5, 5), "fc7": (128,)},
    "alexnet_mnist28_bn": {"conv1": (64, 28, 28), "pool1": (64, 14, 14), "pool5": (256, 3, 3)},
    "alexnet_cifar": {
        "conv1": (96, 8, 8),
        "pool1": (96, 4, 4),
        "conv2": (256, 4, 4),
        "pool2": (256, 2, 2),
        "pool5": (256, 1, 1),
    },
    "alexnet_cifar_slim": {"conv1": (96, 32, 32), "pool2": (256, 16, 16), "pool5": (256, 8, 8)},
}


def layers_of(name):
    """The summary of one image by layer name; the weights are not drawn."""
    return {layer.name: layer for layer in summarise(get_architecture(name).build()).layers}


def counted_by_formula(network):
    """The trainable numbers from what the layers say they are, not from the arrays they hold."""
    total = 0
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            window = layer.in_channels // layer.groups * math.prod(layer.kernel_size)
            total += layer.out_channels * (window + (layer.bias is not None))
        elif isinstance(layer, nn.Linear):
            total += layer.out_features * (layer.in_features + (layer.bias is not None))
        elif isinstance(layer, nn.BatchNorm2d):
            total += 2 * layer.num_features
    return total


def test_the_tables_have_every_model():
    assert list_models() == sorted([*TRAINABLE_PARAMETERS, *FAMILY])


@pytest.mark.parametrize("name", TRAINABLE_PARAMETERS)
def test_trainable_parameters_are_the_published_ones(name):
    network = get_architecture(name).build()
    published = TRAINABLE_PARAMETERS[name]
    assert sum(parameter.data.size for parameter in network.parameters()) == published
    assert counted_by_formula(network) == published
    assert get_architecture(name).trainable_parameters == published


def products(name, monkeypatch):
    """The products of convolutions and dense layers that lead to the logits, from the layers' shapes."""
    counted, make = [], architecture.Layer.make

    def recorded(row, x, num_classes):
        module, y = make(row, x, num_classes)
        if isinstance(module, nn.Conv2d):
            window = module.in_channels // module.groups * math.prod(module.kernel_size)
            counted.append(math.prod(y) * window)
        elif isinstance(module, nn.Linear):
            counted.append(math.prod(y) * module.in_features)
        return module, y

    monkeypatch.setattr(architecture.Layer, "make", recorded)
    described, total = get_architecture(name), 0
    shape = (1, *described.input_shape)
    for row in described.layers:
        counted.clear()
        _, shape = row.make(shape, described.num_classes)
        total += 0 if row.name.startswith("aux") else sum(counted)
    return total


@pytest.mark.parametrize("name", FAMILY)
def test_the_family_s_parameters_and_products_are_the_published_ones(name, monkeypatch):
    parameters, macs = FAMILY[name]
    described = get_architecture(name)
    assert sum(p.size for p in described.build().parameters()) == parameters
    assert products(name, monkeypatch) == macs
    assert (described.trainable_parameters, described.macs) == (parameters, macs)


@pytest.mark.parametrize("name", TRAINABLE_PARAMETERS)
def test_products_of_the_alexnets(name, monkeypatch):
    assert get_architecture(name).macs == products(name, monkeypatch)


@pytest.mark.parametrize("name", TRAINABLE_PARAMETERS)
def test_a_summary_counts_running_statistics_apart_from_what_is_trained(name):
    summary = summarise(get_architecture(name).build())
    assert summary.trainable_parameters == TRAINABLE_PARAMETERS[name]
    assert summary.parameters == TRAINABLE_PARAMETERS[name] + RUNNING_STATISTICS.get(name, 0)


def test_the_flower_network_has_five_classes():
    assert summarise(get_architecture("alexnet_half").build(5)).trainable_parameters == 14_591_685


def test_the_network_with_two_batch_normalisations_lacks_the_numbers_of_three():
    """Its author prints no count: it is that of the network with five, less those of the other three."""
    scales_and_shifts = 2 * (384 + 384 + 256)
    assert TRAINABLE_PARAMETERS["alexnet_mnist28_bn"] - scales_and_shifts == 29_455_690
    names = get_architecture("alexnet_mnist28_first_two_bn").names()
    assert [name for name in names if name.startswith("bn")] == ["bn1", "bn2"]
    assert names[names.index("bn2") - 1] == "pool2"


def test_the_224_mistake_counts_what_it_is_known_for():
    """Without padding 224 leaves 5 x 5 positions: the one-tower network then has 50,844,008 parameters."""
    one_tower = get_architecture("alexnet_one_tower")
    assert one_tower.features((3, 224, 224)) == 256 * 5 * 5
    lost_weights = (6 * 6 - 5 * 5) * 256 * 4096
    assert TRAINABLE_PARAMETERS["alexnet_one_tower"] - lost_weights == 50_844_008


@pytest.mark.parametrize("layer", ALEXNET)
def test_alexnet_layer(layer):
    found = layers_of("alexnet")[layer]
    shape, parameters, macs = ALEXNET[layer]
    assert (found.output_shape, found.parameters, found.macs) == ((1, *shape), parameters, macs)


def test_alexnet_totals():
    summary = summarise(get_architecture("alexnet").build())
    assert summary.macs == 724_406_816
    weighted = [layer.name for layer in summary.layers if layer.parameters]
    assert weighted == [name for name, (_, parameters, _) in ALEXNET.items() if parameters]


@pytest.mark.parametrize("layer", GRAY227)
def test_alexnet_gray227_layer(layer):
    found = layers_of("alexnet_gray227")[layer]
    shape, parameters = GRAY227[layer]
    assert (found.output_shape, found.parameters) == ((1, *shape), parameters)


@pytest.mark.parametrize("name", SHAPES)
def test_output_shapes(name):
    layers = layers_of(name)
    assert {layer: layers[layer].output_shape[1:] for layer in SHAPES[name]} == SHAPES[name]


def test_layer_names_follow_the_paper():
    names = [name for name, _ in get_architecture("alexnet").build().named_children()]
    assert " ".join(names) == (
        "conv1 relu1 norm1 pool1 conv2 relu2 norm2 pool2 conv3 relu3 conv4 relu4 conv5 relu5 pool5 "
        "flatten fc6 relu6 drop6 fc7 relu7 drop7 fc8"
    )


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [("alexnet", "norm1", "pool1"), ("caffenet", "pool1", "norm1"), ("alexnet_half", "drop5", "fc6")],
)
def test_order_of_layers(name, before, after):
    names = get_architecture(name).names()
    assert names.index(before) + 1 == names.index(after)


def test_alexnet_cifar_pads_as_tensorflow_does():
    """At stride 4, SAME needs 7 cells for conv1: 3 before and 4 after; each pool needs one, after."""
    network = create_model("alexnet_cifar").eval()
    x = np.random.default_rng(0).standard_normal((2, 3, 32, 32), np.float32)
    layers = dict(network.named_children())

    padded = np.pad(x, ((0, 0), (0, 0), (3, 4), (3, 4)))
    conv1 = layers["conv1"](ma.Tensor(x))
    by_hand = F.conv2d(ma.Tensor(padded), layers["conv1"].weight, layers["conv1"].bias, stride=4)
    np.testing.assert_allclose(conv1.numpy(), by_hand.numpy(), rtol=1e-5, atol=1e-5)

    for name, side in (("pool1", 8), ("pool2", 4), ("pool5", 2)):
        x = np.random.default_rng(1).standard_normal((1, 2, side, side), np.float32)
        padded = np.pad(x, ((0, 0), (0, 0), (0, 1), (0, 1)), constant_values=-np.inf)
        windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))[:, :, ::2, ::2]
        np.testing.assert_array_equal(layers[name](ma.Tensor(x)).numpy(), windows.max(axis=(4, 5)))
