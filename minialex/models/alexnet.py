"""AlexNet and its published variants, each as a table of its layers.

The paper is Krizhevsky, Sutskever and Hinton, "ImageNet Classification with Deep Convolutional Neural
Networks", NIPS 2012. Every entry says how it differs from the paper. The parameter counts are the published
ones; tests hold the tables to them.
"""

from __future__ import annotations

from minialex.models.architecture import (
    CLASSES,
    Architecture,
    Layer,
    adaptive_avg_pool,
    avg_pool,
    batch_norm,
    conv,
    dense,
    dropout,
    flatten,
    lrn,
    max_pool,
    named,
    relu,
)
from minialex.models.blocks import sequence

_SIZE_NOTE = (
    "The paper says 224, but its 55 positions after conv1 need 227: without padding, 224 gives 54. "
    "(Built for 224 all the same, the network without groups has 50,844,008 parameters, a common mistake.) "
    "Resize to 227, or take alexnet_torchvision, which pads images of 224."
)

_PAPER = (
    "Krizhevsky, Sutskever and Hinton, ImageNet Classification with Deep Convolutional Neural Networks, "
    "NIPS 2012"
)
_ONE_WEIRD_TRICK = (
    "Krizhevsky, One weird trick for parallelizing convolutional neural networks, arXiv:1404.5997, 2014"
)

# Caffe, and PyTorch after it, divide alpha by the size, and have k = 1 instead of the paper's 2.
_CAFFE_LRN = {"alpha_mode": "mean", "k": 1.0}


def _head(width: int, second: int | None = None) -> tuple[Layer, ...]:
    """Two hidden dense layers, each followed by dropout, and the output layer."""
    return (
        flatten(),
        dense(width), relu(), dropout(),
        dense(second or width), relu(), dropout(),
        dense(CLASSES),
    )  # fmt: skip


def _dropout_first_head(width: int) -> tuple[Layer, ...]:
    """Torchvision's classifier: dropout before each hidden layer instead of after it."""
    return (
        flatten(),
        dropout(), dense(width), relu(),
        dropout(), dense(width), relu(),
        dense(CLASSES),
    )  # fmt: skip


def _paper_layers(groups: int = 2, **lrn_options) -> tuple[Layer, ...]:
    return (
        conv(96, 11, stride=4), relu(), lrn(**lrn_options), max_pool(3, 2),
        conv(256, 5, padding=2, groups=groups), relu(), lrn(**lrn_options), max_pool(3, 2),
        conv(384, 3, padding=1), relu(),
        conv(384, 3, padding=1, groups=groups), relu(),
        conv(256, 3, padding=1, groups=groups), relu(), max_pool(3, 2),
        *_head(4096),
    )  # fmt: skip


def _padded_layers(w1: int, w2: int, w3: int, w4: int, w5: int, bias: bool = True) -> tuple[Layer, ...]:
    """Five convolutions for images of 224, padded by 2, without LRN or groups (torchvision's form)."""
    return (
        conv(w1, 11, stride=4, padding=2, bias=bias), relu(), max_pool(3, 2),
        conv(w2, 5, padding=2, bias=bias), relu(), max_pool(3, 2),
        conv(w3, 3, padding=1, bias=bias), relu(),
        conv(w4, 3, padding=1, bias=bias), relu(),
        conv(w5, 3, padding=1, bias=bias), relu(), max_pool(3, 2),
    )  # fmt: skip


def _mnist_layers(norms: int = 5, **norm) -> tuple[Layer, ...]:
    """The Keras network for 28 x 28: average pools, batch normalisation after the first convolutions."""
    bn1, bn2, bn3, bn4, bn5 = ((batch_norm(**norm),) if i < norms else () for i in range(5))
    return (
        conv(64, 11, padding="same"), relu(), avg_pool(2, 2), *bn1,
        conv(192, 5, padding="same"), relu(), avg_pool(2, 2), *bn2,
        conv(384, 3, padding="same"), relu(), *bn3,
        conv(384, 3, padding="same"), relu(), *bn4,
        conv(256, 3, padding="same"), relu(), avg_pool(2, 2), *bn5,
        *_head(4096),
    )  # fmt: skip


