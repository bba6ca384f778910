"""One run on a page: what was asked for, what came of it, where it errs, what its layers see and take."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np

from minialex.availability import choose_device
from minialex.benchmarking.machine import describe_machine
from minialex.data import ImageDataset, read_image
from minialex.errors import MiniAlexError, RunError
from minialex.files import write_text
from minialex.kernels.runtime.threads import num_threads
from minialex.models import Network, summarise
from minialex.nn.parts import named_parts
from minialex.plots import DARK, LIGHT, svg
from minialex.training.assembly import optimizer_arrays
from minialex.training.diagnosis import is_guessing
from minialex.training.evaluation import Evaluation, evaluate, predict_probabilities
from minialex.training.learning_curves import RunCurves, figure_of_run
from minialex.training.memory_budget import require_memory
from minialex.training.pictures import evaluated_numbers, first_filters
from minialex.training.report import mistakes, tiles
from minialex.training.report.feature_maps import LayerMaps, layer_maps
from minialex.training.report.layer_times import LayerTimes, time_layers
from minialex.training.report.page import render
from minialex.training.report.recorded_run import RecordedRun
from minialex.version import __version__

# A table of all pairs of classes is read at a glance up to here; of more, the most confused are listed.
_MATRIX_CLASSES = 25
_LISTED_PAIRS = 25
_WORST_ERRORS = 20
# With more classes than this the share of images whose class is among the first five is told, too.
_TOP_5_CLASSES = 20
_SHOWN_CLASSES = 3
_SHOWN_CHANNELS = 8
_FILTER_COLUMNS = 16
# How wide a dense layer's features are drawn, and one of them at most, in pixels.
_FEATURES_WIDTH, _FEATURE_WIDTH = 640, 24
# Of the ten crops, in the order of `TenCrop`, the one at the centre.
_CENTRAL_CROP = 4


@dataclass(frozen=True)
class _ChosenImage:
    """An image whose way through the network is shown."""

    title: str
    uri: str
    x: np.ndarray  # float32 (1, C, H, W), or (1, 10, C, H, W)
    truth: str | None
    guesses: list[tuple[str, float]]


@dataclass(frozen=True)
class PageOptions:
    """What to show on the page of a run, and where to compute it.

    Attributes
    ----------
    images : sequence of Path
        PNG or JPEG files whose way through the layers is shown; one image of the test part that the network
        gets right and the worst one it gets wrong, if none is named.
    checkpoint : {"best", "last"}
    data_dir : str, optional
        Where the data set's files are now, if they have moved.
    device : str, optional
        Where to compute, if not where the run did.
    """

    images: Sequence[Path] = ()
    checkpoint: str = "last"
    data_dir: str | None = None
    device: str | None = None


def write_run_page(
    run: RecordedRun,
    out: Path,
    options: PageOptions = PageOptions(),  # noqa: B008 - it is frozen
    say: Callable[[str], None] = lambda line: None,
) -> Evaluation:
    """Test a run's network again, time its layers, and write the page; return what the test gave.

    Parameters
    ----------
    run : RecordedRun
    out : Path
        The HTML file to write, atomically.
    options : PageOptions
    say : callable
        Is told what is going on.

    Raises
    ------
    MiniAlexError
        If the run, its checkpoint, its data or an image are missing or damaged, or the network computes
        numbers that are not finite.
    """
    device, _ = choose_device(options.device or run.device)
    network = run.folder.load_network(options.checkpoint).to(device)
    mode = "L" if network.input_shape[0] == 1 else "RGB"
    named = [(path.name, read_image(path, mode), None) for path in options.images]
    dataset = run.open_test_part(options.data_dir)
    say(f"testing on {len(dataset):,} images")
    with np.errstate(all="ignore"):  # an overflow shows in the result, and is refused there
        evaluation = evaluate(network, run.loader(dataset), device)
    if not math.isfinite(evaluation.loss) or not np.isfinite(evaluation.probabilities).all():
        raise RunError(
            f"the {options.checkpoint} checkpoint of {str(run.path)!r} gives numbers that are not finite; "
            "take the other one with --checkpoint, or train again with a lower learning rate"
        )
    # A loader may have left out damaged files; from here on an image's number is that of the evaluation.
    numbers = evaluated_numbers(dataset, len(evaluation.labels))
    tested = dataset if len(numbers) == len(dataset) else dataset.subset(numbers)
    shown = named or [
        (f"{run.tested_part.capitalize()} image {number:,}", *tested[number])
        for number in mistakes.example_images(evaluation)
    ]
    chosen = [_choose(run, network, device, *each) for each in shown]
    x = _one_crop(np.concatenate([each.x for each in chosen]))
    say("timing the layers")
    times, no_times = _times(run, options.checkpoint, tested, device)
    confusion = evaluation.confusion()
    summary = summarise(network)
    page = render(
        "report.html",
        version=__version__,
        made=datetime.now(),
        run=run,
        name=run.path.resolve().name,
        checkpoint=options.checkpoint,
        damaged=len(dataset) - len(tested),
        classes=run.classes,
        evaluation=evaluation,
        top_5=evaluation.top_k(5) if len(run.classes) > _TOP_5_CLASSES else None,
        guessing=is_guessing(evaluation.loss, len(run.classes)),
        pictures=_curve_pictures(run),
        confusion=confusion if len(run.classes) <= _MATRIX_CLASSES else None,
        confused=mistakes.most_confused(confusion, _LISTED_PAIRS),
        class_rows=_class_rows(confusion, run.classes),
        worst=list(_worst(evaluation, tested)),
        filters=_filters(network),
        chosen=chosen,
        has_crops=chosen[0].x.ndim == 5,
        layers=[_strips(layer, chosen) for layer in layer_maps(network, x, device, _SHOWN_CHANNELS)],
        summary=summary,
        times=times,
        timed_part=_timed_parts(network, [layer.name for layer in summary.layers]),
        no_times=no_times,
        processor=describe_machine()["processor"],
        threads=num_threads(),
        device=device,
        settings=list(flattened(run.settings)),
    )
    write_text(out, page)
    return evaluation


def flattened(table: dict, prefix: str = "") -> Iterator[tuple[str, str]]:
    """The values of nested tables with their dotted keys, as text; a list of tables is numbered from 1."""
    for key, value in table.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict):
            yield from flattened(value, f"{name}.")
        elif isinstance(value, list | tuple) and value and all(isinstance(each, dict) for each in value):
            for number, each in enumerate(value, 1):
                yield from flattened(each, f"{name}.{number}.")
        else:
            yield name, str(value).lower() if value is None or isinstance(value, bool) else str(value)


def _one_crop(x: np.ndarray) -> np.ndarray:
    """Images (N, C, H, W) as they are; of ten crops of each, (N, 10, C, H, W), the central one."""
    return np.ascontiguousarray(x[:, _CENTRAL_CROP]) if x.ndim == 5 else x


def _choose(
    run: RecordedRun, network: Network, device: str, title: str, image: np.ndarray, label: int | None
) -> _ChosenImage:
    """An image uint8 (C, H, W) with the network's guesses; the label is None for one that has none."""
    x = run.prepare(image)
    probabilities = predict_probabilities(network, x, device)[0]
    order = np.argsort(-probabilities, kind="stable")[:_SHOWN_CLASSES]
    return _ChosenImage(
        title=title,
        uri=tiles.as_uri(tiles.thumbnail(image), "image/png"),
        x=x,
        truth=None if label is None else run.classes[label],
        guesses=[(run.classes[i], float(probabilities[i])) for i in order],
    )


