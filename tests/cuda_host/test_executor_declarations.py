"""Variables in shared, global and constant memory, and what CUDA's compilers define, by declarations.cu."""

import re
from pathlib import Path

import numpy as np
import pytest

from minialex.errors import KernelError
from minialex.kernels import cuda_host

pytestmark = pytest.mark.needs_gxx

SOURCE = Path(__file__).parent / "declarations.cu"
INSTANCES = ("aligned_bytes<float>", "aligned_bytes<double>")
REVERSING = re.findall(r"__global__ void (\w+)\(const float\* x, float\* y\)", SOURCE.read_text())


@pytest.fixture(scope="module")
def module():
    return cuda_host.load(SOURCE, instances=INSTANCES)


@pytest.mark.full
@pytest.mark.needs_cupy
def test_nvrtc_takes_the_same_source():
    from cupy.cuda import nvrtc

    instances = "".join(
        f"template __global__ void aligned_bytes({t} const*, {t}*);\n" for t in ("float", "double")
    )
    program = nvrtc.createProgram(SOURCE.read_text() + instances, SOURCE.name, (), ())
    flags = ("--gpu-architecture=sm_75", "-ftz=true", "--device-as-default-execution-space")
    try:
        nvrtc.compileProgram(program, flags)
    except nvrtc.NVRTCError:
        pytest.fail(nvrtc.getProgramLog(program))
    assert nvrtc.getCUBIN(program).startswith(b"\x7fELF")


# ---- Shared memory ------------------------------------------------------------------


@pytest.mark.parametrize("name", REVERSING)
def test_shared_memory_however_it_is_declared(module, name):
    x = np.random.default_rng(0).standard_normal(48).astype(np.float32)
    y = np.zeros_like(x)

    module[name](1, 48, (x, y), shared_mem=48 * 8)

    np.testing.assert_array_equal(y, x[::-1])


def test_a_template_has_dynamic_shared_memory_of_its_type(module):
    for dtype, name in ((np.float32, "float"), (np.float64, "double")):
        x = np.random.default_rng(1).standard_normal(48).astype(dtype)
        y = np.zeros_like(x)
        module[f"aligned_bytes<{name}>"](1, 48, (x, y), shared_mem=48 * x.itemsize)
        np.testing.assert_array_equal(y, x[::-1])


def test_the_checker_knows_shared_memory_outside_of_functions(module):
    y = np.zeros(4, np.float32)

    report = cuda_host.check(module["unwritten"], 1, 4, (y,), shared_mem=16)

    assert {finding.kind for finding in report.findings} == {"uninitialised"}
    named = {re.search(r"reads (.*?) at", str(finding))[1] for finding in report.findings}
    assert named == {"fixed", "dynamic shared memory"}


@pytest.mark.parametrize(
    "name", ["volatile_before", "rows_of_two", "in_a_device_template", "outside_of_functions"]
)
def test_the_checker_finds_nothing_in_right_kernels(module, name):
    x = np.arange(48, dtype=np.float32)
    y = np.zeros_like(x)

    report = cuda_host.check(module[name], 1, 48, (x, y), shared_mem=48 * 8)

    assert report.findings == []
    np.testing.assert_array_equal(y, x[::-1])


def test_an_initial_value_in_shared_memory_is_refused():
    text = "\n__global__ void k(float* y)\n{\n    __shared__ float s[2] = {1, 2};\n    *y = s[0];\n}\n"
    with pytest.raises(KernelError) as failure:
        cuda_host.load(source_text=text)
    assert str(failure.value) == (
        "<source_text>:4: a __shared__ variable cannot have an initial value: let a thread assign it"
    )


def test_lines_keep_their_numbers():
    text = (
        "extern __shared__\n  float\n  s[];\n__device__\n__constant__ float\n c[2];\n"
        "__global__ void k(float* y)\n{\n    extern\n    __shared__ float t[],\n    u[];\n"
        "    *y = missing;\n}\n"
    )
    with pytest.raises(KernelError, match=r"<source_text>:12:\d+: error: .*missing"):
        cuda_host.load(source_text=text)


# ---- Global and constant memory ------------------------------------------------------------------


def test_the_host_sets_variables_and_kernels_read_them(module):
    module.get_global("weights")[...] = [1, 10, 100, 1000]
    module.get_global("pairs")[1, 2, 1] = 2.5
    target = np.array([42], np.float32)
    module.get_global("pointer")[...] = target.ctypes.data
    structures = module.get_global("space::structures")
    structures[1, :4].view(np.int32)[...] = 8
    structures[1, 4:].view(np.float32)[...] = 0.25
    module.get_global("space::colours")[2] = 1
    y = np.zeros(9)

    module["read_globals"](1, 1, (y,))

    np.testing.assert_array_equal(y, [10, 2.5, 8, 15, 0.5, 42, 8.25, 1, 3])


