"""What a training recipe is: its tables, their defaults and their limits.

A recipe is read from TOML, or from the settings of a run, as nested dictionaries. `Recipe.from_dict` trusts
nothing about them; each error names the key (`optimizer.lr`), the value and what is allowed.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import MISSING, dataclass, field, fields

from minialex.checks import in_words
from minialex.data.pca import FROM_DATA, ColourStatistics, with_statistics
from minialex.data.registry import SOURCES
from minialex.data.transforms import Pipeline, standard_pipeline
from minialex.errors import DataError, RecipeError
from minialex.models import get_architecture
from minialex.models.initialisers import INITIALISERS
from minialex.training.recipes.rules import (
    ANY_TEXT,
    FLAG,
    TEXT,
    Rule,
    Table,
    integer,
    list_of,
    number,
    one_of,
    option,
    wrong,
)

# In a list of transforms this stands for "bring the image to the model's size and colours, then normalise".
FIT_MODEL = "fit_model"
_MAX_COUNT = 10**6
_COUNT = integer(1, _MAX_COUNT)
_POSITIVE, _NOT_NEGATIVE, _SHARE = number(0, bounds="()"), number(0), number(0, 1, "()")
_BETAS = list_of(number(0, 1), "two numbers 0 or more and below 1", length=2)
_MODE = one_of("min", "max")
_METRIC = one_of(
    "train_loss", "train_accuracy", "validation_loss", "validation_accuracy", "validation_top5_accuracy"
)
_VALIDATION = Rule(
    '"test", or a number between 0 and 1', lambda value: value == "test" or _SHARE.accepts(value)
)
_TRANSFORM = Rule(
    'a table with a name, such as {name = "scale"}',
    lambda value: isinstance(value, dict) and TEXT.accepts(value.get("name")),
)
_TRANSFORMS = list_of(_TRANSFORM, "a list of one or more transforms")
# With these, a list of transforms whose statistics are still to be taken from the data can be checked.
_ANY_STATISTICS = ColourStatistics(
    mean=(0.0,),
    std=(1.0,),
    eigenvalues=(0.0,) * 3,
    eigenvectors=((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)),
)


@dataclass(frozen=True)
class Model(Table):
    """Table [model]: which network, and its first weights.

    Attributes
    ----------
    name : str
        One of `minialex models`.
    initialiser : str, optional
        A recipe of `minialex.nn.init` in place of the model's own.
    """

    path = "model"
    name: str = option(TEXT)
    initialiser: str | None = option(one_of(*INITIALISERS), None)

    def __post_init__(self):
        super().__post_init__()
        get_architecture(self.name)


@dataclass(frozen=True)
class Data(Table):
    """Table [data]: what is trained on, and what is held back.

    Attributes
    ----------
    source : str
        One of `minialex.data.registry.SOURCES`.
    reserve : int
        How many of the first training images are left out, as TensorFlow's `read_data_sets` does.
    train_samples, test_samples : int, optional
        Draw only this many images, at random; all of them if not given.
    replacement : bool
        Whether an image can be drawn more than once, as by `numpy.random.randint`.
    validation : "test" or float
        What is measured after each epoch: the data set's test part; or this last share of the training
        part, taken off before anything is shuffled, as Keras's `validation_split` does.
    values : "bytes" or "unit"
        Whether the images are bytes 0..255, or floats 0..1.
    labels : "integer" or "one_hot"
        Whether the loss reads a class number or a row of zeros and a one; the result is the same.
    damaged : "stop" or "skip"
        What to do about a file that cannot be read: end the run, or leave it out and count it.
    """

    path = "data"
    source: str = option(one_of(*SOURCES))
    reserve: int = option(integer(0, 10**9), 0)
    train_samples: int | None = option(integer(1, 10**9), None)
    test_samples: int | None = option(integer(1, 10**9), None)
    replacement: bool = option(FLAG, False)
    validation: str | float = option(_VALIDATION, "test")
    values: str = option(one_of("bytes", "unit"), "bytes")
    labels: str = option(one_of("integer", "one_hot"), "integer")
    damaged: str = option(one_of("stop", "skip"), "stop")


@dataclass(frozen=True)
class Transforms(Table):
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

    path = "transforms"
    train: tuple[dict, ...] = option(_TRANSFORMS)
    test: tuple[dict, ...] = option(_TRANSFORMS)
    validation: tuple[dict, ...] | None = option(_TRANSFORMS, None)

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
            raise DataError(f"{FIT_MODEL} must have mean and std and nothing else, got {in_words(entry)}")
        expanded += standard_pipeline(input_shape, entry["mean"], entry["std"]).to_list()
    return expanded


@dataclass(frozen=True)
class Sgd(Table):
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

    path, kind = "optimizer", "sgd"
    lr: float = option(_POSITIVE)
    momentum: float = option(number(0, 1), 0.0)
    nesterov: bool = option(FLAG, False)
    weight_decay: float = option(_NOT_NEGATIVE, 0.0)
    l2_convolutions: float = option(_NOT_NEGATIVE, 0.0)

    def __post_init__(self):
        super().__post_init__()
        if self.nesterov and not self.momentum:
            raise wrong("optimizer.nesterov", True, "false where optimizer.momentum is 0")


@dataclass(frozen=True)
class Adam(Table):
    """Table [optimizer] with name = "adam".

    Attributes
    ----------
    lr : float
    betas : (float, float)
    eps : float
    weight_decay, l2_convolutions : float
        As those of `Sgd`.
    """

    path, kind = "optimizer", "adam"
    lr: float = option(_POSITIVE)
    betas: tuple[float, float] = option(_BETAS, (0.9, 0.999))
    eps: float = option(_POSITIVE, 1e-8)
    weight_decay: float = option(_NOT_NEGATIVE, 0.0)
    l2_convolutions: float = option(_NOT_NEGATIVE, 0.0)


@dataclass(frozen=True)
class Constant(Table):
    """Table [schedule] with name = "constant": the rate stays what it is."""

    path, kind = "schedule", "constant"


@dataclass(frozen=True)
class WarmupCosine(Table):
    """Table [schedule] with name = "warmup_cosine": step by step up to the rate, then along a cosine to 0.

    Attributes
    ----------
    warmup : float
        The share of all steps that the rise takes.
    """

    path, kind = "schedule", "warmup_cosine"
    warmup: float = option(_SHARE, 0.1)


@dataclass(frozen=True)
class MultiStep(Table):
    """Table [schedule] with name = "multi_step": multiply the rate after certain epochs.

    Attributes
    ----------
    milestones : tuple of int
        After how many epochs, ascending.
    gamma : float
    """

    path, kind = "schedule", "multi_step"
    milestones: tuple[int, ...] = option(list_of(_COUNT, "a list of one or more numbers of epochs"))
    gamma: float = option(number(0, 1, "(]"), 0.1)

    def __post_init__(self):
        super().__post_init__()
        if list(self.milestones) != sorted(set(self.milestones)):
            raise wrong("schedule.milestones", list(self.milestones), "in ascending order")


@dataclass(frozen=True)
class Plateau(Table):
    """Table [schedule] with name = "plateau": multiply the rate when a metric stops improving.

    Attributes
    ----------
    monitor : str
        A field of an epoch's metrics.
    mode : "min" or "max"
        Which way is better.
    factor : float
    patience : int
        How many epochs without an improvement are allowed.
    min_lr : float
        The rate does not fall below.
    """

    path, kind = "schedule", "plateau"
    monitor: str = option(_METRIC, "validation_accuracy")
    mode: str = option(_MODE, "max")
    factor: float = option(_SHARE, 0.1)
    patience: int = option(integer(0, _MAX_COUNT), 10)
    min_lr: float = option(_NOT_NEGATIVE, 0.0)


@dataclass(frozen=True)
class Training(Table):
    """Table [training].

    Attributes
    ----------
    epochs, batch_size : int
    clip_norm : float, optional
        The largest joint norm of the gradients.
    accumulate : int
        How many batches' gradients make one step.
    early_stop : int, optional
        End when the checkpoint's metric has not improved for this many epochs.
    tensorboard : bool
        Write event files for TensorBoard into the run folder.
    """

    path = "training"
    epochs: int = option(_COUNT)
    batch_size: int = option(_COUNT)
    clip_norm: float | None = option(_POSITIVE, None)
    accumulate: int = option(_COUNT, 1)
    early_stop: int | None = option(_COUNT, None)
    tensorboard: bool = option(FLAG, False)


@dataclass(frozen=True)
class Checkpoint(Table):
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

    path = "checkpoint"
    monitor: str = option(_METRIC, "validation_accuracy")
    mode: str = option(_MODE, "max")
    every_seconds: float = option(_NOT_NEGATIVE, 600.0)


@dataclass(frozen=True)
class Report(Table):
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

    path = "report"
    document: str = option(ANY_TEXT, "")
    measured: str = option(ANY_TEXT, "not yet run")
    guessing: str = option(ANY_TEXT, "")


@dataclass(frozen=True)
class Recipe:
    """Everything that decides a training run but its seed, its device and where its files are.

    Attributes
    ----------
    name : str
        Under which `minialex recipes` lists it; for a file of the user's, the file's name.
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
        for name in ("name", "title", "document"):
            TEXT.check(name, getattr(self, name))
        if not re.fullmatch(r"[\w-][\w.-]*", self.name):
            raise wrong("name", self.name, "letters, digits, _, - and dots: a folder is named after it")
        self.transforms.check(get_architecture(self.model.name).input_shape)

    @classmethod
    def from_dict(cls, values: object) -> Recipe:
        """Read a recipe from anywhere, trusting nothing about it.

        Raises
        ------
        RecipeError
            If a key is unknown or missing, or a value is not allowed.
        ModelError
            If the model is unknown.
        """
        _require_keys("", values, cls)
        return cls(**{key: _read(key, value) if key in _TABLES else value for key, value in values.items()})

    def to_dict(self) -> dict:
        """The recipe as TOML and JSON can hold it; what has no value is left out."""
        result = {"name": self.name, "title": self.title, "document": self.document}
        for name in _TABLES:
            table = getattr(self, name)
            named = {"name": table.kind} if table.kind else {}
            result[name] = named | {
                each.name: _plain(getattr(table, each.name))
                for each in fields(table)
                if getattr(table, each.name) is not None
            }
        return result