def _times(
    run: RecordedRun, checkpoint: str, dataset: ImageDataset, device: str
) -> tuple[LayerTimes | None, str | None]:
    """The times of the layers; or None and why there are none."""
    if device == "cuda":
        return None, "Times of single layers are measured on the processor only."
    # Another one, since the one that is evaluated is frozen.
    network = run.folder.load_network(checkpoint).unfreeze().to(device)
    batch = run.recipe.training.batch_size
    try:
        require_memory(network, batch, device, optimizer_arrays(run.recipe.optimizer))
    except MiniAlexError as error:
        return None, f"Not measured: {error}."
    x, labels = next(run.loader(dataset).batches(0))
    x = _one_crop(x)
    # As many images as the run takes a step, some of them twice if the test part has fewer.
    order = np.arange(batch) % len(x)
    return time_layers(network, x[order], labels[order], device), None


def _timed_parts(network: Network, names: Sequence[str]) -> dict[str, str]:
    """The part whose time stands in a layer's row: of the first layer in each part; others have none."""
    first = {}
    for part, _ in named_parts(network):
        inside = [name for name in names if name == part or name.startswith(f"{part}.") or not part]
        first.update(dict.fromkeys(inside[:1], part))
    return first


def _curve_pictures(run: RecordedRun) -> list[dict]:
    """The learning curves, each for light and for dark pages."""
    if not run.history:
        return []
    drawn = RunCurves(run.path.name, run.history, run.part)
    pictures = []
    for metric in ("accuracy", "loss"):
        light, dark = (
            tiles.as_uri(svg(figure_of_run(drawn, metric, theme=theme)), "image/svg+xml")
            for theme in (LIGHT, DARK)
        )
        pictures.append({"metric": metric, "light": light, "dark": dark})
    return pictures


