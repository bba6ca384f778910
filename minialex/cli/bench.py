"""`minialex bench`: how fast kernels and networks are, beside other libraries and the machine's limits."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path

import click

from minialex.cli.options import as_json, device_option
from minialex.cli.output import print_json, print_line

# Fewer rounds than this are no basis for a conclusion.
_ENOUGH = 7

_threads = click.option(
    "--threads", type=int, show_default="as many as there are", help="Threads of every contestant."
)
_output = click.option(
    "--output", type=click.Path(path_type=Path), show_default="a new one in bench-results/",
    help="The folder to make, for result.json and the pictures.",
)  # fmt: skip
_without_lrn = click.option(
    "--without-lrn", is_flag=True, help="Leave out the model's local response normalisation."
)
_peers = click.option(
    "--peers", show_default="all that are installed",
    help="Other libraries, separated by commas: torch (its four modes), torch_eager, torch_channels_last, "
    "torch_compile, torch_compile_channels_last and, for inference, onnxruntime, openvino; or none.",
)  # fmt: skip
_device = device_option("cpu")
_batch = click.option("--batch", type=int, default=32, show_default=True, help="Images in the batch.")


def _steps(default: int):
    return click.option(
        "--steps", type=int, default=default, show_default=True, help="Rounds that are timed, in turns."
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
    "--shapes", default="alexnet", show_default=True,
    help="The calls of a training step of a model, or awkward, or all (alexnet and awkward).",
)  # fmt: skip
@_batch
@click.option("--algo", "algorithms", multiple=True, show_default="all", help="Only this kernel; repeatable.")
@click.option("--dtype", type=click.Choice(("float32", "float64")), default="float32", show_default=True)
@click.option("--plugin", type=click.Path(path_type=Path), help="A Python file that registers more kernels.")
@click.option("--reference", is_flag=True, help="The reference kernels too: Python loops, very slow.")
@_device
@_steps(_ENOUGH)
@_threads
@_output
@as_json
def kernels_command(
    operation, shapes, batch, algorithms, dtype, plugin, reference, device, steps, threads, output, as_json
) -> None:
    """Time each kernel of OPERATION (such as conv2d or conv2d.forward; all, if none is given): GFLOP/s, GB/s,
    the share of the machine's limit, and the error against float64.

    On cuda, beside cuBLAS and, where PyTorch can use the GPU, cuDNN. On cuda-host the times are those of the
    CPU that executes the CUDA kernels, not of a GPU.
    """
    from minialex.benchmarking.kernel_runs import choose_kernels, run_workload
    from minialex.benchmarking.workloads import workloads
    from minialex.errors import KernelError
    from minialex.kernels import load_plugin

    device = _choose_device(device)
    if plugin is not None:
        load_plugin(plugin)
    peers, absent = _kernel_peers(device, algorithms)
    chosen = [
        (
            workload,
            choose_kernels(workload.operation, algorithms if operation else (), reference, device)
            + peers(workload.operation),
        )
        for workload in workloads(operation, shapes, batch)
    ]
    if algorithms and not operation:
        raise KernelError("--algo needs an OPERATION whose kernels it names")
    settings = {
        "title": f"{operation or 'all operations'}, {shapes} shapes, batch {batch}, {dtype}",
        "operation": operation, "shapes": shapes, "batch": batch, "dtype": dtype, "device": device,
        "steps": steps, "plugin": plugin and plugin.name, "absent": absent,
    }  # fmt: skip
    name = f"kernels-{operation or 'all'}-{shapes}-batch{batch}{_suffix(device)}"
    with _measurement("kernels", name, settings, threads, output, as_json) as run:
        for peer, reason in absent.items():
            run.say(f"{peer} takes no part: {reason}")
        for workload, kernels in chosen:
            run.say(f"{workload.operation}, {workload.name}")
            in_turns = None if device == "cuda" else run.limits
            results = run_workload(workload, kernels, dtype, steps, in_turns, **run.timing_options)
            run.results += [result.to_dict(run.limits, dtype) for result in results]


@command.command("train")
@click.argument("model")
@_batch
@_without_lrn
@_peers
@click.option("--profile", is_flag=True, help="Where the time of our step goes, layer by layer.")
@_device
@_steps(_ENOUGH)
@_threads
@_output
@as_json
def train_command(model, batch, without_lrn, peers, profile, device, steps, threads, output, as_json) -> None:
    """Time whole training steps of MODEL: forward, cross-entropy, backward, and SGD with momentum 0.9 and
    weight decay 5e-4, on random images in memory. Dropout is off while results are compared, on while
    time is taken.
    """
    _run_contestants(True, model, batch, without_lrn, peers, profile, device, steps, threads, output, as_json)


@command.command("infer")
@click.argument("model")
@_batch
@_without_lrn
@_peers
@click.option("--profile", is_flag=True, help="Where our time goes, layer by layer.")
@_device
@_steps(_ENOUGH)
@_threads
@_output
@as_json
def infer_command(model, batch, without_lrn, peers, profile, device, steps, threads, output, as_json) -> None:
    """Time inference of MODEL, in evaluation mode, on random images in memory."""
    _run_contestants(
        False, model, batch, without_lrn, peers, profile, device, steps, threads, output, as_json
    )


def _run_contestants(
    training, model, batch, without_lrn, peers, profile, device, steps, threads, output, as_json
) -> None:
    from minialex.benchmarking.contestants import OURS, TORCH_MODES, choose_peers
    from minialex.benchmarking.step_runs import peer_difference, run_steps
    from minialex.benchmarking.tasks import Task
    from minialex.errors import MiniAlexError

    device = _choose_device(device)
    if profile and device == "cuda":
        raise MiniAlexError("--profile takes the processor's time, not that of a GPU; leave it out")
    task = Task(model, batch, training, without_lrn, device=device)
    names, absent = choose_peers(peers, training, device)
    kind = "train" if training else "infer"
    settings = {"title": task.title, **task.to_dict(), "peers": names, "steps": steps}
    name = f"{kind}-{model}{'-without-lrn' if without_lrn else ''}-batch{batch}{_suffix(device)}"
    with _measurement(kind, name, settings, threads, output, as_json) as run:
        if set(names) & set(TORCH_MODES):
            run.say(f"{task.title}: comparing with PyTorch in float64")
            settings["float64_difference"] = peer_difference(task)
        results = run_steps(task, names, run.threads, steps, absent=absent, say=run.say, **run.timing_options)
        ours = next((r.timing.median for r in results if r.contestant == OURS and r.timing), None)
        run.results += [result.to_dict(batch, task.operations, ours) for result in results]
        if profile:
            run.say(f"{task.title}: profiling")
            run.extra["profile"] = _profile(task, run.threads, steps)


def _profile(task, threads: int, steps: int) -> dict:
    from minialex.benchmarking.ours import make
    from minialex.benchmarking.profiling import profiled

    ours = make(task, threads)
    ours.run()
    with profiled(ours.network) as profile:
        for _ in range(steps):
            ours.run()
    return profile.to_dict(steps)


@command.command("convnet")
@click.option("--batch", type=int, default=128, show_default=True, help="Images in the batch.")
@_peers
@_device
@_steps(_ENOUGH)
@_threads
@_output
@as_json
def convnet_command(batch, peers, device, steps, threads, output, as_json) -> None:
    """Time AlexNet by the protocol of convnet-benchmarks: torchvision's shape without LRN and dropout; a
    forward pass, and a backward pass from the output to parameters and images.
    """
    from minialex.benchmarking.contestants import choose_peers
    from minialex.benchmarking.convnet_runs import convnet_task, run_convnet

    device = _choose_device(device)
    task = convnet_task(batch, device)
    names, absent = choose_peers(peers, True, device)
    settings = {"title": task.title, **task.to_dict(), "peers": names, "steps": steps}
    with _measurement(
        "convnet", f"convnet-batch{batch}{_suffix(device)}", settings, threads, output, as_json
    ) as run:
        run.results += run_convnet(
            task, names, run.threads, steps, say=run.say, timing_options=run.timing_options
        )
        run.results += [
            {"contestant": name, "status": "absent", "reason": reason} for name, reason in absent.items()
        ]


def _choose_device(name: str) -> str:
    from minialex.availability import choose_device

    device, note = choose_device(name)
    if name == "auto":
        print_line(note, err=True)
    return device


def _suffix(device: str) -> str:
    """What the name of a folder says of the device."""
    return "" if device == "cpu" else f"-{device}"


def _kernel_peers(device: str, algorithms: tuple[str, ...]) -> tuple[Callable[[str], list], dict[str, str]]:
    """Other libraries' kernels for an operation, and why those that are missing are."""
    if device != "cuda" or algorithms:
        return lambda operation: [], {}
    from minialex.benchmarking.cudnn_peer import cudnn_kernels, why_not_here

    reason = why_not_here()
    return (lambda operation: [], {"cudnn": reason}) if reason else (cudnn_kernels, {})


