"""Evaluation: top-k by sorting in Python, ten crops by loops over images and crops in float64."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minialex import nn, random
from minialex.data import ArrayDataset, DataLoader
from minialex.data.transforms import Pipeline, RandomCrop, Scale
from minialex.errors import DataError
from minialex.training.evaluation import Evaluation, evaluate, predict_probabilities, with_ten_crops


def evaluation(probabilities, labels):
    return Evaluation(np.array(probabilities, np.float32), np.array(labels, np.int64), 0.0)


@st.composite
def evaluations(draw):
    """Probabilities out of four values, so that there are many ties."""
    images, classes = draw(st.integers(1, 6)), draw(st.integers(1, 7))
    row = st.lists(st.sampled_from((0.0, 0.1, 0.2, 0.5)), min_size=classes, max_size=classes)
    rows = draw(st.lists(row, min_size=images, max_size=images))
    label = st.integers(0, classes - 1)
    return evaluation(rows, draw(st.lists(label, min_size=images, max_size=images)))


@given(evaluations())
def test_top_k_is_what_sorting_gives(case):
    classes = case.probabilities.shape[1]
    ranked = [sorted(range(classes), key=lambda i, row=row: (-row[i], i)) for row in case.probabilities]
    for k in range(1, classes + 1):
        right = sum(label in row[:k] for label, row in zip(case.labels, ranked, strict=True))
        assert case.top_k(k) == right / len(ranked)
    assert case.accuracy == sum(row[0] == y for row, y in zip(ranked, case.labels, strict=True)) / len(ranked)
    assert case.predictions.tolist() == [row[0] for row in ranked]


@given(evaluations(), st.integers(1, 6))
def test_worst_is_what_sorting_gives(case, count):
    of_truth = [row[label] for row, label in zip(case.probabilities, case.labels, strict=True)]
    wrong = [i for i in range(len(of_truth)) if case.predictions[i] != case.labels[i]]
    assert case.worst(count).tolist() == sorted(wrong, key=lambda i: (of_truth[i], i))[:count]


@pytest.mark.parametrize("k", [0, -1, 4, True, 1.0, "1", None])
def test_top_k_of_a_k_that_there_is_not(k):
    with pytest.raises(DataError, match=r"from 1 to 3"):
        evaluation([[0.2, 0.3, 0.5]], [0]).top_k(k)


def test_what_is_not_a_number_is_wrong():
    nan = math.nan
    case = evaluation([[nan, 0.1], [0.9, nan], [nan, nan], [0.9, 0.1]], [0, 0, 0, 0])
    assert case.accuracy == case.top_k(1) == case.top_k(2) == 0.25


def test_confusion_counts_each_pair():
    case = evaluation([[0.9, 0.1, 0], [0.9, 0.1, 0], [0, 0.1, 0.9], [0.2, 0.8, 0]], [0, 1, 1, 1])
    assert case.confusion().tolist() == [[1, 0, 0], [1, 1, 1], [0, 0, 0]]


def small_network(classes=3, scale=3.0):
    """Logits of images (N, 2, 3, 4), as different from crop to crop as it takes to tell means apart."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(24, classes), nn.Dropout(0.5))
    random = np.random.default_rng(5)
    network[1].weight.data[...] = random.normal(0, scale, (classes, 24))
    network[1].bias.data[...] = random.normal(0, 1, classes)
    return network


def softmax_by_hand(network, image):
    """The probabilities of one image (2, 3, 4), in float64."""
    linear = network[1]
    logits = [
        sum(float(w) * float(x) for w, x in zip(row, image.ravel(), strict=True)) + float(b)
        for row, b in zip(linear.weight.numpy(), linear.bias.numpy(), strict=True)
    ]
    exponents = [math.exp(z - max(logits)) for z in logits]
    return [e / sum(exponents) for e in exponents]


def crops_of_five_images():
    random = np.random.default_rng(7)
    x = random.normal(size=(5, 10, 2, 3, 4)).astype(np.float32)
    return x, random.integers(0, 3, 5)


