"""Sums, means, norms and moments; softmax and what is made of it; losses."""

import math

import numpy as np
from scipy import special

from gradients_of_others.case import (
    Function,
    at_smallest,
    ignored_upstream,
    in_float32,
    instead,
    negated,
    normal,
    normal_scales,
    one_element,
    positive,
    scales,
    signed,
    stale,
    swapped,
    times,
    without,
)

WEIGHTS = np.array([1e8, 1e4, 1.0, 1e-4, 1e-8])
GRADED = np.array([1e4, 1e2, 1.0, 1e-2, 1e-4])
MASK = np.array([[0.0, 0.0, -1e9, 0.0], [0.0, -1e9, 0.0, 0.0]])
FLOAT32_MIN = float(np.finfo(np.float32).min)


# Sums and moments


def _weighted(w):
    return Function(
        f"a sum with weights from {w[0]:g} to {w[-1]:g}",
        lambda x: (w * x).sum(),
        lambda u, x: (u * w,),
        {"1": [positive(1.0)]},
        [
            times(1.001),
            instead("the sign of the smallest", lambda u, x: (u * np.where(w == w.min(), -w, w),)),
        ],
    )


def _variance(x):
    return ((x - x.mean(axis=-1, keepdims=True)) ** 2).mean(axis=-1)


def _variance_vjp(u, x):
    return (2 * u[..., None] * (x - x.mean(axis=-1, keepdims=True)) / x.shape[-1],)


def _deviation_vjp(u, x):
    return _variance_vjp(u / (2 * np.sqrt(_variance(x))), x)


def _mean_and_variance_vjp(u, x):
    return (u[0][..., None] / x.shape[-1] + _variance_vjp(u[1], x)[0],)


def _standardised(x):
    return (x - x.mean(axis=-1, keepdims=True)) / x.std(axis=-1, keepdims=True)


def _standardised_vjp(u, x):
    z = _standardised(x)
    g = u - u.mean(axis=-1, keepdims=True) - z * (u * z).mean(axis=-1, keepdims=True)
    return (g / x.std(axis=-1, keepdims=True),)


def _spread_data(mean: float, sd: float = 1.0) -> list[np.ndarray]:
    return [normal(11, 2, 5, scale=sd, mean=mean)]


def _skewness(x):
    return (_standardised(x) ** 3).mean(axis=-1)


def _skewness_vjp(u, x):
    z = _standardised(x)
    return _standardised_vjp(3 * u[..., None] * z**2 / x.shape[-1], x)


