"""The parameters of a local response normalisation."""

from dataclasses import dataclass

from minialex.kernels.contract.call import Parameters, calls_of


@calls_of("local_response_norm")
@dataclass(frozen=True)
class ResponseNormCall(Parameters):
    """The channels of a window, and the constants of d = k + alpha * sum, y = x / d ** beta."""

    size: int
    alpha: float
    beta: float
    k: float

    DIRECTIONS = ("forward", "backward")
