"""ZFNet: AlexNet with a finer look at the image, found by looking at what AlexNet's filters see.

Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks", ECCV 2014 (2013).
"""

from __future__ import annotations

from minialex.models.architecture import (
    CLASSES,
    Architecture,
    conv,
    dense,
    dropout,
    flatten,
    lrn,
    max_pool,
    relu,
)

ARCHITECTURES = (
    Architecture(
        name="zfnet",
        source="Zeiler and Fergus 2013, figure 3",
        input_shape=(3, 224, 224),
        num_classes=1000,
        layers=(
            conv(96, 7, stride=2, padding=1), relu(), max_pool(3, 2, padding=1), lrn(),
            conv(256, 5, stride=2), relu(), max_pool(3, 2, padding=1), lrn(),
            conv(384, 3, padding=1), relu(),
            conv(384, 3, padding=1), relu(),
            conv(256, 3, padding=1), relu(), max_pool(3, 2),
            flatten(),
            dense(4096), relu(), dropout(),
            dense(4096), relu(), dropout(),
            dense(CLASSES),
        ),
        initialiser="zfnet",
        trainable_parameters=62_357_608,
        differs=(
            "Where the paper is silent: padding is what its 110, 55, 26 and 13 positions need, LRN has "
            "AlexNet's parameters. Of AlexNet it differs by windows of 7 at a stride of 2 in conv1, a stride"
            " of 2 in conv2, no groups, and pools before LRN."
        ),
        year=2013,
        paper="Zeiler and Fergus, Visualizing and Understanding Convolutional Networks, ECCV 2014",
        macs=1_168_032_896,
    ),
)  # fmt: skip
