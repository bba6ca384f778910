"""`minialex evaluate`, run as a user runs it."""

import json
import shutil

import pytest

from minialex.models import create_model
from minialex.training.checkpoint import save_checkpoint


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
    assert answer["test_images"] == 100
    # The digits take turns in the data set, so that every class has as many images.
    mean = sum(answer["class_accuracy"].values()) / 10
    assert mean == pytest.approx(answer["test_accuracy"])


def test_best_checkpoint_and_text(minialex, trained):
    out, result = trained
    done = minialex("evaluate", out, "--checkpoint", "best")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == f"test accuracy {result['best_test_accuracy'] * 100:.2f} %"


def test_data_may_have_moved(minialex, refuses, trained, idx_folder, tmp_path):
    out, result = trained
    moved = shutil.copytree(idx_folder, tmp_path / "moved")
    done = minialex("evaluate", out, "--data-dir", moved, "--json")
    assert json.loads(done.stdout)["test_accuracy"] == result["test_accuracy"]
    refuses("evaluate", out, "--data-dir", tmp_path / "gone", says="gone")


def test_folder_that_is_not_a_run(refuses, tmp_path):
    refuses("evaluate", tmp_path / "nowhere", says="does not exist")
    refuses("evaluate", tmp_path, says="settings.json")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"settings": {}}', '{"settings": {"model": "alexnet"}}'])
def test_damaged_settings(refuses, copy, text):
    (copy / "settings.json").write_text(text)
    refuses("evaluate", copy, says="damaged")


def test_settings_that_ask_for_another_model(refuses, copy):
    values = json.loads((copy / "settings.json").read_text())
    values["settings"]["model"] = "alexnet_mnist28_bn_rows"
    (copy / "settings.json").write_text(json.dumps(values))
    refuses("evaluate", copy, says=("alexnet_mnist28_bn ", "alexnet_mnist28_bn_rows"))


@pytest.mark.parametrize("cut", [0, 100, -1])
def test_checkpoint_cut_short(refuses, copy, cut):
    path = copy / "last.safetensors"
    path.write_bytes(path.read_bytes()[:cut])
    refuses("evaluate", copy, says=("last.safetensors", "damaged"))


def test_checkpoint_whose_header_promises_too_much(refuses, copy):
    path = copy / "last.safetensors"
    path.write_bytes((2**60).to_bytes(8, "little") + path.read_bytes()[8:])
    refuses("evaluate", copy, says="damaged")


def test_missing_checkpoint(refuses, copy):
    (copy / "best.safetensors").unlink()
    refuses("evaluate", copy, "--checkpoint", "best", says="best.safetensors")


def test_checkpoint_of_another_model(refuses, copy):
    save_checkpoint(copy / "last.safetensors", create_model("alexnet_cifar_thinner4"))
    refuses("evaluate", copy, says=("alexnet_cifar_thinner4", "does not fit alexnet_mnist28_bn"))


def test_checkpoint_of_other_classes(refuses, copy):
    save_checkpoint(copy / "last.safetensors", create_model("alexnet_mnist28_bn", num_classes=3))
    refuses("evaluate", copy, says=("3 classes", "10 classes"))
