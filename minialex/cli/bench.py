"""`minialex bench`: how fast kernels and networks are, beside other libraries and the machine's limits."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from pathlib import Path

import click

from minialex.availability import choose_device
from minialex.benchmarking import cudnn_baseline, gpu, limits, noise, report
from minialex.benchmarking.baselines import OURS, TORCH_MODES, Baselines, choose_baselines
from minialex.benchmarking.convnet_runs import convnet_task, run_convnet
from minialex.benchmarking.kernel_runs import choose_kernels, run_workload
from minialex.benchmarking.memory_runs import measure_memory
from minialex.benchmarking.scaling_runs import measure_scaling
from minialex.benchmarking.step_runs import profile_steps, run_steps, torch_difference
from minialex.benchmarking.tasks import Task
from minialex.benchmarking.timing import Turns, by_clock
from minialex.benchmarking.worker import THREAD_VARIABLES, thread_environment
from minialex.benchmarking.workloads import workloads
from minialex.checks import require_int
from minialex.cli.options import as_json, device_option
from minialex.cli.output import print_json, print_line
from minialex.errors import KernelError, MiniAlexError
from minialex.kernels import load_plugin
from minialex.kernels.runtime.threads import available_threads, num_threads

# Fewer rounds than this are no basis for a conclusion.
_ENOUGH = 7


@dataclass(frozen=True)
class _Options:
    """What every benchmark is asked; a command that lacks an option has its default.

    `threads` is None for all there are, `output` for a new folder, and `steps` where nothing is timed.
    """

    device: str = "cpu"
    steps: int | None = None
    threads: int | None = None
    output: Path | None = None
    as_json: bool = False


_threads = click.option(
    "--threads", type=int, show_default="as many as there are", help="Threads of every contestant."
)
_output = click.option(
    "--output",
    type=click.Path(path_type=Path),
    show_default="a new one in bench-results/",
    help="The folder to make, for result.json and the pictures.",
)


def _steps(default: int):
    return click.option(
        "--steps", type=int, default=default, show_default=True, help="Rounds that are timed, in turns."
    )


def _options(*specific: Callable) -> Callable:
    """Add these options, ``--output`` and ``--json`` to a command, which gets them as one `_Options`."""

    def decorate(function: Callable) -> Callable:
        @functools.wraps(function)
        def call(**given):
            shared = {each.name: given.pop(each.name) for each in fields(_Options) if each.name in given}
            if "device" in shared:
                asked = shared["device"]
                shared["device"], note = choose_device(asked)
                if asked == "auto":
                    _say(note)
            return function(**given, options=_Options(**shared))

        for option in (as_json, _output, *reversed(specific)):
            call = option(call)
        return call

    return decorate


_timed_options = _options(device_option("cpu"), _steps(_ENOUGH), _threads)


def _batch(default: int = 32):
    return click.option("--batch", type=int, default=default, show_default=True, help="Images in the batch.")


_without_lrn = click.option(
    "--without-lrn", is_flag=True, help="Leave out the model's local response normalisation."
)
_infer = click.option("--infer", is_flag=True, help="Inference instead of training steps.")
_profile = click.option(
    "--profile", is_flag=True, help="Where our time goes, layer by layer; inference is not recorded then."
)
_BASELINES = ("--baselines", "--peers", "baselines")
_baselines = click.option(
    *_BASELINES,
    show_default="all that are installed",
    help="Other libraries, separated by commas: torch (its four modes), torch_eager, torch_channels_last, "
    "torch_compile, torch_compile_channels_last and, for inference, onnxruntime, openvino; or none.",
)


@click.group("bench", short_help="Measure kernels and networks against the machine and other libraries.")
def command() -> None:
    """Measure speed and memory. The machine's limits are measured first; every contestant is validated,
    warmed up, and timed in turns with the others. Medians and spread are printed, and a folder is left
    with result.json and pictures. A machine too noisy to conclude anything is warned about.
    """


@command.command("kernels")
@click.argument("operation", required=False)
@click.option(
    "--shapes",
    default="alexnet",
    show_default=True,
    help="The calls of a training step of a model, or awkward, or all (alexnet and awkward).",
)
@_batch()
@click.option("--algo", "algorithms", multiple=True, show_default="all", help="Only this kernel; repeatable.")
@click.option("--dtype", type=click.Choice(("float32", "float64")), default="float32", show_default=True)
@click.option("--plugin", type=click.Path(path_type=Path), help="A Python file that registers more kernels.")
@click.option("--reference", is_flag=True, help="The reference kernels too: Python loops, very slow.")
@_timed_options
def kernels_command(operation, shapes, batch, algorithms, dtype, plugin, reference, options) -> None:
    """Time each kernel of OPERATION (such as conv2d or conv2d.forward; all, if none is given): GFLOP/s, GB/s,
    the share of the machine's limit, and the error against float64.

    On cuda, beside cuBLAS and, where PyTorch can use the GPU, cuDNN. On cuda-host the times are those of the
    CPU that executes the CUDA kernels, not of a GPU.
    """
    if algorithms and not operation:
        raise KernelError("--algo needs an OPERATION whose kernels it names")
    device = options.device
    if plugin is not None:
        load_plugin(plugin)
    beside_cudnn = device == "cuda" and not algorithms
    reason = cudnn_baseline.why_not_here() if beside_cudnn else None
    chosen = []
    for workload in workloads(operation, shapes, batch):
        kernels = choose_kernels(workload.operation, algorithms, reference, device)
        if beside_cudnn and reason is None:
            kernels += cudnn_baseline.cudnn_kernels(workload.operation)
        chosen.append((workload, kernels))
    settings = {
        "title": f"{operation or 'all operations'}, {shapes} shapes, batch {batch}, {dtype}",
        "operation": operation,
        "shapes": shapes,
        "batch": batch,
        "dtype": dtype,
        "device": device,
        "steps": options.steps,
        "plugin": plugin and plugin.name,
        "absent": {"cudnn": reason} if reason else {},
    }
    name = f"{operation or 'all'}-{shapes}-batch{batch}"
    with _measurement("kernels", name, settings, options) as run:
        if reason:
            _say(f"cudnn takes no part: {reason}")
        turns = replace(run.turns, shortest=0.02)
        for workload, kernels in chosen:
            _say(f"{workload.operation}, {workload.name}")
            in_turns = None if device == "cuda" else run.limits
            results = run_workload(workload, kernels, dtype, turns, in_turns)
            run.results += [result.to_dict(run.limits, dtype) for result in results]


@command.command("train")
@click.argument("model", metavar="MODEL|FILE.py:NAME")
@_batch()
@_without_lrn
@_baselines
@_profile
@_timed_options
def train_command(model, batch, without_lrn, baselines, profile, options) -> None:
    """Time whole training steps of MODEL: forward, cross-entropy, backward, and SGD with momentum 0.9 and
    weight decay 5e-4, on random images in memory. Dropout is off while results are compared, on while
    time is taken.
    """
    task = Task(model, batch, True, without_lrn, device=options.device)
    _time_task("train", task, baselines, profile, options)


@command.command("infer")
@click.argument("model", metavar="MODEL|FILE.py:NAME")
@_batch()
@_without_lrn
@_baselines
@_profile
@_timed_options
def infer_command(model, batch, without_lrn, baselines, profile, options) -> None:
    """Time inference of MODEL, in evaluation mode, on random images in memory."""
    task = Task(model, batch, False, without_lrn, device=options.device)
    _time_task("infer", task, baselines, profile, options)


def _time_task(kind: str, task: Task, wanted: str | None, profile: bool, options: _Options) -> None:
    if profile and options.device == "cuda":
        raise MiniAlexError("--profile takes the processor's time, not that of a GPU; leave it out")
    baselines = choose_baselines(wanted, task.training, options.device)
    settings = _settings(task, baselines, steps=options.steps)
    name = f"{task.model}{'-without-lrn' if task.without_lrn else ''}-batch{task.batch}"
    with _measurement(kind, name, settings, options) as run:
        if set(baselines.names) & set(TORCH_MODES):
            _say(f"{task.title}: comparing with PyTorch in float64")
            settings["float64_difference"] = torch_difference(task)
        results = run_steps(task, baselines, run.threads, run.turns, _say)
        ours = next((r.timing.median for r in results if r.contestant == OURS and r.timing), None)
        run.results += [result.to_dict(task, ours) for result in results]
        if profile:
            _say(f"{task.title}: profiling")
            run.extra["profile"] = profile_steps(task, run.threads, options.steps)


@command.command("convnet")
@_batch(128)
@_baselines
@_timed_options
def convnet_command(batch, baselines, options) -> None:
    """Time AlexNet by the protocol of convnet-benchmarks: torchvision's shape without LRN and dropout; a
    forward pass, and a backward pass from the output to parameters and images.
    """
    task = convnet_task(batch, options.device)
    baselines = choose_baselines(baselines, True, options.device)
    settings = _settings(task, baselines, steps=options.steps)
    with _measurement("convnet", f"batch{batch}", settings, options) as run:
        run.results += run_convnet(task, baselines, run.threads, run.turns, _say)


@command.command("memory")
@click.argument("model", metavar="MODEL|FILE.py:NAME")
@_batch()
@_without_lrn
@_infer
@_baselines
@_options(_threads)
def memory_command(model, batch, without_lrn, infer, baselines, options) -> None:
    """Measure the peak memory of a training step of MODEL, each contestant in a process of its own."""
    task = Task(model, batch, not infer, without_lrn)
    baselines = choose_baselines(baselines, task.training)
    settings = _settings(task, baselines, infer=infer)
    with _measurement("memory", f"{model}-batch{batch}", settings, options) as run:
        run.results += measure_memory(task, baselines, run.threads, _say)


@command.command("scaling")
@click.argument("model", metavar="MODEL|FILE.py:NAME")
@click.option("--batches", default="1,2,4,8,16,32,64,128,256", show_default=True, help="Batch sizes.")
@click.option("--threads", "counts", show_default="1 and all", help="Numbers of threads, such as 1,2.")
@click.option("--sizes", help="Heights (and widths) of images too; the first dense layer grows with them.")
@click.option("--size-batch", type=int, default=16, show_default=True, help="The batch of --sizes.")
@_without_lrn
@_infer
@click.option(*_BASELINES, default="none", show_default=True, help="As in `minialex bench train`.")
@_options(_steps(5))
def scaling_command(
    model, batches, counts, sizes, size_batch, without_lrn, infer, baselines, options
) -> None:
    """Time MODEL by batch, number of threads and image size: how cost grows, what a second thread brings."""
    threads = _numbers("--threads", counts) if counts else sorted({1, available_threads()})
    sides = _numbers("--sizes", sizes) if sizes else []
    tasks = [("batch", Task(model, n, not infer, without_lrn)) for n in _numbers("--batches", batches)]
    tasks += [("size", Task(model, size_batch, not infer, without_lrn, side)) for side in sides]
    names = choose_baselines(baselines, not infer).names
    settings = {
        "title": f"{model}{' without LRN' if without_lrn else ''}",
        "model": model,
        "batches": batches,
        "sizes": sizes,
        "size_batch": size_batch,
        "thread_counts": threads,
        "without_lrn": without_lrn,
        "infer": infer,
        "peers": names,
        "steps": options.steps,
    }
    with _measurement("scaling", model, settings, replace(options, threads=max(threads))) as run:
        for series, task in tasks:
            rows = measure_scaling(task, names, threads, run.turns, _say)
            run.results += [{"series": series, **row} for row in rows]


def _numbers(option: str, text: str) -> list[int]:
    """Read positive ints separated by commas."""
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise MiniAlexError(f"{option} must be integers 1 or more, such as 1,2,4, not {text!r}")
    return sorted({int(part) for part in parts})


def _settings(task: Task, baselines: Baselines, **more) -> dict:
    return {"title": task.title, **task.to_dict(), "peers": baselines.names, **more}


@dataclass
class _Run:
    """What a measurement is done with, and what it collects."""

    threads: int
    limits: limits.Limits
    turns: Turns
    results: list[dict] = field(default_factory=list)
    extra: dict = field(default_factory=dict)


@contextmanager
def _measurement(kind: str, name: str, settings: dict, options: _Options) -> Iterator[_Run]:
    """What is the same for every benchmark: threads, folder, limits, noise, and the report."""
    # Matplotlib and Rich take a moment to load.
    from minialex.benchmarking import pictures, tables

    steps, device = options.steps, options.device
    if steps is not None:
        require_int("steps", steps, 1)
    threads = _use_threads(options.threads)
    folder = report.open_folder(options.output, f"{kind}-{name}{'' if device == 'cpu' else f'-{device}'}")
    _say("measuring the machine's limits")
    on_gpu = device == "cuda"
    found = gpu.measure_limits() if on_gpu else limits.measure_limits(threads)
    _say(tables.limits_line(found.to_dict()))
    meter = noise.NoiseMeter(gpu.fixed_computation() if on_gpu else limits.fixed_computation)
    measure = gpu.by_events() if on_gpu else by_clock()
    run = _Run(threads, found, Turns(steps or 0, between=meter.sample, measure=measure))
    yield run
    seen = meter.finish()
    written = report.Report(kind, sys.argv[1:], threads, found, seen, settings, run.results, run.extra)
    result = written.to_dict()
    report.save(folder, result)
    drawn = pictures.draw(folder, result)
    if options.as_json:
        print_json(result)
    else:
        tables.print_tables(result)
    _say(f"in {folder}: result.json, {', '.join(path.name for path in drawn)}")
    if steps is not None and steps < _ENOUGH:
        _warn(f"{steps} rounds are few; take {_ENOUGH} or more before drawing a conclusion")
    if seen.reasons:
        _warn(f"the machine was too noisy to conclude anything: {'; '.join(seen.reasons)}")


def _say(line: str) -> None:
    print_line(line, err=True)


def _warn(text: str) -> None:
    _say(f"minialex: warning: {text}")


def _use_threads(threads: int | None) -> int:
    """Let every library use this number of threads.

    NumPy's BLAS, for one, reads the environment when it is loaded, which it is by now: where it found
    another number there, the program starts again in the right environment.
    """
    threads = num_threads() if threads is None else require_int("threads", threads, 1)
    default = str(available_threads())
    if any(os.environ.get(name, default) != str(threads) for name in THREAD_VARIABLES):
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], thread_environment(threads))
    return threads
