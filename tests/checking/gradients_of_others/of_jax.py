"""Functions of JAX's, in float64; without JAX there are none."""

from __future__ import annotations

import math
from functools import wraps

import numpy as np
from scipy import special

from gradients_of_others.case import (
    Function,
    instead,
    negated,
    normal,
    normal_scales,
    one_element,
    positive,
    scales,
    signed,
    slope,
    stale,
    swapped,
    times,
)
from gradients_of_others.elementwise import gelu_tanh_slope, normal_density, sigmoid
from gradients_of_others.matrices import cholesky_vjp, inverse_vjp, matmul_vjp, regular, solve_vjp
from gradients_of_others.normalisation import normalised_vjp
from gradients_of_others.rearranging import (
    conv1d_vjp,
    cumprod_vjp,
    fft_convolution_vjp,
    log_cumulative_vjp,
    reversed_cumsum,
    sort_vjp,
)
from gradients_of_others.reductions import log_softmax_vjp, softmax, softmax_vjp

try:
    import jax
    import jax.numpy as jnp
except ImportError:
    jax = None


def in_float64(function):
    """Run with JAX's float64, without turning it on for others."""

    @wraps(function)
    def run(*args):
        with jax.enable_x64(True):
            return function(*args)

    return run


def on_host(results):
    return jax.tree_util.tree_map(lambda a: np.array(a), results)


def on_arrays(native):
    """A function of JAX's arrays as one of NumPy's."""
    compiled = jax.jit(native)
    return in_float64(lambda *arrays: on_host(compiled(*arrays)))


def own(native):
    """The gradient that JAX computes."""
    compiled = jax.jit(lambda u, *arrays: jax.vjp(native, *arrays)[1](u))
    return in_float64(lambda u, *arrays: on_host(compiled(u, *arrays)))


def of(name, native, vjp, at, wrong) -> Function:
    """A function of JAX's."""
    at = {k: v if isinstance(v, list) else [v] for k, v in at.items()}
    return Function(name, on_arrays(native), vjp, at, wrong, None, "JAX", native, own(native))


def pointwise(name, native, derivative, at, wrong) -> Function:
    """One of JAX's that acts on each element, by its derivative."""
    return of(name, native, lambda u, x: (u * derivative(x),), at, wrong)


