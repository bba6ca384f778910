"""What a run folder tells: on which images its figures were measured."""

import dataclasses
import json

import pytest

from minialex.errors import RunError
from minialex.models import get_architecture
from minialex.training.recipes import Recipe, recipe_values, with_setting
from minialex.training.report.recorded_run import RecordedRun
from minialex.training.run_folder import RunFolder, RunSettings


@pytest.fixture
def make(tmp_path):
    """Make a run folder of a recipe with some of its values changed."""

    def run(recipe, seed=0, data_dir=None, **changes):
        values = recipe_values(recipe)
        for key, value in changes.items():
            values = with_setting(values, key.replace("__", "."), value)
        settings = RunSettings(_resolved(Recipe.from_dict(values)), data_dir, seed)
        path = tmp_path / f"run{len(list(tmp_path.iterdir()))}"
        RunFolder.create(path, settings, ["a", "b"])
        return RecordedRun.open(path)

    return run


def _resolved(recipe):
    """A recipe whose transforms are written out, as a run's are."""
    transforms = recipe.transforms.resolved(get_architecture(recipe.model.name).input_shape, None)
    return dataclasses.replace(recipe, transforms=transforms)


@pytest.mark.parametrize(
    ("recipe", "part", "tested"),
    [
        ("digits", "test", "test"),
        ("002_mnist_bn", "test", "test"),
        ("000_mnist227_sample", "validation", "test"),
        ("003_flowers", "validation", "validation"),
    ],
)
def test_parts(make, recipe, part, tested):
    run = make(recipe)
    assert (run.part, run.tested_part) == (part, tested)
    assert run.recipe.name == recipe
    assert run.measured_on.startswith(f"the {part} images of {run.recipe.data.source}, 2 classes")


def test_the_same_images_have_the_same_text(make):
    first = make("digits", seed=1)
    same = make(
        "digits", seed=2, training__epochs=3, optimizer__lr=0.5, model__name="alexnet_mnist28_bn_rows"
    )
    assert first.measured_on == same.measured_on
    assert make("digits", data__train_samples=10).measured_on == first.measured_on
    # Where the files of MNIST are does not matter.
    texts = {make("digits", data__source="mnist", data_dir=folder).measured_on for folder in ("a", "b")}
    assert len(texts) == 1


SAMPLE = {"data__test_samples": 10}
SHARE = {"data__validation": 0.1}
SHARE_OF_SAMPLE = SHARE | {"data__train_samples": 20}
FOLDER = {"data__source": "folder", "data_dir": "here"}


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({}, {"data__source": "mnist"}),
        ({}, SHARE),
        ({}, SAMPLE),
        (SHARE, SHARE | {"data__validation": 0.2}),
        (SHARE, SHARE | {"data__reserve": 5}),
        (SHARE, SHARE_OF_SAMPLE),
        (SHARE_OF_SAMPLE, SHARE_OF_SAMPLE | {"seed": 1}),
        (SAMPLE, SAMPLE | {"data__test_samples": 11}),
        (SAMPLE, SAMPLE | {"seed": 1}),
        (SAMPLE, SAMPLE | {"data__replacement": True}),
        (FOLDER, FOLDER | {"data_dir": "elsewhere"}),
    ],
)
def test_other_images_have_another_text(make, first, second):
    assert make("digits", **first).measured_on != make("digits", **second).measured_on


def test_settings_hold_everything_that_was_asked_for(make):
    run = make("002_mnist_bn", seed=7, data_dir="mnist", optimizer__lr=0.25)
    assert run.settings["optimizer"]["lr"] == 0.25
    assert (run.settings["seed"], run.settings["data_dir"], run.settings["device"]) == (7, "mnist", "cpu")


def test_a_run_is_unfinished_until_it_has_a_result(make, metrics):
    run = make("digits", training__epochs=5)
    assert (run.history, run.result, run.state) == ([], None, "unfinished, 0 of 5 epochs done")
    (run.path / "metrics.jsonl").write_text("".join(json.dumps(metrics(n, 0.5)) + "\n" for n in (1, 2)))
    assert RecordedRun.open(run.path).state == "unfinished, 2 of 5 epochs done"
    (run.path / "result.json").write_text("{}")
    run = RecordedRun.open(run.path)
    assert (run.state, len(run.history)) == ("finished", 2)


def test_damage_is_named(make, metrics):
    run = make("digits")
    (run.path / "metrics.jsonl").write_text(json.dumps(metrics(2, 0.5)))
    with pytest.raises(RunError, match=r"metrics\.jsonl' is damaged: line 1"):
        RecordedRun.open(run.path)
