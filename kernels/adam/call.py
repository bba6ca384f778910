"""The parameters of a step of Adam or AdamW, and the constants of its formula."""

import math
from dataclasses import dataclass

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

    def constants(self) -> tuple[float, ...]:
        """What a kernel in one pass is told.

        The rate, beta1 and what is left of it, beta2 and what is left of it, the scale of the deviation, eps,
        the decay that is added to the slope, and the share of the parameter that is kept.
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
