"""Measure the peak memory of a training step, and set it beside what it has to hold.

A step holds the parameters, their gradients, the optimiser's velocity, the activations that backward needs,
the gradient that is passed back, and the workspace of one operation. NumPy reports what it allocates to
tracemalloc, which gives the peak to the byte.

    python benchmarks/step_memory.py alexnet --batch 128
"""

from __future__ import annotations

import tracemalloc

import click
import numpy as np

import minialex as ma
from minialex import functional as F
from minialex.models import summarise


@click.command()
@click.argument("model")
@click.option("--batch", type=int, default=128, show_default=True)
def main(model: str, batch: int) -> None:
    """Measure a training step of MODEL."""
    network = ma.models.create_model(model)
    optimizer = ma.optim.SGD(network.parameters(), lr=1e-3, momentum=0.9, weight_decay=5e-4)
    images = np.random.default_rng(0).standard_normal((batch, *network.input_shape), np.float32)
    labels = np.arange(batch) % network.num_classes
    x = ma.Tensor(images)

    def step():
        optimizer.zero_grad()
        F.cross_entropy(network(x), labels).backward()
        optimizer.step()

    step()
    tracemalloc.start()
    step()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    summary = summarise(network, batch)
    parameters = 4 * summary.trainable_parameters
    largest = max(layer.activation_bytes for layer in summary.layers)
    rows = {
        "activations, every layer's output": summary.activation_bytes,
        "gradients of the parameters": parameters,
        "gradients of the two largest activations": 2 * largest,
        "workspace of one operation": 3 * ma.kernels.workspace_limit(),
    }
    for name, size in rows.items():
        click.echo(f"{size / 2**20:9.1f} MiB  {name}")
    bound = sum(rows.values())
    click.echo(f"{bound / 2**20:9.1f} MiB  together: what a step may take beside parameters and velocity")
    click.echo(f"{peak / 2**20:9.1f} MiB  measured peak, {peak / bound:.0%} of it")


if __name__ == "__main__":
    main()
