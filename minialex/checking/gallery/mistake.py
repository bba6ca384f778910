"""What the gallery is made of: a right gradient, and copies of it in which one line is wrong."""

from __future__ import annotations

import inspect
import linecache
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np

Arrays = tuple[np.ndarray, ...]


@dataclass(frozen=True, repr=False)
class Mistake:
    """A wrong gradient, the right one, and where to compare them.

    Attributes
    ----------
    name : str
        What is wrong, after the operation and a colon.
    operation : str
        Such as ``"conv2d"``.
    kind : str
        One of `KINDS`.
    forward : callable
        ``forward(*inputs)`` gives an array.
    right_vjp, wrong_vjp : callable
        ``vjp(upstream, *inputs)`` gives a tuple with the gradient of each input, None for constants.
    inputs : tuple of array
        Floating-point ones are differentiated; others are constants.
    right_line, wrong_line : str
        The one line in which the two differ.
    why : str
        How the mistake comes about, or why it is easily overlooked.
    """

    name: str
    operation: str
    kind: str
    forward: Callable[..., np.ndarray]
    right_vjp: Callable[..., Arrays]
    wrong_vjp: Callable[..., Arrays]
    inputs: Arrays
    right_line: str
    wrong_line: str
    why: str

    def __repr__(self) -> str:
        return f"Mistake({self.name!r})"


KINDS = {
    "term": "a term of the derivative is missing, or one too many is there",
    "factor": "a factor is missing, too many, or not quite right",
    "index": "the right values stand in the wrong places, or are read from there",
    "accumulation": "contributions are overwritten or not added up, or added up along the wrong axes",
    "constant": "a constant of the forward pass is used differently, or not at all",
    "upstream": "the upstream gradient is not used, or not linearly",
    "precision": "computed in float32 on the way",
    "memory": "memory is read before it is written, changed, or shared",
    "random": "another result at every call",
    "layout": "right for contiguous inputs only",
    "form": "the wrong shape or dtype, no gradient, or not a number",
}


@dataclass
class Subject:
    """A function with its right gradient, from which wrong ones are made.

    Parameters
    ----------
    operation : str
    forward, vjp : callable
        Functions of a module, so that the source of `vjp` can be read.
    draw : callable
        ``draw(generator)`` gives the inputs.
    name : str
        What distinguishes it from other subjects of the operation, if there are some.
    options : dict
        Keyword arguments of both functions.
    """

    operation: str
    forward: Callable[..., np.ndarray]
    vjp: Callable[..., Arrays]
    draw: Callable[[np.random.Generator], Sequence[np.ndarray]]
    name: str = ""
    options: dict = field(default_factory=dict)

    def __post_init__(self):
        self._changes: list[tuple[str, str, str, str, str]] = []

    def wrong(self, mistakes: str) -> None:
        """Add mistakes, a paragraph for each: its kind and name, the change of one line, and why it is made.

        factor: broadcast gradient averaged
        - ga = (g * b).sum(axis=1, keepdims=True)
        + ga = (g * b).mean(axis=1, keepdims=True)
        What is used twice has two gradients, which add up.
        """
        for paragraph in inspect.cleandoc(mistakes).split("\n\n"):
            title, right, wrong, *why = paragraph.splitlines()
            kind, _, name = title.partition(": ")
            change = right.removeprefix("- "), wrong.removeprefix("+ ")
            self._changes.append((name, kind, *change, " ".join(why)))

    def mistakes(self, seed: int) -> list[Mistake]:
        """All mistakes that were added, with inputs drawn from a seed."""
        title = f"{self.operation}, {self.name}" if self.name else self.operation
        inputs = tuple(self.draw(np.random.default_rng(seed)))
        forward, right_vjp = (partial(f, **self.options) for f in (self.forward, self.vjp))
        return [
            Mistake(
                f"{title}: {name}",
                self.operation,
                kind,
                forward,
                right_vjp,
                partial(with_line_replaced(self.vjp, right_line, wrong_line), **self.options),
                inputs,
                right_line,
                wrong_line,
                why,
            )
            for name, kind, right_line, wrong_line, why in self._changes
        ]


def with_line_replaced(function: Callable, right_line: str, wrong_line: str) -> Callable:
    """The same function, but for one line of its source.

    Parameters
    ----------
    function : callable
        Written in a module, without decorators.
    right_line : str
        A whole line without its indentation, which the source has once.
    wrong_line : str
        What stands there instead. It may use what its module knows, and ``np``.
    """
    lines = inspect.getsource(function).splitlines(keepends=True)
    found = [i for i, line in enumerate(lines) if line.strip() == right_line]
    if len(found) != 1:
        raise ValueError(f"{function.__qualname__} has the line {right_line!r} {len(found)} times, not once")
    lines[found[0]] = lines[found[0]].replace(right_line, wrong_line)
    source = "".join(lines)
    file = f"<{function.__qualname__} with {wrong_line!r}>"
    # So that tracebacks, and whoever asks `inspect` for the source, see the wrong line.
    linecache.cache[file] = (len(source), None, lines, file)
    names = {"np": np, **function.__globals__}
    exec(compile(source, file, "exec"), names)
    return names[function.__name__]
