"""Functions of one array, element by element, at scales from 1e-8 to 1e8."""

import math

import numpy as np
from scipy import special

from gradients_of_others.case import (
    Function,
    at_smallest,
    elementwise,
    ignored_upstream,
    in_float32,
    negated,
    one_element,
    positive,
    scales,
    signed,
    slope,
    squared_upstream,
    stale,
    times,
)

SMALL, LARGE = 1e-8, 1e8
SWEEP = (1e-8, 1e-4, 1.0, 1e4, 1e8)
NEAR_ZERO = (1e-8, 1e-6, 1e-3, 1.0, 1e8)


def _log_sum(x):
    return np.logaddexp(0.0, x)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def sinc_slope(x):
    """The difference of two equal numbers near 0: there, by its series."""
    p = np.pi * x
    small = np.abs(p) < 0.05
    far = np.where(small, 1.0, p)
    series = p * (-1 / 3 + p**2 * (1 / 30 + p**2 * (-1 / 840 + p**2 / 45360)))
    return np.pi * np.where(small, series, np.cos(far) / far - np.sin(far) / far**2)


def normal_density(x):
    return np.exp(-(x**2) / 2) / math.sqrt(2 * math.pi)


def _gelu_tanh(x):
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def gelu_tanh_slope(x):
    k = math.sqrt(2 / math.pi)
    t = np.tanh(k * (x + 0.044715 * x**3))
    return 0.5 * (1 + t) + 0.5 * x * (1 - t**2) * k * (1 + 3 * 0.044715 * x**2)


def mish_slope(x):
    t, s = np.tanh(_log_sum(x)), sigmoid(x)
    return t + x * s * (1 - t**2)


MIXED = np.array([1e8, 1e4, 1.0, 1e-4, 1e-8])
"""The sizes of outputs that stand side by side."""


def _beside(point: float, distance: float) -> np.ndarray:
    """Elements on both sides of a point, and others far from it."""
    return np.array([point - distance, point + distance, point - 0.7, point + 0.9])


POWERS = [
    elementwise(
        "log",
        np.log,
        lambda x: 1 / x,
        scales(positive, *NEAR_ZERO),
        [times(1.001), slope("1 / (1 + x)", lambda x: 1 / (1 + x), ("1e-08", "1e-06", "0.001", "1"))],
    ),
    elementwise(
        "1 / x", np.reciprocal, lambda x: -1 / x**2, scales(signed, *NEAR_ZERO), [times(1.001), negated()]
    ),
    elementwise(
        "sqrt", np.sqrt, lambda x: 0.5 / np.sqrt(x), scales(positive, *NEAR_ZERO), [times(1.001), times(2)]
    ),
    elementwise(
        "x^-1/2",
        lambda x: x**-0.5,
        lambda x: -0.5 * x**-1.5,
        scales(positive, *NEAR_ZERO),
        [times(1.001), slope("-x^-1.5", lambda x: -(x**-1.5))],
    ),
    elementwise(
        "cbrt", np.cbrt, lambda x: np.cbrt(x) / (3 * x), scales(signed, *SWEEP), [times(1.001), times(3)]
    ),
    elementwise(
        "x^2", np.square, lambda x: 2 * x, scales(signed, *SWEEP), [times(1.001), times(0.5), one_element()]
    ),
    elementwise(
        "x^3",
        lambda x: x**3,
        lambda x: 3 * x**2,
        scales(signed, *SWEEP),
        [times(1.001), times(1.01), negated(), in_float32(("1",))],
    ),
    elementwise(
        "x^-3",
        lambda x: x**-3.0,
        lambda x: -3 * x**-4.0,
        scales(signed, 1e-4, 1.0, 1e4),
        [times(1.001), negated()],
    ),
    elementwise(
        "x^5 - x",
        lambda x: x**5 - x,
        lambda x: 5 * x**4 - 1,
        scales(signed, 1e-8, 1.0, 1e4),
        [times(1.001), slope("5 x^4 + 1", lambda x: 5 * x**4 + 1, ("1e-08", "1"))],
    ),
    elementwise(
        "x log x",
        lambda x: x * np.log(x),
        lambda x: np.log(x) + 1,
        scales(positive, 1e-8, 1e-3, 1.0, 1e8),
        [times(1.001), slope("log x", np.log)],
    ),
    elementwise(
        "x |x|",
        lambda x: x * np.abs(x),
        lambda x: 2 * np.abs(x),
        scales(signed, *SWEEP),
        [times(1.001), slope("2 x", lambda x: 2 * x)],
    ),
]

