"""From Python to a CUDA kernel: sources, launches, and the two devices that run them.

A kernel of device ``cuda`` or ``cuda-host`` is a Python function that allocates its results and launches
the functions of a ``.cu`` file beside it:

    from minialex.kernels.cuda import Source, cuda_kernel

    SOURCE = Source(__file__, "relu.cu")

    @cuda_kernel("relu.forward", algo="one-pass", rank=10)
    def relu_forward(device, x):
        x = device.contiguous(x)
        y = device.empty(x.shape, x.dtype)
        device.launch_over(SOURCE["relu_forward"], x.size, x, y, x.size)
        return y

`cuda_kernel` registers it for both devices. They differ in whose arrays they take and in who compiles and
runs the source: on ``cuda`` CuPy, with NVRTC, on a GPU; on ``cuda-host`` `minialex.kernels.cuda_host`, with
g++, on the processor. What is launched, and what is refused before a launch, is the same. This room stands
above the executor's, which knows nothing of it.

    source.py        a .cu file with the headers it includes, one text for every compiler
    signature.py     the parameters that its kernels declare
    launcher.py      the checks of a launch: grid, block and each argument
    device.py        what a kernel's Python function may ask of a device
    host.py, gpu.py  the two devices
    registration.py  cuda_kernel
    gemm.py          the planner of tiled matrix products: tiles, grids, split sums
    lines.py         how threads share the lines of a reduction
    include/         headers of the .cu files
"""

from minialex.kernels.cuda.launcher import blocks_for
from minialex.kernels.cuda.registration import cuda_kernel
from minialex.kernels.cuda.source import Source

__all__ = ["Source", "blocks_for", "cuda_kernel"]
