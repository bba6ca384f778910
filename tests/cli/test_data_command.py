"""`minialex data`: split, check and download, as a user calls them."""

import hashlib
import http.server
import json
import os
import shlex
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from conftest import write_idx

from minialex.data.registry import DATASETS

FETCHED = ("mnist", "fashion-mnist", "kmnist", "cifar10", "flowers")


@pytest.fixture
def flowers(tmp_path):
    for name, count in {"daisy": 20, "roses": 30}.items():
        (tmp_path / "flowers" / name).mkdir(parents=True)
        for number in range(count):
            PIL.Image.new("RGB", (3, 2), (number, 0, 0)).save(tmp_path / "flowers" / name / f"{number}.png")
    return tmp_path / "flowers"


def test_split(minialex, flowers, tmp_path):
    done = minialex("data", "split", flowers, tmp_path / "out")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "class daisy  18 to train, 2 to validate",
        "class roses  27 to train, 3 to validate",
        f"45 images in {tmp_path / 'out/train'}, 5 in {tmp_path / 'out/val'}, 0 files left out",
    ]
    assert len(list((tmp_path / "out/val/roses").iterdir())) == 3


def test_split_with_all_its_options(minialex, flowers, tmp_path):
    (flowers / "daisy/notes.txt").write_text("x")
    options = ("--validation", 0.5, "--link", "--on-error", "skip", "--json")
    parts = []
    for number, seed in enumerate((3, 4)):
        done = minialex("data", "split", flowers, tmp_path / str(number), "--seed", seed, *options)
        assert json.loads(done.stdout) == {
            "source": str(flowers),
            "target": str(tmp_path / str(number)),
            "seed": seed,
            "train": {"daisy": 10, "roses": 15},
            "validation": {"daisy": 10, "roses": 15},
            "skipped": [
                {"path": str(flowers / "daisy/notes.txt"), "reason": "its name is not that of an image"}
            ],
        }
        parts.append(sorted(os.listdir(tmp_path / str(number) / "val/roses")))
    assert parts[0] != parts[1]
    assert (tmp_path / "0/val/roses" / parts[0][0]).samefile(flowers / "roses" / parts[0][0])
    text = minialex("data", "split", flowers, tmp_path / "text", "--on-error", "skip").stdout
    assert text.startswith(f"left out {flowers / 'daisy/notes.txt'}: its name is not that of an image\n")
    assert text.endswith(", 1 files left out\n")


def test_split_stops_at_a_bad_file(assert_refused, flowers, tmp_path):
    (flowers / "daisy/7.png").write_bytes(b"broken")
    done = assert_refused(
        "data", "split", flowers, tmp_path / "out", says=("daisy/7.png: not an image", "skip such files")
    )
    assert done.stdout == ""
    assert sorted(os.listdir(tmp_path)) == ["flowers"]
    assert_refused("data", "split", flowers, tmp_path / "out", "--on-error", "ask", says="--on-error", code=2)


def test_check_of_one_folder(minialex, flowers):
    done = minialex("data", "check", flowers)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        f"{flowers}: 50 images in 2 classes",
        "  class daisy  20",
        "  class roses  30",
    ]


def test_check_names_damaged_files_and_fails(minialex, assert_refused, flowers, tmp_path):
    minialex("data", "split", flowers, tmp_path / "out")
    whole = next((tmp_path / "out/train/daisy").iterdir()).read_bytes()
    (tmp_path / "out/train/daisy/bad.png").write_bytes(whole[:45])
    (tmp_path / "out/val/roses/odd\n.jpg").write_bytes(b"")
    done = assert_refused(
        "data", "check", tmp_path / "out", says=f"2 of 52 images in {tmp_path / 'out'} are damaged"
    )
    lines = done.stdout.splitlines()
    assert lines[:3] == [
        f"{tmp_path / 'out/train'}: 46 images in 2 classes",
        "  class daisy  19",
        "  class roses  27",
    ]
    assert lines[3:6] == [
        f"{tmp_path / 'out/val'}: 6 images in 2 classes",
        "  class daisy  2",
        "  class roses  4",
    ]
    assert lines[6].startswith(f"damaged {tmp_path / 'out/train/daisy/bad.png'}: cannot decode it")
    assert lines[7].startswith(
        f"damaged {tmp_path / 'out/val/roses'}/odd\\n.jpg: not an image of a known format"
    )
    assert len(lines) == 8

    done = assert_refused("data", "check", tmp_path / "out", "--json", says="2 of 52")
    answer = json.loads(done.stdout)
    assert [part["classes"] for part in answer["parts"]] == [
        {"daisy": 19, "roses": 27},
        {"daisy": 2, "roses": 4},
    ]
    assert [part["images"] for part in answer["parts"]] == [46, 6]
    assert [os.path.basename(each["path"]) for each in answer["damaged"]] == ["bad.png", "odd\n.jpg"]


