"""SqueezeNet: AlexNet's accuracy with a fiftieth of its parameters, by convolutions of 1 x 1.

Iandola, Han, Moskewicz, Ashraf, Dally and Keutzer, "SqueezeNet: AlexNet-level accuracy with 50x fewer
parameters and < 0.5 MB model size", 2016, arXiv:1602.07360. Layers have torchvision's names.
"""

from __future__ import annotations

from minialex.models.architecture import (
    CLASSES,
    Architecture,
    Row,
    Rows,
    adaptive_avg_pool,
    conv,
    dropout,
    flatten,
    max_pool,
    named,
    relu,
)
from minialex.models.blocks import branches, sequence


def _fire(squeeze: int, expand: int) -> Row:
    """Figure 1: few channels are squeezed out of many, then expanded by 1 x 1 and by 3 x 3 convolutions."""
    return branches(
        start=named(squeeze=conv(squeeze, 1), squeeze_activation=relu()),
        expand1x1=conv(expand, 1),
        expand3x3=conv(expand, 3, padding=1),
        end=named(expand_activation=relu()),
    )


def _pool() -> Row:
    return max_pool(3, 2, ceil_mode=True)


def _layers(*features: Row) -> Rows:
    return named(
        features=sequence(*features),
        classifier=sequence(dropout(), conv(CLASSES, 1), relu(), adaptive_avg_pool(1)),
        flatten=flatten(),
    )


_PAPER = (
    "Iandola, Han, Moskewicz, Ashraf, Dally and Keutzer, SqueezeNet: AlexNet-level accuracy with 50x fewer "
    "parameters and < 0.5 MB model size, arXiv:1602.07360"
)

ARCHITECTURES = (
    Architecture(
        name="squeezenet1_0",
        source="Iandola et al. 2016; torchvision.models.squeezenet1_0",
        input_shape=(3, 224, 224),
        num_classes=1000,
        layers=_layers(
            conv(96, 7, stride=2), relu(), _pool(),
            _fire(16, 64), _fire(16, 64), _fire(32, 128), _pool(),
            _fire(32, 128), _fire(48, 192), _fire(48, 192), _fire(64, 256), _pool(),
            _fire(64, 256),
        ),
        initialiser="squeezenet",
        trainable_parameters=1_248_424,
        differs=(
            "Dropout stands before the last convolution, not after fire9, which is the same place; images of "
            "224 without padding, so 109 positions after the first convolution where the paper has 111."
        ),
        year=2016,
        paper=_PAPER,
        macs=818_924_576,
    ),
    Architecture(
        name="squeezenet1_1",
        source="The authors' repository, SqueezeNet_v1.1; torchvision.models.squeezenet1_1",
        input_shape=(3, 224, 224),
        num_classes=1000,
        layers=_layers(
            conv(64, 3, stride=2), relu(), _pool(),
            _fire(16, 64), _fire(16, 64), _pool(),
            _fire(32, 128), _fire(32, 128), _pool(),
            _fire(48, 192), _fire(48, 192), _fire(64, 256), _fire(64, 256),
        ),
        initialiser="squeezenet",
        trainable_parameters=1_235_496,
        differs=(
            "A first convolution of 64 filters of 3 x 3 in place of 96 of 7 x 7, and pools two and three "
            "layers earlier: less than half of squeezenet1_0's work for the same accuracy."
        ),
        year=2016,
        paper=_PAPER,
        macs=349_151_936,
    ),
)  # fmt: skip
