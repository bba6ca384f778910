"""ShuffleNet v2: half of the channels pass each unit by, and are then mixed with the others.

Ma, Zhang, Zheng and Sun, "ShuffleNet V2: Practical Guidelines for Efficient CNN Architecture Design", ECCV
2018. Layers have torchvision's names.
"""

from __future__ import annotations

from minialex.models.architecture import (
    CLASSES,
    Architecture,
    Row,
    Rows,
    adaptive_avg_pool,
    batch_norm,
    channel_shuffle,
    conv,
    dense,
    depthwise_conv,
    flatten,
    max_pool,
    named,
    relu,
)
from minialex.models.blocks import branches, sequence


def _pointwise(outputs: int) -> tuple[Row, ...]:
    return conv(outputs, 1, bias=False), batch_norm(), relu()


def _depthwise(stride: int) -> tuple[Row, ...]:
    return depthwise_conv(3, stride=stride, padding=1, bias=False), batch_norm()


def _unit(width: int) -> Row:
    """Figure 3(c): the first half of the channels passes, the second is filtered."""
    return branches(
        branch1=sequence(),
        branch2=sequence(*_pointwise(width), *_depthwise(1), *_pointwise(width)),
        split=True,
        end=named(shuffle=channel_shuffle(2)),
    )


def _downsampling_unit(width: int) -> Row:
    """Figure 3(d): both branches filter all channels, at a stride of 2."""
    return branches(
        branch1=sequence(*_depthwise(2), *_pointwise(width)),
        branch2=sequence(*_pointwise(width), *_depthwise(2), *_pointwise(width)),
        end=named(shuffle=channel_shuffle(2)),
    )


def _stage(outputs: int, count: int) -> Row:
    width = outputs // 2  # of each branch
    return sequence(_downsampling_unit(width), *(_unit(width) for _ in range(count - 1)))


def _layers(stage2: int, stage3: int, stage4: int) -> Rows:
    """Table 5 of the paper, a column."""
    return named(
        conv1=sequence(conv(24, 3, stride=2, padding=1, bias=False), batch_norm(), relu()),
        maxpool=max_pool(3, 2, padding=1),
        stage2=_stage(stage2, 4),
        stage3=_stage(stage3, 8),
        stage4=_stage(stage4, 4),
        conv5=sequence(*_pointwise(1024)),
        avgpool=adaptive_avg_pool(1),
        flatten=flatten(),
        fc=dense(CLASSES),
    )


ARCHITECTURES = (
    Architecture(
        name="shufflenet_v2_x1_0",
        source="Ma et al. 2018; torchvision.models.shufflenet_v2_x1_0",
        input_shape=(3, 224, 224),
        num_classes=1000,
        layers=_layers(116, 232, 464),
        initialiser="pytorch",
        trainable_parameters=2_278_604,
        differs="Nothing but the weights at the start, PyTorch's default, as in torchvision.",
        year=2018,
        paper=(
            "Ma, Zhang, Zheng and Sun, ShuffleNet V2: Practical Guidelines for Efficient CNN Architecture "
            "Design, ECCV 2018"
        ),
        macs=144_907_992,
    ),
)
