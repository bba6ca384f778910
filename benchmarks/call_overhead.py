"""What a call costs beside its kernel: one number through a 1 x 1 convolution, and a step at batch 1.

    python benchmarks/call_overhead.py [--json FILE]

The convolution multiplies two numbers and adds one, so that its time is the time of the call: checking the
arguments, choosing the kernel, recording the operation and walking back. The step is the whole of it for
alexnet_mnist28_bn, kernels included, on one thread. Medians of rounds; a round repeats the work for 50 ms.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable

import numpy as np

import minialex as ma
import minialex.functional as F


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


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--json", help="a file for the medians and quartiles")
    options = parser.parse_args()
    ma.kernels.set_num_threads(1)
    works = {
        **_convolution("float32"),
        **_convolution("float64"),
        "step of alexnet_mnist28_bn at batch 1": _step(),
    }
    times: dict[str, list[float]] = {name: [] for name in works}
    for work in works.values():
        work()  # compiles
    for _ in range(options.rounds):
        for name, work in works.items():
            times[name].append(_microseconds(work))
    rows = {}
    for name, samples in times.items():
        low, median, high = statistics.quantiles(samples, n=4)
        rows[name] = {"median_us": median, "quartiles_us": [low, high]}
        print(f"{name:42} {median:10.1f} us   ({low:.1f} to {high:.1f})")
    if options.json:
        with open(options.json, "w") as file:
            json.dump(rows, file, indent=1)


if __name__ == "__main__":
    main()
