"""The matrix product on CUDA devices: six rungs, from a thread a result to tensor cores.

Each ``.cu`` file says what its rung changes and what that should bring. The engine takes the fifth; for a
result of more rows than the tiles' grids have, the third.
"""

from minialex.kernels.cuda import Source, cuda_kernel
from minialex.kernels.matmul.tiles import LARGE, fits_grid, parts_bytes, product

_NAIVE = Source(__file__, "1_naive.cu")
_SHARED_TILE = Source(__file__, "2_shared_tile.cu")
_REGISTER_TILE = Source(__file__, "3_register_tile.cu")
_VECTORISED = Source(__file__, "4_vectorised.cu")
DOUBLE_BUFFERED = Source(__file__, "5_double_buffered.cu")
_TENSOR_CORE = Source(__file__, "6_tensor_core.cu")


def _multiply(device, kernel, a, b, *, tile, block, one_axis):
    """Launch a kernel whose blocks compute `tile` (rows, columns) results each."""
    a, b = device.contiguous(a), device.contiguous(b)
    (rows, depth), columns = a.shape, b.shape[1]
    y = device.empty((rows, columns), a.dtype)
    down, across = -(-rows // tile[0]), -(-columns // tile[1])
    grid = down * across if one_axis else (across, down)
    device.launch(kernel, grid, block, a, b, y, rows, columns, depth)
    return y


@cuda_kernel("matmul.forward", algo="naive")
def matmul_naive(device, a, b):
    return _multiply(device, _NAIVE["matmul_naive"], a, b, tile=(8, 32), block=(32, 8), one_axis=True)


@cuda_kernel("matmul.forward", algo="shared-tile")
def matmul_shared_tile(device, a, b):
    kernel = _SHARED_TILE["matmul_shared_tile"]
    return _multiply(device, kernel, a, b, tile=(16, 16), block=(16, 16), one_axis=True)


@cuda_kernel("matmul.forward", algo="register-tile", rank=5)
def matmul_register_tile(device, a, b):
    kernel = _REGISTER_TILE["matmul_register_tile"]
    return _multiply(device, kernel, a, b, tile=(64, 64), block=(16, 16), one_axis=True)


def _fits_grid(a, b) -> bool | str:
    return fits_grid(len(a))


@cuda_kernel("matmul.forward", algo="vectorised", supports=_fits_grid)
def matmul_vectorised(device, a, b):
    kernel, side = _VECTORISED["matmul_vectorised"], LARGE.side
    return _multiply(device, kernel, a, b, tile=(side, side), block=LARGE.threads, one_axis=False)


def _parts_bytes(a, b) -> int:
    return parts_bytes(len(a), b.shape[1], len(b), a.dtype.itemsize)


@cuda_kernel("matmul.forward", algo="double-buffered", rank=10, supports=_fits_grid, workspace=_parts_bytes)
def matmul_double_buffered(device, a, b):
    a, b = device.contiguous(a), device.contiguous(b)
    return product(device, DOUBLE_BUFFERED, "matmul", (a, b), len(a), b.shape[1], len(b))


def _has_tensor_cores(a, b) -> bool | str:
    capability = getattr(a.device, "compute_capability", None)  # of a CuPy array; such as "80"
    if capability is not None and int(capability) < 80:
        return f"tensor cores compute in TF32 from sm_80 on; this GPU is sm_{capability}"
    return _fits_grid(a, b)


# A product of two rounded factors is off by up to 2**-10 of itself (6_tensor_core.cu says why), a sum of such
# products by as much of the sum of their magnitudes. Where terms cancel, this is more than the result: hence
# the factor of 4.
@cuda_kernel(
    "matmul.forward", algo="tensor-core", supports=_has_tensor_cores, dtypes=("float32",), error=2**-8
)
def matmul_tensor_core(device, a, b):
    kernel = _TENSOR_CORE["matmul_tensor_core"]
    return _multiply(device, kernel, a, b, tile=(128, 128), block=256, one_axis=False)


@cuda_kernel("matmul.forward", algo="cublas", rank=20, devices=("cuda",))
def matmul_cublas(device, a, b):
    return a @ b
