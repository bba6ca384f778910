"""The time of a training step on a GPU, layer by layer, predicted from compiled code and a datasheet."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

from minialex.benchmarking.choices import calls_of_step
from minialex.kernels import Kernel, ranked
from minialex.kernels.cuda.inspection.gpus import Gpu
from minialex.kernels.cuda.inspection.kernels import inspect_source
from minialex.kernels.cuda.inspection.launches import RecordedLaunch, launches_of
from minialex.kernels.cuda.inspection.loops import Mix
from minialex.kernels.cuda.inspection.roofline import predict
from minialex.kernels.cuda.source import Source, SourceKernel


@dataclass(frozen=True)
class PredictedKernel:
    """The launches of one CUDA kernel in a call of a training step, with their predicted time."""

    layer: str
    operation: str
    algorithm: str
    kernel: str
    # How many, their blocks together, and the bytes of the arrays that they were given.
    launches: int
    blocks: int
    moved: int
    # The floating-point operations that are ascribed to them.
    operations: int
    # The predicted time, and that if all that the blocks ask for came from memory.
    seconds: float
    uncached: float
    # What decides it, for the longest of the launches: see `roofline.Prediction`.
    bound: str


def predict_step(
    model: str, batch: int, gpu: Gpu, mix_of: Callable[[SourceKernel, str], Mix] | None = None
) -> list[PredictedKernel]:
    """The kernels of a training step of a model in float32, the project's own, layer by layer.

    Parameters
    ----------
    model : str
    batch : int
    gpu : Gpu
    mix_of : callable, optional
        Gives the hottest loop of a kernel on an architecture; None compiles it.

    Raises
    ------
    KernelError, ModelError
        As `minialex.benchmarking.choices.choices`; and if a source does not compile.
    DeviceError
        If the compiler or the disassembler is missing.
    """
    mix_of = mix_of or _compiled_mix
    found = []
    for layer, workload in calls_of_step(model, batch):
        arrays = workload.undefined()
        entry = _own_kernel(workload.operation, arrays, workload.parameters)
        by_name: dict[str, list[RecordedLaunch]] = {}
        for launch in launches_of(entry, *arrays, **workload.parameters):
            by_name.setdefault(launch.kernel.name, []).append(launch)
        mixes = {name: mix_of(each[0].kernel, gpu.architecture) for name, each in by_name.items()}
        # The products are the work of the kernel with the densest loop; the others move data.
        densest = max(mixes, key=lambda name: mixes[name].density, default=None)
        for name, same in by_name.items():
            call = (layer, workload.operation, entry.algorithm, name, len(same))
            operations = 2 * workload.products if name == densest else 0
            found.append(PredictedKernel(*call, *_predict_all(same, mixes[name], operations, gpu)))
    return found


def _own_kernel(operation: str, arrays: tuple, parameters: dict) -> Kernel:
    """What the engine runs on ``cuda``, but for cuBLAS, whose code is not the project's."""
    return next(
        entry
        for entry in ranked(operation, "cuda")
        if entry.algorithm != "cublas" and entry.refusal(*arrays, **parameters) is None
    )


def _predict_all(launches: list[RecordedLaunch], mix: Mix, operations: int, gpu: Gpu) -> tuple:
    """The figures of several launches of a kernel, which share the operations by their blocks."""
    blocks = sum(launch.blocks for launch in launches)
    each = [
        predict(mix, operations * launch.blocks // blocks, launch.moved, launch.blocks, gpu)
        for launch in launches
    ]
    return (
        blocks,
        sum(launch.moved for launch in launches),
        operations,
        sum(prediction.seconds for prediction in each),
        sum(max(prediction.seconds, prediction.uncached) for prediction in each),
        max(each, key=lambda prediction: prediction.seconds).bound,
    )


def _compiled_mix(kernel: SourceKernel, architecture: str) -> Mix:
    return _compiled_mixes(kernel.source, architecture)[kernel.name]


@functools.cache
def _compiled_mixes(source: Source, architecture: str) -> dict[str, Mix]:
    return {each.name: each.loop.mix for each in inspect_source(source, architecture)}
