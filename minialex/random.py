"""Random numbers: one seed, from which everything follows.

Initial weights are drawn from a NumPy generator. Dropout masks come from the counter-based Philox
4x32-10 (see `minialex.kernels.dropout`): each call has the seed and its own number, the offset.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np

from minialex.checks import MAX_SEED, is_int, require_int
from minialex.errors import CheckpointError


@dataclass
class _State:
    seed: int = 0
    offset: int = 0
    generator: np.random.Generator = field(default_factory=lambda: np.random.Generator(np.random.PCG64(0)))


_state = _State()


def manual_seed(seed: int) -> None:
    """Start all random numbers anew from a seed, 0 <= seed < 2**64."""
    global _state
    seed = require_int("seed", seed, 0, MAX_SEED)
    _state = _State(seed, 0, np.random.Generator(np.random.PCG64(seed)))


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Start all random numbers from a seed for a ``with`` block, then go on as before it."""
    global _state
    before = _state
    manual_seed(seed)
    try:
        yield
    finally:
        _state = before


def state_dict() -> dict:
    """Where all random numbers stand, in strings, ints and dictionaries: what `load_state_dict` takes."""
    return {
        "seed": _state.seed,
        "offset": _state.offset,
        "generator": _state.generator.bit_generator.state,
    }


def load_state_dict(state: dict) -> None:
    """Go on with the random numbers from where `state_dict` was called.

    Raises
    ------
    CheckpointError
        If it is not such a state; then nothing is changed.
    """
    global _state
    bits = np.random.PCG64(0)
    try:
        seed, offset = state["seed"], state["offset"]
        bits.state = state["generator"]
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise CheckpointError(f"the state of the random numbers is incomplete or wrong: {error!r}") from None
    for name, value in (("seed", seed), ("offset", offset)):
        if not is_int(value, 0, MAX_SEED):
            raise CheckpointError(f"the state of the random numbers has {name}={value!r}, no int below 2**64")
    _state = _State(seed, offset, np.random.Generator(bits))


def generator() -> np.random.Generator:
    """The generator of initial weights."""
    return _state.generator


def next_stream() -> tuple[int, int]:
    """The (seed, offset) of the next dropout mask."""
    _state.offset += 1
    return _state.seed, _state.offset - 1
