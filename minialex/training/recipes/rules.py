"""What the values of a recipe may be: each field of a table is declared with its rule."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, ClassVar

from minialex.checks import Bounds, in_words, is_int, is_within, number_in_words
from minialex.errors import RecipeError


@dataclass(frozen=True)
class Rule:
    """What is allowed, in words and as a test; of a list, its items have a rule as well."""

    allowed: str
    accepts: Callable[[Any], bool]
    items: Rule | None = None

    def check(self, path: str, value: object) -> None:
        """Raise `RecipeError` unless the value at a path, such as ``optimizer.lr``, is allowed."""
        if not self.accepts(value):
            raise wrong(path, value, self.allowed)
        if self.items is not None:
            for i, item in enumerate(value):
                self.items.check(f"{path}[{i}]", item)


def wrong(path: str, value: object, allowed: str) -> RecipeError:
    """The error of a value that is not allowed."""
    return RecipeError(f"{path} must be {allowed}, not {in_words(value)}")


ANY_TEXT = Rule("text", lambda value: isinstance(value, str))
TEXT = Rule("text that is not empty", lambda value: isinstance(value, str) and value != "")
FLAG = Rule("true or false", lambda value: isinstance(value, bool))


def one_of(*words: str) -> Rule:
    """One of some words."""
    return Rule(f"one of {', '.join(words)}", lambda value: isinstance(value, str) and value in words)


def integer(low: int, high: int) -> Rule:
    """An integer from `low` to `high`."""
    return Rule(f"an integer from {low:,} to {high:,}", lambda value: is_int(value, low, high))


def number(low: float, high: float = math.inf, bounds: Bounds = "[)") -> Rule:
    """A number of an interval; never a NaN."""
    return Rule(number_in_words(low, high, bounds), lambda value: is_within(value, low, high, bounds))


def list_of(items: Rule, allowed: str, length: int | None = None) -> Rule:
    """A list of `length` items, or of one or more."""

    def accepts(value: object) -> bool:
        return isinstance(value, list | tuple) and (len(value) == length if length else len(value) > 0)

    return Rule(allowed, accepts, items)


def option(rule: Rule, default: object = MISSING) -> Any:
    """A field of a table with its rule. With the default None it may have no value."""
    return field(default=default, metadata={"rule": rule})


class Table:
    """A table of a recipe: its fields are checked by their rules, and its lists are tuples.

    Attributes
    ----------
    path : str
        Its key in the recipe.
    kind : str
        Its ``name``, where the table says by it which of several classes it is.
    """

    path: ClassVar[str]
    kind: ClassVar[str] = ""

    def __post_init__(self):
        for each in fields(self):
            value = getattr(self, each.name)
            if value is None and each.default is None:
                continue
            rule = each.metadata["rule"]
            rule.check(f"{self.path}.{each.name}", value)
            if rule.items is not None:
                object.__setattr__(self, each.name, tuple(value))
