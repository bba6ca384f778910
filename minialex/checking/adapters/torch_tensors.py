"""PyTorch tensors from NumPy arrays, with the strides that are asked for."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from minialex.errors import MiniAlexError


def import_torch():
    """PyTorch, which nothing else of the package needs.

    Raises
    ------
    MiniAlexError
        If it is not installed.
    """
    try:
        import torch
    except ImportError as error:
        raise MiniAlexError(f"check_torch needs PyTorch, which cannot be imported: {error}") from error
    return torch


def own_array(array: np.ndarray):
    """A contiguous tensor on the processor, in memory of its own: PyTorch has no read-only tensors."""
    return import_torch().from_numpy(np.array(array, order="C"))


def laid_out(values, strides: Sequence[int]):
    """The values of a tensor in new memory, with other strides.

    Between the elements lies the largest number there is: a function that reads it is found out.

    Parameters
    ----------
    values : torch.Tensor
    strides : sequence of int
        In elements, none below 0. With a stride of 0, or of windows that overlap, elements share memory.

    Returns
    -------
    torch.Tensor or None
        None if elements that would share memory differ.
    """
    torch = import_torch()
    if values.numel() == 0:
        return torch.empty_strided(values.shape, strides, dtype=values.dtype, device=values.device)
    filler = torch.finfo(values.dtype).max if values.dtype.is_floating_point else 0
    memory = torch.full((span(values.shape, strides),), filler, dtype=values.dtype, device=values.device)
    view = memory.as_strided(values.shape, strides)
    if not _overlap(values.shape, strides):
        view.copy_(values)
        return view
    places = torch.arange(len(memory), device=values.device).as_strided(values.shape, strides)
    memory[places.flatten()] = values.flatten()
    return view if same_values(view, values) else None


def span(shape: Sequence[int], strides: Sequence[int]) -> int:
    """How many elements of memory lie between the first and the last, both included."""
    return 1 + sum((n - 1) * stride for n, stride in zip(shape, strides, strict=True)) if all(shape) else 0


def _overlap(shape: Sequence[int], strides: Sequence[int]) -> bool:
    """Whether elements may share memory: some stride is not beyond all that the smaller ones reach."""
    reach = 0
    for stride, n in sorted((stride, n) for n, stride in zip(shape, strides, strict=True) if n > 1):
        if stride <= reach:
            return True
        reach += (n - 1) * stride
    return False


def strides_of(array: np.ndarray) -> tuple[int, ...] | None:
    """The strides of an array in elements; None for those that no tensor can have, such as negative ones."""
    if any(stride < 0 or stride % array.itemsize for stride in array.strides):
        return None
    return tuple(stride // array.itemsize for stride in array.strides)


def as_numpy(tensor) -> np.ndarray:
    """The numbers of a tensor: its memory, where it is on the processor."""
    if tensor.layout != import_torch().strided:
        tensor = tensor.to_dense()
    return tensor.detach().cpu().resolve_conj().resolve_neg().numpy()


def is_dense(tensor) -> bool:
    """Whether its numbers lie in memory one by one: not sparse, nested, quantised or on the device meta."""
    strided = tensor.layout == import_torch().strided
    return strided and not (tensor.is_nested or tensor.is_quantized or tensor.is_meta)


def same_values(a, b) -> bool:
    """Whether two tensors hold the same numbers; NaN is the same as NaN."""
    return a.shape == b.shape and bool(((a == b) | ((a != a) & (b != b))).all())


# Containers


def leaves_of(structure: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """What a nest of tuples, lists and dicts holds, each with the path to it: ``[0]['mask']``."""
    if isinstance(structure, tuple | list):
        for i, each in enumerate(structure):
            yield from leaves_of(each, f"{path}[{i}]")
    elif isinstance(structure, dict):
        for key, each in structure.items():
            yield from leaves_of(each, f"{path}[{key!r}]")
    else:
        yield path, structure


def replaced(structure: Any, value: Callable[[Any], Any]) -> Any:
    """The same nest with other contents; what holds no tensor is passed on unchanged."""
    is_tensor = import_torch().is_tensor
    if is_tensor(structure):
        return value(structure)
    if not any(is_tensor(each) for _, each in leaves_of(structure)):
        return structure
    if isinstance(structure, dict):
        changed = structure.copy()
        for key, each in structure.items():
            changed[key] = replaced(each, value)
        return changed
    items = [replaced(each, value) for each in structure]
    return type(structure)(*items) if hasattr(structure, "_fields") else type(structure)(items)


# The state of the library


@contextlib.contextmanager
def undisturbed(devices: Sequence, default_dtype=None):
    """Record gradients, whatever the caller's mode; leave random states and the default dtype as they were.

    Parameters
    ----------
    devices : sequence of torch.device
        Whose generators are used.
    default_dtype : torch.dtype, optional
        That of what is created without a dtype.
    """
    torch = import_torch()
    with contextlib.ExitStack() as stack:
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        stack.callback(torch.set_rng_state, torch.get_rng_state())
        for device in {d for d in devices if d.type != "cpu"}:
            module = torch.get_device_module(device)
            stack.callback(module.set_rng_state, module.get_rng_state(device), device)
        if default_dtype is not None:
            stack.callback(torch.set_default_dtype, torch.get_default_dtype())
            torch.set_default_dtype(default_dtype)
        yield


def generator_states(devices: Sequence) -> list:
    """Where the generators of the processor and of these devices are."""
    torch = import_torch()
    others = [torch.get_device_module(d).get_rng_state(d) for d in devices if d.type != "cpu"]
    return [torch.get_rng_state(), *others]


def seed_generators(devices: Sequence, seed: int) -> None:
    """Start the generators of these devices anew.

    ``torch.manual_seed`` does so as well, and notes each call for GPUs that are not in use.
    """
    torch = import_torch()
    torch.default_generator.manual_seed(seed)
    if any(device.type != "cpu" for device in devices):
        torch.manual_seed(seed)
