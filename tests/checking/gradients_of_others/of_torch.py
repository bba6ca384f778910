"""Functions of PyTorch's, on tensors in float64; without PyTorch there are none."""

from __future__ import annotations

import math

import numpy as np
from scipy import special

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
    scales,
    signed,
    slope,
    stale,
    swapped,
    times,
    without,
)
from gradients_of_others.elementwise import gelu_tanh_slope, mish_slope, normal_density, sigmoid, sinc_slope
from gradients_of_others.matrices import (
    bilinear_vjp,
    cholesky_vjp,
    eigenvalues_vjp,
    inverse_vjp,
    linear_vjp,
    matmul_vjp,
    regular,
    singular_values_vjp,
    solve_vjp,
)
from gradients_of_others.normalisation import lrn_vjp, normalised, normalised_vjp, rms_norm_vjp
from gradients_of_others.rearranging import (
    conv1d_vjp,
    cumprod_vjp,
    embedding_vjp,
    log_cumulative_vjp,
    reversed_cumsum,
    sort_vjp,
)
from gradients_of_others.reductions import (
    cosine_vjp,
    distance_vjp,
    log_softmax_vjp,
    softmax,
    softmax_vjp,
    unit_vjp,
)

try:
    import torch
    import torch.nn.functional as F
except ImportError:
    torch = None


def tensors(arrays):
    """Copies: PyTorch takes neither negative strides nor memory that must not be written."""
    return [torch.from_numpy(np.array(a, order="C")) for a in arrays]


def on_arrays(native):
    """A function of tensors as one of arrays."""

    def forward(*arrays):
        y = native(*tensors(arrays))
        return tuple(each.numpy() for each in y) if isinstance(y, tuple) else y.numpy()

    return forward


def own(native, wrt=None):
    """The gradient that PyTorch computes."""

    def vjp(u, *arrays):
        inputs = tensors(arrays)
        moving = [i for i, t in enumerate(inputs) if t.is_floating_point() and (wrt is None or i in wrt)]
        for i in moving:
            inputs[i].requires_grad_()
        with torch.enable_grad():  # PyTorch's gradcheck calls this within a backward
            y = native(*inputs)
        us = tensors(u) if isinstance(u, tuple) else tensors([u])[0]
        found = torch.autograd.grad(y, [inputs[i] for i in moving], us)
        by_position = dict(zip(moving, found, strict=True))
        return tuple(by_position[i].numpy() if i in by_position else None for i in range(len(inputs)))

    return vjp


def of(name, native, vjp, at, wrong, wrt=None) -> Function:
    """A function of PyTorch's."""
    at = {k: v if isinstance(v, list) else [v] for k, v in at.items()}
    return Function(name, on_arrays(native), vjp, at, wrong, wrt, "PyTorch", native, own(native, wrt))


def pointwise(name, native, derivative, at, wrong) -> Function:
    """One of PyTorch's that acts on each element, by its derivative."""
    return of(name, native, lambda u, x: (u * derivative(x),), at, wrong)


