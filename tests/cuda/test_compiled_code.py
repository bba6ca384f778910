"""Every kernel of the project, compiled as on a GPU machine: it compiles, spills nothing, keeps its budget.

By NVRTC, as CuPy calls it, for every architecture; by nvcc for two targets.
"""

import functools

import pytest

from minialex.errors import DeviceError, KernelError
from minialex.kernels.cuda.inspection.budgets import excesses, read_budgets, write_budgets
from minialex.kernels.cuda.inspection.compile import (
    ARCHITECTURES,
    Cubin,
    Resources,
    choose_compiler,
    compile_source,
    compiler_version,
)
from minialex.kernels.cuda.inspection.disassemble import disassemble, find_disassembler
from minialex.kernels.cuda.inspection.kernels import inspect_source, sources_with
from minialex.kernels.cuda.inspection.loops import hottest_loop
from minialex.kernels.cuda.source import Source, project_sources

SOURCES = {f"{source.path.parent.name}/{source.path.name}": source for source in project_sources()}
TARGETS = [(each, real) for each in ARCHITECTURES for real in ("float32", "float64")]
FEW_TARGETS = [("sm_90", "float32"), ("sm_80", "float64")]


def require(compiler):
    try:
        choose_compiler(compiler)
    except DeviceError as error:
        pytest.skip(str(error))


def require_disassembler():
    try:
        find_disassembler()
    except DeviceError as error:
        pytest.skip(str(error))


def test_there_are_kernels():
    assert len(SOURCES) > 15
    assert {"conv2d", "matmul", "relu", "sgd"} <= {name.partition("/")[0] for name in SOURCES}


@pytest.mark.full
@pytest.mark.parametrize(("architecture", "real"), TARGETS, ids=map("-".join, TARGETS))
@pytest.mark.parametrize("name", SOURCES)
def test_with_nvrtc(name, architecture, real):
    """Each kernel that launch code knows is in the compiled file, without spills and within its budget."""
    require("nvrtc")
    source = SOURCES[name]
    cubin = compile_source(source, architecture, real, "nvrtc")
    assert set(cubin.resources) == set(source.signatures)

    @functools.cache
    def instructions():
        require_disassembler()
        return disassemble(cubin.code)

    def density(kernel):
        return hottest_loop(instructions()[kernel]).mix.density

    assert excesses(source.path.name, architecture, real, cubin, density, read_budgets()) == []


@pytest.mark.full
@pytest.mark.parametrize(("architecture", "real"), FEW_TARGETS, ids=map("-".join, FEW_TARGETS))
@pytest.mark.parametrize("name", SOURCES)
def test_with_nvcc(name, architecture, real):
    """The toolkit's compiler takes the same sources; here too nothing may spill."""
    require("nvcc")
    cubin = compile_source(SOURCES[name], architecture, real, "nvcc")
    assert set(cubin.resources) == set(SOURCES[name].signatures)
    assert {kernel: found.spills for kernel, found in cubin.resources.items() if found.spills} == {}


def test_every_kernel_has_a_budget_on_every_architecture():
    budgets = read_budgets()["kernels"]
    expected = {
        f"{source.path.name} {kernel} {real}"
        for source in SOURCES.values()
        for kernel in source.signatures
        for real in ("float32", "float64")
    }
    assert set(budgets) == expected
    assert all(set(each) == set(ARCHITECTURES) for each in budgets.values())


BUDGETS = {"compiler": "nvrtc 13.5", "kernels": {"a.cu dense float32": {"sm_90": [96, 8192, 0.9]}}}