EXPONENTIALS = [
    elementwise(
        "exp",
        np.exp,
        np.exp,
        {
            **scales(signed, 1e-8, 1.0),
            "-700": signed(1.0) - 700,
            "-300": signed(1.0) - 300,
            "300": signed(1.0) + 300,
            "700": signed(1.0) + 700,
        },
        [times(1.001), negated(), stale(1.01, ("1", "300", "-300"))],
    ),
    elementwise(
        "exp(-x^2)",
        lambda x: np.exp(-(x**2)),
        lambda x: -2 * x * np.exp(-(x**2)),
        scales(signed, 1e-3, 1.0, 2.0),
        [times(1.001), slope("without the inner derivative", lambda x: np.exp(-(x**2)))],
    ),
    elementwise(
        "exp(x / 1e-6)",
        lambda x: np.exp(x / 1e-6),
        lambda x: np.exp(x / 1e-6) / 1e-6,
        scales(signed, 1e-8, 1e-6),
        [times(1.001), slope("without the inner derivative", lambda x: np.exp(x / 1e-6))],
    ),
    elementwise(
        "tanh(x / 1e-6)",
        lambda x: np.tanh(x / 1e-6),
        lambda x: (1 - np.tanh(x / 1e-6) ** 2) / 1e-6,
        scales(signed, 1e-8, 1e-6),
        [times(1.001), negated()],
    ),
    elementwise(
        "tanh(x / 1e6)",
        lambda x: np.tanh(x / 1e6),
        lambda x: (1 - np.tanh(x / 1e6) ** 2) / 1e6,
        scales(signed, 1.0, 1e6),
        [times(1.001), times(1e6)],
    ),
    elementwise(
        "expm1",
        np.expm1,
        np.exp,
        scales(signed, 1e-8, 1e-3, 1.0),
        [times(1.001), slope("expm1", np.expm1), squared_upstream(("1",))],
    ),
    elementwise(
        "log1p",
        np.log1p,
        lambda x: 1 / (1 + x),
        scales(positive, 1e-8, 1.0, 1e8),
        [times(1.001), slope("1 / x", lambda x: 1 / x, ("1e-08", "1"))],
    ),
    elementwise(
        "2^x",
        np.exp2,
        lambda x: np.exp2(x) * math.log(2),
        scales(signed, 1e-3, 1.0, 10.0),
        [times(1.001), slope("2^x", np.exp2)],
    ),
    elementwise(
        "log2",
        np.log2,
        lambda x: 1 / (x * math.log(2)),
        scales(positive, 1e-8, 1.0, 1e8),
        [times(1.001), slope("1 / x", lambda x: 1 / x)],
    ),
    elementwise(
        "log10",
        np.log10,
        lambda x: 1 / (x * math.log(10)),
        scales(positive, 1e-8, 1.0, 1e8),
        [times(1.001), slope("1 / x", lambda x: 1 / x)],
    ),
]

