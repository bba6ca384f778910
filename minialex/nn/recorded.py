"""A network for inference whose kernel calls are decided once, and then run again for each input.

A layer of one image takes some ten microseconds to compute in a small network, and several times that to get
to in Python: modules, checks of shapes, the choice of a kernel, its plan, its memory. For inputs of one shape
all that comes out the same each time. So it is done once, while the launches of compiled loops are recorded
(`minialex.kernels.runtime.recording`), and for other inputs these are run on the same memory, as CUDA graphs
do it on a GPU (``torch.cuda.make_graphed_callables``). How: `minialex.nn.recorder`.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from minialex.autograd import is_followed, no_grad
from minialex.checks import in_words, require_choice
from minialex.errors import DeviceError, GraphError, ModelError, ShapeError
from minialex.kernels.runtime.threads import number_kept
from minialex.nn.module import Module, values_of
from minialex.nn.recorder import Places, Recorder, run_of
from minialex.nn.trace import inputs_on_meta, tensors_in
from minialex.reading import require_readable
from minialex.tensor import Tensor


def record_for_inference(network: Module, *shapes: Sequence[int], dtype: Any = None) -> RecordedNetwork:
    """A function that does what a network does in evaluation, for inputs of one shape, at the least cost.

        fused = ma.nn.utils.fuse_for_inference(network, (1, 3, 224, 224))
        recorded = ma.nn.utils.record_for_inference(fused, (1, 3, 224, 224))
        scores = recorded(image)

    The bits of its results are those of the network, frozen (`Module.freeze`): it keeps a copy, and does not
    see what becomes of the network later on, nor its hooks. Which kernels run is settled when it is recorded,
    but for operations that are done again, NumPy's mostly: call it under the settings (`minialex.using`)
    that it was recorded under. The number of threads may change.

    Parameters
    ----------
    network : Module
        On the cpu, in evaluation or not; it stays as it is. Which operations its `forward` does must follow
        from the shapes of the inputs, not from their values; nothing watches ``tensor.data``.
    *shapes : tuple of int
        Of its inputs, the batch included: (N, C, H, W).
    dtype : dtype, optional
        Of the inputs: float32 or float64; that of the network's first parameter or buffer if not given, and
        float32 where it has none.

    Returns
    -------
    RecordedNetwork

    Raises
    ------
    ShapeError
        If shapes are missing, or do not fit the network.
    TypeError
        If `network` is not a Module.
    DeviceError
        If a parameter is not on the cpu.
    GraphError
        If `forward` takes values out of a tensor, as `Tensor.item` does, or changes them in place.
    ModelError
        If it does not give the bits that the network gives, on random numbers: `forward` does something
        besides operations on tensors, or is not the same from run to run.
    """
    who = "record_for_inference"
    if not shapes:
        raise ShapeError(
            f"{who}: the shapes of the network's inputs are missing; write {who}(network, (1, 3, 224, 224)), "
            "one shape for each input"
        )
    inputs_on_meta(who, network, shapes)
    elsewhere = {p.device for p in network.parameters()} - {"cpu"}
    if elsewhere:
        raise DeviceError(f"{who}: the network must be on the cpu, not on {', '.join(sorted(elsewhere))}")
    recorded = RecordedNetwork(
        _frozen_copy(network), tuple(map(tuple, shapes)), _dtype_of(who, network, dtype)
    )
    for seed in (0, 1):
        inputs = recorded.random_inputs(seed)
        with no_grad():
            expected = recorded.network(*inputs)
        if not _same(expected, recorded(*inputs)):
            raise ModelError(
                f"{who}: run again, the recorded operations do not give what the network gives: its forward "
                "does something besides operations on tensors, or is not the same from run to run; use the "
                "network as it is"
            )
    return recorded


class RecordedNetwork:
    """What `record_for_inference` returns. Calls from several threads take turns.

    Attributes
    ----------
    network : Module
        The copy of the network that was recorded.
    shapes : tuple of tuple of int
        Of the inputs.
    dtype : dtype
        Of the inputs.
    """

    def __init__(self, network: Module, shapes: tuple[tuple[int, ...], ...], dtype: np.dtype):
        self.network, self.shapes, self.dtype = network, shapes, dtype
        self._lock = threading.Lock()
        # Packed forms of the weights are made now, and found when it is recorded.
        run_of(self.network, self.random_inputs(0))
        recorder = Recorder(self.network, self.random_inputs(0), Places())
        self._recorder = recorder
        if recorder.found.parts:
            self._recorder = Recorder(self.network, self.random_inputs(0), recorder.found)

    def random_inputs(self, seed: int) -> list[Tensor]:
        """Inputs of the shapes."""
        generator = np.random.default_rng(seed)
        return [Tensor(generator.standard_normal(shape).astype(self.dtype)) for shape in self.shapes]

    def __call__(self, *inputs: Tensor) -> Any:
        """Compute the network's result.

        Raises
        ------
        ShapeError
            If the inputs have not the recorded shapes.
        TypeError
            If they are no tensors of the network's dtype.
        GraphError
            If a gradient is asked for.
        """
        require_readable()  # it cannot be a part of another recording
        self._require_fit(inputs)
        with self._lock, number_kept(self._recorder.recording.threads):
            return self._recorder.run([each.data for each in inputs])

    def _require_fit(self, inputs: tuple) -> None:
        for each in inputs:
            if not isinstance(each, Tensor):
                raise TypeError(
                    f"a recorded network takes tensors, not {in_words(each)}; write ma.tensor(array)"
                )
        given = tuple(each.shape for each in inputs)
        if given != self.shapes:
            raise ShapeError(
                f"this network was recorded for inputs of the shapes {_listed(self.shapes)}, not "
                f"{_listed(given)}; record it for these, too"
            )
        for each in inputs:
            if each.dtype != self.dtype or each.device != "cpu":
                raise TypeError(
                    f"this network was recorded for {self.dtype} on the cpu, not {each.dtype} on "
                    f"{each.device}"
                )
        if is_followed(*inputs):
            raise GraphError(
                "a recorded network has no gradients, and an input requires one; call it inside "
                "ma.no_grad(), or its .network"
            )

    def __reduce__(self):
        return partial(record_for_inference, dtype=self.dtype.name), (self.network, *self.shapes)

    def __repr__(self) -> str:
        return f"RecordedNetwork of {type(self.network).__name__} for {_listed(self.shapes)}"


def _dtype_of(who: str, network: Module, dtype: Any) -> np.dtype:
    if dtype is not None:
        require_choice(f"{who}: dtype", str(np.dtype(dtype)), ("float32", "float64"), error=ModelError)
        return np.dtype(dtype)
    kept = (values_of(each) for each in (*network.parameters(), *network.buffers()))
    return next((each.dtype for each in kept if each.dtype.kind == "f"), np.dtype("float32"))


def _listed(shapes: tuple) -> str:
    return ", ".join(map(str, shapes)) or "none"


def _frozen_copy(network: Module) -> Module:
    network = copy.deepcopy(network).eval().freeze()
    for module in network.modules():
        for name, buffer in module._buffers.items():
            if buffer is not None:
                # As `freeze` does it with parameters: no other array may share the memory.
                values = values_of(buffer).copy()
                values.flags.writeable = False
                module._buffers[name] = Tensor(values) if isinstance(buffer, Tensor) else values
    return network


def _same(expected: Any, found: Any) -> bool:
    pairs = list(tensors_in(expected)), list(tensors_in(found))
    return len(pairs[0]) == len(pairs[1]) and all(
        (a.dtype, a.shape) == (b.dtype, b.shape) and a.data.tobytes() == b.data.tobytes()
        for a, b in zip(*pairs, strict=True)
    )
