"""Stochastic gradient descent."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from minialex import kernels
from minialex.checks import require_flag, require_number
from minialex.devices import array_module
from minialex.errors import MiniAlexError
from minialex.kernels.sgd import UPDATE, SgdCall
from minialex.optim.optimizer import Optimizer


class SGD(Optimizer):
    """Stochastic gradient descent with momentum; the formulas are in `minialex.kernels.sgd`.

    Parameters
    ----------
    params : iterable
        Parameters or groups; see `Optimizer`.
    lr : float
    momentum : float
        0 <= momentum < 1; 0.9 in the paper.
    weight_decay : float
        The factor of an L2 penalty; 5e-4 in the paper.
    nesterov : bool
        Nesterov's momentum, in the form of Sutskever et al. 2013 that PyTorch and Keras use.
    maximize : bool
    """

    kept = ("velocity",)

    def __init__(
        self,
        params: Iterable,
        lr: float = 1e-3,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        maximize: bool = False,
    ):
        options = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "nesterov": nesterov}
        super().__init__(params, {**options, "maximize": maximize})

    def check(self, options: dict) -> None:
        super().check(options)
        require_number("momentum", options["momentum"], 0, 1, "[)")
        if require_flag("nesterov", options["nesterov"]) and not options["momentum"]:
            raise MiniAlexError(f"nesterov must be False where momentum is 0, not {options['nesterov']!r}")

    def update(self, p: Any, state, options) -> None:
        if options["momentum"] and "velocity" not in state:
            state["velocity"] = array_module(p.device).zeros_like(p.data)
        call = SgdCall.of(**{name: options[name] for name in ("lr", "momentum", "weight_decay", "nesterov")})
        kernels.run(UPDATE, p.device, p.data, p.grad.data, state.get("velocity"), call=call)