def pointwise_functions():
    """Activations and special functions."""
    return [
        pointwise(
            "F.gelu",
            F.gelu,
            lambda x: special.ndtr(x) + x * normal_density(x),
            scales(signed, 1e-8, 1.0),
            [times(1.001), slope("tanh form's", gelu_tanh_slope, ("1",))],
        ),
        pointwise(
            "F.gelu(approximate='tanh')",
            lambda x: F.gelu(x, approximate="tanh"),
            gelu_tanh_slope,
            scales(signed, 1e-8, 1.0, 3.0),
            [times(1.001), slope("Phi only", special.ndtr, ("1", "3"))],
        ),
        pointwise(
            "F.silu",
            F.silu,
            lambda x: sigmoid(x) * (1 + x * sigmoid(-x)),
            scales(signed, 1e-8, 1.0, 10.0),
            [times(1.001), slope("sigmoid", sigmoid, ("1", "10"))],
        ),
        pointwise("F.mish", F.mish, mish_slope, scales(signed, 1e-8, 1.0), [times(1.001), negated()]),
        pointwise(
            "F.softplus(beta=3)",
            lambda x: F.softplus(x, 3),
            lambda x: sigmoid(3 * x),
            scales(signed, 1e-8, 1.0),
            [times(1.001), slope("without beta", sigmoid, ("1",))],
        ),
        pointwise(
            "F.elu(alpha=0.7)",
            lambda x: F.elu(x, 0.7),
            lambda x: np.where(x > 0, 1.0, 0.7 * np.exp(np.minimum(x, 0))),
            scales(signed, 1e-8, 1e-3, 1.0),
            [times(1.001), slope("without alpha", lambda x: np.where(x > 0, 1.0, np.exp(np.minimum(x, 0))))],
        ),
        pointwise(
            "F.celu(alpha=2)",
            lambda x: F.celu(x, 2.0),
            lambda x: np.where(x > 0, 1.0, np.exp(np.minimum(x, 0) / 2)),
            scales(signed, 1e-6, 1.0, 5.0),
            [
                times(1.001),
                slope("without alpha", lambda x: np.where(x > 0, 1.0, np.exp(np.minimum(x, 0))), ("1", "5")),
            ],
        ),
        pointwise(
            "F.hardswish",
            F.hardswish,
            lambda x: np.where(x <= -3, 0.0, np.where(x >= 3, 1.0, (2 * x + 3) / 6)),
            {"1": signed(1.0), "1e-6 beside 3": np.array([3 - 1e-6, 3 + 1e-6, 1.0, 4.0])},
            [times(1.001), slope("clip only", lambda x: np.clip(x + 3, 0, 6) / 6)],
        ),
        pointwise(
            "F.relu6",
            F.relu6,
            lambda x: ((x > 0) & (x < 6)) * 1.0,
            {
                "3": 3 * signed(1.0),
                "1e-8": signed(1e-8),
                "1e-8 beside 6": np.array([6 - 1e-8, 6 + 1e-8, 2.0, 9.0]),
            },
            [
                times(1.001),
                slope("without the upper bound", lambda x: (x > 0) * 1.0 + (x == 9) + 1e-2 * (x < 0)),
            ],
        ),
        pointwise(
            "F.logsigmoid",
            F.logsigmoid,
            lambda x: sigmoid(-x),
            scales(signed, 1e-8, 1.0, 30.0),
            [times(1.001), slope("sigmoid", sigmoid, ("1", "30"))],
        ),
        pointwise(
            "F.softshrink(lambd=0.3)",
            lambda x: F.softshrink(x, 0.3),
            lambda x: (np.abs(x) > 0.3) * 1.0,
            {"1": signed(1.0), "1e-8 beside": np.array([0.3 - 1e-8, 0.3 + 1e-8, 1.0, -0.1])},
            [times(1.001), slope("1", np.ones_like, ("1e-8 beside",)), negated()],
        ),
        pointwise(
            "F.tanhshrink",
            F.tanhshrink,
            lambda x: np.tanh(x) ** 2,
            scales(signed, 1e-3, 1.0),
            [times(1.001), slope("tanh", np.tanh)],
        ),
        pointwise(
            "torch.special.erfcx",
            lambda x: torch.special.erfcx(x),
            lambda x: 2 * x * special.erfcx(x) - 2 / math.sqrt(math.pi),
            scales(signed, 1e-8, 1.0, 20.0) | {"20": positive(20.0)},
            [times(1.001), slope("without the constant", lambda x: 2 * x * special.erfcx(x))],
        ),
        pointwise(
            "torch.special.entr",
            lambda x: torch.special.entr(x),
            lambda x: -np.log(x) - 1,
            scales(positive, 1e-8, 1e-3, 1.0),
            [times(1.001), slope("-log x", lambda x: -np.log(x))],
        ),
        pointwise(
            "torch.special.sinc",
            lambda x: torch.special.sinc(x),
            sinc_slope,
            scales(signed, 1e-3, 1.0),
            [times(1.001), slope("without pi", lambda x: sinc_slope(x) / np.pi)],
        ),
        pointwise(
            "torch.special.log_ndtr",
            lambda x: torch.special.log_ndtr(x),
            lambda x: np.exp(-(x**2) / 2 - special.log_ndtr(x)) / math.sqrt(2 * math.pi),
            scales(signed, 1e-8, 1.0),
            [times(1.001), slope("the density", normal_density)],
        ),
        pointwise(
            "torch.special.i0e",
            lambda x: torch.special.i0e(x),
            lambda x: special.i1e(x) - np.sign(x) * special.i0e(x),
            scales(signed, 1.0, 100.0),
            [times(1.001), slope("i1e", special.i1e)],
        ),
        pointwise(
            "torch.special.logit",
            lambda x: torch.special.logit(x),
            lambda x: 1 / (x * (1 - x)),
            {"0.5": 0.5 + signed(0.1), "1e-6": positive(1e-6)},
            [times(1.001), slope("x (1 - x)", lambda x: x * (1 - x))],
        ),
        pointwise(
            "torch.special.gammaln",
            lambda x: torch.special.gammaln(x),
            special.digamma,
            scales(positive, 1e-6, 1.0, 1e4),
            [times(1.001), slope("log x", np.log, ("1e-06", "1"))],
        ),
        pointwise(
            "torch.special.digamma",
            lambda x: torch.special.digamma(x),
            lambda x: special.polygamma(1, x),
            scales(positive, 1e-4, 1.0, 1e3),
            [times(1.001), slope("1 / x", lambda x: 1 / x, ("0.0001", "1"))],
        ),
        pointwise(
            "torch.rsqrt",
            lambda x: torch.rsqrt(x),
            lambda x: -0.5 * x**-1.5,
            scales(positive, 1e-8, 1.0, 1e8),
            [times(1.001), negated()],
        ),
        pointwise(
            "torch.log1p",
            lambda x: torch.log1p(x),
            lambda x: 1 / (1 + x),
            scales(positive, 1e-8, 1.0, 1e8),
            [times(1.001), slope("1 / x", lambda x: 1 / x, ("1e-08", "1"))],
        ),
        pointwise(
            "torch.expm1",
            lambda x: torch.expm1(x),
            np.exp,
            scales(signed, 1e-8, 1.0, 3.0),
            [times(1.001), slope("expm1", np.expm1, ("1e-08", "1"))],
        ),
        pointwise(
            "torch.atan",
            lambda x: torch.atan(x),
            lambda x: 1 / (1 + x**2),
            scales(signed, 1e-8, 1.0, 1e8),
            [times(1.001), negated()],
        ),
        pointwise(
            "torch.sin",
            lambda x: torch.sin(x),
            np.cos,
            {"1": signed(1.0), "1e4": 1e4 + signed(1.0), "1e6": 1e6 + signed(1.0)},
            [times(1.001), slope("sin for cos", np.sin)],
        ),
        pointwise(
            "torch.acosh",
            lambda x: torch.acosh(x),
            lambda x: 1 / np.sqrt((x - 1) * (x + 1)),
            {"1 + 1e-6": 1 + positive(1e-6), "2": 1 + positive(1.0)},
            [times(1.001), negated()],
        ),
    ]