def pointwise_functions():
    """Activations and special functions."""
    return [
        pointwise(
            "jax.nn.gelu",
            jax.nn.gelu,
            gelu_tanh_slope,
            scales(signed, 1e-8, 1.0),
            [times(1.001), slope("Phi only", special.ndtr, ("1",))],
        ),
        pointwise(
            "jax.nn.silu",
            jax.nn.silu,
            lambda x: sigmoid(x) * (1 + x * sigmoid(-x)),
            scales(signed, 1e-8, 1.0, 10.0),
            [times(1.001), slope("sigmoid", sigmoid, ("1", "10"))],
        ),
        pointwise(
            "jax.nn.softplus",
            jax.nn.softplus,
            sigmoid,
            scales(signed, 1e-8, 1.0, 10.0),
            [times(1.001), slope("sigmoid(-x)", lambda x: sigmoid(-x), ("1", "10"))],
        ),
        pointwise(
            "jax.nn.squareplus",
            jax.nn.squareplus,
            lambda x: (1 + x / np.sqrt(x**2 + 4)) / 2,
            scales(signed, 1e-8, 1.0, 100.0),
            [times(1.001), slope("x / sqrt(x^2 + 4)", lambda x: x / np.sqrt(x**2 + 4))],
        ),
        pointwise(
            "jax.nn.selu",
            jax.nn.selu,
            lambda x: 1.0507009873554804934193349852946
            * np.where(x > 0, 1.0, 1.6732632423543772848170429916717 * np.exp(np.minimum(x, 0))),
            scales(signed, 1e-6, 1.0),
            [
                times(1.001),
                slope(
                    "without lambda",
                    lambda x: np.where(x > 0, 1.0, 1.6732632423543772 * np.exp(np.minimum(x, 0))),
                ),
            ],
        ),
        pointwise(
            "jax.nn.log_sigmoid",
            jax.nn.log_sigmoid,
            lambda x: sigmoid(-x),
            scales(signed, 1e-8, 1.0, 10.0),
            [times(1.001), negated()],
        ),
        pointwise(
            "jax.nn.hard_tanh",
            jax.nn.hard_tanh,
            lambda x: (np.abs(x) < 1) * 1.0,
            {"1": signed(0.7), "1e-8 beside 1": np.array([1 - 1e-8, 1 + 1e-8, 0.3, -0.4])},
            [times(1.001), slope("1 - tanh^2", lambda x: 1 - np.tanh(x) ** 2)],
        ),
        pointwise(
            "jax.scipy.special.erf",
            jax.scipy.special.erf,
            lambda x: 2 / math.sqrt(math.pi) * np.exp(-(x**2)),
            scales(signed, 1e-8, 1.0),
            [times(1.001), slope("without 2 / sqrt(pi)", lambda x: np.exp(-(x**2)))],
        ),
        pointwise(
            "jax.scipy.special.gammaln",
            jax.scipy.special.gammaln,
            special.digamma,
            scales(positive, 1e-6, 1.0, 1e4),
            [times(1.001), negated()],
        ),
        pointwise(
            "jax.scipy.special.entr",
            jax.scipy.special.entr,
            lambda x: -np.log(x) - 1,
            scales(positive, 1e-8, 1e-3, 1.0),
            [times(1.001), slope("-log x", lambda x: -np.log(x))],
        ),
        pointwise(
            "jax.scipy.special.log_ndtr",
            jax.scipy.special.log_ndtr,
            lambda x: np.exp(-(x**2) / 2 - special.log_ndtr(x)) / math.sqrt(2 * math.pi),
            scales(signed, 1.0),
            [times(1.001), slope("the density", normal_density)],
        ),
        pointwise(
            "jax.lax.rsqrt",
            lambda x: jax.lax.rsqrt(x),
            lambda x: -0.5 * x**-1.5,
            scales(positive, 1e-8, 1.0, 1e8),
            [times(1.001), negated()],
        ),
        pointwise(
            "jax.lax.cbrt",
            lambda x: jax.lax.cbrt(x),
            lambda x: np.cbrt(x) / (3 * x),
            scales(signed, 1e-8, 1.0, 1e8),
            [times(1.001), times(3)],
        ),
        pointwise(
            "jax.lax.log1p",
            lambda x: jax.lax.log1p(x),
            lambda x: 1 / (1 + x),
            scales(positive, 1e-8, 1.0, 1e8),
            [times(1.001), slope("1 / x", lambda x: 1 / x, ("1e-08", "1"))],
        ),
        pointwise(
            "jnp.sin",
            lambda x: jnp.sin(x),
            np.cos,
            {"1": signed(1.0), "1e4": 1e4 + signed(1.0), "1e6": 1e6 + signed(1.0)},
            [times(1.001), slope("sin for cos", np.sin)],
        ),
        pointwise(
            "jnp.arctan",
            lambda x: jnp.arctan(x),
            lambda x: 1 / (1 + x**2),
            scales(signed, 1e-8, 1.0, 1e8),
            [times(1.001), negated()],
        ),
    ]


