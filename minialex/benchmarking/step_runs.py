"""Whole training steps and inference: ours and other libraries', validated, then timed in turns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from minialex.benchmarking.agreement import Error, error_of_all
from minialex.benchmarking.baselines import OURS, Baselines, make_contestant
from minialex.benchmarking.contestant import Contestant, one_line
from minialex.benchmarking.ours import make, truth
from minialex.benchmarking.profiling import profiled
from minialex.benchmarking.tasks import Task
from minialex.benchmarking.timing import Timing, Turns, interleave
from minialex.errors import MiniAlexError

LOSS_TOLERANCE = LOGITS_TOLERANCE = 1e-4
"""Relative, in the norm, of float32 against float64: some hundred times what rounding does to 20 layers."""

GRADIENT_TOLERANCE = 0.1
"""The same for each parameter's gradient. Where two cells of a pooling window, or ReLU's input and 0, differ
only by rounding, float32 and float64 take different branches, and the gradients behind them differ by some
percent in every library. What this cannot see, the kernels' own tests and `torch_difference` do."""

DEFINITION_TOLERANCE = 1e-9
"""Of two libraries' gradients in float64: above the rounding of a hundred layers with batch normalisation
(densenet121, batch 4: 9.6e-10), far below any mistake."""

Say = Callable[[str], None]


@dataclass(frozen=True)
class StepResult:
    """What became of one contestant."""

    contestant: str
    # "timed"; "absent": it could not take part; "wrong": its results differ from the truth, and it was not
    # timed; and why.
    status: str
    reason: str = ""
    # Of its results against the truth in float64.
    error: Error | None = None
    timing: Timing | None = None

    def to_dict(self, task: Task, ours: float | None) -> dict:
        """Everything, and the rates that follow, in types that JSON has; `ours` is our median."""
        answer = {
            "contestant": self.contestant,
            "status": self.status,
            "reason": self.reason,
            "error": self.error and self.error.to_dict(),
            "timing": self.timing and self.timing.to_dict(),
        }
        if self.timing is not None:
            median = self.timing.median
            answer["images_per_second"] = task.batch / median
            answer["gflops"] = task.operations / median / 1e9
            answer["times_ours"] = None if ours is None else median / ours
        return answer


def run_steps(
    task: Task, baselines: Baselines, threads: int, turns: Turns, say: Say = lambda line: None
) -> list[StepResult]:
    """Validate ours and the baselines, and time those that compute the right thing; ours is the first."""
    ready, results = validated(task, baselines.names, threads, say)
    say(f"{task.title}: timing {turns.rounds} rounds of {', '.join(ready)}")
    timings = interleave({name: each.run for name, each in ready.items()}, turns)
    for name, timing in timings.items():
        results[name] = replace(results[name], timing=timing)
    missing = [StepResult(name, "absent", reason) for name, reason in baselines.absent.items()]
    return [*results.values(), *missing]


def validated(
    task: Task, baselines: Sequence[str], threads: int, say: Say = lambda line: None
) -> tuple[dict[str, Contestant], dict[str, StepResult]]:
    """Prepare ours and the baselines, and compare what they compute with the truth.

    Returns
    -------
    ready : dict of Contestant
        Those that compute the right thing.
    results : dict of StepResult
        Of everyone, ours first; nobody is timed yet.
    """
    say(f"{task.title}: computing the truth in float64")
    expected = truth(task)
    ready: dict[str, Contestant] = {}
    results: dict[str, StepResult] = {}
    for name in (OURS, *baselines):
        say(f"{task.title}: preparing and validating {name}")
        try:
            contestant = make_contestant(name, task, threads)
            answer = contestant.results()
        except Exception as error:
            # Another library may fail in ways of its own: no compiler, no memory, no such layer.
            if name == OURS:
                raise
            results[name] = StepResult(name, "absent", one_line(error))
            continue
        results[name] = _judged(name, answer, expected, task.training)
        if results[name].status != "wrong":
            ready[name] = contestant
    return ready, results


def profile_steps(task: Task, threads: int, steps: int) -> dict:
    """Where the time of our step goes, layer by layer and kernel by kernel; see `Profile.to_dict`."""
    contestant = make(task, threads)
    contestant.run_layers()
    with profiled(contestant.network) as profile:
        for _ in range(steps):
            contestant.run_layers()
    return profile.to_dict(steps)


def torch_difference(task: Task) -> float:
    """How far PyTorch's results in float64, on four images, are from ours: the largest relative norm.

    It shows that both mean the same network, and so that there is one truth.

    Raises
    ------
    MiniAlexError
        If it is more than `DEFINITION_TOLERANCE`.
    """
    import torch

    few = replace(task, batch=min(task.batch, 4), device="cpu")
    baseline = make_contestant("torch", few, torch.get_num_threads())
    baseline.network.double()
    baseline.images = baseline.images.double()
    difference = error_of_all(baseline.results(), truth(few)).norm
    if not difference <= DEFINITION_TOLERANCE:
        raise MiniAlexError(
            f"{few.title}: in float64 PyTorch's results differ from ours by {difference:.1e} "
            f"(allowed: {DEFINITION_TOLERANCE:.0e}); they are different networks, and nothing was timed"
        )
    return difference


def _judged(name: str, answer, expected, training: bool) -> StepResult:
    try:
        error = error_of_all(answer, expected)
        first = error_of_all(answer[:1], expected[:1])
    except ValueError as problem:
        return StepResult(name, "wrong", str(problem))
    # The first result of a training step is the loss.
    checks = [("its logits", error, LOGITS_TOLERANCE)]
    if training:
        checks = [("its loss", first, LOSS_TOLERANCE), ("a gradient", error, GRADIENT_TOLERANCE)]
    for what, found, allowed in checks:
        if not found.norm <= allowed:
            reason = f"{what} differs by {found.norm:.1e} (allowed: {allowed:.0e})"
            return StepResult(name, "wrong", reason, error)
    return StepResult(name, "timed", error=error)
