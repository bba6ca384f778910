"""The pictures of a run: learning curves, confusion matrix, first filters, worst errors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from minialex import nn
from minialex.data import ArrayDataset
from minialex.files import write_atomically
from minialex.models import Network
from minialex.training.evaluation import Evaluation
from minialex.training.trainer import EpochMetrics

_BLUE, _ORANGE = "#1f5fa8", "#d9730d"
_STYLE = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.3,
}


def _save(figure: Figure, path: Path) -> None:
    # Figures are made without pyplot, so that no window system is touched and nothing is kept.
    write_atomically(path, lambda temporary: figure.savefig(temporary, format="png", dpi=120))


def draw_curves(path: Path, history: Sequence[EpochMetrics]) -> None:
    """Loss and accuracy by epoch, in training and on the test images."""
    epochs = [m.epoch for m in history]
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(9, 3.6), layout="constrained")
        for axes, name, scale in zip(figure.subplots(1, 2), ("loss", "accuracy"), (1, 100), strict=True):
            for part, colour, marker in (("train", _BLUE, "o"), ("test", _ORANGE, "s")):
                values = [scale * getattr(m, f"{part}_{name}") for m in history]
                axes.plot(epochs, values, color=colour, marker=marker, markersize=4, label=part)
                axes.annotate(
                    f"{values[-1]:.2f}" if scale == 100 else f"{values[-1]:.3f}",
                    (epochs[-1], values[-1]),
                    xytext=(6, 6 if part == "train" else -10),
                    textcoords="offset points",
                    color=colour,
                    fontsize=8,
                )
            axes.set(xlabel="epoch", ylabel=name if scale == 1 else f"{name} (%)")
            axes.margins(x=0.12)
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            axes.legend(frameon=False)
        _save(figure, path)


def draw_confusion(path: Path, confusion: np.ndarray, classes: Sequence[str]) -> None:
    """How often each class was taken for which; int (classes, classes), rows being the true ones."""
    count = len(classes)
    side = min(12.0, 2.2 + 0.42 * count)
    with matplotlib.rc_context(_STYLE | {"axes.grid": False}):
        figure = Figure(figsize=(side + 0.6, side), layout="constrained")
        axes = figure.subplots()
        shares = confusion / np.maximum(1, confusion.sum(axis=1, keepdims=True))
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        if count <= 30:
            axes.set_xticks(range(count), classes)
            axes.set_yticks(range(count), classes)
            for i, j in np.argwhere(confusion):
                colour = "white" if shares[i, j] > 0.5 else "black"
                axes.text(j, i, str(confusion[i, j]), ha="center", va="center", color=colour, fontsize=8)
        right = np.trace(confusion)
        axes.set(
            xlabel="predicted", ylabel="true", title=f"{right:,} of {confusion.sum():,} test images are right"
        )
        _save(figure, path)


def draw_filters(path: Path, network: Network) -> None:
    """The weights of the first convolution: in colour if it sees RGB, else plane by plane in grey."""
    first = next(layer for layer in network.modules() if isinstance(layer, nn.Conv2d))
    weight = first.weight.numpy()  # (O, C, KH, KW)
    is_rgb = weight.shape[1] == 3
    planes = weight.transpose(0, 2, 3, 1) if is_rgb else weight.reshape(-1, *weight.shape[2:])
    limit = float(np.abs(planes).max()) or 1.0
    columns = int(np.ceil(np.sqrt(len(planes) * 1.6)))
    rows = -(-len(planes) // columns)
    with matplotlib.rc_context(_STYLE | {"axes.grid": False}):
        figure = Figure(figsize=(0.55 * columns, 0.55 * rows + 0.5), layout="constrained")
        grid = figure.subplots(rows, columns, squeeze=False).ravel()
        for axes in grid:
            axes.axis("off")
        for axes, plane in zip(grid, planes, strict=False):
            if is_rgb:
                axes.imshow(plane / (2 * limit) + 0.5)
            else:
                axes.imshow(plane, cmap="gray", vmin=-limit, vmax=limit)
        kernel = " x ".join(str(n) for n in weight.shape[2:])
        figure.suptitle(
            f"First layer: {len(weight)} filters of {kernel}, grey is 0, range ±{limit:.2g}", fontsize=10
        )
        _save(figure, path)


def draw_worst(path: Path, evaluation: Evaluation, dataset: ArrayDataset, count: int = 25) -> None:
    """The wrong predictions to which the network gave the true class the lowest probability."""
    of_truth = evaluation.probabilities[np.arange(len(evaluation.labels)), evaluation.labels]
    wrong = np.flatnonzero(evaluation.predictions != evaluation.labels)
    worst = wrong[np.argsort(of_truth[wrong], kind="stable")][:count]
    columns = min(5, max(1, len(worst)))
    rows = max(1, -(-len(worst) // columns))
    with matplotlib.rc_context(_STYLE | {"axes.grid": False}):
        figure = Figure(figsize=(max(4.0, 1.7 * columns), 1.95 * rows + 0.6), layout="constrained")
        grid = figure.subplots(rows, columns, squeeze=False).ravel()
        for axes in grid:
            axes.axis("off")
        for axes, index in zip(grid, worst, strict=False):
            image, label = dataset[int(index)]
            axes.imshow(image.transpose(1, 2, 0).squeeze(), cmap="gray", vmin=0, vmax=255)
            predicted = evaluation.predictions[index]
            share = evaluation.probabilities[index, predicted]
            axes.set_title(
                f"{dataset.classes[label]}, taken for {dataset.classes[predicted]}\n({share:.0%} sure)",
                fontsize=8,
            )
        shown = f", the worst {len(worst)} shown" if len(wrong) > len(worst) else ""
        figure.suptitle(
            f"{len(wrong):,} of {len(evaluation.labels):,} test images are wrong{shown}", fontsize=10
        )
        _save(figure, path)
