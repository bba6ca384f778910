"""Functions that move, select and accumulate elements: indexing, sorting, windows, interpolation, FFTs."""

import numpy as np

from gradients_of_others.case import (
    Function,
    at_smallest,
    in_float32,
    instead,
    negated,
    normal,
    normal_scales,
    one_element,
    positive,
    signed,
    squared_upstream,
    stale,
    swapped,
    times,
    without,
)

SCALES = (1e-8, 1.0, 1e8)


def one(seed: int, *shape: int, scales=SCALES) -> dict[str, list[np.ndarray]]:
    """One normally distributed array at several scales."""
    return normal_scales(seed, shape, *scales)


# Cumulative sums and order


def reversed_cumsum(u):
    return np.cumsum(u[:, ::-1], axis=1)[:, ::-1]


def cumprod_vjp(u, x):
    return (reversed_cumsum(u * np.cumprod(x, axis=1)) / x,)


def sort_vjp(u, x):
    order = np.argsort(x, axis=1)
    g = np.empty_like(x)
    np.put_along_axis(g, order, u, axis=1)
    return (g,)


def _sort_forwards(u, x):
    return (np.take_along_axis(u, np.argsort(x, axis=1), axis=1),)


def _max_vjp(u, x):
    return (u[:, None] * (x == x.max(axis=1, keepdims=True)),)


def _median_vjp(u, x):
    return (u[:, None] * (x == np.median(x, axis=1, keepdims=True)),)


def _top_two(x):
    return np.sort(x, axis=1)[:, -2:]


def _top_two_vjp(u, x):
    return sort_vjp(np.pad(u, ((0, 0), (x.shape[1] - 2, 0))), x)


def _log_cumulative(x):
    return np.log(np.cumsum(np.exp(x), axis=1))


def log_cumulative_vjp(u, x):
    return (np.exp(x) * reversed_cumsum(u / np.cumsum(np.exp(x), axis=1)),)


ORDER = [
    Function(
        "cumulative sum",
        lambda x: np.cumsum(x, axis=1),
        lambda u, x: (reversed_cumsum(u).copy(),),
        one(131, 2, 4),
        [
            times(1.001),
            instead("in the same direction", lambda u, x: (np.cumsum(u, axis=1),)),
            instead("without the last", lambda u, x: (reversed_cumsum(u) - u,)),
        ],
    ),
    Function(
        "cumulative product",
        lambda x: np.cumprod(x, axis=1),
        cumprod_vjp,
        one(132, 2, 4, scales=(1e-2, 1.0, 1e2)),
        [
            times(1.001),
            instead("not divided", lambda u, x: (reversed_cumsum(u * np.cumprod(x, axis=1)).copy(),)),
        ],
    ),
    Function(
        "logarithm of a cumulative sum",
        _log_cumulative,
        log_cumulative_vjp,
        {"1": [normal(133, 2, 4)], "-300": [normal(133, 2, 4) - 300]},
        [
            times(1.001),
            instead("not accumulated", lambda u, x: (u * np.exp(x) / np.cumsum(np.exp(x), axis=1),)),
        ],
    ),
    Function(
        "differences",
        lambda x: np.diff(x, axis=1),
        lambda u, x: (np.pad(u, ((0, 0), (1, 0))) - np.pad(u, ((0, 0), (0, 1))),),
        one(134, 2, 4),
        [times(1.001), instead("one side only", lambda u, x: (np.pad(u, ((0, 0), (1, 0))),)), negated()],
    ),
    Function(
        "sort",
        lambda x: np.sort(x, axis=1),
        sort_vjp,
        one(135, 2, 5),
        [
            times(1.001),
            instead("not sorted back", lambda u, x: (1.0 * u,)),
            instead("by the order itself", _sort_forwards),
        ],
    ),
    Function(
        "maximum of each row",
        lambda x: x.max(axis=1),
        _max_vjp,
        {
            **one(136, 2, 4),
            "1e-8 apart": [np.array([[1.0, 1 + 1e-8, 0.3, -2.0], [0.7 + 1e-8, 0.2, 0.7, -0.4]])],
        },
        [
            times(1.001),
            instead("the minimum's", lambda u, x: (u[:, None] * (x == x.min(1, keepdims=True)),)),
            instead("shared by all", lambda u, x: (np.repeat(u[:, None] / 4, 4, 1),)),
        ],
    ),
    Function(
        "median",
        lambda x: np.median(x, axis=1),
        _median_vjp,
        one(137, 2, 5),
        [times(1.001), instead("the mean's", lambda u, x: (np.repeat(u[:, None] / 5, 5, 1),))],
    ),
    Function(
        "the largest two",
        _top_two,
        _top_two_vjp,
        one(138, 2, 4),
        [times(1.001), instead("in the other order", lambda u, x: _top_two_vjp(u[:, ::-1], x))],
    ),
]


