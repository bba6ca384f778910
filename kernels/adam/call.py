"""The parameters of a step of Adam or AdamW, and the constants of its formula."""

from __future__ import annotations

import math
from dataclasses import dataclass

from minialex.checks import require_int
from minialex.errors import KernelError
from minialex.kernels.contract.call import Parameters, calls_of


@calls_of("adam")
@dataclass(frozen=True)
class AdamCall(Parameters):
    """The parameters under the paper's names; `decoupled` is AdamW's weight decay, and step counts from 1."""

    lr: float
    beta1: float
    beta2: float
    eps: float
    weight_decay: float
    decoupled: bool
    step: int

    DIRECTIONS = ("update",)
    ALIKE = True

    @classmethod
    def of_arrays(cls, direction: str, arrays: tuple, **parameters) -> AdamCall:
        """The call, its step checked: at step 0 the formula divides by 0."""
        call = cls.of(**parameters)
        require_int("adam: step", call.step, 1, error=KernelError)
        return call

    def constants(self) -> tuple[float, ...]:
        """The constants that a one-pass kernel takes.

        The rate, beta1 and 1 - beta1, beta2 and 1 - beta2, the scale of the square root, eps, the decay that
        is added to the gradient, and the factor by which the parameter decays.
        """
        return (
            self.lr / (1 - self.beta1**self.step),
            self.beta1,
            1 - self.beta1,
            self.beta2,
            1 - self.beta2,
            1 / math.sqrt(1 - self.beta2**self.step),
            self.eps,
            0 if self.decoupled else self.weight_decay,
            1 - self.lr * self.weight_decay if self.decoupled else 1,
        )