SUMS = [
    Function(
        "sum",
        np.sum,
        lambda u, x: (np.full_like(x, u),),
        normal_scales(12, (2, 3), 1e-8, 1.0, 1e8),
        [times(1.001), one_element()],
    ),
    Function(
        "mean of each row",
        lambda x: x.mean(axis=1),
        lambda u, x: (np.broadcast_to(u[:, None], x.shape) / x.shape[1],),
        normal_scales(12, (2, 3), 1e-8, 1.0, 1e8),
        [
            times(1.001),
            instead("missing 1/N", lambda u, x: (np.repeat(u[:, None], 3, 1),)),
            instead("1 over the other axis", lambda u, x: (np.repeat(u[:, None], 3, 1) / 2,)),
        ],
    ),
    Function(
        "sum over the first axis and the last",
        lambda x: x.sum(axis=(0, 2)),
        lambda u, x: (np.broadcast_to(u[:, None], x.shape).copy(),),
        normal_scales(13, (2, 3, 2), 1.0, 1e8),
        [times(1.001), one_element()],
    ),
    _weighted(WEIGHTS),
    _weighted(GRADED),
    Function(
        "sum of squares",
        lambda x: (x**2).sum(axis=1),
        lambda u, x: (2 * u[:, None] * x,),
        normal_scales(14, (3, 4), 1e-8, 1e-4, 1.0, 1e4, 1e8),
        [
            times(1.001),
            times(0.5),
            instead(
                "doubled in the last row", lambda u, x: (2 * u[:, None] * x * np.array([[1], [1], [2]]),)
            ),
        ],
    ),
    Function(
        "sums of squares, rows from 1e4 to 1e-8",
        lambda x: (x**2).sum(axis=1),
        lambda u, x: (2 * u[:, None] * x,),
        {"1e4 to 1e-8": [normal(14, 4, 3) * np.array([[1e4], [1.0], [1e-4], [1e-8]])]},
        [
            times(1.001),
            instead(
                "the smallest row doubled",
                lambda u, x: (2 * u[:, None] * x * np.array([[1], [1], [1], [2]]),),
            ),
            instead(
                "the smallest row's sign",
                lambda u, x: (2 * u[:, None] * x * np.array([[1], [1], [1], [-1]]),),
            ),
        ],
    ),
    Function(
        "product",
        lambda x: np.prod(x, axis=1),
        lambda u, x: ((u * np.prod(x, axis=1))[:, None] / x,),
        normal_scales(15, (3, 4), 1e-2, 1.0, 1e2),
        [
            times(1.001),
            instead("the product itself", lambda u, x: (np.repeat((u * np.prod(x, axis=1))[:, None], 4, 1),)),
        ],
    ),
    Function(
        "variance",
        _variance,
        _variance_vjp,
        {
            **normal_scales(11, (2, 5), 1e-8, 1.0, 1e8),
            "mean 1e3": _spread_data(1e3),
            "mean 1e6": _spread_data(1e6),
        },
        [times(1.001), times(5), instead("the mean left out", lambda u, x: (2 * u[:, None] * x / 5,))],
    ),
    Function(
        "variance by the mean of squares",
        lambda x: (x**2).mean(axis=-1) - x.mean(axis=-1) ** 2,
        _variance_vjp,
        {"1": _spread_data(0.0), "mean 1e3": _spread_data(1e3)},
        [times(1.001), instead("the mean left out", lambda u, x: (2 * u[..., None] * x / 5,))],
    ),
    Function(
        "unbiased variance",
        lambda x: np.var(x, axis=-1, ddof=1),
        lambda u, x: (_variance_vjp(u, x)[0] * 5 / 4,),
        {"1": _spread_data(0.0), "mean 1e6": _spread_data(1e6)},
        [times(1.001), instead("the biased one's", _variance_vjp)],
    ),
    Function(
        "standard deviation",
        lambda x: np.sqrt(((x - x.mean(axis=-1, keepdims=True)) ** 2).mean(axis=-1)),
        _deviation_vjp,
        {
            **normal_scales(11, (2, 5), 1e-8, 1e-3, 1.0, 1e8),
            "mean 1e6": _spread_data(1e6),
            "mean 1e3, deviation 1e-3": _spread_data(1e3, 1e-3),
        },
        [times(1.001), instead("the variance's", _variance_vjp)],
    ),
    Function(
        "mean and variance",
        lambda x: (x.mean(axis=-1), _variance(x)),
        _mean_and_variance_vjp,
        {"1": _spread_data(0.0), "mean 1e3": _spread_data(1e3), "1e-4": _spread_data(0.0, 1e-4)},
        [
            times(1.001),
            instead("the variance's only", lambda u, x: _variance_vjp(u[1], x)),
            instead("the mean's only", lambda u, x: (np.repeat(u[0][:, None] / 5, 5, 1),)),
        ],
    ),
    Function(
        "standardised",
        _standardised,
        _standardised_vjp,
        {**normal_scales(11, (2, 5), 1e-8, 1.0, 1e8), "mean 1e6": _spread_data(1e6)},
        [
            times(1.001),
            instead(
                "the deviation a constant",
                lambda u, x: ((u - u.mean(-1, keepdims=True)) / x.std(-1, keepdims=True),),
            ),
        ],
    ),
    Function(
        "skewness",
        _skewness,
        _skewness_vjp,
        {"1": _spread_data(0.0), "1e-6": _spread_data(0.0, 1e-6), "1e6": _spread_data(0.0, 1e6)},
        [times(1.001), instead("without the factor of 3", lambda u, x: _skewness_vjp(u / 3, x))],
    ),
    Function(
        "geometric mean",
        lambda x: np.exp(np.log(x).mean()),
        lambda u, x: (u * np.exp(np.log(x).mean()) / (x.size * x),),
        {k: [x] for k, x in scales(positive, 1e-8, 1.0, 1e8).items()},
        [times(1.001), times(5)],
    ),
    Function(
        "harmonic mean",
        lambda x: 1 / (1 / x).mean(),
        lambda u, x: (u / (1 / x).mean() ** 2 / (x.size * x**2),),
        {k: [x] for k, x in scales(positive, 1e-8, 1.0, 1e8).items()},
        [times(1.001), negated()],
    ),
]


