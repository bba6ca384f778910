"""Batch normalisation."""

from __future__ import annotations

from minialex.autograd import Operation
from minialex.checks import require_flag, require_number
from minialex.devices import array_module, is_array, is_read_only
from minialex.errors import DeviceError, GraphError, ShapeError
from minialex.kernels import output_shape
from minialex.kernels.batch_norm import BACKWARD, EVALUATE, FORWARD, BatchNormCall
from minialex.kernels.contract.shapes import require_shape
from minialex.operations.inputs import require_floats
from minialex.tensor import Tensor, as_tensor


class BatchNorm(Operation):
    """With the statistics of the batch, left in `mean` and `var` (F,)."""

    saved_inputs = (0, 1)

    def __init__(self, call: BatchNormCall):
        self.call = call

    def forward(self, x, weight, bias):
        y, self.mean, self.var = self.kernel(FORWARD, x, weight, bias, call=self.call)
        return y

    def backward(self, g):
        x, weight = self.saved
        return BatchNormBackward(self.mean, self.var, self.call)(g, x, weight)


class BatchNormBackward(Operation):
    """The gradients gx = weight r P(g), gw = sum(g h) and gb = sum(g).

    Here r = 1 / sqrt(var + eps), h = (x - mean) r, and P(v) = v - mean(v) - h mean(v h) is the
    projection that takes out of v what a change of mean and variance undoes. P is symmetric.
    """

    saved_inputs = (0, 1, 2)

    def __init__(self, mean, var, call: BatchNormCall):
        self.mean, self.var, self.call = mean, var, call

    def forward(self, g, x, weight):
        return self.kernel(BACKWARD, g, x, weight, self.mean, self.var, call=self.call)

    def backward(self, ux, uw, ub):
        g, x, weight = self.saved
        axis, eps = self.call.axis, self.call.eps
        others = tuple(i for i in range(x.ndim) if i != axis)
        spread = tuple(-1 if i == axis else 1 for i in range(x.ndim))
        count = x.size // x.shape[axis]

        def total(v):
            return v.sum(others, keepdims=True)

        def project(v):
            return v - total(v) / count - h * (total(v * h) / count)

        # r and h are recomputed from x, in operations, so that their own derivatives count.
        centred = x - total(x) / count
        r = (total(centred * centred) / count + eps) ** -0.5
        h = centred * r
        w = weight.reshape(spread)
        ux = _or_zeros(ux, x)
        uw, ub = (_or_zeros(u, weight).reshape(spread) for u in (uw, ub))

        projected = project(g)
        gg = w * r * project(ux) + uw * h + ub
        gh = uw * g - w * r * (ux * total(g * h) + g * total(ux * h)) / count
        gr = w * total(ux * projected)
        gx = r * project(gh) - gr * r * r * h / count
        gw = total(r * ux * projected).reshape(weight.shape)
        return gg, gx, gw


class BatchNormEvaluation(Operation):
    """With given statistics, mean and var (F,), as constants."""

    saved_inputs = (0, 1)

    def __init__(self, mean, var, call: BatchNormCall):
        self.mean, self.var, self.call = mean, var, call

    def forward(self, x, weight, bias):
        return self.kernel(EVALUATE, x, weight, bias, self.mean, self.var, call=self.call)

    def backward(self, g):
        x, weight = self.saved
        axis, eps = self.call.axis, self.call.eps
        others = tuple(i for i in range(x.ndim) if i != axis)
        spread = tuple(-1 if i == axis else 1 for i in range(x.ndim))
        xp = array_module(self.device)
        r = (1 / xp.sqrt(self.var + x.dtype.type(eps))).reshape(spread)
        gx = g * (weight.reshape(spread) * r) if self.needs(0) else None
        gw = (g * (x - self.mean.reshape(spread)) * r).sum(others) if self.needs(1) else None
        gb = g.sum(others) if self.needs(2) else None
        return gx, gw, gb


def _or_zeros(gradient: Tensor | None, like: Tensor) -> Tensor:
    if gradient is not None:
        return gradient
    return Tensor(array_module(like.device).zeros(like.shape, like.dtype), device=like.device)


