"""The page on weights: its program runs as it stands."""

import re
from pathlib import Path

import numpy as np

PAGE = Path(__file__).parents[2] / "docs" / "weights.md"
(PROGRAM,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


def test_the_program_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    exec(compile(PROGRAM, str(PAGE), "exec"), names)
    assert capsys.readouterr().out.startswith("10 tensors of 'lenet5.pth'\n")
    expected = names["network"].state_dict()
    assert list(names["state"]) == list(expected)
    for name, array in names["state"].items():
        np.testing.assert_array_equal(array, np.array(expected[name]))
