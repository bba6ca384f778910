"""Arithmetic, element by element, with NumPy's broadcasting.

    add, subtract, multiply, divide, maximum, minimum    .forward (a, b) -> y
    negative, exp, log, sqrt, tanh, absolute             .forward (x) -> y
    power.forward (x) -> x ** exponent                   takes exponent, a number

Their gradients are written in the same operations.
"""
