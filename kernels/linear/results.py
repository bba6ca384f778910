"""What the gradients of the fully connected layer look like."""

from minialex.kernels.contract.results import results
from minialex.kernels.linear import INPUT_GRAD, WEIGHT_GRAD


@results(INPUT_GRAD)
def of_input(g, weight):
    return (g.shape[0], weight.shape[1]), g.dtype


@results(WEIGHT_GRAD)
def of_weight(g, x):
    return (g.shape[1], x.shape[1]), g.dtype
