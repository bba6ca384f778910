"""What each layer of a network makes of some images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from minialex import nn
from minialex.autograd import no_grad
from minialex.integers import ceil_div
from minialex.nn.parts import is_layer, named_parts, outputs_seen
from minialex.tensor import Tensor

# Those that change no value in evaluation.
_LEFT_OUT = (nn.Dropout, nn.Flatten)
_FEATURES_A_ROW = 128


@dataclass(frozen=True)
class LayerMaps:
    """Some channels of a layer's output for N images.

    Attributes
    ----------
    name, kind : str
        Such as ``conv1`` and ``Conv2d``.
    shape : (C, H, W) or (F,)
        Of the whole output for one image.
    channels : tuple of int
        The K channels that are shown; empty for a dense layer, all of whose features are.
    maps : float32 (N, K, H, W)
        For a dense layer (N, 1, R, 128): its features in rows of 128, or in one shorter row,
        filled up with NaN.
    low, high : float
        The smallest and the largest finite number in `maps`; 0 and 0 if there is none.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    channels: tuple[int, ...]
    maps: np.ndarray
    low: float
    high: float


def layer_maps(network: nn.Module, x: np.ndarray, device: str = "cpu", channels: int = 8) -> list[LayerMaps]:
    """The outputs of a network's parts for the images x, but for dropout and flatten, which change nothing.

    Parts are layers, or the blocks of a network of blocks (`minialex.nn.parts`), in the order in which they
    run. Those that give neither planes nor features of images are left out. From one convolution to the next
    the same channels are shown, so that they can be followed: those whose values vary most in the last of
    these layers, by their standard deviation over all images and positions. They stand in the order of their
    numbers.

    Parameters
    ----------
    network : Module
        On the device, set to evaluation.
    x : float32 (N, C, H, W)
        As the network takes it.
    device : str
    channels : int
        How many to keep of each layer.
    """
    stages: list[list[tuple[str, nn.Module, np.ndarray]]] = [[]]

    def see(name: str, module: nn.Module, output) -> None:
        # A block begins a stage, because its channels are others.
        if isinstance(module, nn.Conv2d) or not is_layer(module):
            stages.append([])
        shown = isinstance(output, Tensor) and output.ndim in (2, 4) and len(output) == len(x)
        if shown and not isinstance(module, _LEFT_OUT):
            stages[-1].append((name, module, output.numpy()))

    with no_grad(), outputs_seen(named_parts(network), see):
        network(Tensor(x, device=device))
    return [
        _shown(name, type(module).__name__, output, followed)
        for stage in stages
        for followed in [_most_varying([output for *_, output in stage if output.ndim == 4], channels)]
        for name, module, output in stage
    ]


def _most_varying(outputs: list[np.ndarray], count: int) -> tuple[int, ...]:
    """The channels that vary most in the last of some outputs (N, C, H, W)."""
    if not outputs:
        return ()
    with np.errstate(all="ignore"):  # of numbers that are not finite
        deviation = outputs[-1].std(axis=(0, 2, 3), dtype=np.float64)  # (C,)
    order = np.argsort(-np.nan_to_num(deviation, nan=0.0, posinf=0.0), kind="stable")
    return tuple(sorted(int(channel) for channel in order[:count]))


def _shown(name: str, kind: str, output: np.ndarray, channels: tuple[int, ...]) -> LayerMaps:
    if output.ndim == 2:
        channels, maps = (), _in_rows(output)
    else:
        maps = output[:, channels]
    finite = maps[np.isfinite(maps)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    return LayerMaps(name, kind, output.shape[1:], channels, maps, low, high)


def _in_rows(features: np.ndarray) -> np.ndarray:
    """Features (N, F) in rows: (N, 1, R, 128), or (N, 1, 1, F) if there are fewer than 128."""
    images, count = features.shape
    width = min(count, _FEATURES_A_ROW)
    rows = ceil_div(count, width)
    padded = np.full((images, rows * width), np.nan, dtype=features.dtype)
    padded[:, :count] = features
    return padded.reshape(images, 1, rows, width)
