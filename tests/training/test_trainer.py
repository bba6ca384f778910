"""The training loop, its diagnosis of failures, and what it measures."""

import math
from itertools import pairwise

import numpy as np
import pytest

from minialex import functional as F
from minialex import nn
from minialex.data import ArrayDataset, DataLoader
from minialex.data.transforms import Pipeline
from minialex.errors import MiniAlexError, TrainingError
from minialex.models import Network
from minialex.models.architecture import Architecture, conv, dense, flatten, relu
from minialex.models.initialisers import initialise
from minialex.optim import SGD
from minialex.optim.lr_scheduler import ReduceLROnPlateau, StepLR
from minialex.tensor import Tensor
from minialex.training.callbacks import Callback
from minialex.training.diagnosis import first_non_finite_layer, guessing_message, is_guessing
from minialex.training.evaluation import Evaluation, evaluate
from minialex.training.metrics import EpochMetrics
from minialex.training.trainer import Options, Trainer, steps_per_epoch

TINY = Architecture(
    "tiny", "a test", (1, 6, 6), 3, (conv(4, 3), relu(), flatten(), dense("classes")), "he", 0, "Everything."
)
TRANSFORM = Pipeline.from_list([{"name": "scale"}, {"name": "normalize", "mean": 0.3, "std": 0.3}])


@pytest.fixture
def network() -> Network:
    built = TINY.build()
    initialise(built, "he")
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
    return DataLoader(dataset, 10, transform=TRANSFORM, **options)


def images_of(dataset) -> np.ndarray:
    """What a loader makes of all images: float32 (N, C, H, W)."""
    return (dataset.images.astype(np.float32) / 255 - np.float32(0.3)) / np.float32(0.3)


class History(Callback):
    def __init__(self):
        self.steps, self.epochs, self.validations = [], [], []

    def after_step(self, step):
        self.steps.append(step)

    def after_epoch(self, metrics, network, validation):
        self.epochs.append(metrics)
        self.validations.append(validation)


def train(network, dataset, epochs=3, lr=0.1, schedule=lambda o: StepLR(o, 6, 0.5), **options):
    optimizer = SGD(network.parameters(), lr=lr, momentum=0.9)
    history = History()
    chosen = Options(schedule=schedule(optimizer), **options)
    trainer = Trainer(
        network, optimizer, loader(dataset, shuffle=True), loader(dataset), chosen, callbacks=(history,)
    )
    return trainer.fit(epochs), history


def test_an_optimiser_or_a_schedule_of_another_network_is_refused(network, dataset):
    others = SGD(TINY.build().parameters(), lr=0.1)
    with pytest.raises(
        MiniAlexError, match=r"^optimizer must hold .* SGD\(network\.parameters\(\), \.\.\.\)$"
    ):
        Trainer(network, others, loader(dataset))
    own = SGD(network.parameters(), lr=0.1)
    with pytest.raises(MiniAlexError, match=r"^options\.schedule must be of the optimiser"):
        Trainer(network, own, loader(dataset), options=Options(schedule=StepLR(others, 6)))
    # Of a part of the network, as in fine-tuning.
    Trainer(network, SGD(network[-1].parameters(), lr=0.1), loader(dataset))


def test_it_learns_and_reports(network, dataset):
    last, history = train(network, dataset)
    assert last.validation_accuracy == 1
    assert [step.batch for step in history.steps] == [*range(1, 7)] * 3
    assert [step.epoch for step in history.steps] == [1] * 6 + [2] * 6 + [3] * 6
    assert [step.number for step in history.steps] == [*range(1, 19)]
    assert [metrics.epoch for metrics in history.epochs] == [1, 2, 3]
    # The rate is halved every epoch of six steps.
    assert [metrics.lr for metrics in history.epochs] == pytest.approx([0.1, 0.05, 0.025])
    assert [step.lr for step in history.steps] == pytest.approx([0.1] * 6 + [0.05] * 6 + [0.025] * 6)
    assert history.epochs[-1] == last