def _cifar_layers(widths: tuple[int, ...], dense_width: int, slim: bool = True) -> tuple[Layer, ...]:
    """The Keras networks for 32 x 32, with TensorFlow's SAME padding, also in the pools."""
    w1, w2, w3, w4, w5 = widths
    if slim:
        first = (conv(w1, 3, padding="same"), relu())
    else:
        first = (conv(w1, 11, stride=4, padding="same"), relu(), max_pool(3, 2, padding="same"))
    return (
        *first,
        conv(w2, 5, padding="same"), relu(), max_pool(3, 2, padding="same"),
        conv(w3, 3, padding="same"), relu(),
        conv(w4, 3, padding="same"), relu(),
        conv(w5, 3, padding="same"), relu(), max_pool(3, 2, padding="same"),
        *_head(dense_width),
    )  # fmt: skip


_KERAS_CIFAR = 'Keras, "AlexNet on CIFAR-10"'
_KERAS_MNIST = 'Keras, "AlexNet on MNIST with batch normalisation"'

ARCHITECTURES = (
    Architecture(
        name="alexnet",
        source="Krizhevsky et al. 2012",
        input_shape=(3, 227, 227),
        num_classes=1000,
        layers=_paper_layers(),
        initialiser="paper",
        trainable_parameters=60_965_224,
        year=2012,
        paper=_PAPER,
        macs=724_406_816,
        differs="Nothing: the two towers are the two groups of conv2, conv4 and conv5.",
        size_note=_SIZE_NOTE,
    ),
    Architecture(
        name="alexnet_caffe",
        source="Caffe, models/bvlc_alexnet",
        input_shape=(3, 227, 227),
        num_classes=1000,
        layers=_paper_layers(**_CAFFE_LRN),
        initialiser="caffe",
        trainable_parameters=60_965_224,
        year=2012,
        paper=_PAPER,
        macs=724_406_816,
        differs=(
            "LRN divides alpha by the size and has k = 1; fc6 and fc7 start with a deviation of 0.005; "
            "biases start at 0.1 instead of the paper's 1, with which Caffe's loss stayed flat."
        ),
        size_note=_SIZE_NOTE,
    ),
    Architecture(
        name="caffenet",
        source="Caffe, models/bvlc_reference_caffenet",
        input_shape=(3, 227, 227),
        num_classes=1000,
        layers=(
            conv(96, 11, stride=4), relu(), max_pool(3, 2), lrn(**_CAFFE_LRN),
            conv(256, 5, padding=2, groups=2), relu(), max_pool(3, 2), lrn(**_CAFFE_LRN),
            conv(384, 3, padding=1), relu(),
            conv(384, 3, padding=1, groups=2), relu(),
            conv(256, 3, padding=1, groups=2), relu(), max_pool(3, 2),
            *_head(4096),
        ),
        initialiser="caffenet",
        trainable_parameters=60_965_224,
        year=2012,
        paper=_PAPER,
        macs=724_406_816,
        differs=(
            "Pools before LRN, which makes LRN cheaper; LRN divides alpha by the size and has k = 1; fc6 "
            "and fc7 start with a deviation of 0.005."
        ),
        size_note=_SIZE_NOTE,
    ),
    Architecture(
        name="alexnet_one_tower",
        source="Krizhevsky et al. 2012, on one device",
        input_shape=(3, 227, 227),
        num_classes=1000,
        layers=_paper_layers(groups=1),
        initialiser="paper",
        trainable_parameters=62_378_344,
        year=2012,
        paper=_PAPER,
        macs=1_135_256_096,
        differs="No groups: conv2, conv4 and conv5 see all channels.",
        size_note=_SIZE_NOTE,
    ),
    Architecture(
        name="alexnet_torchvision",
        source="torchvision.models.alexnet, after Krizhevsky 2014, arXiv:1404.5997",
        input_shape=(3, 224, 224),
        num_classes=1000,
        layers=named(
            features=sequence(*_padded_layers(64, 192, 384, 256, 256)),
            avgpool=adaptive_avg_pool(6),
            flatten=flatten(),
            classifier=sequence(*_dropout_first_head(4096)[1:]),
        ),
        former_names={
            "conv1": "features.0",
            "conv2": "features.3",
            "conv3": "features.6",
            "conv4": "features.8",
            "conv5": "features.10",
            "fc6": "classifier.1",
            "fc7": "classifier.4",
            "fc8": "classifier.6",
        },
        initialiser="pytorch",
        trainable_parameters=61_100_840,
        year=2014,
        paper=_ONE_WEIRD_TRICK,
        macs=714_188_480,
        differs=(
            "Widths 64-192-384-256-256, no groups, no LRN; images of 224 padded by 2, and those of other "
            "sizes averaged to 6 x 6 positions; dropout before each of fc6 and fc7 instead of after it; "
            "PyTorch's default weights. Layers have torchvision's names."
        ),
    ),
    Architecture(
        name="alexnet_gray227",
        source='tf.keras, "AlexNet for handwritten digits"',
        input_shape=(1, 227, 227),
        num_classes=10,
        layers=(
            conv(96, 11, stride=4), relu(), max_pool(3, 2),
            conv(256, 5, padding="same"), relu(), max_pool(3, 2),
            conv(384, 3, padding="same"), relu(),
            conv(384, 3, padding="same"), relu(),
            conv(256, 3, padding="same"), relu(), max_pool(3, 2),
            *_head(4096),
        ),
        initialiser="keras",
        trainable_parameters=58_299_082,
        year=2012,
        paper=_PAPER,
        macs=1_060_924_256,
        differs="Grey images; no groups, no LRN; Keras's default weights.",
        size_note="conv1 has no padding, so its 55 positions need images of 227.",
    ),
    Architecture(
        name="alexnet_half_bn",
        source='Keras, "Alex-Net summary"',
        input_shape=(3, 224, 224),
        num_classes=2,
        layers=(
            conv(48, 11, stride=4), relu(), batch_norm(eps=1e-3, momentum=0.01), max_pool(3, 2),
            conv(128, 5, padding="same"), relu(), batch_norm(eps=1e-3, momentum=0.01), max_pool(3, 2),
            conv(192, 3, padding="same"), relu(),
            conv(192, 3, padding="same"), relu(),
            conv(128, 3, padding="same"), relu(), max_pool(3, 2),
            *_head(256, 128),
        ),
        initialiser="keras",
        trainable_parameters=1_798_818,
        year=2012,
        paper=_PAPER,
        macs=266_970_944,
        differs=(
            "Half of every width, no groups; batch normalisation after conv1 and conv2 in place of LRN; "
            "images of 224 without padding, so 54 positions after conv1; dense layers of 256 and 128; "
            "Keras's weights."
        ),
    ),
    Architecture(
        name="alexnet_no_conv_bias",
        source='PyTorch, "Alex-Net summary"',
        input_shape=(3, 224, 224),
        num_classes=1000,
        layers=(*_padded_layers(96, 192, 384, 256, 256, bias=False), *_dropout_first_head(4096)),
        initialiser="pytorch",
        trainable_parameters=61_264_904,
        year=2012,
        paper=_PAPER,
        macs=861_301_280,
        differs=(
            "Widths 96-192-384-256-256, no biases in the convolutions, no groups, no LRN; images of 224 "
            "padded by 2; dropout before each of fc6 and fc7; PyTorch's default weights."
        ),
    ),
    Architecture(
        name="alexnet_mnist28_bn",
        source=_KERAS_MNIST,
        input_shape=(1, 28, 28),
        num_classes=10,
        layers=_mnist_layers(eps=1e-3),
        initialiser="keras",
        trainable_parameters=29_457_738,
        year=2012,
        paper=_PAPER,
        macs=233_432_064,
        differs=(
            "Grey images of 28, conv1 at stride 1; widths 64-192-384-384-256, no groups; average pools of"
            " 2; batch normalisation after every convolution in place of LRN. The running statistics move"
            " by 0.1 a step, ten times as fast as Keras's default, so that they are settled after an "
            "epoch of 60 steps."
        ),
    ),
    Architecture(
        name="alexnet_mnist28_bn_rows",
        source=f"{_KERAS_MNIST}, to the letter",
        input_shape=(1, 28, 28),
        num_classes=10,
        layers=_mnist_layers(eps=1e-3, momentum=0.01, axis=2),
        initialiser="keras",
        trainable_parameters=29_455_254,
        year=2012,
        paper=_PAPER,
        macs=233_432_064,
        differs=(
            "As alexnet_mnist28_bn, but normalises the rows of the image: its author wrote "
            "BatchNormalization(axis=1) for data with the channels last, where axis 1 is the height."
        ),
    ),
    Architecture(
        name="alexnet_mnist28_first_two_bn",
        source=f'{_KERAS_MNIST}, "the public model"',
        input_shape=(1, 28, 28),
        num_classes=10,
        layers=_mnist_layers(norms=2, eps=1e-3),
        initialiser="keras",
        trainable_parameters=29_455_690,
        year=2012,
        paper=_PAPER,
        macs=233_432_064,
        differs=(
            "As alexnet_mnist28_bn, with batch normalisation only after the first two convolutions: what "
            "its author compares it with, and says does not learn. The count is not published; it follows "
            "from the layers."
        ),
    ),
    Architecture(
        name="alexnet_half",
        source='PyTorch, "AlexNet in detail" (five kinds of flowers)',
        input_shape=(3, 224, 224),
        num_classes=1000,
        layers=(*_padded_layers(48, 128, 192, 192, 128), *_dropout_first_head(2048)),
        initialiser="he_fan_out",
        trainable_parameters=16_630_440,
        year=2012,
        paper=_PAPER,
        macs=311_191_824,
        differs=(
            "One of the two towers by itself: half of every width, no LRN; images of 224 padded by 2; dropout"
            " before each of fc6 and fc7; He's weights by fan-out in the convolutions."
        ),
    ),
    Architecture(
        name="alexnet_cifar",
        source=_KERAS_CIFAR,
        input_shape=(3, 32, 32),
        num_classes=10,
        layers=_cifar_layers((96, 256, 384, 384, 256), 4096, slim=False),
        initialiser="keras_uniform_convolutions",
        trainable_parameters=21_622_154,
        year=2012,
        paper=_PAPER,
        macs=42_313_728,
        differs=(
            "Images of 32; no groups, no LRN; TensorFlow's SAME padding everywhere (3 before and 4 after "
            "at conv1, 0 and 1 in the pools), so that one position is left at the end; uniform weights."
        ),
    ),
    Architecture(
        name="alexnet_cifar_slim",
        source=f"{_KERAS_CIFAR}, alexnet_slim",
        input_shape=(3, 32, 32),
        num_classes=10,
        layers=_cifar_layers((96, 256, 384, 384, 256), 4096),
        initialiser="keras_uniform_convolutions",
        trainable_parameters=87_650_186,
        year=2012,
        paper=_PAPER,
        macs=1_508_450_304,
        differs=(
            "As alexnet_cifar, with conv1 3 x 3 at stride 1 and no pool after it: it keeps 8 x 8 "
            "positions, and has four times the parameters."
        ),
    ),
    Architecture(
        name="alexnet_cifar_slim_regular",
        source=f"{_KERAS_CIFAR}, alexnet_slim_regular",
        input_shape=(3, 32, 32),
        num_classes=10,
        layers=_cifar_layers((96, 256, 384, 384, 256), 4096),
        initialiser="keras_he_normal_convolutions",
        trainable_parameters=87_650_186,
        year=2012,
        paper=_PAPER,
        macs=1_508_450_304,
        differs=(
            "As alexnet_cifar_slim, with He's normal weights, and trained with an L2 penalty of 1e-4 on "
            "the convolutions' weights."
        ),
    ),
    Architecture(
        name="alexnet_cifar_thinner2",
        source=f"{_KERAS_CIFAR}, alexnet_thinner_2",
        input_shape=(3, 32, 32),
        num_classes=10,
        layers=_cifar_layers((48, 128, 192, 192, 64), 1024),
        initialiser="keras_he_normal_convolutions",
        trainable_parameters=6_074_250,
        year=2012,
        paper=_PAPER,
        macs=333_735_936,
        differs=(
            "As alexnet_cifar_slim_regular, thinner. Its author says that every width is halved, but "
            "prints 6,074,250 parameters, which only the widths 48-128-192-192-64 and 1024 reproduce: "
            "these are used."
        ),
    ),
    Architecture(
        name="alexnet_cifar_thinner4",
        source=f"{_KERAS_CIFAR}, alexnet_thinner_4",
        input_shape=(3, 32, 32),
        num_classes=10,
        layers=_cifar_layers((24, 64, 96, 96, 64), 1024),
        initialiser="keras_he_normal_convolutions",
        trainable_parameters=5_488_106,
        year=2012,
        paper=_PAPER,
        macs=94_783_488,
        differs="As alexnet_cifar_slim_regular, with a quarter of every width.",
    ),
)  # fmt: skip
