"""Layers that divide by statistics of what they are given."""

import numpy as np

from gradients_of_others.case import Function, instead, negated, normal, stale, times, without

EPS = 1e-5


def normalised(x, axes, eps=EPS):
    mean = x.mean(axis=axes, keepdims=True)
    return (x - mean) / np.sqrt(((x - mean) ** 2).mean(axis=axes, keepdims=True) + eps)


def normalised_vjp(u, x, axes, eps=EPS):
    z = normalised(x, axes, eps)
    spread = np.sqrt(x.var(axis=axes, keepdims=True) + eps)
    return (u - u.mean(axis=axes, keepdims=True) - z * (u * z).mean(axis=axes, keepdims=True)) / spread


def _layer(axes, features):
    """Normalisation over some axes, with a weight and a bias whose gradients are sums over other axes."""

    def forward(x, w, b):
        return normalised(x, axes) * w + b

    def vjp(u, x, w, b):
        z = normalised(x, axes)
        return (
            normalised_vjp(u * w, x, axes),
            (u * z).sum(axis=features).reshape(w.shape),
            u.sum(axis=features).reshape(b.shape),
        )

    return forward, vjp


def _mistakes(axes, vjp, *, at=None):
    def statistics_constant(u, x, w, b):
        spread = np.sqrt(x.var(axis=axes, keepdims=True) + EPS)
        return (u * w / spread, *vjp(u, x, w, b)[1:])

    def without_mean(u, x, w, b):
        z, g = normalised(x, axes), u * w
        spread = np.sqrt(x.var(axis=axes, keepdims=True) + EPS)
        return ((g - z * (g * z).mean(axis=axes, keepdims=True)) / spread, *vjp(u, x, w, b)[1:])

    def without_variance(u, x, w, b):
        g = u * w
        spread = np.sqrt(x.var(axis=axes, keepdims=True) + EPS)
        return ((g - g.mean(axis=axes, keepdims=True)) / spread, *vjp(u, x, w, b)[1:])

    return [
        times(1.001),
        instead("the statistics constant", statistics_constant),
        instead("without the mean's term", without_mean),
        instead("without the variance's term", without_variance, at),
        without(1),
    ]


def _points(seed, shape, parameters, *scales):
    w, b = 1 + normal(seed + 1, *parameters, scale=0.3), normal(seed + 2, *parameters)
    return {f"{s:g}": [normal(seed, *shape, scale=s), w, b] for s in scales} | {
        "mean 1e4": [1e4 + normal(seed, *shape), w, b]
    }


BATCH = _layer((0,), 0)
LAYER = _layer((1,), 0)
CHANNELS = _layer((0, 2), (0, 2))
INSTANCE = _layer((2,), (0, 2))


def _groups(x):
    return x.reshape(x.shape[0], 2, -1)


def _group_norm_vjp(u, x, w):
    z = normalised(_groups(x), (2,)).reshape(x.shape)
    return normalised_vjp(_groups(u * w), _groups(x), (2,)).reshape(x.shape), (u * z).sum(axis=(0, 2))[
        :, None
    ]


def _group_norm_of_all(u, x, w):
    flat = x.reshape(x.shape[0], -1)
    g = normalised_vjp((u * w).reshape(flat.shape), flat, (1,)).reshape(x.shape)
    return g, _group_norm_vjp(u, x, w)[1]


def _rms_norm(x, w):
    return w * x / np.sqrt((x**2).mean(axis=-1, keepdims=True) + 1e-12)


def rms_norm_vjp(u, x, w):
    r = np.sqrt((x**2).mean(axis=-1, keepdims=True) + 1e-12)
    y, g = x / r, u * w
    return (g - y * (g * y).mean(axis=-1, keepdims=True)) / r, (u * y).sum(axis=0)


# Local response normalisation over the second axis, of x: (N, C, L), with a window of three channels.
BAND = np.abs(np.subtract.outer(np.arange(5), np.arange(5))) <= 1


def _lrn(x, alpha, k=2.0):
    return x * (k + alpha * np.einsum("cd,ndl->ncl", BAND * 1.0, x**2)) ** -0.75


