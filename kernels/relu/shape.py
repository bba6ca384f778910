"""The output shape of the rectified linear unit, and the length of its mask."""

import math

import numpy as np

from minialex.integers import ceil_div
from minialex.kernels.contract.fit import fitting
from minialex.kernels.contract.results import results
from minialex.kernels.contract.shapes import Shape, shape_rule
from minialex.kernels.relu import BACKWARD, MASK

# Bits in a word of a mask.
WORD = 32


@shape_rule("relu")
def relu_shape(x: Shape) -> Shape:
    """Any shape, unchanged."""
    return x


def mask_shape(y: Shape) -> Shape:
    """A bit for each element, in whole words."""
    return (ceil_div(math.prod(y), WORD),)


@results(MASK)
def mask(y):
    return mask_shape(y.shape), np.uint32


@results(BACKWARD)
def gradient(g, mask):
    return g.shape, g.dtype


@fitting(BACKWARD)
def mask_fits(g, mask):
    return g, mask_shape(g)