def test_the_epoch_mean_is_the_mean_of_its_images(network, dataset):
    """With a rate that changes nothing, the training loss is the loss of the data set."""
    last, history = train(network, dataset, epochs=1, lr=1e-30)
    logits = network(Tensor(images_of(dataset)))
    assert last.train_loss == pytest.approx(F.cross_entropy(logits, dataset.labels).item(), rel=1e-5)
    assert last.train_loss == pytest.approx(last.validation_loss, rel=1e-5)
    assert last.train_accuracy == pytest.approx((logits.numpy().argmax(1) == dataset.labels).mean())
    assert np.mean([step.step_loss for step in history.steps]) == pytest.approx(last.train_loss)
    assert np.mean([step.step_accuracy for step in history.steps]) == pytest.approx(last.train_accuracy)
    assert history.steps[-1].loss == last.train_loss


def test_fit_counts_all_epochs(network, dataset):
    optimizer = SGD(network.parameters(), lr=0.1)
    trainer = Trainer(network, optimizer, loader(dataset, shuffle=True), loader(dataset))
    first = trainer.fit(2)
    assert trainer.fit(2) == first
    assert trainer.fit(3).epoch == 3
    assert [metrics.epoch for metrics in trainer.history] == [1, 2, 3]
    assert trainer.steps == 18


def test_each_epoch_has_an_order_of_its_own(network, dataset):
    seen = []

    def loss(logits, targets):
        seen.append(targets.tolist())
        return F.cross_entropy(logits, targets)

    train(network, dataset, epochs=2, loss=loss)
    orders = loader(dataset, shuffle=True)
    expected = [dataset.labels[orders.order(epoch)].reshape(6, 10).tolist() for epoch in (1, 2)]
    assert seen == expected[0] + expected[1]
    assert expected[0] != expected[1]


def test_a_network_set_to_evaluation_is_trained_all_the_same(network, dataset):
    modes = []

    def loss(logits, targets):
        modes.append(network.training)
        return F.cross_entropy(logits, targets)

    train(network.eval(), dataset, epochs=2, loss=loss)
    assert modes == [True] * 12


# Accumulation and clipping, against what they mean


def batches_of(x, y, *sizes):
    starts = np.cumsum([0, *sizes])
    assert starts[-1] == len(x)
    return [(x[a:b], y[a:b]) for a, b in pairwise(starts)]


def weights_after(dataset, sizes, **options):
    """Float64 weights after two epochs of batches of these sizes, and the metrics of the last."""
    network = TINY.build()
    for i, p in enumerate(network.parameters()):
        p.data[...] = np.random.default_rng(i).normal(0, 0.3, p.shape)
    network.astype(np.float64)
    x, y = images_of(dataset)[:23].astype(np.float64), dataset.labels[:23]
    optimizer = SGD(network.parameters(), lr=0.1, momentum=0.9, weight_decay=0.01)
    chosen = Options(schedule=StepLR(optimizer, 3, 0.5), **options)
    last = Trainer(network, optimizer, batches_of(x, y, *sizes), options=chosen).fit(2)
    return np.concatenate([p.numpy().ravel() for p in network.parameters()]), last


def test_accumulated_batches_equal_one_large_batch(dataset):
    """Windows of 4 x 4 images and of the 4 + 3 that are left, the last batch being shorter as well."""
    weights, metrics = weights_after(dataset, [4] * 5 + [3], accumulate=4)
    expected, expected_metrics = weights_after(dataset, [16, 7])
    np.testing.assert_allclose(weights, expected, rtol=1e-11, atol=1e-14)
    assert metrics.train_loss == pytest.approx(expected_metrics.train_loss, rel=1e-12)
    assert metrics.train_accuracy == expected_metrics.train_accuracy
    assert metrics.lr == expected_metrics.lr == 0.05  # the rate counts steps, not batches


def test_accumulated_batches_are_clipped_as_one_large_batch(dataset):
    weights, _ = weights_after(dataset, [4] * 5 + [3], accumulate=4, clip_norm=0.05)
    expected, _ = weights_after(dataset, [16, 7], clip_norm=0.05)
    np.testing.assert_allclose(weights, expected, rtol=1e-11, atol=1e-14)
    unclipped, _ = weights_after(dataset, [16, 7])
    assert np.abs(unclipped - expected).max() > 1e-3


