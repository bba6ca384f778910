"""Functions of two and more arrays, element by element: broadcasting, masks, time stamps, cancellation."""

import math

import numpy as np
from scipy import special

from gradients_of_others.case import (
    Function,
    in_float32,
    instead,
    negated,
    normal,
    one_element,
    positive,
    scales,
    signed,
    squared_upstream,
    stale,
    swapped,
    times,
    without,
)

OTHER = np.array([0.83, -1.21, 1.9, 0.47, -2.2, 1.13])
"""What stands beside `signed` numbers."""


def _pairs(*magnitudes: float) -> dict[str, list[np.ndarray]]:
    """Two arrays of a magnitude."""
    return {
        k: [x, OTHER * m] for (k, x), m in zip(scales(signed, *magnitudes).items(), magnitudes, strict=True)
    }


def _product_vjp(u, x, y):
    return u * y, u * x


def _hypot_vjp(u, x, y):
    r = np.hypot(x, y)
    return u * x / r, u * y / r


def _arctan2_vjp(u, y, x):
    return u * x / (x**2 + y**2), -u * y / (x**2 + y**2)


def _power_vjp(u, x, p):
    return u * p * x ** (p - 1), u * x**p * np.log(x)


def _bias_vjp(u, x, b):
    return 1.0 * u, u.sum(axis=0)


def _affine_vjp(u, x, w, b):
    return u * w, (u * x).sum(axis=(0, 2))[:, None], u.sum(axis=(0, 2))[:, None]


def _column_times_row_vjp(u, a, b):
    return (u * b).sum(axis=1, keepdims=True), (u * a).sum(axis=0, keepdims=True)


def _hidden(x):
    """The rounding of 1.7e9 is in the result, where neither it nor x shows it."""
    return (1.7e9 + x) - 1.7e9


def _decay(t, x):
    return x * np.exp((t - 1.7e9) / -30.0)


def _decay_vjp(u, t, x):
    e = np.exp((t - 1.7e9) / -30.0)
    return u * x * e / -30.0, u * e


STAMPS = 1.7e9 + np.array([3.0, 11.5, 24.0, 40.25, 52.0, 71.5])


def _where_vjp(u, c, x, y):
    return None, np.where(c, u, 0.0), np.where(c, 0.0, u)


def _gaussian(mean, log_sd, x):
    return -((x - mean) ** 2) / (2 * np.exp(2 * log_sd)) - log_sd - math.log(2 * math.pi) / 2


def _gaussian_vjp(u, mean, log_sd, x):
    z = (x - mean) * np.exp(-log_sd)
    return u * z * np.exp(-log_sd), u * (z**2 - 1), -u * z * np.exp(-log_sd)


def _haversine(a, b, c):
    """Of two latitudes and the difference in longitude: sin² of half of the angle between them."""
    return np.sin((b - a) / 2) ** 2 + np.cos(a) * np.cos(b) * np.sin(c / 2) ** 2


def _haversine_vjp(u, a, b, c):
    s, h = np.sin(b - a) / 2, np.sin(c / 2) ** 2
    return (
        u * (-s - np.sin(a) * np.cos(b) * h),
        u * (s - np.cos(a) * np.sin(b) * h),
        u * np.cos(a) * np.cos(b) * np.sin(c) / 2,
    )


def _spherical(r, theta, phi):
    return np.stack([r * np.sin(theta) * np.cos(phi), r * np.sin(theta) * np.sin(phi), r * np.cos(theta)])


def _spherical_vjp(u, r, theta, phi):
    st, ct, sp, cp = np.sin(theta), np.cos(theta), np.sin(phi), np.cos(phi)
    return (
        u[0] * st * cp + u[1] * st * sp + u[2] * ct,
        r * (u[0] * ct * cp + u[1] * ct * sp - u[2] * st),
        r * st * (u[1] * cp - u[0] * sp),
    )


def _sin_and_cos_vjp(u, x):
    return (u[0] * np.cos(x) - u[1] * np.sin(x),)


def _cell(gates, c):
    """The cell of an LSTM: input, forget and output gate and the candidate, and the state before."""
    i, f, o = (1 / (1 + np.exp(-gates[k])) for k in range(3))
    new = f * c + i * np.tanh(gates[3])
    return o * np.tanh(new), new


