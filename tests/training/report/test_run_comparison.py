"""Runs side by side: the figures of a row, and the notes."""

from pathlib import Path

import pytest

from minialex.training.report.comparison import compare, distinct_names


def test_a_row_tells_what_the_run_recorded(small_run, metrics):
    history = [
        metrics(1, 0.5, 1.5, seconds=10.0, images_per_second=100.0),
        metrics(2, 0.9, 0.5, seconds=30.0, images_per_second=50.0),
        metrics(3, 0.9, 0.6, seconds=10.0, images_per_second=90.0),
        metrics(4, 0.8, 0.7, seconds=10.0, images_per_second=60.0),
    ]
    run = small_run(history=history, epochs=4, result={"test_accuracy": 0.77})
    (row,) = compare([run]).rows
    assert (row.name, row.recipe, row.model, row.data) == (
        "small",
        "small",
        "alexnet_cifar_thinner4",
        "noise",
    )
    assert (row.state, row.part, row.epochs, row.planned_epochs) == ("finished", "validation", 4, 4)
    assert (row.best_accuracy, row.best_epoch) == (0.9, 2)
    assert (row.last_accuracy, row.last_loss, row.test_accuracy) == (0.8, 0.7, 0.77)
    assert row.seconds == 60
    assert row.images_per_second == pytest.approx((1000 + 1500 + 900 + 600) / 60)
    # The published 5,488,106 has ten classes; the last layer has 1,024 weights and a bias for each.
    assert row.parameters == 5_488_106 - 5 * (1024 + 1)
    assert row.weight_bytes == 4 * row.parameters  # there is no batch normalisation


def test_what_is_measured_on_the_test_part_has_no_second_test_accuracy(small_run):
    (row,) = compare([small_run(part="test", result={"test_accuracy": 0.7})]).rows
    assert row.test_accuracy is None


def test_an_unfinished_run_is_shown_as_far_as_it_came(small_run):
    comparison = compare([small_run(), small_run(path=Path("/runs/other"), result=None)])
    assert comparison.rows[1].state == "unfinished, 2 of 5 epochs done"
    assert (comparison.rows[1].last_accuracy, comparison.rows[1].test_accuracy) == (0.7, None)
    assert comparison.notes == ["other is unfinished, 2 of 5 epochs done."]


def test_a_run_without_an_epoch_has_no_figures(small_run):
    (row,) = compare([small_run(history=[], result=None)]).rows
    assert row.epochs == 0
    assert {row.best_accuracy, row.best_epoch, row.last_accuracy, row.last_loss, row.seconds} == {None}
    assert row.images_per_second is None


def test_a_run_without_validation_has_times_alone(small_run, metrics):
    nothing = {"validation_loss": None, "validation_accuracy": None}
    (row,) = compare([small_run(history=[metrics(1, 0.5, **nothing)])]).rows
    assert {row.best_accuracy, row.last_accuracy, row.last_loss} == {None}
    assert (row.epochs, row.seconds, row.images_per_second) == (1, 10.0, 100.0)


def test_different_images_are_noted(small_run):
    runs = [
        small_run(path=Path("/runs/a")),
        small_run(path=Path("/runs/b"), measured_on="the test images of digits, 10 classes"),
        small_run(path=Path("/runs/c")),
    ]
    (note,) = compare(runs).notes
    assert "not comparable" in note
    assert "a, c: the validation images of noise; b: the test images of digits, 10 classes" in note


def test_equal_images_need_no_note(small_run):
    assert compare([small_run(), small_run()]).notes == []


def test_rows_keep_their_order_and_curves_their_names(small_run, metrics):
    runs = [small_run(path=Path(f"/runs/{name}"), history=[metrics(1, 0.5)]) for name in "cab"]
    comparison = compare(runs)
    assert [row.name for row in comparison.rows] == ["c", "a", "b"]
    assert [curves.name for curves in comparison.curves()] == ["c", "a", "b"]
    assert comparison.curves()[0].history == runs[0].history
    assert comparison.rows[0].to_dict()["path"] == "/runs/c"


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["runs/a", "runs/b"], ["a", "b"]),
        (["x/a", "y/a"], ["x/a", "y/a"]),
        (["x/a", "y/a", "y/b"], ["x/a", "y/a", "y/b"]),
        (["runs/a", "runs/./a"], ["a", "a"]),
        (["p/x/a", "q/x/a"], ["p/x/a", "q/x/a"]),
    ],
)
def test_names_tell_folders_apart(paths, names):
    assert distinct_names([Path(path) for path in paths]) == names
