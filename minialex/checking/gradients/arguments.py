"""The arguments of all checks: functions, inputs, which of them are differentiated, and how they move."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from minialex.checking import constraints as constraints_of_inputs
from minialex.checking.constraints import Constraint
from minialex.checking.gradients.differences import STEPS
from minialex.checking.reproduction import Deferred, Reproduction
from minialex.checks import in_words, is_int, is_number
from minialex.errors import MiniAlexError
from minialex.tensor import Tensor

Arrays = Sequence[np.ndarray]

# More than this NumPy's flat iterators do not take.
_MOST_AXES = 32


def require_callables(optional: bool = False, **functions) -> None:
    """Refuse what cannot be called, by the name of its argument."""
    for name, function in functions.items():
        if not (callable(function) or (optional and function is None)):
            allowed = "a function or None" if optional else "a function"
            raise MiniAlexError(f"{name} must be {allowed}, not {in_words(function)}")


def require_dtype(dtype) -> np.dtype:
    """The dtype to check in, as NumPy has it."""
    try:
        found = np.dtype(dtype)
    except (TypeError, ValueError):
        found = None
    if found not in STEPS:
        given = in_words(dtype) if found is None else found
        raise MiniAlexError(f"dtype={given} cannot be checked: take float64, or float32 for a weak check")
    return found


def require_texts(**texts) -> None:
    """Refuse what is given and not a str, by the name of its argument."""
    for name, text in texts.items():
        if not isinstance(text, str | Reproduction | Deferred | None):
            raise MiniAlexError(f"{name} must be a str, not {in_words(text)}")


def refuse_options(check: str, options: dict, **reasons: str) -> None:
    """Refuse options of `check_vjp` that another check chooses itself, saying why; None chooses nothing."""
    for name, reason in reasons.items():
        if options.pop(name, None) is not None:
            raise MiniAlexError(f"{name} is not an option of {check}: {reason}")


def prepare_inputs(inputs, dtype, what: str) -> list[np.ndarray]:
    """The inputs as arrays of their own, in the dtype of the check."""
    if isinstance(inputs, np.ndarray | np.generic | Tensor) or is_number(inputs):
        inputs = [inputs]
    if not isinstance(inputs, Iterable) or isinstance(inputs, str | bytes | dict) or _is_scalar(inputs):
        raise MiniAlexError(f"{what} must be an array or a sequence of arrays, not {in_words(inputs)}")
    arrays = []
    for i, given in enumerate(inputs):
        if isinstance(given, np.ma.MaskedArray):
            raise MiniAlexError(
                f"input {i} is a masked array, and a check has no masks: fill it first, with .filled(value)"
            )
        array = np.asarray(given)
        if array.dtype.kind == "c":
            raise MiniAlexError(f"input {i} is {array.dtype}: complex inputs cannot be checked")
        if array.dtype.kind == "f" and array.dtype not in STEPS:
            raise MiniAlexError(
                f"input {i} is {array.dtype}, which cannot be checked: convert it to float64 or float32"
            )
        if array.ndim > _MOST_AXES:
            raise MiniAlexError(
                f"input {i} has {array.ndim} axes; {_MOST_AXES} at most can be checked: reshape it"
            )
        arrays.append(np.array(array, dtype if array.dtype.kind == "f" else array.dtype, order="C"))
    return arrays


def _is_scalar(given) -> bool:
    """Whether it is an array without axes, of any library, which cannot be iterated over."""
    return getattr(given, "shape", None) == ()


def choose_inputs(wrt, arrays: Arrays) -> tuple[int, ...]:
    """The positions of the inputs to differentiate."""
    floating = tuple(i for i, a in enumerate(arrays) if a.dtype.kind == "f")
    if not floating:
        raise MiniAlexError("inputs holds no floating-point array: there is nothing to differentiate")
    if wrt is None:
        return floating
    if not isinstance(wrt, Iterable) or _is_scalar(wrt):
        named = False
    else:
        wrt = tuple(wrt)
        named = len(wrt) > 0 and all(is_int(i, 0) and i in floating for i in wrt)
    if not named:
        among = ", ".join(map(str, floating))
        raise MiniAlexError(
            f"wrt must be a sequence of positions among {among}, those of floating-point inputs, "
            f"not {in_words(wrt)}"
        )
    if len(set(wrt)) < len(wrt):
        raise MiniAlexError(f"wrt must name each input once, not {in_words(wrt)}")
    return wrt


def constrain_inputs(given, arrays: Arrays, chosen: Sequence[int]) -> list[Constraint]:
    """One constraint for each input, which fits it."""
    if isinstance(given, Constraint):
        given = [given]
    if given is None:
        given = [None] * len(arrays)
    if isinstance(given, str) or not isinstance(given, Sequence) or len(given) != len(arrays):
        raise MiniAlexError(
            f"constraints must be one constraint or None for each of the {len(arrays)} inputs, "
            f"not {in_words(given)}"
        )
    for i, (each, array) in enumerate(zip(given, arrays, strict=True)):
        if each is None:
            continue
        if not isinstance(each, Constraint):
            raise MiniAlexError(
                f"constraints[{i}] must be one of minialex.checking.constraints, such as "
                f"constraints.positive, or None, not {in_words(each)}"
            )
        if i not in chosen:
            raise MiniAlexError(f"constraints[{i}]={each}: input {i} is not differentiated and does not move")
        if (wrong := each.violation(array)) is not None:
            raise MiniAlexError(f"input {i} is not in {each}, which is its constraint: {wrong}")
    return [each or constraints_of_inputs.free for each in given]
