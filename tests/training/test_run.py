"""Whole runs: what is trained on what, what a run folder holds, and that a run goes on where it ended."""

import json

import numpy as np
import pytest
from made_data import make_cifar10, make_image_folders, make_mnist
from safetensors.numpy import load_file

import minialex as ma
from minialex.data import ArrayDataset, ImageFolder, load_mnist
from minialex.errors import DamagedSample, DataError, RunError
from minialex.training.assembly import make_network, make_test_loader
from minialex.training.callbacks import Callback
from minialex.training.data_parts import load_parts
from minialex.training.evaluation import evaluate
from minialex.training.recipes import Recipe, list_recipes, recipe_values, with_setting
from minialex.training.recipes.recipe import Data
from minialex.training.run import open_data, prepare, resume, train
from minialex.training.run_folder import RunFolder, RunSettings, default_folder
from minialex.training.state import load_latest_state


@pytest.fixture(scope="module")
def mnist(tmp_path_factory):
    return make_mnist(tmp_path_factory.mktemp("mnist"))


@pytest.fixture(scope="module")
def cifar10(tmp_path_factory):
    return make_cifar10(tmp_path_factory.mktemp("cifar10"))


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return make_image_folders(tmp_path_factory.mktemp("images"))


@pytest.fixture(scope="module")
def data_dir(mnist, cifar10, folders):
    """The small data for a recipe's source."""
    places = {"mnist": mnist, "cifar10": cifar10, "folder": folders, "imagenet": folders, "digits": None}
    return lambda recipe: places[recipe.data.source] and str(places[recipe.data.source])


def recipe_of(name, **settings):
    """A recipe with some values changed: keys with two underscores for the dot."""
    values = recipe_values(name)
    for key, value in settings.items():
        values = with_setting(values, key.replace("__", "."), value)
    return Recipe.from_dict(values)


def run_recipe(recipe, folder, out, seed=0, callbacks=()):
    settings, parts = prepare(RunSettings(recipe, folder, seed))
    return train(settings, parts, out, callbacks)


def weights(run):
    return load_file(run.path / "last.safetensors")


def evaluated_again(run, checkpoint):
    loader = make_test_loader(open_data(run).test, run.pipeline, run.recipe.data)
    return evaluate(run.load_network(checkpoint), loader)


def same_bits(a, b):
    assert a.keys() == b.keys()
    return all(a[name].tobytes() == b[name].tobytes() for name in a)


# What is trained on


def parts_of(mnist, seed=0, **data):
    return load_parts(Data("mnist", **data), str(mnist), 1, seed)


def test_without_further_words_the_parts_are_those_of_the_data_set(mnist):
    parts = parts_of(mnist)
    train_set, test_set = load_mnist(mnist)
    np.testing.assert_array_equal(parts.train.images, train_set.images)
    np.testing.assert_array_equal(parts.validation.images, test_set.images)
    assert parts.test is parts.validation
    assert parts.validation_name == "test"


def numbered(dataset, whole):
    """Where the images of a data set stand in another, by their bytes."""
    places = {image.tobytes(): i for i, image in enumerate(whole.images)}
    return [places[image.tobytes()] for image in dataset.images]


