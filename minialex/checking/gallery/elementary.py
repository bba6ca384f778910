"""Wrong gradients of elementary functions of one number, whose derivatives are written with their results."""

import math

import numpy as np

from minialex.checking.gallery.mistake import Subject
from minialex.checking.testing.values import distinct_values


def _normal(random):
    return [random.standard_normal((3, 4))]


# The logistic function. x (3, 4)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def sigmoid_vjp(g, x):
    y = sigmoid(x)
    gx = g * y * (1 - y)
    return (gx,)


SIGMOID = Subject("sigmoid", sigmoid, sigmoid_vjp, _normal)

SIGMOID.wrong("""
    term: of the input instead of the result
    - gx = g * y * (1 - y)
    + gx = g * x * (1 - x)
    The formula in y, used as one in x.

    term: one factor missing
    - gx = g * y * (1 - y)
    + gx = g * (1 - y)
    The derivative of its logarithm.

    term: squared
    - gx = g * y * (1 - y)
    + gx = g * (1 - y * y)
    The derivative of tanh.
""")


def softplus(x):
    return np.log1p(np.exp(x))


def softplus_vjp(g, x):
    y = 1 / (1 + np.exp(-x))
    gx = g * y
    return (gx,)


SOFTPLUS = Subject("softplus", softplus, softplus_vjp, _normal)

SOFTPLUS.wrong("""
    factor: sign of the exponent
    - y = 1 / (1 + np.exp(-x))
    + y = 1 / (1 + np.exp(x))
    The logistic function of -x.

    term: the derivative of the derivative
    - gx = g * y
    + gx = g * y * (1 - y)
    That of the logistic function, one too far.
""")

# With a factor inside and outside, as layers have it
BETA = 3.0


def scaled_softplus(x):
    return np.log1p(np.exp(BETA * x)) / BETA


def scaled_softplus_vjp(g, x):
    y = 1 / (1 + np.exp(-BETA * x))
    gx = g * y
    return (gx,)


SCALED_SOFTPLUS = Subject("softplus", scaled_softplus, scaled_softplus_vjp, _normal, name="beta")

SCALED_SOFTPLUS.wrong("""
    constant: beta left out
    - y = 1 / (1 + np.exp(-BETA * x))
    + y = 1 / (1 + np.exp(-x))
    Right for a beta of 1, the default.

    factor: divided by beta again
    - gx = g * y
    + gx = g * y / BETA
    The factor inside cancels the one outside.
""")

# The hyperbolic tangent, by its other formula


def tanh(x):
    return np.tanh(x)


def tanh_vjp(g, x):
    half = np.cosh(x)
    gx = g / half**2
    return (gx,)


TANH = Subject("tanh", tanh, tanh_vjp, _normal, name="by cosh")

TANH.wrong("""
    constant: cosh not squared
    - gx = g / half**2
    + gx = g / half
    Right at 0, and to second order near it half of the curvature.

    term: sinh for cosh
    - half = np.cosh(x)
    + half = np.sinh(x)
    The derivative of the hyperbolic cotangent, but for its sign.
""")


def expm1(x):
    return np.expm1(x)


def expm1_vjp(g, x):
    y = np.expm1(x)
    gx = g * (y + 1)
    return (gx,)


EXPM1 = Subject("expm1", expm1, expm1_vjp, _normal)

EXPM1.wrong("""
    term: its own derivative
    - gx = g * (y + 1)
    + gx = g * y
    That is the exponential, which this is not.

    factor: the 1 taken away again
    - gx = g * (y + 1)
    + gx = g * (y - 1)
    The 1 of the function's name.
""")


def log1p(x):
    return np.log1p(x)


def log1p_vjp(g, x):
    gx = g / (x + 1)
    return (gx,)


LOG1P = Subject("log1p", log1p, log1p_vjp, lambda random: [random.uniform(0.5, 2, (3, 4))])

LOG1P.wrong("""
    constant: the 1 left out
    - gx = g / (x + 1)
    + gx = g / x
    The derivative of the logarithm.

    term: divided by the result
    - gx = g / (x + 1)
    + gx = g / (np.log1p(x) + 1)
    The result was saved, not the input.
""")

# The error function. x (3, 4)


def erf(x):
    return np.vectorize(math.erf)(x)


def erf_vjp(g, x):
    scale = 2 / np.sqrt(np.pi)
    gx = g * scale * np.exp(-(x**2))
    return (gx,)


ERF = Subject("erf", erf, erf_vjp, _normal)

ERF.wrong("""
    constant: factor of the integral missing
    - scale = 2 / np.sqrt(np.pi)
    + scale = 1
    The integrand without what makes the limit 1.

    constant: the normal distribution's exponent
    - gx = g * scale * np.exp(-(x**2))
    + gx = g * scale * np.exp(-(x**2) / 2)
    Their arguments differ by the root of 2.

    constant: the normal distribution's factor
    - scale = 2 / np.sqrt(np.pi)
    + scale = 1 / np.sqrt(2 * np.pi)
    Their arguments differ by the root of 2.
""")

# Limits of -1 and 2. x (4, 5), away from the limits
LOW, HIGH = -1.0, 2.0


def clamp(x):
    return np.clip(x, LOW, HIGH)


def clamp_vjp(g, x):
    inside = (x >= LOW) & (x <= HIGH)
    gx = np.where(inside, g, 0)
    return (gx,)


CLAMP = Subject("clamp", clamp, clamp_vjp, lambda random: [distinct_values(random, (4, 5))])

CLAMP.wrong("""
    term: upper limit without effect
    - inside = (x >= LOW) & (x <= HIGH)
    + inside = x >= LOW
    Only one of two kinks.

    term: passes the limits
    - gx = np.where(inside, g, 0)
    + gx = g.copy()
    A straight-through gradient.

    index: passes outside
    - gx = np.where(inside, g, 0)
    + gx = np.where(inside, 0, g)
    The condition the wrong way round.
""")

SUBJECTS = (SIGMOID, SOFTPLUS, SCALED_SOFTPLUS, TANH, EXPM1, LOG1P, ERF, CLAMP)
