"""Whole training steps and inference: ours and other libraries', validated, then timed in turns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from minialex.benchmarking.agreement import Error, error_of_all
from minialex.benchmarking.contestants import OURS, Contestant, make_contestant
from minialex.benchmarking.ours import truth
from minialex.benchmarking.tasks import Task
from minialex.benchmarking.timing import Timing, interleave
from minialex.errors import MiniAlexError

LOSS_TOLERANCE = LOGITS_TOLERANCE = 1e-4
"""Relative, in the norm, of float32 against float64: some hundred times what rounding does to 20 layers."""

GRADIENT_TOLERANCE = 0.1
"""The same for each parameter's gradient. Where two cells of a pooling window, or ReLU's input and 0, differ
by rounding alone, float32 and float64 take different branches, and the gradients behind differ by some
percent in every library. What this cannot see, the kernels' own tests and `peer_difference` do."""

DEFINITION_TOLERANCE = 1e-10
"""Of two libraries' gradients in float64: far above rounding, far below any mistake."""


@dataclass(frozen=True)
class StepResult:
    """What became of one contestant.

    Attributes
    ----------
    contestant : str
    status : str
        ``"timed"``; ``"absent"``: it could not take part; ``"wrong"``: its results differ from the truth,
        and it was not timed.
    reason : str
        Why it is absent or wrong.
    error : Error or None
        Of its results against the truth in float64.
    timing : Timing or None
    """

    contestant: str
    status: str
    reason: str = ""
    error: Error | None = None
    timing: Timing | None = None

    def to_dict(self, batch: int, operations: int, ours: float | None) -> dict:
        """Everything, and the rates that follow, in types that JSON has."""
        answer = {
            "contestant": self.contestant,
            "status": self.status,
            "reason": self.reason,
            "error": self.error and self.error.to_dict(),
            "timing": self.timing and self.timing.to_dict(),
        }
        if self.timing is not None:
            median = self.timing.median
            answer["images_per_second"] = batch / median
            answer["gflops"] = operations / median / 1e9
            answer["times_ours"] = None if ours is None else median / ours
        return answer


Make = Callable[[str, Task, int], Contestant]


def run_steps(
    task: Task,
    peers: Sequence[str],
    threads: int,
    rounds: int,
    *,
    absent: Mapping[str, str] | None = None,
    make: Make = make_contestant,
    true_results: Callable[[Task], list[np.ndarray]] = truth,
    say: Callable[[str], None] = lambda line: None,
    **timing_options,
) -> list[StepResult]:
    """Validate ours and the peers, and time those that compute the right thing.

    Parameters
    ----------
    task : Task
    peers : sequence of str
        Beside ours; see `contestants.choose_peers`.
    threads, rounds : int
    absent : mapping of str
        Peers that are known to be missing, and why.
    make, true_results, say, timing_options
        How contestants and the truth are made; what shows progress; see `timing.interleave`.

    Returns
    -------
    list of StepResult
        Ours first.
    """
    ready, results = validated(task, peers, threads, make=make, true_results=true_results, say=say)
    say(f"{task.title}: timing {rounds} rounds of {', '.join(ready)}")
    timings = interleave({name: each.run for name, each in ready.items()}, rounds, **timing_options)
    for name, timing in timings.items():
        results[name] = StepResult(name, "timed", error=results[name].error, timing=timing)
    missing = [StepResult(name, "absent", reason) for name, reason in (absent or {}).items()]
    return [*results.values(), *missing]


def validated(
    task: Task,
    peers: Sequence[str],
    threads: int,
    *,
    make: Make = make_contestant,
    true_results: Callable[[Task], list[np.ndarray]] = truth,
    say: Callable[[str], None] = lambda line: None,
) -> tuple[dict[str, Contestant], dict[str, StepResult]]:
    """Prepare ours and the peers, and compare what they compute with the truth.

    Returns
    -------
    ready : dict of Contestant
        Those that compute the right thing.
    results : dict of StepResult
        Of everyone, ours first; nobody is timed yet.
    """
    say(f"{task.title}: computing the truth in float64")
    expected = true_results(task)
    ready: dict[str, Contestant] = {}
    results: dict[str, StepResult] = {}
    for name in (OURS, *peers):
        say(f"{task.title}: preparing and validating {name}")
        try:
            contestant = make(name, task, threads)
            answer = contestant.results()
        except Exception as error:
            # A library of someone else's may fail in ways of its own: no compiler, no memory, no such layer.
            if name == OURS:
                raise
            results[name] = StepResult(name, "absent", _one_line(error))
            continue
        results[name] = _judged(name, answer, expected, task.training)
        if results[name].status != "wrong":
            ready[name] = contestant
    return ready, results


def peer_difference(task: Task) -> float:
    """How far PyTorch's results in float64, on four images, are from ours: the largest relative norm.

    It shows that both mean the same network, and so that the truth is one.

    Raises
    ------
    MiniAlexError
        If it is more than `DEFINITION_TOLERANCE`.
    """
    import torch

    from minialex.benchmarking.torch_peer import TorchInference, TorchTraining

    few = Task(**(task.to_dict() | {"batch": min(task.batch, 4), "device": "cpu"}))
    peer = (TorchTraining if few.training else TorchInference)(few, torch.get_num_threads())
    peer.network.double()
    peer.images = peer.images.double()
    difference = error_of_all(peer.results(), truth(few)).norm
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
    if training and not first.norm <= LOSS_TOLERANCE:
        return StepResult(
            name, "wrong", f"its loss differs by {first.norm:.1e} (allowed: {LOSS_TOLERANCE:.0e})", error
        )
    what, allowed = ("a gradient", GRADIENT_TOLERANCE) if training else ("its logits", LOGITS_TOLERANCE)
    if not error.norm <= allowed:
        return StepResult(
            name, "wrong", f"{what} differs by {error.norm:.1e} (allowed: {allowed:.0e})", error
        )
    return StepResult(name, "timed", error=error)


def _one_line(error: Exception) -> str:
    """The kind of an error and the first line of its message that says something."""
    text = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    return f"{type(error).__name__}: {text}"[:300]
