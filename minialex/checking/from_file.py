"""Gradient checks in a user's Python file: ``minialex gradcheck FILE.py::NAME``.

NAME is a function that checks and returns the report (or several); or what is to be checked, with its inputs
beside it under the name NAME_inputs, an array, a sequence of arguments, or a function that gives one:

    def check_tanh():                          # checks by itself
        return ma.check_vjp(np.tanh, tanh_vjp, [x])

    def cube(x):                               # a function of arrays, and its vector-Jacobian product
        return x**3

    def cube_vjp(u, x):
        return (3 * u * x**2,)

    cube_inputs = [np.array([0.5, -1.0])]

    cube_options = {"max_skipped": 0.5}        # if any: those of the check

    block = torch.nn.Sequential(...)           # a Module, a torch.autograd.Function, a function of JAX's
    block_inputs = [torch.randn(2, 3)]

Without NAME the file's functions named ``check_...`` are called. A function that has a parameter ``seed`` or
``quick`` gets what the command was given.
"""

from __future__ import annotations

import importlib.util
import inspect
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np

from minialex.checking.kernels.thin_models import parameters_replaced
from minialex.checking.report import GradcheckError, worst_of
from minialex.checking.results import ERROR, UNCHECKED, WRONG, Result
from minialex.errors import MiniAlexError
from minialex.random import seeded
from minialex.tensor import Tensor

PREFIX = "check_"
_QUICK = {"mode": "directions", "directions": 4}


class NoSuchCheckError(MiniAlexError):
    """There is no such file, or nothing of that name in it to check."""


class _NoReportError(Exception):
    """A check ran, and there is no telling that it compared anything."""


@dataclass(frozen=True)
class UserCheck:
    """One check of a file.

    Attributes
    ----------
    file, name : str
        As they were given.
    run : callable
        Gives a report, or several of them.
    ignored : tuple of str
        The options of the command that it does not heed.
    """

    file: str
    name: str
    run: Callable[[], object]
    ignored: tuple[str, ...] = ()


def find_checks(targets: Sequence[str], *, seed: int = 0, quick: bool = False) -> list[UserCheck]:
    """What some of ``FILE.py`` and ``FILE.py::NAME`` stand for; a file is run once.

    Parameters
    ----------
    targets : sequence of str
    seed : int
        Of upstream gradients and directions.
    quick : bool
        Whether random directions are enough.

    Raises
    ------
    NoSuchCheckError
        If there is no such file, or nothing of that name to check in it; the message lists what there is.
    MiniAlexError
        If a file fails to run.
    """
    modules: dict[str, ModuleType] = {}
    options = {"seed": seed, "quick": quick}
    checks = []
    for target in targets:
        file, separator, name = target.partition("::")
        if separator and not name:
            raise NoSuchCheckError(f"a target must be FILE.py or FILE.py::NAME, not {target!r}")
        if file not in modules:
            modules[file] = _load(Path(file))
        names = [name] if name else [each for each in _checkable(modules[file]) if each.startswith(PREFIX)]
        if not names:
            raise NoSuchCheckError(
                f"{file!r} defines no function {PREFIX}...; name what to check: {file}::NAME. "
                + _listed(modules[file])
            )
        checks += [_check_of(modules[file], file, each, options) for each in names]
    return checks


def run_check(check: UserCheck) -> tuple[Result, list]:
    """Run a check; its result, and the reports that it gave."""
    start = time.perf_counter()
    reports: list = []
    failure: dict[str, str] = {}
    try:
        reports = _reports(check.run())
    except GradcheckError as error:
        failure = {"verdict": WRONG, "message": error.summary, "text": str(error)}
    except _NoReportError as error:
        failure = {"verdict": UNCHECKED, "message": str(error), "text": str(error)}
    except AssertionError as error:
        failure = {"verdict": WRONG, "message": str(error) or "an assertion failed", "text": _where(error)}
    # SystemExit, too: a file must not end the command as if all were well.
    except (Exception, SystemExit) as error:
        failure = {
            "verdict": ERROR,
            "message": f"{type(error).__name__}: {error}",
            "text": f"{check.file}::{check.name}: {_where(error)}",
        }
    seconds = time.perf_counter() - start
    return Result(check.file, check.name, seconds=seconds, figures=_figures(reports), **failure), reports


