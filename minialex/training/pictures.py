"""The pictures of a run: first images, learning curves, confusion matrix, filters, errors, predictions."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from minialex import nn
from minialex.data.dataset import ImageDataset
from minialex.errors import DamagedSample, DataError
from minialex.integers import ceil_div
from minialex.models import Network
from minialex.plots import COLOURS, GREY, save, shortened, style
from minialex.training.evaluation import Evaluation
from minialex.training.learning_curves import RunCurves, figure_of_run
from minialex.training.metrics import EpochMetrics

# More would not fit into a PNG file that viewers open.
MAX_PREDICTIONS = 200

# Images are drawn at a few hundred pixels; larger ones are reduced first, to keep hundreds in memory.
_SHOWN_PIXELS = 400


def draw_first(path: Path, dataset: ImageDataset, count: int = 9) -> None:
    """The first images of a data set with their classes, before anything is done to them.

    Nine make the 3 x 3 grid of the tf.keras document, "AlexNet for handwritten digits": grey images in
    grey, small ones without interpolation. (Its own code casts to int8 on the way, which turns the bright
    half of the values negative; that is not followed.)

    Parameters
    ----------
    path : Path
        The PNG file to write.
    dataset : ImageDataset
        Its images may differ in size.
    count : int
        At most this many images.
    """
    samples = []
    for number in range(len(dataset)):
        # Training counts and names what is damaged; here the next image takes its place.
        with suppress(DamagedSample):
            samples.append(dataset[number])
        if len(samples) == count:
            break
    columns = _square_columns(len(samples))
    with style(grid=False):
        ratio = _ratio([image for image, _ in samples])
        figure, grid = _image_grid(len(samples), columns, width=1.75, height=1.75 * ratio + 0.25)
        for axes, (image, label) in zip(grid, samples, strict=False):
            _show(axes, image, ratio)
            axes.set_title(shortened(dataset.classes[label], 22), fontsize=10)
        save(figure, path)


def draw_curves(path: Path, history: Sequence[EpochMetrics], part: str = "test") -> None:
    """Loss and accuracy by epoch, in training and on the images that were measured after each epoch.

    Parameters
    ----------
    path : Path
        The PNG file to write.
    history : sequence of EpochMetrics
        One or more.
    part : {"test", "validation"}
        What to call those images: the data set's test part, or a share held back from training.
    """
    run = RunCurves("", [metrics.to_dict() for metrics in history], part)
    save(figure_of_run(run, "loss", "accuracy"), path)


def draw_confusion(path: Path, confusion: np.ndarray, classes: Sequence[str], part: str = "test") -> None:
    """How often each class was taken for which; int (classes, classes), rows being the true ones."""
    count = len(classes)
    side = max(3.2, min(12.0, 2.2 + 0.42 * count))
    with style(grid=False):
        figure = Figure(figsize=(side + 0.6, side), layout="constrained")
        axes = figure.subplots()
        shares = confusion / np.maximum(1, confusion.sum(axis=1, keepdims=True))
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        if count <= 30:
            names = [shortened(name, 20) for name in classes]
            is_long = max(map(len, names)) > 3
            axes.set_xticks(
                range(count), names, rotation=45 if is_long else 0, ha="right" if is_long else "center"
            )
            axes.set_yticks(range(count), names)
            for i, j in np.argwhere(confusion):
                colour = "white" if shares[i, j] > 0.5 else "black"
                axes.text(j, i, str(confusion[i, j]), ha="center", va="center", color=colour, fontsize=8)
        right = np.trace(confusion)
        axes.set(
            xlabel="predicted",
            ylabel="true",
            title=f"{right:,} of {confusion.sum():,} {part} images are right",
        )
        save(figure, path)


def first_filters(network: Network) -> tuple[np.ndarray, np.ndarray, float] | None:
    """The weights of the first convolution, and how to show them; None if there is no convolution.

    Returns
    -------
    weight : float32 (O, C, KH, KW)
    planes : float32 (O, KH, KW, 3) if the network sees RGB, else (O * C, KH, KW)
        The same numbers, as one picture each.
    limit : float
        The largest absolute value; 1 if all are 0.
    """
    first = next((layer for layer in network.modules() if isinstance(layer, nn.Conv2d)), None)
    if first is None:
        return None
    weight = first.weight.numpy()
    planes = weight.transpose(0, 2, 3, 1) if weight.shape[1] == 3 else weight.reshape(-1, *weight.shape[2:])
    return weight, planes, float(np.abs(weight).max()) or 1.0


def draw_filters(path: Path, network: Network) -> None:
    """The weights of the first convolution: in colour if it sees RGB, else plane by plane in grey.

    Without a convolution there is no picture.
    """
    found = first_filters(network)
    if found is None:
        return
    weight, planes, limit = found
    is_rgb = planes.ndim == 4
    columns = int(np.ceil(np.sqrt(len(planes) * 1.6)))
    with style(grid=False):
        figure, grid = _image_grid(len(planes), columns, width=0.55, height=0.55)
        for axes, plane in zip(grid, planes, strict=False):
            if is_rgb:
                axes.imshow(plane / (2 * limit) + 0.5)
            else:
                axes.imshow(plane, cmap="gray", vmin=-limit, vmax=limit)
        kernel = " x ".join(str(n) for n in weight.shape[2:])
        figure.suptitle(
            f"First layer: {len(weight)} filters of {kernel}, grey is 0, range ±{limit:.2g}", fontsize=10
        )
        save(figure, path)


def draw_worst(
    path: Path, evaluation: Evaluation, dataset: ImageDataset, count: int = 25, part: str = "test"
) -> None:
    """The wrong predictions to which the network gave the true class the lowest probability.

    `dataset` is what was evaluated, in its order; damaged samples may have been left out.
    """
    worst = evaluation.worst(count)
    wrong = int((evaluation.predictions != evaluation.labels).sum())
    numbers = evaluated_numbers(dataset, len(evaluation.labels))
    images = [thumbnail(dataset[numbers[index]][0]) for index in worst]
    with style(grid=False):
        ratio, columns = _ratio(images), min(5, max(1, len(worst)))
        figure, grid = _image_grid(len(worst), columns, width=1.8, height=1.8 * ratio + 0.3)
        for axes, index, image in zip(grid, worst, images, strict=False):
            _show(axes, image, ratio)
            predicted = evaluation.predictions[index]
            true, taken = (
                shortened(dataset.classes[label], 14) for label in (evaluation.labels[index], predicted)
            )
            share = evaluation.probabilities[index, predicted]
            gap = "\n" if len(true) + len(taken) > 9 else " "
            axes.set_title(f"{true}, taken for{gap}{taken} ({share:.0%} sure)", fontsize=8)
        shown = f", the worst {len(worst)} shown" if wrong > len(worst) else ""
        figure.suptitle(
            f"{wrong:,} of {len(evaluation.labels):,} {part} images are wrong{shown}", fontsize=10
        )
        save(figure, path)


def draw_predictions(
    path: Path,
    images: Sequence[np.ndarray],
    probabilities: np.ndarray,
    classes: Sequence[str],
    captions: Sequence[str],
    bars: int = 5,
) -> None:
    """Images with the most probable class and its probability, as the flower document shows them.

    Beneath each image the most probable classes stand as bars, the first of them in blue.

    Parameters
    ----------
    path : Path
        The PNG file to write.
    images : sequence of uint8 (C, H, W)
        N images as a viewer shows them; `thumbnail` keeps many in little memory.
    probabilities : float (N, classes)
    classes : sequence of str
    captions : sequence of str
        What to write beneath each image, such as its file's name.
    bars : int
        At most this many classes.

    Raises
    ------
    DataError
        If there are more than `MAX_PREDICTIONS` images.
    """
    if len(images) > MAX_PREDICTIONS:
        raise DataError(
            f"a picture shows up to {MAX_PREDICTIONS} images, got {len(images)}; draw several pictures"
        )
    bars = min(bars, len(classes))
    columns = min(4, _square_columns(len(images)))
    rows = ceil_div(len(images), columns)
    # In inches: every position is known, so that no layout has to be solved for hundreds of axes.
    cell_width, margin, title_height, caption_height, bars_height = 3.1, 0.15, 0.45, 0.3, 0.2 * bars
    width, ratio = cell_width - 2 * margin, _ratio(images)
    cell_height = title_height + width * ratio + caption_height + bars_height + margin
    with style(grid=False):
        figure = Figure(figsize=(cell_width * columns, cell_height * rows))

        def add_axes(left: float, bottom: float, height: float) -> Axes:
            box = (left / cell_width / columns, bottom / cell_height / rows)
            axes = figure.add_axes((*box, width / cell_width / columns, height / cell_height / rows))
            axes.axis("off")
            return axes

        for n, (image, row, caption) in enumerate(zip(images, probabilities, captions, strict=True)):
            left = n % columns * cell_width + margin
            bottom = (rows - 1 - n // columns) * cell_height + margin
            upper = add_axes(left, bottom + bars_height + caption_height, width * ratio)
            order = np.argsort(-row, kind="stable")[:bars]
            _show(upper, image, ratio)
            upper.set_title(f"class: {shortened(classes[order[0]], 20)}   prob: {row[order[0]]:.2f}")
            below = {"transform": upper.transAxes, "ha": "center", "va": "top", "fontsize": 7}
            upper.text(0.5, -0.02, shortened(caption, 40), color="grey", **below)
            lower = add_axes(left, bottom, bars_height)
            _show_bars(lower, [shortened(classes[i], 20) for i in order], row[order])
        save(figure, path)


def thumbnail(image: np.ndarray) -> np.ndarray:
    """An image uint8 (C, H, W), reduced to what a picture shows of it if it is larger."""
    from PIL import Image

    if max(image.shape[1:]) <= _SHOWN_PIXELS:
        return image
    planes = image.transpose(1, 2, 0)  # (H, W, C)
    reduced = Image.fromarray(planes[..., 0] if planes.shape[2] == 1 else planes)
    reduced.thumbnail((_SHOWN_PIXELS, _SHOWN_PIXELS), Image.Resampling.LANCZOS)
    pixels = np.asarray(reduced)
    return pixels.reshape(*pixels.shape[:2], -1).transpose(2, 0, 1)


def evaluated_numbers(dataset: ImageDataset, count: int) -> Sequence[int]:
    """The numbers of the samples that an evaluation of `count` images saw: all, or those that are intact."""
    if count == len(dataset):
        return range(count)
    numbers = []
    for number in range(len(dataset)):
        with suppress(DamagedSample):
            dataset[number]
            numbers.append(number)
    return numbers


def _square_columns(count: int) -> int:
    """The columns of the smallest square grid that holds `count` images."""
    return max(1, int(np.ceil(np.sqrt(count))))


def _image_grid(count: int, columns: int, width: float, height: float) -> tuple[Figure, np.ndarray]:
    """A figure with room for `count` images of a size in inches and a title; its axes in one row."""
    rows = max(1, ceil_div(count, columns))
    figure = Figure(figsize=(max(4.0, width * columns), height * rows + 0.5), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in grid:
        axes.axis("off")
    return figure, grid


def _ratio(images: Sequence[np.ndarray]) -> float:
    """Height / width of boxes for images (C, H, W): that of the highest, up to a square's."""
    return min(1.0, max((image.shape[1] / image.shape[2] for image in images), default=1.0))