@pytest.mark.parametrize(
    ("resources", "density", "says"),
    [
        (Resources(96, 0, 0, 0, 8192), 0.9, None),
        (Resources(80, 8, 0, 0, 4096), 0.95, None),
        (Resources(97, 0, 0, 0, 8192), 0.9, "97 registers (budget: 96)"),
        (Resources(96, 0, 0, 0, 8193), 0.9, "8193 bytes of shared memory (budget: 8192)"),
        (Resources(96, 0, 0, 4, 8192), 0.9, "4 bytes spilled (budget: 0)"),
        (Resources(96, 0, 0, 0, 8192), 0.89, "density 0.890 of the hottest loop (budget: 0.9)"),
        (Resources(96, 0, 0, 0, 8192), float("nan"), "density nan of the hottest loop (budget: 0.9)"),
    ],
)
def test_excesses(resources, density, says):
    cubin = Cubin(b"", {"dense": resources}, "nvrtc 13.5")
    found = excesses("a.cu", "sm_90", "float32", cubin, lambda name: density, BUDGETS)
    assert found == ([f"a.cu: dense, float32, sm_90: {says}"] if says else [])


def test_a_kernel_without_a_budget():
    cubin = Cubin(b"", {"new": Resources(16, 0, 0, 0, 0)}, "nvrtc 13.5")
    (found,) = excesses("a.cu", "sm_90", "float32", cubin, lambda name: 1.0, BUDGETS)
    assert "no budget; write it with: minialex kernels inspect --write-budgets" in found


def test_another_compiler_is_held_to_no_spills_alone():
    cubin = Cubin(b"", {"dense": Resources(255, 0, 0, 0, 9000), "x": Resources(1, 0, 4, 0, 0)}, "nvrtc 14.0")
    (found,) = excesses("a.cu", "sm_90", "float32", cubin, lambda name: 0.0, BUDGETS)
    assert found == "a.cu: x, float32, sm_90: 4 bytes spilled (budget: 0)"


PRODUCT = """
typedef REAL real;
extern "C" __global__ void __launch_bounds__(128) product(const real* __restrict__ x, real* y, int n) {
    real sum = 0;
    #pragma unroll 8
    for (int i = 0; i < n; i++) sum += x[i] * x[n + i];
    y[threadIdx.x] = sum;
}
"""


@pytest.fixture
def product(tmp_path):
    (tmp_path / "product.cu").write_text(PRODUCT)
    return Source(tmp_path / "here.py", "product.cu")


@pytest.mark.full
@pytest.mark.parametrize("compiler", ["nvrtc", "nvcc"])
def test_a_kernel_is_inspected(product, compiler, tmp_path):
    """16 loads of 8 multiply-adds, as the source says."""
    require(compiler)
    require_disassembler()
    (found,) = inspect_source(product, "sm_90", "float32", compiler)
    assert found.compiler == compiler_version(compiler)
    assert (found.name, found.threads, found.loop.is_loop) == ("product", 128, True)
    assert (found.loop.mix.multiply_adds, found.loop.mix.loads) == (8, {("global", 4): 16})
    assert found.occupancy.share == 1.0
    write_budgets([found], tmp_path / "budgets.json")
    written = read_budgets(tmp_path / "budgets.json")
    assert written["compiler"] == found.compiler
    assert written["kernels"] == {
        "product.cu product float32": {"sm_90": [found.resources.registers, 0, None]}
    }
    (double,) = inspect_source(product, "sm_90", "float64", compiler)
    assert double.loop.mix.loads == {("global", 8): 16}


@pytest.mark.full
@pytest.mark.parametrize("compiler", ["nvrtc", "nvcc"])
def test_a_source_that_does_not_compile(tmp_path, compiler):
    require(compiler)
    path = tmp_path / "wrong.cu"
    path.write_text('extern "C" __global__ void wrong(int n) {\n    n = missing;\n}\n')
    with pytest.raises(
        KernelError, match=r"wrong.cu does not compile for sm_80: .*wrong.cu\(2\): error.*missing"
    ):
        compile_source(Source(path, "wrong.cu"), "sm_80", "float32", compiler)


def test_finding_kernels_by_name():
    ((source, names),) = sources_with(["relu_forward"])
    assert (source.path.name, names) == ("relu.cu", ["relu_forward"])
    assert [names for _, names in sources_with(["relu"])] == [["relu_forward", "relu_mask", "relu_backward"]]
    assert len(sources_with([])) == len(SOURCES)
    with pytest.raises(KernelError, match="no CUDA kernel, file or operation 'nothing'"):
        sources_with(["relu", "nothing"])
