"""Inception: branches with windows of several sizes side by side.

GoogLeNet is the network of Szegedy, Liu, Jia, Sermanet, Reed, Anguelov, Erhan, Vanhoucke and Rabinovich,
"Going Deeper with Convolutions", CVPR 2015 (2014), with torchvision's names. BN-Inception is that of Ioffe
and Szegedy, "Batch Normalization: Accelerating Deep Network Training by Reducing Internal Covariate Shift",
ICML 2015, with the names of its Caffe model, a branch a level.
"""

from __future__ import annotations

from minialex.models.architecture import (
    CLASSES,
    Architecture,
    Row,
    adaptive_avg_pool,
    avg_pool,
    batch_norm,
    conv,
    dense,
    dropout,
    flatten,
    max_pool,
    named,
    relu,
)
from minialex.models.blocks import auxiliary, branches, sequence


def _basic(outputs: int, kernel_size: int, **options) -> Row:
    """A convolution with batch normalisation in place of a bias."""
    return sequence(
        conv=conv(outputs, kernel_size, bias=False, **options), bn=batch_norm(eps=1e-3), relu=relu()
    )


def _inception(one: int, reduce3: int, three: int, reduce5: int, five: int, pooled: int) -> Row:
    """Figure 2(b): 1 x 1; 3 x 3 and "5 x 5" behind reductions; a pool before a projection."""
    return branches(
        branch1=_basic(one, 1),
        branch2=sequence(_basic(reduce3, 1), _basic(three, 3, padding=1)),
        branch3=sequence(_basic(reduce5, 1), _basic(five, 3, padding=1)),
        branch4=sequence(max_pool(3, 1, padding=1), _basic(pooled, 1)),
    )


def _head() -> Row:
    """Section 5: an auxiliary classifier."""
    return auxiliary(
        avgpool=adaptive_avg_pool(4), conv=_basic(128, 1), flatten=flatten(),
        fc1=dense(1024), relu=relu(), dropout=dropout(0.7), fc2=dense(CLASSES),
    )  # fmt: skip


def _ceil_pool(kernel_size: int) -> Row:
    return max_pool(kernel_size, 2, ceil_mode=True)


# Table 1 of the paper.
_GOOGLENET = named(
    conv1=_basic(64, 7, stride=2, padding=3),
    maxpool1=_ceil_pool(3),
    conv2=_basic(64, 1),
    conv3=_basic(192, 3, padding=1),
    maxpool2=_ceil_pool(3),
    inception3a=_inception(64, 96, 128, 16, 32, 32),
    inception3b=_inception(128, 128, 192, 32, 96, 64),
    maxpool3=_ceil_pool(3),
    inception4a=_inception(192, 96, 208, 16, 48, 64),
    aux1=_head(),
    inception4b=_inception(160, 112, 224, 24, 64, 64),
    inception4c=_inception(128, 128, 256, 24, 64, 64),
    inception4d=_inception(112, 144, 288, 32, 64, 64),
    aux2=_head(),
    inception4e=_inception(256, 160, 320, 32, 128, 128),
    maxpool4=_ceil_pool(2),
    inception5a=_inception(256, 160, 320, 32, 128, 128),
    inception5b=_inception(384, 192, 384, 48, 128, 128),
    avgpool=adaptive_avg_pool(1),
    flatten=flatten(),
    dropout=dropout(0.2),
    fc=dense(CLASSES),
)


def _normalised(outputs: int, kernel_size: int, **options) -> Row:
    """A convolution, which keeps its bias as in Caffe, where batch normalisation and its scale are layers."""
    return sequence(conv=conv(outputs, kernel_size, **options), bn=batch_norm(), relu=relu())


def _three(reduced: int, outputs: int, stride: int = 1) -> Row:
    return sequence(
        {"3x3_reduce": _normalised(reduced, 1), "3x3": _normalised(outputs, 3, stride=stride, padding=1)}
    )


def _double(reduced: int, outputs: int, stride: int = 1) -> Row:
    """Two convolutions of 3 x 3 in place of one of 5 x 5."""
    return sequence(
        {
            "3x3_reduce": _normalised(reduced, 1),
            "3x3_1": _normalised(outputs, 3, padding=1),
            "3x3_2": _normalised(outputs, 3, stride=stride, padding=1),
        }
    )