TRIGONOMETRY = [
    elementwise(
        "sin",
        np.sin,
        np.cos,
        {**scales(signed, 1e-8, 1.0), **{f"{c:g}": c + signed(1.0) for c in (300.0, 1e4, 1e6, 1e8)}},
        [times(1.001), slope("sin for cos", np.sin), negated()],
    ),
    elementwise(
        "cos",
        np.cos,
        lambda x: -np.sin(x),
        {**scales(signed, 1e-8, 1e-3, 1.0), **{f"{c:g}": c + signed(1.0) for c in (300.0, 1e4, 1e6)}},
        [times(1.001), slope("sin", np.sin)],
    ),
    elementwise(
        "sin(1e6 x)",
        lambda x: np.sin(1e6 * x),
        lambda x: 1e6 * np.cos(1e6 * x),
        scales(signed, 1e-8, 1e-6, 1.0),
        [times(1.001), slope("cos(1e6 x)", lambda x: np.cos(1e6 * x))],
    ),
    elementwise(
        "x sin(1 / x)",
        lambda x: x * np.sin(1 / x),
        lambda x: np.sin(1 / x) - np.cos(1 / x) / x,
        scales(signed, 1e-3, 0.1, 10.0),
        [times(1.001), slope("sin(1 / x)", lambda x: np.sin(1 / x))],
    ),
    elementwise(
        "tan",
        np.tan,
        lambda x: 1 + np.tan(x) ** 2,
        {
            **scales(signed, 1e-8),
            "1e-3 below pi / 2": np.pi / 2 - positive(1e-3),
            "1e-6 below pi / 2": np.pi / 2 - positive(1e-6),
        },
        [times(1.001), slope("tan^2", lambda x: np.tan(x) ** 2, ("1e-08",))],
    ),
    elementwise(
        "arcsin",
        np.arcsin,
        lambda x: 1 / np.sqrt((1 - x) * (1 + x)),
        {
            "0": signed(0.1),
            "0.9": 0.9 + signed(0.03),
            "0.999999": np.array([-0.999999, 0.999998, 0.999999, 0.9999995]),
        },
        [times(1.001), negated(), slope("1 / (1 - x^2)", lambda x: 1 / (1 - x**2))],
    ),
    elementwise(
        "arccos",
        np.arccos,
        lambda x: -1 / np.sqrt((1 - x) * (1 + x)),
        {"0": signed(0.1), "0.999999": np.array([-0.999999, 0.999998, 0.999999, 0.9999995])},
        [times(1.001), negated()],
    ),
    elementwise(
        "arctan",
        np.arctan,
        lambda x: 1 / (1 + x**2),
        scales(signed, *SWEEP),
        [
            times(1.001),
            negated(),
            slope("1 / (1 + |x|)", lambda x: 1 / (1 + np.abs(x)), ("1", "10000", "1e+08")),
        ],
    ),
    elementwise(
        "sinh",
        np.sinh,
        np.cosh,
        {**scales(signed, 1e-8, 1.0), "300": 300 + signed(1.0)},
        [times(1.001), negated()],
    ),
    elementwise(
        "cosh",
        np.cosh,
        np.sinh,
        {**scales(signed, 1e-3, 1.0), "-300": -300 + signed(1.0)},
        [times(1.001), slope("cosh", np.cosh, ("0.001", "1")), negated()],
    ),
    elementwise(
        "tanh",
        np.tanh,
        lambda x: 1 - np.tanh(x) ** 2,
        {
            **scales(signed, 1e-8, 1.0),
            "5": np.array([-5.0, -4.9, 4.8, 5.1]),
            "8": np.array([-8.0, -7.9, 7.8, 8.1]),
        },
        [times(1.001), slope("1 - tanh", lambda x: 1 - np.tanh(x), ("1", "5", "8"))],
    ),
    elementwise(
        "arcsinh",
        np.arcsinh,
        lambda x: 1 / np.hypot(1, x),
        scales(signed, 1e-8, 1.0, 1e8),
        [times(1.001), negated()],
    ),
    elementwise(
        "arccosh",
        np.arccosh,
        lambda x: 1 / np.sqrt((x - 1) * (x + 1)),
        {"1 + 1e-6": 1 + positive(1e-6), "1 + 1e-3": 1 + positive(1e-3), "1e8": 2 + positive(1e8)},
        [times(1.001), negated()],
    ),
    elementwise(
        "arctanh",
        np.arctanh,
        lambda x: 1 / ((1 - x) * (1 + x)),
        {"1e-8": signed(1e-8), "0.5": signed(0.2), "0.999999": np.array([-0.999999, 0.999998, 0.999999])},
        [times(1.001), negated()],
    ),
    elementwise(
        "sinc",
        np.sinc,
        sinc_slope,
        scales(signed, 1e-8, 1e-3, 1.0),
        [times(1.001), negated(), slope("cos(pi x) / x", lambda x: np.cos(np.pi * x) / x)],
    ),
]

