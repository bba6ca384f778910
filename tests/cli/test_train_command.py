"""`minialex train`, run as a user runs it."""

import json
import re
import struct

import numpy as np
import pytest
from PIL import Image
from safetensors import safe_open
from safetensors.numpy import load_file

SMALL = ("--epochs", 1, "--batch-size", 100)


def test_run_folder_holds_everything(trained):
    out, result = trained
    names = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    assert names == {
        "settings.json",
        "metrics.jsonl",
        "result.json",
        "best.safetensors",
        "last.safetensors",
        "pictures/curves.png",
        "pictures/confusion.png",
        "pictures/filters.png",
        "pictures/worst.png",
    }
    assert result["run"] == str(out)
    assert json.loads((out / "result.json").read_text()) == result


def test_metrics_have_one_line_an_epoch(trained):
    out, result = trained
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2]
    assert lines[-1]["test_accuracy"] == result["test_accuracy"]
    assert max(line["test_accuracy"] for line in lines) == result["best_test_accuracy"]
    assert all(line["images_per_second"] > 0 and line["train_loss"] > 0 for line in lines)


def test_settings_are_those_asked_for(trained, idx_folder):
    out, _ = trained
    values = json.loads((out / "settings.json").read_text())
    assert values["settings"] == {
        "model": "alexnet_mnist28_bn",
        "data": "mnist",
        "data_dir": str(idx_folder),
        "epochs": 2,
        "batch_size": 20,
        "lr": 0.001,
        "seed": 0,
        "device": "cpu",
    }
    assert values["classes"] == list("0123456789")


def test_pictures_are_pictures(trained):
    out, _ = trained
    for path in sorted((out / "pictures").iterdir()):
        with Image.open(path) as picture:
            pixels = np.asarray(picture.convert("L"))
        assert min(pixels.shape) >= 200, path.name
        assert pixels.std() > 5, f"{path.name} is blank"


def test_checkpoint_names_its_model(trained):
    out, _ = trained
    with safe_open(out / "last.safetensors", framework="numpy") as file:
        assert file.metadata()["model"] == "alexnet_mnist28_bn"
        assert file.metadata()["num_classes"] == "10"
        assert file.get_tensor("conv1.weight").shape == (64, 1, 11, 11)


def test_it_learns_from_200_digits(trained):
    _, result = trained
    # Guessing gives 10 %; after 20 steps on 200 digits it is well above 40 %.
    assert result["test_accuracy"] > 0.4
    assert result["train_images"] == 200
    assert result["test_images"] == 100


def test_last_line_holds_the_accuracy(minialex, idx_folder, tmp_path):
    done = minialex("train", "--data", "mnist", "--data-dir", idx_folder, *SMALL, "--out", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    last = done.stdout.splitlines()[-1]
    assert re.fullmatch(r"test accuracy \d{1,3}\.\d\d %; everything is in .*run", last)
    assert str(tmp_path / "run") in last


def test_same_seed_gives_the_same_bits(minialex, idx_folder, tmp_path):
    weights = []
    for name in ("first", "second"):
        done = minialex(
            "train",
            "--data",
            "mnist",
            "--data-dir",
            idx_folder,
            *SMALL,
            "--seed",
            7,
            "--out",
            tmp_path / name,
        )
        assert done.returncode == 0, done.stderr
        weights.append(load_file(tmp_path / name / "last.safetensors"))
    first, second = weights
    assert first.keys() == second.keys()
    assert all(first[name].tobytes() == second[name].tobytes() for name in first)


def test_default_folder_is_named_after_the_run(minialex, idx_folder, tmp_path):
    done = minialex("train", "--data", "mnist", "--data-dir", idx_folder, *SMALL, "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    run = json.loads(done.stdout)["run"]
    assert re.fullmatch(r"runs/alexnet_mnist28_bn-mnist-\d{8}-\d{6}", run)
    assert (tmp_path / run / "result.json").is_file()


def test_help_has_every_option_with_its_default(minialex):
    text = " ".join(minialex("train", "--help").stdout.split())
    for option, default in (
        ("--model", "alexnet_mnist28_bn"),
        ("--data", "digits"),
        ("--data-dir", "none"),
        ("--epochs", "5"),
        ("--batch-size", "64"),
        ("--lr", "0.001"),
        ("--seed", "0"),
        ("--device", "cpu"),
        ("--out", "a new one in runs/"),
    ):
        assert re.search(rf"{option} [A-Z]+ .*?\[default: \(?{re.escape(default)}", text), option


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--model", "alexnett"), ("alexnett", "did you mean alexnet")),
        (("--data", "cifar"), ("cifar", "digits, mnist")),
        (("--batch-size", 0), ("batch_size=0", "1 to")),
        (("--epochs", 0), "epochs=0"),
        (("--lr", 0), "lr=0"),
        (("--lr", "nan"), "lr=nan"),
        (("--seed", -1), "seed=-1"),
        (("--device", "gpu"), ("device='gpu'", "available: cpu")),
        (("--data", "mnist"), "--data-dir"),
        (("--data", "digits", "--data-dir", "x"), "--data-dir"),
    ],
)
def test_bad_settings_are_refused(refuses, options, says, tmp_path):
    refuses("train", *options, "--out", tmp_path / "run", says=says)
    assert not (tmp_path / "run").exists()


