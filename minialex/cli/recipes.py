"""`minialex recipes`: the training recipes there are."""

from __future__ import annotations

import click

from minialex.cli.options import as_json
from minialex.cli.output import print_json, print_line, print_text


@click.command("recipes", short_help="List the training recipes, or show one.")
@click.argument("name", required=False)
@as_json
def command(name: str | None, as_json: bool) -> None:
    """List the training recipes, with what each follows and reports; or print the file of the one called
    NAME, to read or to begin one of your own with. `minialex train --recipe NAME` runs it.
    """
    from minialex.training.recipes import list_recipes, load_recipe, recipe_text

    if name is not None:
        if as_json:
            print_json(load_recipe(name).to_dict())
        else:
            print_text(recipe_text(name).removesuffix("\n"))
        return
    recipes = [load_recipe(each) for each in list_recipes()]
    if as_json:
        print_json([recipe.to_dict() for recipe in recipes])
        return
    for recipe in recipes:
        print_line(f"{recipe.name}: {recipe.title}")
        print_line(f"    follows   {recipe.document}")
        print_line(f"    reported  {recipe.report.document}")
        print_line(f"    measured  {recipe.report.measured}")
