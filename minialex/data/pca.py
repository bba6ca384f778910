"""The statistics of a data set's pixels: mean and standard deviation of each channel, and their PCA."""

from dataclasses import dataclass

import numpy as np

from minialex.checks import require_int
from minialex.data.dataset import ImageDataset
from minialex.data.transforms.transform import from_dict
from minialex.errors import DataError

_BYTE = 255
# The fields of transforms that `with_statistics` fills in, named as in `ColourStatistics`.
FROM_DATA = {
    "pca_noise": ("eigenvalues", "eigenvectors"),
    "subtract_mean": ("mean",),
    "normalize": ("mean", "std"),
}


@dataclass(frozen=True)
class ColourStatistics:
    """What the pixels of a data set's images are like, on the scale 0..1 (bytes divided by 255).

    Attributes
    ----------
    mean, std : tuple of float
        Of each channel, over all pixels; std with divisor n.
    eigenvalues : tuple of float
        Of the channels' covariance matrix (divisor n), the largest first: variances, not their roots.
    eigenvectors : tuple of tuple of float
        eigenvectors[i] has length 1 and belongs to eigenvalues[i]; its component of largest
        magnitude is positive.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    eigenvalues: tuple[float, ...]
    eigenvectors: tuple[tuple[float, ...], ...]


def pca_of(dataset: ImageDataset, limit: int | None = None) -> ColourStatistics:
    """Compute the statistics of the first `limit` images of a data set, of all without a limit.

    Every pixel counts the same, so a large image counts for more than a small one. The sums of bytes
    and of their products are integers and are added exactly; the result does not depend on the order.

    Parameters
    ----------
    dataset : ImageDataset
        Its images may differ in size, not in their number of channels.
    limit : int, optional
        At least 1.

    Raises
    ------
    DataError
        If the data set is empty, the images differ in their channels, or `limit` is not as described.
    """
    count = len(dataset)
    if limit is not None:
        count = min(count, require_int("limit", limit, 1, error=DataError))
    if not count:
        raise DataError(f"data set {dataset.name} is empty; there is nothing to compute statistics of")
    channels = len(dataset[0][0])
    # Python's integers: a billion images would not overflow them.
    pixels = 0
    sums = np.zeros(channels, dtype=object)
    products = np.zeros((channels, channels), dtype=object)
    for index in range(count):
        image = dataset[index][0]
        if len(image) != channels:
            raise DataError(
                f"image {index} of data set {dataset.name} has {len(image)} channels, the first {channels}"
            )
        # Exact: an image has less than 2**27 pixels, so a sum of products stays below 2**53.
        values = image.reshape(channels, -1).astype(np.float64)
        pixels += values.shape[1]
        sums += values.sum(axis=1).astype(np.int64)
        products += (values @ values.T).astype(np.int64)
    covariance = (pixels * products - np.outer(sums, sums)) / (pixels * _BYTE) ** 2
    covariance = covariance.astype(np.float64)
    eigenvalues, columns = np.linalg.eigh(covariance)
    # eigh sorts upwards, and may give a tiny negative number for 0.
    eigenvalues, vectors = np.maximum(eigenvalues[::-1], 0.0), columns.T[::-1]
    largest = np.abs(vectors).argmax(axis=1)
    vectors = vectors * np.sign(vectors[np.arange(channels), largest])[:, np.newaxis]
    return ColourStatistics(
        mean=tuple((sums / (pixels * _BYTE)).tolist()),
        std=tuple(np.sqrt(covariance.diagonal()).tolist()),
        eigenvalues=tuple(eigenvalues.tolist()),
        eigenvectors=tuple(map(tuple, vectors.tolist())),
    )


def with_statistics(transforms: list[dict], statistics: ColourStatistics) -> list[dict]:
    """Return a recipe's list of transforms with what it leaves to the data filled in.

    `pca_noise` without eigenvalues and eigenvectors, `subtract_mean` without mean and `normalize`
    without mean or std get those of the data: on the scale 0..1 after a `scale`, 0..255 without.

    Parameters
    ----------
    transforms : list of dict
        As `Pipeline.from_list` takes them, which checks all else.
    statistics : ColourStatistics
        Those of the training set.

    Raises
    ------
    DataError
        If a `scale` is not as `Pipeline.from_list` asks.
    """
    # What 1 on the scale 0..1 is on the scale that the images have at this point.
    unit = _BYTE
    filled = []
    for transform in transforms:
        name = transform.get("name", "")
        missing = [field for field in FROM_DATA.get(name, ()) if field not in transform]
        values = {field: _as_list(getattr(statistics, field)) for field in missing}
        if name != "pca_noise":
            values = {field: [each * unit for each in value] for field, value in values.items()}
        filled.append(transform | values)
        if name == "scale":
            unit /= from_dict(transform).divisor  # pyright: ignore[reportAttributeAccessIssue] - a Scale
    return filled


def _as_list(values: tuple) -> list:
    return [_as_list(each) if isinstance(each, tuple) else each for each in values]
