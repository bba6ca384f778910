"""The pictures: their figures are caught on the way to the file, and colours are looked for in the file."""

import math
import threading

import numpy as np
import pytest
from PIL import Image

from minialex import nn
from minialex.data import ArrayDataset
from minialex.errors import DamagedSample, DataError
from minialex.training import pictures
from minialex.training.evaluation import Evaluation
from minialex.training.metrics import EpochMetrics

FLOWERS = ("daisy", "dandelion", "roses", "sunflowers", "tulips")


@pytest.fixture
def drawn(monkeypatch, tmp_path):
    """Where to draw, and the figure that was drawn last."""
    figures = []
    save = pictures.save

    def caught(figure, path):
        save(figure, path)
        figures.append(figure)

    monkeypatch.setattr(pictures, "save", caught)
    return tmp_path / "picture.png", figures


class Photographs:
    """Images of any sizes, some of them damaged (None)."""

    name, classes = "photographs", FLOWERS

    def __init__(self, *images):
        self.images = images

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        if self.images[index] is None:
            raise DamagedSample(f"{index}.jpg", "it is cut short")
        return self.images[index], index % 5


def plain(colour, height=20, width=20):
    """An image of one colour, uint8 (C, H, W)."""
    return np.full((len(colour), height, width), np.reshape(colour, (-1, 1, 1)), np.uint8)


COLOURS = [
    (250, 10, 10),
    (10, 250, 10),
    (10, 10, 250),
    (250, 250, 10),
    (10, 250, 250),
    (250, 10, 250),
    (130, 10, 10),
    (10, 130, 10),
    (10, 10, 130),
]


def box_of(path, colour):
    """Where squares of a colour stand in a PNG file: the first and last row and column."""
    with Image.open(path) as image:
        mask = (np.asarray(image.convert("RGB")) == colour).all(axis=2)
    # The smoothed edges of letters have every shade of grey, but not six pixels by six.
    for _ in range(5):
        mask = mask[1:, 1:] & mask[1:, :-1] & mask[:-1, 1:] & mask[:-1, :-1]
    rows, columns = np.nonzero(mask)
    assert len(rows), f"{colour} is not in the picture"
    return rows.min(), rows.max() + 5, columns.min(), columns.max() + 5


def titles(figure):
    return [axes.get_title() for axes in figure.axes if axes.get_title()]


def test_first_nine_stand_in_reading_order_with_their_classes(drawn):
    path, figures = drawn
    dataset = Photographs(*(plain(colour) for colour in COLOURS), plain((77, 77, 77)))
    pictures.draw_first(path, dataset)
    assert titles(figures[-1]) == [FLOWERS[i % 5] for i in range(9)]
    boxes = [box_of(path, colour) for colour in COLOURS]
    for row in range(3):
        tops = {box[0] for box in boxes[3 * row : 3 * row + 3]}
        lefts = [box[2] for box in boxes[3 * row : 3 * row + 3]]
        assert len(tops) == 1
        assert lefts == sorted(set(lefts))
    assert boxes[0][1] < boxes[3][0] < boxes[3][1] < boxes[6][0]
    assert {box[2] for box in boxes[0::3]} == {boxes[0][2]}
    with pytest.raises(AssertionError):
        box_of(path, (77, 77, 77))


def test_grey_images_are_drawn_in_grey_and_without_interpolation(drawn):
    path, _ = drawn
    pixels = np.array([[40, 200], [90, 240]], np.uint8)
    pictures.draw_first(path, ArrayDataset(pixels[None, None], np.array([0]), ("0",), "digits"))
    boxes = {value: box_of(path, (value,) * 3) for value in pixels.ravel().tolist()}
    top, _, left, _ = boxes[40]
    _, bottom, _, right = boxes[240]
    with Image.open(path) as image:
        inside = np.asarray(image.convert("L"))[top : bottom + 1, left : right + 1]
    assert inside.size > 10_000
    assert set(inside.ravel().tolist()) == {40, 90, 200, 240}
    assert inside[0, 0] == 40
    assert inside[0, -1] == 200
    assert inside[-1, 0] == 90


