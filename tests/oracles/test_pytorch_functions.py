"""Functions and methods under PyTorch's names give PyTorch's values and gradients, in float64.

Each row is an expression that is evaluated twice: with `minialex` as ``ma``, ``F`` and tensors of the engine,
and with PyTorch in their place. The upstream gradient is random.
"""

import zlib

import numpy as np
import pytest

import minialex as ma

torch = pytest.importorskip("torch", reason="the oracle is not installed")

TOLERANCE = 1e-12

# An expression of x, y, w, ...: tensors of float64 by their shapes.
SHAPES = {
    "x": (2, 4, 6, 5),
    "y": (2, 4, 6, 5),
    "m": (3, 4),
    "n": (4, 5),
    "v": (4,),
    "b": (2, 3, 4),
    "c": (2, 4, 5),
    "w": (6, 2, 3, 3),
    "t": (4, 3, 3, 2),
    "s": (2, 4, 9),
    "k": (6, 2, 3),
    "p": (2, 36, 12),
    "table": (7, 3),
}
EXPRESSIONS = """
x.view(2, -1)
x.view(x.size(0), -1)
x.flatten(1)
x.flatten()
ma.flatten(x, 2)
x.unsqueeze(1).squeeze(1)
m.unsqueeze(-1).squeeze()
x.permute(0, 2, 3, 1)
m.transpose(0, 1)
x.transpose(1, -1)
m.t()
m.unsqueeze(0).expand(5, 3, 4)
m.repeat(2, 1, 3)
x.clone()
x.double()
ma.cat([x, y], dim=1)
ma.cat((x, y), 2)
ma.stack([m, m * 2], dim=1)
ma.stack([m, m + 1])
x.split(4, dim=2)[1]
x.split([1, 2, 1], dim=1)[1]
x.chunk(4, 2)[2]
ma.unbind(m)[1]
x.sum(dim=1, keepdim=True)
x.mean(dim=(2, 3))
x.var(dim=1)
x.var(dim=(0, 2), correction=0, keepdim=True)
x.std()
x.std(1)
x.norm()
x.norm(dim=1)
x.norm(p=1, dim=(1, 2))
x.norm(3)
m.norm(float("inf"))
x.max()
x.max(dim=1)[0]
x.max(1, keepdim=True).values
x.min(2).values
ma.max(x, y)
ma.max(x, dim=1)[0]
x.amax(dim=(1, 2))
x.amin(dim=1)
x.topk(2, dim=1).values
x.topk(3, largest=False)[0]
x.clamp(-0.5, 0.5)
x.clamp(min=0)
x.clamp(max=0.25)
ma.clamp(x, -1, 1)
ma.where(x > 0, x, y)
ma.where(x > 0, x, 0.0)
x.masked_fill(x > 0, -3.0)
x.gather(1, (x > 0).long())
m.index_select(1, INDEX)
m[:, INDEX]
x.exp()
x.abs()
(x * x + 1).log()
(x * x).log1p()
x.sigmoid()
x.tanh()
x.erf()
x.square()
x.pow(3)
x.softmax(dim=1)
F.softmax(x, dim=1)
F.log_softmax(x, dim=-1)
F.relu(x)
F.relu6(x * 5)
F.leaky_relu(x)
F.leaky_relu(x, 0.2)
F.prelu(x, v)
F.prelu(x, v[:1])
F.elu(x)
F.elu(x, 0.5)
F.gelu(x)
F.gelu(x, approximate="tanh")
F.silu(x)
F.hardswish(x * 3)
F.softplus(x)
F.softplus(x * 20, beta=2)
F.logsigmoid(x)
F.mish(x)
F.layer_norm(x, (5,))
F.layer_norm(x, [6, 5])
F.layer_norm(m, (4,), v, v + 1)
F.group_norm(x, 2)
F.group_norm(x, 2, v, v + 1, 1e-3)
F.instance_norm(x)
F.adaptive_avg_pool2d(x, 1)
F.adaptive_avg_pool2d(x, (3, 5))
F.adaptive_avg_pool2d(x, (4, 3))
F.adaptive_avg_pool2d(x, (8, None))
F.adaptive_max_pool2d(x, (3, 1))
F.adaptive_max_pool2d(x, (4, 3))
F.conv_transpose2d(x, t)
F.conv_transpose2d(x, t, stride=2, padding=1, output_padding=1)
F.conv_transpose2d(x, t, v[:3], stride=(3, 2), padding=(0, 1), dilation=2)
F.conv_transpose2d(x, t, groups=2, stride=2)
F.conv1d(s, k, groups=2)
F.conv1d(s, k, stride=2, padding=1, dilation=2, groups=2)
F.conv2d(x, w, groups=2, padding=1)
F.max_pool2d(x, 2, return_indices=True)[0]
F.max_unpool2d(*F.max_pool2d(x[..., :4], 2, return_indices=True), 2)
F.max_unpool2d(*F.max_pool2d(x, (3, 2), return_indices=True), (3, 2), output_size=(6, 5))
F.pad(x, (1, 2))
F.pad(x, (1, 2, 0, 3), value=1.5)
F.pad(x, (1, -1, -2, 3))
F.pad(x, (2, 1, 3, 0), mode="reflect")
F.pad(x, (2, 1, 3, 4), mode="replicate")
F.pad(x, (2, 1, 3, 4), mode="circular")
F.unfold(x, 3)
F.unfold(x, (2, 3), dilation=(2, 1), padding=1, stride=2)
F.fold(p, (5, 6), (3, 3))
F.fold(p, (8, 8), 3, padding=1, stride=(3, 1), dilation=2)
F.interpolate(x, scale_factor=2)
F.interpolate(x, size=(4, 9))
F.interpolate(x, scale_factor=1.7)
F.interpolate(x, size=(9, 3), mode="bilinear")
F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)
F.interpolate(x, scale_factor=(0.5, 1.5), mode="bilinear", align_corners=False)
F.mse_loss(x, y)
F.mse_loss(x, y, reduction="none")
F.l1_loss(x, y, reduction="sum")
F.smooth_l1_loss(x, y)
F.smooth_l1_loss(x, y, beta=0.3)
F.huber_loss(x, y, delta=0.7)
F.binary_cross_entropy(x.sigmoid(), y.sigmoid())
F.binary_cross_entropy_with_logits(x, y.sigmoid())
F.binary_cross_entropy_with_logits(x, y.sigmoid(), pos_weight=w[0, 0, 0, 0].exp().detach())
F.nll_loss(F.log_softmax(m, 1), LABELS)
F.nll_loss(F.log_softmax(m, 1), LABELS, weight=WEIGHTS, reduction="sum")
F.nll_loss(F.log_softmax(m, 1), LABELS, weight=WEIGHTS, ignore_index=2)
F.nll_loss(F.log_softmax(x, 1), CELLS, reduction="none")
F.cross_entropy(m, LABELS, weight=WEIGHTS, label_smoothing=0.1)
F.cross_entropy(x, CELLS)
F.cross_entropy(x, CELLS, reduction="none")
F.cross_entropy(x, y.softmax(1))
F.cross_entropy(v, LABELS[0])
F.kl_div(F.log_softmax(m, 1), F.softmax(m * 2, 1), reduction="batchmean")
F.embedding(INDEX, table)
F.embedding(INDEX, table, padding_idx=1)
m @ n
b @ n
b @ c
b.reshape(2, 1, 3, 4) @ c
v @ n
b @ v
v @ v
ma.matmul(m, n)
ma.einsum("ij,jk->ik", m, n)
ma.einsum("bij,bjk->bik", b, c)
ma.einsum("bij,bjk->kb", b, c)
ma.einsum("nchw,nchw->n", x, y)
ma.einsum("ij->j", m)
ma.einsum("ij,k->ikj", m, v[:2])
ma.einsum("ij,jk", m, n)
ma.einsum("bij,bjk,kl->bil", b, c, n.t())
ma.einsum("...ij,jk", b, n)
ma.einsum("i...,...->i", m, v)
ma.einsum("ii->i", m[:, :3])
ma.einsum("...ii", x[:, :, :5])
ma.einsum("ij,ij->j", m, m[:1])
F.linear(x, n.t()[:, :4].repeat(1, 2)[:, :5])
F.linear(v, n.t())
F.linear(b, n.t(), n[0])
""".strip().splitlines()