def test_crops_are_averaged_after_the_softmax():
    network = small_network()
    x, y = crops_of_five_images()
    result = evaluate(network, [(x[:3], y[:3]), (x[3:], y[3:])])
    each = [[softmax_by_hand(network, crop) for crop in crops] for crops in x]
    expected = [[sum(column) / 10 for column in zip(*rows, strict=True)] for rows in each]
    assert result.probabilities.dtype == np.float32
    np.testing.assert_allclose(result.probabilities, expected, rtol=1e-4, atol=1e-7)
    assert result.labels.tolist() == y.tolist()
    loss = sum(-math.log(row[label]) for row, label in zip(expected, y, strict=True)) / 5
    assert result.loss == pytest.approx(loss, rel=1e-5)
    # What it is not: the mean of the crops' losses, and the softmax of the mean logits.
    of_crops = sum(-math.log(row[label]) for rows, label in zip(each, y, strict=True) for row in rows) / 50
    assert abs(of_crops - loss) > 0.1
    np.testing.assert_allclose(predict_probabilities(network.eval(), x), expected, rtol=1e-4, atol=1e-7)


def test_images_without_crops():
    network = small_network(scale=0.3)
    x, y = crops_of_five_images()
    x = x[:, 0]
    result = evaluate(network, [(x[:1], y[:1]), (x[1:], y[1:])])
    expected = [softmax_by_hand(network, image) for image in x]
    np.testing.assert_allclose(result.probabilities, expected, rtol=1e-5)
    loss = sum(-math.log(row[label]) for row, label in zip(expected, y, strict=True)) / 5
    assert result.loss == pytest.approx(loss, rel=1e-5)
    single = evaluate(network, [(x[:, None], y)])
    np.testing.assert_allclose(single.probabilities, result.probabilities, rtol=1e-6)
    assert single.loss == pytest.approx(result.loss, rel=1e-6)


def test_loss_of_a_probability_too_small_for_a_float():
    network = small_network(classes=2, scale=0.0)
    network[1].bias.data[...] = (0, 1000)
    result = evaluate(network, [(np.zeros((1, 10, 2, 3, 4), np.float32), np.array([0]))])
    assert result.loss == pytest.approx(1000, rel=1e-6)
    assert result.probabilities.tolist() == [[0, 1]]


@pytest.mark.parametrize("was_training", [True, False])
def test_network_is_left_as_it_was(was_training):
    network = small_network().train(was_training)
    x, y = crops_of_five_images()
    evaluate(network, [(x, y)])
    assert network.training is was_training

    def failing():
        yield x, y
        raise DataError("the disk is gone")

    with pytest.raises(DataError, match="disk"):
        evaluate(network, failing())
    assert network.training is was_training


def pipeline(*names_and_sizes):
    sizes = [({"name": name} | ({"size": list(size)} if size else {})) for name, size in names_and_sizes]
    return Pipeline.from_list(sizes)


def test_ten_crops_take_the_place_of_the_crop():
    before = pipeline(("center_crop", (9, 9)), ("center_crop", (6, 5)), ("scale", None))
    after = with_ten_crops(before, (3, 6, 5))
    assert after == pipeline(("center_crop", (9, 9)), ("ten_crop", (6, 5)), ("scale", None))
    assert after.output_shape((3, 20, 20)) == (10, 3, 6, 5)
    assert with_ten_crops(after, (3, 6, 5)) is after


@pytest.mark.parametrize("steps", [[("resize", (6, 5))], [("center_crop", (5, 6))], []])
def test_no_crop_to_take_the_place_of(steps):
    names = ", ".join(name for name, _ in [*steps, ("scale", None)])
    with pytest.raises(DataError, match=f"center_crop of 6 x 5, but the test transforms are {names};"):
        with_ten_crops(pipeline(*steps, ("scale", None)), (3, 6, 5))


def test_no_images():
    with pytest.raises(DataError, match="no images"):
        evaluate(small_network(), [])


def test_an_evaluation_leaves_the_loaders_epoch_and_the_random_numbers_alone():
    images = np.random.default_rng(0).integers(0, 256, (6, 1, 8, 8), dtype=np.uint8)
    dataset = ArrayDataset(images, np.arange(6) % 3)
    loader = DataLoader(dataset, 4, transform=Pipeline([RandomCrop((7, 7)), Scale()]))
    network = nn.Sequential(nn.Flatten(), nn.Linear(49, 3))
    before = random.state_dict()
    first, second = evaluate(network, loader), evaluate(network, loader)
    assert np.array_equal(first.probabilities, second.probabilities)
    assert loader.epoch == 0
    assert random.state_dict() == before
    assert np.array_equal(evaluate(network, list(loader)).labels, np.arange(6) % 3)