def _class_rows(confusion: np.ndarray, classes: Sequence[str]) -> list[dict]:
    """Accuracy by class, the lowest first; classes without test images last."""
    rows = [
        {"name": name, "right": int(row[i]), "total": int(row.sum())}
        for i, (name, row) in enumerate(zip(classes, confusion, strict=True))
    ]
    for row in rows:
        row["accuracy"] = row["right"] / row["total"] if row["total"] else None
    return sorted(rows, key=lambda row: 2.0 if row["accuracy"] is None else row["accuracy"])


def _worst(evaluation: Evaluation, dataset: ImageDataset) -> Iterator[dict]:
    for number in evaluation.worst(_WORST_ERRORS):
        image, label = dataset[int(number)]
        predicted = evaluation.predictions[number]
        yield {
            "number": int(number),
            "uri": tiles.as_uri(tiles.thumbnail(image), "image/png"),
            "true": dataset.classes[label],
            "true_share": float(evaluation.probabilities[number, label]),
            "predicted": dataset.classes[predicted],
            "predicted_share": float(evaluation.probabilities[number, predicted]),
        }


def _filters(network: Network) -> dict | None:
    """The weights of the first convolution: in colour if it sees RGB, else plane by plane in grey."""
    found = first_filters(network)
    if found is None:
        return None
    weight, planes, limit = found
    if planes.ndim == 4:
        shares = planes / (2 * limit) + 0.5
        sheet = tiles.colour_sheet(np.rint(255 * shares).astype(np.uint8), _FILTER_COLUMNS)
    else:
        sheet = tiles.grey_strip(planes, -limit, limit, _FILTER_COLUMNS)
    return {"uri": tiles.as_uri(sheet, "image/png"), "shape": weight.shape, "limit": limit}


def _strips(layer: LayerMaps, chosen: Sequence[_ChosenImage]) -> dict:
    side = {} if layer.channels else {"side": min(_FEATURES_WIDTH, _FEATURE_WIDTH * layer.maps.shape[3])}
    strips = [
        {
            "image": image.title,
            "uri": tiles.as_uri(tiles.grey_strip(maps, layer.low, layer.high, **side), "image/png"),
        }
        for image, maps in zip(chosen, layer.maps, strict=True)
    ]
    return {"layer": layer, "strips": strips}
