"""The layers of a CNN. Signatures are those of ``torch.nn``, with the extensions of
`minialex.functional`: its forms of padding, a feature axis for batch normalisation, alpha_mode for LRN.
"""

from __future__ import annotations

import numpy as np

from minialex import functional as F
from minialex.checks import require_int
from minialex.errors import ShapeError
from minialex.kernels.contract.windows import Pair, Window, pair
from minialex.nn import init
from minialex.nn.module import Module, Parameter
from minialex.tensor import Tensor


def _require_positive(**lengths: int) -> None:
    for name, length in lengths.items():
        require_int(name, length, 1, error=ShapeError)


class Conv2d(Module):
    """Convolution; see `minialex.functional.conv2d`. Weights start as PyTorch's do."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size,
        stride=1,
        padding=0,
        dilation=1,
        groups: int = 1,
        bias: bool = True,
    ):
        super().__init__()
        _require_positive(in_channels=in_channels, out_channels=out_channels, groups=groups)
        if in_channels % groups or out_channels % groups:
            raise ShapeError(
                f"Conv2d: in_channels and out_channels must be multiples of groups={groups}, "
                f"not {in_channels} and {out_channels}"
            )
        self.in_channels, self.out_channels = in_channels, out_channels
        self.kernel_size = pair(kernel_size, "kernel_size")
        self.stride, self.padding, self.dilation = stride, padding, dilation
        self.groups = groups
        shape = (out_channels, in_channels // groups, *self.kernel_size)
        self.weight = Parameter(np.empty(shape, np.float32))
        self.register_parameter("bias", Parameter(np.empty(out_channels, np.float32)) if bias else None)
        init.default(self)

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups)

    def extra_repr(self) -> str:
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}"
        for name, default in (("stride", 1), ("padding", 0), ("dilation", 1), ("groups", 1)):
            if getattr(self, name) != default:
                text += f", {name}={getattr(self, name)!r}"
        return text if self.bias is not None else text + ", bias=False"


class Linear(Module):
    """A fully connected layer; see `minialex.functional.linear`. Weights start as PyTorch's do."""

    def __init__(self, in_features: int, out_features: int, bias: bool = True):
        super().__init__()
        _require_positive(in_features=in_features, out_features=out_features)
        self.in_features, self.out_features = in_features, out_features
        self.weight = Parameter(np.empty((out_features, in_features), np.float32))
        self.register_parameter("bias", Parameter(np.empty(out_features, np.float32)) if bias else None)
        init.default(self)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight, self.bias)

    def extra_repr(self) -> str:
        text = f"{self.in_features}, {self.out_features}"
        return text if self.bias is not None else text + ", bias=False"


class MaxPool2d(Module):
    """Max-pooling; see `minialex.functional.max_pool2d`."""

    def __init__(self, kernel_size, stride=None, padding=0, dilation=1, ceil_mode: bool = False):
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding, self.dilation, self.ceil_mode = padding, dilation, ceil_mode

    def forward(self, x: Tensor) -> Tensor:
        return F.max_pool2d(x, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode)

    def extra_repr(self) -> str:
        return f"{self.kernel_size}, stride={self.stride}, padding={self.padding!r}"


class AvgPool2d(Module):
    """Average pooling; see `minialex.functional.avg_pool2d`."""

    def __init__(
        self,
        kernel_size,
        stride=None,
        padding=0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ):
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding, self.ceil_mode = padding, ceil_mode
        self.count_include_pad = count_include_pad

    def forward(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(
            x, self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad
        )

    def extra_repr(self) -> str:
        return f"{self.kernel_size}, stride={self.stride}, padding={self.padding!r}"


class LocalResponseNorm(Module):
    """Local response normalisation; see `minialex.functional.local_response_norm`."""

    def __init__(
        self,
        size: int = 5,
        alpha: float = 1e-4,
        beta: float = 0.75,
        k: float = 2.0,
        alpha_mode: str = "sum",
    ):
        super().__init__()
        self.size, self.alpha, self.beta, self.k = size, alpha, beta, k
        self.alpha_mode = alpha_mode

    def forward(self, x: Tensor) -> Tensor:
        return F.local_response_norm(x, self.size, self.alpha, self.beta, self.k, self.alpha_mode)

    def extra_repr(self) -> str:
        return (
            f"{self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}, alpha_mode={self.alpha_mode!r}"
        )


class BatchNorm2d(Module):
    """Batch normalisation; see `minialex.functional.batch_norm`.

    The running statistics are the buffers ``running_mean`` and ``running_var``.
    """

    def __init__(self, num_features: int, eps: float = 1e-5, momentum: float = 0.1, axis: int = 1):
        super().__init__()
        self.num_features, self.eps, self.momentum, self.axis = num_features, eps, momentum, axis
        self.weight = Parameter(np.ones(num_features, np.float32))
        self.bias = Parameter(np.zeros(num_features, np.float32))
        self.register_buffer("running_mean", np.zeros(num_features, np.float32))
        self.register_buffer("running_var", np.ones(num_features, np.float32))

    def forward(self, x: Tensor) -> Tensor:
        return F.batch_norm(
            x,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            self.training,
            self.momentum,
            self.eps,
            self.axis,
        )

    def extra_repr(self) -> str:
        text = f"{self.num_features}, eps={self.eps}, momentum={self.momentum}"
        return text if self.axis == 1 else f"{text}, axis={self.axis}"


class ReLU(Module):
    """The rectified linear unit; see `minialex.functional.relu`."""

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x)


class Dropout(Module):
    """Dropout, active only in training; see `minialex.functional.dropout`."""

    def __init__(self, p: float = 0.5):
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.p, self.training)

    def extra_repr(self) -> str:
        return f"p={self.p}"


class Flatten(Module):
    """Join the axes from start_dim to end_dim; by default all but the first."""

    def __init__(self, start_dim: int = 1, end_dim: int = -1):
        super().__init__()
        self.start_dim, self.end_dim = start_dim, end_dim

    def forward(self, x: Tensor) -> Tensor:
        return F.flatten(x, self.start_dim, self.end_dim)


class Sequential(Module):
    """Modules applied one after another, given in order or as a dictionary by name."""

    def __init__(self, *modules: Module | dict[str, Module]):
        super().__init__()
        if len(modules) == 1 and isinstance(modules[0], dict):
            named = modules[0]
        else:
            named = {str(i): module for i, module in enumerate(modules)}
        for name, module in named.items():
            if not isinstance(module, Module):
                raise TypeError(f"Sequential takes modules; {name} is of type {type(module).__name__}")
            self._modules[name] = module

    def forward(self, x: Tensor) -> Tensor:
        for module in self._modules.values():
            x = module(x)
        return x

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self):
        return iter(self._modules.values())

    def __getitem__(self, index: int | slice) -> Module:
        if isinstance(index, slice):
            return Sequential(dict(list(self._modules.items())[index]))
        return list(self._modules.values())[index]


def window_of(layer: Module, size: Pair) -> Window:
    """The window of a convolution or pooling over images of this height and width."""
    return Window.of(
        size,
        pair(layer.kernel_size, "kernel_size"),
        stride=pair(layer.stride, "stride"),
        padding=layer.padding,
        dilation=pair(getattr(layer, "dilation", 1), "dilation"),
        ceil_mode=getattr(layer, "ceil_mode", False),
    )
