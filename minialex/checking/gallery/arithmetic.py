"""Wrong gradients of element-wise arithmetic, with and without broadcasting."""

import numpy as np

from minialex.checking.gallery.mistake import Subject
from minialex.checking.testing.values import distinct_values

# Broadcasting: a (3, 1, 4), b (2, 1), y (3, 2, 4)


def multiply(a, b):
    return a * b


def multiply_vjp(g, a, b):
    ga = (g * b).sum(axis=1, keepdims=True)
    gb = (g * a).sum(axis=(0, 2))[:, None]
    return ga, gb


def _broadcast(random):
    return [random.standard_normal(shape) for shape in ((3, 1, 4), (2, 1))]


MULTIPLY = Subject("multiply", multiply, multiply_vjp, _broadcast)

MULTIPLY.wrong("""
    form: broadcast gradient not summed
    - ga = (g * b).sum(axis=1, keepdims=True)
    + ga = g * b
    It has the shape of the result, not of the input.

    factor: broadcast gradient averaged
    - ga = (g * b).sum(axis=1, keepdims=True)
    + ga = (g * b).mean(axis=1, keepdims=True)
    What is used twice has two gradients, which add up.

    accumulation: broadcast gradient cut off
    - ga = (g * b).sum(axis=1, keepdims=True)
    + ga = (g * b)[:, :1]
    Of the right shape; the other copies' gradients are lost.

    term: own factor for the other's
    - ga = (g * b).sum(axis=1, keepdims=True)
    + ga = (g * a).sum(axis=1, keepdims=True)
    The derivative of a square, but for its 2.
""")


def add(a, b):
    return a + b


def add_vjp(g, a, b):
    ga = g.copy()
    gb = g.copy()
    return ga, gb


ADD = Subject(
    "add", add, add_vjp, lambda random: [random.standard_normal(shape) for shape in ((3, 4), (3, 4))]
)

ADD.wrong("""
    memory: one gradient for both inputs
    - gb = g.copy()
    + gb = ga
    Whoever scales one of them in place scales both.
""")


def subtract(a, b):
    return a - b


def subtract_vjp(g, a, b):
    ga = g.sum(axis=1, keepdims=True)
    gb = -g.sum(axis=(0, 2))[:, None]
    return ga, gb


SUBTRACT = Subject("subtract", subtract, subtract_vjp, _broadcast)

SUBTRACT.wrong("""
    factor: sign
    - gb = -g.sum(axis=(0, 2))[:, None]
    + gb = g.sum(axis=(0, 2))[:, None]
    Copied from the addition.
""")


def divide(a, b):
    return a / b


def divide_vjp(g, a, b):
    ga = g / b
    gb = -g * a / b**2
    return ga, gb


DIVIDE = Subject(
    "divide",
    divide,
    divide_vjp,
    lambda random: [random.standard_normal((3, 4)), random.uniform(0.5, 2, (3, 4))],
)

DIVIDE.wrong("""
    term: divisor not squared
    - gb = -g * a / b**2
    + gb = -g * a / b
    Right for divisors of 1.
""")


def maximum(a, b):
    return np.maximum(a, b)


def maximum_vjp(g, a, b):
    ga = np.where(a > b, g, 0)
    gb = np.where(a > b, 0, g)
    return ga, gb


MAXIMUM = Subject(
    "maximum", maximum, maximum_vjp, lambda random: np.split(distinct_values(random, (6, 4)), 2)
)

MAXIMUM.wrong("""
    term: both get the gradient
    - gb = np.where(a > b, 0, g)
    + gb = g.copy()
    The loser has no influence on the result.
""")


def tanh(x):
    return np.tanh(x)


def tanh_vjp(g, x):
    y = np.tanh(x)
    gx = g * (1 - y**2)
    return (gx,)


# One element is exactly 0: a smooth point like any other.
TANH = Subject(
    "tanh", tanh, tanh_vjp, lambda random: [np.append(random.standard_normal(11), 0.0).reshape(3, 4)]
)

TANH.wrong("""
    term: of the input instead of the result
    - gx = g * (1 - y**2)
    + gx = g * (1 - x**2)
    Right near 0.

    form: not a number where the result is 0
    - gx = g * (1 - y**2)
    + gx = g * (y - y**3) / y
    At one element, x = 0. A comparison `abs(a - b) > tolerance` is false for NaN, and passes.
""")


def sqrt(x):
    return np.sqrt(x)


def sqrt_vjp(g, x):
    gx = g * 0.5 / np.sqrt(x)
    return (gx,)


SQRT = Subject("sqrt", sqrt, sqrt_vjp, lambda random: [random.uniform(0.5, 2, (3, 4))])

SQRT.wrong("""
    factor: factor of 1/2 missing
    - gx = g * 0.5 / np.sqrt(x)
    + gx = g / np.sqrt(x)
    The derivative of a power has the exponent as a factor.
""")


# Memory for the mistake of keeping a result in it.
KEPT = np.zeros((3, 4))


def power(x):
    return x**3


def power_vjp(g, x):
    gx = g * 3 * x**2
    return (gx,)


POWER = Subject("power", power, power_vjp, lambda random: [random.standard_normal((3, 4))])

POWER.wrong("""
    constant: exponent not decreased
    - gx = g * 3 * x**2
    + gx = g * 3 * x**3
    The derivative of a power has the next lower exponent.

    memory: a result kept for the next call
    - gx = g * 3 * x**2
    + gx = np.multiply(g, 3 * x**2, out=KEPT)
    Saves an array; the gradient of the call before is overwritten.
""")


def absolute(x):
    return np.abs(x)


def absolute_vjp(g, x):
    gx = g * np.sign(x)
    return (gx,)


ABSOLUTE = Subject("absolute", absolute, absolute_vjp, lambda random: [distinct_values(random, (3, 4))])

ABSOLUTE.wrong("""
    factor: always 1
    - gx = g * np.sign(x)
    + gx = g * np.abs(np.sign(x))
    Right for positive inputs.
""")

# A function that is constant almost everywhere: its gradient is 0. x (3, 4)


def sign(x):
    return np.sign(x)


def sign_vjp(g, x):
    gx = np.zeros_like(x)
    return (gx,)


SIGN = Subject("sign", sign, sign_vjp, lambda random: [distinct_values(random, (3, 4))])

SIGN.wrong("""
    term: passed straight through
    - gx = np.zeros_like(x)
    + gx = g.copy()
    Useful for training binary networks, but no derivative.
""")

SUBJECTS = (MULTIPLY, ADD, SUBTRACT, DIVIDE, MAXIMUM, TANH, SQRT, POWER, ABSOLUTE, SIGN)