def _statistic(name: str, given, x: Tensor, features: int, training: bool):
    """The array of a running statistic: itself, not a copy, because training writes to it."""
    array, device = (given.data, given.device) if isinstance(given, Tensor) else (given, None)
    if isinstance(given, Tensor) and given.requires_grad:
        raise GraphError(f"batch_norm: {name} is a constant and gets no gradient; pass {name}.detach()")
    if not is_array(array):
        raise TypeError(f"batch_norm: {name} must be an array or a tensor, not {type(given).__name__}")
    require_shape(f"batch_norm: {name}", array.shape, (features,), f"for the features of the input {x.shape}")
    if array.dtype != x.dtype:
        raise TypeError(
            f"batch_norm: {name} of {array.dtype} meets an input of {x.dtype}; nothing is cast silently: "
            "make both of one dtype"
        )
    if device not in (None, x.device) or not isinstance(array, array_module(x.device).ndarray):
        raise DeviceError(
            f"batch_norm: {name} is not on {x.device!r}, where the input is; move it there first"
        )
    if training and is_read_only(array):
        raise ValueError(f"batch_norm: {name} is read-only, and training moves it in place; pass a copy")
    return array


def batch_norm(
    x: Tensor,
    running_mean,
    running_var,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
    axis: int = 1,
) -> Tensor:
    """Normalise each feature to mean 0 and variance 1, then scale and shift it.

    Ioffe and Szegedy 2015; the formulas are in `minialex.kernels.batch_norm`. The signature is that
    of ``torch.nn.functional.batch_norm``, with any axis as the feature axis.

    Parameters
    ----------
    x : Tensor, any shape with F features along `axis`
    running_mean, running_var : array or Tensor (F,), or None
        The statistics used at evaluation, both or neither, with the dtype and device of x. Training
        moves them, in place, by `momentum` towards those of the batch; the variance is made unbiased first
        (PyTorch; Keras keeps it biased).
    weight, bias : Tensor (F,), optional
        1 and 0 if not given.
    training : bool
        Whether to use the batch's statistics; without running ones they are always used.
    momentum : float
        How far the running statistics move; Keras calls 1 minus this momentum.
    eps : float
        Added to the variance.

    Returns
    -------
    Tensor, in the shape of x

    Raises
    ------
    ShapeError
        If shapes do not fit, an option is out of range, or a batch has fewer than two elements per feature
        to take a variance of.
    TypeError, DeviceError, GraphError, ValueError
        If a running statistic is not an array, has another dtype or device than x, requires a gradient, or
        is read-only in training.
    """
    require_floats("batch_norm", x)
    weight = None if weight is None else as_tensor(weight, x)
    bias = None if bias is None else as_tensor(bias, x)
    output_shape(
        "batch_norm", x.shape, None if weight is None else weight.shape,
        None if bias is None else bias.shape, axis=axis,
    )  # fmt: skip
    training = require_flag("batch_norm: training", training, error=ShapeError)
    require_number("batch_norm: momentum", momentum, 0, 1, error=ShapeError)
    require_number("batch_norm: eps", eps, 0, error=ShapeError)
    axis %= x.ndim
    features = x.shape[axis]
    if (running_mean is None) != (running_var is None):
        missing = "running_mean" if running_mean is None else "running_var"
        raise ShapeError(f"batch_norm: {missing} is None; give both running statistics or neither")
    moved = [each for each in (running_mean, running_var) if isinstance(each, Tensor)]
    if running_mean is not None:
        running_mean = _statistic("running_mean", running_mean, x, features, training)
        running_var = _statistic("running_var", running_var, x, features, training)
    call = BatchNormCall.of(axis=axis, eps=eps)
    xp = array_module(x.device)
    if weight is None:
        weight = Tensor(xp.ones(features, x.dtype), device=x.device)
    if bias is None:
        bias = Tensor(xp.zeros(features, x.dtype), device=x.device)
    if not training and running_mean is not None:
        # Copies: training moves the running statistics in place, perhaps before backward is called.
        mean, var = running_mean.copy(), running_var.copy()
        return BatchNormEvaluation(mean, var, call)(x, weight, bias)

    count = x.size // max(1, features)
    if count < 2:
        raise ShapeError(
            f"batch_norm: the input {x.shape} has {count} element(s) for each of {features} features; "
            "training needs at least 2 to take a variance of"
        )
    operation = BatchNorm(call)
    y = operation(x, weight, bias)
    if running_mean is not None:
        running_mean += momentum * (operation.mean - running_mean)
        running_var += momentum * (operation.var * (count / (count - 1)) - running_var)
        for statistic in moved:
            statistic.version += 1
    return y
