"""Channels and colours."""

from dataclasses import dataclass

import numpy as np

from minialex.checks import require_number
from minialex.data.sample_random import SampleRandom
from minialex.data.transforms.fields import numbers
from minialex.data.transforms.transform import FLOAT32, UINT8, Shape, Transform
from minialex.errors import DataError

_MAX_EIGENVALUE = 1e6


@dataclass(frozen=True)
class ToGrey(Transform, name="to_grey"):
    """RGB to grey by the ITU-R 601 luma, in Pillow's fixed point; grey stays as it is.

    (19595 R + 38470 G + 7471 B + 32768) >> 16, which is torchvision's `Grayscale` on a Pillow image.
    A call raises `DataError` for images that have neither 1 nor 3 channels.
    """

    takes = (UINT8,)

    def apply(self, image: np.ndarray) -> np.ndarray:
        """Turn uint8 (..., 3 or 1, H, W) into uint8 (..., 1, H, W)."""
        if image.shape[-3] == 1:
            return image
        red, green, blue = np.moveaxis(image.astype(np.uint32), -3, 0)
        grey = (19595 * red + 38470 * green + 7471 * blue + 32768) >> 16
        return grey.astype(np.uint8)[..., np.newaxis, :, :]

    def steps(self, shape: Shape) -> list[str]:
        """Return the phrase; none for grey images."""
        return ["converted to grey (ITU-R 601 luma)"] if shape[-3] == 3 else []

    def _output_shape(self, shape: Shape) -> Shape:
        _check_grey_or_rgb(self.name, shape)
        return (*shape[:-3], 1, *shape[-2:])


@dataclass(frozen=True)
class ToRgb(Transform, name="to_rgb"):
    """Grey repeated to three channels; RGB stays as it is.

    A call raises `DataError` for images that have neither 1 nor 3 channels.
    """

    def apply(self, image: np.ndarray) -> np.ndarray:
        """Return (..., 3, H, W) of (..., 3 or 1, H, W), a read-only view."""
        return np.broadcast_to(image, self._output_shape(image.shape))

    def steps(self, shape: Shape) -> list[str]:
        """Return the phrase; none for RGB images."""
        return ["repeated to 3 channels"] if shape[-3] == 1 else []

    def _output_shape(self, shape: Shape) -> Shape:
        _check_grey_or_rgb(self.name, shape)
        return (*shape[:-3], 3, *shape[-2:])


@dataclass(frozen=True)
class Invert(Transform, name="invert"):
    """255 - x, which turns black on white into white on black."""

    takes = (UINT8,)

    def apply(self, image: np.ndarray) -> np.ndarray:
        """Return 255 - x for uint8 (..., C, H, W)."""
        return 255 - image

    def steps(self, shape: Shape) -> list[str]:
        return ["inverted"]


@dataclass(frozen=True)
class PcaNoise(Transform, name="pca_noise"):
    """Add one random colour to all pixels, along the principal components of the training set's colours.

    To each pixel [R, G, B] it adds a1 l1 p1 + a2 l2 p2 + a3 l3 p3, where p and l are the eigenvectors
    and eigenvalues of the covariance of the training set's pixel values and each a is drawn from
    N(0, sigma) once per image and use (Krizhevsky et al., 2012, section 4.1).

    The formula depends on the scale, for l is a variance: it grows with the square of the values, the
    noise should grow with the values themselves. Here values are 0..1: put `scale` before, and take p
    and l from `pca_of`, which has that scale. With values 0..255 the same formula gives noise 255 times
    as strong. The values 0.2175, 0.0188, 0.0045 that many programs use for ImageNet are no variances
    on the scale 0..1 (their sum exceeds that of ImageNet's variances, 0.15) but nearer to standard
    deviations; give them as eigenvalues to do as those programs do.

    Parameters
    ----------
    eigenvalues : list of float
        l1, l2, l3; from 0 to 1e6.
    eigenvectors : list of list of float
        p1, p2, p3, each [R, G, B] of length 1, at right angles to each other.
    sigma : float
        The standard deviation of the a's; 0 to 1e6.

    Raises
    ------
    DataError
        If an argument is not as described. A call raises it for images that are not RGB.
    """

    batched = False
    takes = (FLOAT32,)

    eigenvalues: tuple[float, ...]
    eigenvectors: tuple[tuple[float, ...], ...]
    sigma: float = 0.1

    def __post_init__(self):
        values = numbers("eigenvalues", self.eigenvalues, 0.0, _MAX_EIGENVALUE, count=3)
        sigma = require_number("sigma", self.sigma, 0.0, _MAX_EIGENVALUE, error=DataError)
        self.keep(eigenvalues=values, eigenvectors=_checked_vectors(self.eigenvectors), sigma=sigma)

    def apply(self, image: np.ndarray, random: SampleRandom) -> np.ndarray:
        """Add a colour to float32 (3, H, W)."""
        amounts = [self.sigma * random.normal() * value for value in self.eigenvalues]
        colour = np.array(amounts) @ np.array(self.eigenvectors)
        return image + colour.astype(np.float32).reshape(3, 1, 1)

    def steps(self, shape: Shape) -> list[str]:
        return [f"colour noise along the principal components (sigma {self.sigma:g})"]

    def _output_shape(self, shape: Shape) -> Shape:
        if shape[-3] != 3:
            raise DataError(f"{self.name} takes RGB images of 3 channels, not {shape[-3]}")
        return shape


def _checked_vectors(vectors: object) -> tuple[tuple[float, ...], ...]:
    if not isinstance(vectors, tuple | list) or len(vectors) != 3:
        raise DataError("eigenvectors must be a list of three lists [R, G, B]")
    vectors = tuple(numbers("eigenvectors", vector, -1.0, 1.0, count=3) for vector in vectors)
    # Settings may have been written with six digits.
    if np.abs(np.array(vectors) @ np.array(vectors).T - np.eye(3)).max() > 1e-4:
        raise DataError(
            f"eigenvectors must have length 1 and be at right angles to each other, not {list(vectors)}"
        )
    return vectors


def _check_grey_or_rgb(name: str, shape: Shape) -> None:
    if shape[-3] not in (1, 3):
        raise DataError(f"{name} takes images of 1 or 3 channels, not {shape[-3]}")
