"""What a call costs beside its kernel: one number through a 1 x 1 convolution, and a step at batch 1.

    python benchmarks/call_overhead.py [--json FILE]

The convolution multiplies two numbers and adds one, so its time is that of the call: checking the arguments,
choosing the kernel, recording the operation and walking back. The step is a whole training step of
alexnet_mnist28_bn, kernels included, on one thread. Medians of rounds; a round repeats the work for 50 ms.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path

import click
import numpy as np

import minialex as ma
from minialex import functional as F
from minialex.files import write_json


def _convolution(dtype: str) -> dict[str, Callable[[], object]]:
    rng = np.random.default_rng(0)
    x, weight, bias = (
        ma.Tensor(rng.standard_normal(shape).astype(dtype), requires_grad=True)
        for shape in ((1, 1, 1, 1), (1, 1, 1, 1), (1,))
    )
    upstream = rng.standard_normal((1, 1, 1, 1)).astype(dtype)

    def forward():
        with ma.no_grad():
            return F.conv2d(x, weight, bias)

    def both():
        F.conv2d(x, weight, bias).backward(upstream)
        x.grad = weight.grad = bias.grad = None

    return {f"conv2d forward, {dtype}": forward, f"conv2d forward and backward, {dtype}": both}


def _step() -> Callable[[], object]:
    ma.manual_seed(0)
    network = ma.models.create_model("alexnet_mnist28_bn")
    optimiser = ma.optim.SGD(network.parameters(), lr=1e-3, momentum=0.9)
    rng = np.random.default_rng(0)
    images = ma.Tensor(rng.standard_normal((1, 1, 28, 28)).astype(np.float32))
    labels = ma.Tensor(np.array([3]))

    def step():
        optimiser.zero_grad()
        F.cross_entropy(network(images), labels).backward()
        optimiser.step()

    return step


def _microseconds(work: Callable[[], object], seconds: float = 0.05) -> float:
    count, start = 0, time.perf_counter()
    while (passed := time.perf_counter() - start) < seconds or not count:
        work()
        count += 1
    return passed / count * 1e6


@click.command()
@click.option("--rounds", type=click.IntRange(2), default=21, show_default=True)
@click.option("--json", "target", type=click.Path(path_type=Path), help="A file for medians and quartiles.")
def main(rounds: int, target: Path | None) -> None:
    """Print the median microseconds of each work, and its quartiles."""
    ma.kernels.set_num_threads(1)
    works = _convolution("float32") | _convolution("float64")
    works["step of alexnet_mnist28_bn at batch 1"] = _step()
    times: dict[str, list[float]] = {name: [] for name in works}
    for work in works.values():
        work()  # compiles
    for _ in range(rounds):
        for name, work in works.items():
            times[name].append(_microseconds(work))
    rows = {}
    for name, samples in times.items():
        low, median, high = statistics.quantiles(samples, n=4)
        rows[name] = {"median_us": median, "quartiles_us": [low, high]}
        click.echo(f"{name:42} {median:10.1f} us   ({low:.1f} to {high:.1f})")
    if target is not None:
        write_json(target, rows)


if __name__ == "__main__":
    main()
