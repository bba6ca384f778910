"""Modules: layers and networks that hold parameters, under the names of ``torch.nn.Module``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np

from minialex.availability import require_device
from minialex.devices import assign, is_array, is_read_only, to_device_array, to_numpy
from minialex.errors import CheckpointError, DeviceError
from minialex.tensor import Tensor


class Parameter(Tensor):
    """A tensor that a module trains. Assigned to an attribute of a module, it is registered there."""

    __slots__ = ()

    def __init__(self, data, requires_grad: bool = True, device: str = "cpu"):
        super().__init__(data, requires_grad, device)


class Module:
    """A layer, or a network of layers.

    A subclass sets parameters, buffers and other modules as attributes, after ``super().__init__()``,
    and defines ``forward``.
    """

    def __init__(self):
        self._parameters: dict[str, Parameter | None] = {}
        self._buffers: dict = {}
        self._modules: dict[str, Module] = {}
        self.training = True

    def forward(self, *inputs: Tensor) -> Tensor:
        raise NotImplementedError(f"{type(self).__name__} must define forward")

    def __call__(self, *inputs: Tensor, **options) -> Tensor:
        return self.forward(*inputs, **options)

    def __setattr__(self, name, value):
        if isinstance(value, Parameter | Module) and "_parameters" not in self.__dict__:
            raise AttributeError(f"{type(self).__name__}: call super().__init__() before assigning {name!r}")
        for kind, allowed in (("_parameters", Parameter), ("_modules", Module), ("_buffers", np.ndarray)):
            fits = value is None or isinstance(value, allowed) or (allowed is np.ndarray and is_array(value))
            if name in self._own(kind) and not fits:
                raise TypeError(
                    f"{type(self).__name__}.{name} is one of its {kind[1:]}: assign a "
                    f"{allowed.__name__} or None, not a {type(value).__name__}"
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

    def _own(self, kind: str) -> dict:
        return self.__dict__.get(kind, {})

    def register_parameter(self, name: str, parameter: Parameter | None) -> None:
        """Add a parameter, or None for one that this module does without (a bias)."""
        self._parameters[name] = parameter

    def register_buffer(self, name: str, array) -> None:
        """Add an array that is saved with the module but not trained (running statistics)."""
        self._buffers[name] = array

    # Its parts

    def named_children(self) -> Iterator[tuple[str, Module]]:
        yield from self._modules.items()

    def children(self) -> Iterator[Module]:
        yield from self._modules.values()

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """The module itself, named "", and all below it by their dotted names."""
        yield prefix, self
        for name, module in self._modules.items():
            yield from module.named_modules(f"{prefix}.{name}" if prefix else name)

    def modules(self) -> Iterator[Module]:
        for _, module in self.named_modules():
            yield module

    def _named(self, kind: str):
        seen: set[int] = set()  # a shared module is yielded once, as in PyTorch
        for prefix, module in self.named_modules():
            for name, value in module.__dict__[kind].items():
                if value is not None and id(value) not in seen:
                    seen.add(id(value))
                    yield f"{prefix}.{name}" if prefix else name, value

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """Every parameter with its dotted name, such as ``conv1.weight``.

        Raises
        ------
        TypeError
            If a module holds others, or parameters, only in a list or a dictionary: they would be used, but
            not trained, moved or saved.
        """
        self._refuse_unregistered()
        return self._named("_parameters")

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
                            "not be trained, moved or saved: make it a Sequential, or an attribute of its "
                            "own (a tuple hides it on purpose)"
                        )

    def parameters(self) -> Iterator[Parameter]:
        for _, parameter in self.named_parameters():
            yield parameter

    def named_buffers(self) -> Iterator[tuple]:
        """Every buffer with its dotted name, such as ``bn1.running_mean``."""
        return self._named("_buffers")

    def buffers(self) -> Iterator:
        for _, array in self.named_buffers():
            yield array

    # Changes to all parts

    def train(self, training: bool = True) -> Module:
        """Set this module and all below it to training (or, with False, to evaluation)."""
        for module in self.modules():
            module.training = training
        return self

    def eval(self) -> Module:
        """Set this module and all below it to evaluation: no dropout, running statistics."""
        return self.train(False)

    def zero_grad(self) -> None:
        """Clear the gradients of all parameters."""
        for parameter in self.parameters():
            parameter.grad = None

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

    def to(self, device: str) -> Module:
        """Move every parameter and buffer to a device, in place; gradients are cleared.

        Move a network before its optimiser's first step: the optimiser's arrays stay where they were made.

        Raises
        ------
        DeviceError
            If the device is not available; the message says why.
        """
        require_device(device)
        for module in self.modules():
            for parameter in module._parameters.values():
                if parameter is not None and parameter.device != device:
                    parameter.data = to_device_array(parameter.data, device)
                    parameter.version += 1
                    parameter.device, parameter.grad = device, None
            for name, array in module._buffers.items():
                module._buffers[name] = to_device_array(array, device)
        return self

    def astype(self, dtype) -> Module:
        """Convert every parameter and buffer, in place, to float32 or float64."""
        for module in self.modules():
            for parameter in module._parameters.values():
                if parameter is not None:
                    parameter.data, parameter.grad = parameter.data.astype(dtype), None
                    parameter.version += 1
            for name, array in module._buffers.items():
                module._buffers[name] = array.astype(dtype)
        return self

    # Saving and loading

    def state_dict(self) -> dict[str, np.ndarray]:
        """Parameters and buffers by name, as NumPy arrays: the module's own memory, or copies on ``cuda``."""
        return {name: to_numpy(array) for name, array in self._arrays().items()}

    def _arrays(self) -> dict:
        """Parameters and buffers by name, as arrays of their devices."""
        state = {name: parameter.data for name, parameter in self.named_parameters()}
        return state | dict(self.named_buffers())

    def load_state_dict(self, state: Mapping[str, np.ndarray | Tensor], strict: bool = True) -> None:
        """Copy values into parameters and buffers: all of them or, on an error, none.

        Parameters
        ----------
        state : mapping from name to array or Tensor
            Floating-point values are converted to the dtype of the parameter.
        strict : bool
            Whether names missing from or unexpected in `state` are an error.

        Raises
        ------
        CheckpointError
            Listing every missing, unexpected and mis-shaped entry, and every frozen parameter.
        """
        own = self._arrays()
        arrays = {
            name: to_numpy(value.data if isinstance(value, Tensor) else value)
            for name, value in state.items()
        }
        problems = []
        if strict:
            missing = [name for name in own if name not in arrays]
            unexpected = [name for name in arrays if name not in own]
            problems += [f"missing: {', '.join(missing)}"] if missing else []
            problems += [f"unexpected: {', '.join(unexpected)}"] if unexpected else []
        shapes = [
            f"{name} {arrays[name].shape} instead of {array.shape}"
            for name, array in own.items()
            if name in arrays and arrays[name].shape != array.shape
        ]
        problems += [f"wrong shape: {', '.join(shapes)}"] if shapes else []
        kinds = [name for name in own if name in arrays and arrays[name].dtype.kind != "f"]
        problems += [f"not floating-point: {', '.join(kinds)}"] if kinds else []
        frozen = [name for name, array in own.items() if name in arrays and is_read_only(array)]
        problems += [f"frozen, so call unfreeze() first: {', '.join(frozen)}"] if frozen else []
        if problems:
            raise CheckpointError(f"the state does not fit {self._title()}; " + "; ".join(problems))
        for name, array in own.items():
            if name in arrays:
                assign(array, arrays[name])
        for name, parameter in self.named_parameters():
            parameter.version += name in arrays

    def _title(self) -> str:
        return type(self).__name__

    # Printing

    def extra_repr(self) -> str:
        """What the printed line says about the module besides its name."""
        return ""

    def __repr__(self) -> str:
        lines = [f"{type(self).__name__}({self.extra_repr()}"]
        for name, module in self._modules.items():
            lines.append(f"  ({name}): " + repr(module).replace("\n", "\n  "))
        return "\n".join([*lines, ")"]) if self._modules else lines[0] + ")"
