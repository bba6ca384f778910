"""Cross-entropy on labels: what is refused, and that nothing else is."""

import numpy as np
import pytest

import minialex as ma
import minialex.functional as F
from minialex.errors import DataError


@pytest.mark.parametrize("label", [-1, 5, 1000, -(2**40)])
@pytest.mark.parametrize("place", [0, 2])
def test_a_label_that_is_no_class_is_refused(label, place):
    labels = np.array([0, 4, 1])
    labels[place] = label
    with pytest.raises(DataError, match=rf"label {label} is not one of the 5 classes 0 to 4"):
        F.cross_entropy(ma.Tensor(np.zeros((3, 5), np.float32)), labels)


def test_labels_that_are_no_integers_are_refused():
    with pytest.raises(DataError, match="should be integers; these are float64"):
        F.cross_entropy(ma.Tensor(np.zeros((3, 5), np.float32)), np.zeros(3))


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int32, np.int64, np.uint64])
def test_the_first_and_the_last_class_are_taken_in_every_integer_dtype(dtype):
    x = np.log(np.array([[1.0, 2, 5], [1, 2, 5]])).astype(np.float32)
    losses = F.cross_entropy(ma.Tensor(x), np.array([0, 2], dtype), reduction="none")
    assert losses.numpy() == pytest.approx([np.log(8), np.log(8 / 5)], rel=1e-6)
