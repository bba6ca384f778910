"""What a training recipe is: its tables, their defaults and their limits.

A recipe is read from TOML, or from the settings of a run, as nested dictionaries. `Recipe.from_dict` takes
nothing on trust; each error names the key (`optimizer.lr`), the value and what is allowed.
"""

from __future__ import annotations

import difflib
import re
import reprlib
from collections.abc import Sequence
from dataclasses import MISSING, dataclass, field, fields

from minialex.checks import is_int
from minialex.data.pca import FROM_DATA, ColourStatistics, with_statistics
from minialex.data.registry import SOURCES
from minialex.data.transforms import Pipeline, standard_pipeline
from minialex.errors import DataError, RecipeError
from minialex.models import get_architecture
from minialex.nn.init import RECIPES as INITIALISERS

# In a list of transforms it stands for "bring the image to the model's size and colours, then normalise".
FIT_MODEL = "fit_model"
_METRICS = (
    "train_loss",
    "train_accuracy",
    "validation_loss",
    "validation_accuracy",
    "validation_top5_accuracy",
)
_MAX_COUNT = 10**6
# With these, a list of transforms whose statistics are still to be taken from the data can be checked.
_ANY_STATISTICS = ColourStatistics(
    mean=(0.0,),
    std=(1.0,),
    eigenvalues=(0.0,) * 3,
    eigenvectors=((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)),
)


@dataclass(frozen=True)
class Model:
    """Table [model]: which network, and its first weights.

    Attributes
    ----------
    name : str
        One of `minialex models`.
    initialiser : str, optional
        A recipe of `minialex.nn.init` in place of the model's own.
    """

    name: str
    initialiser: str | None = None

    def __post_init__(self):
        _text("model.name", self.name)
        get_architecture(self.name)
        if self.initialiser is not None:
            _one_of("model.initialiser", self.initialiser, tuple(INITIALISERS))


@dataclass(frozen=True)
class Data:
    """Table [data]: what is trained on, and what is held back.

    Attributes
    ----------
    source : str
        One of `minialex.data.registry.SOURCES`.
    reserve : int
        How many of the first training images are left out, as TensorFlow's `read_data_sets` does.
    train_samples, test_samples : int, optional
        Draw only so many images, at random; all of them if not given.
    replacement : bool
        Whether an image can be drawn more than once, as by `numpy.random.randint`.
    validation : "test" or float
        What is measured after each epoch: the data set's test part; or this last share of the training
        part, taken off before anything is shuffled, as Keras's `validation_split` does.
    values : "bytes" or "unit"
        Whether the images are taken as bytes 0..255, or come as floats 0..1.
    labels : "integer" or "one_hot"
        Whether the loss reads a class number or a row of zeros and a one; the result is the same.
    damaged : "stop" or "skip"
        What to do about a file that cannot be read: end the run, or leave it out and count it.
    """

    source: str
    reserve: int = 0
    train_samples: int | None = None
    test_samples: int | None = None
    replacement: bool = False
    validation: str | float = "test"
    values: str = "bytes"
    labels: str = "integer"
    damaged: str = "stop"

    def __post_init__(self):
        _one_of("data.source", self.source, tuple(SOURCES))
        _integer("data.reserve", self.reserve, 0, 10**9)
        for name in ("train_samples", "test_samples"):
            if getattr(self, name) is not None:
                _integer(f"data.{name}", getattr(self, name), 1, 10**9)
        _flag("data.replacement", self.replacement)
        if self.validation != "test":
            allowed = '"test", or a share above 0 and below 1'
            _number("data.validation", self.validation, above=0, below=1, allowed=allowed)
        _one_of("data.values", self.values, ("bytes", "unit"))
        _one_of("data.labels", self.labels, ("integer", "one_hot"))
        _one_of("data.damaged", self.damaged, ("stop", "skip"))