def test_unknown_option_is_refused_in_one_line(refuses):
    refuses("train", "--modle", "alexnet", says="--model", code=2)


def _train(refuses, folder, out, says, *options):
    refuses("train", "--data", "mnist", "--data-dir", folder, *SMALL, *options, "--out", out, says=says)
    assert not out.exists()


def test_missing_and_empty_folders_are_refused(refuses, tmp_path):
    _train(refuses, tmp_path / "nowhere", tmp_path / "run", "nowhere")
    (tmp_path / "empty").mkdir()
    _train(refuses, tmp_path / "empty", tmp_path / "run", "train-images-idx3-ubyte")


@pytest.fixture
def damaged(idx_folder, tmp_path):
    """A copy of the data set in which a function has changed the bytes of one file."""

    def change(name, function):
        folder = tmp_path / "damaged"
        folder.mkdir()
        for path in idx_folder.iterdir():
            data = path.read_bytes()
            (folder / path.name).write_bytes(function(data) if path.name == name else data)
        return folder

    return change


def test_wrong_magic_number(refuses, damaged, tmp_path):
    folder = damaged("train-images-idx3-ubyte", lambda data: b"\x01\x02" + data[2:])
    _train(refuses, folder, tmp_path / "run", "train-images-idx3-ubyte")


def test_wrong_count(refuses, damaged, tmp_path):
    folder = damaged("train-images-idx3-ubyte", lambda data: data[:4] + struct.pack(">I", 2**31) + data[8:])
    _train(refuses, folder, tmp_path / "run", "train-images-idx3-ubyte")


def test_file_cut_short(refuses, damaged, tmp_path):
    folder = damaged("t10k-labels-idx1-ubyte", lambda data: data[:-5])
    _train(refuses, folder, tmp_path / "run", "t10k-labels-idx1-ubyte")


def test_labels_and_images_of_different_number(refuses, damaged, tmp_path):
    folder = damaged("train-labels-idx1-ubyte", lambda data: data[:4] + struct.pack(">I", 199) + data[8:-1])
    _train(refuses, folder, tmp_path / "run", ("199", "200"))


def test_run_folder_that_is_not_empty_is_left_alone(refuses, idx_folder, tmp_path):
    (tmp_path / "note").write_text("mine")
    refuses("train", "--data", "mnist", "--data-dir", idx_folder, *SMALL, "--out", tmp_path, says="not empty")
    assert [path.name for path in tmp_path.iterdir()] == ["note"]


def test_run_folder_that_cannot_be_written_is_refused(refuses, idx_folder, tmp_path):
    # A file where a folder is needed cannot be written by anyone, the superuser included.
    (tmp_path / "file").write_text("")
    for out in (tmp_path / "file", tmp_path / "file" / "run"):
        refuses(
            "train",
            "--data",
            "mnist",
            "--data-dir",
            idx_folder,
            *SMALL,
            "--out",
            out,
            says=(str(out), "--out"),
        )
    assert (tmp_path / "file").read_text() == ""


def test_loss_that_is_not_finite_names_the_layer(refuses, idx_folder, tmp_path):
    _train(refuses, idx_folder, tmp_path / "run", ("layer conv", "learning rate"), "--lr", 1e30)


def test_loss_that_stays_at_guessing_fails_and_says_what_helps(minialex, idx_folder, tmp_path):
    # 50 steps that change nothing: the network has had the time to learn, and has not.
    done = minialex(
        "train", "--data", "mnist", "--data-dir", idx_folder, "--epochs", 1, "--batch-size", 4,
        "--lr", 1e-12, "--out", tmp_path / "run", "--json",
    )  # fmt: skip
    assert done.returncode == 1
    assert "ln 10 = 2.3026" in done.stderr
    assert "learning rate" in done.stderr
    assert "Traceback" not in done.stderr
    assert json.loads(done.stdout)["test_accuracy"] < 0.4
    assert len((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()) == 1


@pytest.mark.slow
def test_default_run_reaches_97_percent(minialex, tmp_path):
    """The README's first command: 5,000 digits, of which 1,000 are never trained on."""
    done = minialex("train", "--out", tmp_path / "run", "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert (result["train_images"], result["test_images"]) == (4000, 1000)
    assert result["test_accuracy"] >= 0.97
