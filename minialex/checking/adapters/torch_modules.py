"""A module under check: a copy whose parameters are inputs and whose buffers get their values back."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from minialex.checking.adapters.torch_tensors import as_numpy, import_torch, is_dense, own_array, same_values
from minialex.checking.reproduction import Expression
from minialex.errors import MiniAlexError


@dataclass
class _Buffer:
    path: str
    owner: Any
    name: str
    tensor: Any
    values: Any

    def changed(self) -> bool:
        now = self.owner._buffers[self.name]
        return now is not self.tensor or (is_dense(now) and not same_values(now, self.values))


class ModuleUnderCheck(Expression):
    """A copy of a module in the dtype of the check: the module itself stays as it is.

    Attributes
    ----------
    module : torch.nn.Module
        The copy.
    parameters : dict of str to Parameter
        Those that require a gradient; one that is used in several places has one name.
    converted : bool
        Whether a parameter or a buffer had another floating-point dtype.

    Raises
    ------
    MiniAlexError
        If it cannot be copied, if a parameter is complex, or has no shape yet.
    """

    def __init__(self, module, dtype: np.dtype, called: str):
        torch = import_torch()
        _require_checkable(module)
        self.called = called
        state = [t for t in (*module.parameters(), *module.buffers()) if t.is_floating_point()]
        self.converted = any(t.dtype != getattr(torch, dtype.name) for t in state)
        copied = _copied(module)
        self.module = copied.double() if dtype == np.float64 else copied.float()
        named = dict(self.module.named_parameters())
        self.parameters = {name: p for name, p in named.items() if p.requires_grad}
        self.frozen = {name: (p, p.detach().clone()) for name, p in named.items() if not p.requires_grad}
        self.buffers = [
            _Buffer(f"{prefix}.{name}".lstrip("."), part, name, buffer, buffer.detach().clone())
            for prefix, part in self.module.named_modules()
            for name, buffer in part.named_buffers(recurse=False)
        ]
        tensors = [*named.values(), *(each.tensor for each in self.buffers)]
        self.devices = {t.device for t in tensors}
        self.state = {
            name: np.array(as_numpy(value), order="C")
            for name, value in self.module.state_dict().items()
            if torch.is_tensor(value) and is_dense(value) and not value.is_complex()
        }

    @property
    def arrays(self) -> list[np.ndarray]:
        return [np.array(as_numpy(p), order="C") for p in self.parameters.values()]

    def load(self, arrays: Sequence[np.ndarray], asked: Sequence[int]) -> list:
        """Set the parameters, and which of them require a gradient; give the buffers their values back."""
        torch = import_torch()
        for i, (array, parameter) in enumerate(zip(arrays, self.parameters.values(), strict=True)):
            with torch.no_grad():
                parameter.copy_(own_array(array))
            parameter.requires_grad_(i in asked)
        for each in self.buffers:
            with torch.no_grad():
                each.tensor.copy_(each.values)
            each.owner._buffers[each.name] = each.tensor
        return list(self.parameters.values())

    def changed_constants(self) -> list[str]:
        """The parameters that require no gradient and have changed all the same."""
        return [name for name, (p, values) in self.frozen.items() if not same_values(p, values)]

    def changed_buffers(self) -> list[str]:
        return [each.path for each in self.buffers if each.changed()]

    def code(self, text_of) -> str:
        """The statement that gives a module these parameters and buffers."""
        entries = ", ".join(f"{name!r}: torch.tensor({text_of(array)})" for name, array in self.state.items())
        return f"{self.called}.load_state_dict({{{entries}}}, strict=False)"


def _require_checkable(module) -> None:
    torch = import_torch()
    for name, parameter in module.named_parameters():
        if torch.nn.parameter.is_lazy(parameter):
            raise MiniAlexError(
                f"parameter {name!r} has no shape yet: call the module once, and check it then"
            )
        if parameter.is_complex():
            raise MiniAlexError(
                f"parameter {name!r} is {parameter.dtype}: complex parameters cannot be checked; pass a "
                "function of their real and imaginary parts"
            )


def _copied(module):
    torch = import_torch()
    # Weights that are computed from others, as weight_norm's, are not leaves: deepcopy refuses them.
    computed = {
        id(value): value.detach().clone()
        for part in module.modules()
        for value in vars(part).values()
        if torch.is_tensor(value) and not value.is_leaf
    }
    for name, parameter in module.named_parameters():
        if parameter._backward_hooks:
            raise MiniAlexError(
                f"parameter {name!r} has a hook (register_hook), which the copy of the module that is "
                "checked would lack: remove it, or pass a function that does the same"
            )
    try:
        # Copies of scripted modules would otherwise be results of their parameters, not parameters.
        with torch.no_grad():
            copied = copy.deepcopy(module, computed)
        for parameter, original in zip(copied.parameters(), module.parameters(), strict=True):
            parameter.requires_grad_(original.requires_grad)
        return copied
    except Exception as error:
        raise MiniAlexError(
            f"the module cannot be copied ({type(error).__name__}: {error}), and the check would change it: "
            "pass a function that calls it, with its parameters as inputs"
        ) from error