def test_images_drawn_with_replacement(mnist):
    whole, whole_test = load_mnist(mnist)
    parts = parts_of(mnist, train_samples=256, test_samples=128, replacement=True)
    drawn = numbered(parts.train, whole)
    assert (len(parts.train), len(parts.test)) == (256, 128)
    # 256 draws out of 40: each about 6.4 times; that one never comes has a chance of 0.15 %.
    counts = np.bincount(drawn, minlength=40)
    assert counts.min() > 0
    assert counts.max() < 20
    np.testing.assert_array_equal(parts.train.labels, whole.labels[drawn])
    assert numbered(parts_of(mnist, train_samples=256, replacement=True).train, whole) == drawn
    assert numbered(parts_of(mnist, 1, train_samples=256, replacement=True).train, whole) != drawn
    tests = numbered(parts.test, whole_test)
    # Of the same random numbers, shares of 20 images would be half of those of 40.
    assert tests != [each // 2 for each in drawn[:128]]


def test_images_drawn_without_replacement(mnist):
    whole, _ = load_mnist(mnist)
    drawn = numbered(parts_of(mnist, train_samples=30).train, whole)
    assert len(set(drawn)) == 30
    assert drawn != sorted(drawn)
    with pytest.raises(DataError, match=r"50 images are asked for.*has 40"):
        parts_of(mnist, train_samples=50)


def test_a_validation_share_is_the_end_of_the_training_part(mnist):
    """Keras: int(floor(n (1 - share))) images stay, 230 of 256; the rest, in their order, validates."""
    whole = parts_of(mnist, train_samples=256, replacement=True).train
    parts = parts_of(mnist, train_samples=256, replacement=True, validation=0.1)
    assert (len(parts.train), len(parts.validation)) == (230, 26)
    np.testing.assert_array_equal(parts.train.images, whole.images[:230])
    np.testing.assert_array_equal(parts.validation.images, whole.images[230:])
    assert parts.validation_name == "validation"
    assert len(parts.test) == 20
    with pytest.raises(DataError, match="leaves 0 to train on and 40"):
        parts_of(mnist, validation=0.99)


def test_the_first_images_can_be_reserved(mnist):
    whole, _ = load_mnist(mnist)
    assert numbered(parts_of(mnist, reserve=15).train, whole) == list(range(15, 40))
    with pytest.raises(DataError, match="leaves none of the 40"):
        parts_of(mnist, reserve=40)


def test_folders_are_read_in_the_models_colours(folders):
    parts = load_parts(Data("folder"), str(folders), 3, 0)
    assert isinstance(parts.train, ImageFolder)
    assert (parts.train[0][0].shape[0], parts.source_shape, parts.validation_name) == (
        3,
        (3, None, None),
        "validation",
    )
    parts = load_parts(Data("folder"), str(folders), 1, 0)
    assert (parts.train[0][0].shape[0], parts.source_shape) == (1, (1, None, None))


def test_a_folder_is_asked_for_and_only_where_one_is_read(mnist):
    with pytest.raises(DataError, match=r"'cifar10' reads a folder; name it with --data-dir"):
        load_parts(Data("cifar10"), None, 3, 0)
    with pytest.raises(DataError, match=r"'digits' brings its own images"):
        load_parts(Data("digits"), str(mnist), 1, 0)


def test_files_have_no_unit_form(folders):
    with pytest.raises(DataError, match=r'data.values="unit" is for data sets of arrays'):
        load_parts(Data("folder", values="unit"), str(folders), 3, 0)


def test_statistics_come_from_the_training_images(folders):
    settings, parts = prepare(RunSettings(recipe_of("paper"), str(folders)))
    pixels = np.concatenate([parts.train[i][0].reshape(3, -1) for i in range(len(parts.train))], axis=1) / 255
    train_list = settings.recipe.transforms.train
    noise = next(each for each in train_list if each["name"] == "pca_noise")
    mean = next(each for each in train_list if each["name"] == "subtract_mean")
    np.testing.assert_allclose(mean["mean"], pixels.mean(axis=1), rtol=1e-9)
    values, vectors = np.linalg.eigh(np.cov(pixels, bias=True))
    np.testing.assert_allclose(noise["eigenvalues"], values[::-1], rtol=1e-6)
    np.testing.assert_allclose(abs(np.array(noise["eigenvectors"])), abs(vectors.T[::-1]), atol=1e-6)
    assert not settings.recipe.transforms.need_statistics
    # With the mean taken off and the scale undone, the training images' mean is 0 on the scale 0..255.
    whole = settings.recipe.transforms.pipeline("validation")
    assert abs(whole(parts.train[0][0]).mean()) < 60
    assert whole(parts.train[0][0]).std() > 5


def test_a_pipeline_that_does_not_give_the_models_input_is_refused(mnist):
    with pytest.raises(DataError, match="28"):
        prepare(RunSettings(recipe_of("002_mnist_bn", model__name="alexnet_gray227"), str(mnist)))


# Runs


QUICK = ("001_half_bn",)
# A few steps of eight images at the documents' rates may overflow, which is not what is asked here.
SMALL = {
    "optimizer__lr": 1e-5,
    "training__epochs": 1,
    "training__batch_size": 8,
    "training__tensorboard": False,
    "checkpoint__every_seconds": 1e9,
}


@pytest.mark.parametrize(
    "name",
    [name if name in QUICK else pytest.param(name, marks=pytest.mark.full) for name in list_recipes()],
)
def test_every_recipe_runs(name, data_dir, tmp_path):
    recipe = recipe_of(name, **SMALL)
    settings = {}
    if recipe.data.source == "digits":
        settings = {"data__train_samples": 16, "data__test_samples": 8}
    elif recipe.data.source == "mnist":
        settings = {"data__train_samples": 20, "data__test_samples": 8, "data__reserve": 0}
    recipe = recipe_of(name, **SMALL, **settings)
    result = run_recipe(recipe, data_dir(recipe), tmp_path / "run")
    run = RunFolder.open(tmp_path / "run")
    assert run.result() == result.figures
    assert result.figures["recipe"] == name
    assert result.figures["epochs"] == 1
    assert np.isfinite(result.figures["validation_loss"])
    assert [epoch["epoch"] for epoch in run.history()] == [1]
    assert {path.stem for path in run.pictures.iterdir()} == {
        "first",
        "curves",
        "confusion",
        "filters",
        "worst",
    }
    again = evaluated_again(run, "last")
    assert again.accuracy == pytest.approx(result.accuracy, abs=1e-9)
    assert (run.path / "class_indices.json").exists() == (recipe.data.source in ("folder", "imagenet"))


def test_the_classes_are_written_as_document_003_does(folders, tmp_path):
    recipe = recipe_of("001_half_bn", **SMALL)
    result = run_recipe(recipe, str(folders), tmp_path / "run")
    document = '{\n    "0": "daisy",\n    "1": "roses",\n    "2": "tulips"\n}'
    assert (tmp_path / "run" / "class_indices.json").read_text() == document
    assert "test_accuracy" not in result.figures  # the images in val/ are all there is
    assert result.part == "validation"


@pytest.mark.full
def test_both_forms_of_document_002_train_to_the_same_bits(mnist, tmp_path):
    runs = []
    for name in ("002_mnist_bn", "002_mnist_bn_one_hot"):
        recipe = recipe_of(name, data__reserve=0, **SMALL)
        runs.append(run_recipe(recipe, str(mnist), tmp_path / name).run)
    assert same_bits(*map(weights, runs))


def small_recipe(epochs=3, **settings):
    """Every kind of state: augmentation, dropout, momentum, L2, a schedule by epochs, a best so far."""
    return recipe_of(
        "004_thinner4",
        training__epochs=epochs,
        training__batch_size=8,
        schedule__milestones=[1, 2],
        training__tensorboard=False,
        **settings,
    )


class Killed(BaseException):
    """Ends a run where nothing expects it."""


class KillAfter(Callback):
    def __init__(self, steps):
        self.steps = steps

    def save(self, trainer):
        if trainer.steps == self.steps and trainer.batch:
            raise Killed


class Steps(Callback):
    """Remembers which steps were taken."""

    def __init__(self):
        self.numbers = []

    def after_step(self, step):
        self.numbers.append(step.number)


@pytest.fixture(scope="module")
def uninterrupted(cifar10, tmp_path_factory):
    out = tmp_path_factory.mktemp("uninterrupted") / "run"
    return run_recipe(small_recipe(), str(cifar10), out)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        pytest.param(
            {"schedule": {"name": "warmup_cosine"}, "optimizer": {"name": "adam", "lr": 1e-3}},
            marks=pytest.mark.full,
        ),
    ],
)
def test_a_run_that_ends_in_the_middle_goes_on_to_the_same_bits(settings, cifar10, uninterrupted, tmp_path):
    recipe = small_recipe()
    whole = uninterrupted
    if settings:
        values = {**recipe.to_dict(), **settings}
        values["training"]["epochs"] = 2
        recipe = Recipe.from_dict(values)
        whole = run_recipe(recipe, str(cifar10), tmp_path / "whole")
    # What is killed writes its state after every step; what is not, after every epoch.
    values = with_setting(recipe.to_dict(), "checkpoint.every_seconds", 0.0)
    with pytest.raises(Killed):
        run_recipe(Recipe.from_dict(values), str(cifar10), tmp_path / "run", callbacks=(KillAfter(7),))
    run = RunFolder.open(tmp_path / "run")
    assert run.result() is None
    state, problem = load_latest_state(run.path)
    assert (state.epoch, problem) == (1, None)
    assert 0 < state.batch <= 2
    result = resume(run, open_data(run), state, (steps := Steps(),))
    assert steps.numbers[0] == 8  # the seven before it are not taken again
    assert same_bits(weights(whole.run), weights(result.run))
    timing = {"seconds", "images_per_second"}
    for before, after in zip(whole.run.history(), run.history(), strict=True):
        assert {k: v for k, v in before.items() if k not in timing} == {
            k: v for k, v in after.items() if k not in timing
        }
    untimed = timing | {"run"}
    assert {k: v for k, v in result.figures.items() if k not in untimed} == {
        k: v for k, v in whole.figures.items() if k not in untimed
    }


