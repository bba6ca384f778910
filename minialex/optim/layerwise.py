"""Optimisers for large batches, whose step is as long as the weights of the layer say: LARS, LAMB."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from minialex.devices import array_module
from minialex.operations.gradients import sum_of_squares
from minialex.optim.normalised import require_betas, require_from
from minialex.optim.optimizer import Optimizer


def _norm(array) -> float:
    return math.sqrt(sum_of_squares(array))


class LARS(Optimizer):
    """SGD whose rate is scaled by layer (You, Gitman and Ginsburg 2017, algorithm 1).

    With g the gradient, and Euclidean norms over one parameter::

        rate = trust_coefficient |p| / (|g| + weight_decay |p| + eps)
        v = momentum v + lr rate (g + weight_decay p)
        p = p - v

    The rate is 1 where |p| or |g| is 0: new biases would never move. Give biases and the factors of
    normalisation a group without weight decay, or an optimiser of their own.

    Parameters
    ----------
    params : iterable
        Parameters or groups; see `Optimizer`.
    lr : float
    momentum : float
        0 or more and below 1.
    weight_decay : float
    trust_coefficient : float
        The paper's eta.
    eps : float
        Keeps the rate of small gradients finite; 0 in the paper.
    maximize : bool
        Whether to climb instead.

    Raises
    ------
    MiniAlexError
        If an option is out of range.
    """

    kept = ("velocity",)

    def __init__(
        self,
        params: Iterable,
        lr: float = 0.1,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        trust_coefficient: float = 1e-3,
        eps: float = 1e-8,
        *,
        maximize: bool = False,
    ):
        options = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay}
        super().__init__(
            params, {**options, "trust_coefficient": trust_coefficient, "eps": eps, "maximize": maximize}
        )

    def check(self, options: dict) -> None:
        super().check(options)
        require_from(options, "momentum", 0, 1)
        require_from(options, "trust_coefficient", 0)
        require_from(options, "eps", 0)

    def update(self, p: Any, state, options) -> None:
        if not state:
            state["velocity"] = array_module(p.device).zeros_like(p.data)
        names = ("lr", "momentum", "weight_decay", "trust_coefficient", "eps")
        lr, momentum, decay, trust, eps = (float(options[name]) for name in names)
        g, velocity = p.grad.data, state["velocity"]
        of_weight, of_gradient = _norm(p.data), _norm(g)
        rate = (
            trust * of_weight / (of_gradient + decay * of_weight + eps) if of_weight and of_gradient else 1.0
        )
        velocity *= momentum
        velocity += lr * rate * (g + decay * p.data)
        p.data -= velocity


class LAMB(Optimizer):
    """Adam whose step is scaled by layer (You et al. 2020, algorithm 2, with phi the identity).

    With g the gradient, t the step from 1, and Euclidean norms over one parameter::

        m = beta1 m + (1 - beta1) g
        v = beta2 v + (1 - beta2) g²
        u = m / (1 - beta1**t) / (sqrt(v / (1 - beta2**t)) + eps) + weight_decay p
        p = p - lr |p| / |u| u

    The ratio of the norms is 1 where one of them is 0.

    Parameters
    ----------
    params : iterable
        Parameters or groups; see `Optimizer`.
    lr : float
    betas : (float, float)
        The decay rates of the two moments.
    eps : float
    weight_decay : float
    maximize : bool
        Whether to climb instead.

    Raises
    ------
    MiniAlexError
        If an option is out of range.
    """

    kept = ("step", "m", "v")

    def __init__(
        self,
        params: Iterable,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-6,
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
    ):
        super().__init__(
            params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "maximize": maximize}
        )

    def check(self, options: dict) -> None:
        super().check(options)
        require_betas(options)
        require_from(options, "eps", 0)

    def update(self, p: Any, state, options) -> None:
        xp = array_module(p.device)
        if not state:
            state.update(step=0, m=xp.zeros_like(p.data), v=xp.zeros_like(p.data))
        state["step"] += 1
        step, m, v, g = state["step"], state["m"], state["v"], p.grad.data
        lr, eps, decay = (float(options[name]) for name in ("lr", "eps", "weight_decay"))
        beta1, beta2 = map(float, options["betas"])
        m += (1 - beta1) * (g - m)
        v *= beta2
        v += (1 - beta2) * (g * g)
        u = m / (1 - beta1**step) / (xp.sqrt(v / (1 - beta2**step)) + eps) + decay * p.data
        of_weight, of_step = _norm(p.data), _norm(u)
        ratio = of_weight / of_step if of_weight and of_step else 1.0
        p.data -= lr * ratio * u