@pytest.mark.parametrize("clip_norm", [0.01, 1e6])
def test_clipping_limits_the_joint_norm(network, dataset, clip_norm):
    """A step of rate 1 without momentum moves the weights by the clipped gradient."""
    x, y = images_of(dataset), dataset.labels
    F.cross_entropy(network(Tensor(x)), y).backward()
    gradient = np.concatenate([p.grad.numpy().ravel() for p in network.parameters()]).astype(np.float64)
    norm = np.sqrt((gradient**2).sum())
    assert 0.01 < norm < 1e6
    before = np.concatenate([p.numpy().ravel() for p in network.parameters()])
    history = History()
    optimizer, options = SGD(network.parameters(), lr=1.0), Options(clip_norm=clip_norm)
    Trainer(network, optimizer, [(x, y)], options=options, callbacks=(history,)).fit(1)
    after = np.concatenate([p.numpy().ravel() for p in network.parameters()])
    np.testing.assert_allclose(before - after, gradient * min(1, clip_norm / norm), rtol=1e-3, atol=1e-6)
    assert history.steps[0].gradient_norm == pytest.approx(norm, rel=1e-5)


def test_steps_per_epoch_counts_the_shorter_last_window():
    assert [steps_per_epoch(range(n), 4) for n in (1, 4, 5, 8)] == [1, 1, 2, 2]


# Losses and targets


def test_one_hot_targets_train_as_labels_do(dataset):
    x, y = images_of(dataset), dataset.labels
    results = []
    for targets in (y, np.eye(3, dtype=np.float32)[y]):
        network = TINY.build()
        for i, p in enumerate(network.parameters()):
            p.data[...] = np.random.default_rng(i).normal(0, 0.3, p.shape)
        last = Trainer(network, SGD(network.parameters(), lr=0.1), [(x, targets)], [(x, y)]).fit(3)
        results.append((last.train_loss, last.train_accuracy, last.validation_loss))
    assert results[0] == results[1]
    assert results[0][1] > 0.4


def test_the_loss_is_the_one_given(network, dataset):
    """Three times the loss, at a third of the rate, is the same step."""
    x, y = images_of(dataset), dataset.labels
    other = TINY.build()
    other.load_state_dict(network.state_dict())
    first = Trainer(network, SGD(network.parameters(), lr=0.3), [(x, y)], [(x, y)]).fit(2)
    options = Options(loss=lambda logits, targets: F.cross_entropy(logits, targets) * 3)
    tripled = Trainer(other, SGD(other.parameters(), lr=0.1), [(x, y)], [(x, y)], options).fit(2)
    assert tripled.train_loss == pytest.approx(3 * first.train_loss, rel=1e-5)
    assert tripled.validation_loss == pytest.approx(first.validation_loss, rel=1e-5)


def test_without_validation_there_are_no_validation_metrics(network, dataset):
    history = History()
    trainer = Trainer(network, SGD(network.parameters(), lr=0.1), loader(dataset), callbacks=(history,))
    last = trainer.fit(1)
    assert (last.validation_loss, last.validation_accuracy) == (None, None)
    assert history.validations == [None]
    with pytest.raises(MiniAlexError, match=r"'validation_loss' .* without validation images.*train_loss"):
        trainer.require_metric("validation_loss")


def test_further_metrics_of_the_validation(network, dataset):
    last, _ = train(
        network,
        dataset,
        epochs=1,
        validation_metrics={"validation_share_of_a": lambda e: (e.predictions == 0).mean()},
    )
    predictions = network.eval()(Tensor(images_of(dataset))).numpy().argmax(1)
    assert last.extra == {"validation_share_of_a": pytest.approx((predictions == 0).mean())}
    assert last.to_dict()["validation_share_of_a"] == last.extra["validation_share_of_a"]


