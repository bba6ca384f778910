"""Networks of one's own from training to the page of the run: blocks in lists, and no convolution at all."""

import json
import re

import pytest

SOURCE = """
from minialex import nn


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4)

    def forward(self, x):
        return x + self.norm(self.conv(x))


class Blocks(nn.Module):
    input_shape = (1, 12, 12)

    def __init__(self, num_classes=10):
        super().__init__()
        self.stem = nn.Conv2d(1, 4, 5, stride=3)
        self.blocks = nn.ModuleList([Block(), Block()])
        self.fc = nn.Linear(4, num_classes)

    def forward(self, x):
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        return self.fc(x.mean(dim=(2, 3)))


class Dense(nn.Module):
    input_shape = (1, 12, 12)

    def __init__(self, num_classes=10):
        super().__init__()
        self.fc = nn.Linear(144, num_classes)

    def forward(self, x):
        return self.fc(x.flatten(1))
"""


def test_runs_of_several_networks_are_compared(minialex, assert_refused, tmp_path):
    source = tmp_path / "net.py"
    source.write_text(SOURCE)
    models = []
    for name in ("Blocks", "Dense"):
        models += ["--model", f"{source}:{name}"]
        minialex(
            *("train", *models[-2:], "--epochs", "1", "--out", tmp_path / name),
            *("--set", "data.train_samples=20", "--set", "data.test_samples=10"),
        )
    runs = [tmp_path / "Blocks", tmp_path / "Dense"]
    compared = json.loads(minialex("compare", *runs, *models, "--json").stdout)["runs"]
    assert [(row["model"], row["parameters"]) for row in compared] == [
        ("net.py:Blocks", 4 * 25 + 4 + 2 * (4 * 36 + 4 + 8) + 4 * 10 + 10),
        ("net.py:Dense", 144 * 10 + 10),
    ]
    assert_refused("compare", *runs, *models[:2], says="net.py:Dense")


@pytest.mark.parametrize(
    ("name", "timed", "pictures"),
    [("Blocks", ["stem", "blocks.0.conv", "blocks.1.conv", "fc"], True), ("Dense", ["fc"], False)],
)
def test_a_run_and_its_page(minialex, tmp_path, name, timed, pictures):
    source = tmp_path / "net.py"
    source.write_text(SOURCE)
    run = tmp_path / "run"
    minialex(
        *("train", "--model", f"{source}:{name}", "--epochs", "1", "--out", run),
        *("--set", "data.train_samples=40", "--set", "data.test_samples=20"),
    )
    minialex("report", run, "--model", f"{source}:{name}")
    page = (run / "report.html").read_text(encoding="utf-8")
    layers = page[page.index('id="layers"') :]
    rows = re.findall(r'<tr><th scope="row">([^<]*)</th>(.*)</tr>', layers)
    assert [layer for layer, row in rows if "--share" in row] == timed
    assert ('id="filters"' in page) == pictures
    assert (run / "pictures" / "filters.png").exists() == pictures