@dataclass(frozen=True)
class Transforms:
    """Lists [[transforms.train]], [[transforms.validation]] and [[transforms.test]].

    Each entry is a transform of `minialex.data.transforms`, or `fit_model` with a mean and a std. Statistics
    that are left out (of `pca_noise`, `subtract_mean`, `normalize`) are taken from the training set.

    Attributes
    ----------
    train : tuple of dict
        For the images that are trained on.
    test : tuple of dict
        For testing and predicting.
    validation : tuple of dict, optional
        For what is measured after each epoch; as `test` if not given.
    """

    train: tuple[dict, ...]
    test: tuple[dict, ...]
    validation: tuple[dict, ...] | None = None

    def __post_init__(self):
        for name in ("train", "test", "validation"):
            values = getattr(self, name)
            if values is None and name == "validation":
                continue
            path = f"transforms.{name}"
            if not isinstance(values, list | tuple) or not values:
                raise _error(path, values, "a list of one or more transforms")
            for i, entry in enumerate(values):
                if not isinstance(entry, dict):
                    raise _error(f"{path}[{i}]", entry, 'a table such as {name = "scale"}')
                _text(f"{path}[{i}].name", entry.get("name"))
            object.__setattr__(self, name, tuple(values))

    @property
    def need_statistics(self) -> bool:
        """Whether a transform leaves out what is to be taken from the training set."""
        return any(
            name not in entry
            for entries in (self.train, self.test, self.validation or ())
            for entry in entries
            for name in FROM_DATA.get(entry.get("name"), ())
        )

    def resolved(self, input_shape: Sequence[int], statistics: ColourStatistics | None) -> Transforms:
        """The transforms written out for a network's input (C, H, W), with statistics filled in."""

        def write_out(part: str) -> tuple[dict, ...] | None:
            entries = getattr(self, part)
            if entries is None:
                return None
            try:
                entries = expand_fit_model(entries, input_shape)
                filled = entries if statistics is None else with_statistics(entries, statistics)
                return tuple(Pipeline.from_list(filled).to_list())
            except DataError as error:
                raise RecipeError(f"transforms.{part}: {error}") from None

        return Transforms(*map(write_out, ("train", "test", "validation")))

    def check(self, input_shape: Sequence[int]) -> None:
        """Check every transform, whatever the training set's statistics will be.

        Raises
        ------
        RecipeError
            If one is unknown, or has wrong values, or they do not go together.
        """
        self.resolved(input_shape, _ANY_STATISTICS)

    def pipeline(self, part: str) -> Pipeline:
        """The pipeline of "train", "validation" or "test", of transforms that are `resolved`."""
        entries = getattr(self, part)
        return Pipeline.from_list(list(self.test if entries is None else entries))


def expand_fit_model(entries: Sequence[dict], input_shape: Sequence[int]) -> list[dict]:
    """Write out each `fit_model` of a list of transforms for a network's input (C, H, W).

    Raises
    ------
    DataError
        If its mean or std are missing or not as `standard_pipeline` asks.
    """
    expanded = []
    for entry in entries:
        if entry.get("name") != FIT_MODEL:
            expanded.append(entry)
            continue
        if entry.keys() != {"name", "mean", "std"}:
            raise DataError(f"{FIT_MODEL} must have mean and std and nothing else, got {reprlib.repr(entry)}")
        expanded += standard_pipeline(input_shape, entry["mean"], entry["std"]).to_list()
    return expanded


@dataclass(frozen=True)
class Sgd:
    """Table [optimizer] with name = "sgd": stochastic gradient descent.

    Attributes
    ----------
    lr : float
    momentum : float
    nesterov : bool
    weight_decay : float
        Added to each gradient times the weight: g + weight_decay w. The paper's and PyTorch's form.
    l2_convolutions : float
        Keras's `regularizers.l2(l)` on the convolutions' weights: the penalty is l sum(w^2), so that
        2 l w is added to their gradients.
    """

    lr: float
    momentum: float = 0.0
    nesterov: bool = False
    weight_decay: float = 0.0
    l2_convolutions: float = 0.0

    def __post_init__(self):
        _number("optimizer.lr", self.lr, above=0)
        _number("optimizer.momentum", self.momentum, low=0, below=1)
        _flag("optimizer.nesterov", self.nesterov)
        _number("optimizer.weight_decay", self.weight_decay, low=0)
        _number("optimizer.l2_convolutions", self.l2_convolutions, low=0)
        if self.nesterov and not self.momentum:
            raise _error("optimizer.nesterov", True, "false where optimizer.momentum is 0")


