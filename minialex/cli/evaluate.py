"""`minialex evaluate`: test a run's network again."""

from __future__ import annotations

from pathlib import Path

import click

from minialex.cli.options import as_json, checkpoint, device_option, own_model
from minialex.cli.output import print_json, print_line

# With more classes than this, the accuracy of this many guesses is shown, too: the paper's top-5.
_TOP = 5


@click.command("evaluate", short_help="Test the network of a run folder.")
@click.argument("run", type=click.Path(path_type=Path))
@checkpoint
@own_model
@click.option(
    "--top",
    type=click.IntRange(min=1),
    show_default=f"{_TOP} where there are more classes",
    help="How many guesses a network has for the second accuracy.",
)
@click.option(
    "--ten-crop",
    is_flag=True,
    help="Average the probabilities of the corners, the centre and their mirror images, as the paper does.",
)
@click.option("--data-dir", show_default="as in training", help="Where the data set's files are now.")
@device_option()
@as_json
def command(
    run: Path,
    checkpoint: str,
    top: int | None,
    ten_crop: bool,
    data_dir: str | None,
    device: str | None,
    as_json: bool,
) -> None:
    """Test the network of the run folder RUN on the test part of its data set.

    A data set without a test part is tested on its validation images.
    """
    import numpy as np

    from minialex.availability import choose_device
    from minialex.errors import RunError
    from minialex.training.assembly import make_test_loader
    from minialex.training.evaluation import evaluate, with_ten_crops
    from minialex.training.run import open_data
    from minialex.training.run_folder import RunFolder

    folder = RunFolder.open(run)
    classes = len(folder.classes)
    if top is not None and top > classes:
        raise RunError(f"--top must be at most {classes}, the number of the run's classes, not {top}")
    if top is None and classes > _TOP:
        top = _TOP
    device, _ = choose_device(device or folder.device)
    network = folder.load_network(checkpoint).to(device)
    pipeline = with_ten_crops(folder.pipeline, network.input_shape) if ten_crop else folder.pipeline
    parts = open_data(folder, data_dir)
    loader = make_test_loader(parts.test, pipeline, folder.recipe.data)
    with np.errstate(all="ignore"):
        result = evaluate(network, loader, device)
    if not np.isfinite(result.probabilities).all() or not np.isfinite(result.loss):
        raise RunError(
            f"the network of {str(run)!r} gives values that are not finite; try the other --checkpoint, "
            "or train with a lower learning rate"
        )
    totals = np.bincount(result.labels, minlength=classes)
    right = result.confusion().diagonal()
    shares = [float(right[i] / totals[i]) if totals[i] else None for i in range(classes)]
    part = parts.test_name
    if as_json:
        print_json(
            {
                "run": str(run),
                "checkpoint": checkpoint,
                "part": part,
                "ten_crop": ten_crop,
                "test_images": len(result.labels),
                "test_loss": result.loss,
                "test_accuracy": result.accuracy,
                **({} if top is None else {f"test_top{top}_accuracy": result.top_k(top)}),
                "class_accuracy": dict(zip(folder.classes, shares, strict=True)),
                "skipped": [{"file": each.path, "reason": each.reason} for each in loader.skipped],
            }
        )
        return
    for name, share, total in zip(folder.classes, shares, totals, strict=True):
        text = "no images" if share is None else f"{share * 100:6.2f} %"
        print_line(f"class {name:>10}  {text}  of {total:,}")
    if loader.skipped:
        count = len(loader.skipped)
        images = "image is" if count == 1 else "images are"
        print_line(f"{count:,} damaged {images} left out; the first is {loader.skipped[0]}")
    print_line(
        f"{folder.recipe.model.name}, {checkpoint} checkpoint, {len(result.labels):,} {part} images"
        f"{', ten crops of each' * ten_crop}, {part} loss {result.loss:.4f}"
    )
    if top is not None:
        print_line(f"{part} top-{top} accuracy {result.top_k(top) * 100:.2f} %")
    print_line(f"{part} accuracy {result.accuracy * 100:.2f} %")