MASKED = np.array([[0.0, 0.0, -1e9, 0.0], [0.0, -1e9, 0.0, 0.0]])
LABELS = np.array([2, 0, 1])
ONE_HOT = np.eye(4)[LABELS]
TARGETS = np.array([1.0, 0.0, 1.0, 1.0, 0.0, 0.0])


def _smooth_l1(x, beta):
    return np.clip(x / beta, -1, 1)


def losses():
    """Softmax, losses and distances."""
    x, logits = normal(203, 3, 4), normal(201, 2, 4)
    by_scale = {"1": logits, "1e-6": 1e-6 * logits, "1e4": 1e4 + logits}

    def smoothed(u, x):
        return (u * (softmax(x) - 0.8 * ONE_HOT - 0.05) / 3,)

    def gaussian(u, m, v):
        return u * (m - 0.5) / v / m.size, u * (1 / v - (m - 0.5) ** 2 / v**2) / 2 / m.size

    return [
        of(
            "F.softmax",
            lambda x: F.softmax(x, -1),
            softmax_vjp,
            by_scale,
            [times(1.001), instead("the diagonal only", lambda u, x: (u * softmax(x) * (1 - softmax(x)),))],
        ),
        of(
            "F.softmax with a mask",
            lambda x, m: F.softmax(x + m, -1),
            lambda u, x, m: (softmax_vjp(u, x + m)[0], None),
            {
                "-1e9": [logits, MASKED],
                "float32's minimum": [logits, np.where(MASKED < 0, np.finfo("f4").min, 0.0)],
            },
            [times(1.001), times(1.05), negated()],
            wrt=(0,),
        ),
        of(
            "F.log_softmax",
            lambda x: F.log_softmax(x, -1),
            log_softmax_vjp,
            by_scale,
            [times(1.001), instead("without the sum", lambda u, x: (u * (1 - softmax(x)),))],
        ),
        of(
            "torch.logsumexp",
            lambda x: torch.logsumexp(x, -1),
            lambda u, x: (u[:, None] * softmax(x),),
            by_scale,
            [
                times(1.001),
                instead("equal shares", lambda u, x: (np.repeat(u[:, None] / 4, 4, 1),), ("1", "1e4")),
            ],
        ),
        of(
            "F.cross_entropy",
            lambda x: F.cross_entropy(x, torch.from_numpy(LABELS)),
            lambda u, x: (u * (softmax(x) - ONE_HOT) / 3,),
            {"1": x, "confident by 10": 10 * ONE_HOT + 0.3 * x, "1e-6": 1e-6 * x},
            [times(1.001), instead("missing 1/N", lambda u, x: (u * (softmax(x) - ONE_HOT),)), negated()],
        ),
        of(
            "F.cross_entropy(label_smoothing=0.2)",
            lambda x: F.cross_entropy(x, torch.from_numpy(LABELS), label_smoothing=0.2),
            smoothed,
            {"1": x, "10": 5 * x},
            [times(1.001), instead("without smoothing", lambda u, x: (u * (softmax(x) - ONE_HOT) / 3,))],
        ),
        of(
            "F.nll_loss",
            lambda x: F.nll_loss(x, torch.from_numpy(LABELS)),
            lambda u, x: (-u * ONE_HOT / 3,),
            {"1": x, "1e8": 1e8 * x},
            [times(1.001), times(3)],
        ),
        of(
            "F.binary_cross_entropy_with_logits",
            lambda x: F.binary_cross_entropy_with_logits(x, torch.from_numpy(TARGETS)),
            lambda u, x: (u * (sigmoid(x) - TARGETS) / 6,),
            {"1": signed(1.0), "1e-6": signed(1e-6), "10": signed(4.0)},
            [times(1.001), times(6), stale(1.1, ("1", "10"))],
        ),
        of(
            "F.binary_cross_entropy",
            lambda p: F.binary_cross_entropy(p, torch.from_numpy(TARGETS)),
            lambda u, p: (u * (p - TARGETS) / (p * (1 - p)) / 6,),
            {"0.5": 0.5 + signed(0.1), "0.001": np.abs(signed(1e-3))},
            [times(1.001), instead("of the logits", lambda u, p: (u * (p - TARGETS) / 6,))],
        ),
        of(
            "F.mse_loss",
            F.mse_loss,
            lambda u, x, y: (2 * u * (x - y) / x.size, -2 * u * (x - y) / x.size),
            {f"{s:g}": [normal(204, 2, 3, scale=s), normal(205, 2, 3, scale=s)] for s in (1e-8, 1.0, 1e8)},
            [times(1.001), times(6), swapped()],
        ),
        of(
            "F.smooth_l1_loss(beta=0.5)",
            lambda x: F.smooth_l1_loss(x, torch.zeros_like(x), beta=0.5),
            lambda u, x: (u * _smooth_l1(x, 0.5) / x.size,),
            {
                "1": signed(1.0),
                "1e-4 beside the joint": np.array([0.4999, 0.5001, -0.4999, 2.0]),
                "1e-6 beside the joint": np.array([0.499999, 0.500001, -0.499999, 2.0]),
            },
            [times(1.001), instead("without beta", lambda u, x: (u * _smooth_l1(x, 1.0) / x.size,))],
        ),
        of(
            "F.huber_loss(delta=1e-3)",
            lambda x: F.huber_loss(x, torch.zeros_like(x), delta=1e-3),
            lambda u, x: (u * np.clip(x, -1e-3, 1e-3) / x.size,),
            {"1e-8": signed(1e-8), "1e-3": signed(1e-3), "1": signed(1.0)},
            [times(1.001), negated()],
        ),
        of(
            "F.kl_div",
            lambda x, y: F.kl_div(x, y, reduction="batchmean"),
            lambda u, x, y: (-u * y / 2, u * (np.log(y) + 1 - x) / 2),
            {"1": [logits, softmax(logits[::-1])], "1e-6": [logits, 1e-6 * softmax(logits[::-1])]},
            [
                times(1.001),
                without(1),
                instead("missing 1/N", lambda u, x, y: (-u * y, u * (np.log(y) + 1 - x))),
            ],
        ),
        of(
            "F.gaussian_nll_loss",
            lambda m, v: F.gaussian_nll_loss(m, torch.full_like(m, 0.5), v, eps=1e-12),
            gaussian,
            {
                "1": [signed(1.0)[:5], positive(1.0)],
                "variance 1e-4": [0.5 + signed(1e-2)[:5], positive(1e-4)],
                "variance 1e-8": [0.5 + signed(1e-4)[:5], positive(1e-8)],
            },
            [times(1.001), without(1)],
        ),
        of(
            "F.poisson_nll_loss",
            lambda x: F.poisson_nll_loss(x, torch.arange(6.0, dtype=torch.float64)),
            lambda u, x: (u * (np.exp(x) - np.arange(6.0)) / 6,),
            {"1": signed(1.0), "8": 8 + signed(1.0)},
            [times(1.001), times(6)],
        ),
        of(
            "F.soft_margin_loss",
            lambda x: F.soft_margin_loss(x, torch.from_numpy(2 * TARGETS - 1)),
            lambda u, x: (u * (1 - 2 * TARGETS) * sigmoid(-(2 * TARGETS - 1) * x) / 6,),
            scales(signed, 1e-6, 1.0),
            [times(1.001), negated()],
        ),
        of(
            "F.normalize",
            lambda x: F.normalize(x, eps=1e-30),
            unit_vjp,
            normal_scales(206, (2, 4), 1e-8, 1e-5, 1e-3, 1.0, 1e8),
            [
                times(1.001),
                instead("the norm a constant", lambda u, x: (u / np.linalg.norm(x, axis=1, keepdims=True),)),
            ],
        ),
        of(
            "F.cosine_similarity",
            lambda x, y: F.cosine_similarity(x, y, eps=1e-30),
            cosine_vjp,
            {f"{s:g}": [normal(207, 2, 3, scale=s), normal(208, 2, 3)] for s in (1e-6, 1.0, 1e6)},
            [times(1.001), negated()],
        ),
        of(
            "torch.cdist",
            lambda x, y: torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist"),
            distance_vjp,
            {f"{s:g}": [normal(209, 3, 2, scale=s), normal(210, 2, 2, scale=s)] for s in (1e-6, 1.0, 1e6)},
            [times(1.001), without(1), negated()],
        ),
    ]