def test_check_of_a_name_that_is_no_text(assert_refused, flowers):
    with open(os.fsencode(flowers) + b"/daisy/\xff.png", "wb"):
        pass
    done = assert_refused("data", "check", flowers, says="1 of 51")
    assert "daisy/\\udcff.png: not an image" in done.stdout


def test_check_of_what_is_no_folder(assert_refused, tmp_path):
    assert_refused("data", "check", tmp_path, says="has no sub-folders")
    assert_refused("data", "check", tmp_path / "nowhere", says="cannot read the folder")


@pytest.fixture
def server(tmp_path):
    """A server of the files in tmp_path/site."""
    (tmp_path / "site").mkdir()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments):
            super().__init__(*arguments, directory=tmp_path / "site")

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_download_refuses_what_is_not_the_published_file(assert_refused, server, tmp_path):
    for file in DATASETS["mnist"].remote.files:
        with (tmp_path / "site" / file.name).open("wb") as made:
            made.truncate(file.size)
    found = hashlib.sha256(bytes(DATASETS["mnist"].remote.files[0].size)).hexdigest()
    says = ("cannot fetch train-images-idx3-ubyte.gz", f"{server}/train-", f"but got {found}")
    assert_refused("data", "download", "mnist", "--to", tmp_path / "to", "--url", server, says=says)
    assert os.listdir(tmp_path / "to") == []


def test_download_of_a_missing_file_and_an_unknown_name(assert_refused, server, tmp_path):
    assert_refused(
        "data", "download", "flowers", "--to", tmp_path / "to", "--url", server, says="it answers 404"
    )
    assert_refused("data", "download", "imagenet", "--to", tmp_path, says=("imagenet", *FETCHED), code=2)
    assert_refused("data", "download", "mnist", says="--to", code=2)


def test_download_of_what_is_there(minialex, tmp_path):
    (tmp_path / "flower_photos").mkdir()
    done = minialex("data", "download", "flowers", "--to", tmp_path)
    assert done.stdout.endswith(f"in {tmp_path / 'flower_photos'}\n")
    answer = minialex("data", "download", "flowers", "--to", tmp_path, "--json").stdout
    assert json.loads(answer) == {"data": "flowers", "folder": str(tmp_path / "flower_photos")}


def test_progress_on_a_terminal(minialex, flowers, tmp_path):
    script = shutil.which("script")
    if script is None:
        pytest.skip("the program `script`, which gives a terminal, is not installed")
    program = Path(sys.executable).parent / "minialex"
    command = shlex.join([str(program), "data", "split", str(flowers), str(tmp_path / "out")])
    done = subprocess.run([script, "-qec", command, os.devnull], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0
    for what in ("checking", "copying", "50/50", "files/s"):
        assert what in done.stdout


# Data sets like MNIST


@pytest.fixture(scope="module")
def letters(tmp_path_factory):
    """EMNIST's letters as torchvision keeps them: a, b and z, twice each, stored transposed."""
    place = tmp_path_factory.mktemp("letters") / "EMNIST" / "raw"
    place.mkdir(parents=True)
    random = np.random.default_rng(0)
    for part, labels in (("train", [1, 2, 26] * 2), ("test", [26])):
        images = random.integers(0, 256, (len(labels), 28, 28))
        write_idx(place / f"emnist-letters-{part}-images-idx3-ubyte", images)
        write_idx(place / f"emnist-letters-{part}-labels-idx1-ubyte", np.array(labels))
    return place.parents[1]


def test_check_counts_the_classes_of_a_data_set_like_mnist(minialex, letters):
    done = minialex("data", "check", letters, "--data", "emnist-letters")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "emnist-letters-train: 6 images of 1 x 28 x 28 in 26 classes"
    assert lines[1:3] + [lines[26]] == ["  class a  2", "  class b  2", "  class z  2"]
    assert lines[27] == "emnist-letters-test: 1 images of 1 x 28 x 28 in 26 classes"
    assert len(lines) == 2 * 27


def test_check_refuses_the_files_of_another_data_set(assert_refused, letters):
    assert_refused("data", "check", letters, "--data", "kmnist", says="has no train-images file")
    assert_refused("data", "check", letters, "--data", "digits", says="digits", code=2)


@pytest.mark.full
def test_letters_are_trained_on_and_called_by_their_names(minialex, letters, tmp_path):
    options = ("--epochs", 1, "--model", "alexnet_cifar_thinner4", "--out", tmp_path / "run")
    done = minialex("train", "--data", "emnist-letters", "--data-dir", letters, *options)
    assert done.returncode == 0, done.stderr
    assert "emnist-letters: 6 training and 1 test images; 28 x 28 grey" in done.stdout
    done = minialex("evaluate", tmp_path / "run", "--json")
    assert list(json.loads(done.stdout)["class_accuracy"]) == [chr(code) for code in range(97, 123)]
