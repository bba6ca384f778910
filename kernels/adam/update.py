"""What the kernels that update in one pass share: the arrays they take, and Adam's formula in constants."""

import math


def supports(parameter, gradient, m, v, **_) -> bool | str:
    """Whether the arrays that are changed in place can be."""
    for name, array in (("parameter", parameter), ("m", m), ("v", v)):
        if not array.flags.c_contiguous:
            return f"{name} is not C-contiguous"
    return True


def step_constants(*, lr, beta1, beta2, eps, weight_decay, decoupled, step) -> tuple[float, ...]:
    """The rate, beta1 and what is left of it, beta2 and what is left of it, the scale of the deviation, eps,
    the decay that is added to the slope, and the share of the parameter that is kept.
    """
    return (
        lr / (1 - beta1**step),
        beta1,
        1 - beta1,
        beta2,
        1 - beta2,
        1 / math.sqrt(1 - beta2**step),
        eps,
        0 if decoupled else weight_decay,
        1 - lr * weight_decay if decoupled else 1,
    )
