"""Wrong gradients of losses that measure a distance from a target."""

import numpy as np

from minialex.checking.gallery.mistake import Subject
from minialex.checking.testing.values import distinct_values


def _x_and_target(random):
    return [random.standard_normal((3, 4)), random.standard_normal((3, 4))]


# x and target (3, 4), no two of which are equal


def _distinct(random):
    values = distinct_values(random, (6, 4)) / 4
    return [values[:3], values[3:]]


def mse_loss(x, target):
    return ((x - target) ** 2).mean()


def mse_loss_vjp(g, x, target):
    gx = g * 2 * (x - target) / x.size
    gt = -gx
    return gx, gt


MSE = Subject("mse_loss", mse_loss, mse_loss_vjp, _x_and_target)

MSE.wrong("""
    factor: factor of 2 missing
    - gx = g * 2 * (x - target) / x.size
    + gx = g * (x - target) / x.size
    The loss with a factor of 1/2, as in textbooks.

    factor: divided by the batch
    - gx = g * 2 * (x - target) / x.size
    + gx = g * 2 * (x - target) / len(x)
    The mean over the rows, of what is a mean over all elements.

    term: the target a constant
    - gt = -gx
    + gt = np.zeros_like(gx)
    It usually is; not where one network learns from another.
""")


def l1_loss(x, target):
    return np.abs(x - target).sum()


def l1_loss_vjp(g, x, target):
    gx = g * np.sign(x - target)
    gt = -gx
    return gx, gt


L1 = Subject("l1_loss", l1_loss, l1_loss_vjp, _distinct)

L1.wrong("""
    factor: averaged
    - gx = g * np.sign(x - target)
    + gx = g * np.sign(x - target) / x.size
    The loss is a sum here.

    factor: sign
    - gx = g * np.sign(x - target)
    + gx = g * np.sign(target - x)
    The difference the other way round; the loss is the same.

    term: the distance instead of its sign
    - gx = g * np.sign(x - target)
    + gx = g * (x - target)
    The derivative of half the square.
""")

BETA = 0.5


def smooth_l1_loss(x, target):
    d = np.abs(x - target)
    return np.where(d < BETA, d**2 / (2 * BETA), d - BETA / 2)


def smooth_l1_loss_vjp(g, x, target):
    d = x - target
    slope = np.where(np.abs(d) < BETA, d / BETA, np.sign(d))
    gx = g * slope
    return gx, -gx


SMOOTH = Subject("smooth_l1_loss", smooth_l1_loss, smooth_l1_loss_vjp, _x_and_target)

SMOOTH.wrong("""
    constant: beta left out
    - slope = np.where(np.abs(d) < BETA, d / BETA, np.sign(d))
    + slope = np.clip(d, -1, 1)
    Right for a beta of 1, the default.

    constant: Huber's loss
    - slope = np.where(np.abs(d) < BETA, d / BETA, np.sign(d))
    + slope = np.clip(d, -BETA, BETA)
    It is this one, times beta.

    factor: factor of 1/2 left in
    - slope = np.where(np.abs(d) < BETA, d / BETA, np.sign(d))
    + slope = np.where(np.abs(d) < BETA, d / (2 * BETA), np.sign(d))
    The 2 of the square was forgotten: a gradient with a jump.
""")


def huber_loss(x, target):
    d = np.abs(x - target)
    return np.where(d < BETA, d**2 / 2, BETA * (d - BETA / 2))


def huber_loss_vjp(g, x, target):
    gx = g * np.clip(x - target, -BETA, BETA)
    return gx, -gx


HUBER = Subject("huber_loss", huber_loss, huber_loss_vjp, _x_and_target)

HUBER.wrong("""
    constant: slope of 1 outside
    - gx = g * np.clip(x - target, -BETA, BETA)
    + gx = g * np.where(np.abs(x - target) < BETA, x - target, np.sign(x - target))
    That of the smooth distance, which is this one divided by delta.

    constant: clipped at 1
    - gx = g * np.clip(x - target, -BETA, BETA)
    + gx = g * np.clip(x - target, -1, 1)
    Right for a delta of 1, the default.
""")

SUBJECTS = (MSE, L1, SMOOTH, HUBER)
