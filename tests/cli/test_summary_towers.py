"""`minialex summary --towers`, run as a user runs it; tests/models/test_towers.py proves the figures."""

import json
import re
from pathlib import Path

import pytest

DOCUMENTATION = Path(__file__).parents[2] / "docs" / "towers.md"


def test_the_paper_s_network_stage_by_stage(minialex):
    done = minialex("summary", "alexnet", "--towers")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    rows = {line.split()[0]: re.split(r" {2,}", line.strip()) for line in lines if line and line[0] != " "}
    assert rows["conv1"] == [
        "conv1",
        "3 x 227 x 227",
        "48 of 3 x 11 x 11",
        "(227 - 11) / 4 + 1 = 55",
        "48 x 55 x 55",
        "17,424 + 48",
    ]
    assert rows["norm1"] == ["norm1", "48+2 x 55 x 55", "over 5 maps", "48 x 55 x 55", "24,200 B"]
    assert rows["pool1"] == ["pool1", "48 x 55 x 55", "3 x 3", "(55 - 3) / 2 + 1 = 27", "48 x 27 x 27"]
    assert rows["conv2"][1:3] == ["48 x 27 x 27", "128 of 48 x 5 x 5"]
    assert rows["conv3"] == [
        "conv3",
        "128+128 x 13 x 13",
        "192 of 256 x 3 x 3",
        "(13 + 1 + 1 - 3) / 1 + 1 = 13",
        "192 x 13 x 13",
        "442,368 + 192",
        "86,528 B",
    ]
    assert rows["fc6"] == ["fc6", "4608+4608", "2048 of 9216", "2048", "18,874,368 + 2,048", "18,432 B"]
    assert rows["fc8"][2] == "500 of 4096"
    assert rows["total"] == ["total", "30,482,612", "151,376 B"]
    assert [name for name in rows if name.startswith(("conv", "norm", "pool", "fc"))] == [
        "conv1",
        "norm1",
        "pool1",
        "conv2",
        "norm2",
        "pool2",
        "conv3",
        "conv4",
        "conv5",
        "pool5",
        "fc6",
        "fc7",
        "fc8",
    ]
    text = done.stdout
    assert "alexnet on two towers: 30,482,612 parameters each, 60,965,224 in all" in text
    assert "conv1: the image" in text
    assert "conv2, conv4, conv5: the tower's own maps" in text
    assert "conv3, fc6, fc7, fc8: all maps or features" in text
    assert "norm1, norm2: the other's maps beside the border" in text


def test_the_documentation_shows_what_is_printed(minialex):
    printed = minialex("summary", "alexnet", "--towers").stdout.splitlines()
    text = DOCUMENTATION.read_text(encoding="utf-8")
    assert "\n".join(f"    {line.rstrip()}" if line else "" for line in printed) in text


def test_pool_before_norm_and_halves_that_differ(minialex):
    lines = minialex(
        "summary", "caffenet", "--towers", "--num-classes", 5, "--batch", 128
    ).stdout.splitlines()
    names = [line.split()[0] for line in lines if line]
    assert names.index("pool1") < names.index("norm1") < names.index("conv2")
    last = next(line for line in lines if line.startswith("fc8"))
    assert "3 of 4096 and 2 of 4096" in last
    assert f"{128 * 2048 * 4:,} B" in last
    assert any("128 images" in line for line in lines)
    assert any("56,888,709 in all" in line for line in lines)


def test_towers_json(minialex):
    done = minialex("summary", "alexnet", "--towers", "--size", 230, "--json")
    assert done.stdout.count("\n") == 1
    answer = json.loads(done.stdout)
    assert answer["towers"] == 2
    assert answer["parameters"] == [30_482_612, 30_482_612]
    assert answer["input_shape"] == [3, 230, 230]
    first = answer["stages"][0]
    assert first["arithmetic"] == "(230 - 11) // 4 + 1 = 55"
    assert first["towers"][0]["kernel_shape"] == [3, 11, 11]
    assert [stage["name"] for stage in answer["stages"] if stage["exchanges"]] == [
        "norm1",
        "norm2",
        "conv3",
        "fc6",
        "fc7",
        "fc8",
    ]


@pytest.mark.parametrize("model", ["alexnet_half", "alexnet_one_tower"])
def test_a_model_with_one_tower_says_so_in_a_line(minialex, model):
    done = minialex("summary", model, "--towers")
    assert done.returncode == 0
    assert done.stdout == f"{model} has one tower: none of its convolutions is in two groups\n"


def test_one_tower_json_and_what_is_refused(minialex, assert_refused):
    answer = json.loads(minialex("summary", "alexnet_cifar", "--towers", "--json").stdout)
    assert answer == {"model": "alexnet_cifar", "towers": 1}
    assert_refused("summary", "alexnet", "--towers", "--size", 224, says=("227 to 258", "54"))
    assert_refused(
        "summary", "alexnet", "--towers", "--batch", 0, says="batch must be an integer 1 or more, not 0"
    )
