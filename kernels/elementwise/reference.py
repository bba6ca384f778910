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
    "expm1": math.expm1,
    "log": math.log,
    "log1p": math.log1p,
    "sqrt": math.sqrt,
    "tanh": math.tanh,
    "sigmoid": lambda x: 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x)),
    "softplus": lambda x: max(x, 0) + math.log1p(math.exp(-abs(x))),
    "erf": math.erf,
    "absolute": lambda x: x if x >= 0 else -x,
    "power": lambda x, exponent: x**exponent,
    "clamp": lambda x, low, high: low if x < low else high if x > high else x,
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
