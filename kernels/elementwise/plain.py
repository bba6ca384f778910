"""Element-wise arithmetic by NumPy's own functions."""

import numpy as np

from minialex.checks import is_int
from minialex.kernels.contract.registry import kernel
from minialex.kernels.elementwise.shape import BINARY, OF_INTEGERS, UNARY

for _operation in (*BINARY, *UNARY):
    if _operation != "power":
        kernel(
            f"{_operation}.forward", algo="plain", rank=10, kinds="iuf" if _operation in OF_INTEGERS else "f"
        )(getattr(np, _operation))


def _power_supports(x, *, exponent):
    if x.dtype.kind != "f" and not is_int(exponent, 0):
        return f"{x.dtype} to the power of {exponent!r} is no {x.dtype}; make the tensor with dtype='float32'"
    return True


@kernel("power.forward", algo="plain", rank=10, supports=_power_supports, kinds="iuf")
def power_forward(x, *, exponent):
    return x**exponent