def _names(of, values):
    """What an expression may use, for one of the two."""
    names = {name: of.tensor(value, requires_grad=True) for name, value in values.items()}
    names["ma"] = of
    names["F"] = ma.functional if of is ma else torch.nn.functional
    rng = np.random.default_rng(5)
    constants = {
        "INDEX": np.array([2, 0, 1, 1]),
        "LABELS": np.array([1, 3, 2]),
        "CELLS": rng.integers(0, 4, (2, 6, 5)),
        "WEIGHTS": rng.uniform(0.5, 2, 4),
    }
    return names | {name: of.tensor(value) for name, value in constants.items()}


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_values_and_gradients_are_pytorchs(expression):
    rng = np.random.default_rng(zlib.crc32(expression.encode()))
    used = [name for name in SHAPES if name in compile(expression, "", "eval").co_names]
    values = {name: rng.standard_normal(SHAPES[name]) for name in used}
    results, gradients = [], []
    for of in (ma, torch):
        names = _names(of, values)
        y = eval(expression, names)
        upstream = np.random.default_rng(7).standard_normal(tuple(y.shape))
        y.backward(of.tensor(upstream) if y.ndim else of.tensor(float(upstream), dtype=of.float64))
        results.append(y.detach().numpy())
        gradients.append([names[name].grad for name in used])
    assert results[0].dtype == np.float64
    assert results[0].shape == results[1].shape
    np.testing.assert_allclose(results[0], results[1], rtol=TOLERANCE, atol=TOLERANCE)
    for name, mine, theirs in zip(used, *gradients, strict=True):
        if theirs is None:
            assert mine is None, name
            continue
        np.testing.assert_allclose(mine.numpy(), theirs.numpy(), rtol=TOLERANCE, atol=TOLERANCE, err_msg=name)
