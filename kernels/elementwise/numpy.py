"""Element-wise arithmetic by NumPy's own functions."""

import numpy as np

from minialex.kernels.elementwise.shape import BINARY, UNARY
from minialex.kernels.registry import kernel

for _operation in (*BINARY, *UNARY):
    if _operation != "power":
        kernel(f"{_operation}.forward", algo="numpy", rank=10)(getattr(np, _operation))


@kernel("power.forward", algo="numpy", rank=10)
def power_forward(x, *, exponent):
    return x**exponent
