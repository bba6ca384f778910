"""The progress bar of a training run."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from minialex.cli.output import print_line
from minialex.kernels.runtime.compiled import on_compile
from minialex.training.callbacks import Callback


class CompilationProgress(AbstractContextManager):
    """Says on standard error that kernels are being compiled, once, where any are.

    Parameters
    ----------
    show : callable, optional
        Shows a short text that says how far compilation has come, while it goes on.

    Attributes
    ----------
    functions : int
        How many were compiled.
    seconds : float
        Spent on them.
    """

    def __init__(self, show: Callable[[str], None] | None = None):
        self.show = show
        self.functions, self.seconds = 0, 0.0
        self._said = False
        self._open = ExitStack()

    def __enter__(self) -> CompilationProgress:
        self._open.enter_context(on_compile(self._follow))
        return self

    def __exit__(self, *_) -> None:
        self._open.close()

    def _follow(self, name: str, seconds: float | None) -> None:
        if not self._said:
            self._said = True
            print_line("compiling kernels for this machine; later runs find them compiled", err=True)
        if seconds is not None:
            self.functions += 1
            self.seconds += seconds
        elif self.show is not None:
            self.show(f"compiling {name}, {self.functions} done")


class TrainingProgress(Callback):
    """Shows a bar with loss, accuracy, rate and time left on a terminal, and a line for each epoch.

    Parameters
    ----------
    epochs : int
    say : callable
        Prints a line.
    part : str
        What the images are that the network is tested on after each epoch: "test" or "validation".
    """

    def __init__(self, epochs: int, say: Callable[[str], None], part: str = "test"):
        self.epochs, self.say, self.part = epochs, say, part
        console = Console(stderr=True)
        self.bar = Progress(
            TextColumn("epoch {task.fields[epoch]}/{task.fields[epochs]}"),
            BarColumn(bar_width=None),
            TextColumn("{task.fields[state]}"),
            TimeRemainingColumn(),
            TextColumn("left"),
            console=console,
            disable=not console.is_terminal,
            redirect_stdout=sys.stdout.isatty(),
            # The batches of an epoch differ little; a long window steadies the time left.
            speed_estimate_period=120,
            transient=True,
        )
        self.task = self.bar.add_task("", total=None, epoch=1, epochs=epochs, state="")
        self.compilation = CompilationProgress(lambda state: self.bar.update(self.task, state=state))

    def __enter__(self) -> TrainingProgress:
        self.bar.start()
        self.compilation.__enter__()
        return self

    def __exit__(self, *_) -> None:
        self.compilation.__exit__()
        self.bar.stop()

    def after_step(self, step) -> None:
        self.bar.update(
            self.task,
            total=self.epochs * step.batches,
            completed=(step.epoch - 1) * step.batches + step.batch,
            epoch=step.epoch,
            state=f"loss {step.loss:.4f} accuracy {step.accuracy * 100:.1f} % "
            f"{step.images_per_second:.0f} images/s",
        )

    def after_epoch(self, metrics, network, test) -> None:
        width = len(str(self.epochs))
        validation = (
            f"{self.part} loss {metrics.validation_loss:.4f} "
            f"accuracy {metrics.validation_accuracy * 100:5.2f} %  "
            if metrics.validation_loss is not None
            else ""
        )
        self.say(
            f"epoch {metrics.epoch:{width}}/{self.epochs}  "
            f"train loss {metrics.train_loss:.4f} accuracy {metrics.train_accuracy * 100:5.2f} %  "
            f"{validation}{metrics.images_per_second:.0f} images/s  {metrics.seconds:.0f} s"
        )
