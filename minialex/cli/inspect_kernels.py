"""`minialex kernels inspect`: what the compilers make of the CUDA kernels, without a GPU."""

from __future__ import annotations

import math

import click

from minialex.cli.options import as_json
from minialex.cli.output import print_json, print_line

_HEADS = (
    *("regs", "spil", "stack", "shared", "threads", "occupancy"),
    *("instr", "FMA", "TC", "loads", "F/B glob", "F/B shar"),
)
_COLUMNS = "{:34} {:>7} {:>4} {:>6} {:>6} {:>7} {:>10} {:>6} {:>5} {:>7} {:>15} {:>9} {:>9}"
_STEP_COLUMNS = "{:10} {:28} {:34} {:>8} {:>9} {:>9} {:>8}"


@click.command("inspect", short_help="Read the CUDA kernels' compiled code.")
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.option(
    "--arch",
    "architectures",
    default="sm_80,sm_90",
    show_default=True,
    help="Architectures, separated by commas: sm_75, 80, 86, 89, 90, 100, 120; or all.",
)
@click.option("--real", type=click.Choice(("float32", "float64")), default="float32", show_default=True)
@click.option(
    "--compiler",
    type=click.Choice(("nvrtc", "nvcc")),
    show_default="nvrtc (CuPy's), or else nvcc",
    help="The compiler.",
)
@click.option(
    "--gpu", "gpu_name", metavar="NAME", help="Predict the time of each layer on a GPU, such as H100."
)
@click.option("--model", default="alexnet", show_default=True, help="The model of --gpu.")
@click.option("--batch", type=int, default=128, show_default=True, help="Images at once, for --gpu.")
@click.option("--write-budgets", is_flag=True, help="Write the figures as the budgets of the tests.")
@as_json
def inspect(
    names: tuple[str, ...],
    architectures: str,
    real: str,
    compiler: str | None,
    gpu_name: str | None,
    model: str,
    batch: int,
    write_budgets: bool,
    as_json: bool,
) -> None:
    """Compile CUDA kernels (NAME: a kernel, a .cu file or an operation; all, if none is given) and say what
    they take: registers, bytes spilled, shared memory, occupancy; and what their hottest loop is made of:
    the share of multiply-adds and tensor-core instructions, loads and stores by width, operations per byte
    asked of global and of shared memory.

    With --gpu NAME: the time of each layer of a training step, predicted from those figures and the GPU's
    datasheet.

    It needs a compiler (pip install 'minialex[cuda]' nvidia-cuda-nvrtc; or nvcc) and a disassembler
    (pip install nvidia-cuda-nvdisasm), but no GPU.
    """
    from minialex.errors import MiniAlexError
    from minialex.kernels.cuda.inspection.compile import ARCHITECTURES, check_architecture, choose_compiler
    from minialex.kernels.cuda.inspection.disassemble import find_disassembler

    if write_budgets and (names or gpu_name):
        raise MiniAlexError("--write-budgets is for all kernels; leave out names and --gpu")
    compiler = choose_compiler(compiler)
    find_disassembler()
    if write_budgets:
        _write_budgets(compiler)
    elif gpu_name is not None:
        _predict(gpu_name, model, batch, as_json)
    else:
        chosen = ARCHITECTURES if architectures == "all" else architectures.split(",")
        _print_figures(names, [check_architecture(each.strip()) for each in chosen], real, compiler, as_json)


def _print_figures(names, architectures, real, compiler, as_json) -> None:
    from minialex.kernels.cuda.inspection.compile import compiler_version
    from minialex.kernels.cuda.inspection.kernels import inspect_source, sources_with

    chosen = sources_with(names)
    if not as_json:
        print_line(f"compiled by {compiler_version(compiler)}, {real}; of the hottest loop:")
        print_line("  instr  instructions    FMA, TC  share of multiply-adds, of tensor-core instructions")
        print_line("  loads  instructions by memory (G global, S shared) and bytes a thread")
        print_line("  F/B    operations per byte asked of global and of shared memory")
    found = []
    for architecture in architectures:
        if not as_json:
            print_line("\n" + _COLUMNS.format(architecture, *_HEADS))
        for source, kernels in chosen:
            for each in inspect_source(source, architecture, real, compiler):
                if each.name in kernels:
                    found.append(each)
                    if not as_json:
                        print_line(_line(each))
    if as_json:
        print_json([each.to_dict() for each in found])
        return
    spilling = [f"{each.name} ({each.architecture})" for each in found if each.resources.spills]
    print_line()
    print_line(f"{len(found)} compiled kernels; spilling: {', '.join(spilling) or 'none'}")


