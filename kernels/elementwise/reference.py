"""Element-wise arithmetic, one number at a time."""

import math

import numpy as np

from minialex.kernels.contract.registry import kernel
from minialex.kernels.elementwise.shape import OF_INTEGERS

_FORMULAS = {
    "add": lambda a, b: a + b,
    "subtract": lambda a, b: a - b,
    "multiply": lambda a, b: a * b,
    "divide": lambda a, b: a / b,
    "maximum": lambda a, b: a if a >= b else b,
    "minimum": lambda a, b: a if a <= b else b,
    "negative": lambda x: -x,
    "exp": math.exp,
    "log": math.log,
    "sqrt": math.sqrt,
    "tanh": math.tanh,
    "absolute": lambda x: x if x >= 0 else -x,
    "power": lambda x, exponent: x**exponent,
}


def _register(operation, formula):
    @kernel(f"{operation}.forward", algo="reference", kinds="iuf" if operation in OF_INTEGERS else "f")
    def forward(*arrays, **parameters):
        operands = np.broadcast_arrays(*arrays)
        y = np.zeros(operands[0].shape, arrays[0].dtype)
        for at in np.ndindex(*y.shape):
            y[at] = formula(*(operand[at] for operand in operands), **parameters)
        return y


for _operation, _formula in _FORMULAS.items():
    _register(_operation, _formula)