@dataclass(frozen=True)
class Adam:
    """Table [optimizer] with name = "adam".

    Attributes
    ----------
    lr : float
    betas : (float, float)
    eps : float
    weight_decay, l2_convolutions : float
        As those of `Sgd`.
    """

    lr: float
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.0
    l2_convolutions: float = 0.0

    def __post_init__(self):
        _number("optimizer.lr", self.lr, above=0)
        if not isinstance(self.betas, list | tuple) or len(self.betas) != 2:
            raise _error("optimizer.betas", self.betas, "two numbers, 0 or more and below 1")
        for i, beta in enumerate(self.betas):
            _number(f"optimizer.betas[{i}]", beta, low=0, below=1)
        object.__setattr__(self, "betas", tuple(self.betas))
        _number("optimizer.eps", self.eps, above=0)
        _number("optimizer.weight_decay", self.weight_decay, low=0)
        _number("optimizer.l2_convolutions", self.l2_convolutions, low=0)


@dataclass(frozen=True)
class Constant:
    """Table [schedule] with name = "constant": the rate stays what it is."""


@dataclass(frozen=True)
class WarmupCosine:
    """Table [schedule] with name = "warmup_cosine": step by step up to the rate, then along a cosine to 0.

    Attributes
    ----------
    warmup : float
        The share of all steps that the rise takes.
    """

    warmup: float = 0.1

    def __post_init__(self):
        _number("schedule.warmup", self.warmup, above=0, below=1)


@dataclass(frozen=True)
class MultiStep:
    """Table [schedule] with name = "multi_step": multiply the rate after certain epochs.

    Attributes
    ----------
    milestones : tuple of int
        After how many epochs, ascending.
    gamma : float
    """

    milestones: tuple[int, ...]
    gamma: float = 0.1

    def __post_init__(self):
        if not isinstance(self.milestones, list | tuple) or not self.milestones:
            raise _error("schedule.milestones", self.milestones, "a list of one or more numbers of epochs")
        for i, epoch in enumerate(self.milestones):
            _integer(f"schedule.milestones[{i}]", epoch, 1, _MAX_COUNT)
        if list(self.milestones) != sorted(set(self.milestones)):
            raise _error("schedule.milestones", list(self.milestones), "in ascending order")
        object.__setattr__(self, "milestones", tuple(self.milestones))
        _number("schedule.gamma", self.gamma, above=0, high=1)


@dataclass(frozen=True)
class Plateau:
    """Table [schedule] with name = "plateau": multiply the rate when a metric stops improving.

    Attributes
    ----------
    monitor : str
        A field of an epoch's metrics.
    mode : "min" or "max"
        Which way is better.
    factor : float
    patience : int
        How many epochs without an improvement are let pass.
    min_lr : float
        The rate does not fall below.
    """

    monitor: str = "validation_accuracy"
    mode: str = "max"
    factor: float = 0.1
    patience: int = 10
    min_lr: float = 0.0

    def __post_init__(self):
        _one_of("schedule.monitor", self.monitor, _METRICS)
        _one_of("schedule.mode", self.mode, ("min", "max"))
        _number("schedule.factor", self.factor, above=0, below=1)
        _integer("schedule.patience", self.patience, 0, _MAX_COUNT)
        _number("schedule.min_lr", self.min_lr, low=0)