# Norms


def _norm_vjp(u, x):
    return (u[:, None] * x / np.linalg.norm(x, axis=1, keepdims=True),)


def _unit(x):
    return x / np.sqrt((x**2).sum(axis=1, keepdims=True))


def unit_vjp(u, x):
    y, n = _unit(x), np.sqrt((x**2).sum(axis=1, keepdims=True))
    return ((u - y * (u * y).sum(axis=1, keepdims=True)) / n,)


def p_norm_vjp(u, x):
    n = (np.abs(x) ** 3).sum(axis=1, keepdims=True) ** (1 / 3)
    return (u[:, None] * np.sign(x) * x**2 / n**2,)


def _cosine(x, y):
    return (x * y).sum(axis=1) / np.sqrt((x**2).sum(axis=1) * (y**2).sum(axis=1))


def cosine_vjp(u, x, y):
    a, b = (np.sqrt((v**2).sum(axis=1, keepdims=True)) for v in (x, y))
    c, u = _cosine(x, y)[:, None], u[:, None]
    return u * (y / (a * b) - c * x / a**2), u * (x / (a * b) - c * y / b**2)


def _cosine_without_the_norms(u, x, y):
    a, b = (np.sqrt((v**2).sum(axis=1, keepdims=True)) for v in (x, y))
    return u[:, None] * y / (a * b), u[:, None] * x / (a * b)