def _keeping(one: int, three: Row, double: Row, pool: Row, pooled: int) -> Row:
    """A module that keeps the size of its maps."""
    return branches(
        {
            "1x1": _normalised(one, 1),
            "3x3": three,
            "double_3x3": double,
            "pool": sequence(pool=pool, proj=_normalised(pooled, 1)),
        }
    )


def _halving(three: Row, double: Row) -> Row:
    """A module at a stride of 2, whose last branch passes its input on.

    Its pool is TensorFlow's SAME: on maps of even sizes, such as those of 224, that of Caffe, and on others
    as large as what the convolutions give, which Caffe's is not.
    """
    return branches({"3x3": three, "double_3x3": double, "pool": max_pool(3, 2, padding="same")})


def _mean() -> Row:
    return avg_pool(3, 1, padding=1)


# Figure 5 of the paper; 4c and 4d project their pools to 128 channels, as the Caffe model does.
_BN_INCEPTION = named(
    conv1_7x7_s2=_normalised(64, 7, stride=2, padding=3),
    pool1_3x3_s2=_ceil_pool(3),
    conv2_3x3_reduce=_normalised(64, 1),
    conv2_3x3=_normalised(192, 3, padding=1),
    pool2_3x3_s2=_ceil_pool(3),
    inception_3a=_keeping(64, _three(64, 64), _double(64, 96), _mean(), 32),
    inception_3b=_keeping(64, _three(64, 96), _double(64, 96), _mean(), 64),
    inception_3c=_halving(_three(128, 160, stride=2), _double(64, 96, stride=2)),
    inception_4a=_keeping(224, _three(64, 96), _double(96, 128), _mean(), 128),
    inception_4b=_keeping(192, _three(96, 128), _double(96, 128), _mean(), 128),
    inception_4c=_keeping(160, _three(128, 160), _double(128, 160), _mean(), 128),
    inception_4d=_keeping(96, _three(128, 192), _double(160, 192), _mean(), 128),
    inception_4e=_halving(_three(128, 192, stride=2), _double(192, 256, stride=2)),
    inception_5a=_keeping(352, _three(192, 320), _double(160, 224), _mean(), 128),
    inception_5b=_keeping(352, _three(192, 320), _double(192, 224), max_pool(3, 1, padding=1), 128),
    global_pool=adaptive_avg_pool(1),
    flatten=flatten(),
    fc=dense(CLASSES),
)

ARCHITECTURES = (
    Architecture(
        name="googlenet",
        source="Szegedy et al. 2014; torchvision.models.googlenet",
        input_shape=(3, 224, 224),
        num_classes=1000,
        layers=_GOOGLENET,
        initialiser="googlenet",
        trainable_parameters=13_004_888,
        differs=(
            "Batch normalisation after every convolution, in place of LRN after two; 3 x 3 where the paper "
            "has 5 x 5 (a mistake that torchvision keeps, as its weights are trained so); dropout of 0.2 in "
            "place of 0.4. Without the two auxiliary heads, which are for training only, it has 6,624,904 "
            "parameters."
        ),
        year=2014,
        paper=(
            "Szegedy, Liu, Jia, Sermanet, Reed, Anguelov, Erhan, Vanhoucke and Rabinovich, Going Deeper with "
            "Convolutions, CVPR 2015"
        ),
        macs=1_498_376_192,
    ),
    Architecture(
        name="bn_inception",
        source="Ioffe and Szegedy 2015; Caffe's model, in Cadene's pretrained-models.pytorch",
        input_shape=(3, 224, 224),
        num_classes=1000,
        layers=_BN_INCEPTION,
        initialiser="googlenet",
        trainable_parameters=11_295_240,
        differs=(
            "The pool of 4c is projected to 128 channels, the paper prints 96; convolutions have biases; no "
            "separable first convolution and no auxiliary heads, which the paper mentions without their "
            "sizes."
        ),
        year=2015,
        paper=(
            "Ioffe and Szegedy, Batch Normalization: Accelerating Deep Network Training by Reducing Internal "
            "Covariate Shift, ICML 2015"
        ),
        macs=2_032_600_064,
    ),
)  # fmt: skip
