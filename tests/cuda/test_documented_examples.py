"""The examples of docs/cuda.md, and the kernel that CONTRIBUTING.md shows how to add, as they are printed."""

import re
from pathlib import Path

import numpy as np
import pytest

from minialex.kernels import find_kernel, load_plugin, unregister

pytestmark = pytest.mark.needs_gxx

ROOT = Path(__file__).parents[2]


def blocks(page, language):
    """The code blocks of a page in one language."""
    text = (ROOT / page).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def test_the_page_has_examples():
    assert len(blocks("docs/cuda.md", "python")) == 3


@pytest.mark.parametrize("number", range(3))
def test_an_example_of_the_page_runs(number, capsys):
    exec(compile(blocks("docs/cuda.md", "python")[number], f"example {number}", "exec"), {})
    if number == 1:
        refused = capsys.readouterr().out.splitlines()
        assert len(refused) == 5
        assert all(line.startswith("relu_forward: ") for line in refused)


def test_the_kernel_of_the_guide_is_a_relu(tmp_path):
    section = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").split("## Add a CUDA kernel")[1]
    (source,) = re.findall(r"```cuda\n(.*?)```", section, re.DOTALL)
    launches = re.search(r"```python\n(.*?)```", section, re.DOTALL)[1]
    (tmp_path / "relu_clip.cu").write_text(source, encoding="utf-8")
    (tmp_path / "cuda_clip.py").write_text(launches, encoding="utf-8")
    added = load_plugin(tmp_path / "cuda_clip.py")
    try:
        assert {(entry.operation, entry.device, entry.algorithm) for entry in added} == {
            ("relu.forward", "cuda", "clip"),
            ("relu.forward", "cuda-host", "clip"),
        }
        x = np.arange(-700, 700, dtype=np.float32).reshape(2, 700).T  # more than one block; a view
        y = find_kernel("relu.forward", algo="clip", device="cuda-host")(x)
        np.testing.assert_array_equal(y, np.where(x < 0, np.float32(0), x))
    finally:
        for entry in added:
            unregister(entry.operation, algo=entry.algorithm, device=entry.device)
