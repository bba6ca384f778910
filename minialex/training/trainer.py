"""The training loop."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field, replace
from itertools import islice

import numpy as np

from minialex import functional as F
from minialex import random
from minialex.checks import require_int, require_number
from minialex.devices import is_array
from minialex.errors import CheckpointError, MiniAlexError, TrainingError
from minialex.integers import ceil_div
from minialex.models import Network
from minialex.models.auxiliary import logits_of, objective
from minialex.nn.module import values_of
from minialex.optim import Optimizer, clip_grad_norm_
from minialex.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau
from minialex.tensor import Tensor
from minialex.training.callbacks.callback import Callback
from minialex.training.diagnosis import IMAGES, first_non_finite_layer
from minialex.training.evaluation import Evaluation, evaluate
from minialex.training.interruption import uninterrupted
from minialex.training.metrics import EpochMetrics, EpochSums, Step
from minialex.training.state import TrainingState

Loss = Callable[[Tensor, np.ndarray], Tensor]


def steps_per_epoch(loader: Sized, accumulate: int = 1) -> int:
    """How many steps the optimiser takes in an epoch, as schedules that count steps need to know."""
    return ceil_div(len(loader), accumulate)


@dataclass
class _Window:
    """The batches that make one step: how many, and the sums over their images."""

    batches: int = 0
    images: int = 0
    correct: int = 0
    loss: float = 0.0
    lr: float = 0.0


class _ListedBatches(Iterator):
    """The batches of an iterable from number `start` on, with what the trainer asks of those of a loader."""

    skipped = ()

    def __init__(self, batches: Iterable, start: int):
        self._left, self.position = islice(batches, start, None), start

    def __next__(self):
        batch = next(self._left)
        self.position += 1
        return batch

    def close(self) -> None:
        """Nothing is open."""


@dataclass(frozen=True)
class _Moment:
    """What a step changes before its update, as it was when the state was whole: the rest is as it was."""

    sums: EpochSums
    random: dict
    buffers: dict


@dataclass(frozen=True)
class Options:
    """How a trainer takes its steps, and what it measures.

    Attributes
    ----------
    schedule : LRScheduler or ReduceLROnPlateau, optional
        Of the learning rate. Its `per` says whether it counts steps or epochs; a plateau is found in its
        `monitor`. Without one the rate stays.
    device : str
    clip_norm : float, optional
        Scale the gradients of a step so that their joint norm is at most this.
    accumulate : int
        How many batches make one step of the optimiser; the last step of an epoch may have fewer. Its
        gradient is the mean over all of their images, so that it equals that of one large batch. Batch
        normalisation sees only one batch at a time.
    loss : callable
        Takes logits (B, classes) and targets; gives the mean over the B images. Of a network with auxiliary
        heads, theirs are added (`minialex.models.auxiliary.objective`). The validation's loss is the
        cross-entropy, whatever this is.
    validation_metrics : mapping of callable
        Further figures of the validation by name: each takes the `Evaluation` and gives a float.

    Raises
    ------
    MiniAlexError
        If one is out of range.
    """

    schedule: LRScheduler | ReduceLROnPlateau | None = None
    device: str = "cpu"
    clip_norm: float | None = None
    accumulate: int = 1
    loss: Loss = F.cross_entropy
    validation_metrics: Mapping[str, Callable[[Evaluation], float]] = field(default_factory=dict)

    def __post_init__(self):
        if self.clip_norm is not None:
            require_number("clip_norm", self.clip_norm, 0, bounds="(]")
        require_int("accumulate", self.accumulate, 1)


class Trainer:
    """Trains a network on one loader and tests it on another after every epoch.

    Parameters
    ----------
    network : Network
        On the device.
    optimizer : Optimizer
        Over the network's parameters.
    train : iterable of (x, y), with a length
        x float32 (B, C, H, W); y int64 (B,), or a distribution over the classes in each row, float32
        (B, classes). A `DataLoader` is asked for ``batches(epoch, start)``, epochs counted from 1; anything
        else, such as a list, is iterated, and should give the same batches each time.
    validation : iterable of (x, y), optional
        y int64 (B,).
    options : Options
    callbacks : sequence of Callback

    Attributes
    ----------
    epoch : int
        How many epochs are complete.
    batch : int
        How many batches of the next one are done; 0 between epochs.
    steps : int
        How many steps the optimiser has taken.
    history : list of EpochMetrics
    stopped : str or None
        Why training was ended early, if it was.

    Raises
    ------
    MiniAlexError
        If two callbacks with a state have the same key, the schedule monitors a metric that is not there or
        is another optimiser's, or the optimiser has no parameter of the network.
    """

    def __init__(
        self,
        network: Network,
        optimizer: Optimizer,
        train: Iterable[tuple[np.ndarray, np.ndarray]],
        validation: Iterable[tuple[np.ndarray, np.ndarray]] | None = None,
        options: Options = Options(),  # noqa: B008 - it is frozen
        callbacks: Sequence[Callback] = (),
    ):
        self.network, self.optimizer = network, optimizer
        self.train, self.validation = train, validation
        self.options, self.callbacks = options, tuple(callbacks)
        self.epoch = self.batch = self.steps = 0
        self.history: list[EpochMetrics] = []
        self.stopped: str | None = None
        self._sums = EpochSums()
        self._moment: _Moment | None = None
        self._seconds_before, self._started = 0.0, None
        own = {id(parameter) for parameter in network.parameters()}
        if not any(id(parameter) in own for parameter in optimizer.parameters()):
            raise MiniAlexError(
                "optimizer must hold parameters of the network, not only those of another; write "
                f"{type(optimizer).__name__}(network.parameters(), ...)"
            )
        if options.schedule is not None and options.schedule.optimizer is not optimizer:
            raise MiniAlexError("options.schedule must be of the optimiser that is given, not of another")
        if isinstance(options.schedule, ReduceLROnPlateau):
            self.require_metric(options.schedule.monitor)
        keys = [callback.key for callback in self._callbacks_with_state()]
        if len(set(keys)) < len(keys):
            raise MiniAlexError(f"callbacks with a state need keys of their own; these are {', '.join(keys)}")

    def fit(self, epochs: int) -> EpochMetrics:
        """Train until `epochs` epochs are complete, those before a resume included, or a callback stops it.

        A KeyboardInterrupt ends it at once, except that the update of the parameters and what follows an
        epoch are completed first. The trainer goes back to its state after the last complete step and tells
        the callbacks (`Callback.interrupted`), which may write it, before the interruption reaches the
        caller.

        Returns
        -------
        EpochMetrics
            Of the last epoch.

        Raises
        ------
        TrainingError
            If the loss is not finite; the message names the layer where that began.
        """
        require_int("epochs", epochs, 1)
        self._started = time.perf_counter()
        with ExitStack() as open_callbacks:
            for callback in self.callbacks:
                callback.before_training(self)
                open_callbacks.callback(callback.after_training)
            self._moment = self._now()
            try:
                while self.epoch < epochs and self.stopped is None:
                    self._train_epoch()
                    self._finish_epoch()
            except KeyboardInterrupt:
                self._seconds_before, self._started = self.seconds, None
                self._go_back()
                raise
        self._seconds_before, self._started = self.seconds, None
        return self.history[-1]

    @property
    def seconds(self) -> float:
        """Spent in `fit` so far, validation included, by the processes before a resume too."""
        running = 0.0 if self._started is None else time.perf_counter() - self._started
        return self._seconds_before + running

    def stop(self, reason: str) -> None:
        """End the training after this epoch, for good: a resumed run is ended as well."""
        self.stopped = reason

    def require_metric(self, name: str) -> None:
        """Check that the epochs of this training have a metric.

        Raises
        ------
        MiniAlexError
            With the names of those that they have.
        """
        names = ["train_loss", "train_accuracy"]
        if self.validation is not None:
            names += ["validation_loss", "validation_accuracy", *self.options.validation_metrics]
        if name not in names:
            without = "" if self.validation is not None else " without validation images"
            raise MiniAlexError(
                f"there is no metric {name!r} to monitor{without}; there are: {', '.join(names)}"
            )

    # The loop

    def _train_epoch(self) -> None:
        """Take the steps of the next epoch that are left."""
        self.network.train()
        skipped, seconds, start = self._sums.skipped, self._sums.seconds, time.perf_counter()
        window = _Window()
        with closing(self._batches()) as batches:

            def step() -> None:
                with self._update():
                    norm = self._step(window)
                    self.batch = batches.position
                    self._sums.skipped = skipped + len(batches.skipped)
                    self._sums.seconds = seconds + time.perf_counter() - start
                    self._report(window, norm)

            for x, y in batches:
                self._add(window, batches.position, x, y)
                if window.batches == self.options.accumulate:
                    step()
                    window = _Window()
            if window.batches:
                step()
            self._sums.skipped = skipped + len(batches.skipped)
        if not self._sums.images:
            raise TrainingError(f"the training loader gave no batch in epoch {self.epoch + 1}")

    def _batches(self):
        """The batches of the next epoch that are left, with the `position` of the one that comes next."""
        if hasattr(self.train, "batches"):
            return self.train.batches(self.epoch + 1, self.batch)
        return _ListedBatches(self.train, self.batch)

    def _add(self, window: _Window, number: int, x: np.ndarray, y: np.ndarray) -> None:
        """Add a batch, the number-th of its epoch, to a step."""
        x, y = np.asarray(x), np.asarray(y)  # a loader's samples may be tensors
        # What overflows shows as a loss that is not finite; NumPy's warning adds nothing.
        with np.errstate(all="ignore"):
            outputs = self.network(Tensor(x, device=self.options.device))
            loss = objective(outputs, y, self.options.loss)
            value, predictions = loss.item(), logits_of(outputs).numpy().argmax(axis=1)
            if not math.isfinite(value):
                raise TrainingError(self._failure(f"batch {number}", x))
            if not window.batches:
                self.optimizer.zero_grad()
            if self.options.accumulate == 1:
                loss.backward()
            else:
                # Of the sum over the images: how many the step will have is known at its end.
                (loss * len(y)).backward()
        labels = y if y.ndim == 1 else y.argmax(axis=1)
        window.batches += 1
        window.images += len(y)
        window.loss += value * len(y)
        window.correct += int((predictions == labels).sum())

    def _step(self, window: _Window) -> float | None:
        """Take the step whose batches have been added; return the gradients' norm if they are clipped."""
        if self.options.accumulate > 1:
            for p in self.optimizer.parameters():
                if p.grad is not None:
                    p.grad.data /= window.images
        norm = None
        if self.options.clip_norm is not None:
            try:
                norm = clip_grad_norm_(self.optimizer.parameters(), self.options.clip_norm)
            except MiniAlexError as error:
                raise TrainingError(f"epoch {self.epoch + 1}, step {self.steps + 1}: {error}") from None
        window.lr = self.optimizer.param_groups[0]["lr"]
        with np.errstate(all="ignore"):
            self.optimizer.step()
        if self.options.schedule is not None and self.options.schedule.per == "step":
            self.options.schedule.step()
        self.steps += 1
        self._sums.images += window.images
        self._sums.correct += window.correct
        self._sums.loss += window.loss
        self._sums.lr = window.lr
        return norm

    def _report(self, window: _Window, norm: float | None) -> None:
        """Tell the callbacks about a step."""
        sums = self._sums
        step = Step(
            number=self.steps,
            epoch=self.epoch + 1,
            batch=self.batch,
            batches=len(self.train),
            images=window.images,
            loss=sums.loss / sums.images,
            accuracy=sums.correct / sums.images,
            images_per_second=sums.images / sums.seconds,
            lr=window.lr,
            step_loss=window.loss / window.images,
            step_accuracy=window.correct / window.images,
            gradient_norm=norm,
        )
        for callback in self.callbacks:
            callback.after_step(step)
        for callback in self.callbacks:
            callback.save(self)

    def _finish_epoch(self) -> None:
        """Validate, and tell the callbacks about the epoch."""
        sums, validation, extra = self._sums, None, {}
        if self.validation is not None:
            with np.errstate(all="ignore"):
                validation = evaluate(self.network, self.validation, self.options.device)
            if not math.isfinite(validation.loss):
                raise TrainingError(
                    self._failure("the validation", np.asarray(next(iter(self.validation))[0]))
                )
            measures = self.options.validation_metrics
            extra = {name: float(measure(validation)) for name, measure in measures.items()}
        if sums.skipped:
            extra["train_skipped"] = sums.skipped
        metrics = EpochMetrics(
            epoch=self.epoch + 1,
            train_loss=sums.loss / sums.images,
            train_accuracy=sums.correct / sums.images,
            validation_loss=None if validation is None else validation.loss,
            validation_accuracy=None if validation is None else validation.accuracy,
            lr=sums.lr,
            seconds=sums.seconds,
            images_per_second=sums.images / sums.seconds,
            extra=extra,
        )
        with self._update():
            schedule = self.options.schedule
            if isinstance(schedule, ReduceLROnPlateau):
                schedule.step(metrics.to_dict()[schedule.monitor])
            elif schedule is not None and schedule.per == "epoch":
                schedule.step()
            self.epoch, self.batch, self._sums = self.epoch + 1, 0, EpochSums()
            self.history.append(metrics)
            for callback in self.callbacks:
                callback.after_epoch(metrics, self.network, validation)
            for callback in self.callbacks:
                callback.save(self)

    # Interruptions

    def _now(self) -> _Moment:
        buffers = {name: values_of(buffer).copy() for name, buffer in self.network.named_buffers()}
        return _Moment(replace(self._sums), random.state_dict(), buffers)

    @contextmanager
    def _update(self) -> Iterator[None]:
        """Go from one whole state to the next; an interruption waits for that."""
        with uninterrupted():
            self._moment = None
            yield
            self._moment = self._now()

    def _go_back(self) -> None:
        """Return to the last whole state, and tell the callbacks that the interruption leaves it.

        There is none if an update was broken off.
        """
        if (moment := self._moment) is None:
            return
        random.load_state_dict(moment.random)
        self._sums = moment.sums
        for name, buffer in self.network.named_buffers():
            values_of(buffer)[...] = moment.buffers[name]
        for callback in self.callbacks:
            callback.interrupted(self)

    def _failure(self, where: str, x: np.ndarray) -> str:
        lr = max(group["lr"] for group in self.optimizer.param_groups)
        with np.errstate(all="ignore"):
            layer = first_non_finite_layer(self.network, x, self.options.device) or "the loss itself"
        helps = "Look at the data" if layer == IMAGES else f"Lower the learning rate (it is {lr:g} here)"
        return (
            f"the loss is not finite in epoch {self.epoch + 1}, {where}: the first value that is not finite "
            f"comes from {layer}. {helps}"
        )

    # The exact state

    def state_dict(self) -> TrainingState:
        """Everything that decides how training goes on.

        It is whole in `Callback.save` and `Callback.interrupted`, and outside of `fit`.
        It shares the arrays of the network and the optimiser: write it, or copy them, before the next step.
        """
        return TrainingState(
            epoch=self.epoch,
            batch=self.batch,
            batches=len(self.train),
            steps=self.steps,
            accumulate=self.options.accumulate,
            seconds=self.seconds,
            stopped=self.stopped,
            sums=replace(self._sums),
            history=tuple(self.history),
            network=self.network.state_dict(),
            optimizer=_with_kind(self.optimizer),
            schedule=self.options.schedule and _with_kind(self.options.schedule),
            random=random.state_dict(),
            callbacks={callback.key: callback.state_dict() for callback in self._callbacks_with_state()},
        )

    def load_state_dict(self, state: TrainingState) -> None:
        """Go on from a state: `fit` then gives the bits that it would have given without the interruption.

        The trainer must have been made as the one that gave the state: model, optimiser, schedule, loaders,
        callbacks and device, on the same machine, with the same number of threads, on which the choice among
        kernels depends.

        Raises
        ------
        CheckpointError
            If something does not fit; nothing is changed then.
        """
        self._check(state)
        callbacks = self._callbacks_with_state()
        before = [callback.state_dict() for callback in callbacks]
        try:
            for callback in callbacks:
                callback.load_state_dict(state.callbacks[callback.key])
            random.load_state_dict(state.random)
        except CheckpointError:
            for callback, own in zip(callbacks, before, strict=True):
                callback.load_state_dict(own)
            raise
        self.network.load_state_dict(state.network)
        self.optimizer.load_state_dict(_without_kind(state.optimizer))
        if self.options.schedule is not None:
            self.options.schedule.load_state_dict(_without_kind(state.schedule))
        self.epoch, self.batch, self.steps = state.epoch, state.batch, state.steps
        self.history[:] = state.history
        self.stopped = state.stopped
        self._sums = replace(state.sums)
        self._seconds_before = state.seconds

    def _callbacks_with_state(self) -> list[Callback]:
        return [callback for callback in self.callbacks if callback.state_dict() is not None]

    def _check(self, state: TrainingState) -> None:
        """Raise `CheckpointError` if a state is not of a training like this one."""
        optimizer, schedule = self.optimizer, self.options.schedule
        keys = [callback.key for callback in self._callbacks_with_state()]
        for name, saved, own in (
            ("batches an epoch", state.batches, len(self.train)),
            ("batches a step", state.accumulate, self.options.accumulate),
            ("optimiser", state.optimizer.get("kind"), _kind(optimizer)),
            ("schedule", state.schedule and state.schedule.get("kind"), schedule and _kind(schedule)),
            ("callbacks with a state", sorted(state.callbacks), sorted(keys)),
        ):
            if saved != own:
                raise CheckpointError(
                    f"the state is of another training: {name}: {saved!r} there, {own!r} here"
                )
        epochs = [metrics.epoch for metrics in state.history]
        if epochs != list(range(1, state.epoch + 1)) or state.batch > state.batches:
            raise CheckpointError(
                f"the state contradicts itself: {state.epoch} epochs and batch {state.batch} of "
                f"{state.batches}, with the metrics of the epochs {epochs}"
            )
        _require_same_arrays("network", state.network, self.network.state_dict())
        saved = _without_kind(state.optimizer)
        optimizer.check_state_dict(saved)
        for i, p in enumerate(optimizer.parameters()):
            arrays = {name: value for name, value in saved["state"].get(i, {}).items() if is_array(value)}
            _require_same_arrays(f"optimizer.{i}", arrays, dict.fromkeys(arrays, p.data))
        if schedule is not None:
            schedule.check_state_dict(_without_kind(state.schedule))


def _kind(component) -> str:
    return type(component).__name__


def _with_kind(component) -> dict:
    """Its state dict, with the kind of thing that it is of."""
    return {"kind": _kind(component), **component.state_dict()}


def _without_kind(saved: Mapping) -> dict:
    return {name: value for name, value in saved.items() if name != "kind"}


def _require_same_arrays(part: str, saved: Mapping, own: Mapping) -> None:
    """Names, shapes and dtypes: a conversion would lose the bits."""
    described = [
        {name: f"{array.dtype} {array.shape}" for name, array in arrays.items()} for arrays in (saved, own)
    ]
    for name in described[0].keys() | described[1].keys():
        there, here = (each.get(name, "missing") for each in described)
        if there != here:
            raise CheckpointError(f"the state does not fit: {part}.{name} is {there} there, {here} here")
