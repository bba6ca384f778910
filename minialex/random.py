"""Random numbers: one seed, from which everything follows.

Initial weights are drawn from a NumPy generator. Dropout masks come from the counter-based Philox
4x32-10 (see `minialex.kernels.dropout`): each call has the seed and its own sequence number, the offset.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from minialex.checks import MAX_SEED, require_int
from minialex.errors import CheckpointError


@dataclass
class _State:
    seed: int = 0
    offset: int = 0

    @cached_property
    def generator(self) -> np.random.Generator:
        # Made when first asked for: that is when NumPy loads numpy.random.
        return np.random.Generator(np.random.PCG64(self.seed))


_state = _State()


def manual_seed(seed: int) -> None:
    """Restart all random numbers from a seed, 0 <= seed < 2**64."""
    global _state
    seed = require_int("seed", seed, 0, MAX_SEED)
    _state = _State(seed)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Start all random numbers from a seed for a ``with`` block, then continue as before it."""
    global _state
    before = _state
    manual_seed(seed)
    try:
        yield
    finally:
        _state = before


def state_dict() -> dict:
    """The state of all random numbers, in strings, ints and dictionaries, for `load_state_dict`."""
    return {
        "seed": _state.seed,
        "offset": _state.offset,
        "generator": _state.generator.bit_generator.state,
    }


def load_state_dict(state: dict) -> None:
    """Continue with the random numbers from where `state_dict` was called.

    Raises
    ------
    CheckpointError
        If it is not such a state; nothing is changed then.
    """
    global _state
    bits = np.random.PCG64(0)
    try:
        seed, offset = state["seed"], state["offset"]
        bits.state = state["generator"]
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise CheckpointError(f"the state of the random numbers is incomplete or wrong: {error!r}") from None
    for name, value in (("seed", seed), ("offset", offset)):
        require_int(f"{name} in the state of the random numbers", value, 0, MAX_SEED, error=CheckpointError)
    _state = _State(seed, offset)
    _state.generator = np.random.Generator(bits)


def generator() -> np.random.Generator:
    """The generator of initial weights."""
    return _state.generator


def next_stream() -> tuple[int, int]:
    """The (seed, offset) of the next dropout mask."""
    _state.offset += 1
    return _state.seed, _state.offset - 1