ACTIVATIONS = [
    elementwise(
        "sigmoid",
        lambda x: 1 / (1 + np.exp(-x)),
        lambda x: sigmoid(x) * sigmoid(-x),
        {
            **scales(signed, 1e-8, 1.0),
            "+-30": np.array([-30.0, -29.0, -28.5, -1.0, 2.0, 30.0]),
            "+-15": signed(1.0) * 5,
        },
        [times(1.001), slope("s", sigmoid), one_element(1.01, ("1", "+-15"))],
    ),
    elementwise(
        "softplus",
        lambda x: np.logaddexp(0.0, x),
        sigmoid,
        {**scales(signed, 1e-8, 1.0), "+-30": np.array([-30.0, -29.0, -28.5, 1.0, 29.0, 30.0])},
        [times(1.001), slope("sigmoid(-x)", lambda x: sigmoid(-x), ("1", "+-30"))],
    ),
    elementwise(
        "log sigmoid",
        lambda x: -np.logaddexp(0.0, -x),
        lambda x: sigmoid(-x),
        {**scales(signed, 1e-8, 1.0), "-300": signed(1.0) - 300},
        [times(1.001), slope("sigmoid(x)", sigmoid, ("1", "-300"))],
    ),
    elementwise(
        "logit",
        lambda x: np.log(x) - np.log1p(-x),
        lambda x: 1 / (x * (1 - x)),
        {"0.5": 0.5 + signed(0.1), "1e-8": positive(1e-8), "1 - 1e-6": 1 - positive(1e-6)},
        [times(1.001), slope("1 / x", lambda x: 1 / x, ("0.5", "1 - 1e-6"))],
    ),
    elementwise(
        "silu",
        lambda x: x / (1 + np.exp(-x)),
        lambda x: sigmoid(x) * (1 + x * sigmoid(-x)),
        {**scales(signed, 1e-8, 1.0), "-20": signed(1.0) - 20},
        [times(1.001), slope("sigmoid", sigmoid, ("1", "-20"))],
    ),
    elementwise(
        "gelu",
        lambda x: x * special.ndtr(x),
        lambda x: special.ndtr(x) + x * normal_density(x),
        scales(signed, 1e-8, 1.0),
        [times(1.001), slope("Phi only", special.ndtr, ("1",)), in_float32(("1",))],
    ),
    elementwise(
        "gelu, tanh form",
        _gelu_tanh,
        gelu_tanh_slope,
        scales(signed, 1e-8, 1.0),
        [times(1.001), slope("of the erf form", lambda x: special.ndtr(x) + x * normal_density(x), ("1",))],
    ),
    elementwise(
        "mish",
        lambda x: x * np.tanh(np.logaddexp(0.0, x)),
        mish_slope,
        scales(signed, 1e-8, 1.0, 5.0),
        [times(1.001), slope("tanh(softplus)", lambda x: np.tanh(_log_sum(x)), ("1",))],
    ),
    elementwise(
        "softsign",
        lambda x: x / (1 + np.abs(x)),
        lambda x: 1 / (1 + np.abs(x)) ** 2,
        scales(signed, 1e-6, 1.0, 1e4),
        [times(1.001), slope("1 / (1 + |x|)", lambda x: 1 / (1 + np.abs(x)), ("1", "10000"))],
    ),
    elementwise(
        "elu",
        lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))),
        lambda x: np.where(x > 0, 1.0, np.exp(np.minimum(x, 0))),
        {**scales(signed, 1e-4, 1e-6, 1.0), "-10": signed(1.0) - 10},
        [times(1.001), slope("expm1 below 0", lambda x: np.where(x > 0, 1.0, np.expm1(np.minimum(x, 0))))],
    ),
    elementwise(
        "selu",
        lambda x: 1.0507 * np.where(x > 0, x, 1.6733 * np.expm1(np.minimum(x, 0))),
        lambda x: 1.0507 * np.where(x > 0, 1.0, 1.6733 * np.exp(np.minimum(x, 0))),
        scales(signed, 1e-3, 1.0),
        [
            times(1.001),
            slope("without lambda", lambda x: np.where(x > 0, 1.0, 1.6733 * np.exp(np.minimum(x, 0)))),
        ],
    ),
    elementwise(
        "hardswish",
        lambda x: x * np.clip(x + 3, 0, 6) / 6,
        lambda x: np.where(x <= -3, 0.0, np.where(x >= 3, 1.0, (2 * x + 3) / 6)),
        {
            "1": signed(1.0),
            "1e-6 beside 3": _beside(3, 1e-6),
            "1e-6 beside -3": _beside(-3, 1e-6),
            "1e-8": signed(1e-8),
        },
        [times(1.001), slope("clip only", lambda x: np.clip(x + 3, 0, 6) / 6)],
    ),
    elementwise(
        "hard sigmoid",
        lambda x: np.clip(x / 6 + 0.5, 0, 1),
        lambda x: np.where(np.abs(x) < 3, 1 / 6, 0.0),
        {"1": signed(1.0), "1e-8 beside 3": _beside(3, 1e-8)},
        [times(1.001), times(6)],
    ),
    elementwise(
        "relu",
        lambda x: np.maximum(x, 0),
        lambda x: (x > 0) * 1.0,
        {
            **scales(signed, 1e-8, 1.0, 1e8),
            "0 among others": np.array([0.0, -1.3, 0.4, 2.2, 0.9, -0.6, 1.7, 3.1]),
        },
        [times(1.001), slope("leaks", lambda x: np.where(x > 0, 1.0, 0.01))],
    ),
    elementwise(
        "leaky relu",
        lambda x: np.where(x > 0, x, 0.01 * x),
        lambda x: np.where(x > 0, 1.0, 0.01),
        scales(signed, 1e-8, 1.0, 1e8),
        [times(1.001), slope("0.1 below 0", lambda x: np.where(x > 0, 1.0, 0.1))],
    ),
    elementwise(
        "abs",
        np.abs,
        np.sign,
        {**scales(signed, 1e-8, 1.0, 1e8), "0 among others": np.append(signed(1.0), 0.0)},
        [times(1.001), slope("1", np.ones_like)],
    ),
    elementwise(
        "clip to [-1, 1]",
        lambda x: np.clip(x, -1, 1),
        lambda x: (np.abs(x) < 1) * 1.0,
        {"1": signed(0.7), "1e-8 beside 1": _beside(1, 1e-8)},
        [times(1.001), slope("1", np.ones_like)],
    ),
    elementwise(
        "relu^2",
        lambda x: np.maximum(x, 0) ** 2,
        lambda x: 2 * np.maximum(x, 0),
        scales(signed, 1e-8, 1.0, 1e4),
        [times(1.001), times(0.5)],
    ),
    elementwise(
        "Huber",
        lambda x: np.where(np.abs(x) <= 1, x**2 / 2, np.abs(x) - 0.5),
        lambda x: np.clip(x, -1, 1),
        {
            "1": signed(1.0),
            "1e-4 beside the joint": _beside(1, 1e-4),
            "1e-6 beside the joint": _beside(1, 1e-6),
            "the joint": np.array([-1.0, 1.0, 0.3, -2.5, 1.8]),
            "1e-8": signed(1e-8),
        },
        [times(1.001), slope("x", lambda x: x, ("1", "the joint")), slope("sign", np.sign, ("1", "1e-8"))],
    ),
    elementwise(
        "Huber of delta 1e-3",
        lambda x: np.where(np.abs(x) <= 1e-3, x**2 / 2, 1e-3 * (np.abs(x) - 5e-4)),
        lambda x: np.clip(x, -1e-3, 1e-3),
        scales(signed, 1e-8, 1e-3, 1.0),
        [times(1.001), negated()],
    ),
    elementwise(
        "log cosh",
        lambda x: np.logaddexp(x, -x) - math.log(2),
        np.tanh,
        scales(signed, 1e-3, 1.0, 300.0),
        [times(1.001), slope("tanh(x / 2)", lambda x: np.tanh(x / 2), ("0.001", "1"))],
    ),
]