def test_a_dark_image_stays_dark(drawn):
    """The range of grey is that of the bytes, not that of the image."""
    path, _ = drawn
    dataset = ArrayDataset(np.full((1, 1, 8, 8), 30, np.uint8), np.array([0]), ("0",), "dark")
    pictures.draw_first(path, dataset)
    assert box_of(path, (30, 30, 30))


@pytest.mark.parametrize(("count", "shown"), [(1, 1), (4, 4), (9, 5)])
def test_so_many_and_no_more_than_there_are(drawn, count, shown):
    path, figures = drawn
    pictures.draw_first(path, Photographs(*(plain(colour) for colour in COLOURS[:5])), count)
    assert len(titles(figures[-1])) == shown


def test_another_image_stands_in_for_a_damaged_one(drawn):
    path, figures = drawn
    dataset = Photographs(None, plain(COLOURS[1]), None, plain(COLOURS[3]), plain(COLOURS[4]))
    pictures.draw_first(path, dataset, 2)
    assert titles(figures[-1]) == ["dandelion", "sunflowers"]


def test_images_keep_their_proportions(drawn):
    path, _ = drawn
    pictures.draw_first(path, Photographs(plain(COLOURS[0], 30, 90), plain(COLOURS[1], 900, 300)), 2)
    for colour, ratio in ((COLOURS[0], 1 / 3), (COLOURS[1], 3)):
        top, bottom, left, right = box_of(path, colour)
        assert (bottom - top + 1) / (right - left + 1) == pytest.approx(ratio, rel=0.05)


def test_a_picture_of_wide_images_is_lower_and_one_of_tall_images_no_higher(drawn):
    path, figures = drawn
    for height, width in ((20, 20), (20, 40), (40, 20)):
        pictures.draw_predictions(path, [plain(COLOURS[0], height, width)], np.ones((1, 1)), ["a"], [""])
    square, wide, tall = (figure.get_size_inches()[1] for figure in figures)
    assert square - wide == pytest.approx(1.4, abs=0.1)
    assert tall == square


@pytest.mark.parametrize("name", ["$\\frac$", "a\n<b>", "x" * 500])
def test_classes_may_have_any_name(drawn, name):
    path, figures = drawn
    dataset = ArrayDataset(np.zeros((2, 1, 4, 4), np.uint8), np.array([0, 1]), (name, "other"), "names")
    pictures.draw_first(path, dataset)
    (title, other) = titles(figures[-1])
    assert len(title) <= 22
    assert "\n" not in title
    assert other == "other"
    evaluation = Evaluation(np.array([[0.1, 0.9], [0.9, 0.1]], np.float32), np.array([0, 1]), 1.0)
    pictures.draw_worst(path, evaluation, dataset)
    pictures.draw_confusion(path, evaluation.confusion(), dataset.classes)
    pictures.draw_predictions(path, dataset.images, evaluation.probabilities, dataset.classes, [name, name])


def history(**changes):
    values = {"train_loss": 2.0, "train_accuracy": 0.3, "validation_loss": 2.2, "validation_accuracy": 0.25}
    return [
        EpochMetrics(epoch=epoch, lr=0.1, seconds=1.0, images_per_second=1.0, **values | changes)
        for epoch in (1, 2)
    ]


def labels(axes):
    """What stands beside the ends of the lines."""
    return [text.get_text() for text in axes.texts if text.get_text()]


@pytest.mark.parametrize("part", ["test", "validation"])
def test_curves_are_called_what_they_are(drawn, part):
    path, figures = drawn
    pictures.draw_curves(path, history(), part)
    loss, accuracy = figures[-1].axes
    for axes, values in ((loss, (2.2, 2.0)), (accuracy, (25, 30))):
        for line, value in zip(axes.lines[:2], values, strict=True):
            assert line.get_xdata().tolist() == [1, 2]
            assert line.get_ydata() == pytest.approx([value, value])
    assert labels(loss) == [f"2.2000  {part}", "2.0000  training"]
    assert labels(accuracy) == [f"25.00  {part}", "30.00  training"]
    assert path.read_bytes().startswith(b"\x89PNG")


def test_curves_of_a_run_without_validation(drawn):
    path, figures = drawn
    pictures.draw_curves(path, history(validation_loss=None, validation_accuracy=None))
    assert [labels(axes) for axes in figures[-1].axes] == [["2.0000  training"], ["30.00  training"]]


