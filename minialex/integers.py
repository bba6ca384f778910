"""Integer arithmetic."""


def ceil_div(a: int, b: int) -> int:
    """The quotient a / b rounded up, for b > 0."""
    return -(-a // b)


def round_up(a: int, b: int) -> int:
    """The smallest multiple of b that is at least a."""
    return ceil_div(a, b) * b
