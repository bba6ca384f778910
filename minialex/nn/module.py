"""Modules: layers and networks that hold parameters, under the names of ``torch.nn.Module``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from minialex.checks import in_words, require_flag
from minialex.devices import assign, is_array, to_numpy
from minialex.errors import CheckpointError, DeviceError, ModelError
from minialex.nn.conversion import Converted
from minialex.nn.hooks import Hooked, call_with_hooks
from minialex.nn.state import IncompatibleKeys, matched
from minialex.operations.gradients import forget_gradients
from minialex.tensor import Tensor


class Parameter(Tensor):
    """A tensor that a module trains. Assigned to an attribute of a module, it becomes one of its own.

    Of a tensor it takes the memory and the device.
    """

    __slots__ = ()

    def __init__(self, data, requires_grad: bool = True, device: str = "cpu"):
        if isinstance(data, Tensor):
            data, device = data.data, data.device
        super().__init__(data, requires_grad, device)


def values_of(buffer):
    """The array of a buffer, which is an array itself or a tensor."""
    return buffer.data if isinstance(buffer, Tensor) else buffer


class Module(Hooked, Converted):
    """A layer, or a network of layers.

    A subclass sets parameters, buffers and other modules as attributes, after ``super().__init__()``,
    and defines ``forward``.
    """

    def __init__(self):
        self._parameters: dict[str, Parameter | None] = {}
        self._buffers: dict = {}
        self._modules: dict[str, Any] = {}
        self._unsaved: set[str] = set()
        self.training = True

    def forward(self, *inputs: Tensor) -> Tensor:
        raise NotImplementedError(f"{type(self).__name__} must define forward")

    def __call__(self, *inputs: Tensor, **options) -> Tensor:
        if self._hooks is not None:
            return call_with_hooks(self, self._hooks, inputs, options)
        return self.forward(*inputs, **options)

    def __setattr__(self, name, value):
        if isinstance(value, Parameter | Module) and "_parameters" not in self.__dict__:
            raise AttributeError(f"{type(self).__name__}: call super().__init__() before assigning {name!r}")
        for kind, allowed in (("_parameters", Parameter), ("_modules", Module), ("_buffers", Tensor)):
            fits = value is None or isinstance(value, allowed) or (kind == "_buffers" and is_array(value))
            if name in self._own(kind) and not fits:
                raise TypeError(
                    f"{type(self).__name__}.{name} is one of its {kind[1:]}: assign a "
                    f"{'ndarray, a Tensor' if kind == '_buffers' else allowed.__name__} or None, not a "
                    f"{type(value).__name__}"
                )
        if isinstance(value, Parameter) or (value is None and name in self._own("_parameters")):
            self._parameters[name] = value
        elif isinstance(value, Module):
            self._modules[name] = value
        elif name in self._own("_buffers"):
            self._buffers[name] = value
        else:
            object.__setattr__(self, name, value)

    def __getattr__(self, name):
        for kind in ("_parameters", "_modules", "_buffers"):
            if name in self._own(kind):
                return self._own(kind)[name]
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")

    def __delattr__(self, name):
        for kind in ("_parameters", "_modules", "_buffers"):
            if name in self._own(kind):
                del self._own(kind)[name]
                return
        object.__delattr__(self, name)

    def _own(self, kind: str) -> dict:
        return self.__dict__.get(kind, {})

    def register_parameter(self, name: str, parameter: Parameter | None) -> None:
        """Add a parameter, or None for one that this module goes without (a bias)."""
        if parameter is not None and not isinstance(parameter, Parameter):
            raise TypeError(f"parameter {name} must be a Parameter or None, not {in_words(parameter)}")
        self._parameters[name] = parameter

    def register_buffer(self, name: str, array, persistent: bool = True) -> None:
        """Add an array or a tensor that is not trained (running statistics); persistent: but saved."""
        if array is not None and not is_array(array) and not isinstance(array, Tensor):
            raise TypeError(f"buffer {name} must be an array, a Tensor or None, not {in_words(array)}")
        self._buffers[name] = array
        (self._unsaved.discard if persistent else self._unsaved.add)(name)

    def add_module(self, name: str, module: Module | None) -> None:
        """Add a module under a name: an attribute, which may be a number here.

        Raises
        ------
        TypeError
            If it is no module.
        KeyError
            If the name is empty, holds a dot, or is an attribute already.
        """
        if module is not None and not isinstance(module, Module):
            raise TypeError(f"module {name} must be a Module or None, not {type(module).__name__}")
        if not isinstance(name, str) or not name or "." in name:
            raise KeyError(f"name must be a word without a dot, not {name!r}")
        if hasattr(self, name) and name not in self._modules:
            raise KeyError(f"name must be a new one, not {name!r}, an attribute of {type(self).__name__}")
        self._modules[name] = module

    register_module = add_module

    # Its parts

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """Each module one level below, once, with its name."""
        seen: set[int] = set()
        for name, module in self._modules.items():
            if module is not None and id(module) not in seen:
                seen.add(id(module))
                yield name, module

    def children(self) -> Iterator[Module]:
        for _, module in self.named_children():
            yield module

    def named_modules(
        self, memo: set | None = None, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Module]]:
        """The module itself, named "", and all below it with their dotted names; a shared one once."""
        memo = set() if memo is None else memo
        if self not in memo:
            if remove_duplicate:
                memo.add(self)
            yield prefix, self
            for name, module in self._modules.items():
                if module is not None:
                    below = f"{prefix}.{name}" if prefix else name
                    yield from module.named_modules(memo, below, remove_duplicate)

    def modules(self) -> Iterator[Module]:
        for _, module in self.named_modules():
            yield module

    def get_submodule(self, target: str) -> Module:
        """The module of a dotted name; this one for ""."""
        return _at(self, target, Module)

    def get_parameter(self, target: str) -> Parameter:
        """The parameter of a dotted name."""
        return _at(self, target, Parameter)

    def get_buffer(self, target: str):
        """The buffer of a dotted name."""
        owner, _, name = target.rpartition(".")
        buffers = self.get_submodule(owner)._buffers
        if name not in buffers:
            raise AttributeError(f"{type(self).__name__} has no buffer {target!r}")
        return buffers[name]

    def _named(self, kind: str, prefix: str = "", recurse: bool = True):
        seen: set[int] = set()  # what two modules share is yielded once, as in PyTorch
        for path, module in self.named_modules(prefix=prefix) if recurse else [(prefix, self)]:
            for name, value in module.__dict__[kind].items():
                if value is not None and id(value) not in seen:
                    seen.add(id(value))
                    yield f"{path}.{name}" if path else name, value

    def named_parameters(self, prefix: str = "", recurse: bool = True) -> Iterator[tuple[str, Parameter]]:
        """Every parameter with its dotted name, such as ``conv1.weight``; recurse=False: its own ones.

        Raises
        ------
        TypeError
            If a module holds others, or parameters, only in a list or a dictionary: they would be used, but
            not trained, moved or saved.
        """
        self._refuse_unregistered()
        return self._named("_parameters", prefix, recurse)

    def _refuse_unregistered(self) -> None:
        registered = {id(module) for module in self.modules()}
        registered |= {id(p) for module in self.modules() for p in module._parameters.values()}
        for module in self.modules():
            for name, value in module.__dict__.items():
                if name in ("_parameters", "_buffers", "_modules") or not isinstance(value, list | dict):
                    continue
                for member in value.values() if isinstance(value, dict) else value:
                    if isinstance(member, Module | Parameter) and id(member) not in registered:
                        raise TypeError(
                            f"{type(module).__name__}.{name} holds a {type(member).__name__} that would "
                            "not be trained, moved or saved: make it a ModuleList or ModuleDict, or an "
                            "attribute of its own (a tuple hides it on purpose)"
                        )

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        for _, parameter in self.named_parameters(recurse=recurse):
            yield parameter

    def named_buffers(self, prefix: str = "", recurse: bool = True) -> Iterator[tuple]:
        """Every buffer with its dotted name, such as ``bn1.running_mean``."""
        return self._named("_buffers", prefix, recurse)

    def buffers(self, recurse: bool = True) -> Iterator:
        for _, array in self.named_buffers(recurse=recurse):
            yield array

    # Changes to all parts

    def train(self, mode: bool = True) -> Module:
        """Set this module and all below it to training (or, with False, to evaluation)."""
        mode = require_flag("mode", mode, error=ModelError)
        for module in self.modules():
            module.training = mode
        return self

    def eval(self) -> Module:
        """Set this module and all below it to evaluation: no dropout, running statistics."""
        return self.train(False)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients of all parameters, or, with False, set them to zero."""
        forget_gradients(self.parameters(), set_to_none)

    def requires_grad_(self, requires_grad: bool = True) -> Module:
        """Freeze (False) or train (True) all parameters."""
        for parameter in self.parameters():
            parameter.requires_grad_(requires_grad)
        return self

    def freeze(self) -> Module:
        """Make all parameters read-only, for inference: nothing can change them until `unfreeze`.

        Kernels then keep prepacked weights from call to call (`minialex.kernels.runtime.prepacked`), which
        takes about as much memory again for the convolutions, and saves most of the time of a single image.

        Raises
        ------
        DeviceError
            If a parameter is on ``cuda``: CuPy has no read-only arrays.
        """
        if any(parameter.device == "cuda" for parameter in self.parameters()):
            raise DeviceError(
                "freeze: CuPy has no read-only arrays; freeze a network on the cpu, or not at all"
            )
        for parameter in self.parameters():
            # A copy, because no other array may share the memory.
            parameter.data = parameter.data.copy()
            parameter.data.flags.writeable = False
        return self

    def unfreeze(self) -> Module:
        """Make all parameters writable again."""
        for parameter in self.parameters():
            parameter.data = parameter.data.copy()
        return self

    def apply(self, function: Callable[[Module], None]) -> Module:
        """Call a function on every module, from the leaves up."""
        for module in self.children():
            module.apply(function)
        function(self)
        return self

    # Saving and loading

    def state_dict(self) -> dict[str, np.ndarray]:
        """Parameters and buffers by name, as NumPy arrays: the module's own memory, or copies on ``cuda``."""
        return {name: to_numpy(array) for name, array in self._arrays().items()}

    def _arrays(self) -> dict:
        """Parameters and buffers by name, as arrays of their devices."""
        state = {name: parameter.data for name, parameter in self.named_parameters()}
        for name, buffer in self.named_buffers():
            owner, _, last = name.rpartition(".")
            if last not in self.get_submodule(owner)._unsaved:
                state[name] = values_of(buffer)
        return state

    def load_state_dict(
        self, state: Mapping[str, np.ndarray | Tensor], strict: bool = True
    ) -> IncompatibleKeys:
        """Copy values into parameters and buffers: all of them or, on an error, none.

        Parameters
        ----------
        state : mapping from name to array or Tensor
            Floating-point values are converted to the dtype of the parameter. PyTorch's counts of batches,
            ``num_batches_tracked``, are ignored where there is no such buffer, and may be missing.
        strict : bool
            Whether names missing from or unexpected in `state` are an error.

        Returns
        -------
        IncompatibleKeys
            The names missing from `state`, and those in it that the module does not have.

        Raises
        ------
        CheckpointError
            Listing every missing, unexpected and mis-shaped entry, and every frozen parameter.
        """
        if not isinstance(state, Mapping):
            raise CheckpointError(f"state must be a mapping from names to arrays, not {in_words(state)}")
        own = self._arrays()
        arrays, names = matched(own, state, strict, self._title())
        for name, array in own.items():
            if name in arrays:
                assign(array, arrays[name])
        for name, parameter in self.named_parameters():
            parameter.version += name in arrays
        return names

    def _title(self) -> str:
        return type(self).__name__

    # Printing

    def extra_repr(self) -> str:
        """What the printed line says about the module besides its name."""
        return ""

    def __repr__(self) -> str:
        lines = [f"{type(self).__name__}({self.extra_repr()}"]
        for name, module in self._modules.items():
            if module is not None:
                lines.append(f"  ({name}): " + repr(module).replace("\n", "\n  "))
        return "\n".join([*lines, ")"]) if self._modules else lines[0] + ")"


def _at(module: Module, target: str, kind: type) -> Any:
    """What stands at the end of a path of attributes; every step but the last is a module."""
    found: object = module
    for name in target.split(".") if target else ():
        found = getattr(found, name, None) if isinstance(found, Module) else None
    if not isinstance(found, kind):
        raise AttributeError(f"{type(module).__name__} has no {kind.__name__.lower()} {target!r}")
    return found
