"""MobileNets: depthwise convolutions, one window a channel, between convolutions of 1 x 1.

Howard et al., "MobileNets: Efficient Convolutional Neural Networks for Mobile Vision Applications", 2017,
arXiv:1704.04861, with the names of TensorFlow's model; Sandler, Howard, Zhu, Zhmoginov and Chen,
"MobileNetV2: Inverted Residuals and Linear Bottlenecks", CVPR 2018, with torchvision's.
"""

from __future__ import annotations

from minialex.models.architecture import (
    CLASSES,
    Architecture,
    Layer,
    Row,
    Rows,
    adaptive_avg_pool,
    batch_norm,
    conv,
    dense,
    depthwise_conv,
    dropout,
    flatten,
    named,
    relu6,
)
from minialex.models.blocks import residual, sequence


def _v1_part(convolution: Layer) -> Row:
    return sequence(conv=convolution, bn=batch_norm(eps=1e-3), relu=relu6())


def _v1_layers() -> Rows:
    """Table 1 of the paper: the outputs and stride of each separable convolution."""
    rows = {"Conv2d_0": _v1_part(conv(32, 3, stride=2, padding="same", bias=False))}
    separable = (
        (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2), (1024, 1)
    )  # fmt: skip
    for i, (outputs, stride) in enumerate(separable, start=1):
        depthwise = depthwise_conv(3, stride=stride, padding="same", bias=False)
        rows[f"Conv2d_{i}_depthwise"] = _v1_part(depthwise)
        rows[f"Conv2d_{i}_pointwise"] = _v1_part(conv(outputs, 1, bias=False))
    return named(
        rows, AvgPool=adaptive_avg_pool(1), flatten=flatten(), Dropout=dropout(0.001), Logits=dense(CLASSES)
    )


def _v2_part(convolution: Layer) -> Row:
    return sequence(convolution, batch_norm(), relu6())


def _inverted_residual(inputs: int, outputs: int, stride: int, expansion: int) -> Row:
    """Section 3.4: expanded, filtered depthwise, projected without a ReLU; added where the shape stays."""
    parts: list[Row] = [_v2_part(conv(inputs * expansion, 1, bias=False))] if expansion > 1 else []
    parts += [
        _v2_part(depthwise_conv(3, stride=stride, padding=1, bias=False)),
        conv(outputs, 1, bias=False), batch_norm(),
    ]  # fmt: skip
    body = sequence(*parts)
    return residual(named(conv=body)) if stride == 1 and inputs == outputs else sequence(conv=body)


def _v2_layers() -> Rows:
    """Table 2 of the paper: expansion, outputs, how many, and the stride of the first."""
    features, inputs = [_v2_part(conv(32, 3, stride=2, padding=1, bias=False))], 32
    for expansion, outputs, count, stride in (
        (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2),
        (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1),
    ):  # fmt: skip
        for i in range(count):
            features.append(_inverted_residual(inputs, outputs, 1 if i else stride, expansion))
            inputs = outputs
    features.append(_v2_part(conv(1280, 1, bias=False)))
    return named(
        features=sequence(*features),
        avgpool=adaptive_avg_pool(1),
        flatten=flatten(),
        classifier=sequence(dropout(0.2), dense(CLASSES)),
    )


ARCHITECTURES = (
    Architecture(
        name="mobilenet_v1",
        source="Howard et al. 2017; TensorFlow's mobilenet_v1, Keras's MobileNet",
        input_shape=(3, 224, 224),
        num_classes=1000,
        layers=_v1_layers(),
        initialiser="mobilenet_v1",
        trainable_parameters=4_231_976,
        differs=(
            "As in TensorFlow: ReLU ends at 6, and the dense layer has a dropout of 0.001. The running "
            "statistics move by 0.1 a step, where TensorFlow's move by 0.0003, which suits long trainings "
            "only."
        ),
        year=2017,
        paper=(
            "Howard, Zhu, Chen, Kalenichenko, Wang, Weyand, Andreetto and Adam, MobileNets: Efficient "
            "Convolutional Neural Networks for Mobile Vision Applications, arXiv:1704.04861"
        ),
        macs=568_740_352,
    ),
    Architecture(
        name="mobilenet_v2",
        source="Sandler et al. 2018; torchvision.models.mobilenet_v2",
        input_shape=(3, 224, 224),
        num_classes=1000,
        layers=_v2_layers(),
        initialiser="he_fan_out",
        trainable_parameters=3_504_872,
        differs="Nothing but He's weights by fan-out at the start, and dropout of 0.2, as in torchvision.",
        year=2018,
        paper=(
            "Sandler, Howard, Zhu, Zhmoginov and Chen, MobileNetV2: Inverted Residuals and Linear "
            "Bottlenecks, CVPR 2018"
        ),
        macs=300_774_272,
    ),
)  # fmt: skip
