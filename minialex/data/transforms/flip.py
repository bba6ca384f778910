"""Mirror images."""

from dataclasses import dataclass

import numpy as np

from minialex.checks import require_number
from minialex.data.sample_random import SampleRandom
from minialex.data.transforms.transform import Shape, Transform
from minialex.errors import DataError


@dataclass(frozen=True)
class RandomHorizontalFlip(Transform, name="horizontal_flip"):
    """Mirror the image left to right with probability `p`: torchvision's `RandomHorizontalFlip`.

    Parameters
    ----------
    p : float
        From 0 to 1.
    """

    batched = False

    p: float = 0.5

    def __post_init__(self):
        self.keep(p=require_number("p", self.p, 0.0, 1.0, error=DataError))

    def apply(self, image: np.ndarray, random: SampleRandom) -> np.ndarray:
        """Return (..., C, H, W), mirrored or not; a view either way."""
        return image[..., ::-1] if random.bernoulli(self.p) else image

    def steps(self, shape: Shape) -> list[str]:
        return [f"mirrored left to right with probability {self.p:g}"]


HorizontalFlip = RandomHorizontalFlip


@dataclass(frozen=True)
class RandomVerticalFlip(Transform, name="vertical_flip"):
    """Mirror the image top to bottom with probability `p`: torchvision's `RandomVerticalFlip`.

    Parameters
    ----------
    p : float
        From 0 to 1.
    """

    batched = False

    p: float = 0.5

    def __post_init__(self):
        self.keep(p=require_number("p", self.p, 0.0, 1.0, error=DataError))

    def apply(self, image: np.ndarray, random: SampleRandom) -> np.ndarray:
        """Return (..., C, H, W), mirrored or not; a view either way."""
        return image[..., ::-1, :] if random.bernoulli(self.p) else image

    def steps(self, shape: Shape) -> list[str]:
        return [f"mirrored top to bottom with probability {self.p:g}"]