SPECIAL = [
    elementwise(
        "erf",
        special.erf,
        lambda x: 2 / math.sqrt(math.pi) * np.exp(-(x**2)),
        scales(signed, 1e-8, 1.0),
        [times(1.001), slope("without 2 / sqrt(pi)", lambda x: np.exp(-(x**2)))],
    ),
    elementwise(
        "erfc",
        special.erfc,
        lambda x: -2 / math.sqrt(math.pi) * np.exp(-(x**2)),
        {"1": signed(1.0), "5": 5 + signed(0.2)},
        [times(1.001), negated()],
    ),
    elementwise(
        "log gamma",
        special.gammaln,
        special.digamma,
        scales(positive, 1e-8, 1.0, 1e4),
        [times(1.001), slope("log x", np.log, ("1e-08", "1"))],
    ),
    elementwise(
        "digamma",
        special.digamma,
        lambda x: special.polygamma(1, x),
        scales(positive, 1e-6, 1.0, 1e4),
        [times(1.001), slope("1 / x", lambda x: 1 / x, ("1e-06", "1"))],
    ),
    elementwise(
        "exp(-|x|) I0",
        special.i0e,
        lambda x: special.i1e(x) - np.sign(x) * special.i0e(x),
        scales(signed, 1.0, 1e4),
        [times(1.001), slope("i1e", special.i1e)],
    ),
    elementwise(
        "log Phi",
        special.log_ndtr,
        lambda x: np.exp(-(x**2) / 2 - special.log_ndtr(x)) / math.sqrt(2 * math.pi),
        {"1": signed(1.0), "-20": signed(1.0) - 20},
        [times(1.001), slope("without the density", lambda x: np.exp(-special.log_ndtr(x)))],
    ),
]

