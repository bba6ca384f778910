"""The checks of transforms' fields. Values come from recipes and settings, so nothing is trusted."""

from typing import Any

from minialex.checks import in_words, is_int, is_number, require_int
from minialex.errors import DataError

MAX_LENGTH = 4096


def numbers(name: str, values: Any, low: float, high: float, count: int | None = None) -> tuple[float, ...]:
    """Return a list of numbers from `low` to `high`, one or more or exactly `count`, as a tuple of floats.

    Raises
    ------
    DataError
        If they are not such numbers.
    """
    if (
        not isinstance(values, tuple | list)
        or (not values if count is None else len(values) != count)
        or not all(is_number(each) and low <= each <= high for each in values)
    ):
        wanted = "numbers" if count is None else f"{count} numbers"
        raise DataError(f"{name} must be a list of {wanted} from {low:g} to {high:g}, not {in_words(values)}")
    return tuple(map(float, values))


def per_channel(name: str, values: Any, low: float, high: float) -> tuple[float, ...]:
    """Return one number for all channels, or a list with one per channel, as a tuple of floats.

    Raises
    ------
    DataError
        If they are not numbers from `low` to `high`.
    """
    return numbers(name, [values] if is_number(values) else values, low, high)


def size(name: str, value: object) -> tuple[int, int]:
    """Return a [height, width], each from 1 to 4096, as a tuple.

    Raises
    ------
    DataError
        If it is not such a pair.
    """
    if not isinstance(value, tuple | list) or len(value) != 2:
        raise DataError(f"{name} must be [height, width], not {in_words(value)}")
    height, width = (
        require_int(f"{name}[{i}]", side, 1, MAX_LENGTH, error=DataError) for i, side in enumerate(value)
    )
    return height, width


def side_or_size(name: str, value: object) -> tuple[int, int]:
    """Return the [height, width] of a crop, as a tuple; one integer stands for both, as in torchvision.

    Raises
    ------
    DataError
        If it is neither an integer from 1 to 4096 nor such a pair.
    """
    return size(name, (value, value) if is_int(value, 1, MAX_LENGTH) else value)


def fill_of(name: str, fill: tuple[float, ...], shape: tuple) -> tuple[float, ...]:
    """Return a number for each channel of images (..., C, H, W).

    Raises
    ------
    DataError
        If there are neither one number nor as many as channels.
    """
    if len(fill) not in (1, shape[-3]):
        raise DataError(
            f"{name} has {len(fill)} numbers for images of {shape[-3]} channels; give one for all, or one "
            "per channel"
        )
    return fill * shape[-3] if len(fill) == 1 else fill


def text_of_numbers(values: tuple[float, ...]) -> str:
    """Return 0.5 for equal numbers, (0.485, 0.456, 0.406) for others."""
    if len(set(values)) == 1:
        return f"{values[0]:g}"
    return f"({', '.join(f'{each:g}' for each in values)})"
