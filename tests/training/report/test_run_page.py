"""The page of a run: valid, complete in itself, and safe against what names hold."""

import base64
import itertools
import re
import warnings

import html5lib
import numpy as np
import pytest
from PIL import Image

from minialex.errors import DataError, RunError
from minialex.models import summarise
from minialex.training.evaluation import evaluate
from minialex.training.report import page, run_page, tiles
from minialex.training.report.layer_times import LayerTimes
from minialex.training.report.run_page import PageOptions, flattened, write_run_page

HTML = "{http://www.w3.org/1999/xhtml}"


def parse(path):
    """The page as a tree; any deviation from HTML is an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return html5lib.HTMLParser(strict=True).parse(path.read_text(encoding="utf-8"))


def text_of(element):
    return " ".join("".join(element.itertext()).split())


def table_rows(tree, label):
    """The rows of the table in the region with a label: lists of texts."""
    (region,) = (each for each in tree.iter(f"{HTML}div") if each.get("aria-label") == label)
    return [[text_of(cell) for cell in row] for row in region.iter(f"{HTML}tr")]


@pytest.fixture(scope="session")
def tree(written):
    return parse(written[0])


def test_the_page_needs_nothing_but_itself(written, tree):
    text = written[0].read_text(encoding="utf-8")
    for element in tree.iter():
        for name in ("src", "href", "srcset", "data", "action", "poster", "background"):
            value = element.get(name)
            assert value is None or value.startswith(("data:image/", "#")), (
                f"{element.tag} {name}={value[:80]}"
            )
    assert not {element.tag for element in tree.iter()} & {
        f"{HTML}{tag}" for tag in ("script", "link", "iframe")
    }
    # Not in a style either; the pictures' own bytes are left out.
    outside = re.sub(r"data:image/[^\"]*", "", text)
    assert "url(" not in outside
    assert "@import" not in outside
    assert "://" not in outside
    policy = [each.get("content") for each in tree.iter(f"{HTML}meta") if each.get("http-equiv")]
    assert policy == ["default-src 'none'; img-src data:; style-src 'unsafe-inline'"]


def test_pictures_are_pictures(written, tree):
    wrong = int((written[1].predictions != written[1].labels).sum())
    images = list(tree.iter(f"{HTML}img"))
    # Two curves, for light and dark; errors; filters; the chosen images, and a strip of each for each layer.
    assert len(images) == 2 * 2 + wrong + 1 + 2 + 2 * 9
    for image in images:
        kind, data = image.get("src").removeprefix("data:").split(";base64,")
        start = base64.b64decode(data)[:8]
        assert start == (b"\x89PNG\r\n\x1a\n" if kind == "image/png" else b"<?xml ve")
        assert image.get("alt")


def test_names_are_text(written, tree, small_run):
    text = written[0].read_text(encoding="utf-8")
    assert "<script" not in text
    assert "<img src=x" not in text
    names = [row[0] for row in table_rows(tree, "The lowest first")[1:]]
    assert sorted(names) == sorted(small_run().classes)
    headings = table_rows(tree, "Confusion matrix")[0][1:]
    assert tuple(headings) == small_run().classes


def test_a_path_is_text(small_run, tmp_path):
    out = tmp_path / "report.html"
    image = tmp_path / "<b>bold.png"
    Image.new("RGB", (16, 16), "red").save(image)
    run = small_run(
        path=tmp_path / "<i>run", recipe_name="<u>", data="</title><script>", settings={"<s>": "<p>"}
    )
    write_run_page(run, out, PageOptions(images=[image]))
    text = out.read_text(encoding="utf-8")
    for tag in ("<b>", "<i>", "<u>", "<s>", "<p>&", "<p><", "<script>"):
        assert tag not in text
    tree = parse(out)
    assert text_of(next(tree.iter(f"{HTML}h1"))) == "<i>run"
    assert table_rows(tree, "The settings of the run")[1:] == [["<s>", "<p>"]]
    assert "<b>bold.png" in text_of(tree)


def test_the_figures_are_those_of_the_test(written, tree, small_run):
    run = small_run()
    network = run.folder.load_network("last")
    expected = evaluate(network, run.loader(run.open_test_part()))
    assert written[1].accuracy == expected.accuracy
    shown = dict(
        zip(
            (text_of(each) for each in tree.iter(f"{HTML}dt")),
            (text_of(each) for each in tree.iter(f"{HTML}dd")),
            strict=True,
        )
    )
    assert shown == {
        "test accuracy": f"{expected.accuracy * 100:.2f} %",
        "test loss": f"{expected.loss:.4f}",
        "test images": "12",
        "epochs": "2",
        "training took": "20 s",
        "parameters": "33,979",
    }


def test_the_confusion_matrix(tree, small_run):
    run = small_run()
    confusion = evaluate(run.folder.load_network("last"), run.loader(run.open_test_part())).confusion()
    rows = table_rows(tree, "Confusion matrix")[1:]
    assert [[int(cell) for cell in row[1:]] for row in rows] == confusion.tolist()
    rows = table_rows(tree, "The lowest first")[1:]
    accuracies = [float(row[1].split()[0]) for row in rows]
    assert accuracies == sorted(accuracies)
    assert len(set(accuracies)) > 1
    rights = {row[0]: (row[2], row[3]) for row in rows}
    for i, name in enumerate(run.classes):
        assert rights[name] == (str(confusion[i, i]), str(confusion[i].sum()))


def test_every_layer_has_its_size_and_time(tree, small_run):
    summary = summarise(small_run().folder.load_network("last"))
    head, *rows, total = table_rows(tree, "The layers of the network")
    assert head[5:7] == ["forward ms", "backward ms"]
    assert len(rows) == len(summary.layers)
    for row, layer in zip(rows, summary.layers, strict=True):
        assert row[:2] == [layer.name, layer.kind]
        inner = ", ".join(map(str, layer.output_shape[1:]))
        assert row[2] in (f"({inner})", f"({inner},)")
        assert row[3] == (f"{layer.parameters:,}" if layer.parameters else "")
        assert row[4] == (f"{layer.macs:,}" if layer.macs else "")
        assert float(row[5].replace(",", "")) >= 0
        assert float(row[6].replace(",", "")) >= 0
    assert total[4] == f"{summary.macs:,}"
    forward = sum(float(row[5].replace(",", "")) for row in rows)
    assert float(total[5].replace(",", "")) == pytest.approx(forward, rel=0.05, abs=0.2)
    assert "on 4 images" in text_of(tree)


def test_times_stand_beside_their_layers(small_run, tmp_path, monkeypatch):
    names = [layer.name for layer in summarise(small_run().folder.load_network("last")).layers]
    forward = {name: 0.001 * i for i, name in enumerate(names, 1)}
    backward = {name: 0.1 + 0.001 * i for i, name in enumerate(names, 1)}
    calls = []

    def time_layers(network, x, labels, device):
        calls.append((network.fc4.weight.data.flags.writeable, x.shape, labels.shape, device))
        return LayerTimes(forward, backward, steps=5, batch=4)

    monkeypatch.setattr(run_page, "time_layers", time_layers)
    out = tmp_path / "report.html"
    write_run_page(small_run(), out)
    # Frozen, it would run kernels that keep what they make of the weights, which training does not.
    assert calls == [(True, (4, 3, 16, 16), (4,), "cpu")]
    rows = table_rows(parse(out), "The layers of the network")[1:-1]
    assert [row[5] for row in rows] == [page.milliseconds(0.001 * i) for i in range(1, len(names) + 1)]
    assert [row[6] for row in rows] == [str(100 + i) for i in range(1, len(names) + 1)]


def test_each_layer_has_a_strip_for_each_chosen_image(tree):
    names = [text_of(each).split()[0] for each in tree.iter(f"{HTML}h3")]
    assert names == ["conv1", "relu1", "pool1", "conv2", "bn2", "relu2", "fc3", "relu3", "fc4"]
    strips = [each for each in tree.iter(f"{HTML}div") if each.get("class") == "strip"]
    assert len(strips) == 2 * len(names)
    assert "Conv2d, (C, H, W) = (8, 16, 16)" in text_of(next(tree.iter(f"{HTML}h3")))


def test_headings_go_down_one_by_one(tree):
    levels = [int(each.tag[-1]) for each in tree.iter() if re.fullmatch(f"{HTML}h[1-6]", str(each.tag))]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
    identifiers = [each.get("id") for each in tree.iter() if each.get("id")]
    assert len(identifiers) == len(set(identifiers))
    for link in tree.iter(f"{HTML}a"):
        assert link.get("href").removeprefix("#") in identifiers
    assert next(tree.iter(f"{HTML}html")).get("lang") == "en"


def test_a_thousand_classes_are_listed_not_drawn(small_run, tmp_path):
    classes = tuple(f"class {i}" for i in range(1000))
    out = tmp_path / "report.html"
    write_run_page(small_run(classes=classes, count=40), out)
    tree = parse(out)
    assert "Confusion matrix" not in {each.get("aria-label") for each in tree.iter()}
    pairs = table_rows(tree, "The pairs that were confused most often")[1:]
    assert 0 < len(pairs) <= 25
    assert len(table_rows(tree, "The 25 classes with the lowest accuracy")) == 26
    assert len(table_rows(tree, "The other classes, the lowest accuracy first")) == 976
    assert "top-5 accuracy" in [text_of(each) for each in tree.iter(f"{HTML}dt")]
    assert out.stat().st_size < 3e6


def test_a_run_without_an_epoch_and_one_that_guesses(small_run, tmp_path):
    out = tmp_path / "report.html"
    write_run_page(small_run(history=[], result=None, why_guessing="It never steps."), out)
    text = text_of(parse(out))
    assert "No epoch was completed." in text
    assert "unfinished, 2 of 5 epochs done" in text
    # An untrained network.
    assert "The network is guessing" in text
    assert "It never steps." in text


def test_a_run_that_is_always_right(small_run, tmp_path):
    """No errors: no pairs, no worst images, and one chosen image."""
    run = small_run(classes=("only",))
    out = tmp_path / "report.html"
    write_run_page(run, out)
    text = text_of(parse(out))
    assert "No test image was taken for another class." in text
    assert "No test image is classified wrongly." in text
    assert "What each layer makes of this image." in text
    assert "guessing" not in text


def test_damaged_files_are_left_out_and_counted(small_run, tmp_path):
    """The numbers of the images that follow a damaged one are those of the images that were tested."""
    run = small_run(damaged=(0, 7))
    out = tmp_path / "report.html"
    evaluation = write_run_page(run, out)
    assert len(evaluation.labels) == 10
    tree = parse(out)
    assert "2 damaged files were left out." in text_of(tree)
    whole = run.open_test_part()
    kept = [i for i in range(12) if i not in run.damaged]
    worst = next(each for each in tree.iter(f"{HTML}ol"))
    shown = [each.get("src") for each in worst.iter(f"{HTML}img")]
    expected = [
        tiles.as_uri(tiles.thumbnail(whole.images[kept[i]]), "image/png") for i in evaluation.worst(20)
    ]
    assert len(expected) > 5
    assert shown == expected


def test_of_ten_crops_the_central_one_is_shown(small_run, tmp_path):
    """Nine of the crops are noise of which no feature map may show anything."""
    out, plain = tmp_path / "report.html", tmp_path / "plain.html"
    image = tmp_path / "a.png"
    Image.fromarray(small_run().open_test_part().images[3].transpose(1, 2, 0)).save(image)
    write_run_page(small_run(crops=True), out, PageOptions(images=[image]))
    write_run_page(small_run(), plain, PageOptions(images=[image]))
    strips, expected = (
        [
            each.get("src")
            for each in parse(path).iter(f"{HTML}img")
            if each.get("alt").startswith("Output of")
        ]
        for path in (out, plain)
    )
    assert len(strips) == 9
    assert strips == expected
    assert "Of the ten crops" in text_of(parse(out))
    assert "Of the ten crops" not in text_of(parse(plain))


def test_a_run_without_test_images_is_tested_on_the_validation_images(small_run, tmp_path):
    out = tmp_path / "report.html"
    write_run_page(small_run(tested_part="validation", expected="about 98 %"), out)
    text = text_of(parse(out))
    assert "test image" not in text.lower()
    assert "validation accuracy" in text
    assert "Reported: about 98 %." in text


def test_named_images_are_shown_instead(small_run, tmp_path):
    paths = [tmp_path / "a.png", tmp_path / "b.png"]
    for path, colour in zip(paths, ("red", "blue"), strict=True):
        Image.new("RGB", (16, 16), colour).save(path)
    out = tmp_path / "report.html"
    write_run_page(small_run(), out, PageOptions(images=paths))
    tree = parse(out)
    strips = [each for each in tree.iter(f"{HTML}div") if each.get("class") == "strip"]
    assert [text_of(strip) for strip in strips[:2]] == ["a.png", "b.png"]
    with pytest.raises(DataError, match=r"gone\.png"):
        write_run_page(small_run(), out, PageOptions(images=[tmp_path / "gone.png"]))


def test_numbers_that_are_not_finite_are_refused(small_run, tmp_path):
    out = tmp_path / "report.html"
    with pytest.raises(
        RunError, match="the last checkpoint of '/runs/small' gives numbers that are not finite"
    ):
        write_run_page(small_run(bias=np.nan), out)
    assert not out.exists()


def test_a_batch_that_does_not_fit_is_not_timed(small_run, tmp_path):
    out = tmp_path / "report.html"
    write_run_page(small_run(batch_size=10**7), out)
    tree = parse(out)
    assert "Not measured: a training step of tiny" in text_of(tree)
    assert table_rows(tree, "The layers of the network")[0] == [
        "layer",
        "kind",
        "output shape",
        "parameters",
        "products",
    ]


def test_settings_are_flattened():
    values = {
        "a": {"b": 1, "c": None, "d": True},
        "steps": [{"name": "x"}, {"name": "y"}],
        "list": [1, 2],
        "none": [],
    }
    assert dict(flattened(values)) == {
        "a.b": "1",
        "a.c": "none",
        "a.d": "true",
        "steps.1.name": "x",
        "steps.2.name": "y",
        "list": "[1, 2]",
        "none": "[]",
    }


def test_a_page_that_is_too_large_is_refused(monkeypatch, small_run, tmp_path):
    monkeypatch.setattr(page, "_MAX_BYTES", 10_000)
    out = tmp_path / "report.html"
    with pytest.raises(RunError, match="MiB"):
        write_run_page(small_run(), out)
    assert not out.exists()


@pytest.mark.parametrize(
    ("seconds", "text"), [(None, "–"), (61.4, "61 s"), (125.6, "2 min 06 s"), (7265, "2 h 01 min")]
)
def test_durations(seconds, text):
    assert page.duration(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0.00"), (0.0123, "12.3"), (0.00123, "1.23"), (1.5, "1,500")]
)
def test_milliseconds(seconds, text):
    assert page.milliseconds(seconds) == text