SIDE_BY_SIDE = [
    elementwise(
        "c tanh x, c from 1e8 to 1e-8",
        lambda x: MIXED * np.tanh(x),
        lambda x: MIXED * (1 - np.tanh(x) ** 2),
        scales(positive, 0.3),
        [
            times(1.001),
            slope(
                "doubled below 1e-3", lambda x: np.where(MIXED < 1e-3, 2, 1) * MIXED * (1 - np.tanh(x) ** 2)
            ),
            slope(
                "negated in the smallest",
                lambda x: np.where(MIXED < 1e-7, -1, 1) * MIXED * (1 - np.tanh(x) ** 2),
            ),
            ignored_upstream(),
        ],
    ),
    elementwise(
        "c x^3, c from 1e8 to 1e-8",
        lambda x: MIXED * x**3,
        lambda x: 3 * MIXED * x**2,
        scales(positive, 1e-4, 1.0, 1e4),
        [
            times(1.001),
            slope("1.01 in the smallest", lambda x: np.where(MIXED < 1e-7, 1.01, 1) * 3 * MIXED * x**2),
        ],
    ),
    elementwise(
        "sqrt of 1e8 to 1e-8",
        np.sqrt,
        lambda x: 0.5 / np.sqrt(x),
        {"1e8 to 1e-8": MIXED * 1.3},
        [times(1.001), at_smallest(1.01), one_element()],
    ),
    elementwise(
        "x^2 of 1e8 to 1e-8",
        np.square,
        lambda x: 2 * x,
        {"1e8 to 1e-8": MIXED * 1.3},
        [times(1.001), at_smallest(2.0)],
    ),
    elementwise(
        "exp(-x) from 1 to 1e-17",
        lambda x: np.exp(-x),
        lambda x: -np.exp(-x),
        {"0 to 40": np.linspace(0.5, 39.5, 7)},
        [
            times(1.001),
            slope("doubled below 1e-4", lambda x: -np.where(np.exp(-x) < 1e-4, 2, 1) * np.exp(-x)),
        ],
    ),
]