# The classes of each table. Where there are several, its `name` says which.
_TABLES: dict[str, tuple[type[Table], ...]] = {
    "model": (Model,),
    "data": (Data,),
    "transforms": (Transforms,),
    "optimizer": (Sgd, Adam),
    "schedule": (Constant, WarmupCosine, MultiStep, Plateau),
    "training": (Training,),
    "checkpoint": (Checkpoint,),
    "report": (Report,),
}


def _read(path: str, values: object) -> Table:
    """Read a table of a recipe."""
    kinds = {cls.kind: cls for cls in _TABLES[path]}
    if "" in kinds:
        _require_keys(path, values, kinds[""])
        return kinds[""](**values)
    if not isinstance(values, dict):
        raise wrong(path, values, "a table")
    if "name" not in values:
        raise RecipeError(f"{path}.name is missing; it is one of {', '.join(kinds)}")
    one_of(*kinds).check(f"{path}.name", values["name"])
    options = {key: value for key, value in values.items() if key != "name"}
    kind = kinds[values["name"]]
    _require_keys(path, options, kind, f" for {kind.kind}")
    return kind(**options)


def _plain(value):
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, tuple | list) else value


def _require_keys(path: str, values: object, cls, of: str = "") -> None:
    """Raise unless a table is one, with the fields of a class as its keys."""
    if not isinstance(values, dict):
        raise wrong(path or "the recipe", values, "a table")
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
