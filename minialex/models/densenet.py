"""DenseNet: every layer sees the maps of all layers before it.

Huang, Liu, van der Maaten and Weinberger, "Densely Connected Convolutional Networks", CVPR 2017 (2016).
Layers have torchvision's names.
"""

from __future__ import annotations

from minialex.models.architecture import (
    CLASSES,
    Architecture,
    Row,
    Rows,
    adaptive_avg_pool,
    avg_pool,
    batch_norm,
    conv,
    dense,
    flatten,
    max_pool,
    named,
    relu,
)
from minialex.models.blocks import densely_connected, sequence


def _dense_layer(growth: int) -> Row:
    """Section 3, DenseNet-B: a bottleneck of four times the growth before the 3 x 3 convolution."""
    return densely_connected(
        norm1=batch_norm(), relu1=relu(), conv1=conv(4 * growth, 1, bias=False),
        norm2=batch_norm(), relu2=relu(), conv2=conv(growth, 3, padding=1, bias=False),
    )  # fmt: skip


def _dense_block(count: int, growth: int) -> Row:
    return sequence({f"denselayer{i + 1}": _dense_layer(growth) for i in range(count)})


def _transition(outputs: int) -> Row:
    return sequence(norm=batch_norm(), relu=relu(), conv=conv(outputs, 1, bias=False), pool=avg_pool(2, 2))


def _layers(counts: tuple[int, int, int, int], growth: int = 32) -> Rows:
    """Table 1 of the paper, a column; a transition halves the channels (DenseNet-C)."""
    width = 2 * growth
    features: dict[str, Row] = {
        "conv0": conv(width, 7, stride=2, padding=3, bias=False), "norm0": batch_norm(), "relu0": relu(),
        "pool0": max_pool(3, 2, padding=1),
    }  # fmt: skip
    for i, count in enumerate(counts, start=1):
        features[f"denseblock{i}"] = _dense_block(count, growth)
        width += count * growth
        if i < len(counts):
            width //= 2
            features[f"transition{i}"] = _transition(width)
    features["norm5"] = batch_norm()
    return named(
        features=sequence(features),
        relu=relu(),
        avgpool=adaptive_avg_pool(1),
        flatten=flatten(),
        classifier=dense(CLASSES),
    )


ARCHITECTURES = (
    Architecture(
        name="densenet121",
        source="Huang et al. 2016; torchvision.models.densenet121",
        input_shape=(3, 224, 224),
        num_classes=1000,
        layers=_layers((6, 12, 24, 16)),
        initialiser="densenet",
        trainable_parameters=7_978_856,
        differs="Nothing: it is the paper's DenseNet-BC with a growth of 32.",
        year=2016,
        paper=(
            "Huang, Liu, van der Maaten and Weinberger, Densely Connected Convolutional Networks, CVPR 2017"
        ),
        macs=2_834_161_664,
    ),
)
