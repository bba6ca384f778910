"""Cross-entropy on labels and distributions: values, gradients, and what is refused."""

import numpy as np
import pytest

import minialex as ma
import minialex.functional as F
from minialex.errors import DataError, ShapeError


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


def test_one_hot_rows_give_the_bits_of_labels():
    x = np.random.default_rng(0).standard_normal((6, 4)).astype(np.float32)
    labels = np.array([3, 0, 1, 1, 2, 3])
    losses, gradients = [], []
    for target in (labels, np.eye(4, dtype=np.float32)[labels], np.eye(4)[labels]):
        logits = ma.Tensor(x, requires_grad=True)
        loss = F.cross_entropy(logits, target)
        loss.backward()
        losses.append(loss.numpy().tobytes())
        gradients.append(logits.grad.numpy().tobytes())
    assert len(set(losses)) == len(set(gradients)) == 1


def soft_rows(seed, shape=(3, 4)):
    rows = np.random.default_rng(seed).random(shape)
    return rows / rows.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_a_target_that_requires_a_gradient_gets_it(smoothing):
    """loss[n] = -sum over c of t' log p, t' = (1 - s) t + s / C, so that d loss / d t = -(1 - s) log p."""
    generator = np.random.default_rng(1)
    x, t, upstream = generator.standard_normal((3, 4)), soft_rows(2), generator.standard_normal(3)
    log_p = x - np.log(np.exp(x).sum(axis=1, keepdims=True))
    mixed = (1 - smoothing) * t + smoothing / 4

    logits, target = ma.Tensor(x, requires_grad=True), ma.Tensor(t, requires_grad=True)
    losses = F.cross_entropy(logits, target, reduction="none", label_smoothing=smoothing)
    np.testing.assert_allclose(losses.numpy(), -(mixed * log_p).sum(axis=1), rtol=1e-12)
    of_x, of_t = ma.grad(losses, [logits, target], ma.Tensor(upstream))
    np.testing.assert_allclose(of_t.numpy(), -(1 - smoothing) * log_p * upstream[:, None], rtol=1e-12)
    np.testing.assert_allclose(of_x.numpy(), (np.exp(log_p) - mixed) * upstream[:, None], rtol=1e-10)

    constant = F.cross_entropy(ma.Tensor(x), ma.Tensor(t), reduction="none", label_smoothing=smoothing)
    np.testing.assert_allclose(constant.numpy(), losses.numpy(), rtol=1e-12)


def test_gradients_of_both_arguments_of_first_and_second_order():
    arguments = [
        ma.Tensor(np.random.default_rng(3).standard_normal((3, 4)), requires_grad=True),
        ma.Tensor(soft_rows(4), requires_grad=True),
    ]
    assert ma.gradcheck(lambda x, t: F.cross_entropy(x, t, label_smoothing=0.1), arguments)
    assert ma.gradgradcheck(lambda x, t: F.cross_entropy(x, t, reduction="none"), arguments)


def test_a_distribution_of_another_shape_is_refused():
    x = ma.Tensor(np.zeros((3, 5), np.float32))
    for target in (np.zeros((3, 4)), ma.Tensor(np.zeros((3, 4), np.float32), requires_grad=True)):
        with pytest.raises(ShapeError, match=r"target \(3, 4\) should have shape"):
            F.cross_entropy(x, target)