def test_variables_have_the_type_and_the_shape_that_the_source_declares(module):
    assert {
        name: (array.dtype.name, array.shape)
        for name in module.global_names
        for array in [module.get_global(name)]
    } == {
        "weights": ("float32", (4,)),
        "pairs": ("float32", (2, 3, 2)),
        "first": ("int32", ()),
        "second": ("int32", (2,)),
        "counter": ("uint64", ()),
        "defined_later": ("int32", ()),
        "fixed_numbers": ("int16", (3,)),
        "number": ("float64", ()),
        "pointer": ("uint64", ()),
        "space::structures": ("uint8", (2, 8)),
        "space::colours": ("uint8", (3,)),
    }
    read_only = [name for name in module.global_names if not module.get_global(name).flags.writeable]
    assert read_only == ["fixed_numbers"]


def test_kernels_write_variables_and_the_host_reads_them(module):
    counter = module.get_global("counter")
    counter[...] = 2**40

    module["count"](20, 50, ())
    assert counter == 2**40 + 1000

    assert not cuda_host.check(module["count"], 2, 50, ()).findings  # it starts from the module's values
    assert module.get_global("counter") == 2**40 + 1100


def test_the_checker_watches_variables(module):
    module.get_global("weights")[...] = [1, 10, 100, 1000]
    y = np.zeros(1, np.float32)

    report = cuda_host.check(module["misuse"], 1, 4, (np.array([4], np.int32), y))

    begin = SOURCE.read_text().split("void misuse")[0].count("\n") + 1
    assert [(finding.kind, finding.line - begin) for finding in report.findings] == [
        ("const-write", 2),
        ("out-of-bounds", 3),
        ("race", 5),
    ]
    assert "writes weights[0], which is constant" in str(report.findings[0])
    assert "defined_later[0]" in str(report.findings[2])


def test_an_unknown_variable_is_said_with_those_there_are(module):
    with pytest.raises(
        KernelError, match=r"no __device__ or __constant__ variable 'c'; it has weights, pairs,"
    ):
        module.get_global("c")


@pytest.mark.parametrize("definition", ["typedef unsigned long long {};", "using {} = unsigned long long;"])
def test_a_source_has_integers_of_its_own_names(definition):
    text = f"""#include <math.h>
#ifdef __CUDACC_RTC__
{definition.format("uint64_t")}
typedef unsigned int uint32_t;
#endif
__device__ uint64_t total;
__global__ void k(unsigned long long* y) {{ atomicAdd(&total, uint64_t(uint32_t(1)) << 40); *y = total; }}"""
    y = np.zeros(1, np.uint64)

    cuda_host.load(source_text=text)["k"](1, 1, (y,))

    assert y[0] == 2**40


# ---- What a compiler for GPUs defines ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ((), [750, 7, 750, 13, 1, 1, 0]),
        pytest.param(("-arch=sm_80", "-ftz=false"), [800, 8, 800, 13, 1, 0, 0], marks=pytest.mark.full),
        pytest.param(("--gpu-architecture=compute_90a",), [900, 9, 900, 13, 1, 1, 1], marks=pytest.mark.full),
    ],
)
def test_definitions_are_those_of_the_architecture(options, expected):
    module = cuda_host.load(SOURCE, options=options, instances=INSTANCES)
    y = np.zeros(7, np.int32)

    module["definitions"](1, 1, (y,))

    np.testing.assert_array_equal(y, expected)


@pytest.mark.parametrize(("options", "branch"), [((), 7), (("-arch=sm_80",), 8), (("-arch=compute_120",), 9)])
def test_the_branch_of_an_architecture_is_chosen(options, branch):
    text = (
        "#if __CUDA_ARCH__ >= 900\n#error nine\n#elif __CUDA_ARCH__ >= 800\n#error eight\n"
        "#else\n#error seven\n#endif\n"
    )
    with pytest.raises(KernelError, match={7: "seven", 8: "eight", 9: "nine"}[branch]):
        cuda_host.load(source_text=text, options=options)


@pytest.mark.parametrize("name", ["sm_74", "80", "sm_80a", "", "sm_90x"])
def test_an_architecture_that_is_none(name):
    with pytest.raises(KernelError, match=rf"-arch must be one of sm_50, .*, or compute_.*, not {name}"):
        cuda_host.load(source_text="", options=(f"-arch={name}",))
