"""`minialex evaluate`, run as a user runs it."""

import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest

from minialex.data import read_image
from minialex.data.transforms import Resize
from minialex.models import create_model
from minialex.training.checkpoint import save_checkpoint
from minialex.training.evaluation import predict_probabilities


@pytest.fixture
def copy(trained, tmp_path):
    """A copy of the trained run that a test may damage."""
    return shutil.copytree(trained[0], tmp_path / "copy")


def test_last_checkpoint_has_the_accuracy_of_training(minialex, trained):
    out, result = trained
    done = minialex("evaluate", out, "--json")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["test_accuracy"] == result["test_accuracy"]
    assert answer["test_loss"] == result["test_loss"]
    assert answer["test_images"] == 100
    assert answer["part"] == "test"
    assert answer["test_accuracy"] < answer["test_top5_accuracy"] <= 1
    # The digits take turns in the data set, so that every class has as many images.
    mean = sum(answer["class_accuracy"].values()) / 10
    assert mean == pytest.approx(answer["test_accuracy"])


def test_best_checkpoint_and_text(minialex, trained):
    out, result = trained
    done = minialex("evaluate", out, "--checkpoint", "best")
    assert done.returncode == 0, done.stderr
    *_, top, last = done.stdout.splitlines()
    assert last == f"test accuracy {result['best_validation_accuracy'] * 100:.2f} %"
    assert top.startswith("test top-5 accuracy ")


def test_data_may_have_moved(minialex, assert_refused, trained, idx_folder, tmp_path):
    out, result = trained
    moved = shutil.copytree(idx_folder, tmp_path / "moved")
    done = minialex("evaluate", out, "--data-dir", moved, "--json")
    assert json.loads(done.stdout)["test_accuracy"] == result["test_accuracy"]
    assert_refused("evaluate", out, "--data-dir", tmp_path / "gone", says="gone")


def test_folder_that_is_not_a_run(assert_refused, tmp_path):
    assert_refused("evaluate", tmp_path / "nowhere", says="does not exist")
    assert_refused("evaluate", tmp_path, says="settings.json")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"recipe": {}}'])
def test_damaged_settings(assert_refused, copy, text):
    (copy / "settings.json").write_text(text)
    assert_refused("evaluate", copy, says="damaged")


def test_settings_that_ask_for_another_model(assert_refused, copy):
    values = json.loads((copy / "settings.json").read_text())
    values["recipe"]["model"]["name"] = "alexnet_cifar_thinner2"
    (copy / "settings.json").write_text(json.dumps(values))
    assert_refused("evaluate", copy, says=("alexnet_cifar_thinner4 ", "alexnet_cifar_thinner2"))


@pytest.mark.parametrize("cut", [0, 100, -1])
def test_checkpoint_cut_short(assert_refused, copy, cut):
    path = copy / "last.safetensors"
    path.write_bytes(path.read_bytes()[:cut])
    assert_refused("evaluate", copy, says=("last.safetensors", "damaged"))


def test_checkpoint_whose_header_promises_too_much(assert_refused, copy):
    path = copy / "last.safetensors"
    path.write_bytes((2**60).to_bytes(8, "little") + path.read_bytes()[8:])
    assert_refused("evaluate", copy, says="damaged")


def test_missing_checkpoint(assert_refused, copy):
    (copy / "best.safetensors").unlink()
    assert_refused("evaluate", copy, "--checkpoint", "best", says="best.safetensors")


def test_checkpoint_of_another_model(assert_refused, copy):
    save_checkpoint(copy / "last.safetensors", create_model("alexnet_cifar_thinner2"))
    assert_refused("evaluate", copy, says=("alexnet_cifar_thinner2", "does not fit alexnet_cifar_thinner4"))


def test_checkpoint_of_other_classes(assert_refused, copy):
    save_checkpoint(copy / "last.safetensors", create_model("alexnet_cifar_thinner4", num_classes=3))
    assert_refused("evaluate", copy, says=("3 classes", "10 classes"))


