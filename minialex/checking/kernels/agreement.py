"""A kernel's results and derivatives beside those of its operation's definition.

A gradient may be right for what a kernel computes, though that is not the operation: all products times 1.01,
in forward and backward alike. And the numerical derivatives of a float32-only kernel say little. So what
kernels give is compared with what the `reference` kernels give in float64, whose derivatives the numerical
ones confirm.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from minialex.autograd import grad
from minialex.checking.adapters.tensors import on_arrays
from minialex.checking.gradients.patterns import recognise
from minialex.checking.kernels.cases import Case
from minialex.checking.report import GradcheckError, worst_of
from minialex.checking.testing.compare import largest, rounding
from minialex.kernels import find_kernel, use
from minialex.kernels.contract.registry import REFERENCE
from minialex.tensor import Tensor

# Random upstream gradients, where not each output is differentiated.
_UPSTREAMS = 2
# A gradient runs several kernels, each of which rounds.
_ROUNDINGS = 4
# As in `minialex.checking.gradients.check`: inputs are often drawn from the seed itself.
_STREAM = 3


@dataclass
class Agreement:
    """What was compared: derivatives other than 0, those that are 0 on both sides, and the worst error.

    The error and its tolerance are relative to the largest derivative.
    """

    compared: int = 0
    zeros: int = 0
    worst_error: float = 0.0
    tolerance: float = 0.0


@dataclass(frozen=True)
class Setting:
    """The kernels under check, and what is computed with them.

    Attributes
    ----------
    choice : mapping
        The kernels: operations such as ``"conv2d.forward"``, and the algorithm for each.
    device : str
        Where they are registered.
    order : int
        1 for the function and its gradient, 2 for the gradient and its gradient.
    dtype : float64 or float32
        In which the kernels compute. The reference computes in float64.
    jacobian : bool
        Whether each derivative is compared; otherwise the gradients of random upstream gradients.
    seed : int
        Of the upstream gradients.
    """

    choice: Mapping[str, str]
    device: str = "cpu"
    order: int = 1
    dtype: str = "float64"
    jacobian: bool = False
    seed: int = 0


def check_agreement(case: Case, setting: Setting, name: str = "", reproduce: str = "") -> Agreement:
    """Check that kernels compute what the reference kernels of their operation do, and its derivatives.

    Parameters
    ----------
    case : Case
    setting : Setting
    name, reproduce : str
        What was checked, and lines of Python that do it again, for the message.

    Raises
    ------
    GradcheckError
        If they differ by more than the kernels promise, or than rounding explains; `check` is "reference".
    KernelError
        If a kernel does not support the call.
    """
    choice, order = setting.choice, setting.order
    arrays = [np.array(a, setting.dtype, order="C") for a in case.arrays]
    with use(dict(choice)):
        own = _outcome(case, arrays, setting)
    roots = {operation.split(".")[0] for operation in choice}
    with use(dict.fromkeys(roots, REFERENCE)):
        wide = [a.astype(np.float64) for a in arrays]
        right = _outcome(case, wide, replace(setting, device="cpu", dtype="float64"))

    kernels = [find_kernel(each, algo=algorithm, device=setting.device) for each, algorithm in choice.items()]
    limit = tolerance_of(max(each.error or rounding(setting.dtype) for each in kernels), order)
    result = Agreement()
    # Where terms cancel, rounding is relative to them, and they are of the magnitude of what goes in.
    terms = largest(*wide) if order == 1 else 0.0

    def fail(summary: str):
        raise GradcheckError("reference", summary, operation=name, reproduce=reproduce)

    scale = max(largest(right.value), terms)
    _require_close("the result", own.value[None], right.value[None], limit * scale, fail)
    scale = max(largest(*right.gradients), largest(right.upstream))
    for i, (mine, expected) in enumerate(zip(own.gradients, right.gradients, strict=True)):
        what = f"the gradient of input {i}"
        error = _require_close(what, mine, expected, limit * scale, fail)
        nonzero = (mine != 0) | (expected != 0)
        result.compared += int(nonzero.sum())
        result.zeros += int((~nonzero).sum())
        pairs = [(result.worst_error, result.tolerance), (error / scale if scale else 0.0, limit)]
        result.worst_error, result.tolerance = worst_of(pairs)
    return result


def tolerance_of(error: float, order: int) -> float:
    """What derivatives may be off by, relative to the largest, where each kernel is off by `error`."""
    return _ROUNDINGS * order * error


def differentiate(case: Case, setting: Setting) -> None:
    """Compute the derivatives of a case once, without looking at them.

    Raises
    ------
    KernelError
        If the kernels in use do not support the call.
    """
    _outcome(case, [np.array(a, setting.dtype) for a in case.arrays], setting)


@dataclass
class _Outcome:
    value: np.ndarray
    upstream: np.ndarray  # (K, outputs)
    gradients: list[np.ndarray]  # for each input (K, *shape)


def _outcome(case: Case, arrays, setting: Setting) -> _Outcome:
    function, inputs = _of_order(case, arrays, setting)
    dtype, device = np.dtype(setting.dtype), setting.device
    tensors = [Tensor(np.array(a, dtype), requires_grad=True, device=device) for a in inputs]
    forward, vjp, _ = on_arrays(function, tensors)
    values = [t.numpy() for t in tensors]
    y = forward(*values)
    random = np.random.default_rng([setting.seed, _STREAM])
    upstream = np.eye(y.size) if setting.jacobian else random.standard_normal((_UPSTREAMS, y.size))
    rows = [vjp(u.astype(dtype).reshape(y.shape), *values) for u in upstream]
    gradients = [
        np.array([row[i] for row in rows], np.float64).reshape(-1, *a.shape) for i, a in enumerate(values)
    ]
    return _Outcome(np.array(y, np.float64), upstream, gradients)


def _of_order(case: Case, arrays, setting: Setting) -> tuple[Callable, list[np.ndarray]]:
    """The function to differentiate: the case's, or its gradient, which has an upstream gradient as well."""
    if setting.order == 1:
        return case.function, list(arrays)
    count = len(arrays)
    y = case.function(*(Tensor(a, device=setting.device) for a in arrays))
    upstream = np.random.default_rng([setting.seed, 2]).standard_normal(y.shape)

    def gradients(*arguments):
        given, u = arguments[:count], arguments[count]
        found = grad(case.function(*given), given, u, create_graph=True, allow_unused=True)
        zeros = (Tensor(np.zeros(t.shape, t.dtype), device=t.device) for t in given)
        return tuple(zero if g is None else g for g, zero in zip(found, zeros, strict=True))

    return gradients, [*arrays, upstream]


def _require_close(what: str, mine: np.ndarray, right: np.ndarray, tolerance: float, fail: Callable) -> float:
    """The largest error in arrays (K, ...); fail if it is above the tolerance."""
    if mine.shape != right.shape:
        fail(f"{what} has shape {mine.shape[1:]}, the reference kernel's has {right.shape[1:]}")
    error = np.abs(mine - right)
    error[np.isnan(error)] = np.inf
    worst = float(error.max(initial=0.0))
    if not worst <= tolerance:
        row, *index = (int(k) for k in np.unravel_index(int(error.argmax()), error.shape))
        pattern = recognise(mine[row], right[row])
        fail(
            f"{what} is not the reference kernel's: at {tuple(index)} it is "
            f"{float(mine[(row, *index)]):.10g}, and should be {float(right[(row, *index)]):.10g} "
            f"(tolerance {tolerance:.3g}){f'; pattern: {pattern}' if pattern else ''}"
        )
    return worst
