"""What the kernels of the update share: the arrays they take."""


def supports(parameter, gradient, velocity, *, call) -> bool | str:
    """Whether the arrays to be changed in place can be."""
    for name, array in (("parameter", parameter), ("velocity", velocity)):
        if array is not None and not array.flags.c_contiguous:
            return f"the {name} is not C-contiguous"
    return True