def array_functions():
    """Softmax, layers, order, linear algebra, loops."""
    logits = normal(301, 2, 4)
    by_scale = {"1": logits, "1e-6": 1e-6 * logits, "1e4": 1e4 + logits}

    def scanned(x, w):
        """A recurrence by `lax.scan`: h <- tanh(w h + x)."""

        def step(h, x):
            h = jnp.tanh(w * h + x)
            return h, h

        return jax.lax.scan(step, jnp.zeros_like(x[0]), x)[1]

    def scanned_vjp(u, x, w, steps=4):
        h, states = np.zeros_like(x[0]), []
        for each in x:
            states.append(h)
            h = np.tanh(w * h + each)
        gx, gw, g = np.zeros_like(x), np.zeros_like(w), np.zeros_like(x[0])
        for t in reversed(range(len(x))):
            a = (u[t] + g) * (1 - np.tanh(w * states[t] + x[t]) ** 2)
            gx[t], gw = a, gw + a * states[t]
            g = a * w if len(x) - t < steps else np.zeros_like(a)
        return gx, gw

    def segment_sum(x):
        return jax.ops.segment_sum(x, jnp.array([0, 2, 0, 1]), 3)

    def interpolated_vjp(u, y):
        weights = np.array([[0.7, 0.3, 0, 0], [0, 0.2, 0.8, 0], [0, 0, 0.6, 0.4]])
        return (u @ weights,)

    symmetric = (regular(302, 3) + regular(302, 3).T) / 2
    return [
        of(
            "jax.nn.softmax",
            lambda x: jax.nn.softmax(x),
            softmax_vjp,
            by_scale,
            [times(1.001), instead("the diagonal only", lambda u, x: (u * softmax(x) * (1 - softmax(x)),))],
        ),
        of(
            "jax.nn.log_softmax",
            lambda x: jax.nn.log_softmax(x),
            log_softmax_vjp,
            by_scale,
            [times(1.001), instead("without the sum", lambda u, x: (u * (1 - softmax(x)),))],
        ),
        of(
            "jax.nn.logsumexp",
            lambda x: jax.nn.logsumexp(x, axis=1),
            lambda u, x: (u[:, None] * softmax(x),),
            by_scale,
            [times(1.001), negated()],
        ),
        of(
            "jax.nn.standardize",
            lambda x: jax.nn.standardize(x, epsilon=1e-5),
            lambda u, x: (normalised_vjp(u, x, (1,)),),
            normal_scales(303, (2, 5), 1e-2, 1.0, 1e3),
            [
                times(1.001),
                instead(
                    "the statistics constant", lambda u, x: (u / np.sqrt(x.var(1, keepdims=True) + 1e-5),)
                ),
            ],
        ),
        of(
            "jnp.matmul",
            lambda a, b: jnp.matmul(a, b),
            matmul_vjp,
            {f"{s:g}": [normal(307, 2, 3, scale=s), normal(308, 3, 3, scale=s)] for s in (1e-8, 1.0, 1e8)},
            [times(1.001), instead("not transposed", lambda u, a, b: (u @ b, a.T @ u))],
        ),
        of(
            "jnp.correlate",
            lambda x, w: jax.vmap(lambda row: jnp.correlate(row, w, "valid"))(x),
            conv1d_vjp,
            {f"{s:g}": [normal(309, 2, 6, scale=s), normal(310, 3)] for s in (1e-8, 1.0, 1e8)},
            [
                times(1.001),
                instead(
                    "the filter flipped",
                    lambda u, x, w: (conv1d_vjp(u, x, w[::-1])[0], conv1d_vjp(u, x, w)[1]),
                ),
            ],
        ),
        of(
            "jnp.fft, a circular convolution",
            lambda x, w: jnp.fft.irfft(jnp.fft.rfft(x) * jnp.fft.rfft(w), n=6),
            fft_convolution_vjp,
            {"1": [normal(311, 6), normal(312, 6)], "1e-8": [normal(311, 6, scale=1e-8), normal(312, 6)]},
            [times(1.001), swapped()],
        ),
        of(
            "jnp.cumsum",
            lambda x: jnp.cumsum(x, 1),
            lambda u, x: (reversed_cumsum(u).copy(),),
            normal_scales(313, (2, 4), 1e-8, 1.0, 1e8),
            [times(1.001), instead("in the same direction", lambda u, x: (np.cumsum(u, axis=1),))],
        ),
        of(
            "jnp.cumprod",
            lambda x: jnp.cumprod(x, 1),
            cumprod_vjp,
            normal_scales(314, (2, 4), 1e-2, 1.0, 1e2),
            [times(1.001), one_element()],
        ),
        of(
            "jax.lax.cumlogsumexp",
            lambda x: jax.lax.cumlogsumexp(x, 1),
            log_cumulative_vjp,
            {"1": normal(315, 2, 4), "-300": normal(315, 2, 4) - 300},
            [times(1.001), negated()],
        ),
        of(
            "jnp.sort",
            lambda x: jnp.sort(x, 1),
            sort_vjp,
            normal_scales(316, (2, 5), 1e-8, 1.0, 1e8),
            [times(1.001), instead("not sorted back", lambda u, x: (1.0 * u,))],
        ),
        of(
            "jax.ops.segment_sum",
            segment_sum,
            lambda u, x: (u[np.array([0, 2, 0, 1])],),
            normal_scales(317, (4, 2), 1e-8, 1.0, 1e8),
            [times(1.001), instead("shifted by a row", lambda u, x: (u[np.array([1, 0, 1, 2])],))],
        ),
        of(
            "jnp.interp",
            lambda y: jnp.interp(jnp.array([0.3, 1.8, 2.4]), jnp.arange(4.0), y),
            interpolated_vjp,
            normal_scales(318, (4,), 1e-8, 1.0, 1e8),
            [
                times(1.001),
                instead("the weights swapped", lambda u, y: (interpolated_vjp(u[::-1], y)[0][::-1].copy(),)),
            ],
        ),
        of(
            "jax.lax.scan, a recurrence",
            scanned,
            scanned_vjp,
            {
                "1": [normal(319, 4, 2), normal(320, 2)],
                "x of 1e-6": [normal(319, 4, 2, scale=1e-6), normal(320, 2)],
            },
            [times(1.001), instead("truncated after one step", lambda u, x, w: scanned_vjp(u, x, w, 1))],
        ),
        of(
            "jax.lax.fori_loop, a power",
            lambda x: jax.lax.fori_loop(0, 5, lambda i, y: y * x, jnp.ones_like(x)),
            lambda u, x: (5 * u * x**4,),
            scales(signed, 1e-4, 1.0, 1e4),
            [times(1.001), times(0.8)],
        ),
        of(
            "jnp.linalg.solve",
            lambda a, b: jnp.linalg.solve(a, b),
            solve_vjp,
            {f"{s:g}": [regular(321, 3, s), normal(322, 3)] for s in (1e-4, 1.0, 1e4)},
            [
                times(1.001),
                instead(
                    "the sign of the matrix'", lambda u, a, b: (-solve_vjp(u, a, b)[0], solve_vjp(u, a, b)[1])
                ),
            ],
        ),
        of(
            "jnp.linalg.inv",
            lambda a: jnp.linalg.inv(a),
            inverse_vjp,
            {f"{s:g}": [regular(323, 3, s)] for s in (1e-4, 1.0, 1e4)},
            [times(1.001), negated()],
        ),
        of(
            "jnp.linalg.slogdet",
            lambda a: jnp.linalg.slogdet(a)[1],
            lambda u, a: (u * np.linalg.inv(a).T,),
            {f"{s:g}": [regular(324, 3, s)] for s in (1e-6, 1.0, 1e6)},
            [times(1.001), stale(1.1)],
        ),
        of(
            "jnp.linalg.cholesky",
            lambda a: jnp.linalg.cholesky((a + a.T) / 2),
            cholesky_vjp,
            {"1": symmetric, "1e4": 1e4 * symmetric},
            [times(1.001), times(2)],
        ),
        of(
            "jnp.linalg.norm",
            lambda x: jnp.linalg.norm(x, axis=1),
            lambda u, x: (u[:, None] * x / np.linalg.norm(x, axis=1, keepdims=True),),
            normal_scales(325, (2, 4), 1e-8, 1.0, 1e8),
            [times(1.001), times(2)],
        ),
        of(
            "jnp.var",
            lambda x: jnp.var(x, axis=-1),
            lambda u, x: (2 * u[:, None] * (x - x.mean(1, keepdims=True)) / 5,),
            {"1": normal(326, 2, 5), "mean 1e6": 1e6 + normal(326, 2, 5)},
            [times(1.001), times(5)],
        ),
        of(
            "jnp.where, a Huber loss",
            lambda x: jnp.where(jnp.abs(x) <= 1, x**2 / 2, jnp.abs(x) - 0.5),
            lambda u, x: (u * np.clip(x, -1, 1),),
            {"1": signed(1.0), "1e-6 beside the joint": np.array([1 - 1e-6, 1 + 1e-6, -0.2, 3.0])},
            [times(1.001), negated()],
        ),
    ]


FUNCTIONS: list[Function] = [] if jax is None else pointwise_functions() + array_functions()
