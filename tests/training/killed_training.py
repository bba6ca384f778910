"""Trains in child processes that kill themselves with SIGKILL at chosen points, and resumes in others.

    python killed_training.py FOLDER EVERY_SECONDS STRIDE

prints what an uninterrupted training leaves and what each of the killed and resumed ones left, as JSON. It
is killed at every STRIDE-th call of each of these, the first included:

    loss          in the middle of a step
    step          after a step, before its state is written
    epoch         after the validation, before anything is written
    write         in the middle of writing weights or a state: half of the temporary file is there
    fsync         before a temporary file, or a folder after a renaming, is brought to the disk
    replace       before a file is renamed
    replaced      after that

Children are forked, as starting Python and loading the compiled kernels takes longer than the training.

    python killed_training.py FOLDER

trains until someone kills it.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback
from collections import Counter
from pathlib import Path
from tempfile import mkdtemp

import safetensors.numpy
from small_training import BATCHES, EPOCHS, bits, files, make, resume

from minialex import functional as F
from minialex.errors import CheckpointError
from minialex.training.callbacks import Callback


class Points(Callback):
    """Counts the points that training passes, and dies at one of them."""

    def __init__(self, death: tuple[str, int] | None = None):
        self.death, self.seen = death, Counter()
        self._replace, self._save = os.replace, safetensors.numpy.save_file

    def passes(self, kind: str) -> bool:
        """Count a point; say whether it is the last."""
        self.seen[kind] += 1
        return self.death == (kind, self.seen[kind])

    def pass_(self, kind: str) -> None:
        if self.passes(kind):
            os.kill(os.getpid(), signal.SIGKILL)

    def loss(self, logits, targets):
        self.pass_("loss")
        return F.cross_entropy(logits, targets)

    def after_step(self, step):
        self.pass_("step")

    def after_epoch(self, metrics, network, validation):
        self.pass_("epoch")

    def watch(self) -> None:
        """Follow what is written, too."""

        def replace(source, target):
            self.pass_("replace")
            self._replace(source, target)
            self.pass_("replaced")

        def fsync(descriptor):
            # Not called: what a killed process has written is there without it.
            self.pass_("fsync")

        def save_file(arrays, path, metadata):
            self._save(arrays, path, metadata)
            if self.passes("write"):
                os.truncate(path, os.path.getsize(path) // 2)
                os.kill(os.getpid(), signal.SIGKILL)

        os.replace, os.fsync, safetensors.numpy.save_file = replace, fsync, save_file


def train(folder: Path, every_seconds: float, points: Points, resumed: bool = False) -> None:
    """Train to the end in this process, from the latest state if there is one."""
    options = {"every_seconds": every_seconds, "loss": points.loss, "first": (points,)}
    points.watch()
    note = None
    if resumed:
        try:
            trainer, note = resume(folder, **options)
        except CheckpointError:
            # Killed before the first state: the run begins again.
            assert not list(folder.glob("state*"))
            resumed = False
    if not resumed:
        trainer = make(folder, **options)
    trainer.fit(EPOCHS)
    left = {"bits": bits(trainer), "files": files(folder), "leftovers": leftovers(folder)}
    (folder / "left.json").write_text(json.dumps(left | {"points": points.seen, "note": note}))


def leftovers(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name.startswith("."))


def in_child(*arguments, **options) -> int:
    """Call `train` in a forked child; return the signal that ended it, or 0."""
    child = os.fork()
    if child == 0:
        try:
            train(*arguments, **options)
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    _, status = os.waitpid(child, 0)
    if os.WIFEXITED(status) and os.WEXITSTATUS(status):
        raise SystemExit(f"a training failed: {arguments} {options}")
    return os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0


def main(folder: Path, every_seconds: float, stride: int) -> None:
    def new() -> Path:
        return Path(mkdtemp(dir=folder))

    def left(run: Path) -> dict:
        return json.loads((run / "left.json").read_text())

    # The kernels that the children find loaded; the folder is of no further use.
    make(new()).fit(1)
    run = new()
    in_child(run, every_seconds, Points())
    uninterrupted = left(run)
    outcomes = {}
    for kind, count in uninterrupted["points"].items():
        for number in range(1, count + 1, stride):
            run = new()
            ended = in_child(run, every_seconds, Points((kind, number)))
            assert ended == signal.SIGKILL, (kind, number, ended)
            in_child(run, every_seconds, Points(), resumed=True)
            outcomes[f"{kind} {number}"] = left(run)
    # Killed again and again, each time two steps after an epoch's worth of them.
    run, lives, resumed = new(), 0, False
    while in_child(run, every_seconds, Points(("step", BATCHES + 2)), resumed=resumed):
        lives, resumed = lives + 1, True
        assert lives < 10
    outcomes[f"{lives} times"] = left(run)
    json.dump({"uninterrupted": uninterrupted, "outcomes": outcomes}, sys.stdout)


if __name__ == "__main__":
    out, *rest = sys.argv[1:]
    if rest:
        main(Path(out), float(rest[0]), int(rest[1]))
    else:
        make(Path(out), schedule="exponential").fit(10**6)
