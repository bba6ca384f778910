"""LeNet-5, the network for handwritten digits from which AlexNet descends.

LeCun, Bottou, Bengio and Haffner, "Gradient-Based Learning Applied to Document Recognition", Proceedings of
the IEEE, 1998. Layers have the paper's names, in small letters.
"""

from __future__ import annotations

from minialex.models.architecture import CLASSES, Architecture, avg_pool, conv, dense, flatten, named, tanh

ARCHITECTURES = (
    Architecture(
        name="lenet5",
        source="LeCun et al. 1998",
        input_shape=(1, 28, 28),
        num_classes=10,
        layers=named(
            c1=conv(6, 5, padding=2), tanh1=tanh(), s2=avg_pool(2, 2),
            c3=conv(16, 5), tanh3=tanh(), s4=avg_pool(2, 2),
            c5=conv(120, 5), tanh5=tanh(), flatten=flatten(),
            f6=dense(84), tanh6=tanh(),
            output=dense(CLASSES),
        ),
        initialiser="keras",
        trainable_parameters=61_706,
        differs=(
            "Images of 28 padded by 2, in place of images of 32; C3 sees all maps of S2, which makes 61,706 "
            "parameters of the paper's 60,000; pools without weights; tanh in place of 1.7159 tanh(2x/3); a "
            "dense output layer and cross-entropy in place of Gaussian connections; Glorot's weights."
        ),
        year=1998,
        paper=(
            "LeCun, Bottou, Bengio and Haffner, Gradient-Based Learning Applied to Document Recognition, "
            "Proceedings of the IEEE 86, 1998"
        ),
        macs=416_520,
    ),
)  # fmt: skip