NORMS = [
    Function(
        "norm of each row",
        lambda x: np.linalg.norm(x, axis=1),
        _norm_vjp,
        normal_scales(16, (2, 4), 1e-8, 1e-5, 1e-3, 1.0, 1e8),
        [
            times(1.001),
            instead("x", lambda u, x: (u[:, None] * x,)),
            instead("squared norm below", lambda u, x: (u[:, None] * x / (x**2).sum(1, keepdims=True),)),
        ],
    ),
    Function(
        "l2 normalisation",
        _unit,
        unit_vjp,
        normal_scales(17, (2, 4), 1e-8, 1e-5, 1e-3, 1.0, 1e8),
        [
            times(1.001),
            instead("the norm a constant", lambda u, x: (u / np.sqrt((x**2).sum(1, keepdims=True)),)),
            instead(
                "projected, not divided", lambda u, x: (u - _unit(x) * (u * _unit(x)).sum(1, keepdims=True),)
            ),
        ],
    ),
    Function(
        "l1 normalisation",
        lambda x: x / x.sum(axis=1, keepdims=True),
        lambda u, x: (
            (u - (u * x).sum(1, keepdims=True) / x.sum(1, keepdims=True)) / x.sum(1, keepdims=True),
        ),
        {f"{s:g}": [s * np.stack([positive(1.0), positive(1.0)[::-1] ** 2])] for s in (1e-8, 1.0, 1e8)},
        [times(1.001), instead("the sum a constant", lambda u, x: (u / x.sum(1, keepdims=True),))],
    ),
    Function(
        "3-norm",
        lambda x: (np.abs(x) ** 3).sum(axis=1) ** (1 / 3),
        p_norm_vjp,
        normal_scales(18, (2, 3), 1e-4, 1.0, 1e4),
        [
            times(1.001),
            instead(
                "without the sign", lambda u, x: (np.abs(p_norm_vjp(np.abs(u), x)[0]) * np.sign(u[:, None]),)
            ),
        ],
    ),
    Function(
        "1-norm",
        lambda x: np.abs(x).sum(axis=1),
        lambda u, x: (u[:, None] * np.sign(x),),
        normal_scales(18, (2, 3), 1e-8, 1.0, 1e8),
        [times(1.001), instead("without the sign", lambda u, x: (np.repeat(u[:, None], 3, 1),))],
    ),
    Function(
        "maximum norm",
        lambda x: np.abs(x).max(axis=1),
        lambda u, x: (u[:, None] * np.sign(x) * (np.abs(x) == np.abs(x).max(1, keepdims=True)),),
        normal_scales(18, (2, 3), 1e-8, 1.0, 1e8),
        [
            times(1.001),
            instead(
                "the minimum's",
                lambda u, x: (u[:, None] * np.sign(x) * (np.abs(x) == np.abs(x).min(1, keepdims=True)),),
            ),
        ],
    ),
    Function(
        "cosine similarity",
        _cosine,
        cosine_vjp,
        {f"{s:g}": [normal(19, 2, 3, scale=s), normal(20, 2, 3, scale=s)] for s in (1e-8, 1.0, 1e8)}
        | {"1e-5 and 1e5": [normal(19, 2, 3, scale=1e-5), normal(20, 2, 3, scale=1e5)]},
        [times(1.001), instead("the norms constant", _cosine_without_the_norms), swapped(("1e-5 and 1e5",))],
    ),
]


# Softmax, and what is made of it


def softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def softmax_vjp(u, x):
    p = softmax(x)
    return (p * (u - (u * p).sum(axis=-1, keepdims=True)),)


def _softmax_diagonal(u, x):
    p = softmax(x)
    return (u * p * (1 - p),)


def _logsumexp(x):
    top = x.max(axis=-1, keepdims=True)
    return (top + np.log(np.exp(x - top).sum(axis=-1, keepdims=True)))[..., 0]


def log_softmax(x):
    return x - _logsumexp(x)[..., None]


def log_softmax_vjp(u, x):
    return (u - softmax(x) * u.sum(axis=-1, keepdims=True),)


def _masked_vjp(u, x, mask):
    g = softmax_vjp(u, x + mask)[0]
    return g, g.copy()


LOGITS = normal(21, 2, 4)
TIMES_1E3 = np.array([[1000.0, 1000.4, 998.9, -1000.0], [0.3, -1.1, 0.9, -3000.0]])
TIMES_1E4 = np.array([[10000.0, 10000.4, 9998.9, -10000.0], [-9999.0, -9998.5, -9999.4, -30000.0]])
OF_LOGITS = {
    "1": [LOGITS],
    "1e-6": [1e-6 * LOGITS],
    "about 1e3": [TIMES_1E3],
    "about 1e4": [TIMES_1E4],
    "10": [5 * LOGITS],
}
LABELS = np.array([2, 0, 1])
ONE_HOT = np.eye(4)[LABELS]


def _cross_entropy(x):
    return -(ONE_HOT * log_softmax(x)).sum(axis=1).mean()


def _cross_entropy_vjp(u, x):
    return (u * (softmax(x) - ONE_HOT) / len(x),)


def _confident(gap: float) -> np.ndarray:
    return gap * ONE_HOT + 0.3 * normal(22, 3, 4)


def _focal(x):
    logp = (ONE_HOT * log_softmax(x)).sum(axis=1)
    return -((1 - np.exp(logp)) ** 2) * logp