@dataclass(frozen=True)
class Training:
    """Table [training].

    Attributes
    ----------
    epochs, batch_size : int
    clip_norm : float, optional
        The largest joint norm of the gradients.
    accumulate : int
        How many batches' gradients make one step.
    early_stop : int, optional
        End when the checkpoint's metric has not improved for so many epochs.
    tensorboard : bool
        Write event files for TensorBoard into the run folder.
    """

    epochs: int
    batch_size: int
    clip_norm: float | None = None
    accumulate: int = 1
    early_stop: int | None = None
    tensorboard: bool = False

    def __post_init__(self):
        _integer("training.epochs", self.epochs, 1, _MAX_COUNT)
        _integer("training.batch_size", self.batch_size, 1, _MAX_COUNT)
        if self.clip_norm is not None:
            _number("training.clip_norm", self.clip_norm, above=0)
        _integer("training.accumulate", self.accumulate, 1, _MAX_COUNT)
        if self.early_stop is not None:
            _integer("training.early_stop", self.early_stop, 1, _MAX_COUNT)
        _flag("training.tensorboard", self.tensorboard)


@dataclass(frozen=True)
class Checkpoint:
    """Table [checkpoint]: which epoch's weights are kept as the best, and how often the state is.

    Attributes
    ----------
    monitor : str
        A field of an epoch's metrics.
    mode : "min" or "max"
        Which way is better.
    every_seconds : float
        Write the exact state, from which `--resume` continues, at least this often within an epoch.
    """

    monitor: str = "validation_accuracy"
    mode: str = "max"
    every_seconds: float = 600.0

    def __post_init__(self):
        _one_of("checkpoint.monitor", self.monitor, _METRICS)
        _one_of("checkpoint.mode", self.mode, ("min", "max"))
        _number("checkpoint.every_seconds", self.every_seconds, low=0)


@dataclass(frozen=True)
class Report:
    """Table [report]: what is known of the result.

    Attributes
    ----------
    document : str
        The figures that the document gives.
    measured : str
        Ours, or why there is none.
    guessing : str
        Why the loss is expected to stay at that of guessing, if it is.
    """

    document: str = ""
    measured: str = "not yet run"
    guessing: str = ""

    def __post_init__(self):
        for name in ("document", "measured", "guessing"):
            _text(f"report.{name}", getattr(self, name), empty=True)


OPTIMIZERS = {"sgd": Sgd, "adam": Adam}
SCHEDULES = {
    "constant": Constant,
    "warmup_cosine": WarmupCosine,
    "multi_step": MultiStep,
    "plateau": Plateau,
}


@dataclass(frozen=True)
class Recipe:
    """Everything that decides a training run but its seed, its device and where its files are.

    Attributes
    ----------
    name : str
        Under which `minialex recipes` lists it; for a file of one's own, the file's name.
    title : str
        One line that says what it is.
    document : str
        What it follows.
    model, data, transforms, optimizer, training, schedule, checkpoint, report
        The tables; [schedule], [checkpoint] and [report] may be left out.
    """

    name: str
    title: str
    document: str
    model: Model
    data: Data
    transforms: Transforms
    optimizer: Sgd | Adam
    training: Training
    schedule: Constant | WarmupCosine | MultiStep | Plateau = field(default_factory=Constant)
    checkpoint: Checkpoint = field(default_factory=Checkpoint)
    report: Report = field(default_factory=Report)

    def __post_init__(self):
        for name in ("name", "title"):
            _text(name, getattr(self, name))
        if not re.fullmatch(r"[\w-][\w.-]*", self.name):
            raise _error("name", self.name, "letters, digits, _, - and dots: a folder is named after it")
        _text("document", self.document)
        self.transforms.check(get_architecture(self.model.name).input_shape)

    @classmethod
    def from_dict(cls, values: object) -> Recipe:
        """Read a recipe that may come from anywhere.

        Raises
        ------
        RecipeError
            If a key is unknown or missing, or a value is not allowed.
        ModelError
            If the model is unknown.
        """
        _require_keys("", values, cls)
        read = dict(values)
        for name, table in _TABLES.items():
            if name in read:
                read[name] = table(name, read[name])
        return cls(**read)

    def to_dict(self) -> dict:
        """The recipe as TOML and JSON can hold it; what has no value is left out."""
        result = {"name": self.name, "title": self.title, "document": self.document}
        for name in _TABLES:
            table = getattr(self, name)
            named = {"name": _NAMES[type(table)]} if type(table) in _NAMES else {}
            result[name] = named | {
                each.name: _plain(getattr(table, each.name))
                for each in fields(table)
                if getattr(table, each.name) is not None
            }
        return result


