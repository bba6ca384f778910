"""The pictures of learning curves: what is drawn, and whether it can be read."""

import itertools

import numpy as np
import pytest
from matplotlib.colors import to_hex, to_rgb
from PIL import Image

from minialex.errors import RunError
from minialex.plots import COLOURS, DARK, LIGHT, save, svg
from minialex.training.learning_curves import RunCurves, figure_of_run, figure_of_runs

# What a colour becomes for an eye without one kind of cone: Machado, Oliveira and Fernandes 2009, severity 1,
# for linear RGB.
DEFICIENCIES = {
    "none": np.eye(3),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "tritanopia": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]
    ),
}


def to_lab(colour, deficiency):
    """CIE L*a*b* (D65) of an sRGB colour as seen with a deficiency."""
    rgb = np.array(to_rgb(colour))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    linear = np.clip(DEFICIENCIES[deficiency] @ linear, 0, 1)
    xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]) @ linear
    t = xyz / [0.9505, 1.0, 1.089]
    f = np.where(t > (6 / 29) ** 3, np.cbrt(t), t / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def contrast_with_white(colour):
    """The contrast of WCAG 2."""
    rgb = np.array(to_rgb(colour))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    return 1.05 / (linear @ [0.2126, 0.7152, 0.0722] + 0.05)


@pytest.fixture
def runs(metrics):
    """Make `count` runs, whose curves end close together."""

    def make(count, epochs=5):
        return [
            RunCurves(
                f"a run whose name is rather long {i}",
                [metrics(n, 0.9 - 0.3 / n + 0.001 * i, 2 / n + 0.001 * i) for n in range(1, epochs + 1)],
                "validation",
            )
            for i in range(count)
        ]

    return make


@pytest.mark.parametrize("deficiency", DEFICIENCIES)
def test_colours_are_told_apart_by_every_eye(deficiency):
    labs = [to_lab(colour, deficiency) for colour in COLOURS]
    # Differences from about 2.3 on are just noticed (Mahy et al. 1994).
    distances = [np.linalg.norm(a - b) for a, b in itertools.combinations(labs, 2)]
    assert len(distances) == 28
    assert min(distances) > 15


def test_colours_are_seen_on_white():
    assert min(contrast_with_white(colour) for colour in COLOURS) > 2


@pytest.mark.parametrize("count", [1, 2, 5, 8])
def test_labels_are_in_the_picture_and_hide_none(runs, count):
    figure = figure_of_runs(runs(count))
    figure.draw_without_rendering()
    whole = figure.bbox
    for axes in figure.axes:
        boxes = [text.get_window_extent() for text in axes.texts if text.get_text()]
        assert len(boxes) == count
        for box in boxes:
            assert whole.x0 <= box.x0
            assert box.x1 <= whole.x1
            assert whole.y0 <= box.y0
            assert box.y1 <= whole.y1
            assert not box.overlaps(axes.bbox)
        assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))
    left, right = figure.axes
    assert max(text.get_window_extent().x1 for text in left.texts) < right.get_tightbbox().x0


def test_lines_are_those_of_the_runs(runs):
    drawn = runs(3)
    accuracy, loss = figure_of_runs(drawn).axes
    for axes, metric, factor in ((accuracy, "accuracy", 100), (loss, "loss", 1)):
        lines = [line for line in axes.lines if len(line.get_xdata()) == 5]
        assert len(lines) == 6
        for i, run in enumerate(drawn):
            train, validation = lines[2 * i : 2 * i + 2]
            assert train.is_dashed()
            assert not validation.is_dashed()
            assert to_hex(train.get_color()) == to_hex(validation.get_color()) == COLOURS[i]
            for line, part in ((train, "train"), (validation, "validation")):
                expected = [factor * each[f"{part}_{metric}"] for each in run.history]
                assert list(line.get_ydata()) == pytest.approx(expected)


def test_a_label_tells_the_last_value_and_the_run(runs, metrics):
    run = RunCurves("mine", [metrics(1, 0.5, 2.0), metrics(2, 0.9312, 0.12345)], "test")
    accuracy, loss = figure_of_runs([run]).axes
    assert [text.get_text() for text in accuracy.texts if text.get_text()] == ["93.12  mine"]
    assert [text.get_text() for text in loss.texts if text.get_text()] == ["0.1235  mine"]


def test_runs_of_different_lengths_keep_their_epochs(metrics):
    short = RunCurves("short", [metrics(1, 0.5)], "test")
    long = RunCurves("long", [metrics(n, 0.6) for n in range(1, 8)], "test")
    axes = figure_of_runs([short, long]).axes[0]
    drawn = [list(line.get_xdata()) for line in axes.lines if line.get_xdata()[0] == 1]
    assert drawn == [[1], [1], list(range(1, 8)), list(range(1, 8))]


def test_a_run_without_validation_shows_its_training(metrics):
    nothing = {"validation_loss": None, "validation_accuracy": None}
    run = RunCurves("blind", [metrics(n, 0.5, **nothing) for n in (1, 2)], "validation")
    axes = figure_of_runs([run]).axes[0]
    assert [text.get_text() for text in axes.texts if text.get_text()] == ["51.00  blind (training)"]
    axes = figure_of_run(run, "loss").axes[0]
    assert [text.get_text() for text in axes.texts if text.get_text()] == ["0.9000  training"]


def test_a_run_without_an_epoch_is_left_out(runs):
    figure = figure_of_runs([RunCurves("none yet", [], "test"), *runs(1)])
    assert len([text for text in figure.axes[0].texts if text.get_text()]) == 1


def test_too_many_runs_and_none_are_refused(runs):
    with pytest.raises(RunError, match="8 runs, and these are 9"):
        figure_of_runs(runs(9))
    with pytest.raises(RunError, match="no run has completed an epoch"):
        figure_of_runs([RunCurves("none yet", [], "test")])


def test_a_dollar_in_a_name_is_no_formula(metrics, tmp_path):
    save(figure_of_runs([RunCurves(r"$\frac{$", [metrics(1, 0.5)], "test")]), tmp_path / "curves.png")
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_one_run_in_light_and_dark(metrics):
    run = RunCurves("one", [metrics(n, 0.5 + 0.1 * n) for n in (1, 2, 3)], "validation")
    light, dark = (svg(figure_of_run(run, "accuracy", theme=theme)).decode() for theme in (LIGHT, DARK))
    assert light.count(DARK.ink) == 0
    assert dark.count(DARK.ink) > 5
    assert svg(figure_of_run(run, "accuracy")).decode() == light


def test_a_picture_is_not_blank(runs, tmp_path):
    save(figure_of_runs(runs(2)), tmp_path / "curves.png")
    with Image.open(tmp_path / "curves.png") as image:
        colours = {colour for _, colour in image.convert("RGB").getcolors(2**24)}
    for colour in COLOURS[:2]:
        assert tuple(int(colour[i : i + 2], 16) for i in (1, 3, 5)) in colours