CANCELLATION = [
    elementwise(
        "1 - cos x",
        lambda x: 1 - np.cos(x),
        np.sin,
        scales(signed, 1e-6, 1e-3, 1.0),
        [times(1.001), negated()],
    ),
    elementwise(
        "exp(x) - 1",
        lambda x: np.exp(x) - 1,
        np.exp,
        scales(signed, 1e-8, 1e-6, 1.0),
        [times(1.001), slope("exp(x) - 1", np.expm1)],
    ),
    elementwise(
        "log(1 + x)",
        lambda x: np.log(1 + x),
        lambda x: 1 / (1 + x),
        scales(positive, 1e-8, 1e-6, 1.0),
        [times(1.001), slope("1 / x", lambda x: 1 / x)],
    ),
    elementwise(
        "sqrt(1 + x) - 1",
        lambda x: np.sqrt(1 + x) - 1,
        lambda x: 0.5 / np.sqrt(1 + x),
        scales(positive, 1e-8, 1e-4, 1.0),
        [times(1.001), times(2)],
    ),
    elementwise(
        "x - sin x",
        lambda x: x - np.sin(x),
        lambda x: 2 * np.sin(x / 2) ** 2,
        scales(signed, 1e-2, 1.0, 1e4),
        [times(1.001), slope("1 + cos x", lambda x: 1 + np.cos(x))],
    ),
    elementwise(
        "sqrt(x + 1) - sqrt(x)",
        lambda x: np.sqrt(x + 1) - np.sqrt(x),
        lambda x: -0.5 / (np.sqrt(x) * np.sqrt(x + 1) * (np.sqrt(x) + np.sqrt(x + 1))),
        scales(positive, 1.0, 1e4),
        [times(1.001), negated()],
    ),
    elementwise(
        "1 / x - 1 / (x + 1)",
        lambda x: 1 / x - 1 / (x + 1),
        lambda x: -(2 * x + 1) / (x * (x + 1)) ** 2,
        scales(positive, 1e-4, 1.0, 1e3),
        [times(1.001), negated()],
    ),
    elementwise(
        "log cosh by its definition",
        lambda x: np.log(np.cosh(x)),
        np.tanh,
        scales(signed, 1e-4, 1e-2, 1.0),
        [times(1.001), negated()],
    ),
    elementwise(
        "1e6 + sin x",
        lambda x: 1e6 + np.sin(x),
        np.cos,
        scales(signed, 1e-6, 1.0),
        [times(1.001), slope("sin", np.sin)],
    ),
]
"""Results that are differences of larger numbers: their rounding is not relative to them."""

ROUNDED = [
    elementwise(
        "sigmoid by s (1 - s)",
        lambda x: 1 / (1 + np.exp(-x)),
        lambda x: sigmoid(x) * (1 - sigmoid(x)),
        {
            "1": signed(1.0),
            "12": np.array([-12.0, -11.0, 10.5, 12.0]),
            "20": np.array([-20.0, 3.0, 18.0, 20.0]),
        },
        [times(1.001), slope("s", sigmoid)],
    ),
    elementwise(
        "arctanh by 1 / (1 - x^2)",
        np.arctanh,
        lambda x: 1 / (1 - x**2),
        {"0.999999": np.array([-0.999999, 0.999998, 0.999999]), "0.9": 0.9 + signed(0.02)},
        [times(1.001), negated()],
    ),
    elementwise(
        "arcsin by 1 / sqrt(1 - x^2)",
        np.arcsin,
        lambda x: 1 / np.sqrt(1 - x**2),
        {"0.999999": np.array([-0.999999, 0.999998, 0.999999])},
        [times(1.001), negated()],
    ),
    elementwise(
        "arccosh by 1 / sqrt(x^2 - 1)",
        np.arccosh,
        lambda x: 1 / np.sqrt(x**2 - 1),
        {"1 + 1e-6": 1 + positive(1e-6)},
        [times(1.001), negated()],
    ),
    elementwise(
        "expm1 by y + 1",
        np.expm1,
        lambda x: np.expm1(x) + 1,
        {"-10": signed(1.0) - 10, "1e-8": signed(1e-8)},
        [times(1.001), slope("y", np.expm1)],
    ),
    elementwise(
        "tan by 1 / cos^2",
        np.tan,
        lambda x: 1 / np.cos(x) ** 2,
        {"1e-6 below pi / 2": np.pi / 2 - positive(1e-6)},
        [times(1.001), negated()],
    ),
    elementwise(
        "softplus by 1 - exp(-y)",
        lambda x: np.logaddexp(0.0, x),
        lambda x: 1 - np.exp(-np.logaddexp(0.0, x)),
        {"-10": signed(1.0) - 10, "1": signed(1.0)},
        [times(1.001), slope("exp(-y)", lambda x: np.exp(-np.logaddexp(0.0, x)))],
    ),
]
"""Right gradients whose formulas lose digits themselves."""

FUNCTIONS: list[Function] = (
    POWERS + EXPONENTIALS + TRIGONOMETRY + ACTIVATIONS + SPECIAL + SIDE_BY_SIDE + CANCELLATION + ROUNDED
)