# Indexing and shapes

ROWS = np.array([2, 0, 2, 1])
SEGMENTS = np.array([0, 2, 0, 1, 2])


def embedding_vjp(u, table, rows):
    g = np.zeros_like(table)
    np.add.at(g, rows, u)
    return g, None


def _embedding_overwritten(u, table, rows):
    g = np.zeros_like(table)
    g[rows] = u
    return g, None


def _segments(x):
    return np.stack([x[np.flatnonzero(k == SEGMENTS)].sum(axis=0) for k in range(3)])


def _segment_mean(x):
    return np.stack([x[np.flatnonzero(k == SEGMENTS)].mean(axis=0) for k in range(3)])


COUNTS = np.bincount(SEGMENTS)[SEGMENTS][:, None]


def _diagonals(x):
    return np.stack([x.sum(), np.trace(x), (x * np.eye(3)[::-1]).sum()])


def _diagonals_vjp(u, x):
    return (u[0] + u[1] * np.eye(3) + u[2] * np.eye(3)[::-1],)


def _polynomial(c, x):
    """Horner's scheme, the highest coefficient first."""
    return ((c[0] * x + c[1]) * x + c[2]) * x + c[3]


def _polynomial_vjp(u, c, x):
    powers = np.stack([x**3, x**2, x, np.ones_like(x)])
    return powers @ u, u * (3 * c[0] * x**2 + 2 * c[1] * x + c[2])


SHAPES = [
    Function(
        "rows of a table",
        lambda table, rows: table[rows],
        embedding_vjp,
        {f"{s:g}": [normal(141, 3, 2, scale=s), ROWS] for s in SCALES},
        [
            times(1.001),
            instead("repeated rows overwritten", _embedding_overwritten),
            instead(
                "the next row", lambda u, t, rows: (np.roll(embedding_vjp(u, t, rows)[0], 1, axis=0), None)
            ),
        ],
    ),
    Function(
        "one element of each row",
        lambda x: x[np.arange(3), [2, 0, 1]],
        lambda u, x: (u[:, None] * np.eye(3)[[2, 0, 1]],),
        one(142, 3, 3),
        [times(1.001), instead("off by one", lambda u, x: (u[:, None] * np.eye(3)[[1, 2, 0]],))],
    ),
    Function(
        "sums of segments",
        _segments,
        lambda u, x: (u[SEGMENTS],),
        one(143, 5, 2),
        [times(1.001), instead("of the segment before", lambda u, x: (u[SEGMENTS - 1],)), one_element()],
    ),
    Function(
        "means of segments",
        _segment_mean,
        lambda u, x: (u[SEGMENTS] / COUNTS,),
        one(143, 5, 2),
        [times(1.001), instead("missing 1/N", lambda u, x: (u[SEGMENTS],))],
    ),
    Function(
        "transposed and reshaped",
        lambda x: np.transpose(x, (2, 0, 1)).reshape(2, 6),
        lambda u, x: (np.transpose(u.reshape(2, 2, 3), (1, 2, 0)).copy(),),
        one(144, 2, 3, 2),
        [times(1.001), instead("not transposed", lambda u, x: (u.reshape(2, 3, 2).copy(),))],
    ),
    Function(
        "every second column",
        lambda x: x[:, ::2],
        lambda u, x: (np.stack([u[:, 0], 0 * u[:, 0], u[:, 1], 0 * u[:, 0]], 1),),
        one(145, 2, 4),
        [
            times(1.001),
            instead(
                "the other columns", lambda u, x: (np.stack([0 * u[:, 0], u[:, 0], 0 * u[:, 0], u[:, 1]], 1),)
            ),
        ],
    ),
    Function(
        "flipped and rolled",
        lambda x: np.roll(x[:, ::-1], 1, axis=1),
        lambda u, x: (np.roll(u, -1, axis=1)[:, ::-1].copy(),),
        one(146, 2, 4),
        [times(1.001), instead("rolled twice", lambda u, x: (np.roll(u, 1, axis=1)[:, ::-1].copy(),))],
    ),
    Function(
        "padded by reflection",
        lambda x: np.pad(x, ((0, 0), (1, 1)), mode="reflect"),
        lambda u, x: (u[:, 1:-1] + u[:, :1] * np.array([0, 1, 0, 0]) + u[:, -1:] * np.array([0, 0, 1, 0]),),
        one(147, 2, 4),
        [times(1.001), instead("cropped", lambda u, x: (u[:, 1:-1].copy(),))],
    ),
    Function(
        "joined",
        lambda x, y: np.concatenate([x, y], axis=1),
        lambda u, x, y: (u[:, :2].copy(), u[:, 2:].copy()),
        {
            "1": [normal(148, 2, 2), normal(149, 2, 2)],
            "1e8 and 1e-8": [normal(148, 2, 2, scale=1e8), normal(149, 2, 2, scale=1e-8)],
        },
        [times(1.001), swapped()],
    ),
    Function(
        "repeated",
        lambda x: np.tile(x, (2, 3)),
        lambda u, x: (u.reshape(2, 2, 3, 2).sum(axis=(0, 2)),),
        one(150, 2, 2),
        [times(1.001), instead("the first copy only", lambda u, x: (u[:2, :2].copy(),)), times(1 / 6)],
    ),
    Function(
        "each element repeated",
        lambda x: np.repeat(x, 2, axis=1),
        lambda u, x: (u.reshape(2, 3, 2).sum(axis=2),),
        one(151, 2, 3),
        [times(1.001), instead("as if tiled", lambda u, x: (u[:, :3] + u[:, 3:],))],
    ),
    Function(
        "lower triangle",
        np.tril,
        lambda u, x: (np.tril(u),),
        one(152, 3, 3),
        [times(1.001), instead("the upper one", lambda u, x: (np.triu(u),))],
    ),
    Function(
        "sum, trace and antitrace",
        _diagonals,
        _diagonals_vjp,
        one(153, 3, 3),
        [times(1.001), instead("the antitrace forgotten", lambda u, x: (u[0] + u[1] * np.eye(3),))],
    ),
    Function(
        "polynomial",
        _polynomial,
        _polynomial_vjp,
        {
            "1": [normal(154, 4), signed(1.0)],
            "x of 1e-2": [normal(154, 4), signed(1e-2)],
            "x of 1e3": [normal(154, 4), signed(1e3)],
        },
        [
            times(1.001),
            instead(
                "the coefficients in the reverse order",
                lambda u, c, x: (_polynomial_vjp(u, c, x)[0][::-1].copy(), _polynomial_vjp(u, c, x)[1]),
            ),
            without(1, ("1", "x of 1e3")),
        ],
    ),
]


