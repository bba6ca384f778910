"""Wrong gradients of softmax, its logarithm, and the cross-entropy of labels and of distributions."""

import numpy as np

from minialex.checking.gallery.mistake import Subject

# Softmax and its logarithm along axis 1. x (3, 4)


def softmax(x):
    powers = np.exp(x - x.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def softmax_vjp(g, x):
    y = softmax(x)
    total = (g * y).sum(axis=1, keepdims=True)
    gx = y * (g - total)
    return (gx,)


def _scores(random):
    return [random.standard_normal((3, 4))]


SOFTMAX = Subject("softmax", softmax, softmax_vjp, _scores)

SOFTMAX.wrong("""
    term: the sum missing
    - gx = y * (g - total)
    + gx = y * g
    The denominator is taken for a constant.

    term: the diagonal only
    - gx = y * (g - total)
    + gx = y * (1 - y) * g
    The derivative of the logistic function, taken for that of softmax.

    accumulation: summed over the batch
    - total = (g * y).sum(axis=1, keepdims=True)
    + total = (g * y).sum(axis=0, keepdims=True)
    The wrong axis; broadcasting hides it.

    term: sum without the probabilities
    - total = (g * y).sum(axis=1, keepdims=True)
    + total = g.mean(axis=1, keepdims=True)
    Right for equal probabilities, which untrained networks give.
""")


def log_softmax(x):
    shifted = x - x.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def log_softmax_vjp(g, x):
    y = np.exp(log_softmax(x))
    gx = g - y * g.sum(axis=1, keepdims=True)
    return (gx,)


LOG_SOFTMAX = Subject("log_softmax", log_softmax, log_softmax_vjp, _scores)

LOG_SOFTMAX.wrong("""
    term: not exponentiated
    - y = np.exp(log_softmax(x))
    + y = log_softmax(x)
    The saved result is the logarithm of the probabilities.

    accumulation: the sum missing
    - gx = g - y * g.sum(axis=1, keepdims=True)
    + gx = g - y * g
    Right for one class.

    accumulation: summed over the batch
    - gx = g - y * g.sum(axis=1, keepdims=True)
    + gx = g - y * g.sum(axis=0, keepdims=True)
    The wrong axis; broadcasting hides it.

    term: equal probabilities
    - gx = g - y * g.sum(axis=1, keepdims=True)
    + gx = g - g.mean(axis=1, keepdims=True)
    Nearly right for untrained networks.
""")

# Cross-entropy of labels, averaged over the batch, with label smoothing. x (4, 5), labels (4,)
SMOOTHING = 0.1


def cross_entropy(x, labels):
    target = np.eye(x.shape[1])[labels] * (1 - SMOOTHING) + SMOOTHING / x.shape[1]
    return -(target * log_softmax(x)).sum() / len(x)


def cross_entropy_vjp(g, x, labels):
    smooth = SMOOTHING / x.shape[1]
    target = np.eye(x.shape[1])[labels] * (1 - SMOOTHING) + smooth
    gx = g * (softmax(x) - target) / len(x)
    return gx, None


LABELS = Subject(
    "cross_entropy",
    cross_entropy,
    cross_entropy_vjp,
    lambda random: [random.standard_normal((4, 5)), random.permutation(5)[:4]],
)

LABELS.wrong("""
    factor: missing 1/N
    - gx = g * (softmax(x) - target) / len(x)
    + gx = g * (softmax(x) - target)
    The learning rate seems to depend on the batch.

    factor: divided by the number of classes
    - gx = g * (softmax(x) - target) / len(x)
    + gx = g * (softmax(x) - target) / x.size
    The mean over all elements, of what is summed over the classes.

    constant: smoothing ignored
    - target = np.eye(x.shape[1])[labels] * (1 - SMOOTHING) + smooth
    + target = np.eye(x.shape[1])[labels]
    The loss is smoothed, its gradient is not.

    constant: smoothing shared by the other classes
    - smooth = SMOOTHING / x.shape[1]
    + smooth = SMOOTHING / (x.shape[1] - 1)
    A convention other than the loss's; totals are no longer 1.

    index: labels counted from 1
    - target = np.eye(x.shape[1])[labels] * (1 - SMOOTHING) + smooth
    + target = np.eye(x.shape[1])[labels - 1] * (1 - SMOOTHING) + smooth
    The last class takes the place of one before the first.

    upstream: upstream gradient ignored
    - gx = g * (softmax(x) - target) / len(x)
    + gx = (softmax(x) - target) / len(x)
    Right for `loss.backward()`, wrong for `(2 * loss).backward()`.
""")

# Cross-entropy of a distribution, whose totals need not be 1, row by row. x and target (3, 4)


def soft_cross_entropy(x, target):
    return -(target * log_softmax(x)).sum(axis=1)


def soft_cross_entropy_vjp(g, x, target):
    total = target.sum(axis=1, keepdims=True)
    gx = g[:, None] * (softmax(x) * total - target)
    gt = -g[:, None] * log_softmax(x)
    return gx, gt


TARGETS = Subject(
    "cross_entropy",
    soft_cross_entropy,
    soft_cross_entropy_vjp,
    lambda random: [random.standard_normal((3, 4)), random.uniform(0, 1, (3, 4))],
    name="of a distribution",
)

TARGETS.wrong("""
    term: totals of the targets missing
    - total = target.sum(axis=1, keepdims=True)
    + total = 1
    Right for targets that add up to 1.

    term: the target's gradient from the probabilities
    - gt = -g[:, None] * log_softmax(x)
    + gt = -g[:, None] * softmax(x)
    The loss is linear in the target: its gradient is the logarithm.

    upstream: upstream gradient of the next row
    - gx = g[:, None] * (softmax(x) * total - target)
    + gx = np.roll(g, 1)[:, None] * (softmax(x) * total - target)
    Right for an upstream gradient of ones, which `.sum()` gives.
""")

SUBJECTS = (SOFTMAX, LOG_SOFTMAX, LABELS, TARGETS)
