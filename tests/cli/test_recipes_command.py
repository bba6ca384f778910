"""`minialex recipes`, run as a user runs it."""

import json
import tomllib
from pathlib import Path

from minialex.training.recipes import list_recipes

RECIPES = Path(__file__).parents[2] / "minialex" / "training" / "recipes"


def test_every_recipe_is_listed_with_what_it_reaches(minialex):
    done = minialex("recipes")
    assert done.returncode == 0, done.stderr
    names = [line.partition(":")[0] for line in done.stdout.splitlines() if not line.startswith(" ")]
    assert names == sorted(path.stem for path in RECIPES.glob("*.toml"))
    assert len(names) >= 16
    for part in (
        "reported  test loss 0.4867, accuracy 0.8395",
        "follows   Krizhevsky et al. 2012",
        "measured",
    ):
        assert part in done.stdout


def test_a_recipe_is_shown_as_its_file(minialex):
    shown = minialex("recipes", "003_flowers").stdout
    assert shown == (RECIPES / "003_flowers.toml").read_text(encoding="utf-8")


def test_json_has_the_values_of_the_files(minialex):
    listed = json.loads(minialex("recipes", "--json").stdout)
    assert [each["name"] for each in listed] == list_recipes()
    one = json.loads(minialex("recipes", "004_slim", "--json").stdout)
    assert one == next(each for each in listed if each["name"] == "004_slim")
    written = tomllib.loads((RECIPES / "004_slim.toml").read_text(encoding="utf-8"))
    for table in ("model", "optimizer", "training"):
        assert one[table].items() >= written[table].items()


def test_an_unknown_recipe_is_refused(assert_refused):
    assert_refused("recipes", "002_mnist", says=("002_mnist", "did you mean 002_mnist"))
