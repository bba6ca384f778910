"""How much memory a training step takes: no more than its arrays, counted from their shapes."""

import tracemalloc

import numpy as np

import minialex as ma
import minialex.functional as F
from minialex import kernels

N, LAYERS, WORKSPACE = 8, 24, 2**18
FLOAT = 4

# A wide convolution and a pool, then many narrow convolutions, and a classifier.
IMAGE, WIDE, POOLED, NARROW = (3, 32, 32), (32, 32, 32), (32, 16, 16), (8, 16, 16)


def size(shape):
    """Bytes of float32 activations of a batch."""
    return FLOAT * N * int(np.prod(shape))


def parameters(generator):
    shapes = [(32, 3, 3, 3), (8, 32, 3, 3), *[(8, 8, 3, 3)] * LAYERS, (10, int(np.prod(NARROW)))]
    return [
        ma.Tensor((0.1 * generator.standard_normal(s)).astype(np.float32), requires_grad=True) for s in shapes
    ]


def train_step(x, labels, weights):
    wide, first, *narrow, dense = weights
    x = F.max_pool2d(F.relu(F.conv2d(x, wide, padding=1)), 2)
    for weight in (first, *narrow):
        x = F.relu(F.conv2d(x, weight, padding=1))
    F.cross_entropy(F.linear(F.flatten(x), dense), labels).backward()
    for weight in weights:
        kernels.run(
            "sgd.update",
            "cpu",
            weight.data,
            weight.grad.data,
            None,
            lr=0.1,
            momentum=0.0,
            weight_decay=0.0,
            nesterov=False,
        )


def peak_of_a_step():
    generator = np.random.default_rng(0)
    x = ma.Tensor(generator.standard_normal((N, *IMAGE)).astype(np.float32))
    labels, weights = generator.integers(0, 10, N), parameters(generator)
    train_step(x, labels, weights)
    for weight in weights:
        weight.grad = None
    tracemalloc.start()
    try:
        train_step(x, labels, weights)
        return tracemalloc.get_traced_memory()[1], sum(weight.data.nbytes for weight in weights)
    finally:
        tracemalloc.stop()


def test_the_peak_is_what_the_operation_at_work_still_needs():
    with ma.using(workspace=WORKSPACE):
        peak, gradients_of_parameters = peak_of_a_step()

    # What backward needs of each layer, and keeps until it has passed it: the result of each ReLU
    # (it is the input of the next convolution, too); of the pool, its result and its winners (int32).
    kept = [size(WIDE), 2 * size(POOLED), *[size(NARROW)] * (1 + LAYERS)]
    # The gradients that an operation reads and writes: that of its result and that of its input.
    narrow = [size(POOLED) + size(NARROW), *[2 * size(NARROW)] * LAYERS]
    at_work = [2 * size(WIDE), size(WIDE) + size(POOLED), *narrow]
    # Layer i is passed when all later ones are freed.
    needed = max(sum(kept[: i + 1]) + at_work[i] for i in range(len(kept)))
    # The matrix of a convolution, and less than that for the padded images and outputs of its chunk.
    workspace = 2 * WORKSPACE
    bound = needed + gradients_of_parameters + workspace
    assert peak <= bound

    # The bound means something: a graph that is kept to the end would not stay below it.
    assert sum(kept) + at_work[0] > bound
