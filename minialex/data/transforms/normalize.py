"""Arithmetic on the values: to 0..1, to mean 0 and standard deviation 1."""

from dataclasses import dataclass

import numpy as np

from minialex.checks import require_number
from minialex.data.transforms.fields import per_channel, text_of_numbers
from minialex.data.transforms.transform import FLOAT32, Shape, Transform
from minialex.errors import DataError

MIN_STD, MAX_STD = 1e-6, 1e6
_MAX_MEAN = 1e6


@dataclass(frozen=True)
class Scale(Transform, name="scale"):
    """Divide by a number, in float32: torchvision's `ToTensor`.

    Keras' `rescale=1/255` multiplies instead, which rounds 126 of the 256 bytes to the neighbouring
    float32.

    Parameters
    ----------
    divisor : float
        From 1e-6 to 1e6.
    """

    pointwise = True
    gives = FLOAT32

    divisor: float = 255.0

    def __post_init__(self):
        self.keep(divisor=require_number("divisor", self.divisor, MIN_STD, MAX_STD, error=DataError))

    def apply(self, image: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """Divide (..., C, H, W) into float32 of the same shape."""
        return np.divide(image, np.float32(self.divisor), out=out, dtype=np.float32)

    def steps(self, shape: Shape) -> list[str]:
        return ["scaled to 0..1" if self.divisor == 255 else f"divided by {self.divisor:g}"]


@dataclass(frozen=True)
class Normalize(Transform, name="normalize"):
    """(x - mean) / std, in float32: torchvision's `Normalize`.

    Parameters
    ----------
    mean, std : float or list of float
        One number for all channels or one per channel, on the scale of the image (0..1 after `scale`,
        0..255 for bytes): mean from -1e6 to 1e6, std from 1e-6 to 1e6.

    Raises
    ------
    DataError
        If an argument is not as described. A call raises it for another number of channels.
    """

    pointwise = True
    gives = FLOAT32

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self):
        self.keep(mean=per_channel("mean", self.mean, -_MAX_MEAN, _MAX_MEAN))
        self.keep(std=per_channel("std", self.std, MIN_STD, MAX_STD))

    def apply(self, image: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """Normalise (..., C, H, W) into float32 of the same shape."""
        out = np.subtract(image, _column(self.mean), out=out, dtype=np.float32)
        out /= _column(self.std)
        return out

    def steps(self, shape: Shape) -> list[str]:
        return [f"mean {text_of_numbers(self.mean)}", f"std {text_of_numbers(self.std)}"]

    def _output_shape(self, shape: Shape) -> Shape:
        _check_channels(self.name, "mean", self.mean, shape)
        _check_channels(self.name, "std", self.std, shape)
        return shape


@dataclass(frozen=True)
class SubtractMean(Transform, name="subtract_mean"):
    """Subtract the mean of each channel over the training set, in float32.

    Krizhevsky et al. (2012, section 2) subtract the mean image, pixel by pixel; the mean of each
    channel, as with Caffe's `mean_value`, is what can be stated in a recipe.

    Parameters
    ----------
    mean : float or list of float
        One number for all channels or one per channel, on the scale of the image; -1e6 to 1e6.

    Raises
    ------
    DataError
        If it is not as described. A call raises it for another number of channels.
    """

    pointwise = True
    gives = FLOAT32

    mean: tuple[float, ...]

    def __post_init__(self):
        self.keep(mean=per_channel("mean", self.mean, -_MAX_MEAN, _MAX_MEAN))

    def apply(self, image: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """Subtract from (..., C, H, W) into float32 of the same shape."""
        return np.subtract(image, _column(self.mean), out=out, dtype=np.float32)

    def steps(self, shape: Shape) -> list[str]:
        return [f"mean {text_of_numbers(self.mean)} subtracted"]

    def _output_shape(self, shape: Shape) -> Shape:
        _check_channels(self.name, "mean", self.mean, shape)
        return shape


def _column(values: tuple[float, ...]) -> np.ndarray:
    """One number per channel as (C, 1, 1)."""
    return np.array(values, dtype=np.float32).reshape(-1, 1, 1)


def _check_channels(name: str, field: str, values: tuple[float, ...], shape: Shape) -> None:
    if len(values) not in (1, shape[-3]):
        raise DataError(
            f"{name} has {len(values)} numbers in {field} for images of {shape[-3]} channels; give one "
            "for all, or one per channel"
        )
