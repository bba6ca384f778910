"""`minialex gradcheck`, run as a user runs it."""

import json
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner

from minialex.availability import usable_devices
from minialex.checking.kernels import compositions, suite
from minialex.cli import cli
from minialex.kernels import list_kernels
from minialex.models import list_models

WRONG = """
import numpy as np
from minialex.kernels import kernel

@kernel("relu.backward", algo="mine", rank=None)
def backward(g, mask):
    bits = np.unpackbits(mask.view(np.uint8), count=g.size, bitorder="little")
    return g * bits.reshape(g.shape) * {factor}

@kernel("relu.forward", algo="mine")
def forward(x):
    return np.maximum(x, 0)
"""


@pytest.fixture
def plugin(tmp_path):
    """Write a plug-in whose ReLU gradient is multiplied by a factor."""

    def write(factor):
        path = tmp_path / "mine.py"
        path.write_text(WRONG.format(factor=factor))
        return path

    return write


def test_one_operation_as_a_table(minialex):
    done = minialex("gradcheck", "--op", "relu", "--device", "cpu")
    assert done.returncode == 0, done.stdout
    lines = done.stdout.splitlines()
    assert lines[0].split() == [
        "operation",
        "kernel",
        "order",
        "cases",
        "compared",
        "zeros",
        "worst",
        "allowed",
        "kinks",
        "time",
    ]
    assert [line.split()[:4] for line in lines[1:7]] == [
        ["relu", "cpu,", kernel, order]
        for kernel in ("one-pass", "plain", "reference")
        for order in ("1", "2")
    ]
    assert lines[-1] == "6 passed, 0 failed"
    # One of the cases has an element at 0, on which one output depends: that is skipped and counted.
    assert [line.split()[9] for line in lines[1:7]] == ["1"] * 6


def test_json(minialex):
    done = minialex("gradcheck", "--op", "linear", "--kernel", "blas", "--json", "--seed", 3)
    answer = json.loads(done.stdout)
    assert answer["passed"] is True
    assert answer["seed"] == 3
    first, second = answer["rows"]
    assert (first["operation"], first["kernel"], first["order"]) == ("linear", "cpu, blas", 1)
    assert second["order"] == 2
    # (3, 4) and (5, 4) and (5,) give 15 outputs of 37 inputs; (2, 6) and (3, 6) give 6 of 30.
    assert first["compared"] + first["zeros"] == 15 * 37 + 6 * 30
    assert first["unchecked"] is False
    assert first["reason"] is None
    assert 0 < first["worst_error"] < 1e-9
    assert first["mode"] == "jacobian"


def test_quick_is_labelled(minialex):
    done = minialex("gradcheck", "--op", "log", "--quick", "--json")
    assert {row["mode"] for row in json.loads(done.stdout)["rows"]} == {"directions"}
    # Along a dense direction the element of relu's second case that lies at 0 would always meet its kink.
    assert minialex("gradcheck", "--op", "relu", "--quick").returncode == 0
    assert "random directions" in minialex("gradcheck", "--op", "tanh", "--quick").stdout


def test_right_plugin_passes(minialex, plugin):
    done = minialex("gradcheck", "--plugin", plugin("1"), "--kernel", "mine")
    assert done.returncode == 0, done.stdout
    assert done.stdout.splitlines()[-1] == "2 passed, 0 failed"


def test_wrong_plugin_is_found_and_explained(minialex, plugin):
    done = minialex("gradcheck", "--plugin", plugin("1.0005"), "--kernel", "mine")
    assert done.returncode == 1
    assert "relu" in done.stdout
    assert "a constant factor of 1.0005" in done.stdout
    assert "to reproduce" in done.stdout
    # Its second derivative is that of what it computes: consistent with itself, but not the operation's.
    assert "is not the reference kernel's" in done.stdout
    assert done.stdout.splitlines()[-1] == "0 passed, 2 failed"
    assert "Traceback" not in done.stderr


def test_a_function_composed_of_others(minialex):
    rows = json.loads(minialex("gradcheck", "--op", "gelu", "--json").stdout)["rows"]
    assert [(row["operation"], row["order"]) for row in rows] == [("gelu", 1), ("gelu", 2)]


