"""Training recipes: one TOML file for each system that a document describes, and the strict reader of them.

recipe = load_recipe("002_mnist_bn")
recipe.optimizer.lr, recipe.training.epochs
"""

from minialex.training.recipes.library import (
    DEFAULT,
    list_recipes,
    load_recipe,
    parse_setting,
    recipe_text,
    recipe_values,
    with_setting,
)
from minialex.training.recipes.recipe import Recipe

__all__ = [
    "DEFAULT",
    "Recipe",
    "list_recipes",
    "load_recipe",
    "parse_setting",
    "recipe_text",
    "recipe_values",
    "with_setting",
]
