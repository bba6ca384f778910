"""The output shape of the matrix product."""

from minialex.errors import ShapeError
from minialex.kernels.contract.shapes import Shape, require_rank, shape_rule


@shape_rule("matmul")
def matmul_shape(a: Shape, b: Shape) -> Shape:
    """(M, K) and (K, N) give (M, N)."""
    require_rank(a, 2, "matmul left operand", "(M, K)")
    require_rank(b, 2, "matmul right operand", "(K, N)")
    if a[1] != b[0]:
        raise ShapeError(f"matmul: {a} @ {b}: the inner lengths {a[1]} and {b[0]} differ")
    return a[0], b[1]
