"""The PyTorch programs of two documents run with nothing but their import lines changed, and learn.

Document 001 has a network; document 003 a network, its training on folders of flowers, and a prediction.
They are read from ``../shared/seeds``; the tests skip where it is missing. The typesetting of document 003
lost all indentation, which `DEPTHS` puts back. Nothing else is mended.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import minialex as ma

SEEDS = Path(__file__).parents[3] / "shared" / "seeds"
IMPORTS = {
    "import torch": "import minialex as torch",
    "import torch.nn as nn": "import minialex.nn as nn",
    "import torch.optim as optim": "import minialex.optim as optim",
    "from torchvision import transforms, datasets, utils": (
        "from minialex.data import transforms; import minialex.data as datasets"
    ),
    "from torchvision import transforms": "from minialex.data import transforms",
}
# The first line of each program of document 003, and the depths of its lines: (depth, how many lines).
DEPTHS = {
    "#model.py": "0*4 1*1 2*27 3*1 1*1 2*4 1*1 2*1 3*1 4*2 5*1 3*1 4*2",
    "train.py": "0*35 1*1 0*35 1*5 2*13 1*6 2*1 3*4 1*2 2*2 1*2 0*1",
    "predict.py": "0*21 1*2 0*1 1*2 0*7 1*5 0*1",
}
FLOWERS = {
    "daisy": (240, 240, 240),
    "dandelion": (240, 220, 20),
    "roses": (220, 20, 40),
    "sunflowers": (250, 140, 10),
    "tulips": (200, 60, 220),
}


def document(number: str) -> list[str]:
    found = sorted(SEEDS.glob(f"{number}_*.txt"))
    if not found:
        pytest.skip(f"document {number} is not here: ../shared/seeds is missing")
    return found[0].read_text(encoding="utf-8").splitlines()


def with_our_imports(lines: list[str]) -> str:
    return "\n".join(IMPORTS.get(line, line) for line in lines) + "\n"


def program(name: str) -> str:
    """A program of document 003, indented, with our imports."""
    lines = document("003")
    depths = [
        int(depth)
        for part in DEPTHS[name].split()
        for depth, count in [part.split("*")]
        for _ in range(int(count))
    ]
    start = lines.index(name)
    code = with_our_imports(lines[start : start + len(depths)]).splitlines()
    if name.endswith(".py") and not name.startswith("#"):
        code[0] = ""  # the heading
    return "\n".join("    " * depth + line for depth, line in zip(depths, code, strict=True)) + "\n"


def flower(random: np.random.Generator, colour: tuple[int, int, int]) -> Image.Image:
    """A disc in the colour of the flower, somewhere on a green lawn."""
    rows, columns = np.mgrid[:96, :96]
    picture = np.zeros((96, 96, 3)) + (30, 120, 40)
    middle, radius = random.uniform(36, 60, 2), random.uniform(24, 34)
    picture[(rows - middle[0]) ** 2 + (columns - middle[1]) ** 2 < radius**2] = colour
    return Image.fromarray(np.clip(picture + random.normal(0, 12, picture.shape), 0, 255).astype(np.uint8))


def run(folder: Path, name: str) -> str:
    environment = {**os.environ, "MPLBACKEND": "Agg"}
    done = subprocess.run(
        [sys.executable, name], cwd=folder, env=environment, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_network_of_document_001():
    lines = document("001")
    start = lines.index("class AlexNet(nn.Module):")
    end = lines.index("        return x", start)
    names: dict = {}
    exec("import minialex.nn as nn\n" + with_our_imports(lines[start : end + 1]), names)
    ma.manual_seed(0)
    network = names["AlexNet"](num_classes=7)
    y = network(ma.randn(2, 3, 224, 224))
    assert y.shape == (2, 7)
    y.backward(ma.randn(2, 7))
    assert all(p.grad is not None and np.isfinite(p.grad.numpy()).all() for p in network.parameters())
    assert network.state_dict()["feature_extraction.3.weight"].shape == (192, 96, 5, 5)
    convolutions = 34_848 + 460_800 + 663_552 + 884_736 + 589_824  # without biases
    assert sum(p.numel() for p in network.parameters()) == convolutions + 37_752_832 + 16_781_312 + 7 * 4097


def test_the_programs_of_document_003(tmp_path):
    """Train on generated flowers; the best epoch beats chance by far, and predict.py names a sunflower."""
    random = np.random.default_rng(3)
    for part, count in (("train", 40), ("val", 8)):
        for name, colour in FLOWERS.items():
            folder = tmp_path / "flower_data" / part / name
            folder.mkdir(parents=True)
            for i in range(count):
                flower(random, colour).save(folder / f"{i}.png")
    flower(random, FLOWERS["sunflowers"]).save(tmp_path / "sunflower.jpg", quality=95)
    for name in DEPTHS:
        (tmp_path / name.removeprefix("#")).write_text(program(name), encoding="utf-8")

    printed = run(tmp_path, "train.py")
    accuracies = [float(value) for value in re.findall(r"test_accuracy: ([\d.]+)", printed)]
    assert len(accuracies) == 10
    assert max(accuracies) >= 0.8  # chance is 0.2
    assert "Finished Training" in printed
    assert (tmp_path / "AlexNet.pth").stat().st_size > 1_000_000

    name, probability = run(tmp_path, "predict.py").split()
    assert name == "sunflowers"
    assert float(probability) > 0.4