def _focal_vjp(u, x):
    logp = (ONE_HOT * log_softmax(x)).sum(axis=1)
    p = np.exp(logp)
    slope = 2 * (1 - p) * p * logp - (1 - p) ** 2
    return log_softmax_vjp((u * slope)[:, None] * ONE_HOT, x)


def _smoothed_vjp(u, x):
    return (u * (softmax(x) - (0.9 * ONE_HOT + 0.025)) / len(x),)


def _attention(q, k, v):
    return softmax(q @ k.T / math.sqrt(q.shape[1])) @ v


def _attention_vjp(u, q, k, v):
    s = math.sqrt(q.shape[1])
    p = softmax(q @ k.T / s)
    (g,) = softmax_vjp(u @ v.T, q @ k.T / s)
    return g @ k / s, g.T @ q / s, p.T @ u


def _attention_unscaled(u, q, k, v):
    s = math.sqrt(q.shape[1])
    gq, gk, gv = _attention_vjp(u, q, k, v)
    return gq * s, gk * s, gv


SOFTMAX = [
    Function(
        "softmax",
        softmax,
        softmax_vjp,
        OF_LOGITS,
        [times(1.001), instead("the diagonal only", _softmax_diagonal), negated()],
    ),
    Function(
        "softmax of a temperature of 1e-3",
        lambda x: softmax(x / 1e-3),
        lambda u, x: (softmax_vjp(u, x / 1e-3)[0] / 1e-3,),
        {"1e-3": [1e-3 * LOGITS]},
        [times(1.001), instead("without the temperature", lambda u, x: softmax_vjp(u, x / 1e-3))],
    ),
    Function(
        "softmax with a mask outside wrt",
        lambda x, m: softmax(x + m),
        lambda u, x, m: (softmax_vjp(u, x + m)[0], None),
        {
            "-1e9": [LOGITS, MASK],
            "float32's minimum": [LOGITS, np.where(MASK < 0, FLOAT32_MIN, 0.0)],
            "-inf": [LOGITS, np.where(MASK < 0, -np.inf, 0.0)],
        },
        [
            times(1.001),
            times(1.05),
            times(-7),
            instead("the mask ignored", lambda u, x, m: (softmax_vjp(u, x)[0], None)),
        ],
        wrt=(0,),
    ),
    Function(
        "softmax with a mask inside wrt",
        lambda x, m: softmax(x + m),
        _masked_vjp,
        {"-1e9": [LOGITS, MASK], "float32's minimum": [LOGITS, np.where(MASK < 0, FLOAT32_MIN, 0.0)]},
        [times(1.001), times(1.05), times(-7), without(1)],
    ),
    Function(
        "log-softmax",
        log_softmax,
        log_softmax_vjp,
        OF_LOGITS,
        [
            times(1.001),
            instead("without the sum", lambda u, x: (u * (1 - softmax(x)),)),
            instead("the softmax's", softmax_vjp),
        ],
    ),
    Function(
        "logsumexp",
        _logsumexp,
        lambda u, x: (u[:, None] * softmax(x),),
        {**OF_LOGITS, "1e8": [1e8 + LOGITS]},
        [times(1.001), instead("exp(x)", lambda u, x: (u[:, None] * np.exp(np.minimum(x, 9)),))],
    ),
    Function(
        "cross-entropy",
        _cross_entropy,
        _cross_entropy_vjp,
        {
            "1": [normal(22, 3, 4)],
            "1e-6": [1e-6 * normal(22, 3, 4)],
            "confident by 10": [_confident(10.0)],
            "confident by 18": [_confident(18.0)],
            "confidently wrong": [_confident(-30.0)],
        },
        [
            times(1.001),
            instead("missing 1/N", lambda u, x: (u * (softmax(x) - ONE_HOT),)),
            instead("without the label", lambda u, x: (u * softmax(x) / len(x),)),
        ],
    ),
    Function(
        "cross-entropy with smoothed labels",
        lambda x: -((0.9 * ONE_HOT + 0.025) * log_softmax(x)).sum(axis=1).mean(),
        _smoothed_vjp,
        {"1": [normal(22, 3, 4)], "confident by 10": [_confident(10.0)]},
        [times(1.001), instead("without smoothing", _cross_entropy_vjp)],
    ),
    Function(
        "focal loss",
        _focal,
        _focal_vjp,
        {"1": [normal(22, 3, 4)], "10": [3 * normal(22, 3, 4)]},
        [
            times(1.001),
            instead(
                "the factor a constant",
                lambda u, x: log_softmax_vjp(
                    -(u * (1 - np.exp((ONE_HOT * log_softmax(x)).sum(1))) ** 2)[:, None] * ONE_HOT, x
                ),
            ),
        ],
    ),
    Function(
        "attention",
        _attention,
        _attention_vjp,
        {
            f"{s:g}": [normal(23, 2, 3, scale=s), normal(24, 3, 3), normal(25, 3, 2, scale=s)]
            for s in (1e-4, 1.0)
        }
        | {"values of 1e8": [normal(23, 2, 3), normal(24, 3, 3), normal(25, 3, 2, scale=1e8)]},
        [times(1.001), instead("without 1 / sqrt(d)", _attention_unscaled), without(2)],
    ),
]


