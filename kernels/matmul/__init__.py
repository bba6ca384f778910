"""The matrix product of two matrices: y = a @ b, (M, K) @ (K, N) -> (M, N).

matmul.forward  (a, b) -> y
"""

FORWARD = "matmul.forward"