def _line(each) -> str:
    mix, resources = each.loop.mix, each.resources
    of_tensor = mix.tensor / mix.instructions if mix.instructions else 0.0
    loads = [
        f"{count}{space[0].upper()}{width}" for (space, width), count in mix.loads.items() if space != "local"
    ]
    intensities = [mix.intensity(space) for space in ("global", "shared")]
    return _COLUMNS.format(
        each.name[:34],
        *(resources.registers, resources.spills, resources.stack, resources.shared),
        each.threads or "?",
        f"{each.occupancy.share:.0%}, {each.occupancy.blocks}" if each.occupancy else "?",
        f"{mix.instructions}{'' if each.loop.is_loop else '*'}",
        f"{mix.density - of_tensor:.2f}" if mix.multiply_adds else "",
        f"{of_tensor:.2f}" if mix.tensor else "",
        " ".join(loads),
        *(f"{value:.1f}" if math.isfinite(value) and value else "" for value in intensities),
    )


def _predict(gpu_name, model, batch, as_json) -> None:
    from minialex.benchmarking.predictions import predict_step
    from minialex.kernels.cuda.inspection.gpus import find_gpu

    gpu = find_gpu(gpu_name)
    found = predict_step(model, batch, gpu)
    total = sum(each.seconds for each in found)
    if as_json:
        what = "prediction from compiled code and a datasheet; nothing was measured"
        settings = {"gpu": gpu.name, "datasheet": gpu.source, "model": model, "batch": batch}
        kernels = [vars(each) for each in found]
        print_json({"what": what, **settings, "predicted_seconds": total, "kernels": kernels})
        return
    print_line(f"PREDICTION for {gpu.name}, from compiled code and a datasheet: nothing was run or measured.")
    print_line(f"{model}, training step, batch {batch}, float32; lower bounds by the roofline model")
    print_line(f"{gpu.source}: {gpu.float32 / 1e12:.1f} TFLOP/s float32, {gpu.bandwidth / 1e9:.0f} GB/s")
    print_line(_STEP_COLUMNS.format("layer", "operation", "kernel", "blocks", "ms", "no cache", "bound by"))
    for each in found:
        times = (f"{1e3 * seconds:.3f}" for seconds in (each.seconds, each.uncached))
        launches = "" if each.launches == 1 else f" x {each.launches}"
        print_line(
            _STEP_COLUMNS.format(
                each.layer, each.operation, f"{each.kernel}{launches}", each.blocks, *times, each.bound
            )
        )
    print_line(f"in all {1e3 * total:.2f} ms, {batch / total:,.0f} images/s: at best, by this model")
    print_line("no cache: if all that the blocks ask for came from memory. bound by: memory; peak of the")
    print_line(
        "arithmetic units; issue, the instructions beside multiply-adds in the hottest loop; or blocks,"
    )
    print_line("too few to use half of the multiprocessors")


def _write_budgets(compiler) -> None:
    from concurrent.futures import ThreadPoolExecutor

    from minialex.kernels import num_threads
    from minialex.kernels.cuda.inspection import budgets
    from minialex.kernels.cuda.inspection.compile import ARCHITECTURES
    from minialex.kernels.cuda.inspection.kernels import inspect_source
    from minialex.kernels.cuda.source import project_sources

    calls = [
        (source, architecture, real, compiler)
        for source in project_sources()
        for real in ("float32", "float64")
        for architecture in ARCHITECTURES
    ]
    found = []
    # The compiler and the disassembler work outside Python.
    with ThreadPoolExecutor(num_threads()) as pool:
        for call, inspected in zip(calls, pool.map(inspect_source, *zip(*calls, strict=True)), strict=True):
            source, architecture, real, _ = call
            print_line(f"{source.path.name}, {real}, {architecture}", err=True)
            found += inspected
    budgets.write_budgets(found)
    print_line(f"{len(found)} budgets in {budgets.PATH}")
