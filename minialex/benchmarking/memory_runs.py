"""The peak memory of a step: each contestant in a fresh process, as the system counts it."""

from __future__ import annotations

from minialex.benchmarking.baselines import OURS, Baselines
from minialex.benchmarking.step_runs import Say
from minialex.benchmarking.tasks import Task
from minialex.benchmarking.worker import Worker, WorkerError
from minialex.errors import MiniAlexError

_STEPS = 2


def measure_memory(
    task: Task, baselines: Baselines, threads: int, say: Say = lambda line: None
) -> list[dict]:
    """The resident memory of each contestant, in bytes.

    Returns
    -------
    list of dict
        ``imported``: with its libraries loaded; ``prepared``: with the network, its optimiser and the
        images too; ``first``: the peak of the first step, which compiles and makes the optimiser's
        state; ``peak``: that of the steps that follow; ``step``: peak less imported, what network and step
        take. Or ``status`` and ``reason``, if it cannot take part.

    Raises
    ------
    MiniAlexError
        If the system does not tell the peak.
    """
    rows = []
    for name in (OURS, *baselines.names):
        say(f"{task.title}: memory of {name}")
        try:
            with Worker(threads) as worker:
                row = worker.ask("prepare", contestant=name, task=task.to_dict())
                worker.ask("peak")
                worker.ask("run")
                row["first"] = worker.ask("peak")["peak"]
                for _ in range(_STEPS):
                    worker.ask("run")
                row["peak"] = worker.ask("peak")["peak"]
        except WorkerError as error:
            if name == OURS:
                raise MiniAlexError(f"{task.title}: the memory could not be measured: {error}") from None
            rows.append({"contestant": name, "status": "absent", "reason": str(error)})
            continue
        row["step"] = row["peak"] - row["imported"]
        rows.append({"contestant": name, "status": "measured", "reason": "", **row})
    return rows + baselines.absences
