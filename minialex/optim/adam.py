"""Adam and AdamW."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from minialex import kernels
from minialex.checks import in_words, require_number
from minialex.devices import array_module
from minialex.errors import MiniAlexError
from minialex.kernels.adam import UPDATE, AdamCall
from minialex.optim.optimizer import Optimizer


class Adam(Optimizer):
    """Adam (Kingma and Ba 2015); the formulas are in `minialex.kernels.adam`.

    Parameters
    ----------
    params : iterable
        Parameters or groups; see `Optimizer`.
    lr : float
        The learning rate.
    betas : (float, float)
        The decay rates of the two moments.
    eps : float
        Added to the square root of the second moment.
    weight_decay : float
        The factor of an L2 penalty, added to the gradient.
    maximize : bool
        Whether to climb instead.
    """

    decoupled = False
    kept = ("step", "m", "v")

    def __init__(
        self,
        params: Iterable,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
    ):
        super().__init__(
            params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "maximize": maximize}
        )

    def check(self, options: dict) -> None:
        super().check(options)
        betas = options["betas"]
        if not isinstance(betas, tuple | list) or len(betas) != 2:
            raise MiniAlexError(f"betas must be two numbers, not {in_words(betas)}")
        for i, beta in enumerate(betas):
            require_number(f"betas[{i}]", beta, 0, 1, "[)")
        require_number("eps", options["eps"], 0, bounds="(]")

    def update(self, p: Any, state, options) -> None:
        if not state:
            xp = array_module(p.device)
            state.update(step=0, m=xp.zeros_like(p.data), v=xp.zeros_like(p.data))
        state["step"] += 1
        call = AdamCall.of(
            lr=options["lr"],
            beta1=options["betas"][0],
            beta2=options["betas"][1],
            eps=options["eps"],
            weight_decay=options["weight_decay"],
            decoupled=self.decoupled,
            step=state["step"],
        )
        kernels.run(UPDATE, p.device, p.data, p.grad.data, state["m"], state["v"], call=call)


class AdamW(Adam):
    """Adam with decoupled weight decay, not part of the gradient (Loshchilov and Hutter 2019)."""

    decoupled = True

    def __init__(
        self,
        params: Iterable,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        *,
        maximize: bool = False,
    ):
        super().__init__(params, lr, betas, eps, weight_decay, maximize=maximize)
