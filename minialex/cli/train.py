"""`minialex train`: train a model and leave a run folder."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from minialex.cli.interruption import resumable
from minialex.cli.options import MODEL, as_json, device_option
from minialex.cli.output import print_json, print_line
from minialex.data.registry import SOURCES
from minialex.training.recipes import DEFAULT, Recipe, load_recipe, parse_setting, recipe_values, with_setting

_DEFAULTS = load_recipe(DEFAULT)
# Options that stand for a key of the recipe.
_KEYS = {
    "model": "model.name",
    "data": "data.source",
    "epochs": "training.epochs",
    "batch_size": "training.batch_size",
    "lr": "optimizer.lr",
}


def _of_recipe(value) -> str:
    return f"{value}, or the recipe's"


@click.command("train", short_help="Train a model and leave a run folder.")
@click.option(
    "--recipe",
    default=DEFAULT,
    show_default=True,
    metavar="NAME",
    help="One of `minialex recipes`, or a TOML file of your own.",
)
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    help="Change a value of the recipe, written as in TOML: --set data.train_samples=256. Can be repeated.",
)
@click.option("--model", show_default=_of_recipe(_DEFAULTS.model.name), help=MODEL)
@click.option(
    "--data",
    show_default=_of_recipe(_DEFAULTS.data.source),
    help="; ".join(f"{name}: {source.description}" for name, source in SOURCES.items()) + ".",
)
@click.option("--data-dir", show_default="none", help="The folder of a data set that reads one.")
@click.option(
    "--epochs", type=int, show_default=_of_recipe(_DEFAULTS.training.epochs), help="Passes over the data."
)
@click.option(
    "--batch-size", type=int, show_default=_of_recipe(_DEFAULTS.training.batch_size), help="Images a step."
)
@click.option(
    "--lr",
    type=float,
    show_default=_of_recipe(_DEFAULTS.optimizer.lr),
    help="The highest learning rate; the recipe's schedule says how it changes.",
)
@click.option(
    "--seed",
    type=int,
    default=0,
    show_default=True,
    help="What initial weights, the order of the images, augmentation and dropout follow from.",
)
@device_option("cpu")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    show_default="a new one in runs/",
    help="The run folder to make.",
)
@click.option(
    "--resume",
    type=click.Path(path_type=Path),
    metavar="RUN",
    help="Resume the run in this folder where it was interrupted, bit for bit. Of the other options "
    "only --data-dir, if the data has moved, --model, if it is one of your own, and --json go with it.",
)
@as_json
@click.pass_context
def command(context: click.Context, resume: Path | None, as_json: bool, **options) -> None:
    """Train a model, test it after every epoch, and leave a run folder with settings, metrics,
    checkpoints and pictures. The last line holds the accuracy after the last epoch.
    """
    from minialex.errors import TrainingError

    if resume is None:
        result = _train(options, as_json)
    else:
        _refuse_other_options(context)
        result = _resume(resume, options["model"], options["data_dir"], as_json)
    if result.guessing and not result.failed:
        print_line(f"minialex: warning: {result.guessing}", err=True)
    if result.stopped:
        print_line(f"training ended early: {result.stopped}", err=as_json)
    if as_json:
        print_json(result.figures)
    else:
        print_line(
            f"{result.part} accuracy {result.accuracy * 100:.2f} %; everything is in {result.run.path}"
        )
    if result.failed:
        sys.stdout.flush()
        raise TrainingError(result.guessing)


def _train(options: dict, as_json: bool):
    from minialex.availability import choose_device
    from minialex.cli.progress import TrainingProgress
    from minialex.models import load_model
    from minialex.training.run import prepare, train
    from minialex.training.run_folder import RunSettings, default_folder

    if options["model"] is not None:
        options["model"] = load_model(options["model"]).name
    recipe = _chosen_recipe(options)
    settings = RunSettings(recipe, options["data_dir"], options["seed"], options["device"])
    out = options["out"] or default_folder(recipe)
    with resumable(out):
        device, device_note = choose_device(settings.device)
        settings, parts = prepare(settings)
        say = _speaker(as_json)
        _introduce(settings, parts, device, device_note, say)
        with TrainingProgress(recipe.training.epochs, say, parts.validation_name) as progress:
            return train(settings, parts, out, (progress,))


def _resume(path: Path, model: str | None, data_dir: str | None, as_json: bool):
    from minialex.availability import choose_device
    from minialex.cli.progress import TrainingProgress
    from minialex.errors import RunError
    from minialex.models import load_model
    from minialex.training.run import open_data, resume
    from minialex.training.run_folder import RunFolder
    from minialex.training.state import load_latest_state

    own = None if model is None else load_model(model).name
    run = RunFolder.open(path)
    if own not in (None, run.recipe.model.name):
        raise RunError(f"the run {str(path)!r} trains {run.recipe.model.name}, not {own}")
    if run.result() is not None:
        raise RunError(f"the run {str(path)!r} is finished; there is nothing to go on with")
    with resumable(path, resumed=True):
        device, device_note = choose_device(run.device)
        state, problem = load_latest_state(path)
        if problem:
            print_line(f"minialex: warning: {problem}", err=True)
        parts = open_data(run, data_dir)
        say = _speaker(as_json)
        _introduce(run.settings, parts, device, device_note, say)
        epochs = run.recipe.training.epochs
        begun = f", {state.batch:,} of {state.batches:,} batches of the next" if state.batch else ""
        say(f"goes on after {state.epoch} of {epochs} epochs{begun}")
        with TrainingProgress(epochs, say, parts.validation_name) as progress:
            return resume(run, parts, state, (progress,))


def _chosen_recipe(options: dict) -> Recipe:
    """The recipe that the options name, with the values that they change."""
    values = recipe_values(options["recipe"])
    for text in options["settings"]:
        values = with_setting(values, *parse_setting(text))
    for option, key in _KEYS.items():
        if options[option] is not None:
            values = with_setting(values, key, options[option])
    return Recipe.from_dict(values)


def _refuse_other_options(context: click.Context) -> None:
    """A resumed run has its settings: what would change them is a mistake."""
    for parameter in context.command.params:
        given = context.get_parameter_source(parameter.name) is click.core.ParameterSource.COMMANDLINE
        if given and parameter.name not in ("resume", "data_dir", "model", "as_json"):
            raise click.UsageError(
                f"{parameter.opts[0]} does not go with --resume: a run goes on as it began"
            )


def _speaker(as_json: bool):
    """A printer of lines for people: to standard error where standard output is for a program."""

    def say(line: str) -> None:
        print_line(line, err=as_json)

    return say


def _millions(count: int) -> str:
    return f"{count / 1e6:,.0f}" if count >= 10**7 else f"{count / 1e6:.2g}"


def _introduce(settings, parts, device: str, device_note: str, say) -> None:
    """Say what will be trained on what, and check that there is memory for it."""
    from minialex.models import get_architecture, summarise
    from minialex.training.assembly import optimizer_arrays
    from minialex.training.memory_budget import gigabytes, require_memory

    recipe = settings.recipe
    network = get_architecture(recipe.model.name).build(len(parts.classes))
    summary = summarise(network)
    # An epoch of fewer images than a batch is one batch of them.
    batch = min(recipe.training.batch_size, len(parts.train))
    needed = require_memory(network, batch, device, optimizer_arrays(recipe.optimizer))
    if recipe.name != DEFAULT:
        say(f"{recipe.name}: {recipe.title}")
    say(
        f"{recipe.model.name}: {summary.trainable_parameters:,} parameters, "
        f"{_millions(summary.macs)} million products an image; {device_note}"
    )
    held = [(parts.validation, parts.validation_name)]
    if parts.test is not parts.validation:
        held.append((parts.test, "test"))
    counted = [f"{len(parts.train):,} training", *(f"{len(part):,} {name}" for part, name in held)]
    listed = ", ".join(counted[:-1]) + f" and {counted[-1]} images"
    pipeline = recipe.transforms.pipeline("train")
    say(f"{recipe.data.source}: {listed}; {pipeline.describe(parts.source_shape)}")
    say(f"a step takes about {gigabytes(needed)} of memory")