def test_a_run_that_ends_after_the_last_epoch_is_finished_without_one(cifar10, tmp_path, monkeypatch):
    def killed(*_):
        raise Killed

    recipe = small_recipe(epochs=1)
    with monkeypatch.context() as patch:
        patch.setattr("minialex.training.run._draw", killed)
        with pytest.raises(Killed):
            run_recipe(recipe, str(cifar10), tmp_path / "run")
    run = RunFolder.open(tmp_path / "run")
    before = weights(run)
    state, _ = load_latest_state(run.path)
    result = resume(run, open_data(run), state)
    assert result.accuracy == run.history()[0]["validation_accuracy"]
    assert run.result() == result.figures
    assert same_bits(before, weights(run))


def test_a_finished_run_keeps_no_state(uninterrupted):
    assert not list(uninterrupted.run.path.glob("state*"))


def test_the_seed_changes_the_run(cifar10, uninterrupted, tmp_path):
    other = run_recipe(small_recipe(epochs=1, optimizer__lr=1e-12), str(cifar10), tmp_path / "run", seed=1)
    assert other.run.history()[0]["train_loss"] != uninterrupted.run.history()[0]["train_loss"]
    ma.manual_seed(1)
    initial = make_network(other.run.recipe.model, 10).state_dict()
    np.testing.assert_allclose(weights(other.run)["conv1.weight"], initial["conv1.weight"], atol=1e-6)


