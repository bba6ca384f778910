"""Transforms in a row: from the bytes of an image to the numbers that a network reads."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import takewhile

import numpy as np

from minialex.checks import in_words, require_flag, require_int
from minialex.data.sample_random import SampleRandom
from minialex.data.transforms.colour import Invert, ToGrey, ToRgb
from minialex.data.transforms.crop import TenCrop
from minialex.data.transforms.fields import MAX_LENGTH, numbers
from minialex.data.transforms.normalize import MAX_STD, MIN_STD, Normalize, Scale
from minialex.data.transforms.resize import Resize
from minialex.data.transforms.transform import FLOAT32, UINT8, Shape, Transform, from_dict, text_of_shape
from minialex.errors import DataError

_COLOURS = {1: "grey", 3: "RGB"}
_MAX_TRANSFORMS = 100
# Bytes of the result that are worked on at a time: few enough to stay in a cache, from one step to the next.
_PART_BYTES = 1 << 21


@dataclass(frozen=True)
class Pipeline:
    """Transforms that are applied one after the other.

    The image starts as uint8 (C, H, W) and must end as float32. `ten_crop` may be followed only by
    transforms that work on any leading axes.

    Parameters
    ----------
    transforms : sequence of Transform
        From 1 to 100.

    Raises
    ------
    DataError
        If a transform does not take the dtype, or the number of axes, that those before it give, or
        the last does not give float32.
    """

    transforms: tuple[Transform, ...]

    def __post_init__(self):
        object.__setattr__(self, "transforms", _checked_transforms(self.transforms))

    @cached_property
    def is_random(self) -> bool:
        """Whether a transform draws random numbers."""
        return not all(transform.batched for transform in self.transforms)

    def __call__(self, image: np.ndarray, random: SampleRandom | None = None) -> np.ndarray:
        """Return what the transforms make of one image.

        Parameters
        ----------
        image : numpy.ndarray
            uint8, shape (C, H, W).
        random : SampleRandom, optional
            The random numbers of this sample in this epoch; needed if `is_random`.

        Returns
        -------
        numpy.ndarray
            float32, contiguous, shape (C, H, W); (10, C, H, W) with `ten_crop`.

        Raises
        ------
        DataError
            If a transform does not take the image, or `random` is needed.
        """
        return self.batch([image], [random])[0]

    def batch(
        self, images: np.ndarray | Sequence[np.ndarray], randoms: Sequence[SampleRandom | None] | None = None
    ) -> np.ndarray:
        """Return what the transforms make of several images, the same bits as one by one.

        Parameters
        ----------
        images : numpy.ndarray or sequence of numpy.ndarray
            uint8, shape (B, C, H, W), or B images of any sizes, B at least 1 unless it is an array.
        randoms : sequence of SampleRandom, optional
            Shape (B,); needed if `is_random`.

        Returns
        -------
        numpy.ndarray
            float32, contiguous, shape (B, C, H, W); (B, 10, C, H, W) with `ten_crop`.

        Raises
        ------
        DataError
            If a transform does not take an image, the results differ in shape, or `randoms` are
            needed or are not as many as images.
        """
        images, samples = _checked_images(images), self._checked_randoms(randoms, len(images))
        shape = self._common_output(images)
        out = np.empty((len(images), *shape), dtype=np.float32)
        count = max(1, _PART_BYTES // (4 * math.prod(shape)))
        for start in range(0, len(images), count):
            part = slice(start, start + count)
            self._run(images[part], samples[part], out[part])
        return out

    def output_shape(self, source_shape: Shape) -> Shape:
        """Return the shape that images of shape (C, H, W) end with.

        H and W may be None, in the argument and in the result, where they differ from image to image.

        Raises
        ------
        DataError
            If a transform does not take what it is given.
        """
        shape = tuple(source_shape)
        if len(shape) != 3:
            raise DataError(f"images must have a shape (C, H, W), not {in_words(shape)}")
        for transform in self.transforms:
            shape = transform.output_shape(shape)
        return shape

    def check_output(self, source_shape: Shape, input_shape: Sequence[int]) -> None:
        """Check that images of shape (C, H, W) become a network's input (C, H, W), or ten of them.

        Raises
        ------
        DataError
            If they become another shape, or one that differs from image to image.
        """
        shape = self.output_shape(source_shape)
        if shape[-3:] != tuple(input_shape):
            result = text_of_shape(shape[-3:])
            raise DataError(
                f"images of {text_of_shape(source_shape)} become {result}, but the network's input is "
                f"{text_of_shape(input_shape)}; change the transforms or the model"
            )

    def steps(self, source_shape: Shape) -> list[str]:
        """Return what is done to images of shape (C, H, W), one phrase a step, in order.

        Raises
        ------
        DataError
            If a transform does not take what it is given.
        """
        self.output_shape(source_shape)
        phrases, shape = [], tuple(source_shape)
        for transform in self.transforms:
            phrases += transform.steps(shape)
            shape = transform.output_shape(shape)
        return phrases

    def describe(self, source_shape: Shape) -> str:
        """Return the source and the steps as one line.

        For example "28 x 28 grey, resized to 227 x 227 (bilinear), repeated to 3 channels, scaled
        to 0..1, mean 0.1307, std 0.3081".

        Raises
        ------
        DataError
            If a transform does not take what it is given.
        """
        steps = self.steps(source_shape)
        channels, height, width = source_shape
        colour = _COLOURS.get(channels, f"with {channels} channels")
        sizes = "any size" if height is None or width is None else f"{height} x {width}"
        return ", ".join([f"{sizes} {colour}", *steps])

    def inverted(self) -> "Pipeline":
        """Return the pipeline with black and white swapped: `invert` added, or taken out if it is there."""
        kept = [transform for transform in self.transforms if not isinstance(transform, Invert)]
        if len(kept) == len(self.transforms):
            makes_floats = [transform.gives == FLOAT32 for transform in kept]
            kept.insert(makes_floats.index(True), Invert())
        return Pipeline(tuple(kept))

    def to_list(self) -> list[dict]:
        """Return the transforms as tables that JSON and TOML can hold; `from_list` reads them back."""
        return [transform.to_dict() for transform in self.transforms]

    @classmethod
    def from_list(cls, values: object) -> "Pipeline":
        """Return the pipeline of tables such as {"name": "random_resized_crop", "size": [224, 224]}.

        Raises
        ------
        DataError
            If `values` is not such a list, a name or a field is unknown, a field is missing, a value is
            not as its transform asks, or the transforms do not go together.
        """
        if not isinstance(values, list) or len(values) > _MAX_TRANSFORMS:
            raise DataError(f"transforms must be a list of up to {_MAX_TRANSFORMS}, not {in_words(values)}")
        return cls(tuple(from_dict(value) for value in values))

    def _checked_randoms(self, randoms, count: int) -> Sequence[SampleRandom | None]:
        if not self.is_random:
            return [None] * count
        if randoms is None or len(randoms) != count or None in randoms:
            given = "none" if randoms is None or None in randoms else len(randoms)
            raise DataError(
                f"the transforms are random: give a SampleRandom for each of {count} images, not {given}"
            )
        return randoms

    def _common_output(self, images: np.ndarray | list[np.ndarray]) -> Shape:
        """Check that every transform takes what it will get; return the one shape of all results."""
        if isinstance(images, np.ndarray):
            return self.output_shape(images.shape[1:])
        shapes = {self.output_shape(shape) for shape in {image.shape for image in images}}
        if len(shapes) > 1:
            texts = " and ".join(sorted(map(text_of_shape, shapes)))
            raise DataError(
                f"images of one batch become different sizes, {texts}; end the transforms with a crop, or a "
                "resize to a fixed size"
            )
        return shapes.pop()

    def _run(self, images, randoms: Sequence[SampleRandom | None], out: np.ndarray) -> None:
        """Transform an array or a list of images, which have been checked, into `out`."""
        for transform in self.transforms[: self._arithmetic_from]:
            if not transform.batched:
                samples = zip(images, randoms, strict=True)
                images = [transform.apply(image, random) for image, random in samples]
            elif isinstance(images := _stacked(images), np.ndarray):
                images = transform.apply(images)
            else:
                images = [transform.apply(image) for image in images]
        result = np.asarray(_stacked(images))
        for transform in self.transforms[self._arithmetic_from :]:
            result = transform.apply(result, out=out)
        if result is not out:
            out[:] = result

    @cached_property
    def _arithmetic_from(self) -> int:
        """Where the last steps start that are arithmetic, which can be done where the result is wanted."""
        arithmetic = takewhile(lambda transform: transform.pointwise, reversed(self.transforms))
        return len(self.transforms) - len(list(arithmetic))


def standard_pipeline(
    input_shape: Sequence[int],
    mean: float | Sequence[float],
    std: float | Sequence[float],
    invert: bool = False,
) -> Pipeline:
    """Return the pipeline of plain training: the whole image, resized and normalised.

    RGB becomes grey where one channel is wanted; images of another size are resized; black and white
    are swapped if `invert` is set; grey is repeated where three channels are wanted; the values become
    ((x / 255) - mean) / std.

    Parameters
    ----------
    input_shape : sequence of int
        The network's input (C, H, W), each from 1 to 4096.
    mean, std : float or sequence of float
        One number for all channels or one per channel, on the scale 0..1: mean from 0 to 1, std from
        1e-6 to 1e6.
    invert : bool
        Whether to turn black on white into white on black, which is how MNIST is drawn.

    Raises
    ------
    DataError
        If an argument is not as described.
    """
    if len(input_shape) != 3:
        raise DataError(f"input_shape must be (C, H, W), not {in_words(input_shape)}")
    channels, height, width = (
        require_int(name, length, 1, MAX_LENGTH, error=DataError)
        for name, length in zip(("channels", "height", "width"), input_shape, strict=True)
    )
    mean = _for_channels("mean", mean, channels, 0.0, 1.0)
    std = _for_channels("std", std, channels, MIN_STD, MAX_STD)
    transforms: list[Transform] = [Resize((height, width))]
    if channels == 1:
        # Before resizing, which then has one plane to work on instead of three.
        transforms.insert(0, ToGrey())
    if require_flag("invert", invert, error=DataError):
        transforms.append(Invert())
    if channels == 3:
        transforms.append(ToRgb())
    return Pipeline((*transforms, Scale(), Normalize(mean, std)))


def _for_channels(name: str, values: object, channels: int, low: float, high: float) -> tuple[float, ...]:
    """Return one number per channel; a single number serves all."""
    return numbers(name, [values] * channels if np.isscalar(values) else values, low, high, count=channels)


def _checked_transforms(transforms: object) -> tuple[Transform, ...]:
    if not isinstance(transforms, list | tuple) or not 1 <= len(transforms) <= _MAX_TRANSFORMS:
        raise DataError(
            f"transforms must be a list of 1 to {_MAX_TRANSFORMS} transforms, not {in_words(transforms)}"
        )
    dtype, tens = UINT8, False
    for position, transform in enumerate(transforms, 1):
        if not isinstance(transform, Transform):
            raise DataError(f"transform {position} must be a Transform, not {in_words(transform)}")
        if dtype not in transform.takes:
            raise DataError(
                f"transform {position}, {transform.name}, takes {transform.takes[0]}, but those before it "
                f"give {dtype}; change their order"
            )
        if tens and (isinstance(transform, TenCrop) or not transform.batched):
            raise DataError(
                f"transform {position}, {transform.name}, cannot come after ten_crop; change the order"
            )
        dtype, tens = transform.gives or dtype, tens or isinstance(transform, TenCrop)
    if dtype != FLOAT32:
        raise DataError(
            f"the transforms end in {dtype}, but a network reads float32; add scale (with divisor 1 to keep "
            "0..255) or normalize"
        )
    return tuple(transforms)


def _checked_images(images: object) -> np.ndarray | list[np.ndarray]:
    if isinstance(images, np.ndarray):
        if images.dtype == np.uint8 and images.ndim == 4:
            return images
    elif isinstance(images, list | tuple) and images:
        for image in images:
            if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3:
                raise DataError(f"an image must be a uint8 array of shape (C, H, W), not {in_words(image)}")
        return list(images)
    raise DataError(
        "images must be a uint8 array of shape (B, C, H, W) or a list of uint8 arrays (C, H, W), "
        f"not {in_words(images)}"
    )


def _stacked(images: np.ndarray | list[np.ndarray]) -> np.ndarray | list[np.ndarray]:
    """Return images of one shape as one array, others as they are."""
    if isinstance(images, np.ndarray) or len({image.shape for image in images}) > 1:
        return images
    return images[0][np.newaxis] if len(images) == 1 else np.stack(images)
