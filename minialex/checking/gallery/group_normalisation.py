"""Wrong gradients of layer, group and instance normalisation: what is normalised together differs."""

import numpy as np

from minialex.checking.gallery.mistake import Subject

EPS = 1e-3

# Layer normalisation of the last axis. x (3, 2, 5), weight and bias (5,)


def layer_norm(x, weight, bias):
    h = (x - x.mean(axis=-1, keepdims=True)) / np.sqrt(x.var(axis=-1, keepdims=True) + EPS)
    return weight * h + bias


def layer_norm_vjp(g, x, weight, bias):
    deviation = np.sqrt(x.var(axis=-1, keepdims=True) + EPS)
    h = (x - x.mean(axis=-1, keepdims=True)) / deviation
    gh = g * weight
    mean_term = gh.mean(axis=-1, keepdims=True)
    variance_term = h * (gh * h).mean(axis=-1, keepdims=True)
    gx = (gh - mean_term - variance_term) / deviation
    gw = (g * h).sum(axis=(0, 1))
    gb = g.sum(axis=(0, 1))
    return gx, gw, gb


LAYER = Subject(
    "layer_norm",
    layer_norm,
    layer_norm_vjp,
    lambda random: [random.standard_normal(shape) for shape in ((3, 2, 5), (5,), (5,))],
)

LAYER.wrong("""
    accumulation: means of the upstream gradient over the batch
    - mean_term = gh.mean(axis=-1, keepdims=True)
    + mean_term = gh.mean(axis=(0, 1), keepdims=True)
    The axes of batch normalisation; broadcasting hides it.

    term: weight applied after the means
    - mean_term = gh.mean(axis=-1, keepdims=True)
    + mean_term = g.mean(axis=-1, keepdims=True)
    Right in batch normalisation, where the weight is constant along the mean; and for weights of 1.

    constant: unbiased variance
    - deviation = np.sqrt(x.var(axis=-1, keepdims=True) + EPS)
    + deviation = np.sqrt(x.var(axis=-1, keepdims=True, ddof=1) + EPS)
    PyTorch's var has Bessel's correction by default, its layer_norm has none.

    term: variance term missing
    - gx = (gh - mean_term - variance_term) / deviation
    + gx = (gh - mean_term) / deviation
    The variance is taken for a constant.
""")

# Group normalisation: two groups of two channels. x (3, 4, 5), weight and bias (4,)
GROUPS = 2


def grouped(x):
    return x.reshape(x.shape[0], GROUPS, -1)


def group_norm(x, weight, bias):
    rows = grouped(x)
    h = (rows - rows.mean(axis=2, keepdims=True)) / np.sqrt(rows.var(axis=2, keepdims=True) + EPS)
    return weight[:, None] * h.reshape(x.shape) + bias[:, None]


def group_norm_vjp(g, x, weight, bias):
    rows = grouped(x)
    deviation = np.sqrt(rows.var(axis=2, keepdims=True) + EPS)
    h = (rows - rows.mean(axis=2, keepdims=True)) / deviation
    gh = grouped(g * weight[:, None])
    mean_term = gh.mean(axis=2, keepdims=True)
    variance_term = h * (gh * h).mean(axis=2, keepdims=True)
    gx = ((gh - mean_term - variance_term) / deviation).reshape(x.shape)
    gw = (g * h.reshape(x.shape)).sum(axis=(0, 2))
    gb = g.sum(axis=(0, 2))
    return gx, gw, gb


GROUP = Subject(
    "group_norm",
    group_norm,
    group_norm_vjp,
    lambda random: [random.standard_normal(shape) for shape in ((3, 4, 5), (4,), (4,))],
)

GROUP.wrong("""
    index: every second channel a group
    - gh = grouped(g * weight[:, None])
    + gh = grouped((g * weight[:, None])[:, [0, 2, 1, 3]])
    Channels dealt out to the groups in turn, as ShuffleNet does.

    accumulation: means over all groups
    - mean_term = gh.mean(axis=2, keepdims=True)
    + mean_term = gh.mean(axis=(1, 2), keepdims=True)
    Right for one group, which is layer normalisation.

    factor: missing 1/N in the variance term
    - variance_term = h * (gh * h).mean(axis=2, keepdims=True)
    + variance_term = h * (gh * h).sum(axis=2, keepdims=True)
    A sum for a mean.

    accumulation: weight's gradient of one image
    - gw = (g * h.reshape(x.shape)).sum(axis=(0, 2))
    + gw = (g * h.reshape(x.shape))[0].sum(axis=1)
    Each image is normalised by itself, but all share the weight.
""")

# Instance normalisation: each channel of each image. x (3, 2, 4, 3)


def instance_norm(x):
    centred = x - x.mean(axis=(2, 3), keepdims=True)
    return centred / np.sqrt(x.var(axis=(2, 3), keepdims=True) + EPS)


def instance_norm_vjp(g, x):
    deviation = np.sqrt(x.var(axis=(2, 3), keepdims=True) + EPS)
    h = (x - x.mean(axis=(2, 3), keepdims=True)) / deviation
    mean_term = g.mean(axis=(2, 3), keepdims=True)
    variance_term = h * (g * h).mean(axis=(2, 3), keepdims=True)
    gx = (g - mean_term - variance_term) / deviation
    return (gx,)


INSTANCE = Subject(
    "instance_norm", instance_norm, instance_norm_vjp, lambda random: [random.standard_normal((3, 2, 4, 3))]
)

INSTANCE.wrong("""
    accumulation: statistics of the batch
    - deviation = np.sqrt(x.var(axis=(2, 3), keepdims=True) + EPS)
    + deviation = np.sqrt(x.var(axis=(0, 2, 3), keepdims=True) + EPS)
    Batch normalisation's; right for a batch of 1.

    term: mean term missing
    - gx = (g - mean_term - variance_term) / deviation
    + gx = (g - variance_term) / deviation
    Right for upstream gradients that add up to 0.

    constant: eps outside the root
    - deviation = np.sqrt(x.var(axis=(2, 3), keepdims=True) + EPS)
    + deviation = np.sqrt(x.var(axis=(2, 3), keepdims=True)) + EPS
    Off by less than eps.

    term: the projection's factor squared
    - variance_term = h * (g * h).mean(axis=(2, 3), keepdims=True)
    + variance_term = h * h * (g * h).mean(axis=(2, 3), keepdims=True)
    One h too many.
""")

SUBJECTS = (LAYER, GROUP, INSTANCE)
