"""What is written after a tensor: operators and methods, each a function of `minialex.operations`.

Names and arguments are PyTorch's; where NumPy has the same with ``axis`` and ``keepdims``, these mean the
same as ``dim`` and ``keepdim``. The functions stand on the floor above this one and add themselves to
`functions`.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

# What the operators and methods call: the functions of `minialex.operations`, `autograd.backward`, and
# `numpy_functions`. They stand on the floor above, and add themselves here.
functions: Any = SimpleNamespace()


class Size(int):
    """The number of elements of a tensor; called, as in PyTorch, its shape or the length of one axis."""

    shape: tuple[int, ...]

    def __new__(cls, elements: int, shape: tuple[int, ...]):
        size = super().__new__(cls, elements)
        size.shape = shape
        return size

    def __call__(self, dim: int | None = None):
        return self.shape if dim is None else self.shape[dim]


class TensorMethods:
    """The operators and methods of `minialex.Tensor`."""

    __slots__ = ()

    # Of `minialex.Tensor`, for type checkers.
    data: Any
    device: str
    creator: Any
    detach: Any

    # Arithmetic: the other operand is a tensor, or a number that takes this tensor's dtype

    def __add__(self, other):
        return functions.add(self, other)

    def __sub__(self, other):
        return functions.subtract(self, other)

    def __rsub__(self, other):
        return functions.subtract(other, self)

    def __mul__(self, other):
        return functions.multiply(self, other)

    def __truediv__(self, other):
        return functions.divide(self, other)

    def __rtruediv__(self, other):
        return functions.divide(other, self)

    def __matmul__(self, other):
        return functions.matmul(self, other)

    def __rmatmul__(self, other):
        return functions.matmul(other, self)

    def __neg__(self):
        return functions.negative(self)

    def __pos__(self):
        return self

    def __abs__(self):
        return functions.absolute(self)

    def __pow__(self, exponent):
        return functions.power(self, exponent)

    def __getitem__(self, index):
        return functions.getitem(self, index)

    __radd__ = __add__
    __rmul__ = __mul__
    add, sub, mul, div, matmul, mm = __add__, __sub__, __mul__, __truediv__, __matmul__, __matmul__
    neg, pow, abs = __neg__, __pow__, __abs__

    # Comparisons, element by element; Python compares by identity with what is no number

    def __eq__(self, other):
        return functions.equal(self, other) if functions.is_operand(other) else NotImplemented

    def __ne__(self, other):
        return functions.not_equal(self, other) if functions.is_operand(other) else NotImplemented

    def __lt__(self, other):
        return functions.less(self, other) if functions.is_operand(other) else NotImplemented

    def __le__(self, other):
        return functions.less_equal(self, other) if functions.is_operand(other) else NotImplemented

    def __gt__(self, other):
        return functions.greater(self, other) if functions.is_operand(other) else NotImplemented

    def __ge__(self, other):
        return functions.greater_equal(self, other) if functions.is_operand(other) else NotImplemented

    eq, ne, lt, le, gt, ge = __eq__, __ne__, __lt__, __le__, __gt__, __ge__

    # Logic, element by element, of bools

    def __invert__(self):
        return functions.invert(self)

    def __and__(self, other):
        return functions.bitwise_and(self, other) if functions.is_operand(other) else NotImplemented

    def __or__(self, other):
        return functions.bitwise_or(self, other) if functions.is_operand(other) else NotImplemented

    def __xor__(self, other):
        return functions.bitwise_xor(self, other) if functions.is_operand(other) else NotImplemented

    __rand__ = __and__
    __ror__ = __or__
    __rxor__ = __xor__

    def any(self, *axes, **names):
        return functions.any(self, *axes, **names)

    def all(self, *axes, **names):
        return functions.all(self, *axes, **names)

    # Element by element

    def exp(self):
        return functions.exp(self)

    def log(self):
        return functions.log(self)

    def log1p(self):
        return functions.log1p(self)

    def sqrt(self):
        return functions.sqrt(self)

    def square(self):
        return functions.multiply(self, self)

    def tanh(self):
        return functions.tanh(self)

    def sigmoid(self):
        return functions.sigmoid(self)

    def relu(self):
        return functions.relu(self)

    def erf(self):
        return functions.erf(self)

    def clamp(self, min=None, max=None):
        return functions.clamp(self, min, max)

    clip = clamp

    def masked_fill(self, mask, value):
        return functions.masked_fill(self, mask, value)

    def where(self, condition, other):
        return functions.where(condition, self, other)

    # Over axes: `dim` and `keepdim`, or `axis` and `keepdims`

    def sum(self, *axes, **names):
        return functions.sum(self, *axes, **names)

    def mean(self, *axes, **names):
        return functions.mean(self, *axes, **names)

    def amax(self, *axes, **names):
        return functions.amax(self, *axes, **names)

    def amin(self, *axes, **names):
        return functions.amin(self, *axes, **names)

    def max(self, *arguments, **names):
        return functions.max(self, *arguments, **names)

    def min(self, *arguments, **names):
        return functions.min(self, *arguments, **names)

    def argmax(self, *axes, **names):
        return functions.argmax(self, *axes, **names)

    def argmin(self, *axes, **names):
        return functions.argmin(self, *axes, **names)

    def topk(self, k, *arguments, **names):
        return functions.topk(self, k, *arguments, **names)

    def var(self, *axes, **names):
        return functions.var(self, *axes, **names)

    def std(self, *axes, **names):
        return functions.std(self, *axes, **names)

    def norm(self, *arguments, **names):
        return functions.norm(self, *arguments, **names)

    def softmax(self, *axes, **names):
        return functions.softmax(self, *axes, **names)

    def log_softmax(self, *axes, **names):
        return functions.log_softmax(self, *axes, **names)

    # Shape and layout

    def reshape(self, *shape):
        return functions.reshape(self, *shape)

    view = reshape

    def view_as(self, other):
        return functions.reshape(self, other.shape)

    def flatten(self, start_dim: int = 0, end_dim: int = -1):
        return functions.flatten(self, start_dim, end_dim)

    def squeeze(self, dim=None):
        return functions.squeeze(self, dim)

    def unsqueeze(self, dim: int):
        return functions.unsqueeze(self, dim)

    def transpose(self, *axes):
        return functions.transpose(self, *axes)

    def permute(self, *dims):
        return functions.permute(self, *dims)

    def t(self):
        return functions.transpose(self)

    def expand(self, *shape):
        return functions.broadcast_to(self, *shape)

    def expand_as(self, other):
        return functions.broadcast_to(self, other.shape)

    def repeat(self, *times):
        return functions.repeat(self, *times)

    def split(self, split_size, dim: int = 0):
        return functions.split(self, split_size, dim)

    def chunk(self, chunks: int, dim: int = 0):
        return functions.chunk(self, chunks, dim)

    def unbind(self, dim: int = 0):
        return functions.unbind(self, dim)

    def gather(self, dim: int, index):
        return functions.gather(self, dim, index)

    def index_select(self, dim: int, index):
        return functions.index_select(self, dim, index)

    def clone(self):
        return functions.clone(self)

    def contiguous(self):
        return self if self.data.flags.c_contiguous else functions.clone(self)

    # What it is, in PyTorch's words

    def dim(self) -> int:
        return self.data.ndim

    ndimension = dim

    def numel(self) -> int:
        return self.data.size

    def is_floating_point(self) -> bool:
        return self.data.dtype.kind == "f"

    @property
    def is_cuda(self) -> bool:
        return self.device == "cuda"

    @property
    def grad_fn(self):
        return self.creator

    # Gradients

    def register_hook(self, function):
        """Call a function with the gradient of this tensor; see `minialex.gradient_hooks.register_hook`."""
        return functions.register_hook(self, function)

    def retain_grad(self) -> None:
        """Let a result keep its gradient in `grad`, too, as leaves do."""
        functions.retain_grad(self)

    # Another dtype or device

    def to(self, target=None, *, device=None, dtype=None) -> Any:
        return functions.to(self, target, device=device, dtype=dtype)

    def type_as(self, other):
        return self.to(other)

    def float(self):
        return self.to("float32")

    def double(self):
        return self.to("float64")

    def int(self):
        return self.to("int32")

    def long(self):
        return self.to("int64")

    def bool(self):
        return self.to("bool")

    def cpu(self):
        return self.to("cpu")

    def cuda(self):
        return self.to("cuda")

    def __setitem__(self, index, value):
        functions.setitem_(self, index, value)

    # In place, for what is outside of the graph

    def zero_(self):
        return functions.fill_(self, 0)

    def fill_(self, value):
        return functions.fill_(self, value)

    def copy_(self, source):
        return functions.copy_(self, source)

    def add_(self, other, *, alpha=1):
        return functions.add_(self, other, alpha=alpha)

    def sub_(self, other, *, alpha=1):
        return functions.add_(self, other, alpha=-alpha)

    def mul_(self, other):
        return functions.mul_(self, other)

    def div_(self, other):
        return functions.div_(self, other)

    def clamp_(self, min=None, max=None):
        return functions.copy_(self, functions.clamp(self.detach(), min, max))
