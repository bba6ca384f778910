"""What functions under check return, as arrays; and what they should have returned."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from minialex.errors import MiniAlexError
from minialex.tensor import Tensor


def as_array(result, dtype: np.dtype) -> np.ndarray | None:
    """What a function returned as an array; a Python number, which has no dtype of its own, in this dtype.

    None stands for what NumPy cannot make an array of.
    """
    if isinstance(result, int | float):
        return np.asarray(result, dtype)
    if isinstance(result, Tensor):
        return result.numpy()
    try:
        return np.asarray(result)
    except ValueError:  # lists of different lengths
        return None


def described(array: np.ndarray | None) -> str:
    """What `as_array` made of a result, for a message."""
    if array is None:
        return "lists of different lengths"
    if array.dtype == object and array.ndim == 0:
        return "None" if array.item() is None else f"a result of type {type(array.item()).__name__}"
    return f"an array of {array.dtype}"


def is_number_array(array: np.ndarray | None) -> bool:
    """Whether `as_array` made an array of numbers, or of booleans."""
    return array is not None and array.dtype.kind in "fciub"


def one_per_input(gradients, count: int, dtype: np.dtype, fail: Callable) -> Sequence:
    """What a vjp returned, as one gradient for each input; one of a single input need not be in a tuple."""
    several = isinstance(gradients, tuple | list)
    if not several and gradients is not None and count == 1:
        return (gradients,)
    if not several or len(gradients) != count:
        given = f"{len(gradients)} gradients" if several else described(as_array(gradients, dtype))
        fail(
            "result",
            f"vjp gives {given} for {count} input{'s' * (count != 1)}; it should return a tuple with one "
            "gradient for each, None for those that are not differentiated",
        )
    return gradients


def forward_results(
    forward: Callable, arrays: Sequence[np.ndarray], dtype: np.dtype, fail: Callable
) -> tuple[list[np.ndarray], bool]:
    """What forward gives, as a list, and whether it is one array, not a tuple of them.

    ``fail(check, summary, cause=None)`` says what is wrong with it.
    """
    try:
        results = forward(*arrays)
    except MiniAlexError:
        raise
    except Exception as error:
        fail("raises", f"forward raises {type(error).__name__}: {error}", cause=error)
    single = not isinstance(results, tuple)
    found = [as_array(each, dtype) for each in ((results,) if single else results)]
    should = "it should return an array, or a tuple of arrays"
    for i, y in enumerate(found):
        which = "" if single else f" as result {i}"
        if not is_number_array(y):
            fail("result", f"forward gives {described(y)}{which}; {should}")
        if not single and y.dtype != dtype:
            fail("dtype", f"forward gives {y.dtype}{which} for inputs of {dtype}; it should keep the dtype")
    if not found:
        fail("result", f"forward gives an empty tuple; {should}")
    return found, single
