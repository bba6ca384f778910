"""Arithmetic on tensors, element by element, with NumPy's broadcasting."""

from __future__ import annotations

import math

from minialex.autograd import Operation
from minialex.checks import is_number
from minialex.devices import array_module
from minialex.kernels import output_shape
from minialex.operations.inputs import require_floats
from minialex.operations.reduction import sum_to
from minialex.tensor import Tensor, as_tensor, require_tensor


class _Binary(Operation):
    name: str

    def forward(self, a, b):
        output_shape(self.name, a.shape, b.shape)
        return self.kernel(f"{self.name}.forward", a, b)

    def backward(self, g):
        gradients = self.gradients(g)
        return tuple(sum_to(gradients[i](), self.shapes[i]) if self.needs(i) else None for i in (0, 1))

    def gradients(self, g):
        """Two functions without arguments that return the gradients before broadcasting is undone."""
        raise NotImplementedError(f"{type(self).__name__} must define gradients")


class Add(_Binary):
    name = "add"

    def gradients(self, g):
        return lambda: g, lambda: g


class Subtract(_Binary):
    name = "subtract"

    def gradients(self, g):
        return lambda: g, lambda: -g


class Multiply(_Binary):
    name = "multiply"
    saved_inputs = (0, 1)

    def gradients(self, g):
        a, b = self.saved
        return lambda: g * b, lambda: g * a


class Divide(_Binary):
    name = "divide"
    saved_inputs = (0, 1)

    def gradients(self, g):
        a, b = self.saved
        # Not g * a / b**2: the square leaves the range of float32 where the quotients do not.
        return lambda: g / b, lambda: -(g / b) * (a / b)


class Maximum(_Binary):
    """The gradient of a tie is split in half (PyTorch's convention); a NaN counts as the larger one."""

    name = "maximum"
    saved_inputs = (0, 1)

    def gradients(self, g):
        share = self._share(*(t.data for t in self.saved))
        return lambda: g * share, lambda: g * (1 - share)

    def branch(self, inputs, results):
        return self._share(*inputs)

    @staticmethod
    def _share(a, b):
        """The fraction of the gradient that goes to a."""
        a_is_nan, b_is_nan = a != a, b != b
        first = (a > b) | (a_is_nan & ~b_is_nan)
        tie = (a == b) | (a_is_nan & b_is_nan)
        return (first + 0.5 * tie).astype(a.dtype)


class Minimum(Maximum):
    name = "minimum"

    @staticmethod
    def _share(a, b):
        return Maximum._share(-a, -b)


class _Unary(Operation):
    name: str

    def forward(self, x):
        return self.kernel(f"{self.name}.forward", x)


class Negative(_Unary):
    name = "negative"

    def backward(self, g):
        return (-g,)


class Exp(_Unary):
    name = "exp"
    saved_outputs = (0,)

    def backward(self, g):
        (y,) = self.saved
        return (g * y,)


class Log(_Unary):
    name = "log"
    saved_inputs = (0,)

    def backward(self, g):
        (x,) = self.saved
        return (g / x,)


class Sqrt(_Unary):
    name = "sqrt"
    saved_outputs = (0,)

    def backward(self, g):
        (y,) = self.saved
        return (g / (2 * y),)


class Tanh(_Unary):
    name = "tanh"
    saved_outputs = (0,)

    def backward(self, g):
        (y,) = self.saved
        return (g * (1 - y * y),)


class Expm1(_Unary):
    name = "expm1"
    saved_outputs = (0,)

    def backward(self, g):
        (y,) = self.saved
        return (g * (y + 1),)


class Log1p(_Unary):
    name = "log1p"
    saved_inputs = (0,)

    def backward(self, g):
        (x,) = self.saved
        return (g / (x + 1),)


class Sigmoid(_Unary):
    name = "sigmoid"
    saved_outputs = (0,)

    def backward(self, g):
        (y,) = self.saved
        return (g * y * (1 - y),)


class Softplus(_Unary):
    name = "softplus"
    saved_inputs = (0,)

    def backward(self, g):
        (x,) = self.saved
        return (g * sigmoid(x),)


class Erf(_Unary):
    name = "erf"
    saved_inputs = (0,)

    def backward(self, g):
        (x,) = self.saved
        return (g * exp(-x * x) * (2 / math.sqrt(math.pi)),)


class Absolute(_Unary):
    """The gradient at 0 is 0."""

    name = "absolute"
    saved_inputs = (0,)

    def branch(self, inputs, results):
        return array_module(self.device).sign(inputs[0])

    def backward(self, g):
        (x,) = self.saved
        return (g * array_module(self.device).sign(x.data),)


class Power(Operation):
    saved_inputs = (0,)

    def __init__(self, exponent):
        self.exponent = exponent

    def forward(self, x):
        return self.kernel("power.forward", x, exponent=self.exponent)

    def backward(self, g):
        (x,) = self.saved
        if self.exponent == 0:
            return (g * 0,)
        return (g * self.exponent * power(x, self.exponent - 1),)


def _binary(operation, a, b) -> Tensor:
    like = a if isinstance(a, Tensor) else b
    return operation()(as_tensor(a, like), as_tensor(b, like))


def add(a, b) -> Tensor:
    """a + b."""
    return _binary(Add, a, b)


def subtract(a, b) -> Tensor:
    """a - b."""
    return _binary(Subtract, a, b)


def multiply(a, b) -> Tensor:
    """a * b."""
    return _binary(Multiply, a, b)


def divide(a, b) -> Tensor:
    """a / b."""
    return _binary(Divide, a, b)


def maximum(a, b) -> Tensor:
    """The larger of a and b."""
    return _binary(Maximum, a, b)


def minimum(a, b) -> Tensor:
    """The smaller of a and b."""
    return _binary(Minimum, a, b)


def negative(x: Tensor) -> Tensor:
    """-x."""
    return Negative()(x)


def exp(x: Tensor) -> Tensor:
    """The exponential of x."""
    return Exp()(x)


def log(x: Tensor) -> Tensor:
    """The natural logarithm of x."""
    return Log()(x)


def sqrt(x: Tensor) -> Tensor:
    """The square root of x."""
    return Sqrt()(x)


def tanh(x: Tensor) -> Tensor:
    """The hyperbolic tangent of x."""
    require_floats("tanh", x)
    return Tanh()(x)


def expm1(x: Tensor) -> Tensor:
    """exp(x) - 1, accurate near 0."""
    return Expm1()(x)


def log1p(x: Tensor) -> Tensor:
    """log(1 + x), accurate near 0."""
    return Log1p()(x)


def sigmoid(x: Tensor) -> Tensor:
    """1 / (1 + exp(-x)), the logistic function."""
    require_floats("sigmoid", x)
    return Sigmoid()(x)


def softplus_of(x: Tensor) -> Tensor:
    """log(1 + exp(x)), without overflow."""
    require_floats("softplus", x)
    return Softplus()(x)


def erf(x: Tensor) -> Tensor:
    """The error function."""
    require_floats("erf", x)
    return Erf()(x)


def absolute(x: Tensor) -> Tensor:
    """The absolute value of x."""
    return Absolute()(x)


def power(x: Tensor, exponent: float) -> Tensor:
    """x to the power of a number."""
    require_tensor("power", x)
    if not is_number(exponent):
        raise TypeError(
            f"power: exponent must be a number, not {type(exponent).__name__}; "
            "for a tensor write (exponent * x.log()).exp()"
        )
    return Power(exponent)(x)