@command.command("memory")
@click.argument("model")
@_batch
@_without_lrn
@click.option("--infer", is_flag=True, help="Inference instead of training steps.")
@_peers
@_threads
@_output
@as_json
def memory_command(model, batch, without_lrn, infer, peers, threads, output, as_json) -> None:
    """Measure the peak memory of a training step of MODEL, each contestant in a process of its own."""
    from minialex.benchmarking.contestants import choose_peers
    from minialex.benchmarking.memory_runs import measure_memory
    from minialex.benchmarking.tasks import Task

    task = Task(model, batch, not infer, without_lrn)
    names, absent = choose_peers(peers, task.training)
    settings = {"title": task.title, **task.to_dict(), "peers": names, "infer": infer}
    with _measurement("memory", f"memory-{model}-batch{batch}", settings, threads, output, as_json) as run:
        run.results += measure_memory(task, names, run.threads, run.say)
        run.results += [
            {"contestant": name, "status": "absent", "reason": reason} for name, reason in absent.items()
        ]


@command.command("scaling")
@click.argument("model")
@click.option("--batches", default="1,2,4,8,16,32,64,128,256", show_default=True, help="Batch sizes.")
@click.option("--threads", "counts", show_default="1 and all", help="Numbers of threads, such as 1,2.")
@click.option("--sizes", help="Heights (and widths) of images too; the first dense layer grows with them.")
@click.option("--size-batch", type=int, default=16, show_default=True, help="The batch of --sizes.")
@_without_lrn
@click.option("--infer", is_flag=True, help="Inference instead of training steps.")
@click.option("--peers", default="none", show_default=True, help="As in `minialex bench train`.")
@_steps(5)
@_output
@as_json
def scaling_command(
    model, batches, counts, sizes, size_batch, without_lrn, infer, peers, steps, output, as_json
) -> None:
    """Time MODEL by batch, number of threads and image size: how cost grows, what a second thread brings."""
    from minialex.benchmarking.contestants import choose_peers
    from minialex.benchmarking.scaling_runs import measure_scaling
    from minialex.benchmarking.tasks import Task
    from minialex.kernels.runtime.threads import available_threads

    numbers = _numbers("--threads", counts) if counts else sorted({1, available_threads()})
    series = {
        "batch": [Task(model, n, not infer, without_lrn) for n in _numbers("--batches", batches)],
        "size": [
            Task(model, size_batch, not infer, without_lrn, side)
            for side in (_numbers("--sizes", sizes) if sizes else ())
        ],
    }
    names, _ = choose_peers(peers, not infer)
    title = f"{model}{' without LRN' if without_lrn else ''}"
    settings = {
        "title": title, "model": model, "batches": batches, "sizes": sizes, "size_batch": size_batch,
        "thread_counts": numbers, "without_lrn": without_lrn, "infer": infer, "peers": names, "steps": steps,
    }  # fmt: skip
    with _measurement("scaling", f"scaling-{model}", settings, max(numbers), output, as_json) as run:
        for key, tasks in series.items():
            rows = measure_scaling(tasks, names, numbers, steps, run.say, between=run.meter.sample)
            run.results += [{"series": key, **row} for row in rows]


