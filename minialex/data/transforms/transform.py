"""What a transform is, and the register of their names."""

import dataclasses
from collections.abc import Iterable
from typing import Any, ClassVar

import numpy as np

from minialex.checks import in_words
from minialex.data.sample_random import SampleRandom, present_random
from minialex.data.transforms.pictures import picture_of
from minialex.errors import DataError

# (..., C, H, W): numbers; H and W are None where they differ from image to image.
Shape = tuple[Any, ...]

UINT8, FLOAT32 = np.dtype("uint8"), np.dtype("float32")

TRANSFORMS: dict[str, type["Transform"]] = {}


class Transform:
    """One step between an image and a network's input.

    A transform is a frozen dataclass whose fields JSON can hold; lists come in, tuples are kept. It raises
    `DataError` for a field that is not as described. `class Invert(Transform, name="invert")` registers it
    under its name.

    Attributes
    ----------
    name : str
        Under which recipes and settings name it.
    batched : bool
        Whether it draws nothing and works on any leading axes (..., C, H, W), so that a pipeline can
        run it once on a whole batch.
    pointwise : bool
        Whether, besides, it gives float32 of the same shape, and `apply` can write into an array
        `out`, which may be the image itself.
    takes : tuple of numpy.dtype
        The dtypes that it takes: uint8, float32 or both.
    gives : numpy.dtype or None
        The dtype of its result; None if that is the dtype of the image.
    """

    name: ClassVar[str]
    batched: ClassVar[bool] = True
    pointwise: ClassVar[bool] = False
    takes: ClassVar[tuple[np.dtype, ...]] = (UINT8, FLOAT32)
    gives: ClassVar[np.dtype | None] = None
    __dataclass_fields__: ClassVar[dict[str, Any]]

    def __init_subclass__(cls, *, name: str, **options):
        super().__init_subclass__(**options)
        if name in TRANSFORMS:
            raise DataError(f"there is a transform called {name} already; choose another name")
        cls.name = name
        TRANSFORMS[name] = cls

    def __call__(self, image: Any, random: SampleRandom | None = None) -> Any:
        """Return the transformed image; the argument is left as it is.

        Parameters
        ----------
        image : numpy.ndarray, PIL.Image.Image or Tensor
            An array has the shape (C, H, W), or (..., C, H, W) if the transform is `batched`, and a dtype of
            `takes`. A PIL image is of mode L or RGB. A tensor has the shape (..., C, H, W) or (H, W), and a
            transform that draws does so once for all of it.
        random : SampleRandom, optional
            Where a transform that is not `batched` draws from; an array needs it. For an image or a tensor it
            is that of the sample a loader is at, or else the stream of `minialex.manual_seed`.

        Returns
        -------
        numpy.ndarray, PIL.Image.Image or Tensor
            Of the kind that was given, shape `output_shape(image.shape)`. It may be a view of `image`.

        Raises
        ------
        DataError
            If the image has a dtype or shape that the transform does not take, or is a PIL image and would
            become floats.
        """
        picture = picture_of(self.name, image)
        if picture is not None:
            return picture.wrapped(self._of_picture(self.prepared(picture.array), random))
        if not isinstance(image, np.ndarray) or image.dtype not in self.takes:
            allowed = " or ".join(map(str, self.takes))
            raise DataError(f"{self.name} takes an array of {allowed}, not {in_words(image)}")
        self.output_shape(image.shape)
        if self.batched:
            return self.apply(image)
        if random is None:
            raise DataError(f"{self.name} is random: give it a SampleRandom")
        if image.ndim != 3:
            raise DataError(
                f"{self.name} draws anew for each image: it takes one of shape (C, H, W), "
                f"not {text_of_shape(image.shape)}"
            )
        return self.apply(image, random)

    def _of_picture(self, image: np.ndarray, random: SampleRandom | None) -> np.ndarray:
        if image.dtype not in self.takes:
            allowed = " or ".join(map(str, self.takes))
            raise DataError(f"{self.name} takes a tensor of {allowed}, not {image.dtype}")
        self.output_shape(image.shape)
        return self.apply(image) if self.batched else self.apply(image, random or present_random())

    def prepared(self, image: np.ndarray) -> np.ndarray:
        """Return the array (..., C, H, W) of a PIL image or a tensor as the transform takes it."""
        return image

    def output_shape(self, shape: Shape) -> Shape:
        """Return the shape of the result for images of shape (..., C, H, W).

        H and W may be None, which stands for lengths that differ from image to image.

        Raises
        ------
        DataError
            If the transform does not take such images.
        """
        if len(shape) < 3 or 0 in shape[-3:]:
            raise DataError(
                f"{self.name} takes images of shape (C, H, W) with lengths from 1, not {text_of_shape(shape)}"
            )
        return self._output_shape(tuple(shape))

    def apply(self, image: np.ndarray, *random: SampleRandom | None, **out: np.ndarray) -> np.ndarray:
        """Transform an image that has been checked: `random` is for those that are not `batched`, `out`
        for those that are `pointwise`.
        """
        raise NotImplementedError

    def steps(self, shape: Shape) -> list[str]:
        """Return what is done to images of this shape, in phrases; none if nothing is."""
        raise NotImplementedError

    def to_dict(self) -> dict:
        """Return the name and the fields as values that JSON can hold."""
        return {"name": self.name} | {
            field.name: _as_json(getattr(self, field.name)) for field in dataclasses.fields(self)
        }

    def _output_shape(self, shape: Shape) -> Shape:
        return shape

    def keep(self, **checked) -> None:
        """Set fields to their checked values; the usual assignment is what a frozen dataclass forbids."""
        for name, value in checked.items():
            object.__setattr__(self, name, value)


def from_dict(values: object) -> Transform:
    """Return the transform of a table such as {"name": "center_crop", "size": [224, 224]}.

    Raises
    ------
    DataError
        If it is not such a table, the name or a field is unknown, a field is missing, or a value is
        not as the transform asks.
    """
    if not isinstance(values, dict) or not isinstance(values.get("name"), str):
        raise DataError(f"a transform must be a table with a name, not {in_words(values)}")
    name = values["name"]
    if name not in TRANSFORMS:
        raise DataError(
            f"there is no transform called {in_words(name)}; there are {', '.join(sorted(TRANSFORMS))}"
        )
    kind = TRANSFORMS[name]
    fields = {field.name: field for field in dataclasses.fields(kind)}
    given = {key: value for key, value in values.items() if key != "name"}
    unknown = sorted(map(str, given.keys() - fields.keys()))
    if unknown:
        allowed = f"it has {', '.join(fields)}" if fields else "it has none"
        raise DataError(f"transform {name} has no field {in_words(unknown[0])}; {allowed}")
    missing = [
        key for key, field in fields.items() if key not in given and field.default is dataclasses.MISSING
    ]
    if missing:
        raise DataError(f"transform {name} needs the field {missing[0]}")
    return kind(**given)


def text_of_shape(shape: Iterable) -> str:
    """Return a shape as "3 x 28 x 28", with "?" for a length that is not known."""
    return " x ".join("?" if length is None else f"{length}" for length in shape)


def _as_json(value):
    return [_as_json(each) for each in value] if isinstance(value, tuple) else value
