"""The parameters of a batch normalisation."""

from dataclasses import dataclass

from minialex.kernels.contract.call import Parameters, calls_of


@calls_of("batch_norm")
@dataclass(frozen=True)
class BatchNormCall(Parameters):
    """The axis of the features, and eps, which is added to the variance."""

    axis: int
    eps: float

    DIRECTIONS = ("forward", "backward", "evaluate")