def test_metrics_survive_their_dictionary():
    metrics = EpochMetrics(2, 0.1, 0.2, None, None, 0.3, 4.5, 6.7, {"validation_top5_accuracy": 0.1 + 0.2})
    assert EpochMetrics.from_dict(metrics.to_dict()) == metrics


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"train_loss": math.nan}, "train_loss must be a finite number, not nan"),
        ({"train_loss": None}, "train_loss must be a finite number, not None"),
        ({"lr": "0.1"}, "lr must be a finite number, not '0.1'"),
        ({"epoch": 0}, "epoch must be an integer 1 or more, not 0"),
        ({"epoch": 1.5}, "epoch must be an integer 1 or more, not 1.5"),
        ({"other": True}, "other must be a finite number, not True"),
    ],
)
def test_metrics_that_are_none_are_refused_by_name(change, message):
    values = EpochMetrics(2, 0.1, 0.2, 0.5, 0.6, 0.3, 4.5, 6.7).to_dict()
    with pytest.raises(MiniAlexError, match=message):
        EpochMetrics.from_dict(values | change)
    with pytest.raises(MiniAlexError, match="lack train_accuracy, lr"):
        EpochMetrics.from_dict({n: v for n, v in values.items() if n not in ("train_accuracy", "lr")})


# Schedules


def test_a_schedule_may_count_epochs(network, dataset):
    _, history = train(network, dataset, schedule=lambda o: StepLR(o, 2, 0.5, per="epoch"))
    assert [metrics.lr for metrics in history.epochs] == pytest.approx([0.1, 0.1, 0.05])
    assert {step.lr for step in history.steps[:12]} == {0.1}


def test_a_plateau_is_one_of_its_metric(network, dataset):
    """At a rate of 1e-30 nothing improves after the first epoch."""
    _, history = train(
        network,
        dataset,
        lr=1e-30,
        schedule=lambda o: ReduceLROnPlateau(o, "max", 0.5, 0, monitor="train_accuracy"),
    )
    assert [metrics.lr for metrics in history.epochs] == pytest.approx([1e-30, 1e-30, 0.5e-30])


def test_a_plateau_needs_its_metric(network, dataset):
    optimizer = SGD(network.parameters())
    with pytest.raises(MiniAlexError, match=r"'validation_los'.* there are: train_loss, .* validation_loss"):
        Trainer(
            network,
            optimizer,
            loader(dataset),
            loader(dataset),
            Options(schedule=ReduceLROnPlateau(optimizer, monitor="validation_los")),
        )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"clip_norm": 0.0}, r"clip_norm must be a number above 0, not 0\.0"),
        ({"clip_norm": math.nan}, "clip_norm must be .*, not nan"),
        ({"accumulate": 0}, "accumulate must be an integer 1 or more, not 0"),
        ({"accumulate": True}, "accumulate must be .*, not True"),
        ({"accumulate": 1.5}, r"accumulate must be .*, not 1\.5"),
    ],
)
def test_impossible_options_are_refused_by_name(network, dataset, options, message):
    with pytest.raises(MiniAlexError, match=message):
        train(network, dataset, **options)


@pytest.mark.parametrize("epochs", [0, -1, 1.5, True])
def test_an_impossible_number_of_epochs_is_refused(network, dataset, epochs):
    with pytest.raises(MiniAlexError, match=f"epochs must be an integer 1 or more, not {epochs}"):
        train(network, dataset, epochs=epochs)


def test_a_loader_without_batches_is_refused(network):
    with pytest.raises(TrainingError, match="no batch in epoch 1"):
        Trainer(network, SGD(network.parameters()), []).fit(1)


# Callbacks


class Order(Callback):
    def __init__(self, name, log):
        self.name, self.log = name, log

    def before_training(self, trainer):
        self.log.append(f"{self.name} before")

    def after_step(self, step):
        self.log.append(f"{self.name} step {step.number}")

    def after_epoch(self, metrics, network, validation):
        self.log.append(f"{self.name} epoch {metrics.epoch}")

    def save(self, trainer):
        self.log.append(f"{self.name} save {trainer.epoch} {trainer.batch}")

    def after_training(self):
        self.log.append(f"{self.name} after")


