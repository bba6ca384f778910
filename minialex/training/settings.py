"""What a training run is asked to do: the settings, their defaults and their limits."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields

from minialex.data import MNIST_MEAN, MNIST_STD, Preprocessing
from minialex.errors import MiniAlexError, RunError
from minialex.models import get_architecture
from minialex.training.sources import SOURCES


@dataclass(frozen=True)
class Settings:
    """The settings of a run; the command line's options of the same names say what each is.

    Raises
    ------
    MiniAlexError
        If a value is out of range, or a model or data set is unknown.
    """

    model: str = "alexnet_mnist28_bn"
    data: str = "digits"
    data_dir: str | None = None
    epochs: int = 5
    batch_size: int = 64
    lr: float = 1e-3
    seed: int = 0
    device: str = "cpu"

    def __post_init__(self):
        get_architecture(self.model)
        if self.data not in SOURCES:
            raise MiniAlexError(f"data={self.data!r} is unknown; there are: {', '.join(SOURCES)}")
        _require_int("epochs", self.epochs, 1, 10**6)
        _require_int("batch_size", self.batch_size, 1, 10**6)
        _require_int("seed", self.seed, 0, 2**64 - 1)
        if not isinstance(self.lr, int | float) or not (math.isfinite(self.lr) and self.lr > 0):
            raise MiniAlexError(f"lr={self.lr!r} should be a number above 0")

    def to_dict(self) -> dict:
        """The settings as JSON holds them."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: object) -> Settings:
        """Read settings that were written by `to_dict`, from a file that anyone may have edited."""
        known = {field.name for field in fields(cls)}
        if not isinstance(values, dict) or set(values) != known:
            raise RunError(f"the settings should have exactly the entries {', '.join(sorted(known))}")
        if not all(isinstance(values[name], str) for name in ("model", "data", "device")):
            raise RunError("the settings model, data and device should be strings")
        return cls(**values)

    def preprocessing(self) -> Preprocessing:
        """How images of digits become inputs of the model: its size and channels, MNIST's statistics."""
        return Preprocessing.for_model(
            get_architecture(self.model).input_shape, mean=MNIST_MEAN, std=MNIST_STD
        )


def _require_int(name: str, value, low: int, high: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise MiniAlexError(f"{name}={value!r} should be an int, {low} to {high}")
