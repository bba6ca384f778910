"""Records one run of a network, operation by operation, and runs it again for other inputs.

Of an operation that only runs a kernel that can be recorded (``Kernel.records``), the launches of loops are
kept (`minialex.kernels.runtime.recording`). One that returns a view of its input needs nothing. Any other is
called again in each run, and its results are copied to where those of the recorded run were.

Concatenation copies its parts into the whole. Where they lie in one piece in it, as those of one image do, a
kernel can write its result there in the first place: that is known when a run has been recorded once, and a
second recording does it.
"""

from __future__ import annotations

import itertools
import math
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from minialex.autograd import Operation, forward_by, no_grad
from minialex.checks import in_words
from minialex.devices import is_array
from minialex.errors import ModelError
from minialex.kernels.runtime import memory
from minialex.kernels.runtime.prepacked import frozen
from minialex.kernels.runtime.recording import Recording, run_again
from minialex.kernels.runtime.threads import number_kept
from minialex.nn.module import Module
from minialex.nn.trace import tensors_in
from minialex.operations.joining import Concatenate
from minialex.random import seeded
from minialex.reading import reading_refused
from minialex.tensor import Tensor

_OURS = __name__.partition(".")[0]
_CONTAINERS, _PLAIN = (tuple, list, dict, OrderedDict), (type(None), bool, int, float, str)
_READS = (
    "the network's forward takes values out of a tensor (item(), numpy(), printing, labels, winners of a "
    "pool), or changes them in place: for other inputs that would not be done again; use the network itself"
)


def run_of(network: Module, inputs: list[Tensor]) -> Any:
    """What a network gives, without a graph, and with the same random numbers each time."""
    with no_grad(), seeded(0), np.errstate(all="ignore"):
        return network(*inputs)


class Part(NamedTuple):
    """Where a result lies in a concatenation, whose number in the run it has."""

    of: int
    start: int  # in elements
    shape: tuple[int, ...]


@dataclass
class Places:
    """Which operations of a run, by their numbers, write into concatenations, and of what shape and dtype."""

    parts: dict[int, Part] = field(default_factory=dict)
    wholes: dict[int, tuple[tuple[int, ...], np.dtype]] = field(default_factory=dict)


