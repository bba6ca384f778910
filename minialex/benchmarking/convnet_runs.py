"""The protocol of convnet-benchmarks (github.com/soumith/convnet-benchmarks): forward, and backward.

AlexNet in torchvision's shape without LRN and dropout, a batch of 128 images of 224; a forward pass, and a
backward pass from the output itself, down to the parameters and the images. There is no loss and no update.
"""

from __future__ import annotations

from collections.abc import Sequence

from minialex.benchmarking.step_runs import StepResult, validated
from minialex.benchmarking.tasks import Task
from minialex.benchmarking.timing import interleave

MODEL = "alexnet_torchvision"
BATCH = 128


def convnet_task(batch: int, device: str) -> Task:
    """The network of the protocol."""
    return Task(MODEL, batch, training=True, without_dropout=True, device=device)


def run_convnet(
    task: Task, peers: Sequence[str], threads: int, rounds: int, *, timing_options: dict, **options
) -> list[dict]:
    """Validate ours and the peers by a training step, then time forward and backward passes in turns.

    Parameters
    ----------
    task : Task
        See `convnet_task`.
    peers, threads, options
        See `step_runs.validated`.
    rounds, timing_options
        See `timing.interleave`.

    Returns
    -------
    list of dict
        As `step_runs.StepResult.to_dict`, with ``timing`` that of both passes, ``forward`` that of the first,
        and ``backward_seconds``, the difference of their medians.
    """
    ready, results = validated(task, peers, threads, **options)
    contestants = {}
    for name, contestant in ready.items():
        contestants[name, "forward"] = contestant.forward
        contestants[name, "both"] = contestant.forward_and_backward
    timings = interleave(contestants, rounds, **timing_options)
    ours = next((timing.median for (_, part), timing in timings.items() if part == "both"), None)
    rows = []
    for name, result in results.items():
        both = timings.get((name, "both"))
        row = StepResult(name, result.status, result.reason, result.error, both).to_dict(
            task.batch, task.operations, ours
        )
        if both is not None:
            forward = timings[name, "forward"]
            row["forward"] = forward.to_dict()
            row["backward_seconds"] = both.median - forward.median
        rows.append(row)
    return rows
