"""How fast the kernels and the networks are, beside the machine's limits and beside other libraries.

`minialex bench` is the way in. Every figure is taken in this order: measure what the machine can do,
check that every contestant computes the right thing, warm it up, time all of them in turns.

what is measured
    kernel_runs   every kernel of an operation, on the shapes of `workloads`
    step_runs     whole training steps and inference, ours and the baselines'
    convnet_runs  AlexNet by the protocol of convnet-benchmarks
    memory_runs   the peak memory of a step
    scaling_runs  how cost grows with batch, image size and threads
    profiling     where the time of a step goes, layer by layer
    choices       which kernel the engine runs for each layer
    predictions   the time of a step on a GPU, from compiled code and a datasheet

how
    timing        in turns; median and spread
    noise         whether the machine was quiet enough to conclude anything
    limits, gpu   multiply-add peak and copy bandwidth
    machine       what the machine is
    agreement     what "computes the right thing" means
    worker        a process of its own for one contestant

who
    contestant    what a benchmark asks of each
    ours          MiniAlex, and the truth in float64
    baselines     the other libraries: their names, what they need, and how they are made
    torch_baseline, torch_network, inference_baselines, onnx_graph, cudnn_baseline

what a run leaves
    report        result.json, and the folder it goes to
    tables, pictures
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from minialex.benchmarking.profiling import profiled

__all__ = ["profiled"]


def __getattr__(name: str):
    if name != "profiled":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return importlib.import_module(f"{__name__}.profiling").profiled