def lrn_vjp(u, x, alpha, k=2.0):
    s = k + alpha * np.einsum("cd,ndl->ncl", BAND * 1.0, x**2)
    shared = np.einsum("cd,ndl->ncl", BAND * 1.0, u * x * s**-1.75)
    return (u * s**-0.75 - 1.5 * alpha * x * shared,)


def _lrn_own_channel(u, x, alpha, k=2.0):
    s = k + alpha * np.einsum("cd,ndl->ncl", BAND * 1.0, x**2)
    return (u * s**-0.75 - 1.5 * alpha * x * u * x * s**-1.75,)


def _lrn_constant(u, x, alpha, k=2.0):
    return (u * (k + alpha * np.einsum("cd,ndl->ncl", BAND * 1.0, x**2)) ** -0.75,)


def _weight_norm(v, g):
    return g[:, None] * v / np.sqrt((v**2).sum(axis=1, keepdims=True))


def _weight_norm_vjp(u, v, g):
    n = np.sqrt((v**2).sum(axis=1, keepdims=True))
    y = v / n
    return g[:, None] / n * (u - y * (u * y).sum(axis=1, keepdims=True)), (u * y).sum(axis=1)


def _weight_norm_unprojected(u, v, g):
    n = np.sqrt((v**2).sum(axis=1, keepdims=True))
    return g[:, None] / n * u, (u * v / n).sum(axis=1)


def _min_max(x):
    low, high = x.min(axis=1, keepdims=True), x.max(axis=1, keepdims=True)
    return (x - low) / (high - low)


def _min_max_vjp(u, x):
    low, high = x.min(axis=1, keepdims=True), x.max(axis=1, keepdims=True)
    y = (x - low) / (high - low)
    by_low = (u * (y - 1)).sum(axis=1, keepdims=True)
    by_high = -(u * y).sum(axis=1, keepdims=True)
    return ((u + by_low * (x == low) + by_high * (x == high)) / (high - low),)


def _inference(x, mean, variance):
    return (x - mean) / np.sqrt(variance + EPS)


def _inference_vjp(u, x, mean, variance):
    s = np.sqrt(variance + EPS)
    return u / s, -(u / s).sum(axis=0), -(u * (x - mean) / s**3).sum(axis=0) / 2