def layers():
    """Layers with and without parameters."""
    image, kernel = normal(211, 1, 2, 4, 4), normal(212, 2, 2, 3, 3)

    def conv2d_vjp(u, x, w, stride=1, padding=1):
        p = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
        gp, gw = np.zeros_like(p), np.zeros_like(w)
        for i in range(u.shape[2]):
            for j in range(u.shape[3]):
                rows, columns = slice(i * stride, i * stride + 3), slice(j * stride, j * stride + 3)
                gp[:, :, rows, columns] += np.einsum("nk,kcij->ncij", u[:, :, i, j], w)
                gw += np.einsum("nk,ncij->kcij", u[:, :, i, j], p[:, :, rows, columns])
        return gp[:, :, padding : padding + x.shape[2], padding : padding + x.shape[3]].copy(), gw

    def transposed_vjp(u, x, w):
        """Of a transposed convolution: the convolution, and the correlation with the upstream gradient."""
        gx = np.stack([np.einsum("nok,cok->nc", u[:, :, i : i + 3], w) for i in range(x.shape[2])], axis=2)
        gw = np.stack([np.einsum("ncl,nol->co", x, u[:, :, k : k + x.shape[2]]) for k in range(3)], axis=2)
        return gx, gw

    def layer_norm_vjp(u, x, w):
        return normalised_vjp(u * w, x, (1,)), (u * normalised(x, (1,))).sum(axis=0)

    def batch_norm_vjp(u, x, w):
        return normalised_vjp(u * w, x, (0,)), (u * normalised(x, (0,))).sum(axis=0)

    def group_norm_vjp(u, x):
        groups = (x.shape[0], 2, -1)
        return (normalised_vjp(u.reshape(groups), x.reshape(groups), (2,)).reshape(x.shape),)

    def attention_vjp(u, q, k, v):
        s = math.sqrt(q.shape[-1])
        p = softmax(q @ k.T / s)
        (g,) = softmax_vjp(u @ v.T, q @ k.T / s)
        return g @ k / s, g.T @ q / s, p.T @ u

    def max_pool_vjp(u, x):
        windows = np.stack([x[:, :, i : i + 2] for i in range(4)], axis=2)
        winners = (windows == windows.max(axis=3, keepdims=True)) * u[..., None]
        return (sum(np.pad(winners[:, :, i], ((0, 0), (0, 0), (i, 3 - i))) for i in range(4)),)

    def upsampled_vjp(u, x):
        """Each output is a weighted sum of its two neighbours, by 3/4 and 1/4; at the ends of one."""
        weights = np.zeros((6, 3))
        for i in range(6):
            place = (i + 0.5) / 2 - 0.5
            low = int(np.floor(place))
            for j, w in ((low, low + 1 - place), (low + 1, place - low)):
                weights[i, min(max(j, 0), 2)] += w
        return (u @ weights,)

    def gated(u, x):
        a, b = x[:, :2], x[:, 2:]
        return (np.concatenate([u * sigmoid(b), u * a * sigmoid(b) * sigmoid(-b)], axis=1),)

    def rms(x, w):
        return F.rms_norm(x, (4,), w, eps=1e-12)

    return [
        of(
            "F.linear",
            F.linear,
            linear_vjp,
            {
                f"{s:g}": [normal(213, 3, 2, scale=s), normal(214, 4, 2), normal(215, 4, scale=s)]
                for s in (1e-8, 1.0, 1e8)
            },
            [
                times(1.001),
                instead("the bias' mean", lambda u, x, w, b: (u @ w, u.T @ x, u.mean(0))),
                in_float32(("1",)),
            ],
        ),
        of(
            "F.bilinear",
            lambda x, w, y: F.bilinear(x, y, w[None])[:, 0],
            bilinear_vjp,
            {
                "1": [normal(216, 2, 3), normal(217, 3, 3), normal(218, 2, 3)],
                "w of 1e8": [normal(216, 2, 3), normal(217, 3, 3, scale=1e8), normal(218, 2, 3)],
            },
            [times(1.001), instead("the matrix transposed", lambda u, x, w, y: bilinear_vjp(u, x, w.T, y))],
        ),
        of(
            "F.conv1d",
            lambda x, w: F.conv1d(x[:, None], w[None, None])[:, 0],
            conv1d_vjp,
            {f"{s:g}": [normal(219, 2, 6, scale=s), normal(220, 3)] for s in (1e-8, 1.0, 1e8)},
            [
                times(1.001),
                instead(
                    "the filter flipped",
                    lambda u, x, w: (conv1d_vjp(u, x, w[::-1])[0], conv1d_vjp(u, x, w)[1]),
                ),
            ],
        ),
        of(
            "F.conv2d(padding=1)",
            lambda x, w: F.conv2d(x, w, padding=1),
            conv2d_vjp,
            {"1": [image, kernel], "1e4 and 1e-4": [1e4 * image, 1e-4 * kernel]},
            [
                times(1.001),
                instead(
                    "the kernel transposed",
                    lambda u, x, w: (conv2d_vjp(u, x, w.transpose(0, 1, 3, 2))[0], conv2d_vjp(u, x, w)[1]),
                ),
                one_element(),
            ],
        ),
        of(
            "F.conv2d(stride=2, padding=1)",
            lambda x, w: F.conv2d(x, w, stride=2, padding=1),
            lambda u, x, w: conv2d_vjp(u, x, w, 2),
            {"1": [image, kernel], "1e-6": [1e-6 * image, kernel]},
            [
                times(1.001),
                instead(
                    "shifted",
                    lambda u, x, w: (np.roll(conv2d_vjp(u, x, w, 2)[0], 1, 3), conv2d_vjp(u, x, w, 2)[1]),
                ),
            ],
        ),
        of(
            "F.conv_transpose1d",
            F.conv_transpose1d,
            transposed_vjp,
            {f"{s:g}": [normal(221, 2, 2, 4, scale=s), normal(222, 2, 3, 3)] for s in (1e-6, 1.0, 1e6)},
            [
                times(1.001),
                instead(
                    "the filter flipped",
                    lambda u, x, w: (transposed_vjp(u, x, w[:, :, ::-1])[0], transposed_vjp(u, x, w)[1]),
                ),
            ],
        ),
        of(
            "F.layer_norm",
            lambda x, w: F.layer_norm(x, (5,), w),
            layer_norm_vjp,
            {f"{s:g}": [normal(223, 2, 5, scale=s), 1 + normal(224, 5, scale=0.3)] for s in (1e-2, 1.0, 1e4)}
            | {"mean 1e4": [1e4 + normal(223, 2, 5), 1 + normal(224, 5, scale=0.3)]},
            [
                times(1.001),
                without(1),
                instead(
                    "the statistics constant",
                    lambda u, x, w: (
                        u * w / np.sqrt(x.var(1, keepdims=True) + 1e-5),
                        layer_norm_vjp(u, x, w)[1],
                    ),
                ),
            ],
        ),
        of(
            "F.batch_norm(training=True)",
            lambda x, w: F.batch_norm(x, None, None, w, training=True),
            batch_norm_vjp,
            {f"{s:g}": [normal(225, 5, 2, scale=s), 1 + normal(226, 2, scale=0.3)] for s in (1e-4, 1.0, 1e4)}
            | {"mean 1e4": [1e4 + normal(225, 5, 2), 1 + normal(226, 2, scale=0.3)]},
            [
                times(1.001),
                without(1),
                instead(
                    "the statistics constant",
                    lambda u, x, w: (u * w / np.sqrt(x.var(0) + 1e-5), batch_norm_vjp(u, x, w)[1]),
                ),
            ],
        ),
        of(
            "F.group_norm",
            lambda x: F.group_norm(x, 2),
            group_norm_vjp,
            normal_scales(227, (2, 4, 2), 1e-2, 1.0, 1e4),
            [
                times(1.001),
                instead(
                    "over all channels",
                    lambda u, x: (normalised_vjp(u.reshape(2, -1), x.reshape(2, -1), (1,)).reshape(x.shape),),
                ),
            ],
        ),
        of(
            "F.rms_norm",
            rms,
            rms_norm_vjp,
            {f"{s:g}": [normal(228, 2, 4, scale=s), 1 + normal(229, 4, scale=0.3)] for s in (1e-4, 1.0, 1e8)},
            [times(1.001), without(1)],
        ),
        of(
            "F.local_response_norm(3, alpha=1e-4)",
            lambda x: F.local_response_norm(x, 3, alpha=1e-4, k=2.0),
            lambda u, x: lrn_vjp(u, x, 1e-4 / 3),
            normal_scales(230, (1, 5, 2), 1.0, 1e2, 1e4),
            [
                times(1.001),
                instead("alpha not divided by the size", lambda u, x: lrn_vjp(u, x, 1e-4)),
                instead(
                    "the denominator a constant",
                    lambda u, x: (
                        u * F.local_response_norm(torch.tensor(x), 3, alpha=1e-4, k=2.0).numpy() / x,
                    ),
                ),
            ],
        ),
        of(
            "F.scaled_dot_product_attention",
            F.scaled_dot_product_attention,
            attention_vjp,
            {
                f"{s:g}": [normal(231, 2, 3, scale=s), normal(232, 3, 3), normal(233, 3, 2)]
                for s in (1e-4, 1.0)
            }
            | {"values of 1e8": [normal(231, 2, 3), normal(232, 3, 3), normal(233, 3, 2, scale=1e8)]},
            [times(1.001), without(1), negated()],
        ),
        of(
            "F.embedding",
            lambda table, rows: F.embedding(rows, table),
            embedding_vjp,
            {f"{s:g}": [normal(234, 3, 2, scale=s), np.array([2, 0, 2, 1])] for s in (1e-8, 1.0, 1e8)},
            [
                times(1.001),
                instead(
                    "the next row",
                    lambda u, t, rows: (np.roll(embedding_vjp(u, t, rows)[0], 1, axis=0), None),
                ),
            ],
        ),
        of(
            "F.max_pool1d(2, stride=1)",
            lambda x: F.max_pool1d(x, 2, 1),
            max_pool_vjp,
            {
                "1": normal(235, 1, 2, 5),
                "1e-8": normal(235, 1, 2, 5, scale=1e-8),
                "1e8": normal(235, 1, 2, 5, scale=1e8),
            },
            [times(1.001), instead("the left ones'", lambda u, x: (np.pad(u, ((0, 0), (0, 0), (0, 1))),))],
        ),
        of(
            "F.avg_pool1d(2)",
            lambda x: F.avg_pool1d(x, 2),
            lambda u, x: (np.repeat(u / 2, 2, axis=2),),
            normal_scales(236, (1, 2, 4), 1e-8, 1.0, 1e8),
            [times(1.001), times(2)],
        ),
        of(
            "F.interpolate(mode='linear')",
            lambda x: F.interpolate(x, scale_factor=2, mode="linear"),
            upsampled_vjp,
            normal_scales(237, (1, 2, 3), 1e-8, 1.0, 1e8),
            [times(1.001), instead("the nearest's", lambda u, x: (u.reshape(1, 2, 3, 2).sum(3),))],
        ),
        of(
            "F.glu",
            lambda x: F.glu(x, 1),
            gated,
            {"1": normal(238, 2, 4), "1e-6": normal(238, 2, 4, scale=1e-6)},
            [times(1.001), instead("the halves swapped", lambda u, x: (gated(u, x)[0][:, [2, 3, 0, 1]],))],
        ),
        of(
            "F.pixel_shuffle",
            lambda x: F.pixel_shuffle(x, 2),
            lambda u, x: (u.reshape(1, 2, 2, 2, 2).transpose(0, 2, 4, 1, 3).reshape(x.shape),),
            normal_scales(239, (1, 4, 2, 2), 1e-8, 1.0),
            [
                times(1.001),
                instead(
                    "rows for columns",
                    lambda u, x: (u.reshape(1, 2, 2, 2, 2).transpose(0, 4, 2, 1, 3).reshape(x.shape),),
                ),
            ],
        ),
    ]


