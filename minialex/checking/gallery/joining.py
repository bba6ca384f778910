"""Wrong gradients of what joins, cuts and picks: cat, split, stack, where, gather, top-k, embedding."""

import numpy as np

from minialex.checking.gallery.mistake import Subject
from minialex.checking.testing.values import distinct_values


def _normal(*shapes):
    return lambda random: [random.standard_normal(shape) for shape in shapes]


# a (3, 2) and b (3, 4) side by side: y (3, 6)


def cat(a, b):
    return np.concatenate([a, b], axis=1)


def cat_vjp(g, a, b):
    ga = g[:, :2].copy()
    gb = g[:, 2:].copy()
    return ga, gb


CAT = Subject("cat", cat, cat_vjp, _normal((3, 2), (3, 4)))

CAT.wrong("""
    index: cut from the end
    - ga = g[:, :2].copy()
    + ga = g[:, -2:].copy()
    The parts in the wrong order.

    index: the second part from the first one's length
    - gb = g[:, 2:].copy()
    + gb = g[:, :4].copy()
    The offset of what stands before it forgotten.

    form: cut along the other axis
    - ga = g[:, :2].copy()
    + ga = g[:2].copy()
    Right for the default axis, 0.
""")

# The second part, of three columns, of x (3, 7), next to the first, of two: y = x[:, 2:5] * x[:, :2].sum()


def split(x):
    first, second, _ = np.split(x, [2, 5], axis=1)
    return second * first.sum(axis=1, keepdims=True)


def split_vjp(g, x):
    first, second, _ = np.split(x, [2, 5], axis=1)
    gx = np.zeros_like(x)
    gx[:, :2] = (g * second).sum(axis=1, keepdims=True)
    gx[:, 2:5] = g * first.sum(axis=1, keepdims=True)
    return (gx,)


SPLIT = Subject("split", split, split_vjp, _normal((3, 7)))

SPLIT.wrong("""
    index: the second part at the end
    - gx[:, 2:5] = g * first.sum(axis=1, keepdims=True)
    + gx[:, 4:] = g * first.sum(axis=1, keepdims=True)
    The third part, which nothing uses, was forgotten.

    memory: the part that is not used is not zeroed
    - gx = np.zeros_like(x)
    + gx = np.empty_like(x)
    What nothing uses has a gradient of 0, not none.

    accumulation: one part's gradient lost
    - gx[:, :2] = (g * second).sum(axis=1, keepdims=True)
    + gx[:, :2] = 0
    Each part writes a whole gradient, and the last one stays.
""")

# a and b (3, 4) along a new axis in the middle: y (3, 2, 4)


def stack(a, b):
    return np.stack([a, b], axis=1)


def stack_vjp(g, a, b):
    ga = g[:, 0].copy()
    gb = g[:, 1].copy()
    return ga, gb


STACK = Subject("stack", stack, stack_vjp, _normal((3, 4), (3, 4)))

STACK.wrong("""
    index: exchanged
    - ga = g[:, 0].copy()
    + ga = g[:, 1].copy()
    They have one shape, so nothing else tells.

    accumulation: both gradients for one
    - ga = g[:, 0].copy()
    + ga = g.sum(axis=1)
    As if the two had been added.

    index: taken as joined along the last axis
    - gb = g[:, 1].copy()
    + gb = g.reshape(3, 4, 2)[:, :, 1].copy()
    The order of an array whose new axis comes last.
""")

# Chosen by a condition (3, 4) from a (3, 4) and b (4,)
CHOSEN = np.array([[1, 0, 0, 1], [0, 1, 0, 0], [1, 1, 0, 1]], bool)


def where(a, b):
    return np.where(CHOSEN, a, b)


def where_vjp(g, a, b):
    ga = np.where(CHOSEN, g, 0)
    gb = np.where(CHOSEN, 0, g).sum(axis=0)
    return ga, gb


WHERE = Subject("where", where, where_vjp, _normal((3, 4), (4,)))

WHERE.wrong("""
    term: what is not chosen gets the gradient, too
    - ga = np.where(CHOSEN, g, 0)
    + ga = g.copy()
    The mask forgotten.

    index: the condition the wrong way round
    - gb = np.where(CHOSEN, 0, g).sum(axis=0)
    + gb = np.where(CHOSEN, g, 0).sum(axis=0)
    Copied from the first one's gradient.

    factor: averaged over what was broadcast
    - gb = np.where(CHOSEN, 0, g).sum(axis=0)
    + gb = np.where(CHOSEN, 0, g).mean(axis=0)
    What is used three times has three gradients, which add up.
""")