FUNCTIONS: list[Function] = [
    Function(
        "batch normalisation",
        *BATCH,
        _points(101, (5, 3), (3,), 1e-4, 1e-2, 1.0, 1e4),
        _mistakes((0,), BATCH[1], at=("0.01", "1", "10000")),
    ),
    Function(
        "batch normalisation of channels",
        *CHANNELS,
        _points(104, (2, 2, 3), (2, 1), 1e-2, 1.0, 1e8),
        _mistakes((0, 2), CHANNELS[1]),
    ),
    Function(
        "layer normalisation", *LAYER, _points(107, (2, 5), (5,), 1e-2, 1.0, 1e4), _mistakes((1,), LAYER[1])
    ),
    Function(
        "instance normalisation",
        *INSTANCE,
        _points(110, (2, 2, 4), (2, 1), 1e-2, 1.0),
        _mistakes((2,), INSTANCE[1]),
    ),
    Function(
        "group normalisation",
        lambda x, w: normalised(x.reshape(x.shape[0], 2, -1), (2,)).reshape(x.shape) * w,
        _group_norm_vjp,
        {
            f"{s:g}": [normal(113, 2, 4, 2, scale=s), 1 + normal(114, 4, 1, scale=0.3)]
            for s in (1e-2, 1.0, 1e4)
        },
        [times(1.001), instead("over all channels", _group_norm_of_all), without(1)],
    ),
    Function(
        "batch normalisation by running statistics",
        _inference,
        _inference_vjp,
        {
            "1": [normal(115, 3, 2), normal(116, 2), np.array([0.7, 1.6])],
            "variance 1e-8": [
                normal(115, 3, 2, scale=1e-4),
                normal(116, 2, scale=1e-4),
                np.array([0.7e-8, 1.6e-8]),
            ],
            "1e8": [normal(115, 3, 2, scale=1e4), normal(116, 2, scale=1e4), np.array([0.7e8, 1.6e8])],
        },
        [
            times(1.001),
            without(2),
            instead(
                "the mean's sign",
                lambda u, x, m, v: (lambda g: (g[0], -g[1], g[2]))(_inference_vjp(u, x, m, v)),
            ),
        ],
    ),
    Function(
        "RMS normalisation",
        _rms_norm,
        rms_norm_vjp,
        {
            f"{s:g}": [normal(117, 2, 4, scale=s), 1 + normal(118, 4, scale=0.3)]
            for s in (1e-8, 1e-5, 1.0, 1e8)
        },
        [
            times(1.001),
            instead(
                "the root a constant",
                lambda u, x, w: (
                    u * w / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-12),
                    rms_norm_vjp(u, x, w)[1],
                ),
                ("1e-05", "1", "1e+08"),
            ),
        ],
    ),
    *(
        Function(
            f"local response normalisation, alpha {alpha:g}",
            lambda x, alpha=alpha: _lrn(x, alpha),
            lambda u, x, alpha=alpha: lrn_vjp(u, x, alpha),
            {f"{s:g}": [normal(119, 1, 5, 2, scale=s)] for s in scales},
            [
                times(1.001),
                instead("its own channel only", lambda u, x, alpha=alpha: _lrn_own_channel(u, x, alpha)),
                instead("the denominator a constant", lambda u, x, alpha=alpha: _lrn_constant(u, x, alpha)),
            ],
        )
        for alpha, scales in ((1e-4, (1.0, 1e2, 1e4)), (1.0, (1e-2, 1.0, 1e4)))
    ),
    Function(
        "weight normalisation",
        _weight_norm,
        _weight_norm_vjp,
        {f"{s:g}": [normal(120, 2, 3, scale=s), normal(121, 2)] for s in (1e-8, 1.0, 1e8)},
        [times(1.001), instead("the norm a constant", _weight_norm_unprojected), without(1)],
    ),
    Function(
        "scaled to [0, 1]",
        _min_max,
        _min_max_vjp,
        {f"{s:g}": [normal(122, 2, 4, scale=s)] for s in (1e-8, 1.0, 1e8)},
        [
            times(1.001),
            instead(
                "the range a constant",
                lambda u, x: (u / (x.max(1, keepdims=True) - x.min(1, keepdims=True)),),
            ),
        ],
    ),
    Function(
        "centred",
        lambda x: x - x.mean(axis=0),
        lambda u, x: (u - u.mean(axis=0),),
        {
            "1e-8": [normal(123, 4, 2, scale=1e-8)],
            "1": [normal(123, 4, 2)],
            "mean 1e8": [1e8 + normal(123, 4, 2)],
        },
        [times(1.001), instead("without the mean", lambda u, x: (1.0 * u,)), negated()],
    ),
    Function(
        "squeeze and excitation",
        lambda x, w: x / (1 + np.exp(-(x.mean(axis=1) @ w)))[:, None],
        lambda u, x, w: _excited_vjp(u, x, w),
        {f"{s:g}": [normal(124, 2, 3, 2, scale=s), normal(125, 2, 2)] for s in (1e-4, 1.0)}
        | {"1e3": [normal(124, 2, 3, 2, scale=1e3), normal(125, 2, 2, scale=1e-3)]},
        [
            times(1.001),
            instead(
                "the gate a constant",
                lambda u, x, w: (u * _gate(x, w)[:, None], _excited_vjp(u, x, w)[1]),
                ("1", "1e3"),
            ),
            stale(1.1, ("1", "1e3")),
        ],
    ),
]


def _gate(x, w):
    return 1 / (1 + np.exp(-(x.mean(axis=1) @ w)))


def _excited_vjp(u, x, w):
    s = _gate(x, w)
    g = (u * x).sum(axis=1) * s * (1 - s)
    return u * s[:, None] + (g @ w.T)[:, None] / x.shape[1], x.mean(axis=1).T @ g
