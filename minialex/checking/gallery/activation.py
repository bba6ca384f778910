"""Wrong gradients of ReLU and dropout, of elements and of channels."""

import numpy as np

from minialex.checking.gallery.mistake import Subject
from minialex.checking.testing.values import distinct_values

# ReLU. x (4, 5), away from 0


def relu(x):
    return np.maximum(x, 0)


def relu_vjp(g, x):
    gx = np.where(x > 0, g, 0)
    return (gx,)


RELU = Subject("relu", relu, relu_vjp, lambda random: [distinct_values(random, (4, 5))])

RELU.wrong("""
    constant: leaks on the negative side
    - gx = np.where(x > 0, g, 0)
    + gx = np.where(x > 0, g, 0.01 * g)
    The gradient of another activation.

    term: passes all
    - gx = np.where(x > 0, g, 0)
    + gx = g.copy()
    A straight-through gradient.

    index: passes the negative side
    - gx = np.where(x > 0, g, 0)
    + gx = np.where(x < 0, g, 0)
    The wrong sign of comparison.

    constant: threshold at 1
    - gx = np.where(x > 0, g, 0)
    + gx = np.where(x > 1, g, 0)
    Wrong only for values between 0 and 1.

    upstream: negative gradients stopped
    - gx = np.where(x > 0, g, 0)
    + gx = np.where((x > 0) & (g > 0), g, 0)
    Guided back-propagation; right for an upstream gradient of ones.

    memory: upstream gradient masked in place
    - gx = np.where(x > 0, g, 0)
    + gx = np.multiply(g, x > 0, out=g)
    Where a result is used twice, both uses have the same upstream gradient.

    upstream: the mean of the upstream gradient
    - gx = np.where(x > 0, g, 0)
    + gx = np.where(x > 0, g.mean(), 0)
    Right for an upstream gradient of ones, and linear.

    upstream: upstream gradient clipped
    - gx = np.where(x > 0, g, 0)
    + gx = np.where(x > 0, np.clip(g, -1, 1), 0)
    Right for an upstream gradient of ones; clipping belongs behind the whole gradient.

    upstream: a constant added
    - gx = np.where(x > 0, g, 0)
    + gx = np.where(x > 0, g + 1e-8, 0)
    A small number against a division by zero, where nothing is divided.
""")

# Dropout with a given mask. x and mask (4, 5)
P = 0.4


def dropout(x, mask):
    return x * mask / (1 - P)


def dropout_vjp(g, x, mask):
    scale = 1 / (1 - P)
    gx = g * mask * scale
    return gx, None


def _x_and_mask(random):
    return [random.standard_normal((4, 5)), random.permutation(np.arange(20) < 12).reshape(4, 5)]


DROPOUT = Subject("dropout", dropout, dropout_vjp, _x_and_mask)

DROPOUT.wrong("""
    factor: not scaled
    - scale = 1 / (1 - P)
    + scale = 1
    Scaled in the forward pass only.

    constant: scaled by 1 / p
    - scale = 1 / (1 - P)
    + scale = 1 / P
    Right at p = 0.5, which is the usual one.

    index: drops what was kept
    - gx = g * mask * scale
    + gx = g * ~mask * scale
    A mask that says what to drop, taken for one of what to keep.

    index: another mask
    - gx = g * mask * scale
    + gx = g * np.roll(mask, 1, axis=1) * scale
    The mask of the generator's next state.

    random: a new mask at every call
    - gx = g * mask * scale
    + gx = g * (np.random.default_rng().random(mask.shape) >= P) * scale
    The right distribution, but another mask than in the forward pass.
""")

# Dropout of whole channels with a given mask. x (2, 3, 4), mask (2, 3)


def dropout2d(x, mask):
    return x * mask[:, :, None] / (1 - P)


def dropout2d_vjp(g, x, mask):
    spread = mask[:, :, None]
    gx = g * spread / (1 - P)
    return gx, None


def _x_and_channels(random):
    return [
        random.standard_normal((2, 3, 4)),
        np.array([[1, 0, 1], [0, 1, 1]], bool)[:, random.permutation(3)],
    ]


DROPOUT_2D = Subject("dropout2d", dropout2d, dropout2d_vjp, _x_and_channels)

DROPOUT_2D.wrong("""
    index: a channel dropped from all images
    - spread = mask[:, :, None]
    + spread = mask[:1, :, None]
    Right for a batch of 1.

    factor: scaled by how many were kept
    - gx = g * spread / (1 - P)
    + gx = g * spread / mask.mean()
    Right on average.

    random: other cells than channels
    - gx = g * spread / (1 - P)
    + gx = g * (np.random.default_rng().random(x.shape) >= P) / (1 - P)
    A new mask, of elements.
""")

SUBJECTS = (RELU, DROPOUT, DROPOUT_2D)
