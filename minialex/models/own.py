"""Networks of one's own, named as ``FILE.py:NAME`` where a command takes the name of a model.

NAME is what the file defines: a `Module`, its class, a function that returns one, or a table of layers
(`minialex.models.architecture`). What images it takes is said by an attribute ``input_shape``, (C, H, W), of
the class or the module, or by a variable of that name in the file.

    class LeNet(nn.Module):
        input_shape = (1, 28, 28)

        def __init__(self, num_classes=10): ...

To load such a file is to run it. Only what a user has typed is loaded, by `load_model`; a name that is read
from a file, such as the settings of a run, is known only if it was loaded before.
"""

from __future__ import annotations

import copy
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from minialex import nn
from minialex.checks import in_words, is_int, require_int
from minialex.errors import DeviceError, ModelError
from minialex.models.architecture import Architecture, Layer
from minialex.nn.trace import trace

Shape = tuple[int, ...]
_NUMBER_OF_CLASSES = "num_classes"


@dataclass(frozen=True)
class OwnModel:
    """A network of one's own, with what the commands ask of an `Architecture`.

    Attributes
    ----------
    name : str
        ``my_net.py:LeNet``: the file without its folder.
    make : callable
        Without arguments, or with ``num_classes``: returns the module.
    input_shape : (C, H, W)
    num_classes : int
        How many it has if nobody asks for another number.
    trainable_parameters : int
    source : str
        The file.
    """

    name: str
    make: Callable[..., nn.Module]
    input_shape: Shape
    num_classes: int
    trainable_parameters: int
    source: str

    differs = ""
    initialiser = None

    def build(self, num_classes: int | None = None) -> nn.Module:
        """The network, with the weights that it draws itself.

        Raises
        ------
        ModelError
            If the number of classes is not a positive int, or the network cannot be made with it.
        """
        wanted = self.num_classes if num_classes is None else num_classes
        require_int(_NUMBER_OF_CLASSES, wanted, 1, error=ModelError)
        network, classes = _made(self.name, self.make, wanted, self.input_shape)
        if classes != wanted:
            raise ModelError(
                f"{self.name} gives {classes} outputs, and {wanted} classes are wanted; let it take "
                f"num_classes: def __init__(self, num_classes={classes})"
            )
        for attribute, value in (
            ("name", self.name),
            ("input_shape", self.input_shape),
            (_NUMBER_OF_CLASSES, classes),
        ):
            if not hasattr(network, attribute):
                setattr(network, attribute, value)
        return network


def is_own(target: str) -> bool:
    """Whether a name of a model is FILE.py:NAME."""
    file, colon, name = str(target).rpartition(":")
    return bool(colon and name) and file.endswith(".py")


def load_own(target: str) -> OwnModel | Architecture:
    """Run the file of FILE.py:NAME, and return what it defines as a model.

    Raises
    ------
    ModelError
        If the file is missing or fails, has no such name, or that is no network; the message says what to
        write.
    """
    file, _, name = target.rpartition(":")
    path = Path(file)
    module = _run(target, path)
    if not hasattr(module, name):
        raise ModelError(f"model {target!r}: the file has no {name}; it has {_networks_in(module)}")
    given = getattr(module, name)
    title = f"{path.name}:{name}"
    if isinstance(given, Architecture):
        return given
    if _is_table(given):
        return _of_table(title, given, _declared(module, title), str(path))
    if isinstance(given, nn.Module):
        make: Callable[..., Any] = lambda: copy.deepcopy(given)  # noqa: E731 - of a user's object
    elif callable(given) and not _is_of_pytorch(given):
        make = given
    else:
        raise ModelError(
            f"model {target!r} must be a Module, its class, a function that returns one, or a table of "
            f"layers, not {_named(given)}"
        )
    declared = getattr(given, "input_shape", None) or getattr(module, "input_shape", None)
    network = _called(title, make, None)
    declared = declared or getattr(network, "input_shape", None)
    shape = _shape(title, declared)
    classes = _classes(title, network, shape)
    _traced(title, network, shape, training=True)
    trained = sum(p.size for p in network.parameters() if p.requires_grad)
    return OwnModel(title, make, shape, classes, trained, str(path))


def require_name(target: str) -> None:
    """Refuse FILE.py without the name of a network in it, and say which there are.

    Raises
    ------
    ModelError
    """
    file = target.removesuffix(":")
    if file.endswith(".py"):
        module = _run(target, Path(file))
        raise ModelError(
            f"model {target!r} must name a network of the file, such as {file}:NAME; it has "
            f"{_networks_in(module)}"
        )


