"""Losses, as modules: ``loss(x, target)``. See the functions of `minialex.functional`.

All take ``reduction``: "mean", "sum" or "none". PyTorch's older names for it, ``size_average`` and
``reduce``, keep their places in the signatures and must be left out. Weights are buffers, and so part of
``state_dict()``, as PyTorch's are. Targets may be arrays.
"""

from __future__ import annotations

from minialex import functional as F
from minialex.checks import require_number
from minialex.errors import ShapeError
from minialex.nn.layer import Layer
from minialex.tensor import Tensor


class _Loss(Layer):
    """What the losses share."""

    def __init__(self, size_average, reduce, reduction: str, **weights):
        super().__init__()
        for name, value in (("size_average", size_average), ("reduce", reduce)):
            if value is not None:
                raise ShapeError(
                    f'{name} must be None, not {value!r}: pass reduction="mean", "sum" or "none"'
                )
        if reduction not in ("mean", "sum", "none", "batchmean"):
            raise ShapeError(f'reduction must be "mean", "sum" or "none", not {reduction!r}')
        self.reduction = reduction
        for name, value in weights.items():
            self.register_buffer(name, value)

    def extra_repr(self) -> str:
        return "" if self.reduction == "mean" else f"reduction={self.reduction!r}"


class MSELoss(_Loss):
    """(x - target)**2; see `minialex.functional.mse_loss`."""

    def __init__(self, size_average=None, reduce=None, reduction: str = "mean"):
        super().__init__(size_average, reduce, reduction)

    def forward(self, x: Tensor, target) -> Tensor:
        return F.mse_loss(x, target, self.reduction)


class L1Loss(_Loss):
    """|x - target|; see `minialex.functional.l1_loss`."""

    def __init__(self, size_average=None, reduce=None, reduction: str = "mean"):
        super().__init__(size_average, reduce, reduction)

    def forward(self, x: Tensor, target) -> Tensor:
        return F.l1_loss(x, target, self.reduction)


class SmoothL1Loss(_Loss):
    """d**2 / (2 beta) for d = |x - target| below beta, then d - beta / 2.

    Girshick 2015; see `minialex.functional.smooth_l1_loss`.
    """

    def __init__(self, size_average=None, reduce=None, reduction: str = "mean", beta: float = 1.0):
        super().__init__(size_average, reduce, reduction)
        self.beta = beta

    def forward(self, x: Tensor, target) -> Tensor:
        return F.smooth_l1_loss(x, target, self.reduction, self.beta)


class HuberLoss(_Loss):
    """d**2 / 2 for d = |x - target| below delta, then delta (d - delta / 2).

    Huber 1964; see `minialex.functional.huber_loss`.
    """

    def __init__(self, reduction: str = "mean", delta: float = 1.0):
        super().__init__(None, None, reduction)
        self.delta = delta

    def forward(self, x: Tensor, target) -> Tensor:
        return F.huber_loss(x, target, self.reduction, self.delta)


class BCELoss(_Loss):
    """-(t log x + (1 - t) log(1 - x)) of probabilities; see `minialex.functional.binary_cross_entropy`.

    Parameters
    ----------
    weight : Tensor or array, optional
        What each loss is multiplied with; broadcast.
    """

    def __init__(self, weight=None, size_average=None, reduce=None, reduction: str = "mean"):
        super().__init__(size_average, reduce, reduction, weight=weight)

    def forward(self, x: Tensor, target) -> Tensor:
        return F.binary_cross_entropy(x, target, self.weight, self.reduction)


class BCEWithLogitsLoss(_Loss):
    """`BCELoss` of sigmoid(x), computed from x; see `minialex.functional.binary_cross_entropy_with_logits`.

    Parameters
    ----------
    weight : Tensor or array, optional
        What each loss is multiplied with; broadcast.
    pos_weight : Tensor or array, optional
        What the losses of the positive class are multiplied with; broadcast.
    """

    def __init__(self, weight=None, size_average=None, reduce=None, reduction: str = "mean", pos_weight=None):
        super().__init__(size_average, reduce, reduction, weight=weight, pos_weight=pos_weight)

    def forward(self, x: Tensor, target) -> Tensor:
        return F.binary_cross_entropy_with_logits(x, target, self.weight, self.reduction, self.pos_weight)


class NLLLoss(_Loss):
    """-x at the label, of logarithms of probabilities (N, C, ...); see `minialex.functional.nll_loss`.

    Parameters
    ----------
    weight : Tensor or array (C,), optional
        How much each class counts.
    ignore_index : int
        A label that does not count.
    """

    def __init__(
        self, weight=None, size_average=None, ignore_index: int = -100, reduce=None, reduction: str = "mean"
    ):
        super().__init__(size_average, reduce, reduction, weight=weight)
        self.ignore_index = ignore_index

    def forward(self, x: Tensor, target) -> Tensor:
        return F.nll_loss(x, target, self.weight, self.ignore_index, self.reduction)


class CrossEntropyLoss(_Loss):
    """`NLLLoss` of log-softmax, of logits (N, C, ...); see `minialex.functional.cross_entropy`.

    Parameters
    ----------
    weight : Tensor or array (C,), optional
        How much each class counts.
    ignore_index : int
        A label that does not count.
    label_smoothing : float
        The share of the target that all classes get (Szegedy et al. 2016, section 7).
    """

    def __init__(
        self,
        weight=None,
        size_average=None,
        ignore_index: int = -100,
        reduce=None,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
    ):
        super().__init__(size_average, reduce, reduction, weight=weight)
        require_number("label_smoothing", label_smoothing, 0, 1, error=ShapeError)
        self.ignore_index, self.label_smoothing = ignore_index, label_smoothing

    def forward(self, x: Tensor, target) -> Tensor:
        return F.cross_entropy(
            x,
            target,
            self.weight,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
            label_smoothing=self.label_smoothing,
        )


class KLDivLoss(_Loss):
    """t (log t - x) of logarithms of probabilities x; see `minialex.functional.kl_div`.

    Parameters
    ----------
    reduction : "mean", "sum", "none" or "batchmean"
        "batchmean" divides the sum by N, as the divergence is defined.
    log_target : bool
        Whether the target is given as logarithms.
    """

    def __init__(self, size_average=None, reduce=None, reduction: str = "mean", log_target: bool = False):
        super().__init__(size_average, reduce, reduction)
        self.log_target = log_target

    def forward(self, x: Tensor, target) -> Tensor:
        return F.kl_div(x, target, self.reduction, self.log_target)
