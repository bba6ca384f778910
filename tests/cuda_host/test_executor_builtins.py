"""CUDA's built-in functions on the executor: which there are, by CUDA's own list, and what they compute.

Each function of numbers is called with the same few hundred of them, edges first, and compared with what
builtin_values.py expects.
"""

import re
import subprocess
from collections import defaultdict
from pathlib import Path

import builtins_of_cuda
import numpy as np
import pytest
from builtin_values import COUNT, RESTRICTED, TYPES, expectation, samples

from minialex.errors import KernelError
from minialex.kernels import cuda_host
from minialex.kernels.cuda_host import compiler, unsupported

pytestmark = pytest.mark.needs_gxx

PROTOTYPES = builtins_of_cuda.read()
NEWEST = max(builtins_of_cuda.ARCHITECTURES)

# ---- Which there are ------------------------------------------------------------------

# Words that a source may well use itself, so that they are not refused by name; deprecated for years.
PLAIN_WORDS = {"all", "any", "ballot"}
# They take an enum cudaRoundMode, which is refused.
WITH_A_ROUNDING_MODE = {str(each) for each in PROTOTYPES if "enum cudaRoundMode" in each.parameters}


def _accepted(architecture: int) -> list[bool]:
    """Whether g++ takes a call of each prototype, with the executor's headers."""
    flags = compiler.read_options((f"-arch=sm_{architecture}",)).flags
    text = builtins_of_cuda.source(PROTOTYPES).replace("__device__ ", "")
    command = [*compiler.find_compiler()[0], *compiler.LANGUAGE, *flags, "-fmax-errors=0", "-march=native"]
    answer = subprocess.run(
        [*command, "-fsyntax-only", f"-I{compiler.RUNTIME}", "-x", "c++", "-"],
        input=f'#include "cuda_language.h"\n#line 1 "calls"\n{text}',
        capture_output=True,
        text=True,
        check=False,
    )
    wrong = {
        int(line)
        for line in re.findall(r"^calls:(\d+):\d+: .*(?:error|required from here)", answer.stderr, re.M)
    }
    return [number + 3 not in wrong for number in range(len(PROTOTYPES))]


def _refused_by_name(prototype, architecture: int) -> bool:
    try:
        unsupported.refuse(f'# 1 "a.cu"\nint x = {prototype.name}(1);\n', architecture)
    except KernelError:
        return True
    return False


@pytest.mark.parametrize(
    "architecture",
    [pytest.param(75, marks=pytest.mark.full), pytest.param(80, marks=pytest.mark.full), NEWEST],
)
def test_a_function_is_there_or_refused_by_name(architecture):
    there = _accepted(architecture)
    for prototype, is_there in zip(PROTOTYPES, there, strict=True):
        exists = prototype.architecture <= architecture
        refused = _refused_by_name(prototype, architecture)
        if prototype.name in PLAIN_WORDS or str(prototype) in WITH_A_ROUNDING_MODE:
            assert (is_there, refused) == (False, False), prototype
        elif exists:
            assert is_there != refused, prototype
        else:
            overloaded = any(other.name == prototype.name and other is not prototype for other in PROTOTYPES)
            assert not is_there, prototype
            assert refused or overloaded, prototype


def test_the_page_names_every_function_that_is_refused():
    page = (Path(__file__).parents[2] / "docs" / "cuda_host.md").read_text()
    section = page.partition("## Built-in functions")[2].partition("\n## ")[0]
    assert f"{len(PROTOTYPES):,} functions" in section
    spans = re.findall(r"`([\w*]+)`", " ".join(re.findall(r"^\| (.*?) \|", section, re.MULTILINE)))
    patterns = [re.escape(span).replace(r"\*", r"\w*") for span in spans]
    named = {
        each.name for each in PROTOTYPES if any(re.fullmatch(pattern, each.name) for pattern in patterns)
    }
    refused = {each.name for each in PROTOTYPES if _refused_by_name(each, NEWEST)}
    with_a_mode = {each.name for each in PROTOTYPES if str(each) in WITH_A_ROUNDING_MODE}
    absent = {"make_long4_32a", "make_ulong4_16a", "make_ulong4_32a"}
    assert named == refused | with_a_mode | PLAIN_WORDS | absent


@pytest.mark.full
@pytest.mark.needs_cupy
@pytest.mark.parametrize("architecture", builtins_of_cuda.ARCHITECTURES)
def test_nvrtc_has_every_function_of_the_list(architecture):
    from cupy.cuda import nvrtc

    # The headers declare them, NVRTC does not.
    absent = re.compile(r"make_(?:long4_32a|ulong4_16a|ulong4_32a)")
    there = [
        each for each in PROTOTYPES if each.architecture <= architecture and not absent.fullmatch(each.name)
    ]
    program = nvrtc.createProgram(builtins_of_cuda.source(there), "calls.cu", (), ())
    complaint = None
    try:
        flags = (f"--gpu-architecture=compute_{architecture}", "--device-as-default-execution-space")
        nvrtc.compileProgram(program, flags)
    except nvrtc.NVRTCError:
        complaint = nvrtc.getProgramLog(program)
    assert complaint is None, complaint