def test_confusion_has_every_count_and_names_the_part(drawn):
    path, figures = drawn
    counts = np.array([[5, 0, 2], [0, 0, 0], [1, 3, 1000]])
    pictures.draw_confusion(path, counts, ("cats", "dogs", "elks"), "validation")
    (axes,) = figures[-1].axes
    found = {text.get_position(): text.get_text() for text in axes.texts}
    assert found == {(0, 0): "5", (2, 0): "2", (0, 2): "1", (1, 2): "3", (2, 2): "1000"}
    assert axes.get_title() == "1,005 of 1,011 validation images are right"
    assert [label.get_text() for label in axes.get_yticklabels()] == ["cats", "dogs", "elks"]
    pictures.draw_confusion(path, np.ones((31, 31), int), [str(i) for i in range(31)])
    assert len(figures[-1].axes[0].texts) == 0


def test_worst_shows_the_images_that_it_names(drawn):
    path, figures = drawn
    dataset = Photographs(*(plain(colour) for colour in COLOURS[:4]))
    probabilities = np.full((4, 5), 0.01, np.float32)
    # Image 0 is right; of the others image 2 gives its class the least, then 3, then 1.
    for image, (taken, sure, of_truth) in enumerate(
        [(0, 0.9, 0.9), (4, 0.5, 0.2), (0, 0.8, 0.02), (1, 0.6, 0.1)]
    ):
        probabilities[image, image] = of_truth
        probabilities[image, taken] = sure
    evaluation = Evaluation(probabilities, np.arange(4), 1.0)
    pictures.draw_worst(path, evaluation, dataset, part="validation")
    assert [title.replace("\n", " ") for title in titles(figures[-1])] == [
        "roses, taken for daisy (80% sure)",
        "sunflowers, taken for dandelion (60% sure)",
        "dandelion, taken for tulips (50% sure)",
    ]
    assert figures[-1].get_suptitle() == "3 of 4 validation images are wrong"
    lefts = [box_of(path, COLOURS[i])[2] for i in (2, 3, 1)]
    assert lefts == sorted(lefts)
    pictures.draw_worst(path, evaluation, dataset, count=1)
    assert figures[-1].get_suptitle() == "3 of 4 test images are wrong, the worst 1 shown"


def test_worst_after_damaged_images_were_left_out(drawn):
    """The evaluation then has fewer rows than the data set; row 1 is image 3."""
    path, figures = drawn
    dataset = Photographs(None, plain(COLOURS[0]), None, plain(COLOURS[1]), plain(COLOURS[2]))
    probabilities = np.eye(5, dtype=np.float32)[[1, 0, 4]]
    pictures.draw_worst(path, Evaluation(probabilities, np.array([1, 3, 4]), 1.0), dataset)
    assert [title.replace("\n", " ") for title in titles(figures[-1])] == [
        "sunflowers, taken for daisy (100% sure)"
    ]
    assert box_of(path, COLOURS[1])
    for other in (COLOURS[0], COLOURS[2]):
        with pytest.raises(AssertionError):
            box_of(path, other)


def test_nothing_is_wrong(drawn):
    path, figures = drawn
    evaluation = Evaluation(np.eye(5, dtype=np.float32), np.arange(5), 0.0)
    pictures.draw_worst(path, evaluation, Photographs(*(plain(colour) for colour in COLOURS[:5])))
    assert figures[-1].get_suptitle() == "0 of 5 test images are wrong"
    assert path.read_bytes().startswith(b"\x89PNG")


