"""`minialex summary`: what a model consists of."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from minialex.cli.options import as_json
from minialex.cli.output import print_json, print_line, print_table

if TYPE_CHECKING:
    from minialex.models import Architecture, Network, OwnModel
    from minialex.models.towers import Stage, TowerPart, Towers


@click.command("summary", short_help="Show a model layer by layer.")
@click.argument("model")
@click.option("--batch", type=int, default=1, show_default=True, help="Images in the batch.")
@click.option("--num-classes", type=int, show_default="the model's own", help="Outputs of the last layer.")
@click.option(
    "--size",
    type=int,
    show_default="the model's own",
    help="Height and width of the images; refused, with the sizes that fit, if the model cannot take it.",
)
@click.option(
    "--towers",
    is_flag=True,
    help="Show what each of the paper's two GPUs computes of every layer, and what they exchange.",
)
@as_json
def command(
    model: str, batch: int, num_classes: int | None, size: int | None, towers: bool, as_json: bool
) -> None:
    """Show each layer of MODEL with its output shape, parameters, products and memory, and the totals.

    MODEL is one of `minialex models`, or FILE.py:NAME, a network of your own; the file is run.
    """
    from minialex.models import load_model

    described = load_model(model)
    network = described.build(num_classes)
    input_size = None if size is None else (size, size)
    if towers:
        _show_towers(network, batch, input_size, as_json)
    else:
        _show_layers(described, network, batch, input_size, as_json)


def _show_layers(
    described: Architecture | OwnModel, network, batch: int, size: tuple[int, int] | None, as_json: bool
) -> None:
    from minialex.models import summarise

    summary = summarise(network, batch, size)
    if as_json:
        print_json(summary.to_dict())
        return
    rows = [("input", "", _shape(summary.input_shape), "", "", "")]
    rows += [
        (
            layer.name,
            layer.kind,
            _shape(layer.output_shape),
            f"{layer.parameters:,}" if layer.parameters else "",
            f"{layer.macs:,}" if layer.macs else "",
            _memory(layer.activation_bytes) if layer.output_shape else "",
        )
        for layer in summary.layers
    ]
    counts = (f"{summary.parameters:,}", f"{summary.macs:,}", _memory(summary.activation_bytes))
    totals = ("total", "", "", *counts)
    print_table(("layer", "kind"), ("output shape", "parameters", "MACs", "memory"), rows, totals)
    print_line()
    print_line(
        f"{described.name} ({described.source}): {summary.trainable_parameters:,} trainable "
        f"parameters, {_memory(4 * summary.parameters)} in float32"
    )
    if summary.parameters != summary.trainable_parameters:
        rest = summary.parameters - summary.trainable_parameters
        print_line(f"{rest:,} more are the running statistics of batch normalisation")
    if any(not layer.output_shape for layer in summary.layers):
        print_line("layers without an output shape run in training only")
    if described.differs:
        print_line(f"Differs from the paper: {described.differs}")


def _show_towers(network: Network, batch: int, size: tuple[int, int] | None, as_json: bool) -> None:
    from minialex.models.towers import has_towers, walk_towers

    if not has_towers(network):
        if as_json:
            print_json({"model": network.name, "towers": 1})
        else:
            print_line(f"{network.name} has one tower: none of its convolutions is in two groups")
        return
    walk = walk_towers(network, batch, size)
    if as_json:
        print_json(walk.to_dict())
        return
    rows = [
        (
            stage.name,
            _both(_read(part) for part in stage.towers),
            _both(_kernels(stage, part) for part in stage.towers),
            stage.window.vertical.arithmetic() if stage.window else "",
            _both(_shape(part.output_shape) for part in stage.towers),
            _both(f"{part.weights:,} + {part.biases:,}" if part.weights else "" for part in stage.towers),
            _both(f"{part.sent_bytes:,} B" if part.sent_bytes else "" for part in stage.towers),
        )
        for stage in walk.stages
    ]
    counts = _both(f"{count:,}" for count in walk.parameters), _both(f"{n:,} B" for n in walk.sent_bytes)
    totals = ("total", *[""] * 4, *counts)
    print_table(
        ("stage", "each tower reads", "its kernels", "positions", "it gives"),
        ("weights + biases", "it sends"),
        rows,
        totals,
    )
    one, other = walk.parameters
    print_line()
    print_line(
        f"{network.name} on two towers: {_both((f'{one:,}', f'{other:,}'))} parameters each, "
        f"{one + other:,} in all"
    )
    print_line("A tower reads, at")
    for line in _exchanges(walk):
        print_line(line)
    images = "an image" if batch == 1 else f"{batch:,} images"
    print_line(f"Sent: bytes of float32 for {images}, forward; backward, as many of gradients return")


def _exchanges(walk: Towers) -> list[str]:
    """Where a tower reads what the other has, and where not: one line each."""
    reads = {"image": [], "own": [], "both": [], "border": []}
    for stage in walk.stages:
        if stage.exchanges:
            reads["border" if stage.neighbours else "both"].append(stage.name)
        elif stage.kind == "Conv2d":
            reads["image" if stage.towers[0].input_shape == walk.input_shape else "own"].append(stage.name)
    texts = {
        "image": "the image, whole, on both towers",
        "own": "the tower's own maps (two groups)",
        "both": "all maps or features, the tower's own and the other's",
        "border": (
            "the other's maps beside the border as well, across which one device normalises; "
            "the paper does not say whether its GPUs did"
        ),
    }
    return [f"  {', '.join(reads[what])}: {text}" for what, text in texts.items() if reads[what]]


def _read(part: TowerPart) -> str:
    """How many maps or features a tower reads: its own + the other's."""
    received = f"+{part.received_shape[0]}" if part.received_shape[0] else ""
    return _shape((f"{part.input_shape[0]}{received}", *part.input_shape[1:]))


def _kernels(stage: Stage, part: TowerPart) -> str:
    if part.kernel_shape is not None:
        return f"{part.kernels} of {_shape(part.kernel_shape)}"
    if stage.neighbours is not None:
        return f"over {stage.neighbours} maps"
    return _shape(stage.window.kernel_size) if stage.window else ""


def _both(cells) -> str:
    """One cell for both towers; both where they differ."""
    one, other = cells
    return one if one == other else f"{one} and {other}"


def _shape(shape: tuple) -> str:
    return " x ".join(str(n) for n in shape)


def _memory(count: int) -> str:
    for unit, size in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} B"
