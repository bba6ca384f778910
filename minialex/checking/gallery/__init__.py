"""A gallery of wrong gradients: each is a right one, with one line changed.

They are what `check_vjp` is tested with, and what the documentation shows. The functions are small, and
written for reading: none is a kernel of the engine.

    for mistake in mistakes():
        print(mistake.name, mistake.right_line, mistake.wrong_line)
        check_vjp(mistake.forward, mistake.wrong_vjp, mistake.inputs)  # raises GradcheckError
"""

from minialex.checking.gallery import (
    activation,
    adaptive_pooling,
    arithmetic,
    convolution,
    distance_loss,
    elementary,
    group_normalisation,
    joining,
    label_loss,
    linear,
    loss,
    normalisation,
    other_convolutions,
    padding,
    pooling,
    reduction,
    shaped_activation,
    statistics,
    windows,
)
from minialex.checking.gallery.mistake import KINDS, Mistake

__all__ = ["KINDS", "Mistake", "mistakes"]


def mistakes(seed: int = 0) -> list[Mistake]:
    """All mistakes of the gallery, with inputs drawn from a seed."""
    modules = (
        *(convolution, other_convolutions, pooling, adaptive_pooling, windows, padding),
        *(normalisation, group_normalisation, linear),
        *(activation, shaped_activation, elementary),
        *(loss, label_loss, distance_loss),
        *(arithmetic, reduction, statistics, joining),
    )
    return [m for module in modules for subject in module.SUBJECTS for m in subject.mistakes(seed)]
