"""What a benchmark leaves behind."""

import json
import os
import socket

import pytest

from minialex.benchmarking import pictures, report, tables
from minialex.benchmarking.limits import Limits
from minialex.benchmarking.machine import describe_machine, describe_versions
from minialex.benchmarking.noise import Noise
from minialex.benchmarking.timing import Timing
from minialex.errors import RunError

LIMITS = Limits(2, {"float32": 50.0, "float64": 25.0}, {"float32": 100.0, "float64": 50.0}, 10.0, 15.0)
QUIET = Noise(0.001, 0.01, 0.0, 0.0, (1.0, 1.0))
TIMING = Timing((1.0, 2.0, 1.5)).to_dict()
ERROR = {"norm": 1e-7, "worst": 1e-6}


def made(kind, settings, results, **extra):
    arguments = ["bench", kind, f"--output={os.sep}home{os.sep}someone{os.sep}out", f"a{os.sep}b.py"]
    return report.Report(kind, arguments, 2, LIMITS, QUIET, settings, results, extra).to_dict()


def step_row(name, status="timed", reason=""):
    rates = {"timing": TIMING, "images_per_second": 20.0, "gflops": 50.0, "times_ours": 1.0}
    return {"contestant": name, "status": status, "reason": reason, "error": ERROR} | (
        rates if status == "timed" else {"timing": None}
    )


def kernel_row(operation, algorithm, operations):
    named = {"operation": operation, "workload": "alexnet conv1", "algorithm": algorithm}
    judged = {"status": "timed", "reason": "", "error": ERROR, "timing": TIMING, "share_of_limit": 0.5}
    cost = {"workspace_bytes": 2**20, "operations": operations, "moved_bytes": 10**6}
    return named | judged | cost | {"gflops": operations / 1.5e9, "gb_per_s": 5.0}


def scaling_row(series, batch, size, threads):
    point = {"series": series, "batch": batch, "size": size, "threads": threads}
    return step_row("minialex") | point | {"speedup": 1.5}


PROFILE = {
    "steps": 1,
    "layers": [
        {"layer": "conv1", "direction": "forward", "seconds": 0.25},
        {"layer": "conv1", "direction": "backward", "seconds": 0.5},
        {"layer": "fc8", "direction": "forward", "seconds": 0.25},
    ],
    "kernels": [
        {"layer": "conv1", "operation": "conv2d.forward", "shapes": "2x3", "calls": 1.0, "seconds": 0.2}
    ],
}
MEMORY = {"contestant": "minialex", "status": "measured", "reason": ""} | dict.fromkeys(
    ("imported", "prepared", "first", "peak", "step"), 300 * 2**20
)
STEP = {"title": "alexnet, batch 32", "batch": 32, "steps": 3}
ABSENT = step_row("torch_compile", "absent", "no C++ compiler [here]")

# A result of each kind, the pictures it gets, and words of its table.
RESULTS = {
    "train": (
        made("train", STEP, [step_row("minialex"), step_row("torch"), ABSENT], profile=PROFILE),
        ["images_per_second.png", "layers.png"],
        ("1500.0", "1000.0 to 2000.0", "torch_compile: absent, no C++ compiler [here]", "conv1", "75.0%"),
    ),
    "infer": (made("infer", STEP, [step_row("minialex")]), ["images_per_second.png"], ("20.0",)),
    "kernels": (
        made(
            "kernels",
            {"title": "all", "dtype": "float32"},
            [
                kernel_row("conv2d.forward", "direct", 10**9),
                kernel_row("relu.forward", "plain", 0),
                kernel_row("relu.forward", "mine", 0) | {"status": "wrong", "reason": "NaN", "timing": None},
            ],
        ),
        ["roofline.png", "gflops.png", "bandwidth.png"],
        ("conv2d.forward", "direct", "50%", "1.0 MiB", "alexnet conv1, mine: wrong, NaN"),
    ),
    "memory": (
        made("memory", STEP, [MEMORY, {"contestant": "torch", "status": "absent", "reason": "why"}]),
        ["memory.png"],
        ("300", "torch: absent, why"),
    ),
    "scaling": (
        made(
            "scaling",
            {"title": "alexnet", "infer": False},
            [scaling_row("batch", n, 227, t) for n in (1, 2, 4) for t in (1, 2)]
            + [scaling_row("size", 4, 227, 1)],
        ),
        ["scaling.png"],
        ("1.50 x", "227"),
    ),
}


@pytest.mark.parametrize("kind", RESULTS)
def test_json_and_pictures_and_tables(kind, tmp_path, capsys):
    result, names, words = RESULTS[kind]
    report.save(tmp_path, result)
    assert json.loads((tmp_path / "result.json").read_text()) == result
    assert result["schema"] == 1
    assert result["noise"]["noisy"] is False
    assert [path.name for path in pictures.draw(tmp_path, result)] == names
    for name in names:
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")
    tables.print_tables(result)
    printed = capsys.readouterr().out
    for word in words:
        assert word in printed


def test_no_names_of_folders_or_hosts():
    result = made("train", STEP, [step_row("minialex")])
    assert result["command"] == "minialex bench train --output=out b.py"
    values = {str(value) for value in (*describe_machine().values(), *describe_versions().values())}
    assert socket.gethostname() not in values
    assert not any(os.sep in value for value in values)
    assert describe_versions()["minialex"]
    assert describe_machine()["usable_cores"] >= 1


def test_limits_give_the_least_time():
    assert LIMITS.seconds(200e9, 15e9) == 2.0  # the products take longer
    assert LIMITS.seconds(200e9, 60e9) == 4.0  # the memory does
    assert LIMITS.seconds(200e9, 15e9, "float64") == 4.0


def test_nothing_is_overwritten(tmp_path):
    folder = report.open_folder(tmp_path / "new" / "folder", "x")
    (folder / "result.json").write_text("mine")
    with pytest.raises(RunError, match="not empty, and nothing is overwritten"):
        report.open_folder(folder, "x")
    with pytest.raises(RunError, match="is a file"):
        report.open_folder(folder / "result.json", "x")
    assert (folder / "result.json").read_text() == "mine"


def test_the_default_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert report.open_folder(None, "train-alexnet").parent.name == "bench-results"