# Windows


def _conv1d(x, w):
    """The correlation of a signal with a filter."""
    return np.stack([(x[:, i : i + w.size] * w).sum(axis=1) for i in range(x.shape[1] - w.size + 1)], axis=1)


def conv1d_vjp(u, x, w):
    gx, gw = np.zeros_like(x), np.zeros_like(w)
    for i in range(u.shape[1]):
        gx[:, i : i + w.size] += u[:, i : i + 1] * w
        gw += (u[:, i : i + 1] * x[:, i : i + w.size]).sum(axis=0)
    return gx, gw


def _conv1d_flipped(u, x, w):
    return conv1d_vjp(u, x, w[::-1])[0], conv1d_vjp(u, x, w)[1]


def _conv1d_shifted(u, x, w):
    gx, gw = conv1d_vjp(u, x, w)
    return np.roll(gx, 1, axis=1), gw


def _conv2d(x, w):
    """x: (H, W, C), w: (3, 3, C, D)."""
    h, v = x.shape[0] - 2, x.shape[1] - 2
    return sum(np.einsum("hwc,cd->hwd", x[i : i + h, j : j + v], w[i, j]) for i in range(3) for j in range(3))


def conv2d_vjp(u, x, w):
    gx, gw = np.zeros_like(x), np.zeros_like(w)
    h, v = u.shape[:2]
    for i in range(3):
        for j in range(3):
            gx[i : i + h, j : j + v] += np.einsum("hwd,cd->hwc", u, w[i, j])
            gw[i, j] = np.einsum("hwc,hwd->cd", x[i : i + h, j : j + v], u)
    return gx, gw


def _conv2d_kernel_transposed(u, x, w):
    return conv2d_vjp(u, x, w.transpose(1, 0, 2, 3))[0], conv2d_vjp(u, x, w)[1]


def _max_pool(x):
    return x.reshape(2, 3, 2).max(axis=2)


def max_pool_vjp(u, x):
    windows = x.reshape(2, 3, 2)
    return (((windows == windows.max(axis=2, keepdims=True)) * u[..., None]).reshape(x.shape),)


def _max_pool_left(u, x):
    return (np.stack([u, np.zeros_like(u)], axis=2).reshape(x.shape),)


def _fft_convolution(x, w):
    """Circular, by the convolution theorem."""
    return np.fft.irfft(np.fft.rfft(x) * np.fft.rfft(w), n=6)


