"""Optimisers that divide by a running size of the gradient: RMSprop, Adagrad, NAdam."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from minialex.checks import in_words, is_number, require_flag, require_number
from minialex.devices import array_module
from minialex.errors import MiniAlexError
from minialex.optim.optimizer import Optimizer


def require_from(options: dict, name: str, low: float, below: float = math.inf) -> None:
    """Raise `MiniAlexError` unless an option is a number from `low` to below `below`."""
    require_number(name, options[name], low, below, bounds="[)")


def require_betas(options: dict) -> None:
    """Raise `MiniAlexError` unless betas are two decay rates."""
    betas = options["betas"]
    fit = isinstance(betas, tuple | list) and len(betas) == 2 and all(map(is_number, betas))
    if not fit or not all(0 <= beta < 1 for beta in betas):
        raise MiniAlexError(f"betas must be two numbers, 0 or more and below 1, not {in_words(betas)}")


def decayed(p: Any, weight_decay: float):
    """The gradient, with that of an L2 penalty added."""
    return p.grad.data + float(weight_decay) * p.data if weight_decay else p.grad.data


class RMSprop(Optimizer):
    """RMSprop (Tieleman and Hinton 2012, lecture 6.5; centred: Graves 2013), in PyTorch's form.

    With g the gradient, s its running square and, if centred, a its running mean::

        g = g + weight_decay p
        s = alpha s + (1 - alpha) g²
        a = alpha a + (1 - alpha) g
        b = momentum b + g / (sqrt(s - a²) + eps)
        p = p - lr b

    Parameters
    ----------
    params : iterable
        Parameters or groups; see `Optimizer`.
    lr : float
    alpha : float
        The decay rate of s and a, 0 or more and below 1.
    eps : float
        Added to the root; TensorFlow adds it below.
    weight_decay : float
        The factor of an L2 penalty.
    momentum : float
    centered : bool
        Whether to divide by the deviation of g; a is 0 if not.
    maximize : bool
        Whether to climb instead.

    Raises
    ------
    MiniAlexError
        If an option is out of range.
    """

    def __init__(
        self,
        params: Iterable,
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        centered: bool = False,
        *,
        maximize: bool = False,
    ):
        options = {"lr": lr, "alpha": alpha, "eps": eps, "weight_decay": weight_decay}
        super().__init__(
            params, {**options, "momentum": momentum, "centered": centered, "maximize": maximize}
        )

    def check(self, options: dict) -> None:
        super().check(options)
        require_from(options, "alpha", 0, 1)
        require_from(options, "eps", 0)
        require_from(options, "momentum", 0)
        require_flag("centered", options["centered"])

    def keeps(self, options: dict) -> tuple[str, ...]:
        names = ["square_avg"]
        names += ["momentum_buffer"] if options["momentum"] else []
        names += ["grad_avg"] if options["centered"] else []
        return tuple(names)

    def update(self, p: Any, state, options) -> None:
        xp = array_module(p.device)
        for name in self.keeps(options):
            if name not in state:
                state[name] = xp.zeros_like(p.data)
        lr, alpha, momentum = (float(options[name]) for name in ("lr", "alpha", "momentum"))
        g = decayed(p, options["weight_decay"])
        square = state["square_avg"]
        square *= alpha
        square += (1 - alpha) * (g * g)
        size = square
        if options["centered"]:
            average = state["grad_avg"]
            average += (1 - alpha) * (g - average)
            # Rounding may leave less than nothing of the variance.
            size = xp.maximum(square - average * average, 0)
        step = g / (xp.sqrt(size) + float(options["eps"]))
        if momentum:
            buffer = state["momentum_buffer"]
            buffer *= momentum
            buffer += step
            step = buffer
        p.data -= lr * step


class Adagrad(Optimizer):
    """Adagrad (Duchi et al. 2011, figure 1 with diagonal matrices), in PyTorch's form.

    With g the gradient, t the step from 1 and s the sum of squares, initial_accumulator_value at first::

        g = g + weight_decay p
        s = s + g²
        p = p - lr / (1 + (t - 1) lr_decay) g / (sqrt(s) + eps)

    Parameters
    ----------
    params : iterable
        Parameters or groups; see `Optimizer`.
    lr : float
    lr_decay : float
    weight_decay : float
        The factor of an L2 penalty.
    initial_accumulator_value : float
    eps : float
    maximize : bool
        Whether to climb instead.

    Raises
    ------
    MiniAlexError
        If an option is out of range.
    """

    kept = ("step", "sum")

    def __init__(
        self,
        params: Iterable,
        lr: float = 1e-2,
        lr_decay: float = 0.0,
        weight_decay: float = 0.0,
        initial_accumulator_value: float = 0.0,
        eps: float = 1e-10,
        *,
        maximize: bool = False,
    ):
        options = {"lr": lr, "lr_decay": lr_decay, "weight_decay": weight_decay, "eps": eps}
        super().__init__(
            params, {**options, "initial_accumulator_value": initial_accumulator_value, "maximize": maximize}
        )

    def check(self, options: dict) -> None:
        super().check(options)
        for name in ("lr_decay", "initial_accumulator_value", "eps"):
            require_from(options, name, 0)

    def update(self, p: Any, state, options) -> None:
        xp = array_module(p.device)
        if not state:
            state.update(step=0, sum=xp.full_like(p.data, options["initial_accumulator_value"]))
        state["step"] += 1
        g = decayed(p, options["weight_decay"])
        state["sum"] += g * g
        rate = float(options["lr"]) / (1 + (state["step"] - 1) * float(options["lr_decay"]))
        p.data -= rate * (g / (xp.sqrt(state["sum"]) + float(options["eps"])))


class NAdam(Optimizer):
    """Adam with Nesterov's momentum (Dozat 2016), in PyTorch's form.

    With g the gradient, t the step from 1, and mu(t) = beta1 (1 - 0.96**(t momentum_decay) / 2)::

        g = g + weight_decay p            or, decoupled: p = p - lr weight_decay p
        m = beta1 m + (1 - beta1) g
        v = beta2 v + (1 - beta2) g²
        M = mu(1) ... mu(t)
        n = mu(t + 1) m / (1 - M mu(t + 1)) + (1 - mu(t)) g / (1 - M)
        p = p - lr n / (sqrt(v / (1 - beta2**t)) + eps)

    Parameters
    ----------
    params : iterable
        Parameters or groups; see `Optimizer`.
    lr : float
    betas : (float, float)
        The decay rates of the two moments.
    eps : float
    weight_decay : float
    momentum_decay : float
        How fast mu rises to beta1.
    decoupled_weight_decay : bool
        Weight decay that is not part of the gradient, as of `AdamW`.
    maximize : bool
        Whether to climb instead.

    Raises
    ------
    MiniAlexError
        If an option is out of range.
    """

    kept = ("step", "mu_product", "m", "v")

    def __init__(
        self,
        params: Iterable,
        lr: float = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum_decay: float = 4e-3,
        decoupled_weight_decay: bool = False,
        *,
        maximize: bool = False,
    ):
        options = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        options |= {"momentum_decay": momentum_decay, "decoupled_weight_decay": decoupled_weight_decay}
        super().__init__(params, options | {"maximize": maximize})

    def check(self, options: dict) -> None:
        super().check(options)
        require_betas(options)
        require_from(options, "eps", 0)
        require_from(options, "momentum_decay", 0)
        require_flag("decoupled_weight_decay", options["decoupled_weight_decay"])

    def update(self, p: Any, state, options) -> None:
        xp = array_module(p.device)
        if not state:
            state.update(step=0, mu_product=1.0, m=xp.zeros_like(p.data), v=xp.zeros_like(p.data))
        state["step"] += 1
        step, m, v = state["step"], state["m"], state["v"]
        lr, decay, eps = (float(options[name]) for name in ("lr", "weight_decay", "eps"))
        beta1, beta2 = map(float, options["betas"])
        mu, mu_next = (
            beta1 * (1 - 0.5 * 0.96 ** (t * float(options["momentum_decay"]))) for t in (step, step + 1)
        )
        state["mu_product"] *= mu
        product = state["mu_product"]
        if options["decoupled_weight_decay"]:
            p.data *= 1 - lr * decay
            g = p.grad.data
        else:
            g = decayed(p, decay)
        m += (1 - beta1) * (g - m)
        v *= beta2
        v += (1 - beta2) * (g * g)
        size = xp.sqrt(v / (1 - beta2**step)) + eps
        p.data -= lr * (1 - mu) / (1 - product) * (g / size)
        p.data -= lr * mu_next / (1 - product * mu_next) * (m / size)