# ---- What they compute ------------------------------------------------------------------

# Functions of several threads, of memory, of time: language.cu and declarations.cu have kernels for them.
ELSEWHERE = re.compile(
    r"__shfl\w*|__(?:all|any|ballot|uni|match_any|match_all|reduce_\w+)_sync|__activemask|__syncwarp"
    r"|_*syncthreads\w*|__threadfence\w*|__nanosleep|__prof_trigger|clock|clock64|__trap"
    r"|printf|malloc|free|memcpy|memset|nanf?|r?normf?"
)
COMPUTING = [
    each
    for each in PROTOTYPES
    if not ELSEWHERE.fullmatch(each.name)
    and not _refused_by_name(each, NEWEST)
    and each.name not in PLAIN_WORDS
    and str(each) not in WITH_A_ROUNDING_MODE
]


def _groups():
    """Functions with the same parameters, which one kernel calls; those with restricted ones alone."""
    groups = defaultdict(list)
    for each in COMPUTING:
        groups[each.result, each.parameters, each.name if each.name in RESTRICTED else ""].append(each)
    return groups


GROUPS = _groups()


def _kernel(number: int, result: str, parameters: tuple[str, ...], prototypes) -> str:
    declared, passed = [], []
    for i, kind in enumerate(parameters):
        is_input = not kind.endswith("*") or kind.startswith("const")
        declared.append(f"{'const ' if is_input else ''}{kind.removeprefix('const ').rstrip('*')}* p{i}")
        passed.append(
            f"p{i}[i]" if not kind.endswith("*") else f"p{i} + i" if is_input else f"p{i} + %d * n + i"
        )
    if result != "void":
        declared.append(f"{result}* y")
    lines = []
    for place, prototype in enumerate(prototypes):
        call = f"{prototype.name}({', '.join(passed)})".replace("%d", str(place))
        lines.append(f"    {f'y[{place} * n + i] = ' if result != 'void' else ''}{call};")
    body = "\n".join(lines)
    return (
        f'extern "C" __global__ void group_{number}({", ".join(declared)})\n{{\n'
        f"    const int i = blockIdx.x * blockDim.x + threadIdx.x, n = gridDim.x * blockDim.x;\n{body}\n}}\n"
    )


@pytest.fixture(scope="module", params=["-O0", pytest.param("-O3", marks=pytest.mark.full)])
def module(request):
    kernels = [
        _kernel(number, result, parameters, prototypes)
        for number, ((result, parameters, _), prototypes) in enumerate(GROUPS.items())
    ]
    return cuda_host.load(
        source_text="\n".join(kernels), options=(f"-arch=sm_{NEWEST}", "-ftz=false", request.param)
    )


