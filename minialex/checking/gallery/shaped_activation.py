"""Wrong gradients of the activations that came after ReLU: with a slope, smooth, or in pieces."""

import math

import numpy as np

from minialex.checking.gallery.mistake import Subject
from minialex.checking.testing.values import distinct_values


def _distinct(random):
    return [distinct_values(random, (4, 5))]


def _normal(random):
    return [random.standard_normal((3, 4))]


# Leaky ReLU. x (4, 5), away from 0
SLOPE = 0.1


def leaky_relu(x):
    return np.where(x > 0, x, SLOPE * x)


def leaky_relu_vjp(g, x):
    gx = np.where(x > 0, g, SLOPE * g)
    return (gx,)


LEAKY = Subject("leaky_relu", leaky_relu, leaky_relu_vjp, _distinct)

LEAKY.wrong("""
    constant: the negative side stopped
    - gx = np.where(x > 0, g, SLOPE * g)
    + gx = np.where(x > 0, g, 0)
    The gradient of ReLU.

    constant: another slope
    - gx = np.where(x > 0, g, SLOPE * g)
    + gx = np.where(x > 0, g, 0.01 * g)
    PyTorch's default, written down where the parameter belongs.

    factor: divided by the slope
    - gx = np.where(x > 0, g, SLOPE * g)
    + gx = np.where(x > 0, g, g / SLOPE)
    The slope of the inverse function.
""")

# Parametric ReLU with a slope a channel. x (2, 3, 4), weight (3,)


def prelu(x, weight):
    return np.where(x > 0, x, weight[:, None] * x)


def prelu_vjp(g, x, weight):
    gx = np.where(x > 0, g, weight[:, None] * g)
    gw = np.where(x > 0, 0, g * x).sum(axis=(0, 2))
    return gx, gw


PRELU = Subject(
    "prelu",
    prelu,
    prelu_vjp,
    lambda random: [distinct_values(random, (2, 3, 4)), random.uniform(0.2, 0.6, 3)],
)

PRELU.wrong("""
    term: slopes moved by the positive side, too
    - gw = np.where(x > 0, 0, g * x).sum(axis=(0, 2))
    + gw = (g * x).sum(axis=(0, 2))
    There the slope has no influence.

    term: the upstream gradient without the input
    - gw = np.where(x > 0, 0, g * x).sum(axis=(0, 2))
    + gw = np.where(x > 0, 0, g).sum(axis=(0, 2))
    As if the slope were a bias.

    accumulation: one slope's gradient for all
    - gw = np.where(x > 0, 0, g * x).sum(axis=(0, 2))
    + gw = np.where(x > 0, 0, g * x).sum() * np.ones_like(weight)
    Right for a single slope.

    constant: the slope at the start
    - gx = np.where(x > 0, g, weight[:, None] * g)
    + gx = np.where(x > 0, g, 0.25 * g)
    Right before the first step.
""")

# The exponential linear unit. x (4, 5), away from 0
ALPHA = 0.7


def elu(x):
    return np.where(x > 0, x, ALPHA * np.expm1(np.minimum(x, 0)))


def elu_vjp(g, x):
    power = ALPHA * np.exp(np.minimum(x, 0))
    gx = np.where(x > 0, g, g * power)
    return (gx,)


ELU = Subject("elu", elu, elu_vjp, lambda random: [distinct_values(random, (4, 5)) / 3])

ELU.wrong("""
    term: the result for the derivative
    - power = ALPHA * np.exp(np.minimum(x, 0))
    + power = ALPHA * np.expm1(np.minimum(x, 0))
    The derivative is the result plus alpha.

    constant: alpha left out
    - power = ALPHA * np.exp(np.minimum(x, 0))
    + power = np.exp(np.minimum(x, 0))
    Right for an alpha of 1, the default.

    constant: 1 added instead of alpha
    - power = ALPHA * np.exp(np.minimum(x, 0))
    + power = ALPHA * np.expm1(np.minimum(x, 0)) + 1
    The derivative from the saved result; right for an alpha of 1.
""")

# x times the normal distribution function of x. x (3, 4)


def normal_cdf(x):
    return 0.5 * (1 + np.vectorize(math.erf)(x / np.sqrt(2)))


def gelu(x):
    return x * normal_cdf(x)


def gelu_vjp(g, x):
    density = np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi)
    gx = g * (normal_cdf(x) + x * density)
    return (gx,)


GELU = Subject("gelu", gelu, gelu_vjp, _normal)

GELU.wrong("""
    term: the gate taken for a constant
    - gx = g * (normal_cdf(x) + x * density)
    + gx = g * normal_cdf(x)
    Half of the product rule.

    term: the input missing
    - gx = g * (normal_cdf(x) + x * density)
    + gx = g * (normal_cdf(x) + density)
    The derivative of the gate, without what it is multiplied with.

    constant: the error function's exponent
    - density = np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi)
    + density = np.exp(-(x**2)) / np.sqrt(2 * np.pi)
    Their arguments differ by the root of 2.
""")

