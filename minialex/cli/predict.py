"""`minialex predict`: ask a run's network about images."""

from __future__ import annotations

from pathlib import Path

import click

from minialex.cli.options import as_json, checkpoint, device_option, own_model
from minialex.cli.output import print_json, print_line


def _png_file(_context, _parameter, path: Path | None) -> Path | None:
    """Refuse a file that could not be written before anything is computed."""
    if path is not None and path.suffix.lower() != ".png":
        raise click.BadParameter(f"it must be a .png, the kind of file that is written, not {str(path)!r}")
    if path is not None and not path.parent.is_dir():
        raise click.BadParameter(f"the folder of {str(path)!r} does not exist")
    return path


@click.command("predict", short_help="Say what is on images.")
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("images", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="IMAGE...")
@checkpoint
@own_model
@click.option(
    "--top", type=click.IntRange(min=1), default=3, show_default=True, help="How many classes to show."
)
@click.option("--invert", is_flag=True, help="Take black on white for white on black, as MNIST's digits are.")
@click.option(
    "--picture",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE.png",
    callback=_png_file,
    help="Draw the images with their classes and probabilities.",
)
@device_option()
@as_json
def command(
    run: Path,
    images: tuple[Path, ...],
    checkpoint: str,
    top: int,
    invert: bool,
    picture: Path | None,
    device: str | None,
    as_json: bool,
) -> None:
    """Say what the network of the run folder RUN sees on image files of any size.

    They go through the transforms of the run's test. Nothing is printed or drawn if one of them cannot
    be read.
    """
    import numpy as np

    from minialex.availability import choose_device
    from minialex.data import read_image
    from minialex.errors import RunError
    from minialex.training.evaluation import predict_probabilities
    from minialex.training.run_folder import RunFolder

    folder = RunFolder.open(run)
    device, _ = choose_device(device or folder.device)
    network = folder.load_network(checkpoint).to(device)
    pipeline = folder.pipeline.inverted() if invert else folder.pipeline
    mode = "L" if network.input_shape[0] == 1 else "RGB"
    rows = []
    for path in images:
        x = pipeline.batch([read_image(path, mode)])
        with np.errstate(all="ignore"):
            rows.append(predict_probabilities(network, x, device)[0])
    probabilities = np.stack(rows)  # (images, classes)
    if not np.isfinite(probabilities).all():
        raise RunError(
            f"the network of {str(run)!r} gives values that are not finite; try the other --checkpoint"
        )
    if picture is not None:
        from minialex.training.pictures import draw_predictions, thumbnail

        shown = [thumbnail(read_image(path)) for path in images]
        draw_predictions(picture, shown, probabilities, folder.classes, [path.name for path in images])
    answers = [
        [(folder.classes[i], float(row[i])) for i in np.argsort(-row, kind="stable")[:top]]
        for row in probabilities
    ]
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
                **({} if picture is None else {"picture": str(picture)}),
            }
        )
        return
    for path, answer in zip(images, answers, strict=True):
        print_line(f"{path}: " + ", ".join(f"{name} ({p * 100:.1f} %)" for name, p in answer))