def tensor_functions():
    """Arithmetic of several tensors, indexing, order, linear algebra, FFTs."""

    def spectrum_vjp(u, x):
        z = np.fft.rfft(x)
        return (np.real(np.fft.fft(np.append(u * np.conj(z) / np.abs(z), np.zeros(2)))),)

    def scatter_vjp(u, x):
        return (u[np.array([0, 2, 0, 1])],)

    def gather_vjp(u, x):
        g = np.zeros_like(x)
        np.add.at(g, (np.arange(2)[:, None], np.array([[0, 0, 3], [1, 2, 2]])), u)
        return (g,)

    gathered = np.array([[0, 0, 3], [1, 2, 2]])
    symmetric = (regular(241, 3) + regular(241, 3).T) / 2
    return [
        of(
            "torch.lerp",
            torch.lerp,
            lambda u, a, b, w: (u * (1 - w), u * w, u * (b - a)),
            {
                "1": [signed(1.0), signed(1.0)[::-1].copy(), 0.5 + signed(0.1)],
                "1e-8": [signed(1e-8), signed(1e-8)[::-1].copy(), 0.5 + signed(0.1)],
            },
            [times(1.001), swapped(), without(2, ("1",))],
        ),
        of(
            "torch.atan2",
            torch.atan2,
            lambda u, y, x: (u * x / (x**2 + y**2), -u * y / (x**2 + y**2)),
            {
                f"{s:g}": [signed(s), s * np.array([0.83, -1.21, 1.9, 0.47, -2.2, 1.13])]
                for s in (1e-8, 1e-6, 1.0, 1e8)
            },
            [times(1.001), negated()],
        ),
        of(
            "torch.hypot",
            torch.hypot,
            lambda u, x, y: (u * x / np.hypot(x, y), u * y / np.hypot(x, y)),
            {
                f"{s:g}": [signed(s), s * np.array([0.83, -1.21, 1.9, 0.47, -2.2, 1.13])]
                for s in (1e-8, 1.0, 1e8)
            },
            [times(1.001), swapped()],
        ),
        of(
            "torch.pow",
            torch.pow,
            lambda u, x, p: (u * p * x ** (p - 1), u * x**p * np.log(x)),
            {f"{s:g}": [positive(s), np.array([2.0, 0.5, -1.3, 1.4, 1.0])] for s in (1e-3, 1.0, 1e4)},
            [
                times(1.001),
                instead("x^p in place of x^(p-1)", lambda u, x, p: (u * p * x**p, u * x**p * np.log(x))),
            ],
        ),
        of(
            "torch.addcdiv",
            lambda a, x, y: torch.addcdiv(a, x, y, value=0.5),
            lambda u, a, x, y: (1.0 * u, u / (2 * y), -u * x / (2 * y**2)),
            {
                "1": [signed(1.0), signed(1.0), 3 + signed(0.3)],
                "x and y of 1e-6": [signed(1.0), signed(1e-6), 1e-6 * (3 + signed(0.3))],
            },
            [times(1.001), instead("without the value", lambda u, a, x, y: (1.0 * u, u / y, -u * x / y**2))],
        ),
        of(
            "torch.xlogy",
            torch.xlogy,
            lambda u, x, y: (u * np.log(y), u * x / y),
            {
                "1": [positive(1.0), positive(1.0)[::-1].copy()],
                "y of 1e-8": [positive(1.0), positive(1e-8)[::-1].copy()],
            },
            [times(1.001), without(0)],
        ),
        of(
            "torch.cumsum",
            lambda x: torch.cumsum(x, 1),
            lambda u, x: (reversed_cumsum(u).copy(),),
            normal_scales(242, (2, 4), 1e-8, 1.0, 1e8),
            [times(1.001), instead("in the same direction", lambda u, x: (np.cumsum(u, axis=1),))],
        ),
        of(
            "torch.cumprod",
            lambda x: torch.cumprod(x, 1),
            cumprod_vjp,
            normal_scales(243, (2, 4), 1e-2, 1.0, 1e2),
            [times(1.001), instead("not accumulated", lambda u, x: (u * np.cumprod(x, 1) / x,))],
        ),
        of(
            "torch.logcumsumexp",
            lambda x: torch.logcumsumexp(x, 1),
            log_cumulative_vjp,
            {"1": normal(244, 2, 4), "-300": normal(244, 2, 4) - 300},
            [times(1.001), negated()],
        ),
        of(
            "torch.sort",
            lambda x: torch.sort(x, 1).values,
            sort_vjp,
            normal_scales(245, (2, 5), 1e-8, 1.0, 1e8),
            [times(1.001), instead("not sorted back", lambda u, x: (1.0 * u,))],
        ),
        of(
            "torch.gather",
            lambda x: torch.gather(x, 1, torch.from_numpy(gathered)),
            gather_vjp,
            normal_scales(246, (2, 4), 1e-8, 1.0, 1e8),
            [
                times(1.001),
                instead(
                    "repeated elements overwritten",
                    lambda u, x: (
                        np.stack([np.array([u[0, 1], 0, 0, u[0, 2]]), np.array([0, u[1, 0], u[1, 2], 0])]),
                    ),
                ),
            ],
        ),
        of(
            "torch.index_add",
            lambda x: torch.zeros(3, 2, dtype=x.dtype).index_add(0, torch.tensor([0, 2, 0, 1]), x),
            scatter_vjp,
            normal_scales(247, (4, 2), 1e-8, 1.0, 1e8),
            [
                times(1.001),
                instead("shifted by a row", lambda u, x: (np.roll(scatter_vjp(u, x)[0], 1, axis=0),)),
            ],
        ),
        of(
            "torch.var",
            lambda x: torch.var(x, -1),
            lambda u, x: (2 * u[:, None] * (x - x.mean(1, keepdims=True)) / 4,),
            {
                "1": normal(248, 2, 5),
                "mean 1e6": 1e6 + normal(248, 2, 5),
                "1e-8": normal(248, 2, 5, scale=1e-8),
            },
            [times(1.001), times(0.8)],
        ),
        of(
            "torch.std",
            lambda x: torch.std(x, -1),
            lambda u, x: (u[:, None] * (x - x.mean(1, keepdims=True)) / 4 / x.std(1, ddof=1, keepdims=True),),
            {
                "1": normal(248, 2, 5),
                "mean 1e6": 1e6 + normal(248, 2, 5),
                "1e-6": normal(248, 2, 5, scale=1e-6),
            },
            [times(1.001), negated()],
        ),
        of(
            "torch.var_mean",
            lambda x: tuple(torch.var_mean(x, -1)),
            lambda u, x: (2 * u[0][:, None] * (x - x.mean(1, keepdims=True)) / 4 + u[1][:, None] / 5,),
            {"1": normal(249, 2, 5), "1e-4": normal(249, 2, 5, scale=1e-4)},
            [
                times(1.001),
                instead(
                    "the mean forgotten",
                    lambda u, x: (2 * u[0][:, None] * (x - x.mean(1, keepdims=True)) / 4,),
                ),
            ],
        ),
        of(
            "torch.prod",
            lambda x: torch.prod(x, 1),
            lambda u, x: ((u * np.prod(x, 1))[:, None] / x,),
            normal_scales(250, (2, 4), 1e-2, 1.0, 1e2),
            [times(1.001), at_smallest(1.01)],
        ),
        of(
            "torch.matmul",
            torch.matmul,
            matmul_vjp,
            {f"{s:g}": [normal(251, 2, 3, scale=s), normal(252, 3, 3, scale=s)] for s in (1e-8, 1.0, 1e8)},
            [times(1.001), instead("not transposed", lambda u, a, b: (u @ b, a.T @ u))],
        ),
        of(
            "torch.linalg.solve",
            torch.linalg.solve,
            solve_vjp,
            {f"{s:g}": [regular(253, 3, s), normal(254, 3)] for s in (1e-4, 1.0, 1e4)},
            [
                times(1.001),
                instead(
                    "the sign of the matrix'", lambda u, a, b: (-solve_vjp(u, a, b)[0], solve_vjp(u, a, b)[1])
                ),
            ],
        ),
        of(
            "torch.linalg.inv",
            torch.linalg.inv,
            inverse_vjp,
            {f"{s:g}": [regular(255, 3, s)] for s in (1e-4, 1.0, 1e4)},
            [times(1.001), negated()],
        ),
        of(
            "torch.linalg.det",
            torch.linalg.det,
            lambda u, a: (u * np.linalg.det(a) * np.linalg.inv(a).T,),
            {f"{s:g}": [regular(256, 3, s)] for s in (1e-4, 1.0, 1e4)},
            [
                times(1.001),
                instead("not transposed", lambda u, a: (u * np.linalg.det(a) * np.linalg.inv(a),)),
            ],
        ),
        of(
            "torch.linalg.slogdet",
            lambda a: torch.linalg.slogdet(a).logabsdet,
            lambda u, a: (u * np.linalg.inv(a).T,),
            {f"{s:g}": [regular(257, 3, s)] for s in (1e-6, 1.0, 1e6)},
            [times(1.001), instead("not transposed", lambda u, a: (u * np.linalg.inv(a),))],
        ),
        of(
            "torch.linalg.cholesky",
            lambda a: torch.linalg.cholesky((a + a.T) / 2),
            cholesky_vjp,
            {"1": symmetric, "1e4": 1e4 * symmetric},
            [times(1.001), times(2)],
        ),
        of(
            "torch.linalg.eigvalsh",
            lambda a: torch.linalg.eigvalsh((a + a.T) / 2),
            eigenvalues_vjp,
            {"1": symmetric, "1e-8": 1e-8 * symmetric},
            [times(1.001), instead("in the reverse order", lambda u, a: eigenvalues_vjp(u[::-1], a))],
        ),
        of(
            "torch.linalg.svdvals",
            torch.linalg.svdvals,
            singular_values_vjp,
            {"1": regular(258, 3)[:2], "1e8": 1e8 * regular(258, 3)[:2]},
            [times(1.001), negated()],
        ),
        of(
            "torch.linalg.vector_norm",
            lambda x: torch.linalg.vector_norm(x, dim=1),
            lambda u, x: (u[:, None] * x / np.linalg.norm(x, axis=1, keepdims=True),),
            normal_scales(259, (2, 4), 1e-8, 1.0, 1e8),
            [times(1.001), times(2)],
        ),
        of(
            "the modulus of torch.fft.rfft",
            lambda x: torch.fft.rfft(x).abs(),
            spectrum_vjp,
            {"1": normal(260, 5), "1e-6": normal(260, 5, scale=1e-6), "1e6": normal(260, 5, scale=1e6)},
            [times(1.001), times(0.5)],
        ),
    ]


FUNCTIONS: list[Function] = (
    [] if torch is None else pointwise_functions() + losses() + layers() + tensor_functions()
)
