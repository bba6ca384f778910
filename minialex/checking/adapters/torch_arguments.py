"""The arguments of a PyTorch function under check: what is differentiated, and what is passed on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from minialex.checking.adapters.torch_tensors import (
    as_numpy,
    import_torch,
    is_dense,
    laid_out,
    leaves_of,
    own_array,
    replaced,
    same_values,
    span,
)
from minialex.checking.reproduction import Expression
from minialex.checks import in_words
from minialex.errors import MiniAlexError
from minialex.tensor import Tensor


@dataclass
class Argument(Expression):
    """A tensor among the arguments.

    Attributes
    ----------
    name : str
        ``inputs[1]``.
    position : int or None
        Which of the inputs it is part of; None for arguments by name.
    tensor : torch.Tensor
        Its values in the dtype of the check, in memory of its own, with its strides.
    wanted : bool
        Whether it is differentiated.
    values : torch.Tensor
        The same numbers, out of reach of any function.
    """

    name: str
    position: int | None
    tensor: Any
    wanted: bool

    def __post_init__(self):
        self.values = self.tensor.clone()

    @property
    def array(self) -> np.ndarray:
        return np.array(as_numpy(self.values), order="C")

    def changed(self) -> bool:
        """Whether a function has changed it."""
        return is_dense(self.tensor) and not same_values(self.tensor, self.values)

    def code(self, text_of) -> str:
        """The expression of a tensor with its strides."""
        tensor = self.tensor
        if not is_dense(tensor):
            return text_of(tensor)
        if tensor.is_contiguous():
            code = f"torch.tensor({text_of(self.array)})"
        else:
            # Elements that share memory have one place there.
            memory = np.zeros(span(tensor.shape, tensor.stride()), self.array.dtype)
            itemsize = memory.itemsize
            strides = [itemsize * stride for stride in tensor.stride()]
            np.lib.stride_tricks.as_strided(memory, tensor.shape, strides)[...] = self.array
            code = f"torch.tensor({text_of(memory)}).as_strided({tuple(tensor.shape)}, {tensor.stride()})"
        if tensor.device.type != "cpu":
            code += f".to({str(tensor.device)!r})"
        return f"{code}.requires_grad_()" if self.wanted else code


class Arguments:
    """All of them, as tensors of the dtype of the check.

    Attributes
    ----------
    tensors : list of Argument
        In the order in which `leaves_of` finds them.
    wanted : list of Argument
        Those that are differentiated.
    constants : list of (str, array, array)
        The names of NumPy's arrays among them, these, and what they held.
    converted : bool
        Whether one of them had another floating-point dtype.
    """

    def __init__(self, inputs: Any, kwargs: Mapping[str, Any], dtype: np.dtype):
        torch = import_torch()
        if torch.is_tensor(inputs) or isinstance(inputs, dict):
            inputs = (inputs,)
        if not isinstance(inputs, list | tuple):
            raise MiniAlexError(
                f"inputs must be a tensor, or a list of the function's arguments, not {in_words(inputs)}"
            )
        if not isinstance(kwargs, Mapping):
            raise MiniAlexError(f"kwargs must be a dict of the arguments by name, not {in_words(kwargs)}")
        self.inputs, self.kwargs, self.dtype = tuple(inputs), dict(kwargs), dtype
        self.converted = False
        self.tensors: list[Argument] = []
        self.constants: list[tuple[str, np.ndarray, np.ndarray]] = []
        self.arrays_passed_on = False
        for i, each in enumerate(self.inputs):
            self._take(each, f"inputs[{i}]", i)
        for key, each in self.kwargs.items():
            self._take(each, f"kwargs[{key!r}]", None)
        self.wanted = [each for each in self.tensors if each.wanted]

    def _take(self, structure: Any, path: str, position: int | None) -> None:
        for name, leaf in leaves_of(structure, path):
            if import_torch().is_tensor(leaf):
                self.tensors.append(self._argument(name, position, leaf))
            if isinstance(leaf, np.ndarray):
                self.constants.append((name, leaf, leaf.copy()))
            self.arrays_passed_on |= isinstance(leaf, np.ndarray | Tensor)

    def _argument(self, name: str, position: int | None, tensor) -> Argument:
        torch, wanted = import_torch(), tensor.requires_grad
        if wanted:
            _require_checkable(name, tensor)
        value = tensor.detach()
        real = torch.float64 if self.dtype == np.float64 else torch.float32
        if value.is_floating_point() and value.dtype != real:
            self.converted = True
            value = value.to(real)
        elif value.is_complex():
            value = value.to(real.to_complex())
        value = laid_out(value, tensor.stride()) if is_dense(tensor) else value.clone()
        return Argument(name, position, value, wanted)

    def passed(self, leaves: Sequence) -> tuple[tuple, dict]:
        """The arguments, with these tensors for those that are differentiated."""
        given = iter(leaves)
        tensors = iter([next(given) if each.wanted else each.tensor for each in self.tensors])
        return replaced((self.inputs, self.kwargs), lambda _: next(tensors))

    def leaves(self, arrays: Sequence[np.ndarray], strides: Sequence, asked: Sequence[int]) -> list:
        """Tensors to differentiate by, made of arrays.

        Parameters
        ----------
        arrays : sequence of array
            One for each that is wanted.
        strides : sequence of tuple or None
            Those that each should have; None for a contiguous one.
        asked : sequence of int
            Which of them require a gradient.
        """
        found = []
        for i, (array, each) in enumerate(zip(arrays, self.wanted, strict=True)):
            tensor = own_array(array).to(each.tensor.device)
            if strides[i] is not None and strides[i] != tensor.stride():
                # One of several elements that share memory cannot be moved by itself: then each gets its own.
                shared = laid_out(tensor, strides[i])
                tensor = tensor if shared is None else shared
            found.append(tensor.detach().requires_grad_(i in asked))
        return found

    def structure(self, argument: Any, path: str) -> Any:
        """An argument as it is written down: its tensors are expressions."""
        by_name = {each.name: each for each in self.tensors}

        def written(value, path):
            if path in by_name:
                return by_name[path]
            if type(value) in (list, tuple):
                return type(value)(written(each, f"{path}[{i}]") for i, each in enumerate(value))
            if type(value) is dict:
                return {key: written(each, f"{path}[{key!r}]") for key, each in value.items()}
            return value

        return written(argument, path)


def _require_checkable(name: str, tensor) -> None:
    torch = import_torch()
    if tensor.is_complex():
        raise MiniAlexError(
            f"{name} is {tensor.dtype}: complex inputs cannot be checked; pass the real and the imaginary "
            "part, and join them with torch.complex in the function"
        )
    if tensor.is_meta:
        raise MiniAlexError(f"{name} is on the device meta: it has no numbers to check with")
    if not is_dense(tensor):
        kind = "nested" if tensor.is_nested else str(tensor.layout).removeprefix("torch.")
        raise MiniAlexError(
            f"{name} is {kind}: only dense tensors can be differentiated here; pass its values, and make the "
            "tensor of them in the function"
        )
    if type(tensor) not in (torch.Tensor, torch.nn.Parameter):
        raise MiniAlexError(
            f"{name} is a {type(tensor).__name__}: of a tensor that is not plain pass the values, and "
            "make it in the function"
        )
