"""Normalisation layers."""

from __future__ import annotations

import numpy as np

from minialex import functional as F
from minialex.autograd import no_grad
from minialex.checks import in_words, is_int, require_choice, require_number
from minialex.errors import ShapeError
from minialex.nn import init
from minialex.nn.layer import Layer, require_flags, require_positive
from minialex.nn.module import Parameter, values_of
from minialex.nn.state import COUNT_OF_BATCHES
from minialex.tensor import Tensor


class LocalResponseNorm(Layer):
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
        if not is_int(size, 1) or size % 2 == 0:
            raise ShapeError(f"size must be an odd integer 1 or more, not {in_words(size)}")
        require_choice("alpha_mode", alpha_mode, ("sum", "mean"), error=ShapeError)
        for name, value in (("alpha", alpha), ("beta", beta), ("k", k)):
            require_number(name, value, 0, error=ShapeError)
        self.size, self.alpha, self.beta, self.k = size, alpha, beta, k
        self.alpha_mode = alpha_mode

    def forward(self, x: Tensor) -> Tensor:
        return F.local_response_norm(x, self.size, self.alpha, self.beta, self.k, self.alpha_mode)

    def extra_repr(self) -> str:
        return (
            f"{self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}, alpha_mode={self.alpha_mode!r}"
        )


class _Scaling(Layer):
    """A normalisation that scales and shifts: weight starts at 1, bias at 0, either may be absent."""

    def _add_weights(self, shape: tuple[int, ...], weight: bool, bias: bool) -> None:
        self.register_parameter("weight", Parameter(np.ones(shape, np.float32)) if weight else None)
        self.register_parameter("bias", Parameter(np.zeros(shape, np.float32)) if bias else None)

    def _add_statistics(self, features: int, momentum: float | None, tracked: bool) -> None:
        if momentum is not None:
            require_number("momentum", momentum, 0, 1, error=ShapeError)
        self.register_buffer("running_mean", np.zeros(features, np.float32) if tracked else None)
        self.register_buffer("running_var", np.ones(features, np.float32) if tracked else None)
        if momentum is None and tracked:
            self.register_buffer(COUNT_OF_BATCHES, np.zeros((), np.int64))

    def reset_running_stats(self) -> None:
        """Forget the statistics: mean 0, variance 1."""
        if self.running_mean is not None:
            values_of(self.running_mean)[...] = 0
            values_of(self.running_var)[...] = 1
            if COUNT_OF_BATCHES in self._buffers:
                values_of(self.num_batches_tracked)[...] = 0

    def reset_parameters(self) -> None:
        """Start again: weight 1, bias 0, statistics forgotten."""
        if self.weight is not None:
            init.ones_(self.weight)
        if self.bias is not None:
            init.zeros_(self.bias)
        if "running_mean" in self._buffers:
            self.reset_running_stats()


class BatchNorm2d(_Scaling):
    """Batch normalisation; see `minialex.functional.batch_norm`.

    The running statistics are the buffers ``running_mean`` and ``running_var``. With a momentum of None they
    are the plain averages over all batches, whose number is the buffer ``num_batches_tracked``. PyTorch
    counts batches with a momentum, too, where nothing reads it; states with and without load here and there.

    Parameters
    ----------
    num_features : int
        F, the length of `axis`: the layer takes (N, F, H, W).
    eps : float
        As of the function.
    momentum : float, optional
        As of the function; None for plain averages.
    affine : bool
        Whether there are a weight and a bias.
    track_running_stats : bool
        Whether there are running statistics; without, those of the batch are always used.
    device : str, optional
    dtype : float32 or float64, optional
    bias : bool
        Whether there is a bias beside the weight.
    axis : int
        The axis of the features.
    """

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device=None,
        dtype=None,
        *,
        bias: bool = True,
        axis: int = 1,
    ):
        super().__init__()
        require_positive(num_features=num_features)
        require_number("eps", eps, 0, error=ShapeError)
        require_flags(affine=affine, track_running_stats=track_running_stats, bias=bias)
        self.num_features, self.eps, self.momentum, self.axis = num_features, eps, momentum, axis
        self.affine, self.track_running_stats = affine, track_running_stats
        self._add_weights((num_features,), affine, affine and bias)
        self._add_statistics(num_features, momentum, track_running_stats)
        self.to(device=device, dtype=dtype)

    def forward(self, x: Tensor) -> Tensor:
        moves = self.training and self.running_mean is not None
        counts = moves and self.momentum is None
        y = F.batch_norm(
            x,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            self.training or self.running_mean is None,
            1 / (1 + int(values_of(self.num_batches_tracked))) if counts else self.momentum or 0.0,
            self.eps,
            self.axis,
        )
        if counts:
            values_of(self.num_batches_tracked)[...] += 1
        return y

    def extra_repr(self) -> str:
        text = f"{self.num_features}, eps={self.eps}, momentum={self.momentum}"
        for name, default in (("affine", True), ("track_running_stats", True), ("axis", 1)):
            if getattr(self, name) != default:
                text += f", {name}={getattr(self, name)}"
        return text


class BatchNorm1d(BatchNorm2d):
    """Batch normalisation of (N, F) or (N, F, L), with the parameters of `BatchNorm2d`."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalise.

        Raises
        ------
        ShapeError
            If the input has other axes.
        """
        if x.ndim not in (2, 3):
            raise ShapeError(f"BatchNorm1d: the input must be (N, F) or (N, F, L), not {x.shape}")
        return super().forward(x)