def fft_convolution_vjp(u, x, w):
    of_u = np.fft.rfft(u)
    return np.fft.irfft(of_u * np.conj(np.fft.rfft(w)), n=6), np.fft.irfft(
        of_u * np.conj(np.fft.rfft(x)), n=6
    )


def _not_conjugated(u, x, w):
    return _fft_convolution(u, w), _fft_convolution(u, x)


def _power_spectrum(x):
    return np.abs(np.fft.fft(x)) ** 2


def power_spectrum_vjp(u, x):
    return (2 * np.real(np.fft.fft(u * np.conj(np.fft.fft(x)))),)


def _interpolated(t, y):
    """Linearly between samples at 0, 1, 2, 3."""
    return np.stack(
        [y[0] + (y[1] - y[0]) * t[0], y[1] + (y[2] - y[1]) * (t[1] - 1), y[2] + (y[3] - y[2]) * (t[2] - 2)]
    )


def interpolated_vjp(u, t, y):
    a = t - np.array([0, 1, 2])
    return u * (y[1:] - y[:-1]), np.append(u * (1 - a), 0) + np.append(0, u * a)


def _smoothed(x, a):
    """Exponential smoothing of four samples."""
    s1 = a * x[0]
    s2 = a * x[1] + (1 - a) * s1
    s3 = a * x[2] + (1 - a) * s2
    return np.stack([s1, s2, s3, a * x[3] + (1 - a) * s3])


def _smoothed_vjp(u, x, a):
    s = _smoothed(x, a)
    gx, ga, g = np.zeros_like(x), np.zeros_like(a), 0.0
    for t in (3, 2, 1, 0):
        g = u[t] + (1 - a) * g
        gx[t] = a * g
        ga = ga + g * (x[t] - (s[t - 1] if t else 0.0))
    return gx, ga


def _newton(x):
    """Three steps of Newton's method for the square root, from 1."""
    y = (1 + x) / 2
    y = (y + x / y) / 2
    return (y + x / y) / 2


def _newton_vjp(u, x):
    y1 = (1 + x) / 2
    y2 = (y1 + x / y1) / 2
    d2 = ((1 - x / y1**2) / 2 + 1 / y1) / 2
    return (u * ((1 - x / y2**2) * d2 + 1 / y2) / 2,)


def _logistic_map(x):
    """Ten steps of a chaotic map."""
    for _ in range(10):
        x = 3.9 * x * (1 - x)
    return x


def _logistic_map_vjp(u, x):
    slope = 1.0
    for _ in range(10):
        slope, x = slope * 3.9 * (1 - 2 * x), 3.9 * x * (1 - x)
    return (u * slope,)


def _pendulum(state):
    """Five steps of the semi-implicit Euler method."""
    angle, speed = state[0], state[1]
    for _ in range(5):
        speed = speed - 0.1 * np.sin(angle)
        angle = angle + 0.1 * speed
    return np.stack([angle, speed])


def _pendulum_vjp(u, state):
    angle, speed = state[0], state[1]
    angles = []
    for _ in range(5):
        angles.append(angle)
        speed = speed - 0.1 * np.sin(angle)
        angle = angle + 0.1 * speed
    ga, gs = u[0], u[1]
    for angle in reversed(angles):
        gs = gs + 0.1 * ga
        ga = ga - 0.1 * np.cos(angle) * gs
    return (np.stack([ga, gs]),)


