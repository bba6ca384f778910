"""`minialex kernels`: the kernels there are; `minialex kernels compile`: compile them ahead.

Its other subcommands are in modules of their own.
"""

from __future__ import annotations

import time
from pathlib import Path

import click

from minialex.cli.check_kernels import check
from minialex.cli.inspect_kernels import inspect
from minialex.cli.options import as_json
from minialex.cli.output import print_json, print_line


@click.group("kernels", invoke_without_command=True, short_help="List the kernels; compile them ahead.")
@click.option("--op", "operation", show_default="all", help="One operation, such as conv2d.")
@click.option("--device", show_default="all", help="One device, such as cpu.")
@click.option("--plugin", type=click.Path(path_type=Path), help="A Python file that registers more kernels.")
@click.option(
    "--for",
    "model",
    help="Say what each layer of a model runs on the cpu: a name, or FILE.py:NAME, a network of your own.",
)
@click.option("--batch", default=32, show_default=True, help="Images at once, for --for.")
@as_json
@click.pass_context
def command(
    context: click.Context,
    operation: str | None,
    device: str | None,
    plugin: Path | None,
    model: str | None,
    batch: int,
    as_json: bool,
) -> None:
    """List the kernels by operation, device and algorithm.

    Those that the engine tries first are marked with *; of several, it takes the one that is predicted to be
    the fastest.

    With --for MODEL: which kernel each layer runs in a training step, with its workspace and the time that
    is predicted of it.
    """
    if context.invoked_subcommand is not None:
        return
    from minialex.kernels import list_kernels, load_plugin, ranked

    if plugin is not None:
        load_plugin(plugin)
    if model is not None:
        if device not in (None, "cpu"):
            raise click.UsageError(
                f"--for tells what runs on the cpu, not on {device}; for a GPU: minialex kernels inspect "
                "--gpu H100 --model MODEL"
            )
        _print_choices(model, batch, operation, as_json)
        return
    entries = list_kernels(operation, device)
    if not entries:
        known = sorted({entry.operation.split(".")[0] for entry in list_kernels()})
        asked = [f"of operation {operation!r}"] * (operation is not None)
        asked += [f"on device {device!r}"] * (device is not None)
        raise click.UsageError(f"there is no kernel {' '.join(asked)}; operations: {', '.join(known)}")

    def is_default(entry) -> bool:
        return entry.rank is not None and entry.rank == ranked(entry.operation, entry.device)[0].rank

    if as_json:
        print_json(
            [
                {
                    "operation": entry.operation,
                    "device": entry.device,
                    "algorithm": entry.algorithm,
                    "rank": entry.rank,
                    "default": is_default(entry),
                }
                for entry in entries
            ]
        )
        return
    for entry in entries:
        mark = "*" if is_default(entry) else " "
        print_line(f"{mark} {entry.operation:28} {entry.device:10} {entry.algorithm}")


def _print_choices(model: str, batch: int, operation: str | None, as_json: bool) -> None:
    from minialex.benchmarking.choices import choices
    from minialex.kernels import is_tuning

    found = choices(model, batch, operation)
    if as_json:
        print_json([vars(each) for each in found])
        return
    print_line(f"{model}, batch {batch}, predicted on nominal rates of two cores")
    print_line(f"{'layer':24} {'operation':28} {'algorithm':14} {'workspace MiB':>13} {'predicted ms':>12}")
    for each in found:
        workspace = "" if each.workspace is None else f"{each.workspace / 2**20:.1f}"
        predicted = "" if each.predicted_ms is None else f"{each.predicted_ms:.2f}"
        print_line(f"{each.layer:24} {each.operation:28} {each.algorithm:14} {workspace:>13} {predicted:>12}")
    rule = "the fastest when measured" if is_tuning() else "the least predicted time"
    print_line(f"the rule: the highest rank that supports the call; of equals, {rule}")


command.add_command(check)
command.add_command(inspect)


@command.command("compile", short_help="Compile ahead what a model needs.")
@click.option(
    "--for",
    "models",
    multiple=True,
    default=("alexnet", "alexnet_mnist28_bn"),
    show_default=True,
    help="A model to compile for, or FILE.py:NAME; may be given more than once.",
)
@click.option(
    "--batch",
    "batches",
    type=click.IntRange(min=1),
    multiple=True,
    default=(1, 8),
    show_default=True,
    help="Images at once; may be given more than once.",
)
@as_json
def compile_ahead(models: tuple[str, ...], batches: tuple[int, ...], as_json: bool) -> None:
    """Compile the kernels that training and inference of models need, for this machine and later runs.

    A model runs once at each batch size: forward, backward, and each optimiser's step.
    """
    from rich.console import Console

    from minialex.cli.progress import CompilationProgress
    from minialex.kernels import use
    from minialex.kernels.runtime import code_cache
    from minialex.models import create_model, load_model

    # An unknown name is refused before the first is compiled.
    names = [load_model(name).name for name in models]
    start = time.perf_counter()
    with Console(stderr=True).status("") as status, CompilationProgress(status.update) as compilation:
        for name in names:
            network = create_model(name)
            for batch in batches:
                # At another batch size, others of the convolutions and dense layers may be chosen.
                with use(conv2d=("winograd", "direct"), linear=("streamed", "blocked")):
                    _run_once(network, batch)
                with use(conv2d="direct", linear="blocked"):
                    _run_once(network, batch)
    figures = {
        "functions": compilation.functions,
        "seconds": round(time.perf_counter() - start, 1),
        "folder": None if code_cache.store() is None else str(code_cache.store().folder),
    }
    if as_json:
        print_json(figures)
    else:
        kept = f"they are in {figures['folder']}" if figures["folder"] else "they could not be kept"
        print_line(f"{figures['functions']} functions compiled in {figures['seconds']} s; {kept}")


def _run_once(network, batch: int) -> None:
    """Infer a batch of random images and train on them, with each optimiser, SGD without momentum too."""
    import numpy as np

    from minialex import functional as F
    from minialex import no_grad, optim
    from minialex.models.auxiliary import objective
    from minialex.tensor import Tensor

    images = np.random.default_rng(0).standard_normal((batch, *network.input_shape), np.float32)
    labels = np.arange(batch) % network.num_classes
    network.eval()
    with no_grad():
        F.softmax(network(Tensor(images)), 1)
    network.train()
    objective(network(Tensor(images)), labels, F.cross_entropy).backward()
    parameters = list(network.parameters())
    optim.clip_grad_norm_(parameters, 1.0)
    optim.SGD(parameters, lr=0.0).step()
    optim.SGD(parameters, lr=0.0, momentum=0.9, weight_decay=5e-4).step()
    optim.Adam(parameters, lr=0.0).step()
    for parameter in parameters:
        parameter.grad = None
