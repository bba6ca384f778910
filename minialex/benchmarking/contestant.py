"""What a benchmark asks of a library, ours or another, to compare and time it."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np

from minialex.errors import MiniAlexError


class Contestant(ABC):
    """One library, ready to do a task."""

    @abstractmethod
    def results(self) -> list[np.ndarray]:
        """What the task computes, in float32, to be compared with the truth.

        For training the loss, then the gradient of each parameter in the order of ours, of a step
        without dropout that changes no parameter; for inference the logits.
        """

    @abstractmethod
    def run(self) -> object:
        """Do the task once, in full: this is what is timed. Dropout is on in training."""

    def forward(self) -> object:
        """Compute the output, keeping what a backward pass needs."""
        raise NotImplementedError(f"{type(self).__name__} has no passes of its own")

    def forward_and_backward(self) -> None:
        """The same, then the gradients of parameters and images, with the output as upstream gradient."""
        raise NotImplementedError(f"{type(self).__name__} has no passes of its own")


class Absent(MiniAlexError):
    """A contestant cannot take part; the message says why."""


def one_line(error: Exception) -> str:
    """The kind of an error and the first line of its message that says something."""
    text = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    return f"{type(error).__name__}: {text}"[:300]
