"""Transforms: the steps between an image and a network's input, each with a name that recipes use.

An image is uint8 or float32 of shape (C, H, W); bytes are 0..255. Those that draw random numbers take
them from a `SampleRandom`, so that a sample's augmentation is a function of (seed, epoch, sample number).
Each transform says whose semantics it has; docs/transforms.md has the table.

    pipeline = Pipeline.from_list([
        {"name": "random_resized_crop", "size": [224, 224]},
        {"name": "horizontal_flip"},
        {"name": "scale"},
        {"name": "normalize", "mean": 0.5, "std": 0.5},
    ])
    x = pipeline(image, SampleRandom(seed, epoch, index))
"""

from minialex.data.transforms.colour import Invert, PcaNoise, ToGrey, ToRgb
from minialex.data.transforms.crop import CenterCrop, RandomCrop, RandomResizedCrop, TenCrop
from minialex.data.transforms.flip import HorizontalFlip
from minialex.data.transforms.normalize import Normalize, Scale, SubtractMean
from minialex.data.transforms.pipeline import Pipeline, standard_pipeline
from minialex.data.transforms.resize import Resize
from minialex.data.transforms.resize_with_pad import ResizeWithPad
from minialex.data.transforms.shift import Shift
from minialex.data.transforms.transform import TRANSFORMS, Transform

__all__ = [
    "TRANSFORMS",
    "CenterCrop",
    "HorizontalFlip",
    "Invert",
    "Normalize",
    "PcaNoise",
    "Pipeline",
    "RandomCrop",
    "RandomResizedCrop",
    "Resize",
    "ResizeWithPad",
    "Scale",
    "Shift",
    "SubtractMean",
    "TenCrop",
    "ToGrey",
    "ToRgb",
    "Transform",
    "standard_pipeline",
]
