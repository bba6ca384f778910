"""Wrong gradients of losses of labels and probabilities: weights, labels that do not count, logits."""

import numpy as np

from minialex.checking.gallery.loss import log_softmax, softmax
from minialex.checking.gallery.mistake import Subject

# Labels with a weight a class, the second of which does not count. x (4, 5)
WEIGHT = np.array([0.5, 2.0, 1.5, 0.25, 3.0])
LABELS = np.array([3, -100, 0, 4])
COUNTED = LABELS >= 0
SHARES = np.where(COUNTED, WEIGHT[LABELS * COUNTED], 0)
HOT = np.eye(5)[LABELS * COUNTED] * SHARES[:, None]


def _scores(random):
    return [random.standard_normal((4, 5))]


def nll_loss(x):
    return -(HOT * x).sum() / SHARES.sum()


def nll_loss_vjp(g, x):
    gx = -g * HOT / SHARES.sum()
    return (gx,)


NLL = Subject("nll_loss", nll_loss, nll_loss_vjp, _scores)

NLL.wrong("""
    factor: divided by the batch
    - gx = -g * HOT / SHARES.sum()
    + gx = -g * HOT / len(x)
    Right without weights and where all labels count.

    factor: divided by the labels that count
    - gx = -g * HOT / SHARES.sum()
    + gx = -g * HOT / COUNTED.sum()
    Right without weights.

    constant: weights left out
    - gx = -g * HOT / SHARES.sum()
    + gx = -g * (HOT > 0) / SHARES.sum()
    The loss is weighted, its gradient is not.

    term: gradient not zeroed at ignore_index
    - gx = -g * HOT / SHARES.sum()
    + gx = -g * np.eye(5)[LABELS * COUNTED] * WEIGHT[LABELS * COUNTED][:, None] / SHARES.sum()
    The label that does not count was replaced by a valid one to look it up.
""")


def cross_entropy(x):
    return -(HOT * log_softmax(x)).sum() / SHARES.sum()


def cross_entropy_vjp(g, x):
    gx = g * (softmax(x) * SHARES[:, None] - HOT) / SHARES.sum()
    return (gx,)


WEIGHTED = Subject("cross_entropy", cross_entropy, cross_entropy_vjp, _scores, name="of weighted labels")

WEIGHTED.wrong("""
    term: gradient not zeroed at ignore_index
    - gx = g * (softmax(x) * SHARES[:, None] - HOT) / SHARES.sum()
    + gx = g * (softmax(x) * np.where(COUNTED, SHARES, 1)[:, None] - HOT) / SHARES.sum()
    The probabilities of a row without a label are still there.

    constant: weights of the probabilities left out
    - gx = g * (softmax(x) * SHARES[:, None] - HOT) / SHARES.sum()
    + gx = g * (softmax(x) * COUNTED[:, None] - HOT) / SHARES.sum()
    The weight belongs to the row, not to its label only.

    constant: each class by its own weight
    - gx = g * (softmax(x) * SHARES[:, None] - HOT) / SHARES.sum()
    + gx = g * (softmax(x) * WEIGHT * COUNTED[:, None] - HOT) / SHARES.sum()
    The weight is that of the label, for all classes of the row.

    factor: divided by the labels that count
    - gx = g * (softmax(x) * SHARES[:, None] - HOT) / SHARES.sum()
    + gx = g * (softmax(x) * SHARES[:, None] - HOT) / COUNTED.sum()
    Right without weights.
""")

# With smoothing, the weights of all classes count: t = (1 - s) w[y] [c == y] + s / C w[c]. x (4, 5)
SMOOTHING = 0.2


def smoothed(x):
    target = (1 - SMOOTHING) * HOT + SMOOTHING / 5 * WEIGHT * COUNTED[:, None]
    return -(target * log_softmax(x)).sum(axis=1)


def smoothed_vjp(g, x):
    target = (1 - SMOOTHING) * HOT + SMOOTHING / 5 * WEIGHT * COUNTED[:, None]
    total = target.sum(axis=1, keepdims=True)
    gx = g[:, None] * (softmax(x) * total - target)
    return (gx,)


SMOOTHED = Subject("cross_entropy", smoothed, smoothed_vjp, _scores, name="smoothed and weighted")