# Losses and measures of information

P = softmax(normal(26, 2, 4))
Q = softmax(normal(27, 2, 4))
TARGETS = (normal(28, 6) > 0) * 1.0


def _bce(x):
    return (np.logaddexp(0, x) - TARGETS * x).mean()


def _bce_vjp(u, x):
    return (u * (1 / (1 + np.exp(-x)) - TARGETS) / x.size,)


def _dice(p):
    return 1 - 2 * (p * TARGETS).sum() / (p.sum() + TARGETS.sum())


def _dice_vjp(u, p):
    total = p.sum() + TARGETS.sum()
    return (u * (2 * (p * TARGETS).sum() / total**2 - 2 * TARGETS / total),)


def _triplet(a, p, n):
    return np.maximum(((a - p) ** 2).sum(axis=1) - ((a - n) ** 2).sum(axis=1) + 1, 0)


def _triplet_vjp(u, a, p, n):
    g = (u * (_triplet(a, p, n) > 0))[:, None]
    return 2 * g * (n - p), 2 * g * (p - a), 2 * g * (a - n)


def _info_nce(a, b):
    """The rows of b that belong to those of a against all others."""
    logits = a @ b.T / 0.1
    return -np.trace(log_softmax(logits)) / len(a)


def _info_nce_vjp(u, a, b):
    g = u * (softmax(a @ b.T / 0.1) - np.eye(len(a))) / len(a) / 0.1
    return g @ b, g.T @ a


def _rbf(x, y):
    d = ((x[:, None] - y[None]) ** 2).sum(axis=-1)
    return np.exp(-d / 2)


def _rbf_vjp(u, x, y):
    g = (u * _rbf(x, y))[..., None] * (x[:, None] - y[None])
    return -g.sum(axis=1), g.sum(axis=0)


def distance_vjp(u, x, y):
    d = x[:, None] - y[None]
    g = (u / np.sqrt((d**2).sum(axis=-1)))[..., None] * d
    return g.sum(axis=1), -g.sum(axis=0)


