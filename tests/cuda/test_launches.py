"""What a training step would launch, and the time predicted for it: without compiling and without a GPU."""

import numpy as np

from minialex.benchmarking.predictions import predict_step
from minialex.kernels import find_kernel
from minialex.kernels.cuda.inspection.gpus import find_gpu
from minialex.kernels.cuda.inspection.launches import launches_of
from minialex.kernels.cuda.inspection.loops import Mix


def test_the_launch_of_a_kernel():
    """1000 elements in blocks of 256, read once and written once; nothing is computed."""
    x = np.ones(1000, np.float32)
    (launch,) = launches_of(find_kernel("relu.forward", algo="one-pass", device="cuda-host"), x)
    assert (launch.kernel.name, launch.blocks, launch.threads) == ("relu_forward", 4, 256)
    assert launch.moved == 2 * 4000


def test_an_empty_array_launches_nothing():
    x = np.ones(0, np.float32)
    assert launches_of(find_kernel("relu.forward", algo="one-pass", device="cuda-host"), x) == []


def test_a_step_is_predicted_layer_by_layer():
    """Whoever multiplies has the operations of the step's products; everyone moves bytes."""

    def mix_of(kernel, architecture):
        assert architecture == "sm_90"
        return Mix(10, 9, 0, 9 * 64, 9 * 64, {("global", 16): 1})

    gpu = find_gpu("H100")
    found = predict_step("alexnet", 4, gpu, mix_of)
    layers = list(dict.fromkeys(each.layer for each in found))
    assert layers[:4] == ["conv1", "relu1", "norm1", "pool1"]
    assert layers[-1] == "fc8"
    # The products of the paper's network, three passes less the gradient of the images, and four images.
    assert sum(each.operations for each in found) == 4 * (6 * 724_406_816 - 2 * 105_415_200)
    relu = next(each for each in found if each.layer == "relu1" and each.operation == "relu.forward")
    moved = 2 * 4 * 4 * 96 * 55 * 55
    assert (relu.moved, relu.operations, relu.launches) == (moved, 0, 1)
    assert relu.seconds == moved / gpu.bandwidth
    assert all(0 < each.seconds <= each.uncached for each in found)
    again = predict_step("alexnet", 4, gpu, mix_of)
    assert again == found
