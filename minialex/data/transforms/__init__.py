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

The same transforms have torchvision's names and take its images. There are two forms of one thing:

- arrays in batches. A `Pipeline` knows what its images become before it sees one, works on whole batches,
  and can be written into a recipe. It is the `transform` of a `DataLoader`.
- PIL images and tensors one by one. A `Compose` is any functions in a row; it is the `transform` of a data
  set.

    transform = Compose([RandomResizedCrop(224), RandomHorizontalFlip(), ToTensor(), Normalize(0.5, 0.5)])
    x = transform(pil_image)                    # a tensor, float32 (3, 224, 224)

A transform gives the kind of image it was given, with the same numbers in either form. What it draws comes
from the stream of `minialex.manual_seed`, or, in a loader, from that of the sample, whatever its number of
workers. The loader's workers are threads; processes forked by others have to call `manual_seed`, each with a
number of its own.
"""

from minialex.data.transforms.colour import Invert, PcaNoise, ToGrey, ToRgb
from minialex.data.transforms.conversion import Compose, ConvertImageDtype, Lambda, PILToTensor, ToTensor
from minialex.data.transforms.crop import CenterCrop, RandomCrop, RandomResizedCrop, TenCrop
from minialex.data.transforms.flip import HorizontalFlip, RandomHorizontalFlip, RandomVerticalFlip
from minialex.data.transforms.geometry import Pad, RandomRotation
from minialex.data.transforms.interpolation import InterpolationMode
from minialex.data.transforms.jitter import ColorJitter, Grayscale, RandomErasing, RandomGrayscale
from minialex.data.transforms.normalize import Normalize, Scale, SubtractMean
from minialex.data.transforms.pipeline import Pipeline, standard_pipeline
from minialex.data.transforms.resize import Resize
from minialex.data.transforms.resize_with_pad import ResizeWithPad
from minialex.data.transforms.shift import Shift
from minialex.data.transforms.transform import TRANSFORMS, Transform

__all__ = [
    "TRANSFORMS",
    "CenterCrop",
    "ColorJitter",
    "Compose",
    "ConvertImageDtype",
    "Grayscale",
    "HorizontalFlip",
    "InterpolationMode",
    "Invert",
    "Lambda",
    "Normalize",
    "PILToTensor",
    "Pad",
    "PcaNoise",
    "Pipeline",
    "RandomCrop",
    "RandomErasing",
    "RandomGrayscale",
    "RandomHorizontalFlip",
    "RandomResizedCrop",
    "RandomRotation",
    "RandomVerticalFlip",
    "Resize",
    "ResizeWithPad",
    "Scale",
    "Shift",
    "SubtractMean",
    "TenCrop",
    "ToGrey",
    "ToRgb",
    "ToTensor",
    "Transform",
    "standard_pipeline",
]