class Recorder:
    """A recorded run.

    Parameters
    ----------
    network : Module
        With frozen parameters.
    inputs : list of Tensor
        Later inputs are copied into their memory.
    places : Places

    Attributes
    ----------
    recording : Recording
    found : Places
        What another recording could place.
    """

    def __init__(self, network: Module, inputs: list[Tensor], places: Places):
        self.recording, self.found = Recording(), Places()
        self._steps: list[Callable[[], None]] = []
        self._inputs = [tensor.data for tensor in inputs]
        self._numbers = itertools.count()
        self._given, self._busy = places, False
        self._wholes: dict[int, np.ndarray] = {}  # concatenations that have begun
        # Of results, by their addresses: the operations' numbers, and the results' shapes.
        self._makers: dict[int, tuple[int, tuple[int, ...]]] = {}
        with number_kept(), forward_by(self._forward), reading_refused(_READS):
            self._template = run_of(network, inputs)
        _require_known(self._template)
        self._results = {id(t): self.recording.view(t.data) for t in tensors_in(self._template)}

    def run(self, arrays: list[np.ndarray]) -> Any:
        """Run it again for these inputs; the results, in memory of their own."""
        for kept, array in zip(self._inputs, arrays, strict=True):
            np.copyto(kept, array)
        for step in self._steps:
            step()
        return self._with_values(self._template)

    def _with_values(self, result: Any) -> Any:
        """The results in the structure that the network returns."""
        if isinstance(result, Tensor):
            values = self._results[id(result)]
            own = memory.empty(values.shape, values.dtype)
            np.copyto(own, values)
            return Tensor(own)
        if isinstance(result, dict):
            return type(result)((key, self._with_values(value)) for key, value in result.items())
        if isinstance(result, tuple) and hasattr(result, "_fields"):
            return type(result)(*map(self._with_values, result))
        if isinstance(result, tuple | list):
            return type(result)(map(self._with_values, result))
        return result

    def _forward(self, operation: Operation, arrays: tuple) -> Any:
        """Do an operation, and keep what it takes to do it again."""
        number, recording = next(self._numbers), self.recording
        if self._busy:  # an operation whose forward uses tensors
            return operation.forward(*arrays)
        if isinstance(operation, Concatenate):
            with recording:
                return self._concatenate(number, operation.axis, arrays)
        recording.calls.clear()
        recording.launches.clear()
        # Only here: what is made between operations is a constant, which nothing must overwrite.
        self._busy = True
        try:
            with recording, memory.placed_at(self._place(number)):
                results = operation.forward(*arrays)
        finally:
            self._busy = False
        outputs = results if isinstance(results, tuple) else (results,)
        # What an operation of the user's does may follow from values: what it returns, which kernel it runs.
        ours = type(operation).__module__.partition(".")[0] == _OURS
        if ours and self._is_recorded(arrays, results):
            self._steps.append(partial(run_again, list(recording.launches)))
            self._made_by(number, outputs)
        elif not ours or recording.calls or not all(_is_view(each, arrays) for each in outputs):
            outputs = tuple(each if ours and _is_writable(each) else np.array(each) for each in outputs)
            results = outputs if isinstance(results, tuple) else outputs[0]
            views = tuple(map(recording.view, arrays)), tuple(map(recording.view, outputs))
            self._steps.append(partial(_do_again, operation, *views))
            self._made_by(None, outputs)
        return results

    def _made_by(self, number: int | None, outputs: tuple) -> None:
        """Keep who made a result; None: nobody who could write it elsewhere."""
        for each in outputs:
            self._makers.pop(_address(each), None)
        if number is not None and len(outputs) == 1:
            self._makers[_address(outputs[0])] = number, outputs[0].shape

    def _is_recorded(self, arrays: tuple, results: Any) -> bool:
        """Whether the operation did nothing but call one kernel, whose launches can be run again."""
        if len(self.recording.calls) != 1:
            return False
        ((kernel, given, returned),) = self.recording.calls
        changing, others = given[: kernel.records], given[kernel.records :]
        return (
            kernel.records > 0
            and returned is results
            and all(any(each is array for array in arrays) and each.flags.c_contiguous for each in changing)
            and all(each is None or frozen(each) for each in others)
        )

    def _concatenate(self, number: int, axis: int, arrays: tuple) -> np.ndarray:
        """Copy the parts into the whole that are not there already."""
        shape = list(arrays[0].shape)
        shape[axis] = sum(array.shape[axis] for array in arrays)
        self.found.wholes[number] = tuple(shape), arrays[0].dtype
        whole = self._whole(number, *self.found.wholes[number])
        start, copies = 0, []
        for array in arrays:
            end = start + array.shape[axis]
            part = whole[(slice(None),) * axis + (slice(start, end),)]
            in_one_piece = array.flags.c_contiguous and part.flags.c_contiguous
            if not in_one_piece or _address(part) != _address(array):
                part[...] = array
                copies.append((self.recording.view(part), self.recording.view(array)))
            maker, of_shape = self._makers.get(_address(array), (None, None))
            if maker is not None and of_shape == array.shape and in_one_piece:
                first = start * math.prod(shape[axis + 1 :])
                self.found.parts.setdefault(maker, Part(number, first, array.shape))
            start = end
        if copies:
            self._steps.append(partial(_copy_all, copies))
        del self._wholes[number]
        self._made_by(number, (whole,))
        return whole

    def _whole(self, number: int, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        """The memory of a concatenation, itself perhaps a part of another."""
        if number not in self._wholes:
            place = self._place(number)
            self._wholes[number] = memory.empty(shape, dtype) if place is None else place
        return self._wholes[number]

    def _place(self, number: int) -> np.ndarray | None:
        """Where an operation is to write its result."""
        part = self._given.parts.get(number)
        if part is None:
            return None
        whole = self._whole(part.of, *self._given.wholes[part.of])
        return whole.reshape(-1)[part.start : part.start + math.prod(part.shape)].reshape(part.shape)


def _require_known(result: Any) -> None:
    """Raise `ModelError` unless a network's result is of tensors, in containers that can be made anew."""
    if type(result) in _CONTAINERS or (isinstance(result, tuple) and hasattr(result, "_fields")):
        for each in result.values() if isinstance(result, dict) else result:
            _require_known(each)
    elif type(result) not in _PLAIN and not isinstance(result, Tensor):
        raise ModelError(
            "a recorded network must return tensors, alone or in tuples, named tuples, lists and dicts, not "
            f"{in_words(result)}; use the network as it is"
        )


def _address(array: np.ndarray) -> int:
    return array.__array_interface__["data"][0]


def _is_writable(result: Any) -> bool:
    return is_array(result) and result.flags.writeable


def _is_view(result: Any, arrays: tuple) -> bool:
    return is_array(result) and any(
        array is not None and np.may_share_memory(result, array) for array in arrays
    )


def _do_again(operation: Operation, arrays: tuple, outputs: tuple) -> None:
    """Call an operation's forward, and copy its results to where those of the recorded run were."""
    results = operation.forward(*arrays)
    for kept, result in zip(outputs, results if isinstance(results, tuple) else (results,), strict=True):
        np.copyto(kept, result)


def _copy_all(copies: list[tuple[np.ndarray, np.ndarray]]) -> None:
    for target, source in copies:
        np.copyto(target, source)