def test_predictions_have_the_document_s_title_and_a_bar_a_class(drawn):
    path, figures = drawn
    probabilities = np.array([[0.01, 0.02, 0.03, 0.01, 0.93], [0.5, 0.1, 0.1, 0.2, 0.1]], np.float32)
    images = [plain(COLOURS[0], 30, 40), plain((120,), 28, 28)]
    pictures.draw_predictions(path, images, probabilities, FLOWERS, ["a.jpg", "b.png"])
    assert titles(figures[-1]) == ["class: tulips   prob: 0.93", "class: daisy   prob: 0.50"]
    charts = [axes for axes in figures[-1].axes if axes.patches]
    for axes, row in zip(charts, probabilities, strict=True):
        assert [bar.get_width() for bar in axes.patches] == pytest.approx(sorted(row.tolist(), reverse=True))
        assert [text.get_text() for text in axes.texts[1::2]] == [f"{p:.1%}" for p in sorted(row)[::-1]]
        first, *others = [bar.get_facecolor() for bar in axes.patches]
        assert first not in others
    names = [text.get_text() for text in charts[0].texts[::2]]
    assert names == ["tulips", "roses", "dandelion", "daisy", "sunflowers"]
    left, right = box_of(path, COLOURS[0]), box_of(path, (120, 120, 120))
    assert left[3] < right[2]
    captions = {text.get_text() for axes in figures[-1].axes for text in axes.texts}
    assert {"a.jpg", "b.png"} <= captions


def test_many_predictions_fill_a_grid_and_show_five_classes(drawn):
    path, figures = drawn
    count = 5
    random = np.random.default_rng(1)
    probabilities = random.dirichlet(np.ones(12), count).astype(np.float32)
    images = [plain(colour) for colour in COLOURS[:count]]
    pictures.draw_predictions(path, images, probabilities, [f"class {i}" for i in range(12)], [""] * count)
    assert all(len(axes.patches) == 5 for axes in figures[-1].axes if axes.patches)
    boxes = [box_of(path, colour) for colour in COLOURS[:count]]
    assert boxes[2][1] < boxes[3][0]
    assert boxes[3][2] < boxes[4][2]


def test_too_many_predictions(tmp_path):
    count = pictures.MAX_PREDICTIONS + 1
    with pytest.raises(DataError, match="up to 200 images, got 201"):
        pictures.draw_predictions(
            tmp_path / "p.png", [plain((1,))] * count, np.ones((count, 1)), ["a"], [""] * count
        )
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("channels", [1, 3])
def test_thumbnails_keep_colour_and_proportions(channels):
    image = plain((200, 100, 50)[:channels], 1200, 600)
    image[:, :600] = 0
    small = pictures.thumbnail(image)
    assert small.shape == (channels, 400, 200)
    assert small.dtype == np.uint8
    assert small[:, :190].max() == 0
    assert small[:, 210:].reshape(channels, -1).min(axis=1).tolist() == [200, 100, 50][:channels]
    assert pictures.thumbnail(image[:, :400, :400]).base is image


def test_filters_in_colour_and_plane_by_plane(drawn):
    path, figures = drawn
    network = nn.Sequential(nn.Conv2d(3, 4, 5))
    pictures.draw_filters(path, network)
    weight = network[0].weight.numpy()
    shown = [axes.images[0].get_array() for axes in figures[-1].axes if axes.images]
    limit = math.fabs(weight.flat[np.abs(weight).argmax()])
    for plane, kernel in zip(shown, weight, strict=True):
        np.testing.assert_allclose(plane, kernel.transpose(1, 2, 0) / limit / 2 + 0.5, rtol=1e-5)
    grey = nn.Sequential(nn.Conv2d(2, 4, 5))
    pictures.draw_filters(path, grey)
    shown = [axes.images[0].get_array() for axes in figures[-1].axes if axes.images]
    np.testing.assert_array_equal(shown, grey[0].weight.numpy().reshape(8, 5, 5))


def test_drawing_in_a_thread_leaves_the_style_alone(drawn):
    import matplotlib

    path, _ = drawn
    before = dict(matplotlib.rcParams)
    thread = threading.Thread(target=pictures.draw_curves, args=(path, history()))
    thread.start()
    thread.join()
    assert path.read_bytes().startswith(b"\x89PNG")
    assert dict(matplotlib.rcParams) == before


def test_names_that_no_font_can_draw_are_escaped(tmp_path):
    """Matplotlib fails at half of a surrogate pair, and warns, here an error, of what a font lacks."""
    classes = ("r\udcffn", "\x1b[31m", "\U000f0000")
    pictures.draw_confusion(tmp_path / "odd.png", np.eye(3, dtype=np.int64), classes)
    assert np.asarray(Image.open(tmp_path / "odd.png")).std() > 5
