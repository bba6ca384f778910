"""Where labels at the ends of lines go, so that none hides another."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


def spread(positions: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Move positions until neighbours are at least `gap` apart and all between `low` and `high`.

    Of all ways to do it without changing their order this one has the smallest sum of squared moves:
    with the k-th smallest position lowered by k * gap, "at least `gap` apart" becomes "not falling", and
    the nearest sequence that does not fall is found by pooling adjacent violators (Ayer et al. 1955), then
    cut off at the bounds.

    Parameters
    ----------
    positions : sequence of float
        In any order; equal ones keep the order they have here.
    gap : float
        At least 0.
    low, high : float
        Where there is too little room between them, the positions start at `low` and go beyond `high`.

    Returns
    -------
    list of float
        In the order of `positions`.
    """
    order = sorted(range(len(positions)), key=lambda i: positions[i])
    pools: list[tuple[float, int]] = []  # mean, members
    for rank, i in enumerate(order):
        mean, members = positions[i] - rank * gap, 1
        while pools and pools[-1][0] >= mean:
            before, others = pools.pop()
            mean = (before * others + mean * members) / (others + members)
            members += others
        pools.append((mean, members))
    levels = [mean for mean, members in pools for _ in range(members)]
    highest = high - (len(positions) - 1) * gap
    moved = [0.0] * len(positions)
    for rank, (i, level) in enumerate(zip(order, levels, strict=True)):
        moved[i] = max(low, min(level, highest)) + rank * gap
    return moved


def distinct_names(paths: Sequence[Path]) -> list[str]:
    """Name folders by their last parts: one part, or for all as many as tell them apart.

    Folders that are the same one, however they are written, keep the same name.
    """
    resolved = [path.resolve() for path in paths]
    deepest = max((len(path.parts) for path in resolved), default=0)
    for parts in range(1, deepest + 1):
        names = ["/".join(path.parts[-parts:]) for path in resolved]
        if len(set(names)) == len(set(resolved)):
            break
    return names


def shortened(text: str, length: int) -> str:
    """At most `length` characters, with the middle left out where there are more."""
    if len(text) <= length:
        return text
    head = (length - 1) // 2
    return f"{text[:head]}…{text[len(text) - (length - 1 - head) :]}"