LOSSES = [
    Function(
        "mean squared error",
        lambda x, y: ((x - y) ** 2).mean(),
        lambda u, x, y: (2 * u * (x - y) / x.size, -2 * u * (x - y) / x.size),
        {
            f"{s:g}": [normal(29, 2, 3, scale=s), normal(30, 2, 3, scale=s)]
            for s in (1e-8, 1e-4, 1.0, 1e4, 1e8)
        },
        [
            times(1.001),
            instead("missing 1/N", lambda u, x, y: (2 * u * (x - y), -2 * u * (x - y))),
            swapped(),
            ignored_upstream(("1",)),
        ],
    ),
    Function(
        "mean Huber loss",
        lambda x: np.where(np.abs(x) <= 1, x**2 / 2, np.abs(x) - 0.5).mean(),
        lambda u, x: (u * np.clip(x, -1, 1) / x.size,),
        {
            "1": [signed(1.0)],
            "1e-4 beside the joint": [np.array([0.9999, 1.0001, -0.9999, 0.3, 2.0])],
            "1e-6 beside the joint": [np.array([0.999999, 1.000001, -0.999999, 0.3, 2.0])],
        },
        [times(1.001), instead("missing 1/N", lambda u, x: (u * np.clip(x, -1, 1),)), one_element()],
    ),
    Function(
        "binary cross-entropy of logits",
        _bce,
        _bce_vjp,
        {
            "1": [signed(1.0)],
            "1e-6": [signed(1e-6)],
            "confident": [(2 * TARGETS - 1) * 15],
            "confidently wrong": [(1 - 2 * TARGETS) * 30],
        },
        [times(1.001), instead("missing 1/N", lambda u, x: (u * (1 / (1 + np.exp(-x)) - TARGETS),))],
    ),
    Function(
        "binary cross-entropy of probabilities",
        lambda p: -(TARGETS * np.log(p) + (1 - TARGETS) * np.log1p(-p)).mean(),
        lambda u, p: (u * (p - TARGETS) / (p * (1 - p)) / p.size,),
        {"0.5": [0.5 + signed(0.1)], "0.01": [np.abs(signed(0.01))], "1e-6": [np.abs(signed(1e-6))]},
        [times(1.001), instead("of the logits", lambda u, p: (u * (p - TARGETS) / p.size,))],
    ),
    Function(
        "hinge loss",
        lambda x: np.maximum(0, 1 - (2 * TARGETS - 1) * x),
        lambda u, x: (u * np.where((2 * TARGETS - 1) * x < 1, 1 - 2 * TARGETS, 0.0),),
        {"1": [signed(1.0)], "1e-8": [signed(1e-8)]},
        [times(1.001), negated()],
    ),
    Function(
        "quantile loss",
        lambda x: np.maximum(0.9 * x, -0.1 * x).mean(),
        lambda u, x: (u * np.where(x > 0, 0.9, -0.1) / x.size,),
        {"1": [signed(1.0)], "1e-8": [signed(1e-8)], "1e8": [signed(1e8)]},
        [
            times(1.001),
            instead("the quantiles swapped", lambda u, x: (u * np.where(x > 0, 0.1, -0.9) / x.size,)),
        ],
    ),
    Function(
        "Poisson likelihood",
        lambda x: (np.exp(x) - np.round(np.abs(signed(1.0))) * x).sum(),
        lambda u, x: (u * (np.exp(x) - np.round(np.abs(signed(1.0)))),),
        {"1": [signed(1.0)], "10": [10 + signed(1.0)], "1e-6": [signed(1e-6)]},
        [times(1.001), instead("without the count", lambda u, x: (u * np.exp(x),))],
    ),
    Function(
        "Gaussian likelihood",
        lambda m, v: (np.log(v) + (m - 0.5) ** 2 / v).mean() / 2,
        lambda u, m, v: (u * (m - 0.5) / v / m.size, u * (1 / v - (m - 0.5) ** 2 / v**2) / 2 / m.size),
        {
            "variance 1": [signed(1.0)[:5], positive(1.0)],
            "variance 1e-4": [0.5 + signed(1e-2)[:5], positive(1e-4)],
            "variance 1e-8": [0.5 + signed(1e-4)[:5], positive(1e-8)],
        },
        [
            times(1.001),
            instead(
                "the quadratic term only",
                lambda u, m, v: (u * (m - 0.5) / v / m.size, -u * (m - 0.5) ** 2 / v**2 / 2 / m.size),
            ),
            without(1),
        ],
    ),
    Function(
        "entropy",
        lambda p: -(p * np.log(p)).sum(axis=1),
        lambda u, p: (-u[:, None] * (np.log(p) + 1),),
        {
            "1": [P],
            "1e-8 among them": [np.array([[0.5, 0.3, 1e-8, 0.2], [0.1, 0.2, 0.3, 0.4]])],
            "1e-3": [1e-3 * P],
        },
        [times(1.001), instead("log p", lambda u, p: (-u[:, None] * np.log(p),))],
    ),
    Function(
        "Kullback-Leibler divergence",
        lambda p, q: (p * np.log(p / q)).sum(axis=1),
        lambda u, p, q: (u[:, None] * (np.log(p / q) + 1), -u[:, None] * p / q),
        {"1": [P, Q], "q of 1e-6": [P, 1e-6 * Q], "1e8": [1e8 * P, 1e8 * Q]},
        [
            times(1.001),
            instead("without the 1", lambda u, p, q: (u[:, None] * np.log(p / q), -u[:, None] * p / q)),
            without(0),
        ],
    ),
    Function(
        "Jensen-Shannon divergence",
        lambda p, q: (special.rel_entr(p, (p + q) / 2) + special.rel_entr(q, (p + q) / 2)).sum(axis=1) / 2,
        lambda u, p, q: (u[:, None] * np.log(2 * p / (p + q)) / 2, u[:, None] * np.log(2 * q / (p + q)) / 2),
        {"1": [P, Q], "1e-4": [1e-4 * P, 1e-4 * Q]},
        [times(1.001), swapped()],
    ),
    Function(
        "Dice loss",
        _dice,
        _dice_vjp,
        {"1": [0.5 + signed(0.1)], "0.01": [np.abs(signed(0.01))]},
        [
            times(1.001),
            instead(
                "the denominator a constant", lambda u, p: (-u * 2 * TARGETS / (p.sum() + TARGETS.sum()),)
            ),
        ],
    ),
    Function(
        "triplet loss",
        _triplet,
        _triplet_vjp,
        {
            "1": [normal(31, 3, 2), normal(32, 3, 2), normal(33, 3, 2)],
            "1e-3": [
                normal(31, 3, 2, scale=1e-3),
                normal(32, 3, 2, scale=1e-3),
                normal(33, 3, 2, scale=1e-3),
            ],
        },
        [times(1.001), without(0), negated()],
    ),
    Function(
        "InfoNCE",
        _info_nce,
        _info_nce_vjp,
        {
            "1": [0.3 * normal(34, 3, 2), 0.3 * normal(35, 3, 2)],
            "1e-4 and 1e4": [3e-5 * normal(34, 3, 2), 3e3 * normal(35, 3, 2)],
        },
        [
            times(1.001),
            instead("without the temperature", lambda u, a, b: tuple(g / 10 for g in _info_nce_vjp(u, a, b))),
        ],
    ),
    Function(
        "RBF kernel",
        _rbf,
        _rbf_vjp,
        {
            "1": [normal(36, 3, 2), normal(37, 2, 2)],
            "1e-4": [normal(36, 3, 2, scale=1e-4), normal(37, 2, 2, scale=1e-4)],
            "1e3 + 1": [1e3 + normal(36, 3, 2), 1e3 + normal(37, 2, 2)],
        },
        [times(1.001), negated(), without(1), stale(1.1, ("1",))],
    ),
    Function(
        "distances",
        lambda x, y: np.sqrt(((x[:, None] - y[None]) ** 2).sum(axis=-1)),
        distance_vjp,
        {f"{s:g}": [normal(36, 3, 2, scale=s), normal(37, 2, 2, scale=s)] for s in (1e-8, 1.0, 1e8)},
        [times(1.001), negated(), in_float32(("1",)), at_smallest(2.0)],
    ),
]

FUNCTIONS: list[Function] = SUMS + NORMS + SOFTMAX + LOSSES