def test_callbacks_are_called_in_the_order_described(network, dataset):
    log = []
    x, y = images_of(dataset), dataset.labels
    callbacks = (Order("a", log), Order("b", log))
    options = Options(accumulate=2)
    Trainer(network, SGD(network.parameters()), [(x, y)] * 3, options=options, callbacks=callbacks).fit(1)
    assert log == [
        "a before",
        "b before",
        "a step 1",
        "b step 1",
        "a save 0 2",
        "b save 0 2",
        "a step 2",
        "b step 2",
        "a save 0 3",
        "b save 0 3",
        "a epoch 1",
        "b epoch 1",
        "a save 1 0",
        "b save 1 0",
        "b after",
        "a after",
    ]


def test_callbacks_are_closed_after_an_error_too(network, dataset):
    log = []
    optimizer = SGD(network.parameters(), lr=1e30)
    with pytest.raises(TrainingError):
        Trainer(network, optimizer, loader(dataset), callbacks=(Order("a", log),)).fit(1)
    assert log[-1] == "a after"


# Evaluation and diagnosis


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


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_rate_that_is_too_high_names_the_layer_and_the_batch(network, dataset, accumulate):
    with pytest.raises(
        TrainingError, match=r"epoch 1, batch \d: .* from layer (conv1|fc2).* Lower the learning"
    ):
        train(network, dataset, lr=1e30, accumulate=accumulate)


def test_a_loss_that_is_not_finite_changes_nothing(network, dataset):
    images = images_of(dataset)
    images[30, 0, 0, 0] = np.nan
    before = {name: array.copy() for name, array in network.state_dict().items()}
    batches = [(images, dataset.labels)]
    with pytest.raises(TrainingError, match=r"epoch 1, batch 1: .* from the images\. Look at the data"):
        Trainer(network, SGD(network.parameters()), batches).fit(1)
    assert all((array == before[name]).all() for name, array in network.state_dict().items())


def test_gradients_that_cannot_be_clipped_name_the_step(network, dataset):
    """The loss is 0; on the way back 1e30 * 1e30 overflows float32."""
    options = Options(clip_norm=1.0, loss=lambda logits, targets: (logits * 0 * 1e30 * 1e30).sum())
    batches = [(images_of(dataset), dataset.labels)]
    with pytest.raises(TrainingError, match=r"epoch 1, step 1: the norm of the gradients is (inf|nan)"):
        Trainer(network, SGD(network.parameters()), batches, options=options).fit(1)


def test_a_validation_that_is_not_finite_is_named(network, dataset):
    images = images_of(dataset)
    bad = images.copy()
    bad[0] = np.inf
    with pytest.raises(TrainingError, match=r"epoch 1, the validation: .* from the images"):
        Trainer(network, SGD(network.parameters()), [(images, dataset.labels)], [(bad, dataset.labels)]).fit(
            1
        )


def test_first_non_finite_layer(network, dataset):
    images = images_of(dataset)[:2]
    assert first_non_finite_layer(network, images, "cpu") is None
    assert first_non_finite_layer(network, images[:, None], "cpu") is None  # one crop of each image
    network[3].weight.data[0, 0] = np.inf
    assert first_non_finite_layer(network, images, "cpu") == (
        "layer fc2 (Linear), whose weight is no longer finite"
    )
    network[0].weight.data[:] = 3e38
    images[:] = 3e38
    with np.errstate(all="ignore"):
        assert first_non_finite_layer(network, images, "cpu") == "layer conv1 (Conv2d)"
    images[0, 0, 0, 0] = np.nan
    assert first_non_finite_layer(network, images, "cpu") == "the images"


@pytest.mark.parametrize(
    ("at", "says"),
    [
        (0, "a function that is called before layer first (Conv2d)"),
        (1, "a function that is called before layer second (Linear)"),
        (2, "a function that is called after layer second (Linear)"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*:RuntimeWarning")
def test_a_function_between_layers_is_not_blamed_on_the_layer_behind_it(at, says):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Conv2d(1, 2, 1), nn.Linear(8, 3)

        def forward(self, x):
            for number, step in enumerate((self.first, lambda y: self.second(y.flatten(1)), lambda y: y)):
                x = step((x - x).log() if number == at else x)
            return x

    found = first_non_finite_layer(Net(), np.ones((2, 1, 2, 2), np.float32), "cpu")
    assert found == says


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