class LayerNorm(_Scaling):
    """Layer normalisation; see `minialex.functional.layer_norm`.

    Parameters
    ----------
    normalized_shape : int or tuple of int
        The last axes of the input (..., *normalized_shape).
    eps : float
    elementwise_affine : bool
        Whether there are a weight and a bias, of that shape.
    bias : bool
        Whether there is a bias beside the weight.
    device : str, optional
    dtype : float32 or float64, optional
    """

    def __init__(
        self,
        normalized_shape,
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        device=None,
        dtype=None,
    ):
        super().__init__()
        shape = tuple(normalized_shape) if isinstance(normalized_shape, tuple | list) else (normalized_shape,)
        if not shape or not all(is_int(n, 1) for n in shape):
            raise ShapeError(
                f"normalized_shape must be a positive int or some, not {in_words(normalized_shape)}"
            )
        require_number("eps", eps, 0, error=ShapeError)
        require_flags(elementwise_affine=elementwise_affine, bias=bias)
        self.normalized_shape, self.eps, self.elementwise_affine = shape, eps, elementwise_affine
        self._add_weights(shape, elementwise_affine, elementwise_affine and bias)
        self.to(device=device, dtype=dtype)

    def forward(self, x: Tensor) -> Tensor:
        return F.layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        text = f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"
        return f"{text}, bias={self.bias is not None}"


class GroupNorm(_Scaling):
    """Group normalisation; see `minialex.functional.group_norm`.

    Parameters
    ----------
    num_groups : int
        Divides num_channels.
    num_channels : int
        C of the input (N, C, ...).
    eps : float
    affine : bool
        Whether there are a weight and a bias (C,).
    device : str, optional
    dtype : float32 or float64, optional
    bias : bool
        Whether there is a bias beside the weight.
    """

    def __init__(
        self,
        num_groups: int,
        num_channels: int,
        eps: float = 1e-5,
        affine: bool = True,
        device=None,
        dtype=None,
        *,
        bias: bool = True,
    ):
        super().__init__()
        require_positive(num_groups=num_groups, num_channels=num_channels)
        require_number("eps", eps, 0, error=ShapeError)
        require_flags(affine=affine, bias=bias)
        if num_channels % num_groups:
            raise ShapeError(f"num_groups must divide num_channels={num_channels}, not be {num_groups}")
        self.num_groups, self.num_channels, self.eps, self.affine = num_groups, num_channels, eps, affine
        self._add_weights((num_channels,), affine, affine and bias)
        self.to(device=device, dtype=dtype)

    def forward(self, x: Tensor) -> Tensor:
        if x.ndim < 2 or x.shape[1] != self.num_channels:
            raise ShapeError(f"GroupNorm: the input must be (N, {self.num_channels}, ...), not {x.shape}")
        return F.group_norm(x, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return (
            f"{self.num_groups}, {self.num_channels}, eps={self.eps}, affine={self.affine}, "
            f"bias={self.bias is not None}"
        )


class InstanceNorm2d(_Scaling):
    """Instance normalisation; see `minialex.functional.instance_norm`.

    Parameters
    ----------
    num_features : int
        C of the input (N, C, H, W).
    eps : float
    momentum : float
        How far the running statistics move towards the means over the batch of those of its images.
    affine : bool
        Whether there are a weight and a bias (C,); not by default.
    track_running_stats : bool
        Whether evaluation uses running statistics; not by default.
    device : str, optional
    dtype : float32 or float64, optional
    bias : bool
        Whether there is a bias beside the weight.
    """

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float = 0.1,
        affine: bool = False,
        track_running_stats: bool = False,
        device=None,
        dtype=None,
        *,
        bias: bool = True,
    ):
        super().__init__()
        require_positive(num_features=num_features)
        require_number("eps", eps, 0, error=ShapeError)
        require_flags(affine=affine, track_running_stats=track_running_stats, bias=bias)
        require_number("momentum", momentum, 0, 1, error=ShapeError)
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.affine, self.track_running_stats = affine, track_running_stats
        self._add_weights((num_features,), affine, affine and bias)
        self._add_statistics(num_features, momentum, track_running_stats)
        self.to(device=device, dtype=dtype)

    def forward(self, x: Tensor) -> Tensor:
        if x.ndim != 4 or x.shape[1] != self.num_features:
            raise ShapeError(
                f"InstanceNorm2d: the input must be (N, {self.num_features}, H, W), not {x.shape}"
            )
        tracked = self.running_mean is not None
        if tracked and not self.training:
            statistics = self.running_mean, self.running_var
            return F.batch_norm(x, *statistics, self.weight, self.bias, eps=self.eps)
        if x.shape[2] * x.shape[3] < 2 and self.training:
            raise ShapeError(f"InstanceNorm2d: images must have 2 or more cells in training, not {x.shape}")
        if tracked:
            self._track(x)
        return F.instance_norm(x, self.weight, self.bias, self.eps)

    def _track(self, x: Tensor) -> None:
        with no_grad():
            of_batch = x.mean(dim=(2, 3)).mean(dim=0), x.var(dim=(2, 3)).mean(dim=0)
        for running, now in zip((self.running_mean, self.running_var), of_batch, strict=True):
            kept = values_of(running)
            kept += (now.data - kept) * self.momentum

    def extra_repr(self) -> str:
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
            f"bias={self.bias is not None}, track_running_stats={self.track_running_stats}"
        )