def _load(path: Path) -> ModuleType:
    if not path.is_file():
        raise NoSuchCheckError(f"{str(path)!r} is not a file")
    name = f"minialex_checked_{path.stem}"
    specification = importlib.util.spec_from_file_location(name, path)
    if specification is None or specification.loader is None:
        raise NoSuchCheckError(f"the name of a file of checks must end in .py, not {str(path)!r}")
    module = importlib.util.module_from_spec(specification)
    folder = str(path.resolve().parent)
    if folder not in sys.path:
        # As for a program: it may import what stands beside it.
        sys.path.insert(0, folder)
    sys.modules[name] = module
    try:
        specification.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise MiniAlexError(f"{str(path)!r} fails to run: {type(error).__name__}: {error}") from error
    return module


def _checkable(module: ModuleType) -> list[str]:
    """The names in a file that can be checked, in their order."""
    return [
        name
        for name, value in vars(module).items()
        if f"{name}_inputs" in vars(module)
        or (
            name.startswith(PREFIX)
            and inspect.isfunction(inspect.unwrap(value) if callable(value) else value)
            and value.__module__ == module.__name__
        )
    ]


def _listed(module: ModuleType) -> str:
    return f"There are: {', '.join(_checkable(module)) or 'none'}"


def _check_of(module: ModuleType, file: str, name: str, options: dict) -> UserCheck:
    values = vars(module)
    if name not in values:
        raise NoSuchCheckError(f"{file!r} has no {name!r}. {_listed(module)}")
    value = values[name]
    inputs = values.get(f"{name}_inputs")
    if inputs is not None:
        return UserCheck(file, name, lambda: _check_object(name, value, inputs, values, options))
    if not inspect.isfunction(value):
        raise NoSuchCheckError(
            f"{file}::{name} is of type {type(value).__name__} and has no inputs; define {name}_inputs "
            "beside it, or name a function that checks it and returns the report"
        )
    parameters = inspect.signature(value).parameters.values()
    wanted = {p.name for p in parameters if p.name in options}
    if needed := [p.name for p in parameters if p.default is p.empty and p.name not in wanted and _named(p)]:
        raise NoSuchCheckError(
            f"{file}::{name} takes {', '.join(needed)}: define {name}_inputs beside it (and {name}_vjp, if "
            "it is a function of NumPy arrays), or name a function without parameters that returns a report"
        )
    given = {each: options[each] for each in wanted}
    ignored = tuple(each for each in options if options[each] and each not in wanted)
    return UserCheck(file, name, lambda: value(**given), ignored)


def _named(parameter: inspect.Parameter) -> bool:
    return parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)


def _check_object(name: str, value, inputs, values: Mapping, options: dict):
    """Check an object by the function for its kind."""
    import minialex as ma

    inputs = inputs() if callable(inputs) and not isinstance(inputs, Tensor) else inputs
    own = values.get(f"{name}_options", {})
    if not isinstance(own, Mapping):
        raise MiniAlexError(f"{name}_options must be a dict of options, not of type {type(own).__name__}")
    given = {"seed": options["seed"]} | (_QUICK if options["quick"] else {}) | dict(own)
    vjp, jvp = values.get(f"{name}_vjp"), values.get(f"{name}_jvp")
    if vjp is not None or jvp is not None:
        given["name"] = name
        reports = [] if vjp is None else [ma.check_vjp(value, vjp, inputs, **given)]
        return reports if jvp is None else [*reports, ma.check_jvp(value, jvp, inputs, vjp=vjp, **given)]
    if isinstance(value, ma.nn.Module):
        value, inputs = _with_parameters(value, inputs, options["seed"])
    check = {"torch": ma.check_torch, "jax": ma.check_jax, "minialex": ma.gradcheck}.get(_kind(value, inputs))
    if check is None:
        raise MiniAlexError(
            f"{name} takes NumPy arrays: define {name}_vjp(upstream, *inputs), the gradient to check; for a "
            f"function of tensors let {name}_inputs hold tensors, of PyTorch, JAX or MiniAlex"
        )
    return check(value, inputs, **{"name": name} | given)


