"""Network in network: after each convolution a small network at every position, and no dense layers.

Lin, Chen and Yan, "Network In Network", ICLR 2014 (2013). The network for ImageNet is the authors' for Caffe,
whose names its layers have: cccp is cascaded cross-channel parametric pooling, a convolution of 1 x 1.
"""

from __future__ import annotations

from minialex.models.architecture import (
    CLASSES,
    Architecture,
    adaptive_avg_pool,
    conv,
    dropout,
    flatten,
    max_pool,
    named,
    relu,
)

ARCHITECTURES = (
    Architecture(
        name="nin",
        source="Caffe's model zoo, Network in Network ImageNet model, by Lin",
        input_shape=(3, 224, 224),
        num_classes=1000,
        layers=named(
            {
                "conv1": conv(96, 11, stride=4), "relu0": relu(),
                "cccp1": conv(96, 1), "relu1": relu(),
                "cccp2": conv(96, 1), "relu2": relu(), "pool0": max_pool(3, 2, ceil_mode=True),
                "conv2": conv(256, 5, padding=2), "relu3": relu(),
                "cccp3": conv(256, 1), "relu5": relu(),
                "cccp4": conv(256, 1), "relu6": relu(), "pool2": max_pool(3, 2, ceil_mode=True),
                "conv3": conv(384, 3, padding=1), "relu7": relu(),
                "cccp5": conv(384, 1), "relu8": relu(),
                "cccp6": conv(384, 1), "relu9": relu(), "pool3": max_pool(3, 2, ceil_mode=True),
                "drop": dropout(),
                "conv4-1024": conv(1024, 3, padding=1), "relu10": relu(),
                "cccp7-1024": conv(1024, 1), "relu11": relu(),
                "cccp8-1024": conv(CLASSES, 1), "relu12": relu(),
                "pool4": adaptive_avg_pool(1), "flatten": flatten(),
            }
        ),
        initialiser="nin",
        trainable_parameters=7_595_176,
        differs=(
            "The paper's networks are for images of 32; this is its authors' for ImageNet, with AlexNet's "
            "windows. Global average pooling takes whatever positions there are, not 6 x 6 only."
        ),
        year=2013,
        paper="Lin, Chen and Yan, Network In Network, ICLR 2014",
        macs=1_100_188_800,
    ),
)  # fmt: skip