@pytest.mark.full
def test_a_model(minialex):
    done = minialex("gradcheck", "--model", "alexnet_mnist28_bn", "--json")
    rows = json.loads(done.stdout)["rows"]
    assert [(row["operation"], row["order"]) for row in rows] == [
        ("alexnet_mnist28_bn", 1),
        ("alexnet_mnist28_bn", 2),
    ]
    # Two directions in each of 26 parameters (8 weights, 8 biases, 5 pairs of the norms) and the images.
    assert rows[0]["compared"] + rows[0]["skipped"] == 2 * (8 + 8 + 10 + 1)


def test_what_is_not_there(assert_refused, plugin):
    assert_refused("gradcheck", "--op", "conv3d", says=("--op", "conv3d", "conv2d", "gelu"), code=2)
    assert_refused("gradcheck", "--op", "gelu", "--kernel", "plain", says="gelu is composed of other", code=2)
    assert_refused("gradcheck", "--op", "adam", says=("--op", "adam"), code=2)
    assert_refused("gradcheck", "--kernel", "magic", says=("--kernel", "magic", "im2col"), code=2)
    assert_refused("gradcheck", "--kernel", "numpy", says="'numpy' is called 'plain' now; there are", code=2)
    assert_refused(
        "gradcheck", "--op", "relu", "--kernel", "im2col", says=("im2col", "--op relu", "one-pass"), code=2
    )
    assert_refused("gradcheck", "--device", "tpu", says=("--device", "tpu", "cpu, cuda, cuda-host"), code=2)
    assert_refused("gradcheck", "--model", "vgg", says=("--model", "vgg", "alexnet_caffe"), code=2)
    assert_refused("gradcheck", "--model", "alexnet", "--op", "relu", says=("--model", "--op"), code=2)
    assert_refused("gradcheck", "--explain", "conv3d", says=("--explain", "conv3d", "conv2d"), code=2)
    assert_refused("gradcheck", "--explain", "relu", "--html", "a.html", says=("--explain", "--html"), code=2)
    assert_refused("gradcheck", "--explain", "relu", "--kernel", "plain", says="leave out --kernel", code=2)
    assert_refused("gradcheck", "--explain", "relu", "--json", says="leave out --json", code=2)
    assert_refused("gradcheck", "--plugin", "nowhere.py", says="nowhere.py", code=2)
    assert_refused("gradcheck", "--seed", -1, says="--seed", code=2)
    assert_refused("gradcheck", "--html", "no/such/folder/a.html", says="folder", code=2)


def test_a_device_that_cannot_be_used(assert_refused):
    if "cuda" in usable_devices():
        pytest.skip("only a system has no GPU that cannot be used")
    assert_refused("gradcheck", "--device", "cuda", says=("--device", "cuda", "available: cpu"), code=2)


NARROW = """
import numpy as np
from minialex.kernels import find_kernel, kernel


def conv2d(direction):
    return find_kernel(f"conv2d.{{direction}}", algo="reference").function


def five(*arrays, call):
    return call.kernel_size == (5, 5) or "windows of 5 x 5 only"


@kernel("conv2d.forward", algo="five", supports=five)
def forward(*arrays, call):
    return conv2d("forward")(*arrays, call=call) * {factor}


@kernel("conv2d.input_grad", algo="five", supports=five)
def input_grad(*arrays, call):
    return conv2d("input_grad")(*arrays, call=call) * {factor}


@kernel("conv2d.weight_grad", algo="five", supports=five)
def weight_grad(*arrays, call):
    return conv2d("weight_grad")(*arrays, call=call) * {factor}


@kernel("softmax.backward", algo="never", supports=lambda g, y, axis: "only on Sundays")
def never(g, y, axis):
    raise AssertionError
"""


@pytest.fixture
def narrow(tmp_path):
    """A plug-in for windows of 5 x 5, which no case of conv2d has, with all products times a factor."""

    def write(factor):
        path = tmp_path / "narrow.py"
        path.write_text(NARROW.format(factor=factor))
        return path

    return write


def test_cases_are_drawn_for_a_kernel_that_supports_no_other(minialex, narrow):
    # Hypothesis would leave its folder where the command runs.
    folder = narrow("1").parent
    done = minialex("gradcheck", "--plugin", "narrow.py", "--kernel", "five", "--quick", "--json", cwd=folder)
    answer = json.loads(done.stdout)
    assert done.returncode == 0, answer
    assert answer["passed"] is True
    for row in answer["rows"]:
        assert row["cases"] == row["drawn"] == 4
        # Five examples, with and without ReLU behind them, and "same" padding.
        assert row["refused"] == 11
        assert row["compared"] > 0
    assert [path.name for path in folder.iterdir() if path.name != "__pycache__"] == ["narrow.py"]