# y[i, j] = x[INDEX[i, j], j], where a row is named twice in the first column. x (4, 3), y (3, 3)
INDEX = np.array([[2, 0, 1], [2, 3, 0], [1, 1, 3]])


def gather(x):
    return np.take_along_axis(x, INDEX, axis=0)


def gather_vjp(g, x):
    gx = np.zeros_like(x)
    np.add.at(gx, (INDEX, np.arange(3)), g)
    return (gx,)


GATHER = Subject("gather", gather, gather_vjp, _normal((4, 3)))

GATHER.wrong("""
    accumulation: an element named twice
    - np.add.at(gx, (INDEX, np.arange(3)), g)
    + np.put_along_axis(gx, INDEX, g, axis=0)
    It gets the last of its gradients.

    index: axes exchanged
    - np.add.at(gx, (INDEX, np.arange(3)), g)
    + np.add.at(gx, (INDEX, np.arange(3)[:, None]), g)
    The index taken along rows.
""")


# The two largest of each row, the largest one first. x (3, 5), y (3, 2)


def topk(x):
    return -np.sort(-x, axis=1)[:, :2]


def topk_vjp(g, x):
    places = np.argsort(-x, axis=1)[:, :2]
    gx = np.zeros_like(x)
    np.put_along_axis(gx, places, g, axis=1)
    return (gx,)


TOPK = Subject("topk", topk, topk_vjp, lambda random: [distinct_values(random, (3, 5))])

TOPK.wrong("""
    index: the smallest
    - places = np.argsort(-x, axis=1)[:, :2]
    + places = np.argsort(x, axis=1)[:, :2]
    The order of a sort is the other one.

    index: the order of the two
    - places = np.argsort(-x, axis=1)[:, :2]
    + places = np.argsort(x, axis=1)[:, -2:]
    The two largest, but the smaller one first; right for an upstream gradient of ones.

    index: ranks for places
    - places = np.argsort(-x, axis=1)[:, :2]
    + places = np.argsort(np.argsort(-x, axis=1), axis=1)[:, :2]
    The rank of each element, not the place of each rank.
""")


# The largest along an axis, and its gradient at its place. x (3, 4), y (4,)


def maximum_along(x):
    return x.max(axis=0)


def maximum_along_vjp(g, x):
    places = x.argmax(axis=0)
    gx = np.zeros_like(x)
    gx[places, np.arange(4)] = g
    return (gx,)


MAX = Subject("max", maximum_along, maximum_along_vjp, lambda random: [distinct_values(random, (3, 4))])

MAX.wrong("""
    index: place along the other axis
    - gx[places, np.arange(4)] = g
    + gx[places] = g
    A row for each place: all of its elements.

    index: of the absolute values
    - places = x.argmax(axis=0)
    + places = np.abs(x).argmax(axis=0)
    Right for positive numbers.

    factor: shared evenly
    - gx[places, np.arange(4)] = g
    + gx += g / len(x)
    The gradient of the mean.
""")

# Rows of a table, one of which is named twice, and one of which is padding. table (5, 3), y (2, 3, 3)
WORDS = np.array([[4, 0, 2], [4, 1, 0]])
PADDING = 1


def embedding(table):
    return np.where(np.arange(5)[:, None] == PADDING, 0, table)[WORDS]


def embedding_vjp(g, table):
    gtable = np.zeros_like(table)
    np.add.at(gtable, WORDS, g)
    gtable[PADDING] = 0
    return (gtable,)


EMBEDDING = Subject("embedding", embedding, embedding_vjp, _normal((5, 3)))

EMBEDDING.wrong("""
    accumulation: a word that comes twice
    - np.add.at(gtable, WORDS, g)
    + gtable[WORDS] += g
    NumPy buffers: the row gets one of its gradients.

    constant: padding is trained
    - gtable[PADDING] = 0
    + gtable[PADDING] += 0
    The row has values like any other, but must keep them.

    factor: averaged by frequency
    - np.add.at(gtable, WORDS, g)
    + np.add.at(gtable, WORDS, g / np.bincount(WORDS.ravel())[WORDS][..., None])
    An option of some libraries, `scale_grad_by_freq`.
""")

SUBJECTS = (CAT, SPLIT, STACK, WHERE, GATHER, TOPK, MAX, EMBEDDING)
