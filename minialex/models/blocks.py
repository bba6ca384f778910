"""Rows that hold rows: a sequence, a residual block, branches, a dense connection, an auxiliary head.

Each kind of block has a module, which computes, and a row, which makes the module for an input's shape. The
layers of a block are attributes of its module under the names of their rows, as in torchvision.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from itertools import chain
from typing import Self

from minialex import nn
from minialex.errors import ModelError
from minialex.models.architecture import Layer, Row, Rows, Shape, make_all, named, rewritten
from minialex.models.auxiliary import AuxiliaryHead
from minialex.operations import cat, chunk
from minialex.tensor import Tensor


@dataclass(frozen=True)
class Block(Row):
    """A row whose fields are tables of rows."""

    def _tables(self) -> dict[str, Rows]:
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        return {name: value for name, value in values.items() if isinstance(value, tuple)}

    def layers(self) -> Iterator[Layer]:
        return chain.from_iterable(row.layers() for rows in self._tables().values() for row in rows)

    def rewritten(self, change: Callable[[Layer], Row | None]) -> Self:
        return replace(self, **{name: rewritten(rows, change) for name, rows in self._tables().items()})


class _Parts(nn.Module):
    """A module with several groups of named modules."""

    def __init__(self, *groups: Mapping[str, nn.Module]):
        super().__init__()
        for name, module in chain.from_iterable(group.items() for group in groups):
            self.add_module(name, module)

    def _run(self, names: tuple[str, ...], x: Tensor) -> Tensor:
        for name in names:
            x = self._modules[name](x)
        return x


@dataclass(frozen=True)
class Sequence(Block):
    """Rows one after the other."""

    rows: Rows

    def make(self, x: Shape, num_classes: int) -> tuple[nn.Module, Shape]:
        modules, y = make_all(self.rows, x, num_classes)
        return nn.Sequential(modules), y


def sequence(*rows: Row | Mapping[str, Row], **others: Row) -> Sequence:
    """Rows one after the other, named by their numbers, or by a mapping or keywords."""
    if len(rows) == 1 and isinstance(rows[0], Mapping):
        return Sequence(named(rows[0], **others))
    numbered = {str(i): row for i, row in enumerate(rows)}
    return Sequence(named(numbered, **others))  # pyright: ignore[reportArgumentType]


class Residual(_Parts):
    """body(x) + shortcut(x), then perhaps ReLU (He, Zhang, Ren and Sun 2015, figure 2).

    Parameters
    ----------
    body : dict of modules
        One applied after the other.
    shortcut : dict of modules
        The same; without any, x itself is added.
    end : dict of modules
        What the sum goes through.
    """

    def __init__(self, body: dict[str, nn.Module], shortcut: dict[str, nn.Module], end: dict[str, nn.Module]):
        super().__init__(body, shortcut, end)
        self._body, self._shortcut, self._end = tuple(body), tuple(shortcut), tuple(end)

    def forward(self, x: Tensor) -> Tensor:
        return self._run(self._end, self._run(self._body, x) + self._run(self._shortcut, x))


@dataclass(frozen=True)
class ResidualBlock(Block):
    """The row of `Residual`."""

    body: Rows
    shortcut: Rows
    end: Rows

    def make(self, x: Shape, num_classes: int) -> tuple[nn.Module, Shape]:
        body, y = make_all(self.body, x, num_classes)
        shortcut, other = make_all(self.shortcut, x, num_classes)
        if y != other:
            raise ModelError(f"a residual block adds {y} and {other}; its shortcut must give the same shape")
        end, y = make_all(self.end, y, num_classes)
        return Residual(body, shortcut, end), y


def residual(body: Rows, shortcut: Rows = (), end: Rows = ()) -> ResidualBlock:
    """A block that adds its input to what its body makes of it; see `Residual`."""
    return ResidualBlock(body, shortcut, end)


class Concatenation(_Parts):
    """What several branches make of the same input, one after the other along the channels.

    Parameters
    ----------
    start : dict of modules
        One applied after the other, before the branches part.
    branches : dict of modules
    end : dict of modules
        Applied to the channels of all branches.
    split : bool
        Whether each branch gets its own equal part of the channels, and not all of them.
    """

    def __init__(
        self,
        start: dict[str, nn.Module],
        branches: dict[str, nn.Module],
        end: dict[str, nn.Module],
        split: bool,
    ):
        super().__init__(start, branches, end)
        self._start, self._branches, self._end = tuple(start), tuple(branches), tuple(end)
        self._split = split

    def forward(self, x: Tensor) -> Tensor:
        x = self._run(self._start, x)
        count = len(self._branches)
        inputs = chunk(x, count, dim=1) if self._split else (x,) * count
        parts = [self._modules[name](part) for name, part in zip(self._branches, inputs, strict=True)]
        return self._run(self._end, cat(parts, dim=1))


@dataclass(frozen=True)
class Branches(Block):
    """The row of `Concatenation`."""

    start: Rows
    branches: Rows
    end: Rows
    split: bool

    def make(self, x: Shape, num_classes: int) -> tuple[nn.Module, Shape]:
        start, x = make_all(self.start, x, num_classes)
        if self.split:
            if x[1] % len(self.branches):
                raise ModelError(f"{x[1]} channels cannot be split among {len(self.branches)} branches")
            x = (x[0], x[1] // len(self.branches), *x[2:])
        made = {row.name: row.make(x, num_classes) for row in self.branches}
        shapes = [y for _, y in made.values()]
        if len({(y[0], *y[2:]) for y in shapes}) != 1:
            raise ModelError(f"branches must give images of one size, not {', '.join(map(str, shapes))}")
        y = (shapes[0][0], sum(y[1] for y in shapes), *shapes[0][2:])
        end, y = make_all(self.end, y, num_classes)
        return Concatenation(start, {name: module for name, (module, _) in made.items()}, end, self.split), y


def branches(
    rows: Mapping[str, Row] | None = None,
    *,
    start: Rows = (),
    end: Rows = (),
    split: bool = False,
    **others: Row,
) -> Branches:
    """Branches, by name, whose channels are concatenated; see `Concatenation`."""
    return Branches(start, named(rows, **others), end, split)


class DenseConnection(_Parts):
    """x and body(x), concatenated along the channels (Huang, Liu, van der Maaten and Weinberger 2017)."""

    def __init__(self, body: dict[str, nn.Module]):
        super().__init__(body)
        self._body = tuple(body)

    def forward(self, x: Tensor) -> Tensor:
        return cat([x, self._run(self._body, x)], dim=1)


@dataclass(frozen=True)
class DenselyConnected(Block):
    """The row of `DenseConnection`."""

    body: Rows

    def make(self, x: Shape, num_classes: int) -> tuple[nn.Module, Shape]:
        body, y = make_all(self.body, x, num_classes)
        if (x[0], *x[2:]) != (y[0], *y[2:]):
            raise ModelError(f"a dense connection joins images of one size, not {x} and {y}")
        return DenseConnection(body), (x[0], x[1] + y[1], *x[2:])


def densely_connected(**body: Row) -> DenselyConnected:
    """Layers that add channels to those they are given; see `DenseConnection`."""
    return DenselyConnected(named(body))


@dataclass(frozen=True)
class Auxiliary(Block):
    """The row of `AuxiliaryHead`. The row below it gets what it was given itself."""

    rows: Rows

    def make(self, x: Shape, num_classes: int) -> tuple[nn.Module, Shape]:
        modules, _ = make_all(self.rows, x, num_classes)
        return AuxiliaryHead(modules), x


def auxiliary(**rows: Row) -> Auxiliary:
    """A classifier beside the trunk, for training; see `minialex.models.auxiliary`."""
    return Auxiliary(named(rows))
