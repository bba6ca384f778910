"""Element-wise arithmetic in compiled loops over flat blocks, shared out among the threads: float32 only.

For arrays of one shape, where NumPy's functions are held up by memory: they use one thread, allocate each
result anew, and sigmoid and tanh by them are several passes. Broadcasting and small arrays are left to them.

    sigmoid(x):   with e = exp(-|x|), 1 / (1 + e) for x >= 0, else e / (1 + e)
    softplus(x):  max(x, 0) + log1p(exp(-|x|))
    tanh(x):      x + x**3 * polynomial(x**2) for |x| < 0.625 (Moshier's Cephes, ``tanhf``), else, with
                  e = exp(-2 |x|), (1 - e) / (1 + e) with the sign of x
    log1p(x):     with u = 1 + x = 2**k * (1 + f), 0.7 < 1 + f < 1.41, k * log(2) + f - f**2 / 2 + f**3 *
                  polynomial(f) (Cephes, ``logf``), and what u lost of x, divided by u
    expm1(x):     Taylor's series to x**9 for |x| < 0.5, else exp(x) - 1
    erf(x):       x * polynomial(x**2) for |x| < 1, else 1 - exp(-x**2) * polynomial(1 / x**2) / |x| with the
                  sign of x, one polynomial below 2 and one above (Cephes, ``erff`` and ``erfcf``)

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
from minialex.kernels.softmax.exponential import exp_float32, exp_of_any_float32

_ONE, _TWO = np.float32(1), np.float32(2)
_SMALL = np.float32(0.625)
_T0, _T1, _T2 = np.float32(-5.70498872745e-3), np.float32(2.06390887954e-2), np.float32(-5.37397155531e-2)
_T3, _T4 = np.float32(1.33314422036e-1), np.float32(-3.33332819422e-1)
_HALF = np.float32(0.5)
# 1 / 9! ... 1 / 2!
_E9, _E8, _E7, _E6 = (np.float32(1 / math.factorial(n)) for n in (9, 8, 7, 6))
_E5, _E4, _E3, _E2 = (np.float32(1 / math.factorial(n)) for n in (5, 4, 3, 2))
_LOG = tuple(
    np.float32(number)
    for number in (
        7.0376836292e-2,
        -1.1514610310e-1,
        1.1676998740e-1,
        -1.2420140846e-1,
        1.4249322787e-1,
        -1.6668057665e-1,
        2.0000714765e-1,
        -2.4999993993e-1,
        3.3333331174e-1,
    )
)
# log(2) in two parts, as in `exp_float32`; the bits of sqrt(1/2), and of the exponent.
_LOG2_HIGH, _LOG2_LOW = np.float32(0.693359375), np.float32(-2.12194440e-4)
_ROOT_BITS, _EXPONENT_BITS = np.int32(0x3F3504F3), np.int32(23)
_INFINITY, _NAN = np.float32(np.inf), np.float32(np.nan)
_ERF = tuple(
    np.float32(number)
    for number in (
        7.853861353153693e-5,
        -8.010193625184903e-4,
        5.188327685732524e-3,
        -2.685381193529856e-2,
        1.128358514861418e-1,
        -3.761262582423300e-1,
        1.128379165726710,
    )
)
_ERFC_BELOW_2 = tuple(
    np.float32(number)
    for number in (
        2.326819970068386e-2,
        -1.387039388740657e-1,
        3.687424674597105e-1,
        -5.824733027278666e-1,
        6.210004621745983e-1,
        -4.944515323274145e-1,
        3.404879937665872e-1,
        -2.741127028184656e-1,
        5.638259427386472e-1,
    )
)
_ERFC_ABOVE_2 = tuple(
    np.float32(number)
    for number in (
        -1.047766399936249e1,
        1.297719955372516e1,
        -7.495518717768503,
        2.921019019210786,
        -1.015265279202700,
        4.218463358204948e-1,
        -2.820767439740514e-1,
        5.641895067754075e-1,
    )
)


@compiled
def _polynomial(x, coefficients):
    """Horner's rule, the highest power first."""
    result = coefficients[0]
    for n in range(1, len(coefficients)):
        result = result * x + coefficients[n]
    return result


@compiled
def _log1p_of(x):
    """log(1 + x) for a float32 above -1 that is finite."""
    u = _ONE + x
    bits = np.float32(u).view(np.int32)
    k = np.int32((bits - _ROOT_BITS) >> _EXPONENT_BITS)
    f = np.int32(bits - (k << _EXPONENT_BITS)).view(np.float32) - _ONE
    power, square = np.float32(k), f * f
    small = _polynomial(f, _LOG) * f * square + power * _LOG2_LOW - _HALF * square
    return f + (small + (x - (u - _ONE)) / u) + power * _LOG2_HIGH


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
def _softplus(item, worker, block, x, y):
    x, y = _part(x, item, block), _part(y, item, block)
    for i in range(y.size):
        e = exp_float32(-abs(x[i]))
        # A NaN is not less than 0.
        y[i] = (np.float32(0) if x[i] < 0 else x[i]) + _log1p_of(e)


@compiled.parallel
def _exp(item, worker, block, x, y):
    x, y = _part(x, item, block), _part(y, item, block)
    for i in range(y.size):
        y[i] = exp_of_any_float32(x[i])


@compiled.parallel
def _expm1(item, worker, block, x, y):
    x, y = _part(x, item, block), _part(y, item, block)
    for i in range(y.size):
        v = x[i]
        series = ((((((_E9 * v + _E8) * v + _E7) * v + _E6) * v + _E5) * v + _E4) * v + _E3) * v + _E2
        small = v + v * v * series if v != 0 else v  # -0 stays
        y[i] = small if abs(v) < _HALF else exp_of_any_float32(v) - _ONE


@compiled.parallel
def _log1p(item, worker, block, x, y):
    x, y = _part(x, item, block), _part(y, item, block)
    for i in range(y.size):
        v = x[i]
        outside = v if (v == _INFINITY) | (v == 0) else (-_INFINITY if v == -_ONE else _NAN)  # -0 stays
        y[i] = _log1p_of(v) if (v > -_ONE) & (v < _INFINITY) & (v != 0) else outside


@compiled.parallel
def _erf(item, worker, block, x, y):
    x, y = _part(x, item, block), _part(y, item, block)
    for i in range(y.size):
        magnitude = abs(x[i])
        # Beyond 4 all results are 1, and no exponential underflows.
        large = np.float32(4) if magnitude > 4 else (_ONE if magnitude < 1 else magnitude)
        inverse = _ONE / large
        square = inverse * inverse
        factor = _polynomial(square, _ERFC_BELOW_2) if large < 2 else _polynomial(square, _ERFC_ABOVE_2)
        outside = math.copysign(_ONE - exp_float32(-large * large) * inverse * factor, x[i])
        inside = x[i] * _polynomial(x[i] * x[i], _ERF)
        y[i] = outside if magnitude >= 1 else inside


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
    "softplus": _softplus,
    "tanh": _tanh,
    "exp": _exp,
    "expm1": _expm1,
    "log1p": _log1p,
    "erf": _erf,
}
for _operation, _loop in _LOOPS.items():
    _domain = (lambda: {"broadcast": False}) if _operation in BINARY else None
    _arrays = 2 if _operation in BINARY else 1
    kernel(f"{_operation}.forward", **_says, domain=_domain, records=_arrays)(_kernel(_loop))


@kernel("clamp.forward", **_says, records=1)
def clamp_forward(x, *, low, high):
    return _run(_clamp, (x,), np.float32(low), np.float32(high))
