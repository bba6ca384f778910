"""The parameters of a step of stochastic gradient descent."""

from dataclasses import dataclass

from minialex.kernels.contract.call import Parameters, calls_of


@calls_of("sgd")
@dataclass(frozen=True)
class SgdCall(Parameters):
    """The learning rate, the momentum, the weight decay, and whether the momentum is Nesterov's."""

    lr: float
    momentum: float
    weight_decay: float
    nesterov: bool

    DIRECTIONS = ("update",)
    ALIKE = True
