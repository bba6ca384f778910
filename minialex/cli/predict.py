"""`minialex predict`: ask a run's network about images."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

from minialex.cli.options import as_json, checkpoint, device_option, print_json


@click.command("predict", short_help="Say what is on images.")
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("images", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="IMAGE...")
@checkpoint
@click.option(
    "--top", type=click.IntRange(min=1), default=3, show_default=True, help="How many classes to show."
)
@click.option("--invert", is_flag=True, help="Take black on white for white on black, as MNIST's digits are.")
@device_option()
@as_json
def command(
    run: Path,
    images: tuple[Path, ...],
    checkpoint: str,
    top: int,
    invert: bool,
    device: str | None,
    as_json: bool,
) -> None:
    """Say what the network of the run folder RUN sees on PNG or JPEG images of any size.

    They are brought to the model's size and colours as in training. Nothing is printed if one of them
    cannot be read.
    """
    import numpy as np

    from minialex.data import read_image
    from minialex.devices import choose_device
    from minialex.training.evaluation import predict_probabilities
    from minialex.training.run_folder import RunFolder

    folder = RunFolder.open(run)
    device, _ = choose_device(device or folder.settings.device)
    network = folder.load_network(checkpoint).to(device)
    preprocessing = folder.preprocessing
    if invert:
        preprocessing = replace(preprocessing, invert=not preprocessing.invert)
    mode = "L" if preprocessing.channels == 1 else "RGB"
    answers = []
    for path in images:
        x = preprocessing(read_image(path, mode)[None])
        probabilities = predict_probabilities(network, x, device)[0]
        order = np.argsort(-probabilities, kind="stable")[:top]
        answers.append([(folder.classes[i], float(probabilities[i])) for i in order])
    if as_json:
        print_json(
            {
                "run": str(run),
                "checkpoint": checkpoint,
                "images": [
                    {
                        "image": str(path),
                        "predictions": [{"class": name, "probability": p} for name, p in answer],
                    }
                    for path, answer in zip(images, answers, strict=True)
                ],
            }
        )
        return
    for path, answer in zip(images, answers, strict=True):
        click.echo(f"{path}: " + ", ".join(f"{name} ({p * 100:.1f} %)" for name, p in answer))
