"""The matrix product on CUDA devices: six rungs, from one thread per result to tensor cores.

Each ``.cu`` file says what its rung changes and what that should gain. The engine takes the fifth; for a
result with more rows than a grid of tiles can cover, the third.
"""

import math
from typing import NamedTuple

from minialex.kernels.cuda import Source, cuda_kernel
from minialex.kernels.cuda.gemm import LARGE, Gemm, fits_grid, parts_bytes, product, tile_grid
from minialex.kernels.matmul import FORWARD

DOUBLE_BUFFERED = Source(__file__, "5_double_buffered.cu")


class _Rung(NamedTuple):
    """A kernel, and how it is launched."""

    source: Source
    kernel: str
    tile: tuple[int, int]  # the results of a block: (rows, columns)
    block: tuple[int, ...]
    is_numbered_along_x: bool  # the grid is one-dimensional: the other axes end at 65,535

    def launch(self, device, a, b):
        a, b, gemm = device.contiguous(a), device.contiguous(b), _gemm(a, b)
        y = device.empty((gemm.rows, gemm.columns), a.dtype)
        grid = tile_grid(self.tile, gemm.rows, gemm.columns)
        if self.is_numbered_along_x:
            grid = math.prod(grid)
        device.launch(self.source[self.kernel], grid, self.block, a, b, y, *gemm)
        return y


def _gemm(a, b) -> Gemm:
    return Gemm(len(a), b.shape[1], len(b))


_NAIVE = _Rung(Source(__file__, "1_naive.cu"), "matmul_naive", (8, 32), (32, 8), True)
_SHARED_TILE = _Rung(Source(__file__, "2_shared_tile.cu"), "matmul_shared_tile", (16, 16), (16, 16), True)
_REGISTER_TILE = _Rung(
    Source(__file__, "3_register_tile.cu"), "matmul_register_tile", (64, 64), (16, 16), True
)
_VECTORISED = _Rung(
    Source(__file__, "4_vectorised.cu"),
    "matmul_vectorised",
    (LARGE.side, LARGE.side),
    (LARGE.threads,),
    False,
)
_TENSOR_CORE = _Rung(Source(__file__, "6_tensor_core.cu"), "matmul_tensor_core", (128, 128), (256,), False)


@cuda_kernel(FORWARD, algo="naive")
def matmul_naive(device, a, b):
    return _NAIVE.launch(device, a, b)


@cuda_kernel(FORWARD, algo="shared-tile")
def matmul_shared_tile(device, a, b):
    return _SHARED_TILE.launch(device, a, b)


@cuda_kernel(FORWARD, algo="register-tile", rank=5)
def matmul_register_tile(device, a, b):
    return _REGISTER_TILE.launch(device, a, b)


def _fits_grid(a, b) -> bool | str:
    return fits_grid(len(a))


@cuda_kernel(FORWARD, algo="vectorised", supports=_fits_grid)
def matmul_vectorised(device, a, b):
    return _VECTORISED.launch(device, a, b)


def _parts_bytes(a, b) -> int:
    return parts_bytes(_gemm(a, b), a.dtype.itemsize)


@cuda_kernel(FORWARD, algo="double-buffered", rank=10, supports=_fits_grid, workspace=_parts_bytes)
def matmul_double_buffered(device, a, b):
    operands = device.contiguous(a), device.contiguous(b)
    return product(device, DOUBLE_BUFFERED, "matmul", operands, _gemm(a, b))


def _has_tensor_cores(a, b) -> bool | str:
    capability = getattr(a.device, "compute_capability", None)  # of a CuPy array, such as "80"
    if capability is not None and int(capability) < 80:
        return f"tensor cores compute in TF32 from sm_80 on; this GPU is sm_{capability}"
    return _fits_grid(a, b)


# A product of two rounded factors has a relative error of up to 2**-10 (6_tensor_core.cu says why), and a sum
# of them the same error relative to the sum of their magnitudes. Where terms cancel, that exceeds the result:
# hence the factor of 4.
@cuda_kernel(FORWARD, algo="tensor-core", supports=_has_tensor_cores, dtypes=("float32",), error=2**-8)
def matmul_tensor_core(device, a, b):
    return _TENSOR_CORE.launch(device, a, b)


@cuda_kernel(FORWARD, algo="cublas", rank=20, devices=("cuda",))
def matmul_cublas(device, a, b):
    return a @ b