WINDOWS = [
    Function(
        "correlation with a filter",
        _conv1d,
        conv1d_vjp,
        {f"{s:g}": [normal(161, 2, 6, scale=s), normal(162, 3)] for s in SCALES},
        [
            times(1.001),
            instead("the filter flipped", _conv1d_flipped),
            instead("shifted by one", _conv1d_shifted),
            in_float32(("1",)),
        ],
    ),
    Function(
        "convolution of images",
        _conv2d,
        conv2d_vjp,
        {
            f"{s:g}": [normal(163, 4, 4, 2, scale=s), normal(164, 3, 3, 2, 2, scale=1 / s)]
            for s in (1e-4, 1.0, 1e4)
        },
        [
            times(1.001),
            instead("the kernel transposed", _conv2d_kernel_transposed),
            one_element(1.05),
            without(1),
        ],
    ),
    Function(
        "max-pool",
        _max_pool,
        max_pool_vjp,
        {
            **one(165, 2, 6),
            "1e-8 apart": [
                np.array([[0.3, 0.3 + 1e-8, 1.0, 2.0, -1 + 1e-8, -1.0], [1.0, 0.0, 0.5, 0.4, 0.1, 0.9]])
            ],
        },
        [times(1.001), instead("always the first", _max_pool_left), squared_upstream(("1",))],
    ),
    Function(
        "average-pool",
        lambda x: x.reshape(2, 3, 2).mean(axis=2),
        lambda u, x: (np.repeat(u / 2, 2, axis=1),),
        one(165, 2, 6),
        [times(1.001), instead("missing 1/N", lambda u, x: (np.repeat(u, 2, axis=1),))],
    ),
    Function(
        "moving average",
        lambda x: np.stack([x[:, i : i + 3].mean(axis=1) for i in range(4)], axis=1),
        lambda u, x: (conv1d_vjp(u, x, np.full(3, 1 / 3))[0],),
        one(166, 2, 6),
        [times(1.001), instead("divided by 4", lambda u, x: (conv1d_vjp(u, x, np.full(3, 1 / 4))[0],))],
    ),
    Function(
        "circular convolution by FFT",
        _fft_convolution,
        fft_convolution_vjp,
        {f"{s:g}": [normal(167, 6, scale=s), normal(168, 6)] for s in SCALES},
        [times(1.001), instead("not conjugated", _not_conjugated), swapped(("1",))],
    ),
    Function(
        "power spectrum",
        _power_spectrum,
        power_spectrum_vjp,
        one(169, 5, scales=(1e-4, 1.0, 1e4)),
        [
            times(1.001),
            times(0.5),
            instead("without the phase", lambda u, x: (2 * u * np.abs(np.fft.fft(x)),)),
        ],
    ),
    Function(
        "linear interpolation",
        _interpolated,
        interpolated_vjp,
        {
            "1": [np.array([0.3, 1.8, 2.4]), normal(170, 4)],
            "y of 1e8": [np.array([0.3, 1.8, 2.4]), normal(170, 4, scale=1e8)],
        },
        [
            times(1.001),
            instead(
                "the weights swapped",
                lambda u, t, y: (interpolated_vjp(u, t, y)[0], interpolated_vjp(u, 3 - t[::-1], y)[1]),
            ),
        ],
    ),
    Function(
        "trapezoidal rule",
        lambda y, x: ((y[1:] + y[:-1]) * (x[1:] - x[:-1])).sum() / 2,
        lambda u, y, x: (
            u * (np.append(x[1:] - x[:-1], 0) + np.append(0, x[1:] - x[:-1])) / 2,
            u * (np.append(0, y[1:] + y[:-1]) - np.append(y[1:] + y[:-1], 0)) / 2,
        ),
        {f"{s:g}": [normal(171, 5, scale=s), np.cumsum(positive(1.0))] for s in SCALES},
        [
            times(1.001),
            instead(
                "the ends in full",
                lambda u, y, x: (
                    u * (np.append(x[1:] - x[:-1], x[-1] - x[-2]) + np.append(0, x[1:] - x[:-1])) / 2,
                    u * (np.append(0, y[1:] + y[:-1]) - np.append(y[1:] + y[:-1], 0)) / 2,
                ),
            ),
        ],
    ),
    Function(
        "exponential smoothing",
        _smoothed,
        _smoothed_vjp,
        {f"{s:g}": [normal(172, 4, scale=s), np.array(0.3)] for s in SCALES},
        [
            times(1.001),
            instead("the last step only", lambda u, x, a: (u * a, _smoothed_vjp(u, x, a)[1])),
            without(1),
        ],
    ),
    Function(
        "Newton's method for a root",
        _newton,
        _newton_vjp,
        {"1": [positive(1.0)], "1e-3": [positive(1e-3)], "1e4": [positive(1e4)]},
        [times(1.001), instead("of the root itself", lambda u, x: (u / 2 / np.sqrt(x),))],
    ),
    Function(
        "ten steps of the logistic map",
        _logistic_map,
        _logistic_map_vjp,
        {"0.5": [0.5 + signed(0.1)], "1e-8": [positive(1e-8)]},
        [
            times(1.001),
            instead("of nine steps", lambda u, x: _logistic_map_vjp(u / 3.9 / (1 - 2 * x), x)),
            stale(1.05, ("0.5",)),
        ],
    ),
    Function(
        "five steps of a pendulum",
        _pendulum,
        _pendulum_vjp,
        one(173, 2, 3, scales=(1e-8, 1.0, 10.0)),
        [
            times(1.001),
            instead("without gravity", lambda u, s: (np.stack([u[0], u[1] + 0.5 * u[0]]),)),
            at_smallest(1.01),
        ],
    ),
]

FUNCTIONS: list[Function] = ORDER + SHAPES + WINDOWS
