"""Arithmetic, element by element, with NumPy's broadcasting.

    add, subtract, multiply, divide, maximum, minimum    .forward (a, b) -> y
    negative, absolute, sqrt, exp, expm1, log, log1p,    .forward (x) -> y
    tanh, sigmoid, softplus, erf
    power.forward (x) -> x ** exponent                   takes exponent, a number
    clamp.forward (x) -> min(max(x, low), high)          takes low and high, numbers; a NaN is passed on

    sigmoid:   1 / (1 + exp(-x))
    softplus:  log(1 + exp(x)), whose derivative is sigmoid
    erf:       2 / sqrt(pi) times the integral of exp(-t**2) from 0 to x

Their gradients are written in the same operations.
"""
