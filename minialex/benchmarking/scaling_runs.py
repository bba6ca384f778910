"""How cost grows: with the batch, the number of threads, and the size of the images."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial

from minialex.benchmarking.baselines import OURS
from minialex.benchmarking.step_runs import Say
from minialex.benchmarking.tasks import Task
from minialex.benchmarking.timing import Turns, interleave
from minialex.benchmarking.worker import Worker, WorkerError
from minialex.errors import MiniAlexError


def measure_scaling(
    task: Task, baselines: Sequence[str], threads: Sequence[int], turns: Turns, say: Say = lambda line: None
) -> list[dict]:
    """Time a task on each number of threads, ours and the baselines': in turns, each in its own process.

    Returns
    -------
    list of dict
        ``contestant``, ``batch``, ``size``, ``threads``, ``status`` and, if it was timed, ``timing``,
        ``images_per_second``, ``gflops`` and ``speedup``, which is over its own time on the smallest number
        of threads.
    """
    say(f"{task.title}: threads {', '.join(map(str, threads))}")
    side = task.architecture().input_shape[1]
    rows: dict[tuple[str, int], dict] = {}
    with ExitStack() as stack:
        ready = {}
        for key in ((name, count) for name in (OURS, *baselines) for count in threads):
            name, count = key
            rows[key] = {"contestant": name, "batch": task.batch, "size": side, "threads": count}
            worker = stack.enter_context(Worker(count))
            try:
                worker.ask("prepare", contestant=name, task=task.to_dict())
                worker.ask("run")
            except WorkerError as error:
                if name == OURS:
                    raise MiniAlexError(f"{task.title}: {error}") from None
                rows[key] |= {"status": "absent", "reason": str(error)}
            else:
                rows[key] |= {"status": "timed", "reason": ""}
                ready[key] = partial(worker.ask, "run")
        timings = interleave(ready, turns)
    for (name, count), timing in timings.items():
        least = timings.get((name, min(threads)))
        rows[name, count] |= {
            "timing": timing.to_dict(),
            "images_per_second": task.batch / timing.median,
            "gflops": task.operations / timing.median / 1e9,
            "speedup": least.median / timing.median if least else None,
        }
    return list(rows.values())
