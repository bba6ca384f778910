"""Arithmetic of whole numbers."""


def ceil_div(a: int, b: int) -> int:
    """The quotient a / b rounded up, for b > 0."""
    return -(-a // b)