def test_a_factor_in_all_directions_is_found(minialex, narrow):
    # Its gradients are right for what it computes, which is no convolution.
    done = minialex("gradcheck", "--plugin", narrow("1.01"), "--kernel", "five", "--quick")
    assert done.returncode == 1
    assert "a constant factor of 1.01" in done.stdout
    assert done.stdout.splitlines()[-1] == "0 passed, 2 failed"


CUDA = """
from minialex.kernels.cuda import Source, blocks_for, cuda_kernel

SOURCE = Source(__file__, "five.cu")


def supports(x, weight, bias, *, call):
    if call.kernel_size != (5, 5) or any(map(any, call.padding)) or call.groups != 1 or bias is not None:
        return "windows of 5 x 5 only, without padding, groups and bias"
    return (call.stride, call.dilation) == ((1, 1), (1, 1)) or "no stride and no dilation"


@cuda_kernel("conv2d.forward", algo="five", supports=supports)
def forward(device, x, weight, bias, *, call):
    x, weight = device.contiguous(x), device.contiguous(weight)
    n, c, h, w = x.shape
    y = device.empty((n, len(weight), h - 4, w - 4), x.dtype)
    sizes = (c, h, w, len(weight), y.size)
    device.launch(SOURCE["five"], blocks_for(y.size, 64), 64, x, weight, y, *sizes)
    return y
"""
CUDA_SOURCE = """
#include "real.cuh"

extern "C" __global__ void
five(const real* x, const real* weight, real* y, int c, int h, int w, int outputs, int n)
{
    int i = blockIdx.x * blockDim.x + threadIdx.x, q = w - 4, p = h - 4;
    if (i >= n)
        return;
    int image = i / (q * p * outputs), output = i / (q * p) % outputs, row = i / q % p, column = i % q;
    real sum = 0;
    for (int k = 0; k < c; k++)
        for (int a = 0; a < 5; a++)
            for (int b = 0; b < 5; b++)
                sum += x[((image * c + k) * h + row + a) * w + column + b]
                       * weight[((output * c + k) * 5 + a) * 5 + b];
    y[i] = sum * (real)FACTOR;
}
"""


@pytest.mark.full
@pytest.mark.needs_gxx
@pytest.mark.parametrize("factor", ["1", "1.01"])
def test_a_cuda_kernel_for_few_calls(minialex, tmp_path, factor):
    (tmp_path / "five.py").write_text(CUDA)
    (tmp_path / "five.cu").write_text(CUDA_SOURCE.replace("FACTOR", factor))
    done = minialex("gradcheck", "--plugin", "five.py", "--kernel", "five", "--quick", "--json", cwd=tmp_path)
    answer = json.loads(done.stdout)
    assert answer["passed"] is (factor == "1")
    assert done.returncode == (factor != "1")
    for row in answer["rows"]:
        assert row["unchecked"] is False
        assert (row["error"] is None) == (factor == "1")
        assert (row["compared"] > 0) == (factor == "1")


@pytest.mark.full
def test_a_kernel_for_which_nothing_is_found_is_unchecked(minialex, narrow):
    done = minialex("gradcheck", "--plugin", narrow("1"), "--kernel", "never", "--quick", "--json")
    answer = json.loads(done.stdout)
    assert done.returncode == 1
    assert answer["passed"] is False
    for row in answer["rows"]:
        assert (row["cases"], row["compared"], row["refused"]) == (0, 0, 3)
        assert (row["passed"], row["unchecked"], row["error"]) == (False, True, None)
        assert "softmax.backward supports: only on Sundays" in row["reason"]


def test_files_of_results(minialex, tmp_path, plugin):
    done = minialex(
        "gradcheck",
        "--plugin",
        plugin("1.0005"),
        "--op",
        "relu",
        "--kernel",
        "mine",
        "--junit",
        tmp_path / "a.xml",
        "--html",
        tmp_path / "a.html",
    )
    assert done.returncode == 1, done.stderr
    suite_element = ElementTree.parse(tmp_path / "a.xml").getroot()[0]
    assert suite_element.get("tests") == suite_element.get("failures") == "2"
    assert suite_element[0].get("classname") == "relu"
    assert suite_element[0].get("name") == "cpu, mine, order 1"
    assert "a constant factor of 1.0005" in suite_element[0].find("failure").text
    page = (tmp_path / "a.html").read_text(encoding="utf-8")
    assert "a constant factor of 1.0005" in page