def _read(cls):
    """A reader of a table whose keys are the fields of one class."""

    def read(path: str, values: object):
        _require_keys(path, values, cls)
        return cls(**values)

    return read


def _read_named(classes: dict):
    """A reader of a table whose `name` says which class it is."""

    def read(path: str, values: object):
        if not isinstance(values, dict):
            raise _error(path, values, "a table")
        if "name" not in values:
            raise RecipeError(f"{path}.name is missing; it is one of {', '.join(classes)}")
        _one_of(f"{path}.name", values["name"], tuple(classes))
        options = {key: value for key, value in values.items() if key != "name"}
        _require_keys(path, options, classes[values["name"]], f" for {values['name']}")
        return classes[values["name"]](**options)

    return read


_NAMES = {cls: name for classes in (OPTIMIZERS, SCHEDULES) for name, cls in classes.items()}
_TABLES = {
    "model": _read(Model),
    "data": _read(Data),
    "transforms": _read(Transforms),
    "optimizer": _read_named(OPTIMIZERS),
    "schedule": _read_named(SCHEDULES),
    "training": _read(Training),
    "checkpoint": _read(Checkpoint),
    "report": _read(Report),
}


def _plain(value):
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, tuple | list) else value


def _require_keys(path: str, values: object, cls, of: str = "") -> None:
    """Raise unless a table is one, with the fields of a class as its keys."""
    if not isinstance(values, dict):
        raise _error(path or "the recipe", values, "a table")
    known = [each.name for each in fields(cls)]
    prefix = f"{path}." if path else ""
    for key in values:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1)
            hint = f"did you mean {prefix}{near[0]}? " if near else ""
            raise RecipeError(
                f"{prefix}{key} is unknown{of}; {hint}There are: {', '.join(known) or 'no options'}"
            )
    for each in fields(cls):
        if each.default is MISSING and each.default_factory is MISSING and each.name not in values:
            raise RecipeError(f"{prefix}{each.name} is missing{of}")


def _error(path: str, value: object, allowed: str) -> RecipeError:
    return RecipeError(f"{path}={reprlib.repr(value)} should be {allowed}")


def _text(path: str, value: object, *, empty: bool = False) -> None:
    if not isinstance(value, str) or not (value or empty):
        raise _error(path, value, "text" if empty else "text that is not empty")


def _one_of(path: str, value: object, allowed: tuple[str, ...]) -> None:
    if not isinstance(value, str) or value not in allowed:
        raise _error(path, value, f"one of {', '.join(allowed)}")


def _flag(path: str, value: object) -> None:
    if not isinstance(value, bool):
        raise _error(path, value, "true or false")


def _integer(path: str, value: object, low: int, high: int) -> None:
    if not is_int(value, low, high):
        raise _error(path, value, f"an int, {low:,} to {high:,}")


def _number(
    path: str,
    value: object,
    *,
    low: float | None = None,
    above: float | None = None,
    below: float = float("inf"),
    high: float | None = None,
    allowed: str | None = None,
) -> None:
    """Check a number: at least `low` or above `above`, and at most `high` or below `below`. NaN never is."""
    right = isinstance(value, int | float) and not isinstance(value, bool)
    if right:
        right = value >= low if low is not None else value > above
        right = right and (value <= high if high is not None else value < below)
    if not right:
        least = f"a number, {low:g} or more" if low is not None else f"a number above {above:g}"
        most = (
            f", at most {high:g}"
            if high is not None
            else ""
            if below == float("inf")
            else f", below {below:g}"
        )
        raise _error(path, value, allowed or least + most)
