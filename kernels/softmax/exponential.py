"""The exponential function in float32, in operations that compilers turn into vector instructions.

exp(x) = 2**k * exp(r) with k the integer nearest x / log(2), and r = x - k * log(2) between -0.35 and 0.35,
where a polynomial of degree 7 is exact to float32's rounding (Moshier's Cephes, ``expf``). The error is
below 2 ulp. Results below the smallest normal number are 0.
"""

import numpy as np

from minialex.kernels.runtime.compiled import compiled

_LOWEST, _HIGHEST = np.float32(-87.33654), np.float32(88.72283)
_PER_LOG2 = np.float32(1.44269504088896341)
# log(2) in two parts, the first with few digits, so that its products with k are exact.
_LOG2_HIGH, _LOG2_LOW = np.float32(0.693359375), np.float32(-2.12194440e-4)
# Adding 1.5 * 2**23 to a number rounds it to an integer, found in the sum's lowest bits.
_ROUNDER = np.float32(12582912)
_ONE, _TWO, _INFINITY = np.float32(1), np.float32(2), np.float32(np.inf)
_P0, _P1, _P2 = np.float32(1.9875691500e-4), np.float32(1.3981999507e-3), np.float32(8.3334519073e-3)
_P3, _P4, _P5 = np.float32(4.1665795894e-2), np.float32(1.6666665459e-1), np.float32(5.0000001201e-1)
_EXPONENT_BITS, _EXPONENT_BIAS = np.int32(23), np.int32(127)


@compiled
def _fraction_and_power(x, bias):
    """The two factors of exp(x), exp(r) and 2**k, the latter with another bias of the exponent than 127."""
    shifted = x * _PER_LOG2 + _ROUNDER
    k = shifted - _ROUNDER
    r = (x - k * _LOG2_HIGH) - k * _LOG2_LOW
    polynomial = ((((_P0 * r + _P1) * r + _P2) * r + _P3) * r + _P4) * r + _P5
    bits = np.float32(shifted).view(np.int32)
    power = np.int32((bits + bias) << _EXPONENT_BITS).view(np.float32)
    return polynomial * (r * r) + r + _ONE, power


@compiled
def exp_float32(x):
    """exp(x) for a float32 that is at most 0, as in softmax; NaN for NaN."""
    fraction, power = _fraction_and_power(_LOWEST if x < _LOWEST else x, _EXPONENT_BIAS)
    return np.float32(0) if x < _LOWEST else fraction * power


@compiled
def exp_of_any_float32(x):
    """exp(x) for any float32; NaN for NaN."""
    inside = _LOWEST if x < _LOWEST else (_HIGHEST if x > _HIGHEST else x)
    # 2**128 is no float32, but the largest results have that power: they are made from half of it.
    half = inside > 0
    fraction, power = _fraction_and_power(inside, _EXPONENT_BIAS - half)
    result = fraction * power * (_TWO if half else _ONE)
    result = _INFINITY if x > _HIGHEST else result
    return np.float32(0) if x < _LOWEST else result
