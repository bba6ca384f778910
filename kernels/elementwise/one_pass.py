"""Element-wise arithmetic in compiled loops over flat blocks, shared out among the threads: float32 only.

For arrays of one shape, where NumPy's functions are held up by memory: they use one thread, allocate each
result anew, and sigmoid and tanh by them are several passes. Broadcasting and small arrays are left to them.

    sigmoid(x):  with e = exp(-|x|), 1 / (1 + e) for x >= 0, else e / (1 + e)
    tanh(x):     x + x**3 * polynomial(x**2) for |x| < 0.625 (Moshier's Cephes, ``tanhf``), else, with
                 e = exp(-2 |x|), (1 - e) / (1 + e) with the sign of x

No step of these loses more than some units of the last place: e is exact to 2 ulp, and neither sum cancels
where it is used.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from minialex.kernels.contract.cost import Cost
from minialex.kernels.contract.registry import kernel
from minialex.kernels.elementwise.shape import BINARY
from minialex.kernels.runtime.blocks import items_of
from minialex.kernels.runtime.compiled import CompiledLoop, compiled
from minialex.kernels.runtime.memory import empty
from minialex.kernels.softmax.exponential import exp_float32

_ONE, _TWO = np.float32(1), np.float32(2)
_SMALL = np.float32(0.625)
_T0, _T1, _T2 = np.float32(-5.70498872745e-3), np.float32(2.06390887954e-2), np.float32(-5.37397155531e-2)
_T3, _T4 = np.float32(1.33314422036e-1), np.float32(-3.33332819422e-1)


@compiled
def _part(array, item, block):
    """The block of an item; counted from its first number, an index is never negative."""
    return array[item * block : (item + 1) * block]


@compiled.parallel
def _add(item, worker, block, a, b, y):
    a, b, y = _part(a, item, block), _part(b, item, block), _part(y, item, block)
    for i in range(y.size):
        y[i] = a[i] + b[i]


@compiled.parallel
def _subtract(item, worker, block, a, b, y):
    a, b, y = _part(a, item, block), _part(b, item, block), _part(y, item, block)
    for i in range(y.size):
        y[i] = a[i] - b[i]


@compiled.parallel
def _multiply(item, worker, block, a, b, y):
    a, b, y = _part(a, item, block), _part(b, item, block), _part(y, item, block)
    for i in range(y.size):
        y[i] = a[i] * b[i]


@compiled.parallel
def _divide(item, worker, block, a, b, y):
    a, b, y = _part(a, item, block), _part(b, item, block), _part(y, item, block)
    for i in range(y.size):
        y[i] = a[i] / b[i]


# A NaN is passed on, whichever operand it is.


@compiled.parallel
def _maximum(item, worker, block, a, b, y):
    a, b, y = _part(a, item, block), _part(b, item, block), _part(y, item, block)
    for i in range(y.size):
        y[i] = a[i] if (a[i] >= b[i]) | (a[i] != a[i]) else b[i]


@compiled.parallel
def _minimum(item, worker, block, a, b, y):
    a, b, y = _part(a, item, block), _part(b, item, block), _part(y, item, block)
    for i in range(y.size):
        y[i] = a[i] if (a[i] <= b[i]) | (a[i] != a[i]) else b[i]


@compiled.parallel
def _negative(item, worker, block, x, y):
    x, y = _part(x, item, block), _part(y, item, block)
    for i in range(y.size):
        y[i] = -x[i]


@compiled.parallel
def _absolute(item, worker, block, x, y):
    x, y = _part(x, item, block), _part(y, item, block)
    for i in range(y.size):
        y[i] = abs(x[i])


@compiled.parallel
def _sqrt(item, worker, block, x, y):
    x, y = _part(x, item, block), _part(y, item, block)
    for i in range(y.size):
        y[i] = math.sqrt(x[i])


@compiled.parallel
def _sigmoid(item, worker, block, x, y):
    x, y = _part(x, item, block), _part(y, item, block)
    for i in range(y.size):
        e = exp_float32(-abs(x[i]))
        y[i] = (e if x[i] < 0 else _ONE) / (_ONE + e)


@compiled.parallel
def _tanh(item, worker, block, x, y):
    x, y = _part(x, item, block), _part(y, item, block)
    for i in range(y.size):
        magnitude = abs(x[i])
        e = exp_float32(-_TWO * magnitude)
        large = (_ONE - e) / (_ONE + e)
        square = magnitude * magnitude
        series = ((((_T0 * square + _T1) * square + _T2) * square + _T3) * square + _T4) * square
        small = magnitude + magnitude * series
        y[i] = math.copysign(small if magnitude < _SMALL else large, x[i])


@compiled.parallel
def _clamp(item, worker, block, x, low, high, y):
    x, y = _part(x, item, block), _part(y, item, block)
    for i in range(y.size):
        # The limits are what wins a comparison, so that a NaN is passed on.
        value = low if x[i] < low else x[i]
        y[i] = high if value > high else value


def _supports(*arrays, **_) -> bool | str:
    if any(array.shape != arrays[0].shape for array in arrays):
        return "only for arrays of one shape"
    return True


# What it takes to wake the threads, some forty microseconds, as bytes that could be moved meanwhile.
_START = 2**20


def _cost(*arrays, **_) -> Cost:
    return Cost(0, sum(array.nbytes for array in arrays) + arrays[0].nbytes + _START)


_says = {"algo": "one-pass", "rank": 10, "supports": _supports, "cost": _cost, "dtypes": ("float32",)}


def _run(loop: CompiledLoop, arrays: tuple, *numbers) -> np.ndarray:
    y = empty(arrays[0].shape, np.float32)
    flat = (np.ascontiguousarray(array).reshape(-1) for array in arrays)
    items, block = items_of(y.size)
    loop.run(items, block, *flat, *numbers, y.reshape(-1))
    return y


def _kernel(loop: CompiledLoop) -> Callable:
    def forward(*arrays):
        return _run(loop, arrays)

    return forward


_LOOPS = {
    "add": _add,
    "subtract": _subtract,
    "multiply": _multiply,
    "divide": _divide,
    "maximum": _maximum,
    "minimum": _minimum,
    "negative": _negative,
    "absolute": _absolute,
    "sqrt": _sqrt,
    "sigmoid": _sigmoid,
    "tanh": _tanh,
}
for _operation, _loop in _LOOPS.items():
    _domain = (lambda: {"broadcast": False}) if _operation in BINARY else None
    kernel(f"{_operation}.forward", **_says, domain=_domain)(_kernel(_loop))


@kernel("clamp.forward", **_says)
def clamp_forward(x, *, low, high):
    return _run(_clamp, (x,), np.float32(low), np.float32(high))
