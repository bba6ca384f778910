"""The protocol of convnet-benchmarks (github.com/soumith/convnet-benchmarks): forward, and backward.

AlexNet in torchvision's shape without LRN and dropout, a batch of 128 images of 224; a forward pass, and a
backward pass from the output itself, down to the parameters and the images. There is no loss and no update.
"""

from __future__ import annotations

from dataclasses import replace

from minialex.benchmarking.baselines import Baselines
from minialex.benchmarking.step_runs import Say, validated
from minialex.benchmarking.tasks import Task
from minialex.benchmarking.timing import Turns, interleave


def convnet_task(batch: int, device: str) -> Task:
    """The network of the protocol."""
    return Task("alexnet_torchvision", batch, training=True, without_dropout=True, device=device)


def run_convnet(
    task: Task, baselines: Baselines, threads: int, turns: Turns, say: Say = lambda line: None
) -> list[dict]:
    """Validate ours and the baselines by a training step, then time forward and backward passes in turns.

    Returns
    -------
    list of dict
        As `step_runs.StepResult.to_dict`, with ``timing`` that of both passes, ``forward`` that of the first,
        and ``backward_seconds``, the difference of their medians.
    """
    ready, results = validated(task, baselines.names, threads, say)
    passes = {}
    for name, contestant in ready.items():
        passes[name, "forward"] = contestant.forward
        passes[name, "both"] = contestant.forward_and_backward
    timings = interleave(passes, turns)
    ours = next((timing.median for (_, part), timing in timings.items() if part == "both"), None)
    rows = []
    for name, result in results.items():
        both = timings.get((name, "both"))
        row = replace(result, timing=both).to_dict(task, ours)
        if both is not None:
            forward = timings[name, "forward"]
            row["forward"] = forward.to_dict()
            row["backward_seconds"] = both.median - forward.median
        rows.append(row)
    return rows + baselines.absences
