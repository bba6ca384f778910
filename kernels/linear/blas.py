"""The fully connected layer by the BLAS that NumPy is linked with."""

from minialex.kernels.registry import kernel


@kernel("linear.forward", algo="blas", rank=10)
def linear_forward(x, weight, bias):
    y = x @ weight.T
    if bias is not None:
        y += bias
    return y


@kernel("linear.input_grad", algo="blas", rank=10)
def linear_input_grad(g, weight):
    return g @ weight


@kernel("linear.weight_grad", algo="blas", rank=10)
def linear_weight_grad(g, x):
    return g.T @ x