def _with_parameters(module, inputs, seed: int) -> tuple[Callable, list]:
    """A module as a function of its inputs and its parameters, in float64; and values for these."""
    module = deepcopy(module).astype(np.float64)
    inputs = list(inputs) if isinstance(inputs, list | tuple) else [inputs]
    parameters = [p.detach().numpy() for p in module.parameters()]

    def function(*arguments):
        with seeded(seed), parameters_replaced(module, arguments[len(inputs) :]):
            return module(*arguments[: len(inputs)])

    function.__qualname__ = type(module).__name__
    return function, [*inputs, *(Tensor(p, requires_grad=True) for p in parameters)]


def _kind(value, inputs) -> str:
    """Whose gradient it is, by the object and by what it is called with."""
    objects = [value, *_leaves(inputs)]
    # To have an object of a library one must have imported it.
    torch, jax = sys.modules.get("torch"), sys.modules.get("jax")
    if torch is not None:
        kinds = (torch.Tensor, torch.nn.Module)
        is_function = isinstance(value, type) and issubclass(value, torch.autograd.Function)
        if is_function or any(isinstance(each, kinds) for each in objects):
            return "torch"
    if jax is not None and any(
        isinstance(each, (jax.Array, jax.custom_vjp, jax.custom_jvp)) for each in objects
    ):
        return "jax"
    return "minialex" if any(isinstance(each, Tensor) for each in objects) else "numpy"


def _leaves(inputs) -> list:
    """What is in nested lists, tuples and dictionaries."""
    if isinstance(inputs, Mapping):
        inputs = list(inputs.values())
    if not isinstance(inputs, list | tuple):
        return [inputs]
    return [leaf for each in inputs for leaf in _leaves(each)]


def _reports(given) -> list:
    """What a check returned, as a list of reports."""
    several = list(given) if isinstance(given, Sequence) and not isinstance(given, str | bytes) else [given]
    if not several:
        raise _NoReportError("it returns an empty list of reports: nothing was compared")
    for each in several:
        if not isinstance(getattr(each, "compared", None), int | np.integer):
            what = "None" if each is None else f"a value of type {type(each).__name__}"
            raise _NoReportError(
                f"it returns {what}: what it compared is not known. It should return the report of its "
                "check, or a list of reports"
            )
    if not all(each.compared for each in several):
        raise _NoReportError("no derivative that is not 0 was compared")
    return several


def _figures(reports: list) -> dict:
    figures: dict[str, str | int | float] = {
        name: sum(int(getattr(each, name, 0)) for each in reports)
        for name in ("compared", "zeros", "skipped", "uncertain")
    }
    pairs = [(each.worst_error, each.tolerance) for each in reports if hasattr(each, "worst_error")]
    figures["worst error"], figures["tolerance"] = map(float, worst_of(pairs))
    for name in ("mode", "dtype"):
        if found := {str(getattr(each, name)) for each in reports if hasattr(each, name)}:
            figures[name] = ", ".join(sorted(found))
    return figures


def _where(error: BaseException) -> str:
    """The error with the lines of the user's file that led to it, without those that called the file."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if frame.filename != __file__]
    lines = [
        f"  {frame.filename}:{frame.lineno}, in {frame.name}" + (f": {frame.line}" if frame.line else "")
        for frame in own
    ]
    return "\n".join([f"{type(error).__name__}: {error}", *lines])
