"""The statistics of a data set against NumPy's covariance and eigenvectors of all its pixels at once."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minialex.data.dataset import ArrayDataset
from minialex.data.pca import pca_of, with_statistics
from minialex.data.transforms import Pipeline
from minialex.errors import DataError


class Images:
    """A data set of images of many sizes."""

    classes, name = ("one",), "images"

    def __init__(self, images):
        self.images, self.read = images, 0

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        self.read += 1
        return self.images[index], 0


def coloured(count, seed=0, channels=3):
    """Images of different sizes whose channels go together, as in photographs."""
    generator = np.random.default_rng(seed)
    mixing = generator.normal(0, 40, (channels, channels))
    images = []
    for height, width in generator.integers(5, 20, (count, 2)):
        values = 120 + np.tensordot(mixing, generator.normal(0, 1, (channels, height, width)), 1)
        images.append(np.clip(values, 0, 255).astype(np.uint8))
    return Images(images)


@pytest.mark.parametrize(("count", "channels"), [(12, 3), (1, 3), (5, 1), (4, 2)])
def test_statistics_are_those_of_all_pixels_together(count, channels):
    dataset = coloured(count, seed=count, channels=channels)
    found = pca_of(dataset)
    pixels = np.concatenate([image.reshape(channels, -1) for image in dataset.images], axis=1) / 255
    np.testing.assert_allclose(found.mean, pixels.mean(axis=1), rtol=1e-13)
    np.testing.assert_allclose(found.std, pixels.std(axis=1), rtol=1e-12)
    covariance = np.cov(pixels, bias=True).reshape(channels, channels)
    values, vectors = np.linalg.eigh(covariance)
    np.testing.assert_allclose(found.eigenvalues, values[::-1], rtol=1e-9, atol=1e-15)
    for vector, wanted in zip(found.eigenvectors, vectors.T[::-1], strict=True):
        # Up to its sign, which makes the component of largest magnitude positive.
        assert abs(np.dot(vector, wanted)) == pytest.approx(1, rel=1e-9)
        assert max(vector, key=abs) > 0


def test_the_components_diagonalise_the_covariance():
    dataset = coloured(6)
    found = pca_of(dataset)
    pixels = np.concatenate([image.reshape(3, -1) for image in dataset.images], axis=1) / 255
    amounts = np.array(found.eigenvectors) @ (pixels - np.array(found.mean)[:, np.newaxis])
    np.testing.assert_allclose(amounts @ amounts.T / pixels.shape[1], np.diag(found.eigenvalues), atol=1e-14)


@given(st.integers(0, 255), st.integers(0, 255), st.integers(0, 255))
def test_one_colour_has_no_variance(red, green, blue):
    image = np.empty((3, 7, 5), np.uint8)
    image[:] = np.array([red, green, blue])[:, np.newaxis, np.newaxis]
    found = pca_of(Images([image] * 3))
    assert found.mean == (red / 255, green / 255, blue / 255)
    assert found.std == found.eigenvalues == (0.0, 0.0, 0.0)


def test_the_result_does_not_depend_on_the_order():
    images = coloured(9).images
    assert pca_of(Images(images)) == pca_of(Images(images[::-1]))


def test_only_the_first_images_are_read():
    dataset = coloured(9)
    found = pca_of(dataset, limit=4)
    assert dataset.read == 5  # the first is read for its number of channels, too
    assert found == pca_of(Images(dataset.images[:4]))
    assert pca_of(dataset, limit=100) == pca_of(dataset)


def test_mnists_constants_are_such_statistics(mnist_folder):
    from minialex.data import MNIST_MEAN, MNIST_STD, load_mnist

    found = pca_of(load_mnist(mnist_folder)[0], limit=10_000)
    assert found.mean[0] == pytest.approx(MNIST_MEAN, abs=2e-3)
    assert found.std[0] == pytest.approx(MNIST_STD, abs=2e-3)


def test_data_without_statistics_is_refused():
    empty = ArrayDataset(np.zeros((0, 3, 2, 2), np.uint8), np.zeros(0, int), ("one",), "nothing")
    with pytest.raises(DataError, match="data set nothing is empty"):
        pca_of(empty)
    mixed = Images([np.zeros((3, 2, 2), np.uint8), np.zeros((1, 2, 2), np.uint8)])
    with pytest.raises(DataError, match="image 1 of data set images has 1 channels, the first 3"):
        pca_of(mixed)
    for limit in (0, -1, 1.0, True):
        with pytest.raises(DataError, match="limit must be an integer"):
            pca_of(mixed, limit)


def test_a_recipe_gets_what_it_leaves_to_the_data():
    found = pca_of(coloured(5))
    recipe = [
        {"name": "resize", "size": [8, 8]},
        {"name": "subtract_mean"},
        {"name": "scale"},
        {"name": "pca_noise", "sigma": 0.2},
        {"name": "normalize", "mean": 0.5},
    ]
    filled = with_statistics(recipe, found)
    assert filled == [
        recipe[0],
        {"name": "subtract_mean", "mean": [255 * mean for mean in found.mean]},
        recipe[2],
        {
            "name": "pca_noise",
            "sigma": 0.2,
            "eigenvalues": list(found.eigenvalues),
            "eigenvectors": [list(vector) for vector in found.eigenvectors],
        },
        {"name": "normalize", "mean": 0.5, "std": list(found.std)},
    ]
    assert "mean" not in recipe[1]
    # The images go in as bytes, and are scaled first where the noise is wanted.
    assert Pipeline.from_list(filled[2:]).to_list()[1]["sigma"] == 0.2


def test_a_complete_recipe_stays_as_it_is():
    recipe = [{"name": "scale"}, {"name": "normalize", "mean": 0.5, "std": 0.5}]
    assert with_statistics(recipe, pca_of(coloured(5))) == recipe


def test_the_values_have_the_scale_of_the_images():
    found = pca_of(coloured(5))
    recipe = [{"name": "normalize"}, {"name": "scale", "divisor": 51}, {"name": "normalize"}]
    first, _, second = with_statistics(recipe, found)
    np.testing.assert_allclose(first["mean"], 255 * np.array(found.mean))
    np.testing.assert_allclose(first["std"], 255 * np.array(found.std))
    np.testing.assert_allclose(second["std"], 5 * np.array(found.std))
    for divisor in (0, "51"):
        with pytest.raises(DataError, match="divisor must be a number"):
            with_statistics([{"name": "scale", "divisor": divisor}], found)
