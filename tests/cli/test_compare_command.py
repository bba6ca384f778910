"""`minialex compare`, run as a user runs it."""

import json
import shutil

import pytest
from PIL import Image


@pytest.fixture
def copies(trained, tmp_path):
    """Two copies of the trained run that a test may change."""
    return [shutil.copytree(trained[0], tmp_path / name, copy_function=shutil.copy) for name in ("a", "b")]


def test_figures_are_those_of_the_runs(minialex, trained, copies):
    done = minialex("compare", trained[0], *copies, "--json")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert [row["path"] for row in answer["runs"]] == [str(trained[0]), *map(str, copies)]
    result = trained[1]
    for row in answer["runs"]:
        assert (row["model"], row["state"], row["epochs"]) == ("alexnet_cifar_thinner4", "finished", 2)
        assert row["parameters"] == 5_488_106
        assert row["last_accuracy"] == result["test_accuracy"]
        assert row["best_accuracy"] == result["best_validation_accuracy"]
        assert row["last_loss"] == result["test_loss"]
    assert answer["notes"] == []
    assert answer["picture"] is None


def test_table(minialex, trained, copies):
    done = minialex("compare", *copies)
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines() if line.strip()]
    assert lines[0][:4] == ["run", "recipe", "model", "parameters"]
    assert [line[0] for line in lines[2:]] == ["a", "b"]
    for line in lines[2:]:
        assert {"alexnet_cifar_thinner4", "5,488,106", f"{trained[1]['test_accuracy'] * 100:.2f}"} <= set(
            line
        )


def test_picture(minialex, copies, tmp_path):
    picture = tmp_path / "curves.png"
    done = minialex("compare", *copies, "--picture", picture)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == f"curves: {picture}"
    with Image.open(picture) as image:
        assert image.format == "PNG"
        assert image.width > 1000


def test_an_unfinished_run_is_shown_as_such(minialex, copies):
    (copies[1] / "result.json").unlink()
    metrics = copies[1] / "metrics.jsonl"
    metrics.write_text(metrics.read_text().splitlines(keepends=True)[0])
    done = minialex("compare", *copies)
    assert done.returncode == 0, done.stderr
    assert "1 of 2" in done.stdout
    assert done.stdout.splitlines()[-1] == "b is unfinished, 1 of 2 epochs done."


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("settings.json", "{"),
        ("metrics.jsonl", "{"),
        ("metrics.jsonl", '{"epoch": 1}\n'),
        ("metrics.jsonl", "[]\n"),
        ("result.json", "{"),
        ("result.json", "[]"),
    ],
)
def test_a_damaged_run_is_named(assert_refused, copies, file, text):
    (copies[1] / file).write_text(text)
    assert_refused("compare", *copies, says=(str(copies[1] / file), "damaged"))


def test_a_number_that_is_none(assert_refused, copies):
    metrics = copies[1] / "metrics.jsonl"
    values = [json.loads(line) for line in metrics.read_text().splitlines()]
    values[1]["train_loss"] = float("nan")
    metrics.write_text("".join(f"{json.dumps(each)}\n" for each in values))
    assert_refused("compare", *copies, says=(str(metrics), "damaged"))


def test_what_is_no_run(assert_refused, copies, tmp_path):
    assert_refused("compare", copies[0], tmp_path / "nowhere", says="does not exist")
    assert_refused("compare", copies[0], tmp_path, says="settings.json")
    assert_refused("compare", says="RUN", code=2)


def test_too_many_runs_for_a_picture(assert_refused, copies, tmp_path):
    assert_refused("compare", *[copies[0]] * 9, "--picture", tmp_path / "p.png", says=("8 runs", "9"))
    assert not (tmp_path / "p.png").exists()


def test_different_images_are_noted(minialex, trained, flower_run):
    done = minialex("compare", trained[0], flower_run.path, "--json")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    first, second = answer["runs"]
    assert first["part"] == "test"
    assert (second["part"], second["epochs"], second["planned_epochs"]) == ("validation", 0, 10)
    assert second["last_accuracy"] is None
    unfinished, different = answer["notes"]
    assert unfinished.endswith("is unfinished, 0 of 10 epochs done.")
    assert "measured on different images" in different
    assert "the test images of mnist, 10 classes" in different
    assert "the validation images of folder, 5 classes" in different