def _show(axes: Axes, image: np.ndarray, ratio: float) -> None:
    """Draw an image uint8 (C, H, W), grey or RGB, in the middle of a box of this height / width.

    This keeps pictures and titles in line where images have different proportions.
    """
    image = thumbnail(image)
    height, width = image.shape[1:]
    pixels = np.broadcast_to(image, (3, height, width)).transpose(1, 2, 0)  # grey becomes RGB
    # Enlarged, every pixel shows as a square; reduced, they are averaged.
    axes.imshow(pixels, interpolation="none" if max(height, width) < 100 else "auto")
    box_width = max(width, height / ratio)
    x, y = (width - 1) / 2, (height - 1) / 2
    half_width, half_height = box_width / 2, box_width * ratio / 2
    axes.set(xlim=(x - half_width, x + half_width), ylim=(y + half_height, y - half_height))


def _show_bars(axes: Axes, names: Sequence[str], shares: np.ndarray) -> None:
    """Draw shares from 0 to 1 as horizontal bars, the first one on top and in blue."""
    positions = np.arange(len(names))
    axes.barh(positions, shares, height=0.7, color=[COLOURS[0]] + [GREY] * (len(names) - 1))
    for position, name, share in zip(positions, names, shares, strict=True):
        axes.text(-0.03, position, name, ha="right", va="center", fontsize=8)
        axes.text(share + 0.02, position, f"{share:.1%}", va="center", fontsize=8)
    axes.set(xlim=(-0.6, 1.25), ylim=(len(names) - 0.5, -0.5))
