"""`minialex report`, run as a user runs it. What the page holds is tested in tests/reporting."""

import json
import shutil

import pytest
from PIL import Image

from minialex.data import load_digits


@pytest.fixture
def copy(trained, tmp_path):
    """A copy of the trained run that a test may change."""
    return shutil.copytree(trained[0], tmp_path / "copy")


def test_page_in_the_run_folder(minialex, trained, copy):
    done = minialex("report", copy, "--json")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["report"] == str(copy / "report.html")
    assert (answer["checkpoint"], answer["part"]) == ("last", "test")
    assert answer["test_images"] == 100
    assert answer["test_accuracy"] == trained[1]["test_accuracy"]
    page = (copy / "report.html").read_text(encoding="utf-8")
    assert page.startswith("<!DOCTYPE html>")
    assert f"{trained[1]['test_accuracy'] * 100:.2f}" in page


def test_best_checkpoint_and_an_image_of_ones_own(minialex, trained, tmp_path):
    image = tmp_path / "a digit.png"
    Image.fromarray(load_digits()[1].images[3, 0]).save(image)
    out = tmp_path / "page.html"
    done = minialex("report", trained[0], "--out", out, "--image", image, "--checkpoint", "best")
    assert done.returncode == 0, done.stderr
    accuracy = f"{trained[1]['best_validation_accuracy'] * 100:.2f} %"
    assert done.stdout == f"test accuracy {accuracy}; the report is {out}\n"
    page = out.read_text(encoding="utf-8")
    assert "a digit.png" in page
    assert "the best checkpoint" in page


def test_bad_input(assert_refused, trained, copy, tmp_path):
    assert_refused("report", tmp_path / "nowhere", says="does not exist")
    out = tmp_path / "page.html"
    assert_refused("report", trained[0], "--out", out, "--image", tmp_path / "gone.png", says="gone.png")
    (copy / "last.safetensors").write_bytes(b"")
    assert_refused("report", copy, says=("last.safetensors", "damaged"))
    assert not out.exists()
    assert not (copy / "report.html").exists()


def test_folder_of_images_with_a_damaged_one(minialex, flower_run, tmp_path):
    out = tmp_path / "page.html"
    done = minialex("report", flower_run.path, "--out", out)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("validation accuracy ")
    page = out.read_text(encoding="utf-8")
    assert "1 damaged file was left out." in page
    assert "No epoch was completed." in page
