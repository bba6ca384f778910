"""The recipes that come with MiniAlex, those in a user's own files, and changing single values of one."""

from __future__ import annotations

import copy
import difflib
import tomllib
from importlib import resources
from pathlib import Path

from minialex.errors import RecipeError
from minialex.training.recipes.recipe import Recipe

DEFAULT = "digits"
_SUFFIX = ".toml"
# Recipes are a few kilobytes; anything larger is not one.
_MAX_BYTES = 2**20


def list_recipes() -> list[str]:
    """The names of the recipes that come with MiniAlex, sorted."""
    files = resources.files("minialex.training.recipes").iterdir()
    return sorted(file.name.removesuffix(_SUFFIX) for file in files if file.name.endswith(_SUFFIX))


def recipe_text(name_or_file: str) -> str:
    """The text of a recipe: one that comes with MiniAlex, by its name, or else a TOML file, by its path.

    A path is told from a name by its ending in ``.toml``.

    Raises
    ------
    RecipeError
        If there is no such recipe, or no such file, or it is not UTF-8 text of a sensible size.
    """
    if not name_or_file.endswith(_SUFFIX):
        names = list_recipes()
        if name_or_file not in names:
            near = difflib.get_close_matches(name_or_file, names, n=1)
            hint = f"did you mean {near[0]}? " if near else ""
            raise RecipeError(
                f"recipe {name_or_file!r} is unknown; {hint}There are: {', '.join(names)}; "
                "a file of your own ends in .toml"
            )
        return (resources.files("minialex.training.recipes") / f"{name_or_file}{_SUFFIX}").read_text(
            encoding="utf-8"
        )
    path = Path(name_or_file)
    if not path.is_file():
        raise RecipeError(f"there is no recipe file {name_or_file!r}")
    if path.stat().st_size > _MAX_BYTES:
        raise RecipeError(f"{name_or_file!r} is too large to be a recipe")
    try:
        # Editors of Windows begin such files with a byte order mark, which TOML does not know.
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise RecipeError(f"{name_or_file!r} is not a recipe: it is not UTF-8 text") from None


def recipe_values(name_or_file: str) -> dict:
    """The tables of a recipe, not yet checked; see `recipe_text` for its name.

    Raises
    ------
    RecipeError
        If there is none, or it is not TOML.
    """
    text = recipe_text(name_or_file)
    try:
        return {"name": Path(name_or_file).name.removesuffix(_SUFFIX)} | tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise RecipeError(f"recipe {name_or_file!r} is not valid TOML: {error}") from None


def load_recipe(name_or_file: str) -> Recipe:
    """Read and check a recipe; see `recipe_text` for its name."""
    try:
        return Recipe.from_dict(recipe_values(name_or_file))
    except RecipeError as error:
        raise RecipeError(f"recipe {name_or_file!r}: {error}") from None


def parse_setting(text: str) -> tuple[str, object]:
    """Read ``optimizer.lr=0.1`` as a key and its value, which is written as in TOML.

    Raises
    ------
    RecipeError
        If there is no ``=``, the key is empty, or the value is not TOML.
    """
    key, equals, written = text.partition("=")
    key = key.strip()
    if not equals or not all(key.split(".")):
        raise RecipeError(f"a setting must be KEY=VALUE, such as optimizer.lr=0.1, not {text!r}")
    try:
        values = tomllib.loads(f"value = {written}")
    except (tomllib.TOMLDecodeError, RecursionError):
        values = {}
    if values.keys() != {"value"}:
        raise RecipeError(
            f"setting {key}: {written!r} is not a TOML value; numbers, true and [1, 2] stand as they are, "
            f"""text in quotes: '{key}="text"'"""
        )
    return key, values["value"]


def with_setting(values: dict, key: str, value: object) -> dict:
    """A copy of a recipe's tables with the value of one key, such as ``optimizer.lr``, replaced.

    Raises
    ------
    RecipeError
        If what stands before a dot is not a table.
    """
    changed = copy.deepcopy(values)
    *tables, last = key.split(".")
    table = changed
    for depth, name in enumerate(tables, 1):
        table = table.setdefault(name, {})
        if not isinstance(table, dict):
            raise RecipeError(f"setting {key}: {'.'.join(tables[:depth])} is not a table")
    table[last] = value
    return changed
