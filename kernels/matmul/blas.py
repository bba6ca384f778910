"""The matrix product by the BLAS that NumPy is linked with."""

from minialex.kernels.contract.registry import kernel
from minialex.kernels.matmul import FORWARD


@kernel(FORWARD, algo="blas", rank=10)
def matmul_forward(a, b):
    return a @ b
