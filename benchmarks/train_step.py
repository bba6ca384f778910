"""Time whole training steps against PyTorch, in the same process and in turns.

A step is a forward pass, the cross-entropy, the backward pass and an update (momentum SGD with weight decay)
on a batch of random images that is already in memory. Before anything is timed, both libraries compute
every gradient from the same weights in float64, without dropout, and the two must agree. (In float32 they
cannot be compared: where two cells of a pooling window differ by rounding alone, the winner differs.)

    python benchmarks/train_step.py alexnet --batch 32 --out benchmarks/results/train_step.json
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import time
from pathlib import Path

import click
import numpy as np
import torch
from peer_torch import torch_network

import minialex as ma
from minialex import functional as F
from minialex.models import summarise

# Relative, in the norm: far above rounding after 20 to 30 layers, far below any mistake.
_AGREEMENT = 1e-10


@click.command()
@click.argument("models", nargs=-1, required=True)
@click.option("--batch", type=int, default=32, show_default=True)
@click.option(
    "--repeats", type=int, default=7, show_default=True, help="Steps that are timed, of each library."
)
@click.option("--threads", type=int, default=os.cpu_count(), show_default=True, help="PyTorch's threads.")
@click.option("--out", type=click.Path(path_type=Path), help="Add the results to this JSON file.")
def main(models: tuple[str, ...], batch: int, repeats: int, threads: int, out: Path | None) -> None:
    """Time training steps of MODELS."""
    torch.set_num_threads(threads)
    for model in models:
        result = measure(model, batch, repeats) | {
            "threads": threads,
            "numpy": np.__version__,
            "torch": torch.__version__,
            "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        }
        click.echo(f"{model}, batch {batch}:")
        for name in ("minialex", "torch_eager"):
            row = result[name]
            click.echo(
                f"    {name:12} {row['median']:.3f} s ({row['fastest']:.3f} to {row['slowest']:.3f}), "
                f"{row['images_per_second']:.1f} images/s, {row['gflops']:.0f} GFLOP/s"
            )
        if out is not None:
            known = json.loads(out.read_text()) if out.exists() else {}
            known[f"{model}, batch {batch}"] = result
            out.parent.mkdir(parents=True, exist_ok=True)
            out.write_text(json.dumps(known, indent=2) + "\n")


def measure(model: str, batch: int, repeats: int) -> dict:
    """Validate, warm up, and time the two in turns."""
    ma.manual_seed(0)
    torch.manual_seed(0)
    network = ma.models.create_model(model)
    peer = torch_network(network)
    rng = np.random.default_rng(0)
    images = rng.standard_normal((batch, *network.input_shape), np.float32)
    labels = rng.integers(0, network.num_classes, batch)

    agreement = disagreement(network, peer, images[:4], labels[:4])
    if not agreement < _AGREEMENT:
        raise SystemExit(f"{model}: the gradients differ from PyTorch's by {agreement:.1e}; nothing is timed")

    steps = {"minialex": our_step(network, images, labels), "torch_eager": torch_step(peer, images, labels)}
    times = {name: [] for name in steps}
    for repeat in range(repeats + 2):
        for name, step in steps.items():
            start = time.perf_counter()
            step()
            if repeat >= 2:
                times[name].append(time.perf_counter() - start)
    # A training step is three passes of products, less the gradient of the images.
    summary = summarise(network, batch)
    flops = 6 * summary.macs - 2 * summary.layers[0].macs
    return {
        "batch": batch,
        "repeats": repeats,
        "gradient_difference": agreement,
        **{
            name: {
                "median": statistics.median(values),
                "fastest": min(values),
                "slowest": max(values),
                "images_per_second": batch / statistics.median(values),
                "gflops": flops / statistics.median(values) / 1e9,
            }
            for name, values in times.items()
        },
    }


def disagreement(network, peer, images, labels) -> float:
    """The largest relative difference, in the norm, between the two libraries' gradients in float64."""
    images = images.astype(np.float64)
    network.astype(np.float64)
    peer.double()
    dropouts = [layer for layer in (*network, *peer) if hasattr(layer, "p")]
    kept = [layer.p for layer in dropouts]
    for layer in dropouts:
        layer.p = 0.0
    F.cross_entropy(network(ma.Tensor(images)), labels).backward()
    loss = torch.nn.functional.cross_entropy(peer(torch.from_numpy(images)), torch.from_numpy(labels))
    loss.backward()
    differences = [
        float(np.linalg.norm(ours.grad.numpy() - theirs.grad.numpy()) / np.linalg.norm(theirs.grad.numpy()))
        for ours, theirs in zip(network.parameters(), peer.parameters(), strict=True)
        if np.linalg.norm(theirs.grad.numpy()) > 1e-6
    ]
    for layer, p in zip(dropouts, kept, strict=True):
        layer.p = p
    network.astype(np.float32)
    peer.float()
    return max(differences)


def our_step(network, images, labels):
    """A function that does one step of ours."""
    optimizer = ma.optim.SGD(network.parameters(), lr=1e-3, momentum=0.9, weight_decay=5e-4)
    x = ma.Tensor(images)

    def step():
        optimizer.zero_grad()
        F.cross_entropy(network(x), labels).backward()
        optimizer.step()

    return step


def torch_step(peer, images, labels):
    """A function that does one step of PyTorch's."""
    optimizer = torch.optim.SGD(peer.parameters(), lr=1e-3, momentum=0.9, weight_decay=5e-4)
    x, y = torch.from_numpy(images), torch.from_numpy(labels)

    def step():
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(peer(x), y).backward()
        optimizer.step()

    return step


if __name__ == "__main__":
    main()
