"""A plug-in's kernel beside the definition of its operation, in calls of many sizes.

The cases that gradients are checked with are small: each of their elements is moved. A kernel may well be
right for these and wrong beyond its first tile, at a stride, with groups. So a plug-in's kernels are called
as the registry's own are in the tests: the examples of several thread blocks, what is drawn of the operation
(or of the kernel's `domain`), and convolutions and poolings as networks have them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from minialex.checking.kernels.cases import called_first
from minialex.checking.kernels.drawn_cases import draw, usual_calls
from minialex.checking.report import GradcheckError
from minialex.checking.testing.calls import Call, kernel_calls
from minialex.checking.testing.compare import assert_close, largest, rounding
from minialex.devices import to_numpy
from minialex.kernels import Kernel, find_kernel
from minialex.kernels.contract.examples import operations_with_examples
from minialex.kernels.contract.registry import REFERENCE

# How many rounds of some two dozen calls are drawn.
_ROUNDS = 6
# How many of them are called with numbers of other sizes, too.
_SCALED = 24
# The most elements, of all arrays together: the reference kernels are plain loops.
_LARGEST = 20_000


def check_calls(kernel: Kernel, *, seed: int = 0) -> int:
    """Check that a kernel gives what the reference kernel of its operation does, in float64.

    Parameters
    ----------
    kernel : Kernel
    seed : int
        Of the calls.

    Returns
    -------
    int
        How many calls it supports, in which the two agree.

    Raises
    ------
    GradcheckError
        At the first call in which they differ by more than the kernel promises, or than rounding explains;
        `check` is "reference". "raises" where the kernel does.
    """
    dtype = np.dtype((kernel.dtypes or ("float64",))[0])
    compared = 0
    for call, code in _calls(kernel, dtype, seed):
        if call.elements > _LARGEST or kernel.refusal(*call.arrays, **call.parameters) is not None:
            continue
        _compare(kernel, call, code, dtype)
        compared += 1
    return compared


def _calls(kernel: Kernel, dtype: np.dtype, seed: int) -> Iterator[tuple[Call, Sequence[str]]]:
    """Calls, each with the lines of Python that make it again."""
    operation = kernel.operation
    drawable = operation in operations_with_examples()  # A plug-in's own operation may have none.
    if drawable:
        for number, each in enumerate(kernel_calls(operation, "blocks", dtype, seed)):
            lines = (
                "from minialex.checking.testing.calls import kernel_calls",
                f"call = list(kernel_calls({operation!r}, 'blocks', np.{dtype.name}, {seed}))[{number}]",
            )
            yield each, lines
    calls = usual_calls(operation, seed) if operation in called_first(operation.split(".")[0]) else []
    for number in range(_ROUNDS if drawable else 0):
        calls += draw(operation, kernel, seed * _ROUNDS + number, dtype)
    # Exponentials of numbers as large as logits get overflow; and a maximum may begin with 0.
    others = calls[:: len(calls) // _SCALED + 1]
    calls += [_changed(call, (_larger, _negative)[k % 2]) for k, call in enumerate(others)]
    for call in calls:
        yield call, call.as_code(kernel.algorithm, kernel.device).splitlines()[:-1]


def _changed(call, change):
    """The same call, with other numbers."""
    arrays = (
        change(a).astype(a.dtype) if a is not None and a.size and a.dtype.kind == "f" else a
        for a in call.arrays
    )
    return replace(call, arrays=tuple(arrays), memory=())


def _larger(array: np.ndarray) -> np.ndarray:
    return 1000 * array


def _negative(array: np.ndarray) -> np.ndarray:
    return 1000 * (array - array.max()) - 1


def _compare(kernel: Kernel, call: Call, code: Sequence[str], dtype: np.dtype) -> None:
    from minialex.checking.testing.devices import on_device

    def fail(check: str, summary: str, cause: Exception | None = None):
        lines = [
            "# The kernel is a plug-in's: ma.kernels.load_plugin(file) comes first.",
            *dict.fromkeys(
                ["import numpy as np", "from minialex.kernels import find_kernel", *filter(None, code)]
            ),
            "found, expected = (",
            f"    find_kernel({kernel.operation!r}, algo=a, device=d)(*call.arrays, **call.parameters)",
            f"    for a, d in (({kernel.algorithm!r}, {kernel.device!r}), ({REFERENCE!r}, 'cpu'))",
            ")",
        ]
        shapes = ", ".join("None" if a is None else str(a.shape) for a in call.arrays)
        summary = f"{summary}; called with {shapes}{_options(call.parameters)}"
        which = {"operation": kernel.operation, "kernel": f"{kernel.device}, {kernel.algorithm}"}
        raise GradcheckError(check, summary, **which, reproduce="\n".join(lines)) from cause

    wide = call.astype(np.float64)
    inputs = largest(*wide.arrays)
    try:
        with np.errstate(all="ignore"):
            expected = _results(find_kernel(kernel.operation, algo=REFERENCE), wide)
    except ArithmeticError:
        return
    if not all(np.isfinite(each).all() for each in expected):
        return  # There is no result to compare with.
    try:
        found = _results(kernel, on_device(call.astype(dtype), kernel.device))
    except Exception as error:
        fail("raises", f"{type(error).__name__}: {error}", error)
    if len(found) != len(expected):
        fail("reference", f"it gives {len(found)} arrays; the reference kernel gives {len(expected)}")
    for i, (mine, right) in enumerate(zip(found, expected, strict=True)):
        floating = right.dtype.kind == "f"
        kept = dtype if floating else right.dtype
        if mine.dtype != kept:
            fail("reference", f"result {i} has dtype {mine.dtype}, not {kept}")
        tolerance = (kernel.error or rounding(dtype)) if floating else 0
        scale = max(inputs, largest(right))
        try:
            assert_close(mine.astype(right.dtype), right, tolerance, scale=scale, name=f"result {i}")
        except AssertionError as error:
            fail("reference", f"it does not give what the reference kernel does: {error}")


def _results(function, call) -> list[np.ndarray]:
    results = function(*call.arrays, **call.parameters)
    results = results if isinstance(results, tuple) else (results,)
    return [np.asarray(to_numpy(each)) for each in results if each is not None]


def _options(parameters: dict) -> str:
    return "".join(f", {name}={value}" for name, value in parameters.items() if np.ndim(value) < 3)
