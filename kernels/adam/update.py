"""What the kernels of the update share: the arrays they take."""


def supports(parameter, gradient, m, v, *, call) -> bool | str:
    """Whether the arrays to be changed in place can be."""
    for name, array in (("parameter", parameter), ("m", m), ("v", v)):
        if not array.flags.c_contiguous:
            return f"{name} is not C-contiguous"
    return True