# The approximation by tanh
INNER, CUBIC = np.sqrt(2 / np.pi), 0.044715


def tanh_gelu(x):
    return 0.5 * x * (1 + np.tanh(INNER * (x + CUBIC * x**3)))


def tanh_gelu_vjp(g, x):
    gate = np.tanh(INNER * (x + CUBIC * x**3))
    inner = INNER * (1 + 3 * CUBIC * x**2)
    gx = g * 0.5 * (1 + gate + x * (1 - gate**2) * inner)
    return (gx,)


TANH_GELU = Subject("gelu", tanh_gelu, tanh_gelu_vjp, _normal, name="tanh")

TANH_GELU.wrong("""
    factor: factor of 3 missing
    - inner = INNER * (1 + 3 * CUBIC * x**2)
    + inner = INNER * (1 + CUBIC * x**2)
    The derivative of x³ is 3x²; hardly seen near 0.

    term: the gradient of the exact one
    - gx = g * 0.5 * (1 + gate + x * (1 - gate**2) * inner)
    + gx = g * (normal_cdf(x) + x * np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi))
    Off by some 1e-3: the two functions are that near.
""")


def silu(x):
    return x / (1 + np.exp(-x))


def silu_vjp(g, x):
    gate = 1 / (1 + np.exp(-x))
    gx = g * gate * (1 + x * (1 - gate))
    return (gx,)


SILU = Subject("silu", silu, silu_vjp, _normal)

SILU.wrong("""
    term: the gate taken for a constant
    - gx = g * gate * (1 + x * (1 - gate))
    + gx = g * gate
    Half of the product rule.

    term: the other half only
    - gx = g * gate * (1 + x * (1 - gate))
    + gx = g * x * gate * (1 - gate)
    The derivative of the gate, times the input.
""")

# x times x + 3, between 0 and 6, divided by 6. x (4, 5), away from -3 and 3


def _beyond_three(random):
    return [2.1 * distinct_values(random, (4, 5))]


def hardswish(x):
    return x * np.clip(x + 3, 0, 6) / 6


def hardswish_vjp(g, x):
    middle = np.where(np.abs(x) < 3, (2 * x + 3) / 6, 0)
    gx = g * np.where(x >= 3, 1, middle)
    return (gx,)


HARDSWISH = Subject("hardswish", hardswish, hardswish_vjp, _beyond_three)

HARDSWISH.wrong("""
    factor: factor of 2 missing
    - middle = np.where(np.abs(x) < 3, (2 * x + 3) / 6, 0)
    + middle = np.where(np.abs(x) < 3, (x + 3) / 6, 0)
    The gate itself: x is in it twice.

    term: stopped on the right
    - gx = g * np.where(x >= 3, 1, middle)
    + gx = g * middle
    The gate is constant there, x is not.

    constant: joints at 0 and 6
    - middle = np.where(np.abs(x) < 3, (2 * x + 3) / 6, 0)
    + middle = np.where((x > 0) & (x < 6), (2 * x + 3) / 6, 0)
    Those of ReLU6, before the shift by 3.
""")


def hardsigmoid(x):
    return np.clip(x + 3, 0, 6) / 6


def hardsigmoid_vjp(g, x):
    gx = np.where(np.abs(x) < 3, g / 6, 0)
    return (gx,)


HARDSIGMOID = Subject("hardsigmoid", hardsigmoid, hardsigmoid_vjp, _beyond_three)

HARDSIGMOID.wrong("""
    factor: missing 1/6
    - gx = np.where(np.abs(x) < 3, g / 6, 0)
    + gx = np.where(np.abs(x) < 3, g, 0)
    The gradient of ReLU6.

    constant: joints at 0 and 6
    - gx = np.where(np.abs(x) < 3, g / 6, 0)
    + gx = np.where((x > 0) & (x < 6), g / 6, 0)
    Those of ReLU6, before the shift by 3.
""")


def mish(x):
    return x * np.tanh(np.log1p(np.exp(x)))


def mish_vjp(g, x):
    gate = np.tanh(np.log1p(np.exp(x)))
    logistic = 1 / (1 + np.exp(-x))
    gx = g * (gate + x * (1 - gate**2) * logistic)
    return (gx,)


MISH = Subject("mish", mish, mish_vjp, _normal)

MISH.wrong("""
    term: the innermost derivative missing
    - gx = g * (gate + x * (1 - gate**2) * logistic)
    + gx = g * (gate + x * (1 - gate**2))
    The chain rule stopped at tanh.

    term: the gate taken for a constant
    - gx = g * (gate + x * (1 - gate**2) * logistic)
    + gx = g * gate
    Half of the product rule.
""")

SUBJECTS = (LEAKY, PRELU, ELU, GELU, TANH_GELU, SILU, HARDSWISH, HARDSIGMOID, MISH)
