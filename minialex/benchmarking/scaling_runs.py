"""How cost grows: with the batch, the number of threads, and the size of the images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack

from minialex.benchmarking.contestants import OURS
from minialex.benchmarking.tasks import Task
from minialex.benchmarking.timing import interleave
from minialex.benchmarking.worker import Worker, WorkerError
from minialex.errors import MiniAlexError


def measure_scaling(
    tasks: Sequence[Task],
    peers: Sequence[str],
    threads: Sequence[int],
    rounds: int,
    say: Callable[[str], None] = lambda line: None,
    **timing_options,
) -> list[dict]:
    """Time each task on each number of threads, ours and the peers': in turns, each in its own process.

    Returns
    -------
    list of dict
        ``contestant``, ``batch``, ``size``, ``threads``, ``status`` and, if it was timed, ``timing``,
        ``images_per_second``, ``gflops`` and ``speedup``, which is over its own time on the smallest number
        of threads.
    """
    rows = []
    for task in tasks:
        say(f"{task.title}: threads {', '.join(map(str, threads))}")
        found: dict[tuple[str, int], dict] = {}
        with ExitStack() as stack:
            ready = {}
            for name in (OURS, *peers):
                for count in threads:
                    row = {
                        "contestant": name,
                        "batch": task.batch,
                        "size": task.architecture().input_shape[1],
                        "threads": count,
                        "status": "timed",
                        "reason": "",
                    }
                    found[name, count] = row
                    worker = stack.enter_context(Worker(count))
                    try:
                        worker.ask("prepare", contestant=name, task=task.to_dict())
                        worker.ask("run")
                    except WorkerError as error:
                        if name == OURS:
                            raise MiniAlexError(f"{task.title}: {error}") from None
                        row.update(status="absent", reason=str(error))
                        continue
                    ready[name, count] = _ask_to_run(worker)
            timings = interleave(ready, rounds, warmup=1, **timing_options)
        for (name, count), timing in timings.items():
            least = timings.get((name, min(threads)))
            found[name, count].update(
                timing=timing.to_dict(),
                images_per_second=task.batch / timing.median,
                gflops=task.operations / timing.median / 1e9,
                speedup=least.median / timing.median if least else None,
            )
        rows += found.values()
    return rows


def _ask_to_run(worker: Worker) -> Callable[[], object]:
    return lambda: worker.ask("run")
