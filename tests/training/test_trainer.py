"""The training loop, its diagnosis of failures, and what it measures."""

import math

import numpy as np
import pytest

from minialex import functional as F
from minialex import nn
from minialex.data import ArrayDataset, DataLoader, Preprocessing
from minialex.errors import TrainingError
from minialex.models import Network
from minialex.models.architecture import Architecture, conv, dense, flatten, relu
from minialex.optim import SGD
from minialex.optim.lr_scheduler import StepLR
from minialex.tensor import Tensor
from minialex.training.diagnosis import first_non_finite_layer, guessing_message, is_guessing
from minialex.training.evaluation import Evaluation, evaluate
from minialex.training.trainer import Callback, Trainer

TINY = Architecture(
    "tiny", "a test", (1, 6, 6), 3, (conv(4, 3), relu(), flatten(), dense("classes")), "he", 0, "Everything."
)


@pytest.fixture
def network() -> Network:
    built = TINY.build()
    nn.init.initialise(built, "he")
    return built


@pytest.fixture
def dataset() -> ArrayDataset:
    """Three classes that differ in which third of the image is bright."""
    random = np.random.default_rng(0)
    labels = np.arange(60) % 3
    images = random.integers(0, 60, (60, 1, 6, 6))
    for image, label in zip(images, labels, strict=True):
        image[0, 2 * label : 2 * label + 2] += 150
    return ArrayDataset(images.astype(np.uint8), labels, ("a", "b", "c"), "thirds")


def loader(dataset, **options):
    return DataLoader(dataset, 10, preprocess=Preprocessing(1, 6, 6, (0.3,), (0.3,)), **options)


class History(Callback):
    def __init__(self):
        self.steps, self.epochs = [], []

    def after_step(self, step):
        self.steps.append(step)

    def after_epoch(self, metrics, network, test):
        self.epochs.append((metrics, test))


def train(network, dataset, epochs=3, lr=0.1):
    optimizer = SGD(network.parameters(), lr=lr, momentum=0.9)
    history = History()
    trainer = Trainer(
        network, optimizer, StepLR(optimizer, 6, 0.5), loader(dataset, shuffle=True), loader(dataset),
        callbacks=(history,),
    )  # fmt: skip
    return trainer.fit(epochs), history


def test_it_learns_and_reports(network, dataset):
    last, history = train(network, dataset)
    assert last.test_accuracy == 1
    assert [step.batch for step in history.steps] == [*range(1, 7)] * 3
    assert [metrics.epoch for metrics, _ in history.epochs] == [1, 2, 3]
    # The rate is halved every epoch of six steps.
    assert [metrics.lr for metrics, _ in history.epochs] == pytest.approx([0.1, 0.05, 0.025])
    assert history.epochs[-1][0] == last


def test_the_epoch_mean_is_the_mean_of_its_images(network, dataset):
    """With a rate that changes nothing, the training loss is the loss of the data set."""
    last, _ = train(network, dataset, epochs=1, lr=1e-30)
    images = loader(dataset).preprocess(dataset.images)
    logits = network(Tensor(images))
    assert last.train_loss == pytest.approx(F.cross_entropy(logits, dataset.labels).item(), rel=1e-5)
    assert last.train_loss == pytest.approx(last.test_loss, rel=1e-5)
    assert last.train_accuracy == pytest.approx((logits.numpy().argmax(1) == dataset.labels).mean())


def test_evaluation_restores_the_mode_and_counts(network, dataset):
    network.train()
    result = evaluate(network, loader(dataset))
    assert network.training
    assert result.probabilities.sum(axis=1) == pytest.approx(np.ones(60), abs=1e-5)
    confusion = result.confusion()
    assert confusion.sum() == 60
    assert np.trace(confusion) / 60 == pytest.approx(result.accuracy)
    assert confusion.sum(axis=1).tolist() == [20, 20, 20]


def test_confusion_has_truth_in_rows():
    probabilities = np.array([[0.1, 0.9], [0.2, 0.8], [0.7, 0.3]], np.float32)
    result = Evaluation(probabilities, np.array([0, 1, 1]), 0.0)
    assert result.confusion().tolist() == [[0, 1], [1, 1]]
    assert result.accuracy == pytest.approx(1 / 3)


def test_a_rate_that_is_too_high_names_the_layer_and_the_batch(network, dataset):
    with pytest.raises(
        TrainingError, match=r"epoch 1, batch \d: .* from layer (conv1|fc2).* Lower the learning"
    ):
        train(network, dataset, lr=1e30)


def test_first_non_finite_layer(network, dataset):
    images = loader(dataset).preprocess(dataset.images[:2])
    assert first_non_finite_layer(network, images, "cpu") is None
    network[3].weight.data[0, 0] = np.inf
    assert first_non_finite_layer(network, images, "cpu") == (
        "layer fc2 (Linear), whose weight is no longer finite"
    )
    network[0].weight.data[:] = 3e38
    images[:] = 3e38
    with np.errstate(all="ignore"):
        assert first_non_finite_layer(network, images, "cpu") == "layer conv1 (Conv2d)"


@pytest.mark.parametrize(
    ("loss", "guessing"), [(2.3026, True), (2.6, True), (2.28, True), (2.2, False), (0.1, False)]
)
def test_guessing_is_the_loss_of_the_logarithm(loss, guessing):
    assert is_guessing(loss, 10) == guessing
    assert not is_guessing(loss, 1)


def test_guessing_message_says_what_helps():
    text = guessing_message(2.3026, 10, 0.01)
    assert f"{math.log(10):.4f}" in text
    assert "learning rate (it is 0.01" in text
    assert "batch normalisation" in text
