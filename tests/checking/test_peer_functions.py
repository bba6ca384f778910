"""Other people's code: functions of other libraries, drawn examples, and every line of the documentation."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import find, given, settings
from hypothesis import strategies as st

import minialex as ma
from minialex import availability
from minialex.checking.gradients import differences, noise, values, vjp
from minialex.checking.testing import strategies
from minialex.checking.testing.strategies import (
    Call,
    call,
    convolutions,
    distinct_arrays,
    layouts,
    normal_arrays,
    shapes,
)
from minialex.cli.gradcheck import command
from minialex.kernels import find_kernel, kernel
from minialex.kernels.contract.registry import unregister

PAGE = (Path(__file__).parents[2] / "docs" / "gradcheck.md").read_text(encoding="utf-8")
# Each block of Python, the text block that follows it at once if there is one, and the line it begins at.
BLOCKS = [
    pytest.param(found[1], found[2], id=f"line {PAGE[: found.start()].count(chr(10)) + 1}")
    for found in re.finditer(r"```python\n(.*?)```\n(?:\n```text\n(.*?)```)?", PAGE, re.DOTALL)
]


def masked(text: str) -> str:
    """The text without the digits that another processor may round otherwise."""
    return re.sub(r"\d+\.\d+(e[+-]\d+)?", "#", text).strip()


def run_as_tests(code: str, folder: Path) -> None:
    (folder / "test_page.py").write_text(code)
    # Not how fast this machine is, is asked here.
    (folder / "conftest.py").write_text(
        "from hypothesis import settings\n"
        "settings.register_profile('any machine', deadline=None)\n"
        "settings.load_profile('any machine')\n"
    )
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "-p",
            "no:minialex",
            "-p",
            "minialex.checking.pytest_plugin",
            "-W",
            "error",
            "test_page.py",
        ],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout
    assert re.search(r"^gradcheck: \d+ checks, ", done.stdout, re.MULTILINE)


@pytest.mark.parametrize(("code", "error"), BLOCKS)
def test_the_documentation_runs(code, error, tmp_path):
    for library in re.findall(r"^import (torch|jax)$", code, re.MULTILINE):
        pytest.importorskip(library)
    if "ma.check_cuda(" in code and (reason := availability.why_not_usable("cuda-host")):
        pytest.skip(reason)
    if "def test_" in code:
        run_as_tests(code, tmp_path)
    elif error:
        with pytest.raises(ma.GradcheckError) as caught:
            exec(code, {})
        assert masked(str(caught.value)) == masked(error)
    else:
        exec(code, {})


def test_the_documentation_has_every_kind_of_example():
    code = [block.values[0] for block in BLOCKS]
    for part in ("import torch", "import jax", "gradcheck.second", "@given", "ma.gradgradcheck"):
        assert any(part in block for block in code), part
    assert sum(block.values[1] is not None for block in BLOCKS) == 1


def test_the_documentation_states_the_constants_of_the_code():
    assert f"up to {vjp.JACOBIAN_LIMIT:,} derivatives" in PAGE
    assert f"{values.UPSTREAMS} random upstream gradients" in PAGE
    assert f"`{vjp.DIRECTIONS} random directions (a quick check)`" in PAGE
    assert f"+ {noise.ROUNDING} eps |derivative|" in PAGE
    for steps in (differences.STEPS, differences.DIRECTION_STEPS):
        row = [f"{steps[np.dtype(dtype)]:.0e}".replace("e-0", "e-") for dtype in ("float64", "float32")]
        assert f"| {row[0]} | {row[1]} |" in PAGE


def test_the_documentation_names_every_option_of_the_command():
    options = {max(option.opts, key=len) for option in command.params if option.opts[0].startswith("-")}
    assert "--op" in options
    assert {name for name in options if f" {name} " not in PAGE.replace("(", " ")} == set()


def test_the_pictures_of_the_documentation_are_there():
    pictures = re.findall(r"!\[.+?\]\((.+?)\)", PAGE)
    assert len(pictures) == 3
    for name in pictures:
        assert (Path(__file__).parents[2] / "docs" / name).is_file(), name


# PyTorch


def torch_pair(fn):
    """A function of PyTorch tensors as the (forward, vjp) of the documentation."""
    torch = pytest.importorskip("torch")

    def tensors(arrays):
        return tuple(map(torch.tensor, arrays))

    def torch_vjp(u, *arrays):
        found = torch.autograd.functional.vjp(fn, tensors(arrays), *tensors([u]))[1]
        return tuple(gradient.numpy() for gradient in found)

    return lambda *arrays: fn(*tensors(arrays)).numpy(), torch_vjp


def test_gradients_of_pytorch_pass():
    torch = pytest.importorskip("torch")
    random = np.random.default_rng(0)
    x, w = random.standard_normal((2, 3, 5, 4)), random.standard_normal((2, 3, 3, 2))
    report = ma.check_vjp(*torch_pair(lambda x, w: torch.nn.functional.conv2d(x, w, padding=1)), [x, w])
    assert report.compared + report.zeros == 2 * 2 * 5 * 5 * (x.size + w.size)
    assert report.skipped == 0
    at_zero = np.array([0.0, 1.0, 1.5, 2.0, 3.0, -0.5])
    assert ma.check_vjp(*torch_pair(torch.relu), [at_zero]).skipped == 1


def test_a_wrong_function_of_pytorch_is_caught():
    torch = pytest.importorskip("torch")

    class Cube(torch.autograd.Function):
        @staticmethod
        def forward(x):
            return x**3

        @staticmethod
        def setup_context(context, inputs, output):
            context.save_for_backward(*inputs)

        @staticmethod
        def backward(context, g):
            (x,) = context.saved_tensors
            return 3.0015 * x**2 * g

    with pytest.raises(ma.GradcheckError, match=r"a constant factor of 1\.0005"):
        ma.check_vjp(*torch_pair(Cube.apply), [np.array([0.5, -1.0, 2.0])])


# Drawn examples


def printed(test) -> str:
    """What Hypothesis prints when a test fails."""
    with pytest.raises(Exception) as caught:
        test()
    return "\n".join(caught.value.__notes__)


@pytest.fixture
def swapped():
    """A matrix product that takes the last column twice: wrong from two columns on."""

    @kernel("matmul.forward", algo="wrong")
    def matmul(a, b):
        y = a @ b
        if y.shape[1] > 1:
            y[:, 0] = y[:, -1]
        return y

    yield "wrong"
    unregister("matmul.forward", algo="wrong")


def fails(drawn: Call) -> bool:
    results = [
        find_kernel(drawn.operation, algo=algo)(*drawn.arrays, **drawn.parameters)
        for algo in ("wrong", "reference")
    ]
    return not np.allclose(*results, rtol=0, atol=1e-12)


def test_a_wrong_kernel_shrinks_to_a_minimal_call_that_fails_again_when_pasted(swapped):
    @settings(database=None, derandomize=True, max_examples=200)
    @given(call("matmul.forward"))
    def compare(drawn):
        assert not fails(drawn)

    text = printed(compare)
    (code,) = re.findall(r"drawn=(Call\(.*\)),?$", text, re.MULTILINE)
    again = eval(code, {"np": np, "Call": Call})
    assert fails(again)
    # One row, one term, two columns; plain memory: nothing that could be left out.
    assert [a.shape for a in again.arrays] == [(1, 1), (1, 2)]
    assert "memory=" not in code

    lines = again.as_code(swapped)
    assert "find_kernel(call.operation, algo='wrong', device='cpu')" in lines
    pasted: dict = {}
    exec(lines, pasted)
    assert fails(pasted["call"])
    np.testing.assert_array_equal(pasted["result"][:, 0], pasted["result"][:, 1])


def test_a_kernel_that_fails_for_a_layout_prints_the_layout():
    @settings(database=None, derandomize=True, max_examples=200)
    @given(call("tanh.forward"))
    def flat(drawn):
        (x,) = drawn.arrays
        assert x.strides == np.empty(x.shape).strides

    code = re.search(r"drawn=(Call\(.*\)),?$", printed(flat), re.MULTILINE)[1]
    again = eval(code, {"np": np, "Call": Call})
    assert "memory=('" in code
    assert again.arrays[0].strides != np.empty(again.arrays[0].shape).strides


def test_a_wrong_vjp_shrinks_to_a_minimal_array_that_fails_again_when_pasted():
    def check(x):
        def last_maximum_of_all(u, x):
            return (u[..., None] * (x == x.max()),)

        ma.check_vjp(lambda x: np.asarray(x.max(axis=-1)), last_maximum_of_all, [x])

    @settings(database=None, derandomize=True, max_examples=200)
    @given(distinct_arrays(shapes(min_dims=2, max_dims=2, min_side=1)))
    def drawn_check(x):
        check(x)

    text = printed(drawn_check)
    code = re.search(r"x=(.*)\n\)", text, re.DOTALL)[1].rstrip(", ")
    x = eval(
        re.sub(r"\s+#.*", "", code),
        {
            "array": np.array,
            "default_rng": np.random.default_rng,
            "distinct_values": strategies.distinct_values,
        },
    )
    assert x.shape == (2, 1)
    with pytest.raises(ma.GradcheckError) as caught:
        check(x)
    assert caught.value.check == "values"


@pytest.mark.parametrize("operation", strategies.operations())
@given(st.data(), st.sampled_from((np.float32, np.float64)))
@settings(max_examples=20)
def test_calls_print_as_code_for_the_same_arrays_in_the_same_memory(operation, data, dtype):
    drawn = data.draw(call(operation, dtype))
    # As one expression, and as lines without the call of the kernel, which may change its arguments.
    pasted = {"np": np, "Call": Call}
    exec(drawn.as_code().rpartition("result = ")[0], pasted)
    copies = [pasted["call"]]
    if sum(a.size for a in drawn.arrays if a is not None) <= 100:
        copies.append(eval(repr(drawn), {"np": np, "Call": Call}))
    for again in copies:
        assert repr(again) == repr(drawn)
        assert again.parameters.keys() == drawn.parameters.keys()
        for a, b in zip(again.arrays, drawn.arrays, strict=True):
            if b is None:
                assert a is None
                continue
            assert (a.dtype, a.shape, a.flags.writeable) == (b.dtype, b.shape, b.flags.writeable)
            assert a.strides == b.strides or not b.size
            np.testing.assert_array_equal(a, b)


def test_the_code_of_a_call_runs_its_kernel():
    drawn = Call("relu.forward", (np.array([1.0, -2.0, np.inf]),), {}, memory=("backwards, read-only",))
    pasted: dict = {}
    exec(drawn.as_code("plain"), pasted)
    np.testing.assert_array_equal(pasted["result"], [1.0, 0.0, np.inf])
    assert pasted["call"].arrays[0].strides == (-16,)
    assert not pasted["call"].arrays[0].flags.writeable


def test_large_calls_are_described():
    drawn = Call("relu.forward", (np.zeros((20, 20))[:, ::2],), {"a": 1})
    assert repr(drawn) == "Call('relu.forward', (float64(20, 10) strided), {'a': 1})"


def test_an_unknown_memory_layout_is_refused():
    with pytest.raises(
        ValueError, match=r"memory must be C, Fortran, strided or backwards.*, not 'diagonal'"
    ):
        Call("relu.forward", (np.zeros(2),), {}, memory=("diagonal",))


@given(normal_arrays(shapes(), np.float32), strategies.positive_arrays((2, 3)), st.data())
def test_arrays_have_the_shape_dtype_and_range_that_was_asked_for(normal, positive, data):
    assert normal.dtype == np.float32
    assert normal.ndim <= 3
    assert positive.shape == (2, 3)
    assert positive.min() >= 0.5
    distinct = data.draw(distinct_arrays((3, 2), np.float32).flatmap(layouts))
    assert distinct.dtype == np.float32
    assert np.diff(np.sort(distinct, axis=None)).min() >= 0.25


DEGENERATE = {
    "no images": lambda case: case.x[0] == 0,
    "one pixel": lambda case: case.x[2:] == (1, 1),
    "a kernel as large as the image": lambda case: case.x[2:] == case.weight[2:] != (1, 1),
    "a kernel larger than the image": lambda case: case.x[2] < case.weight[2] and case.x[3] < case.weight[3],
}


@pytest.mark.parametrize("name", DEGENERATE)
def test_degenerate_sizes_are_drawn_and_print_as_code(name):
    quick = settings(max_examples=5000, database=None, derandomize=True)
    case = find(convolutions(), DEGENERATE[name], settings=quick)
    assert DEGENERATE[name](case)
    assert eval(repr(case), {"Convolution": strategies.Convolution}) == case
