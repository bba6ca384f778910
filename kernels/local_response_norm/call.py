"""The parameters of a local response normalisation."""

from dataclasses import dataclass
from typing import Any

from minialex.checks import in_words, is_int, require_number
from minialex.errors import ShapeError
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
    ALIKE = True

    def __post_init__(self):
        require_odd(self.size)
        for name in ("alpha", "beta", "k"):
            require_number(f"local_response_norm: {name}", getattr(self, name), 0, error=ShapeError)


def require_odd(size: Any) -> None:
    """Raise `ShapeError` unless the window has an odd number of channels."""
    if not is_int(size, 1) or size % 2 == 0:
        raise ShapeError(
            f"local_response_norm: size must be an odd integer 1 or more, not {in_words(size)}; "
            "libraries disagree on where the window of an even size lies"
        )
