"""What the kernels that update in one pass share: the arrays they take."""


def supports(parameter, gradient, velocity, *, call) -> bool | str:
    """Whether the arrays that are changed in place can be."""
    for name, array in (("parameter", parameter), ("velocity", velocity)):
        if array is not None and not array.flags.c_contiguous:
            return f"the {name} is not C-contiguous"
    return True
