"""Element-wise arithmetic by NumPy's own functions."""

import math
from functools import partial

import numpy as np

from minialex.checks import is_int
from minialex.kernels.contract.cost import CORES, Cost
from minialex.kernels.contract.registry import kernel
from minialex.kernels.elementwise.shape import BINARY, OF_INTEGERS, UNARY


def _cost(*arrays, passes: int = 1, **_) -> Cost:
    """The bytes of each pass over memory, which one core moves at half the speed of several."""
    once = sum(array.nbytes for array in arrays) + max(array.nbytes for array in arrays)
    return Cost(0, passes * CORES * once)


for _operation in (*BINARY, *UNARY):
    if hasattr(np, _operation) and _operation != "power":
        kernel(
            f"{_operation}.forward",
            algo="plain",
            rank=10,
            kinds="iuf" if _operation in OF_INTEGERS else "f",
            cost=partial(_cost, passes=4) if _operation in ("tanh", "expm1", "log1p") else _cost,
        )(getattr(np, _operation))


@kernel("sigmoid.forward", algo="plain", rank=10, cost=partial(_cost, passes=6))
def sigmoid_forward(x):
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1, e) / (1 + e)


@kernel("softplus.forward", algo="plain", rank=10, cost=partial(_cost, passes=8))
def softplus_forward(x):
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


@kernel("erf.forward", algo="plain", rank=10, cost=partial(_cost, passes=200))
def erf_forward(x):
    # NumPy has no erf; Python's takes one number at a time.
    return np.asarray(np.frompyfunc(math.erf, 1, 1)(x), x.dtype)


@kernel("clamp.forward", algo="plain", rank=10, cost=_cost)
def clamp_forward(x, *, low, high):
    return np.clip(x, x.dtype.type(low), x.dtype.type(high))


def _power_supports(x, *, exponent):
    if x.dtype.kind != "f" and not is_int(exponent, 0):
        return f"{x.dtype} to the power of {exponent!r} is no {x.dtype}; make the tensor with dtype='float32'"
    return True


@kernel("power.forward", algo="plain", rank=10, supports=_power_supports, kinds="iuf")
def power_forward(x, *, exponent):
    return x**exponent