def _cell_vjp(u, gates, c):
    i, f, o = (1 / (1 + np.exp(-gates[k])) for k in range(3))
    g = np.tanh(gates[3])
    t = np.tanh(f * c + i * g)
    d = u[0] * o * (1 - t**2) + u[1]
    return (
        np.stack([d * g * i * (1 - i), d * c * f * (1 - f), u[0] * t * o * (1 - o), d * i * (1 - g**2)]),
        d * f,
    )


def _cell_without_the_state(u, gates, c):
    return _cell_vjp((u[0], np.zeros_like(u[1])), gates, c)


FUNCTIONS: list[Function] = [
    Function("x y", np.multiply, _product_vjp, _pairs(1e-8, 1e-4, 1.0, 1e4, 1e8), [times(1.001), swapped()]),
    Function(
        "x y of unlike sizes",
        lambda x, y: x * y,
        _product_vjp,
        {"1e-8 and 1e8": [signed(1e-8), 1e8 * OTHER], "1e8 and 1": [signed(1e8), OTHER]},
        [times(1.001), without(1), swapped()],
    ),
    Function(
        "x / y",
        np.divide,
        lambda u, x, y: (u / y, -u * x / y**2),
        {**_pairs(1e-8, 1e-4, 1.0, 1e4, 1e8), "1e8 by 1e-4": [signed(1e8), 1e-4 * OTHER]},
        [
            times(1.001),
            instead("the sign of the second", lambda u, x, y: (u / y, u * x / y**2)),
            instead(
                "x / y in place of x / y^2",
                lambda u, x, y: (u / y, -u * x / np.abs(y)),
                ("1e-08", "1", "1e+08"),
            ),
        ],
    ),
    Function(
        "x y z",
        lambda x, y, z: x * y * z,
        lambda u, x, y, z: (u * y * z, u * x * z, u * x * y),
        {
            "1": [signed(1.0), OTHER, positive(1.0)[[0, 1, 2, 3, 4, 0]]],
            "1e-8, 1, 1e8": [signed(1e-8), OTHER, 1e8 * positive(1.0)[[0, 1, 2, 3, 4, 0]]],
        },
        [times(1.001), one_element(), in_float32(("1",))],
    ),
    Function(
        "x^p",
        np.power,
        _power_vjp,
        {
            "1": [positive(1.0), np.array([2.0, 0.5, -1.3, 3.1, 1.0])],
            "1e-3": [positive(1e-3), np.array([2.0, 0.5, -1.3, 1.4, 1.0])],
            "1e4": [positive(1e4), np.array([2.0, 0.5, -1.3, 1.4, 1.0])],
        },
        [
            times(1.001),
            instead("without log x", lambda u, x, p: (u * p * x ** (p - 1), u * x**p)),
            instead("x^p in place of x^(p-1)", lambda u, x, p: (u * p * x**p, u * x**p * np.log(x))),
        ],
    ),
    Function(
        "hypot",
        np.hypot,
        _hypot_vjp,
        _pairs(1e-8, 1e-4, 1.0, 1e8),
        [times(1.001), swapped(), instead("not divided by r", lambda u, x, y: (u * x, u * y))],
    ),
    Function(
        "arctan2",
        np.arctan2,
        _arctan2_vjp,
        _pairs(1e-8, 1e-6, 1.0, 1e8),
        [times(1.001), negated(), swapped()],
    ),
    Function(
        "logaddexp",
        np.logaddexp,
        lambda u, x, y: (u / (1 + np.exp(y - x)), u / (1 + np.exp(x - y))),
        {**_pairs(1.0, 1e-8), "1e4": [1e4 + signed(1.0), 1e4 + OTHER]},
        [times(1.001), swapped(("1", "1e4"))],
    ),
    Function(
        "x log y",
        special.xlogy,
        lambda u, x, y: (u * np.log(y), u * x / y),
        {
            "1": [signed(1.0), np.abs(OTHER)],
            "y of 1e-8": [signed(1.0), 1e-8 * np.abs(OTHER)],
            "0 among x": [np.array([0.0, 1.2, 0.0, 0.4, 2.1, 0.8]), np.abs(OTHER)],
        },
        [times(1.001), instead("1 / y", lambda u, x, y: (u * np.log(y), u / y))],
    ),
    Function(
        "maximum",
        np.maximum,
        lambda u, x, y: (u * (x > y), u * (y > x)),
        {"1": [signed(1.0), OTHER], "1e-8 apart": [OTHER, OTHER + 1e-8 * np.sign(signed(1.0))]},
        [times(1.001), swapped()],
    ),
    Function(
        "where",
        np.where,
        _where_vjp,
        {
            "1": [signed(1.0) > 0, signed(1.0), OTHER],
            "1e8 and 1e-8": [signed(1.0) > 0, signed(1e8), 1e-8 * OTHER],
        },
        [
            times(1.001),
            instead("the condition ignored", lambda u, c, x, y: (None, 1.0 * u, np.where(c, 0.0, u))),
        ],
    ),
    Function(
        "a row of biases",
        np.add,
        _bias_vjp,
        {f"{s:g}": [normal(1, 3, 4, scale=s), normal(2, 4, scale=s)] for s in (1e-8, 1.0, 1e8)},
        [
            times(1.001),
            instead("the first row's in place of the sum", lambda u, x, b: (1.0 * u, 1.0 * u[0])),
            instead("the mean in place of the sum", lambda u, x, b: (1.0 * u, u.mean(axis=0))),
        ],
    ),
    Function(
        "a weight and a bias for each channel",
        lambda x, w, b: x * w + b,
        _affine_vjp,
        {
            f"{s:g}": [normal(3, 2, 3, 4, scale=s), normal(4, 3, 1), normal(5, 3, 1, scale=s)]
            for s in (1e-8, 1.0, 1e8)
        },
        [
            times(1.001),
            instead(
                "the weight's over one image only",
                lambda u, x, w, b: (u * w, (u * x)[0].sum(1)[:, None], u.sum((0, 2))[:, None]),
            ),
        ],
    ),
    Function(
        "a column times a row",
        lambda a, b: a * b,
        _column_times_row_vjp,
        {
            "1": [normal(6, 3, 1), normal(7, 1, 4)],
            "1e-8 and 1e8": [normal(6, 3, 1, scale=1e-8), normal(7, 1, 4, scale=1e8)],
        },
        [
            times(1.001),
            instead(
                "the sum of the other factor",
                lambda u, a, b: ((u * b).sum(1, keepdims=True), u.sum(0, keepdims=True) * a.sum()),
            ),
        ],
    ),
    Function(
        "the square of a difference",
        lambda x, y: (x - y) ** 2,
        lambda u, x, y: (2 * u * (x - y), -2 * u * (x - y)),
        {**_pairs(1e-8, 1.0, 1e8), "1 beside 1e6": [1e6 + signed(1.0), 1e6 + OTHER]},
        [times(1.001), instead("the same sign twice", lambda u, x, y: (2 * u * (x - y), 2 * u * (x - y)))],
    ),
    Function(
        "(1.7e9 + x) - 1.7e9",
        _hidden,
        lambda u, x: (1.0 * u,),
        {"1": [signed(1.0)], "1000": [signed(1e3)]},
        [times(1.01), negated(), squared_upstream()],
    ),
    Function(
        "tanh((1.7e9 + x) - 1.7e9)",
        lambda x: np.tanh((1.7e9 + x) - 1.7e9),
        lambda u, x: (u * (1 - np.tanh(x) ** 2),),
        {"1": [np.array([-1.5, -0.5, 0.25, 0.75, 1.25])]},
        [times(1.05), negated()],
    ),
    Function(
        "the smaller root of a quadratic equation",
        lambda b, c: (-b + np.sqrt(b**2 - 4 * c)) / 2,
        lambda u, b, c: (u * (b / np.sqrt(b**2 - 4 * c) - 1) / 2, -u / np.sqrt(b**2 - 4 * c)),
        {"1": [3 + positive(1.0), positive(0.5)], "b of 1e3": [positive(1e3), positive(0.5)]},
        [times(1.01), negated(), without(1)],
    ),
    Function(
        "the decay since a time stamp of 1.7e9",
        _decay,
        _decay_vjp,
        {"by both": [STAMPS, signed(1.0)], "x of 1e-8": [STAMPS, signed(1e-8)]},
        [times(1.001), without(0), negated()],
    ),
    Function(
        "x times a decay since 1.7e9",
        _decay,
        lambda u, t, x: (None, u * np.exp((t - 1.7e9) / -30.0)),
        {"1": [STAMPS, signed(1.0)], "1e-8": [STAMPS, signed(1e-8)]},
        [times(1.001), times(1.2)],
        wrt=(1,),
    ),
    Function(
        "time stamps minus x",
        lambda t, x: (t - STAMPS[0]) * x,
        lambda u, t, x: (u * x, u * (t - STAMPS[0])),
        {"1.7e9": [STAMPS + 1, signed(1.0)]},
        [times(1.001), instead("t in place of t - t0", lambda u, t, x: (u * x, u * t)), swapped()],
    ),
    Function(
        "log of a normal density",
        _gaussian,
        _gaussian_vjp,
        {
            "variance 1": [signed(1.0), 0.3 * OTHER, 2 * OTHER],
            "variance 1e-8": [signed(1.0), np.log(1e-4) + 0.1 * OTHER, signed(1.0) + 1e-4 * OTHER],
            "variance 1e8": [signed(1e4), np.log(1e4) + 0.1 * OTHER, 1e4 * OTHER],
        },
        [
            times(1.001),
            instead(
                "z^2 in place of z^2 - 1",
                lambda u, m, s, x: (
                    _gaussian_vjp(u, m, s, x)[0],
                    u * ((x - m) * np.exp(-s)) ** 2,
                    _gaussian_vjp(u, m, s, x)[2],
                ),
            ),
        ],
    ),
    Function(
        "haversine",
        _haversine,
        _haversine_vjp,
        {
            "1": [0.4 * OTHER, 0.3 * signed(1.0), OTHER],
            "close together": [0.4 * OTHER, 0.4 * OTHER + signed(1e-4), signed(1e-4)],
        },
        [
            times(1.001),
            instead(
                "half of the last",
                lambda u, a, b, c: (*_haversine_vjp(u, a, b, c)[:2], _haversine_vjp(u, a, b, c)[2] / 2),
            ),
        ],
    ),
    Function(
        "spherical to Cartesian",
        _spherical,
        _spherical_vjp,
        {f"r of {r:g}": [positive(r), positive(0.5), signed(1.0)[:5]] for r in (1e-8, 1.0, 1e8)},
        [
            times(1.001),
            instead(
                "without r in the angles",
                lambda u, r, t, p: (
                    _spherical_vjp(u, r, t, p)[0],
                    *_spherical_vjp(u, np.ones_like(r), t, p)[1:],
                ),
            ),
        ],
    ),
    Function(
        "sin and cos",
        lambda x: (np.sin(x), np.cos(x)),
        _sin_and_cos_vjp,
        {"1": [signed(1.0)], "1e4": [1e4 + signed(1.0)]},
        [
            times(1.001),
            instead("the first only", lambda u, x: (u[0] * np.cos(x),)),
            instead("the sign of the second", lambda u, x: (u[0] * np.cos(x) + u[1] * np.sin(x),)),
        ],
    ),
    Function(
        "x 1e8 and x^2 1e-8",
        lambda x: (1e8 * x, 1e-8 * x**2),
        lambda u, x: (1e8 * u[0] + 2e-8 * x * u[1],),
        {"1": [signed(1.0)]},
        [
            times(1.001),
            instead("the second doubled", lambda u, x: (1e8 * u[0] + 4e-8 * x * u[1],)),
            instead("the first only", lambda u, x: (1e8 * u[0],)),
        ],
    ),
    Function(
        "the cell of an LSTM",
        _cell,
        _cell_vjp,
        {
            "1": [normal(8, 4, 3), normal(9, 3)],
            "open gates": [4 + normal(8, 4, 3), normal(9, 3)],
            "a state of 1e-8": [normal(8, 4, 3), normal(9, 3, scale=1e-8)],
        },
        [
            times(1.001),
            instead("the new state's upstream gradient ignored", _cell_without_the_state),
            stale(),
        ],
    ),
]