def _numbers(option: str, text: str) -> list[int]:
    """Read positive ints separated by commas."""
    from minialex.errors import MiniAlexError

    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise MiniAlexError(f"{option} {text!r} should be positive whole numbers, such as 1,2,4")
    return sorted({int(part) for part in parts})


class _Run:
    """What a measurement collects."""

    def __init__(self, threads: int, say: Callable[[str], None]):
        self.threads, self.say = threads, say
        self.limits = self.meter = None
        self.timing_options: dict = {}
        self.results: list[dict] = []
        self.extra: dict = {}


@contextmanager
def _measurement(kind, name, settings, threads, output, as_json):
    """What is the same for every benchmark: threads, folder, limits, noise, and the report."""
    from minialex.benchmarking import gpu, limits, noise, pictures, report, tables
    from minialex.errors import MiniAlexError

    if settings.get("steps", 1) < 1:
        raise MiniAlexError(f"steps={settings['steps']} should be 1 or more")
    threads = _use_threads(threads)
    folder = report.open_folder(output, name)
    run = _Run(threads, lambda line: print_line(line, err=True))
    run.say("measuring the machine's limits")
    on_gpu = settings.get("device") == "cuda"
    run.limits = gpu.measure_limits() if on_gpu else limits.measure_limits(threads)
    run.say(tables.limits_line(run.limits.to_dict()))
    run.meter = noise.NoiseMeter(gpu.fixed_computation() if on_gpu else limits.fixed_computation)
    run.timing_options = {"between": run.meter.sample, "measure": gpu.by_events() if on_gpu else None}
    yield run
    found = run.meter.finish()
    result = report.Report(
        kind, sys.argv[1:], threads, run.limits, found, settings, run.results, run.extra
    ).to_dict()
    report.save(folder, result)
    drawn = pictures.draw(folder, result)
    if as_json:
        print_json(result)
    else:
        tables.print_tables(result)
    run.say(f"in {folder}: result.json, {', '.join(path.name for path in drawn)}")
    if settings.get("steps", _ENOUGH) < _ENOUGH:
        _warn(f"{settings['steps']} rounds are few; take {_ENOUGH} or more before drawing a conclusion")
    if found.reasons:
        _warn(f"the machine was too noisy to conclude anything: {'; '.join(found.reasons)}")


def _warn(text: str) -> None:
    print_line(f"minialex: warning: {text}", err=True)


def _use_threads(threads: int | None) -> int:
    """Let every library use so many threads.

    NumPy's BLAS, for one, reads the environment when it is loaded, which it is by now: where the number
    is another than it found, the program starts again in the right environment.
    """
    from minialex.benchmarking.worker import THREAD_VARIABLES, thread_environment
    from minialex.errors import MiniAlexError
    from minialex.kernels.runtime.threads import available_threads, num_threads

    threads = num_threads() if threads is None else threads
    if threads < 1:
        raise MiniAlexError(f"threads={threads} should be 1 or more")
    default = str(available_threads())
    if any(os.environ.get(name, default) != str(threads) for name in THREAD_VARIABLES):
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], thread_environment(threads))
    return threads