SMOOTHED.wrong("""
    constant: smoothing without the weights
    - target = (1 - SMOOTHING) * HOT + SMOOTHING / 5 * WEIGHT * COUNTED[:, None]
    + target = (1 - SMOOTHING) * HOT + SMOOTHING / 5 * COUNTED[:, None]
    Right without weights.

    term: total weight of the label only
    - total = target.sum(axis=1, keepdims=True)
    + total = SHARES[:, None]
    Right without smoothing, and without weights.

    term: labels that do not count are smoothed
    - target = (1 - SMOOTHING) * HOT + SMOOTHING / 5 * WEIGHT * COUNTED[:, None]
    + target = (1 - SMOOTHING) * HOT + SMOOTHING / 5 * WEIGHT
    A row without a label gets the uniform part of the target.
""")

# Logits of one class each, with a weight of the positive ones. x and target (3, 4)
POSITIVE = 2.5


def bce_with_logits(x, target):
    return (POSITIVE * target * np.log1p(np.exp(-x)) + (1 - target) * np.log1p(np.exp(x))).mean()


def bce_with_logits_vjp(g, x, target):
    y = 1 / (1 + np.exp(-x))
    gx = g * ((1 - target) * y - POSITIVE * target * (1 - y)) / x.size
    gt = g * (POSITIVE * np.log1p(np.exp(-x)) - np.log1p(np.exp(x))) / x.size
    return gx, gt


LOGITS = Subject(
    "binary_cross_entropy_with_logits",
    bce_with_logits,
    bce_with_logits_vjp,
    lambda random: [random.standard_normal((3, 4)), random.uniform(0.1, 0.9, (3, 4))],
)

LOGITS.wrong("""
    constant: pos_weight left out
    - gx = g * ((1 - target) * y - POSITIVE * target * (1 - y)) / x.size
    + gx = g * (y - target) / x.size
    The well-known difference; right for a weight of 1.

    term: the logistic function's derivative once more
    - gx = g * ((1 - target) * y - POSITIVE * target * (1 - y)) / x.size
    + gx = g * ((1 - target) * y - POSITIVE * target * (1 - y)) * y * (1 - y) / x.size
    It cancels: this is the loss of logits.

    factor: divided by the batch
    - gx = g * ((1 - target) * y - POSITIVE * target * (1 - y)) / x.size
    + gx = g * ((1 - target) * y - POSITIVE * target * (1 - y)) / len(x)
    The mean is over all elements.

    factor: sign of the target's gradient
    - gt = g * (POSITIVE * np.log1p(np.exp(-x)) - np.log1p(np.exp(x))) / x.size
    + gt = g * (np.log1p(np.exp(x)) - POSITIVE * np.log1p(np.exp(-x))) / x.size
    The loss has a minus in front of its logarithms.
""")


def bce(x, target):
    return -(target * np.log(x) + (1 - target) * np.log(1 - x))


def bce_vjp(g, x, target):
    gx = g * (x - target) / (x * (1 - x))
    gt = g * np.log((1 - x) / x)
    return gx, gt


PROBABILITIES = Subject(
    "binary_cross_entropy",
    bce,
    bce_vjp,
    lambda random: [random.uniform(0.1, 0.9, (3, 4)), random.uniform(0.1, 0.9, (3, 4))],
)

PROBABILITIES.wrong("""
    term: as of logits
    - gx = g * (x - target) / (x * (1 - x))
    + gx = g * (x - target)
    Right with a logistic function before it, and its derivative left out.

    term: the other class left out
    - gx = g * (x - target) / (x * (1 - x))
    + gx = -g * target / x
    The cross-entropy of several classes, where the others' share is not in the formula.
""")

# A divergence from logarithms. x, a logarithm, and target (3, 4)


def kl_div(x, target):
    return (target * (np.log(target) - x)).sum() / len(x)


def kl_div_vjp(g, x, target):
    gx = -g * target / len(x)
    gt = g * (np.log(target) - x + 1) / len(x)
    return gx, gt


DIVERGENCE = Subject(
    "kl_div",
    kl_div,
    kl_div_vjp,
    lambda random: [random.standard_normal((3, 4)), random.uniform(0.2, 1, (3, 4))],
)

DIVERGENCE.wrong("""
    term: x for a probability
    - gx = -g * target / len(x)
    + gx = -g * target / x / len(x)
    It is a logarithm already.

    term: derivative of target * log(target)
    - gt = g * (np.log(target) - x + 1) / len(x)
    + gt = g * (np.log(target) - x) / len(x)
    The product rule has a 1 more.

    factor: divided by the elements
    - gx = -g * target / len(x)
    + gx = -g * target / x.size
    PyTorch's "mean", which is not the divergence.
""")

SUBJECTS = (NLL, WEIGHTED, SMOOTHED, LOGITS, PROBABILITIES, DIVERGENCE)
