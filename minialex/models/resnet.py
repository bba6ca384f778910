"""ResNets: blocks that add their input to what they make of it.

He, Zhang, Ren and Sun, "Deep Residual Learning for Image Recognition", CVPR 2016 (2015), and, with grouped
convolutions in the blocks, Xie, Girshick, Dollár, Tu and He, "Aggregated Residual Transformations for Deep
Neural Networks", CVPR 2017. Layers have torchvision's names.
"""

from __future__ import annotations

from collections.abc import Callable

from minialex.models.architecture import (
    CLASSES,
    Architecture,
    Row,
    Rows,
    adaptive_avg_pool,
    batch_norm,
    conv,
    dense,
    flatten,
    max_pool,
    named,
    relu,
)
from minialex.models.blocks import residual, sequence


def _shortcut(width: int, stride: int, changes: bool) -> Rows:
    """The projection of the input where the block changes its shape; else nothing, which is the identity."""
    if not changes:
        return ()
    return named(downsample=sequence(conv(width, 1, stride=stride, bias=False), batch_norm()))


def _basic(width: int, stride: int, changes: bool) -> Row:
    """Figure 5, left: two convolutions."""
    return residual(
        named(
            conv1=conv(width, 3, stride=stride, padding=1, bias=False), bn1=batch_norm(), relu1=relu(),
            conv2=conv(width, 3, padding=1, bias=False), bn2=batch_norm(),
        ),
        _shortcut(width, stride, changes),
        named(relu=relu()),
    )  # fmt: skip


def _bottleneck(width: int, groups: int = 1, width_per_group: int = 64) -> Callable[[int, bool], Row]:
    """Figure 5, right: fewer channels in between, for the 3 x 3 convolution, four times as many behind it.

    With groups, figure 3(c) of Xie et al.: the channels in between are `groups` of `width_per_group`, and
    both grow from stage to stage as `width` does.
    """
    inner = width * width_per_group // 64 * groups

    def block(stride: int, changes: bool) -> Row:
        return residual(
            named(
                conv1=conv(inner, 1, bias=False), bn1=batch_norm(), relu1=relu(),
                conv2=conv(inner, 3, stride=stride, padding=1, groups=groups, bias=False), bn2=batch_norm(),
                relu2=relu(),
                conv3=conv(4 * width, 1, bias=False), bn3=batch_norm(),
            ),
            _shortcut(4 * width, stride, changes),
            named(relu=relu()),
        )  # fmt: skip

    return block


def _stage(block: Callable[[int, bool], Row], count: int, stride: int = 2, changes: bool = True) -> Row:
    """Blocks of one width; the first of them changes the shape."""
    return sequence(block(stride, changes), *(block(1, False) for _ in range(count - 1)))


def _layers(stage1: Row, stage2: Row, stage3: Row, stage4: Row) -> Rows:
    """Table 1 of the paper, a column."""
    return named(
        conv1=conv(64, 7, stride=2, padding=3, bias=False), bn1=batch_norm(), relu=relu(),
        maxpool=max_pool(3, 2, padding=1),
        layer1=stage1,
        layer2=stage2,
        layer3=stage3,
        layer4=stage4,
        avgpool=adaptive_avg_pool(1), flatten=flatten(), fc=dense(CLASSES),
    )  # fmt: skip


def _basic_layers(counts: tuple[int, int, int, int]) -> Rows:
    def block(width: int) -> Callable[[int, bool], Row]:
        return lambda stride, changes: _basic(width, stride, changes)

    first, *others = counts
    return _layers(
        _stage(block(64), first, stride=1, changes=False),  # max-pooling gives its 64 channels
        *(_stage(block(width), count) for width, count in zip((128, 256, 512), others, strict=True)),
    )


def _bottleneck_layers(counts: tuple[int, int, int, int], **groups: int) -> Rows:
    first, *others = counts
    return _layers(
        _stage(_bottleneck(64, **groups), first, stride=1),
        *(
            _stage(_bottleneck(width, **groups), count)
            for width, count in zip((128, 256, 512), others, strict=True)
        ),
    )


_PAPER = "He, Zhang, Ren and Sun, Deep Residual Learning for Image Recognition, CVPR 2016"

ARCHITECTURES = (
    Architecture(
        name="resnet18",
        source="He et al. 2015; torchvision.models.resnet18",
        input_shape=(3, 224, 224),
        num_classes=1000,
        layers=_basic_layers((2, 2, 2, 2)),
        initialiser="resnet",
        trainable_parameters=11_689_512,
        differs=(
            "Nothing but the shortcuts: where a stage begins they are projections (the paper's option B), as"
            " in its deeper networks."
        ),
        year=2015,
        paper=_PAPER,
        macs=1_814_073_344,
    ),
    Architecture(
        name="resnet34",
        source="He et al. 2015; torchvision.models.resnet34",
        input_shape=(3, 224, 224),
        num_classes=1000,
        layers=_basic_layers((3, 4, 6, 3)),
        initialiser="resnet",
        trainable_parameters=21_797_672,
        differs="Nothing: shortcuts are projections where a stage begins (the paper's option B).",
        year=2015,
        paper=_PAPER,
        macs=3_663_761_408,
    ),
    Architecture(
        name="resnet50",
        source="He et al. 2015; torchvision.models.resnet50",
        input_shape=(3, 224, 224),
        num_classes=1000,
        layers=_bottleneck_layers((3, 4, 6, 3)),
        initialiser="resnet",
        trainable_parameters=25_557_032,
        differs=(
            "Where a stage begins, the 3 x 3 convolution has the stride of 2, not the 1 x 1 before it, which"
            " looks at a quarter of its input only (version 1.5, of torchvision and of Facebook's Torch)."
        ),
        year=2015,
        paper=_PAPER,
        macs=4_089_184_256,
    ),
    Architecture(
        name="resnext50_32x4d",
        source="Xie et al. 2016; torchvision.models.resnext50_32x4d",
        input_shape=(3, 224, 224),
        num_classes=1000,
        layers=_bottleneck_layers((3, 4, 6, 3), groups=32, width_per_group=4),
        initialiser="resnet",
        trainable_parameters=25_028_904,
        differs=(
            "Nothing: resnet50 with twice the channels in the 3 x 3 convolutions, in 32 groups, for the same"
            " cost."
        ),
        year=2016,
        paper=(
            "Xie, Girshick, Dollár, Tu and He, Aggregated Residual Transformations for Deep Neural Networks, "
            "CVPR 2017"
        ),
        macs=4_230_479_872,
    ),
)  # fmt: skip