def _call(module, number: int):
    """The arguments that the functions of a group were called with, and the results of each."""
    (result, parameters, restricted), prototypes = list(GROUPS.items())[number]
    limits = RESTRICTED.get(restricted, {})
    given, passed = [], []
    for i, kind in enumerate(parameters):
        dtype, shape = TYPES[kind.removeprefix("const ").rstrip("*")]
        values = limits[i](dtype, i) if i in limits else samples(dtype, shape, i)
        given.append(values)
        is_result = kind.endswith("*") and not kind.startswith("const")
        passed.append(np.stack([values] * len(prototypes)) if is_result else values)
    if result != "void":
        dtype, shape = TYPES[result]
        passed.append(np.zeros((len(prototypes), COUNT, *shape), dtype))
    module[f"group_{number}"](COUNT // 64, 64, tuple(passed))
    left = [
        array
        for array, kind in zip(passed, parameters, strict=False)
        if kind.endswith("*") and "const" not in kind
    ]
    returned = [passed[-1]] if result != "void" else []
    return given, [[array[place] for array in (*returned, *left)] for place in range(len(prototypes))]


# Units in the last place by which the two may differ, by the longest of these that the name begins with: more
# where SciPy is no more exact than that, or where both are the result of several functions.
ULPS = {
    "": 4,
    "pow": 8,
    "normcdf": 8,
    "rnorm4d": 8,
    "erfcx": 16,
    "erfinv": 16,
    "lgamma": 32,
    "cyl_bessel": 32,
    **dict.fromkeys(("erfcinv", "normcdfinv", "tgamma", "j", "y"), 64),
}
# Near their zeros they are right to some units of 1.
WITH_ZEROS = ("j", "y", "lgamma")


def _close(name: str, actual: np.ndarray, expected) -> None:
    name, eps = name.lstrip("_"), float(np.finfo(actual.dtype).eps)
    ulps = ULPS[max((family for family in ULPS if name.startswith(family)), key=len)]
    with np.errstate(over="ignore"):
        expected = np.asarray(expected, np.float64).astype(actual.dtype).astype(np.float64)
    atol = 4 * eps if name.startswith(WITH_ZEROS) else 0
    np.testing.assert_allclose(actual.astype(np.float64), expected, rtol=ulps * eps, atol=atol)


def _check(prototype, kind: str, function, given, results) -> None:
    name = prototype.name
    if kind == "same":  # what was read, written or put together
        values = np.stack(given, axis=-1) if name.startswith("make_") else given[-1]
        np.testing.assert_array_equal(results[0].reshape(values.shape), values)
    elif kind == "bits":
        np.testing.assert_array_equal(results[0].view(np.uint8), given[0].view(np.uint8))
    elif kind == "atomic":
        returned, left = results
        np.testing.assert_array_equal(returned, given[0])
        if returned.dtype.kind == "f":
            np.testing.assert_array_equal(left, function(given[0], given[1]))
        else:
            wanted = [function(*map(int, values)) for values in zip(*given, strict=True)]
            np.testing.assert_array_equal(left, _cut(wanted, left.dtype))
    elif kind == "integer":
        flags = results[1:]
        operands = [_ints(array) for array in given[: len(given) - len(flags)]]
        if name in ("min", "max"):  # of mixed signs, both are converted
            operands = [_cut(each, results[0].dtype).tolist() for each in operands]
        rows = [function(*row) for row in zip(*operands, strict=True)]
        values = [row[0] if flags else row for row in rows]
        np.testing.assert_array_equal(results[0], _cut(values, results[0].dtype))
        for place, flag in enumerate(flags):
            np.testing.assert_array_equal(flag, [row[1][place] for row in rows])
    elif kind == "integer array":
        np.testing.assert_array_equal(results[0], _cut(function(given[0]), results[0].dtype))
    elif kind == "exact":
        _check_exact(name, function(*given), given, results[0])
    elif kind == "exact pairs":
        for half in (0, 1):
            operands = [array[:, half] for array in given]
            _check_exact(name, function(*operands), operands, results[0][:, half])
    elif kind == "reals":
        for actual, expected in zip(results, function(given[0].astype(np.float64)), strict=True):
            if actual.dtype.kind == "f":
                _close(name, actual, expected)
            else:
                usable = np.isfinite(given[0])
                np.testing.assert_array_equal(actual[usable], expected[usable])
    elif kind == "native":
        np.testing.assert_array_equal(results[0], function(*given))
    elif kind == "quotient":
        remainder, bits = function(*(array.astype(np.float64) for array in given[:2]))
        _close(name, results[0], remainder)
        np.testing.assert_array_equal(results[1][bits >= 0] % 8, bits[bits >= 0])
    else:
        operands = [array.astype(np.float64) if array.dtype == np.float32 else array for array in given]
        _close(name, results[0], function(*operands))


def _ints(array: np.ndarray) -> list[int]:
    """Vectors of four bytes as the integers that they are."""
    return list(map(int, array if array.ndim == 1 else array.view(np.uint32)[:, 0]))


def _cut(values, dtype) -> np.ndarray:
    bits = 8 * dtype.itemsize
    return (
        np.array([int(value) % 2**bits for value in values], object).astype(f"u{dtype.itemsize}").view(dtype)
    )


# What a direction of rounding does not change: infinities, NaN, zero.
SPECIAL = {
    "add": lambda x, y: x + y,
    "sub": lambda x, y: x - y,
    "mul": lambda x, y: x * y,
    "div": lambda x, y: x / y,
    "ma": lambda x, y, z: x * y + z,
    "rcp": lambda x: 1 / x,
    "rsqrt": lambda x: 1 / np.sqrt(x),
    "sqrt": np.sqrt,
    "2float": lambda x: x,
    "2double": lambda x: x,
}


def _check_exact(name: str, expected, given, actual) -> None:
    special = SPECIAL[max((each for each in SPECIAL if each in name), key=len)]
    for place, value in enumerate(expected):
        operands = [np.float64(array[place]) for array in given]
        wanted = special(*operands) if value is None else value
        np.testing.assert_equal(float(actual[place]) + 0.0, float(wanted) + 0.0, str((name, operands)))


@pytest.mark.parametrize(
    "number", range(len(GROUPS)), ids=[f"{key[0]}({', '.join(key[1])}) {key[2]}" for key in GROUPS]
)
def test_functions_give_what_they_should(module, number):
    given, results = _call(module, number)
    for prototype, mine in zip(list(GROUPS.values())[number], results, strict=True):
        wanted = expectation(prototype)
        assert wanted is not None, f"nothing is known of {prototype}"
        kind, function = wanted
        with np.errstate(all="ignore"):
            _check(prototype, kind, function, given, mine)