def _run(target: str, path: Path) -> Any:
    """The module of a file, run once; what it imports from its folder is found, as if it were a program."""
    if not path.is_file():
        raise ModelError(f"model {target!r}: there is no file {str(path)!r}")
    folder, name = str(path.resolve().parent), f"minialex_model_{path.stem}"
    specification = importlib.util.spec_from_file_location(name, path)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules[name] = module
    sys.path.insert(0, folder)
    try:
        specification.loader.exec_module(module)
    except Exception as error:
        raise ModelError(f"{str(path)!r} failed: {_told(error)}") from error
    finally:
        sys.path.remove(folder)
    return module


def _told(error: Exception) -> str:
    """An error of a user's code: what it is, and the line outside of this package where it came from."""
    here = str(Path(__file__).resolve().parents[1])
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith((here, "<")) and Path(frame.filename).suffix == ".py"
    ]
    where = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
    # The message of a SyntaxError has its line.
    return f"{type(error).__name__}: {error}{'' if isinstance(error, SyntaxError) else where}"


def _is_of_pytorch(given: Any) -> bool:
    kind = given if isinstance(given, type) else type(given)
    return any(each.__module__.startswith("torch.nn") for each in kind.__mro__)


def _named(given: Any) -> str:
    """What a user gave in place of a network."""
    if _is_of_pytorch(given):
        return "a network of PyTorch; write it with minialex.nn in place of torch.nn"
    return in_words(given)


def _networks_in(module: Any) -> str:
    """The names in a file that could be meant."""
    found = [
        name
        for name, value in vars(module).items()
        if isinstance(value, nn.Module | Architecture)
        or (isinstance(value, type) and issubclass(value, nn.Module) and value.__module__ == module.__name__)
    ]
    return ", ".join(found) or "no network"


def _is_table(given: Any) -> bool:
    return isinstance(given, tuple | list) and bool(given) and all(hasattr(row, "make") for row in given)


def _of_table(name: str, rows: Sequence[Layer], shape: Shape, source: str) -> Architecture:
    bare = Architecture(name, source, shape, 10, tuple(rows), "pytorch", 0, "")
    trained = sum(p.size for p in bare.build().parameters() if p.requires_grad)
    return Architecture(name, source, shape, 10, tuple(rows), "pytorch", trained, "")


def _declared(module: Any, name: str) -> Shape:
    return _shape(name, getattr(module, "input_shape", None))


def _shape(name: str, given: Any) -> Shape:
    if given is None:
        raise ModelError(
            f"{name} does not say what images it takes: give it an attribute "
            "input_shape = (channels, height, width), or the file a variable of that name"
        )
    if not isinstance(given, tuple | list) or len(given) != 3 or not all(is_int(n, 1) for n in given):
        raise ModelError(f"{name}: input_shape must be (channels, height, width), not {in_words(given)}")
    return tuple(given)


def _made(name: str, make: Callable[..., nn.Module], wanted: int, shape: Shape) -> tuple[nn.Module, int]:
    """The network, made for a number of classes if it can be, and the number that it gives."""
    network = _called(name, make, wanted)
    return network, _classes(name, network, shape)


def _called(name: str, make: Callable[..., nn.Module], classes: int | None) -> nn.Module:
    try:
        options = inspect.signature(make).parameters.values()
    except (TypeError, ValueError):
        options = ()
    takes = any(each.name == _NUMBER_OF_CLASSES or each.kind is each.VAR_KEYWORD for each in options)
    try:
        network = make(**({_NUMBER_OF_CLASSES: classes} if takes and classes is not None else {}))
    except Exception as error:
        raise ModelError(f"{name} cannot be made: {_told(error)}") from error
    if not isinstance(network, nn.Module):
        raise ModelError(f"{name} must return a Module, not {_named(network)}")
    return network


def _classes(name: str, network: nn.Module, shape: Shape) -> int:
    """How many logits the network gives for an image."""
    if any(parameter.dtype == np.float64 for parameter in network.parameters()):
        raise ModelError(f"{name} must have parameters of float32, as images have; leave out .double()")
    outputs = _traced(name, network, shape)
    if len(outputs) != 1 or len(outputs[0]) != 2 or outputs[0][0] != 2:
        given = ", ".join(str(each) for each in outputs) or "no tensor"
        raise ModelError(
            f"{name} must give logits (N, classes) for images (N, C, H, W); for {(2, *shape)} it gives "
            f"{given}"
        )
    return outputs[0][1]


def _traced(name: str, network: nn.Module, shape: Shape, training: bool = False) -> tuple[Shape, ...]:
    """The shapes of what the network gives for two images."""
    try:
        return trace(network, (2, *shape), training=training).outputs
    except Exception as error:
        message = f"{name} does not run on images {shape}: {_told(error)}"
        if isinstance(error, DeviceError):
            message += (
                ". Shapes are found by a run on the device meta, without values: forward must make tensors "
                "where its input is, ma.zeros(..., device=x.device), and not choose by values"
            )
        raise ModelError(message) from error