def test_the_best_epoch_is_kept(uninterrupted):
    accuracies = [epoch["validation_accuracy"] for epoch in uninterrupted.run.history()]
    figures = uninterrupted.figures
    assert figures["best_validation_accuracy"] == max(accuracies)
    assert figures["best_epoch"] == accuracies.index(max(accuracies)) + 1
    assert evaluated_again(uninterrupted.run, "best").accuracy == max(accuracies)


def test_the_rates_follow_the_schedule_of_the_recipe(uninterrupted):
    rates = [epoch["lr"] for epoch in uninterrupted.run.history()]
    assert rates == pytest.approx([0.01, 0.001, 0.0001])


def test_early_stopping_ends_a_run(cifar10, tmp_path):
    recipe = small_recipe(epochs=9, training__early_stop=1, optimizer__lr=1e-9)
    result = run_recipe(recipe, str(cifar10), tmp_path / "run")
    assert result.figures["epochs"] == 2
    assert "validation_accuracy has not improved" in result.stopped


def test_a_run_that_fails_at_once_leaves_nothing(cifar10, tmp_path):
    recipe = small_recipe(checkpoint__monitor="validation_top5_accuracy")
    with pytest.raises(Exception, match="validation_top5_accuracy"):
        run_recipe(recipe, str(cifar10), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("damaged", ["stop", "skip"])
def test_a_damaged_file_ends_the_run_or_is_counted(damaged, tmp_path):
    folder = make_image_folders(tmp_path / "images")
    (folder / "train" / "roses" / "1.jpg").write_bytes(b"\xff\xd8\xff no picture")
    # Its statistics are left to the data, which is read before training.
    transforms = [
        {"name": "resize", "size": [224, 224]},
        {"name": "scale"},
        {"name": "subtract_mean"},
    ]
    recipe = recipe_of(
        "001_half_bn",
        **SMALL,
        data__damaged=damaged,
        transforms__train=transforms,
        transforms__test=transforms,
    )
    if damaged == "stop":
        with pytest.raises(DamagedSample, match=r"1\.jpg"):
            run_recipe(recipe, str(folder), tmp_path / "run")
        return
    result = run_recipe(recipe, str(folder), tmp_path / "run")
    assert result.figures["train_skipped"] == 1
    assert result.run.history()[0]["train_skipped"] == 1


@pytest.mark.full
def test_the_paper_is_tested_on_ten_crops_and_five_guesses(tmp_path):
    folder = make_image_folders(tmp_path / "images", "abcdef", train=2, val=1)
    recipe = recipe_of("paper", **SMALL)
    result = run_recipe(recipe, str(folder), tmp_path / "run")
    assert result.figures["validation_top5_accuracy"] >= result.figures["validation_accuracy"]
    assert result.figures["test_top5_accuracy"] >= result.figures["test_accuracy"]
    assert result.figures["test_loss"] != result.figures["validation_loss"]


# The run folder, which anyone may have edited


def test_a_run_folder_tells_what_it_was_made_from(uninterrupted, cifar10):
    run = RunFolder.open(uninterrupted.run.path)
    assert run.recipe == uninterrupted.run.recipe
    assert run.recipe.name == "004_thinner4"
    assert (run.data_dir, run.seed, run.device) == (str(cifar10), 0, "cpu")
    assert run.classes[3] == "cat"
    assert run.pipeline.output_shape((3, 32, 32)) == (3, 32, 32)
    network = run.load_network("last")
    assert network.num_classes == 10
    assert isinstance(open_data(run).train, ArrayDataset)


@pytest.fixture
def edited(uninterrupted, tmp_path):
    """A copy of the small files of a run, in which a function has changed the settings."""

    def edit(change):
        for name in ("settings.json", "metrics.jsonl", "result.json"):
            (tmp_path / name).write_bytes((uninterrupted.run.path / name).read_bytes())
        values = json.loads((tmp_path / "settings.json").read_text())
        (tmp_path / "settings.json").write_text(json.dumps(change(values)))
        return tmp_path

    return edit


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda v: v | {"seed": -1}, "seed must be an integer from 0 to .*, not -1"),
        (lambda v: v | {"seed": True}, "seed must be .*, not True"),
        (lambda v: v | {"classes": []}, "classes must be a list of names"),
        (lambda v: v | {"classes": [1]}, "classes must be a list of names"),
        (lambda v: v | {"device": 3}, "device must be text"),
        (lambda v: v | {"more": 3}, "exactly the entries"),
        (lambda v: [v], "exactly the entries"),
        (lambda v: {k: v[k] for k in v if k != "recipe"}, "exactly the entries"),
        (lambda v: with_setting(v, "recipe.optimizer.lr", -1), r"lr must be a number above 0, not -1"),
        (lambda v: with_setting(v, "recipe.model.name", "no"), "model 'no' is unknown"),
        (lambda v: with_setting(v, "recipe.transforms.test", [{"name": "subtract_mean"}]), "lacks its stat"),
    ],
)
def test_damaged_settings_are_refused(edited, change, says):
    with pytest.raises(RunError, match=says) as error:
        RunFolder.open(edited(change))
    assert "settings.json' is damaged" in str(error.value)


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000])
def test_settings_that_are_no_json_are_refused(edited, text):
    folder = edited(lambda v: v)
    (folder / "settings.json").write_text(text)
    with pytest.raises(RunError, match=r"settings\.json' is damaged"):
        RunFolder.open(folder)


