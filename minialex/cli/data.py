"""`minialex data`: fetch data sets, check one in a folder, and divide a folder of images for training."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from minialex.cli.options import as_json
from minialex.cli.output import print_json, print_line
from minialex.data.registry import DATASETS, SOURCES

_FROM_FOLDERS = [name for name, source in SOURCES.items() if source.needs_folder]
_FETCHED = [name for name, dataset in DATASETS.items() if dataset.remote is not None]


@click.group("data", short_help="Fetch, check and divide data sets.")
def command() -> None:
    """Fetch data sets, check one in a folder, and divide a folder of images for training."""


@command.command("split", short_help="Divide a folder of classes into train and val.")
@click.argument("source", type=click.Path(path_type=Path))
@click.argument("target", type=click.Path(path_type=Path))
@click.option("--validation", default=0.1, show_default=True, help="The share of each class to validate on.")
@click.option("--seed", default=0, show_default=True, help="Which of the possible divisions.")
@click.option("--link", is_flag=True, help="Make hard links instead of copies; they take no room.")
@click.option(
    "--on-error",
    type=click.Choice(("stop", "skip")),
    default="stop",
    show_default=True,
    help="What to do about a file that is damaged or not an image.",
)
@as_json
def split(
    source: Path, target: Path, validation: float, seed: int, link: bool, on_error: str, as_json: bool
) -> None:
    """Copy the images of SOURCE, a folder with one sub-folder for each class, to TARGET/train and TARGET/val.

    Every image is decoded first. TARGET is there as a whole or, if anything goes wrong, not at all.
    """
    from minialex.data import split_folder

    with _progress() as progress:
        done = split_folder(
            source,
            target,
            validation=validation,
            seed=seed,
            link=link,
            on_error=on_error,
            progress=progress,
        )
    if as_json:
        print_json(
            {
                "source": str(source),
                "target": str(target),
                "seed": seed,
                "train": done.train,
                "validation": done.validation,
                "skipped": _as_objects(done.skipped),
            }
        )
        return
    for path, reason in done.skipped:
        print_line(f"left out {path}: {reason}")
    width = max(map(len, done.train))
    for name, count in done.train.items():
        print_line(f"class {name:{width}}  {count:,} to train, {done.validation[name]:,} to validate")
    print_line(
        f"{sum(done.train.values()):,} images in {target / 'train'}, {sum(done.validation.values()):,} in "
        f"{target / 'val'}, {len(done.skipped):,} files left out"
    )


@command.command("download", short_help="Fetch a data set, verified and resumable.")
@click.argument("name", type=click.Choice(_FETCHED))
@click.option("--to", required=True, type=click.Path(path_type=Path), help="The folder to put it into.")
@click.option(
    "--url", help="The address of another folder with the same files, instead of the usual servers."
)
@as_json
def download(name: str, to: Path, url: str | None, as_json: bool) -> None:
    """Fetch the data set NAME into a folder, check its SHA-256, and unpack it.

    An interrupted download goes on where it stopped when the command is given again.
    """
    from minialex.data.download import download as fetch

    def say(line: str) -> None:
        print_line(line, err=True)

    with _progress(of_bytes=True) as progress:
        folder = fetch(name, to, url=url, progress=progress, notice=say)
    if as_json:
        print_json({"data": name, "folder": str(folder)})
    else:
        print_line(DATASETS[name].remote.title)
        print_line(f"in {folder}")


@command.command("check", short_help="Read every image of a folder.")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--data",
    type=click.Choice(_FROM_FOLDERS),
    default="folder",
    show_default=True,
    metavar="NAME",
    help=f"What FOLDER holds: {', '.join(_FROM_FOLDERS)}.",
)
@as_json
def check(folder: Path, data: str, as_json: bool) -> None:
    """Read every image of FOLDER and count the classes; exit with 1 if anything is damaged.

    Of image files the damaged ones are named. FOLDER has one sub-folder for each class then, or the folders
    train and val that have them. Of another data set it has the files, as for `minialex train --data-dir`.
    """
    if SOURCES[data].has_image_files:
        _check_images(folder, as_json)
    else:
        _check_arrays(folder, data, as_json)


def _check_arrays(folder: Path, data: str, as_json: bool) -> None:
    import numpy as np

    parts = []
    for part in SOURCES[data].open(folder):
        counts = np.bincount(part.labels, minlength=len(part.classes)).tolist()
        parts.append((part, dict(zip(part.classes, counts, strict=True))))
    if as_json:
        print_json(
            {
                "folder": str(folder),
                "data": data,
                "parts": [
                    {
                        "part": part.name,
                        "images": len(part),
                        "shape": part.images.shape[1:],
                        "classes": counts,
                    }
                    for part, counts in parts
                ],
                "damaged": [],
            }
        )
        return
    for part, counts in parts:
        shape = " x ".join(map(str, part.images.shape[1:]))
        print_line(f"{part.name}: {len(part):,} images of {shape} in {len(part.classes):,} classes")
        _print_classes(counts)


def _print_classes(counts: dict[str, int]) -> None:
    width = max(map(len, counts))
    for name, count in counts.items():
        print_line(f"  class {name:{width}}  {count:,}")


def _check_images(folder: Path, as_json: bool) -> None:
    from minialex.data import ImageFolder, open_image_folders
    from minialex.data.image_folder import find_damaged, has_parts
    from minialex.errors import DataError

    parts = open_image_folders(folder) if has_parts(folder) else (ImageFolder(folder),)
    paths = [path for part in parts for path in part.paths]
    damaged = []
    with _progress() as progress:
        for done, (path, reason) in enumerate(find_damaged(paths), 1):
            if reason is not None:
                damaged.append((path, reason))
            progress("checking", done, len(paths))
    if as_json:
        print_json(
            {
                "folder": str(folder),
                "parts": [
                    {"folder": str(part.root), "images": len(part), "classes": part.counts()}
                    for part in parts
                ],
                "damaged": _as_objects(damaged),
            }
        )
    else:
        for part in parts:
            print_line(f"{part.root}: {len(part):,} images in {len(part.classes):,} classes")
            _print_classes(part.counts())
        for path, reason in damaged:
            print_line(f"damaged {path}: {reason}")
    if damaged:
        raise DataError(f"{len(damaged):,} of {len(paths):,} images in {folder} are damaged")


@contextmanager
def _progress(of_bytes: bool = False) -> Iterator[Callable[[str, int, int], None]]:
    """Show a bar for each kind of work, with its rate and the time left, where there is a terminal."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        Task,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )
    from rich.text import Text

    class FilesPerSecond(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(f"{task.speed or 0:,.0f} files/s")

    amount = (
        (DownloadColumn(), TransferSpeedColumn()) if of_bytes else (MofNCompleteColumn(), FilesPerSecond())
    )
    console = Console(stderr=True)
    bars = Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        *amount,
        TimeRemainingColumn(),
        TextColumn("left"),
        console=console,
        disable=not console.is_terminal,
    )
    tasks = {}

    def report(what: str, done: int, total: int) -> None:
        if what not in tasks:
            tasks[what] = bars.add_task(what)
        bars.update(tasks[what], completed=done, total=total)

    with bars:
        yield report


def _as_objects(files: list[tuple[str, str]] | tuple[tuple[str, str], ...]) -> list[dict[str, str]]:
    return [{"path": path, "reason": reason} for path, reason in files]