def test_the_default_goes_through_everything(monkeypatch):
    """Kernels of usable devices, compositions, models but the deep ones. That they are right is below."""
    monkeypatch.setattr(suite, "run", lambda task: task.row)

    rows = json.loads(CliRunner().invoke(cli, ["gradcheck", "--json", "--jobs", "1"]).stdout)["rows"]

    found = {(row["operation"], row["kernel"]) for row in rows if not row["kernel"].startswith("widths")}
    assert found == {
        (entry.operation.split(".")[0], f"{entry.device}, {entry.algorithm}")
        for entry in list_kernels()
        if entry.device in usable_devices() and entry.operation.split(".")[0] not in suite.WITHOUT_GRADIENT
    } | {(name, "a composition") for name in compositions.names()}
    models = [row["operation"] for row in rows if row["kernel"].startswith("widths") and row["order"] == 1]
    deep = [name for name in list_models() if name not in models]
    assert {"alexnet", "lenet5", "vgg16", "resnet18", "squeezenet1_0"} <= {*models}
    assert {"googlenet", "resnet50", "densenet121", "mobilenet_v2", "shufflenet_v2_x1_0"} <= {*deep}


@pytest.mark.full
def test_processes_give_the_same_rows_in_the_same_order(minialex, plugin):
    # Forty rows: enough for two processes. One kernel is a plug-in's, and wrong: its error arrives whole.
    many = ("gradcheck", "--quick", "--device", "cpu", "--plugin", plugin("1.0005"), "--json")
    one, two = (json.loads(minialex(*many, "--jobs", jobs).stdout)["rows"] for jobs in (1, 2))
    assert len(one) >= 40
    for row in (*one, *two):
        del row["seconds"]
    assert one == two
    wrong = [row for row in two if not row["passed"]]
    assert [(row["operation"], row["kernel"], row["order"]) for row in wrong] == [
        ("relu", "cpu, mine", 1),
        ("relu", "cpu, mine", 2),
    ]
    assert all("to reproduce" in row["error"] for row in wrong)


def test_the_first_run_says_that_it_compiles(minialex, tmp_path, monkeypatch):
    monkeypatch.setenv("MINIALEX_CACHE_DIR", str(tmp_path / "empty"))
    done = minialex("gradcheck", "--op", "exp", "--kernel", "reference", "--json")
    assert "keeps no compiled code yet: this run compiles, and takes longer" in done.stderr
    assert json.loads(done.stdout)["passed"]


@pytest.mark.full
def test_every_kernel_of_the_processor_is_right(minialex):
    assert_right(minialex("gradcheck", "--device", "cpu", "--json"), "jacobian")


@pytest.mark.full
@pytest.mark.needs_gxx
def test_every_kernel_of_cuda_host_is_right(minialex):
    """Along random directions: each of these kernels is held to the reference by tests of its own."""
    assert_right(minialex("gradcheck", "--device", "cuda-host", "--quick", "--json"), "directions")


def assert_right(done, mode):
    rows = json.loads(done.stdout)["rows"]
    assert [row["error"] or row["reason"] for row in rows if not row["passed"]] == []
    assert all(row["cases"] and row["compared"] for row in rows)
    # The others compute in float32 only.
    assert {row["mode"] for row in rows if row["dtype"] == "float64"} == {mode}
    assert {row["mode"] for row in rows if row["dtype"] == "float32"} <= {"reference"}


@pytest.mark.full
@pytest.mark.parametrize(
    "name", [name for name in suite.models_by_default() if not name.startswith(("vgg", "squeezenet1_0"))]
)
def test_every_kind_of_model_is_right(name):
    """All gradients of the others are compared with torchvision's or PyTorch's, in tests/oracles and
    tests/benchmarking.
    """
    rows = list(suite.check_model(name))

    assert [row.order for row in rows] == [1, 2]
    assert [row.error for row in rows] == [None, None]
    assert all(row.compared > 0 for row in rows)
