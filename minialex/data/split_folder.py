"""Dividing a folder of classes into one to train on and one to validate on."""

import errno
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from minialex.checks import MAX_SEED, require_choice, require_int, require_share
from minialex.data.dataset import ON_ERROR
from minialex.data.image_folder import class_folders, files_below, find_damaged, has_parts, is_image_name
from minialex.data.permutation import SPLIT, permutation
from minialex.errors import DamagedSample, DataError

TRAIN, VALIDATION = "train", "val"


@dataclass(frozen=True)
class FolderSplit:
    """What `split_folder` did.

    Attributes
    ----------
    train, validation : dict
        The number of images of each class.
    skipped : tuple of (str, str)
        The files that were left out, each with the reason.
    """

    train: dict[str, int]
    validation: dict[str, int]
    skipped: tuple[tuple[str, str], ...]


def split_folder(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    validation: float = 0.1,
    seed: int = 0,
    link: bool = False,
    on_error: str = "stop",
    progress: Callable[[str, int, int], None] | None = None,
) -> FolderSplit:
    """Copy the images of a folder of classes to `target/train/<class>` and `target/val/<class>`.

    Of the n images of a class, int(n * validation) are for validation, which is the rule of the script
    `spile_data.py` that goes with many published AlexNets. Which ones is a pure function of their
    paths and the seed, the same on every machine.

    Every image is decoded first, so that training meets no damaged one. The target is made under
    another name and gets its own in one step: it is there as a whole, or not at all.

    Parameters
    ----------
    source : path-like
        A folder with one sub-folder for each class, as `ImageFolder` reads it.
    target : path-like
        The folder to make: not there yet, or empty, and not inside `source`.
    validation : float
        The share to validate on, between 0 and 1, both excluded.
    seed : int
        Which of the possible divisions; 0 to 2**64 - 1.
    link : bool
        Whether to make hard links instead of copies, which takes no room. Both names then stand for
        the same file, and the folders must be on one file system.
    on_error : {"stop", "skip"}
        What to do about a file in a class's folder that is damaged or not an image: raise, or leave it
        out. Hidden files, and files directly in `source`, are left out in any case.
    progress : callable, optional
        Called with what is being done, how many files are done, and how many there are.

    Returns
    -------
    FolderSplit

    Raises
    ------
    DamagedSample
        If `on_error` is "stop" and there is such a file: the first one.
    DataError
        If an argument is not as described, or a class has too few images to leave at least one on
        either side.
    """
    source, target = Path(source), Path(target).resolve()
    require_share("validation", validation, error=DataError)
    require_choice("on_error", on_error, ON_ERROR, error=DataError)
    seed = require_int("seed", seed, 0, MAX_SEED, error=DataError)
    _check_places(source, target)
    classes = class_folders(source)
    report = progress or (lambda what, done, total: None)

    skipped: list[tuple[str, str]] = []
    images = _images(source, classes, on_error, skipped, report)
    parts: dict[str, tuple[list[str], list[str]]] = {}
    for position, each in enumerate(classes):
        parts[each] = _divide(each, images[each], validation, seed, position)
    _write(source, target, parts, link, report)
    return FolderSplit(
        {each: len(train) for each, (train, _) in parts.items()},
        {each: len(chosen) for each, (_, chosen) in parts.items()},
        tuple(skipped),
    )


def _check_places(source: Path, target: Path) -> None:
    if has_parts(source):
        raise DataError(f"{source} is divided already: it has a folder {TRAIN} and one to validate on")
    if target.is_relative_to(source.resolve()):
        raise DataError(
            f"target {target} must not be inside the source {source}, whose classes it would join"
        )
    if target.exists() and not (target.is_dir() and not any(target.iterdir())):
        raise DataError(f"target {target} must not be there yet, or be an empty folder; name another")


def _images(
    source: Path,
    classes: tuple[str, ...],
    on_error: str,
    skipped: list[tuple[str, str]],
    report: Callable[[str, int, int], None],
) -> dict[str, list[str]]:
    """Return the whole images of each class, as paths; put the other files into `skipped`."""

    def refuse(path: str, reason: str) -> None:
        if on_error == "stop":
            raise DamagedSample(path, f"{reason}. Remove it, or skip such files")
        skipped.append((path, reason))

    named: list[tuple[str, str]] = []
    for each in classes:
        for path in files_below(source / each):
            if is_image_name(path):
                named.append((each, path))
            else:
                refuse(path, "its name is not that of an image")
    images: dict[str, list[str]] = {each: [] for each in classes}
    checked = find_damaged(path for _, path in named)
    for done, ((each, _), (path, reason)) in enumerate(zip(named, checked, strict=True), 1):
        if reason is None:
            images[each].append(path)
        else:
            refuse(path, reason)
        report("checking", done, len(named))
    return images


def _divide(
    name: str, paths: list[str], validation: float, seed: int, position: int
) -> tuple[list[str], list[str]]:
    """Return the paths to train and to validate on, each in the order in which they were."""
    wanted = int(len(paths) * validation)
    if not 1 <= wanted < len(paths):
        raise DataError(
            f"class {name} has {len(paths):,} images, of which int({len(paths)} * {validation}) = {wanted} "
            "would be for validation: each side needs at least one, so add images or choose another share"
        )
    chosen = set(permutation(len(paths), seed=seed, draw=position, use=SPLIT)[:wanted].tolist())
    train = [path for number, path in enumerate(paths) if number not in chosen]
    return train, [paths[number] for number in sorted(chosen)]


def _write(
    source: Path,
    target: Path,
    parts: dict[str, tuple[list[str], list[str]]],
    link: bool,
    report: Callable[[str, int, int], None],
) -> None:
    total = sum(len(train) + len(chosen) for train, chosen in parts.values())
    done = 0
    put = _link if link else shutil.copyfile
    target.parent.mkdir(parents=True, exist_ok=True)
    # On the same file system as the target, and hidden: a killed process leaves only this behind.
    with tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent) as temporary:
        # Only its owner may enter the temporary folder; one made inside it has the usual permissions.
        whole = Path(temporary) / target.name
        for pair in parts.values():
            for part, paths in zip((TRAIN, VALIDATION), pair, strict=True):
                for path in paths:
                    place = whole / part / Path(path).relative_to(source)
                    place.parent.mkdir(parents=True, exist_ok=True)
                    put(path, place)
                    done += 1
                    report("linking" if link else "copying", done, total)
        # An empty folder of that name gives way.
        whole.rename(target)


def _link(path: str, place: Path) -> None:
    try:
        # The file itself, where the source is a symbolic link.
        os.link(os.path.realpath(path), place)
    except OSError as error:
        if error.errno not in (errno.EXDEV, errno.EPERM, errno.ENOTSUP, errno.EMLINK):
            raise
        raise DataError(
            f"cannot make a hard link to {path} ({error.strerror}); copy the images instead"
        ) from None
