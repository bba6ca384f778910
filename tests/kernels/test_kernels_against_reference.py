"""Every registered kernel against the definition of its operation, the `reference` kernel in float64.

A kernel is tested here by being registered: in the package, or in a plug-in.
"""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from minialex.checking.testing.compare import assert_close, largest, rounding
from minialex.checking.testing.devices import on_device
from minialex.checking.testing.strategies import call
from minialex.devices import array_module, is_read_only, to_numpy
from minialex.kernels import find_kernel, list_kernels
from minialex.kernels.contract.examples import changed_by

KERNELS = [entry for entry in list_kernels() if entry.algorithm != "reference"]
every_kernel = pytest.mark.parametrize("entry", KERNELS, ids=lambda entry: entry.name)
every_kernel_and_dtype = pytest.mark.parametrize(
    ("entry", "dtype"),
    [
        pytest.param(entry, np.dtype(dtype), id=f"{entry.name}-{dtype}")
        for entry in KERNELS
        for dtype in entry.dtypes or ("float64", "float32")
    ],
)


def outcome(function, drawn):
    """The arrays that a call gives: its results and, of the inputs, those that it changes in place."""
    results = function(*drawn.arrays, **drawn.parameters)
    results = results if isinstance(results, tuple) else (results,)
    changed = (drawn.arrays[i] for i in changed_by(drawn.operation))
    # NumPy's functions give a scalar where the result has no axes; the engine makes it an array.
    return [to_numpy(each) for each in (*results, *changed) if each is not None]


@every_kernel_and_dtype
@given(st.data())
def test_agrees_with_the_reference(entry, dtype, data):
    drawn = data.draw(call(entry.operation, dtype, entry))
    assume(entry.refusal(*drawn.arrays, **drawn.parameters) is None)
    wide = drawn.astype(np.float64)
    # Rounding is relative to the terms, which the result may be much smaller than where they cancel.
    inputs = largest(*wide.arrays)
    expected = outcome(find_kernel(entry.operation, algo="reference"), wide)

    actual = outcome(entry, on_device(drawn, entry.device))

    assert len(actual) == len(expected)
    for i, (mine, right) in enumerate(zip(actual, expected, strict=True)):
        kept = dtype if right.dtype.kind == "f" else right.dtype
        assert mine.dtype == kept, f"result {i}"
        tolerance = (entry.error or rounding(dtype)) if right.dtype.kind == "f" else 0
        assert_close(
            mine.astype(right.dtype),
            right,
            tolerance,
            scale=max(inputs, largest(right)),
            name=f"result {i}",
        )


@every_kernel
@given(st.data())
def test_changes_no_input_and_gives_memory_of_its_own(entry, data):
    drawn = data.draw(call(entry.operation, (entry.dtypes or ("float64",))[0], entry))
    assume(entry.refusal(*drawn.arrays, **drawn.parameters) is None)
    before = drawn.astype(np.float64)
    drawn = on_device(drawn, entry.device)

    results = entry(*drawn.arrays, **drawn.parameters)

    changed = changed_by(entry.operation)
    for i, (array, copy) in enumerate(zip(drawn.arrays, before.arrays, strict=True)):
        if array is not None and i not in changed:
            np.testing.assert_array_equal(to_numpy(array), copy, err_msg=f"input {i} was changed")
    results = [] if results is None else results if isinstance(results, tuple) else (results,)
    assert bool(changed) == (not results), "a kernel either gives results or changes inputs"
    for i, result in enumerate(results):
        if np.ndim(result):
            assert not is_read_only(result), f"result {i} is read-only"
            others = [a for a in (*drawn.arrays, *results[:i]) if a is not None]
            shares_memory = array_module(entry.device).may_share_memory
            assert not any(shares_memory(result, a) for a in others), f"result {i} is not its own"


def test_every_operation_has_one_reference():
    operations = {entry.operation for entry in list_kernels()}
    references = [entry.operation for entry in list_kernels() if entry.algorithm == "reference"]
    assert sorted(operations) == sorted(references)
