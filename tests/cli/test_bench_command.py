"""`minialex bench`, run as a user runs it."""

import json

import pytest

PLUGIN = """
import numpy as np
from minialex.kernels import kernel

@kernel("relu.forward", algo="right")
def right(x):
    return np.where(x > 0, x, 0).astype(x.dtype)

@kernel("relu.forward", algo="leaky")
def leaky(x):
    return np.where(x > 0, x, x / 100).astype(x.dtype)
"""


@pytest.fixture(scope="module")
def kernels_run(minialex, tmp_path_factory):
    """One run of the kernels of ReLU with a plug-in: its output and its folder."""
    folder = tmp_path_factory.mktemp("bench")
    plugin = folder / "mine.py"
    plugin.write_text(PLUGIN)
    asked = ("--shapes", "awkward", "--plugin", plugin, "--steps", 2, "--threads", 1)
    done = minialex("bench", "kernels", "relu.forward", *asked, "--output", folder / "out", "--json")
    assert done.returncode == 0, done.stderr
    return done, folder / "out"


def test_kernels_with_a_plugin(kernels_run):
    done, folder = kernels_run
    answer = json.loads(done.stdout)
    assert answer == json.loads((folder / "result.json").read_text())
    rows = {row["algorithm"]: row for row in answer["results"]}
    assert rows["right"]["status"] == rows["plain"]["status"] == "timed"
    assert len(rows["right"]["timing"]["samples"]) == 2
    assert rows["leaky"]["status"] == "wrong"
    assert rows["leaky"]["timing"] is None
    assert "reference" not in rows
    assert (folder / "bandwidth.png").exists()


def test_what_is_recorded_of_the_run(kernels_run):
    done, folder = kernels_run
    answer = json.loads(done.stdout)
    assert answer["threads"] == 1
    assert answer["limits"]["peak"]["float32"] > 0
    assert isinstance(answer["noise"]["noisy"], bool)
    assert answer["settings"]["plugin"] == "mine.py"
    assert "--plugin mine.py" in answer["command"]
    assert str(folder.parent) not in done.stdout
    assert "measuring the machine's limits" in done.stderr
    assert "2 rounds are few" in done.stderr


def test_nothing_is_overwritten(kernels_run, assert_refused):
    _, folder = kernels_run
    assert_refused("bench", "kernels", "relu", "--shapes", "awkward", "--output", folder, says="not empty")


@pytest.mark.full
def test_train_with_a_profile(minialex, tmp_path):
    asked = ("--batch", 2, "--baselines", "none", "--steps", 2, "--profile")
    done = minialex("bench", "train", "alexnet_cifar_thinner4", *asked, "--output", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert any(line.startswith("minialex ") for line in lines)
    assert any(line.startswith("conv1 ") for line in lines)
    answer = json.loads((tmp_path / "out" / "result.json").read_text())
    (row,) = answer["results"]
    assert row["status"] == "timed"
    assert row["images_per_second"] == pytest.approx(2 / row["timing"]["median"])
    seconds = sum(layer["seconds"] for layer in answer["profile"]["layers"])
    assert 0.2 < seconds / row["timing"]["median"] < 5
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"result.json", "images_per_second.png", "layers.png"}


@pytest.mark.full
def test_memory_and_scaling(minialex, tmp_path):
    """Each contestant in a process of its own; the parameters are 22 MB, and twice that in training."""
    model = "alexnet_cifar_thinner4"
    asked = ("--batch", 2, "--peers", "none", "--json")
    done = minialex("bench", "memory", model, *asked, "--output", tmp_path / "memory")
    (row,) = json.loads(done.stdout)["results"]
    assert row["imported"] < row["prepared"] < row["peak"]
    assert row["prepared"] - row["imported"] > 20e6
    assert row["peak"] - row["prepared"] > 40e6
    asked = ("--batches", "2", "--threads", "1", "--steps", 2, "--infer", "--json")
    done = minialex("bench", "scaling", model, *asked, "--output", tmp_path / "scaling")
    (row,) = json.loads(done.stdout)["results"]
    assert (row["series"], row["batch"], row["size"], row["threads"]) == ("batch", 2, 32, 1)
    assert (row["status"], row["speedup"]) == ("timed", 1.0)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("kernels", "conv3d"), ("conv3d", "conv2d")),
        (("kernels", "conv2d", "--algo", "magic"), ("magic", "im2col")),
        (("kernels", "--batch", 0), "batch must be an integer 1 or more, not 0"),
        (("kernels", "--algo", "im2col"), "needs an OPERATION"),
        (("kernels", "relu", "--plugin", "nothing.py"), "nothing.py"),
        (("train", "vgg"), "vgg"),
        (("train", "alexnet", "--batch", 0), "batch must be an integer 1 or more, not 0"),
        (("train", "alexnet", "--steps", 0), "steps must be an integer 1 or more, not 0"),
        (("train", "alexnet", "--threads", 0), "threads must be an integer 1 or more, not 0"),
        (("train", "alexnet", "--baselines", "openvino"), "openvino"),
        (("infer", "alexnet_torchvision", "--without-lrn"), "no local response normalisation"),
        (("memory", "alexnet", "--peers", "jax"), "jax"),
        (
            ("scaling", "alexnet", "--batches", "1,x"),
            "--batches must be integers 1 or more, such as 1,2,4, not '1,x'",
        ),
        (("scaling", "alexnet", "--sizes", "8"), "does not fit"),
    ],
)
def test_bad_input_is_one_line(assert_refused, tmp_path, arguments, says):
    assert_refused("bench", *arguments, says=says, cwd=tmp_path)
    assert not list(tmp_path.iterdir())
