"""The checker on the project's kernels: it finds nothing in them, and each fault that is put into them."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from mutations import Fault, faults, faulty_module, findings, is_harmless, project_faults

from minialex.checking.kernels import races as kernel_check
from minialex.checking.testing.calls import kernel_calls
from minialex.cli import cli
from minialex.errors import KernelError
from minialex.kernels import cuda_host, list_kernels
from minialex.kernels.contract import examples as registered
from minialex.kernels.contract.examples import Example, case, changed_by, examples, normal
from minialex.kernels.contract.registry import unregister
from minialex.kernels.cuda import gemm
from minialex.kernels.cuda.registration import cuda_kernel
from minialex.kernels.cuda.source import Source

pytestmark = pytest.mark.needs_gxx

KERNELS = list_kernels(device="cuda-host")
FAULTS = project_faults()
# Compiled with all their faults, the other sources take minutes.
QUICK = ("max_pool2d.cu", "2_shared_tile.cu")
# A round too many may do nothing: its threads find nothing to do, or compute what nobody stores.
_MAY_BE_HARMLESS = ("guard weakened", "loop one too far")
_FOLDER = Path(__file__).parent / "gallery"


# Instrumented, these take a second or several to compile. A product in tiles is among the others.
_LONG = ("tensor-core", "implicit_registers", "implicit_packed", "implicit_shared")


def _kernels():
    for entry in KERNELS:
        is_long = entry.algorithm in _LONG or (
            entry.algorithm == "double-buffered" and entry.operation != "matmul.forward"
        )
        yield pytest.param(entry, id=entry.name, marks=(pytest.mark.full,) if is_long else ())


@pytest.mark.parametrize("entry", list(_kernels()))
def test_every_kernel_passes_at_awkward_sizes(entry):
    result = kernel_check.check_kernel(entry)

    assert result.launches > 0
    assert result.findings == [], "\n".join(f"{finding} in {call}" for call, finding in result.findings)


_PRODUCTS = [entry for entry in KERNELS if entry.operation.split(".")[0] in ("matmul", "linear")]


@pytest.mark.full
@pytest.mark.parametrize("entry", _PRODUCTS, ids=lambda entry: entry.name)
def test_large_tiles_pass(entry, monkeypatch):
    """Products that are large enough for these would take too long."""
    monkeypatch.setattr(gemm, "ENOUGH_BLOCKS", 1)

    assert kernel_check.check_kernel(entry).findings == []


@pytest.mark.full
@pytest.mark.parametrize(
    "entry",
    [entry for entry in KERNELS if entry.dtypes is None or "float64" in entry.dtypes],
    ids=lambda entry: entry.name,
)
def test_every_kernel_passes_in_float64(entry):
    assert kernel_check.check_kernel(entry, np.float64).findings == []


def _sources():
    for source in FAULTS:
        marks = () if source.path.name in QUICK else (pytest.mark.full,)
        yield pytest.param(source, id=source.path.name, marks=marks)


@pytest.mark.parametrize("source", list(_sources()))
def test_every_fault_in_a_source_is_found(source):
    # As many as compile at once in bearable time.
    groups = [FAULTS[source][i : i + 9] for i in range(0, len(FAULTS[source]), 9)]

    missed = [
        f"{fault}: {fault.after.strip()}"
        for group in groups
        for fault in group
        if not findings(fault, group) and not (fault.kind in _MAY_BE_HARMLESS and is_harmless(fault, group))
    ]

    assert not missed, "\n".join(missed)


def test_there_are_faults_of_each_kind_in_many_sources():
    quick = [fault for source in FAULTS for fault in FAULTS[source] if source.path.name in QUICK]
    everywhere = [fault for source in FAULTS for fault in FAULTS[source]]

    assert len(quick) >= 10
    assert len(everywhere) >= 60
    assert {fault.kind for fault in everywhere} >= {
        "barrier deleted",
        "guard weakened",
        "index transposed",
        "loop one too far",
        "store to shared memory deleted",
    }


_REDUCTIONS = Source(_FOLDER / "reductions.cu", "reductions.cu")
_IN_HEADER = tuple(fault for fault in faults(_REDUCTIONS) if fault.file.endswith("/reduce.cuh"))
_SHAPES = {"rows_twice": (128, 2), "columns_twice": (32, 8)}


def _check_reduction(name: str, kernel):
    width, height = _SHAPES[name]
    x = np.random.default_rng(0).random(width * height, np.float32)
    return cuda_host.check(kernel, 1, (width, height), (x, np.empty_like(x), np.int32(x.size)))


def test_reductions_pass():
    module = cuda_host.load(source_text=_REDUCTIONS.text)
    for name in _SHAPES:
        report = _check_reduction(name, module[name])
        assert report.findings == [], str(report)


@pytest.mark.parametrize("fault", _IN_HEADER, ids=str)
def test_every_fault_in_the_reductions_is_found(fault: Fault):
    module = faulty_module(_IN_HEADER, np.dtype(np.float32))
    number = _IN_HEADER.index(fault)

    reports = [_check_reduction(name, module[f"fault_{number}::{name}"]) for name in _SHAPES]

    assert any(report.findings for report in reports), f"{fault}: {fault.after.strip()}"


def test_every_operation_has_calls():
    for operation in {entry.operation for entry in KERNELS}:
        calls = list(kernel_calls(operation, "blocks"))
        assert len(calls) >= 2
        for call in calls:
            assert any(entry.refusal(*call.arrays, **call.parameters) is None for entry in KERNELS)


def test_calls_agree_with_the_reference():
    """They are calls that the operations allow: the reference takes each of the small ones."""
    for entry in list_kernels(device="cpu"):
        if entry.algorithm == "reference":
            call = next(iter(kernel_calls(entry.operation, "blocks", np.float64)))
            results = entry(*call.arrays, **call.parameters)
            assert (results is None) == bool(changed_by(entry.operation)), entry.operation


# ---- The command ----


@pytest.fixture
def faulty_kernel(tmp_path, monkeypatch):
    """A registered kernel that writes one element too many."""
    (tmp_path / "swish.cu").write_text(
        'extern "C" __global__ void swish(const float* x, float* y, int n)\n'
        "{\n"
        "    int i = blockIdx.x * blockDim.x + threadIdx.x;\n"
        "    if (i <= n) y[i] = i < n ? x[i] / (1 + exp(-x[i])) : 0;\n"
        "}\n"
    )
    source = Source(tmp_path / "any.py", "swish.cu")

    @cuda_kernel("swish.forward", algo="one-pass", devices=("cuda-host",))
    def swish(device, x):
        y = device.empty(x.shape, x.dtype)
        device.launch(source["swish"], 4, 256, x, y, x.size)
        return y

    registered.operations_with_examples()  # What is loaded later would go with the copy.
    monkeypatch.setattr(registered, "_families", dict(registered._families))

    @examples("swish.forward", blocks=[case((777,))])
    def swish_examples(x):
        yield Example("swish.forward", (normal(x),))

    yield tmp_path / "swish.cu"
    unregister("swish.forward", algo="one-pass", device="cuda-host")


def _run(*arguments: str):
    return CliRunner().invoke(cli, ["kernels", "check", *arguments])


def test_the_command_reports_a_fault_and_exits_with_1(faulty_kernel):
    result = _run("swish")

    assert result.exit_code == 1
    assert f"{faulty_kernel}:4: out-of-bounds" in result.output
    assert "swish.forward((777,))" in result.output


def test_the_command_as_json(faulty_kernel):
    result = _run("swish.forward", "--json")

    [kernel] = json.loads(result.output)
    assert result.exit_code == 1
    assert [(each["kind"], each["line"]) for each in kernel["findings"]] == [("out-of-bounds", 4)]
    stores = [line for line in kernel["lines"] if line["operation"] == "store"]
    # 777 floats, 128 bytes a warp: 24 times 4 sectors, and 2 of the last 9 floats. Each call is made twice.
    assert [(line["sectors"], line["ideal_sectors"]) for line in stores] == [(2 * 98, 2 * 98)]


def test_the_command_passes_a_correct_kernel():
    result = _run("relu", "--lines")

    assert result.exit_code == 0
    assert "3 kernels" in result.output
    assert "no findings" in result.output
    assert "relu.cu:" in result.output


def test_the_command_lists_the_algorithms_there_are():
    error = _run("relu", "--algo", "cuda").exception
    assert str(error).endswith("'cuda' is called 'one-pass' now; there are: one-pass")


def test_the_command_checks_the_kernel_of_a_plugin(tmp_path):
    plugin = tmp_path / "mine.py"
    plugin.write_text(
        "from minialex.kernels import relu\n"
        "from minialex.kernels.cuda import Source, cuda_kernel\n"
        "SOURCE = Source(relu.__file__, 'relu.cu')\n"
        "@cuda_kernel('relu.forward', algo='mine')\n"
        "def forward(device, x):\n"
        "    x = device.contiguous(x)\n"
        "    y = device.empty(x.shape, x.dtype)\n"
        "    device.launch_over(SOURCE['relu_forward'], x.size, x, y, x.size)\n"
        "    return y\n"
    )
    try:
        result = _run("relu", "--algo", "mine", "--plugin", str(plugin))
    finally:
        for device in ("cuda", "cuda-host"):
            unregister("relu.forward", algo="mine", device=device)

    assert result.exit_code == 0, result.output
    assert "relu.forward[cuda-host, mine]" in result.output
    assert "no findings" in result.output


@pytest.mark.parametrize("arguments", [(), ("relu", "--all"), ("nothing",), ("relu", "--algo", "nothing")])
def test_the_command_refuses_what_it_cannot_check(arguments):
    result = _run(*arguments)

    assert result.exit_code != 0
    assert isinstance(result.exception, KernelError | SystemExit)


@pytest.mark.parametrize("sanitizer", [pytest.param("address", marks=pytest.mark.full), "undefined"])
def test_sanitizers_find_nothing_in_a_correct_kernel(sanitizer):
    result = _run("softmax.forward", "--sanitize", sanitizer)

    assert result.exit_code == 0, result.output
    assert "nothing found" in result.output
