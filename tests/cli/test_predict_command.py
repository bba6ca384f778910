"""`minialex predict`, run as a user runs it."""

import json
import shutil
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from minialex.data import load_digits
from minialex.models import create_model
from minialex.training.checkpoint import save_checkpoint


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Digits as image files: PNG, JPEG at three times the size, and in colour."""
    folder = tmp_path_factory.mktemp("pictures")
    _, test = load_digits()
    for i in range(3):
        picture = Image.fromarray(test.images[i, 0])
        picture.save(folder / f"{i}.png")
        picture.resize((84, 84)).save(folder / f"{i}.jpg", quality=95)
        picture.convert("RGB").save(folder / f"{i}-colour.png")
    return folder


def test_predictions_agree_with_evaluation(minialex, trained, pictures):
    """The network sees in a PNG file what it saw in the data set."""
    from minialex.training.evaluation import predict_probabilities
    from minialex.training.run_folder import RunFolder

    out, _ = trained
    run = RunFolder.open(out)
    _, test = load_digits()
    expected = predict_probabilities(run.load_network("last"), run.pipeline.batch(test.images[:3]))
    done = minialex("predict", out, *(pictures / f"{i}.png" for i in range(3)), "--top", 10, "--json")
    assert done.returncode == 0, done.stderr
    answers = json.loads(done.stdout)["images"]
    for answer, row in zip(answers, expected, strict=True):
        found = {p["class"]: p["probability"] for p in answer["predictions"]}
        assert sum(found.values()) == pytest.approx(1, abs=1e-5)
        assert [found[str(digit)] for digit in range(10)] == pytest.approx(row.tolist(), abs=1e-5)
        order = [p["probability"] for p in answer["predictions"]]
        assert order == sorted(order, reverse=True)


def test_files_of_any_size_and_colours(minialex, trained, pictures):
    out, _ = trained
    names = [pictures / name for name in ("1.png", "1-colour.png", "1.jpg")]
    done = minialex("predict", out, *names, "--top", 10, "--json")
    assert done.returncode == 0, done.stderr
    plain, colour, jpeg = (answer["predictions"] for answer in json.loads(done.stdout)["images"])
    assert plain == colour
    assert {p["class"] for p in jpeg} == set("0123456789")
    assert sum(p["probability"] for p in jpeg) == pytest.approx(1, abs=1e-5)


def test_inverted_picture_of_an_inverted_digit(minialex, trained, pictures, tmp_path):
    out, _ = trained
    with Image.open(pictures / "2.png") as picture:
        # Of the network's size: resizing rounds halves up, whichever way round they are.
        digit = np.pad(np.asarray(picture), 2)
    Image.fromarray(digit).save(tmp_path / "white-on-black.png")
    Image.fromarray(255 - digit).save(tmp_path / "black-on-white.png")
    answers = [
        json.loads(minialex("predict", out, *arguments, "--json").stdout)["images"][0]["predictions"]
        for arguments in (
            (tmp_path / "white-on-black.png",),
            (tmp_path / "black-on-white.png", "--invert"),
        )
    ]
    assert answers[0] == answers[1]


def test_text_has_a_line_an_image(minialex, trained, pictures):
    out, _ = trained
    done = minialex("predict", out, pictures / "0.png", pictures / "1.png", "--top", 2)
    lines = done.stdout.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith(f"{pictures / '0.png'}: ")
    assert lines[0].count("%") == 2


def _bomb(path, side):
    """A PNG whose header promises side x side pixels."""
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    chunks = b""
    for kind, data in ((b"IHDR", header), (b"IDAT", zlib.compress(b"\0" * 1000)), (b"IEND", b"")):
        chunks += struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunks)


@pytest.mark.parametrize(
    ("name", "make", "says"),
    [
        ("gone.png", lambda path, source: None, "gone.png"),
        ("folder.png", lambda path, source: path.mkdir(), "folder.png"),
        ("text.png", lambda path, source: path.write_text("not an image"), "text.png"),
        ("empty.png", lambda path, source: path.write_bytes(b""), "empty.png"),
        ("cut.png", lambda path, source: path.write_bytes(source[:-60]), "cut.png"),
        ("bomb.png", lambda path, source: _bomb(path, 50_000), ("bomb.png", "pixels")),
    ],
)
def test_bad_image_is_named_and_nothing_is_printed(
    assert_refused, trained, pictures, tmp_path, name, make, says
):
    out, _ = trained
    make(tmp_path / name, (pictures / "0.png").read_bytes())
    done = assert_refused("predict", out, pictures / "0.png", tmp_path / name, says=says)
    assert done.stdout == ""


def test_no_image_and_bad_top(assert_refused, trained, pictures):
    out, _ = trained
    assert_refused("predict", out, says="IMAGE", code=2)
    assert_refused("predict", out, pictures / "0.png", "--top", 0, says="--top", code=2)


def test_picture_of_the_predictions(minialex, flower_run, tmp_path):
    """The title is the class and its probability; the photographs are in the file in their colours."""
    images = []
    for i, colour in enumerate([(200, 30, 30), (30, 30, 200)]):
        Image.new("RGB", (60, 90 - 50 * i), colour).save(tmp_path / f"{i}.png")
        images.append(tmp_path / f"{i}.png")
    done = minialex("predict", flower_run.path, *images, "--picture", tmp_path / "out.png", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["picture"] == str(tmp_path / "out.png")
    with Image.open(tmp_path / "out.png") as picture:
        pixels = np.asarray(picture.convert("RGB"))
    lefts = []
    for colour, ratio in (((200, 30, 30), 90 / 60), ((30, 30, 200), 40 / 60)):
        rows, columns = np.nonzero((pixels == colour).all(axis=2))
        lefts.append(columns.min())
        assert (np.ptp(rows) + 1) / (np.ptp(columns) + 1) == pytest.approx(ratio, rel=0.03)
    assert lefts[0] < lefts[1]


def test_picture_that_cannot_be_written(assert_refused, trained, pictures, tmp_path):
    out, _ = trained
    assert_refused("predict", out, pictures / "0.png", "--picture", tmp_path / "a.jpg", says=".png", code=2)
    assert_refused(
        "predict", out, pictures / "0.png", "--picture", tmp_path / "no" / "a.png", says="folder", code=2
    )
    bad = tmp_path / "bad.png"
    bad.write_text("not an image")
    assert_refused("predict", out, pictures / "0.png", bad, "--picture", tmp_path / "a.png", says="bad.png")
    assert not (tmp_path / "a.png").exists()


def test_network_that_gives_no_numbers(assert_refused, flower_run, tmp_path):
    run = shutil.copytree(flower_run.path, tmp_path / "run")
    network = create_model("alexnet_cifar_thinner4", 5)
    network.fc8.weight.data[...] = np.float32(3e38)
    save_checkpoint(run / "last.safetensors", network)
    Image.new("RGB", (60, 90), (200, 30, 30)).save(tmp_path / "a.png")
    assert_refused("predict", run, tmp_path / "a.png", says="not finite")