def test_settings_of_many_bytes_are_not_read(edited):
    folder = edited(lambda v: v)
    with (folder / "settings.json").open("a") as file:
        file.write(" " * 2**20)
    with pytest.raises(RunError, match="more than 1,048,576 bytes"):
        RunFolder.open(folder)


@pytest.mark.parametrize("line", ["{", "3", '{"epoch": 1}', "[" * 100_000])
def test_damaged_metrics_are_refused_by_their_line(edited, line):
    folder = edited(lambda v: v)
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    (folder / "metrics.jsonl").write_text("\n".join([lines[0], line, lines[2]]))
    with pytest.raises(RunError, match="line 2"):
        RunFolder.open(folder).history()
    (folder / "metrics.jsonl").write_text(lines[1])
    with pytest.raises(RunError, match="line 1: it is of epoch 2"):
        RunFolder.open(folder).history()


def test_a_damaged_result_is_refused(edited):
    folder = edited(lambda v: v)
    (folder / "result.json").write_text("[3]")
    with pytest.raises(RunError, match=r"result\.json' is damaged"):
        RunFolder.open(folder).result()


def test_data_of_other_classes_is_refused(uninterrupted):
    settings = uninterrupted.run.settings
    with pytest.raises(RunError, match=r"the data has the classes airplane, .*, the run cats, dogs"):
        open_data(RunFolder(uninterrupted.run.path, settings, ("cats", "dogs")))


def test_folders_are_named_after_the_recipe_or_what_was_chosen():
    assert str(default_folder(recipe_of("003_flowers"))).startswith("runs/003_flowers-2")
    chosen = recipe_of("digits", data__source="mnist")
    assert str(default_folder(chosen)).startswith("runs/alexnet_mnist28_bn-mnist-2")
