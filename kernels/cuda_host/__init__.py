"""CUDA on the CPU: kernels written for a GPU, compiled by g++ and run by the executor in ``runtime/``.

    module = minialex.kernels.cuda_host.load("their.cu")
    module["scale"]((blocks,), (256,), (x, y, np.float32(2), np.int32(x.size)))

`docs/cuda_host.md` says what of CUDA C++ there is, and what is not.
"""

from minialex.kernels.cuda_host.checked_launch import check
from minialex.kernels.cuda_host.findings import Access, Finding, Report
from minialex.kernels.cuda_host.module import Kernel, Module, load

__all__ = ["Access", "Finding", "Kernel", "Module", "Report", "check", "load"]
