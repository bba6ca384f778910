"""VGG: nothing but 3 x 3 convolutions and 2 x 2 pools, eleven to nineteen layers deep.

Simonyan and Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition", ICLR 2015.
Layers have torchvision's names.
"""

from __future__ import annotations

from minialex.models.architecture import (
    CLASSES,
    Architecture,
    Row,
    Rows,
    adaptive_avg_pool,
    batch_norm,
    conv,
    dense,
    dropout,
    flatten,
    max_pool,
    named,
    relu,
)
from minialex.models.blocks import sequence

# Table 1 of the paper: how many convolutions there are before each pool, and their width.
_WIDTHS = (64, 128, 256, 512, 512)
_COUNTS = {11: (1, 1, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}


def _layers(depth: int, normalised: bool) -> Rows:
    """A column of table 1, with batch normalisation after each convolution or without."""
    features: list[Row] = []
    for width, count in zip(_WIDTHS, _COUNTS[depth], strict=True):
        for _ in range(count):
            features += [conv(width, 3, padding=1), *([batch_norm()] if normalised else []), relu()]
        features.append(max_pool(2, 2))
    return named(
        features=sequence(*features),
        avgpool=adaptive_avg_pool(7),
        flatten=flatten(),
        classifier=sequence(
            dense(4096), relu(), dropout(),
            dense(4096), relu(), dropout(),
            dense(CLASSES),
        ),
    )  # fmt: skip


def _architecture(depth: int, column: str, parameters: int, macs: int, normalised: bool) -> Architecture:
    name = f"vgg{depth}_bn" if normalised else f"vgg{depth}"
    return Architecture(
        name=name,
        source=f"Simonyan and Zisserman 2014, configuration {column}; torchvision.models.{name}",
        input_shape=(3, 224, 224),
        num_classes=1000,
        layers=_layers(depth, normalised),
        initialiser="he_fan_out",
        trainable_parameters=parameters,
        differs=(
            f"{'Batch normalisation after each convolution. ' if normalised else ''}"
            "Images of other sizes are averaged to 7 x 7 positions before the dense layers; He's weights by "
            "fan-out in the convolutions, where the paper copied a trained shallower network's."
        ),
        year=2014,
        paper=(
            "Simonyan and Zisserman, Very Deep Convolutional Networks for Large-Scale Image Recognition, "
            "ICLR 2015"
        ),
        macs=macs,
    )


ARCHITECTURES = (
    _architecture(11, "A", 132_863_336, 7_609_090_048, normalised=False),
    _architecture(11, "A", 132_868_840, 7_609_090_048, normalised=True),
    _architecture(16, "D", 138_357_544, 15_470_264_320, normalised=False),
    _architecture(16, "D", 138_365_992, 15_470_264_320, normalised=True),
    _architecture(19, "E", 143_667_240, 19_632_062_464, normalised=False),
    _architecture(19, "E", 143_678_248, 19_632_062_464, normalised=True),
)
