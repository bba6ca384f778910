"""A process of its own for one contestant: nothing else takes memory in it, and its number of threads is set
before any library is loaded, since some read it only then.

The parent writes requests to it and reads answers, one JSON object a line:

    {"do": "prepare", "contestant": ..., "task": ...}   {"imported": bytes, "prepared": bytes}
    {"do": "run"}                                       {}
    {"do": "peak"}                                      {"peak": bytes} since the last "peak" or the start

A request that fails is answered by {"error": text}.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from minialex.benchmarking.baselines import make_contestant, packages_of
from minialex.benchmarking.contestant import one_line
from minialex.benchmarking.tasks import Task
from minialex.errors import MiniAlexError

# What NumPy's BLAS, PyTorch, Numba's and our own threads read when they are loaded.
THREAD_VARIABLES = tuple(f"{library}_NUM_THREADS" for library in ("MINIALEX", "OMP", "OPENBLAS", "MKL")) + (
    "VECLIB_MAXIMUM_THREADS",
)


def thread_environment(threads: int) -> dict[str, str]:
    """The environment in which every library uses this number of threads."""
    return dict(os.environ) | dict.fromkeys(THREAD_VARIABLES, str(threads))


class WorkerError(MiniAlexError):
    """What a worker was asked for failed; the message is its own."""


class Worker:
    """The parent's side; use it in a ``with`` block."""

    def __init__(self, threads: int):
        self.threads = threads
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        command = [sys.executable, "-m", __name__, str(threads)]
        self.process = subprocess.Popen(command, **pipes, text=True, env=thread_environment(threads))

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, kind, *_) -> None:
        if kind is not None and issubclass(kind, KeyboardInterrupt):
            # Its request may take minutes more.
            self.process.terminate()
        with suppress(BrokenPipeError):
            self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()

    def ask(self, do: str, **request) -> dict:
        """Send a request and wait for its answer.

        Raises
        ------
        WorkerError
            If it failed, or the process died (usually of too little memory).
        """
        try:
            self.process.stdin.write(json.dumps({"do": do, **request}) + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise WorkerError(f"its process ended with code {self.process.wait()}; was there enough memory?")
        answer = json.loads(line)
        if "error" in answer:
            raise WorkerError(answer["error"])
        return answer


def resident_bytes(kind: str = "VmRSS") -> int:
    """The memory of this process that is in use now (VmRSS), or its peak (VmHWM); Linux.

    Not `resource.getrusage`: its figure starts at what the parent process had.
    """
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{kind}:"):
            return int(line.split()[1]) * 2**10
    raise OSError(f"the system does not tell {kind}")


def reset_peak() -> None:
    """Restart VmHWM from what is in use now."""
    Path("/proc/self/clear_refs").write_text("5")


def _serve(threads: int) -> None:
    # Only answers may go to the pipe; whatever a library prints goes to standard error.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    state: dict = {}
    for line in sys.stdin:
        try:
            answer = _answer(json.loads(line), threads, state)
        except Exception as error:
            answer = {"error": one_line(error)}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def _answer(request: dict, threads: int, state: dict) -> dict:
    match request["do"]:
        case "prepare":
            for package in packages_of(request["contestant"]):
                __import__(package)
            imported = resident_bytes()
            state["contestant"] = make_contestant(request["contestant"], Task(**request["task"]), threads)
            return {"imported": imported, "prepared": resident_bytes()}
        case "run":
            state["contestant"].run()
            return {}
        case "peak":
            peak = resident_bytes("VmHWM")
            reset_peak()
            return {"peak": peak}
    raise MiniAlexError(f"unknown request {request['do']!r}")


if __name__ == "__main__":
    _serve(int(sys.argv[1]))