def crops_by_hand(path):
    """The paper's ten crops of 32 x 32 of an image whose shorter side is made 40: uint8 (3, 32, 32)."""
    image = Resize(shorter_side=40)(read_image(path))
    height, width = image.shape[1:]
    middle = (round((height - 32) / 2), round((width - 32) / 2))
    for mirrored in (image, image[:, :, ::-1]):
        for top, left in ((0, 0), (0, width - 32), (height - 32, 0), (height - 32, width - 32), middle):
            yield mirrored[:, top : top + 32, left : left + 32]


@pytest.mark.parametrize("ten_crop", [False, True])
def test_validation_images_of_a_folder(minialex, flower_run, ten_crop):
    """The crops are cut by hand, and their probabilities averaged by hand."""
    network = flower_run.load_network("last")
    probabilities, labels = [], []
    for label, name in enumerate(flower_run.classes):
        paths = sorted((Path(flower_run.data_dir) / "val" / name).iterdir())
        for path in paths[:1] + paths[2:] if name == "roses" else paths:
            crops = np.stack(list(crops_by_hand(path)))[slice(None) if ten_crop else slice(4, 5)]
            x = ((crops / np.float32(255)) - np.float32(0.5)) / np.float32(0.5)
            probabilities.append(predict_probabilities(network, x).mean(axis=0))
            labels.append(label)
    guesses = [sorted(range(5), key=lambda i, row=row: -row[i]) for row in probabilities]
    done = minialex("evaluate", flower_run.path, "--top", 2, "--json", *(["--ten-crop"] if ten_crop else []))
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["part"] == "validation"
    assert answer["ten_crop"] is ten_crop
    assert answer["test_images"] == 14
    loss = -sum(math.log(row[label]) for row, label in zip(probabilities, labels, strict=True)) / 14
    assert answer["test_loss"] == pytest.approx(loss, rel=1e-4)
    for key, k in (("test_accuracy", 1), ("test_top2_accuracy", 2)):
        right = [label in order[:k] for order, label in zip(guesses, labels, strict=True)]
        assert answer[key] == sum(right) / 14
    for name, share in answer["class_accuracy"].items():
        label = flower_run.classes.index(name)
        right = [order[0] == label for order, y in zip(guesses, labels, strict=True) if y == label]
        assert share == sum(right) / len(right)
    (skipped,) = answer["skipped"]
    assert skipped["file"].endswith("val/roses/1.png")


def test_text_of_validation_images(minialex, flower_run):
    """Five classes: the right one is always among five guesses, so that a top-5 accuracy says nothing."""
    done = minialex("evaluate", flower_run.path, "--ten-crop")
    *classes, skipped, summary, last = done.stdout.splitlines()
    assert [line.split()[1] for line in classes] == list(flower_run.classes)
    assert skipped.startswith("1 damaged image is left out")
    assert "roses/1.png" in skipped
    assert "14 validation images, ten crops of each, validation loss " in summary
    assert last.startswith("validation accuracy ")


def test_ten_crops_need_a_crop_to_replace(assert_refused, trained):
    assert_refused(
        "evaluate",
        trained[0],
        "--ten-crop",
        says=("center_crop of 32 x 32", "resize, to_rgb, scale, normalize"),
    )


def test_top_of_more_classes_than_there_are(assert_refused, trained):
    assert_refused("evaluate", trained[0], "--top", 11, says=("--top must be at most 10", "not 11"))
    assert_refused("evaluate", trained[0], "--top", 0, says="--top", code=2)


def test_network_that_gives_no_numbers(assert_refused, copy):
    network = create_model("alexnet_cifar_thinner4", 10)
    network.fc8.weight.data[...] = np.float32(3e38)
    save_checkpoint(copy / "last.safetensors", network)
    done = assert_refused("evaluate", copy, says="not finite")
    assert done.stdout == ""
