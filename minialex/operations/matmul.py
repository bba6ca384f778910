"""The product of two matrices."""

from __future__ import annotations

from minialex.autograd import Operation
from minialex.kernels import output_shape
from minialex.kernels.matmul import FORWARD
from minialex.operations.layout import transpose
from minialex.tensor import Tensor, as_tensor


class MatMul(Operation):
    saved_inputs = (0, 1)

    def forward(self, a, b):
        output_shape("matmul", a.shape, b.shape)
        return self.kernel(FORWARD, a, b)

    def backward(self, g):
        a, b = self.saved
        ga = matmul(g, transpose(b)) if self.needs(0) else None
        gb = matmul(transpose(a), g) if self.needs(1) else None
        return ga, gb


def matmul(a, b) -> Tensor:
    """a @ b for two matrices (M, K) and (K, N), one of which may be an array."""
    like = a if isinstance(a, Tensor) else b
    return MatMul()(as_tensor(a, like), as_tensor(b, like))
