"""The fully connected layer on CUDA devices: tiled products, and skinny ones for a few images."""

from minialex.integers import ceil_div
from minialex.kernels.cuda import Source, cuda_kernel
from minialex.kernels.cuda import gemm as planner
from minialex.kernels.cuda.gemm import Gemm, Split, fits_grid, parts_bytes, product
from minialex.kernels.linear import FORWARD, INPUT_GRAD, WEIGHT_GRAD
from minialex.kernels.matmul.cuda import DOUBLE_BUFFERED

_LINEAR = Source(__file__, "linear.cu")
_FEW_IMAGES = Source(__file__, "few_images.cu")


def _forward(x, weight, bias) -> Gemm:
    return Gemm(len(x), len(weight), x.shape[1])


def _forward_bytes(x, weight, bias) -> int:
    zeros = len(weight) * x.dtype.itemsize if bias is None else 0
    return zeros + parts_bytes(_forward(x, weight, bias), x.dtype.itemsize)


@cuda_kernel(
    FORWARD,
    algo="double-buffered",
    rank=10,
    supports=lambda x, weight, bias: fits_grid(len(x)),
    workspace=_forward_bytes,
)
def linear_forward(device, x, weight, bias):
    operands = _forward_operands(device, x, weight, bias)
    return product(device, _LINEAR, "linear_forward", operands, _forward(x, weight, bias))


def _forward_operands(device, x, weight, bias):
    bias = device.zeros(len(weight), weight.dtype) if bias is None else device.contiguous(bias)
    return device.contiguous(x), device.contiguous(weight), bias


def _input_grad(g, weight) -> Gemm:
    return Gemm(len(g), weight.shape[1], len(weight))


@cuda_kernel(
    INPUT_GRAD,
    algo="double-buffered",
    rank=10,
    supports=lambda g, weight: fits_grid(len(g)),
    workspace=lambda g, weight: parts_bytes(_input_grad(g, weight), g.dtype.itemsize),
)
def linear_input_grad(device, g, weight):
    operands = device.contiguous(g), device.contiguous(weight)
    return product(device, DOUBLE_BUFFERED, "matmul", operands, _input_grad(g, weight))


def _weight_grad(g, x) -> Gemm:
    return Gemm(g.shape[1], x.shape[1], len(x))


@cuda_kernel(
    WEIGHT_GRAD,
    algo="double-buffered",
    rank=10,
    supports=lambda g, x: fits_grid(g.shape[1]),
    workspace=lambda g, x: parts_bytes(_weight_grad(g, x), g.dtype.itemsize),
)
def linear_weight_grad(device, g, x):
    operands = device.contiguous(g), device.contiguous(x)
    return product(device, _LINEAR, "linear_weight_grad", operands, _weight_grad(g, x))


# As in few_images.cu.
_MAX_IMAGES, _WARPS, _BLOCK = 4, 8, (32, 8)
# The fewest outputs that a block of the weight gradient writes, or that a part of the input gradient sums
# over, so that reading x, or storing the part, costs little in comparison.
_LEAST_OUTPUTS = 64


def _few_images(x, *_) -> bool | str:
    return len(x) <= _MAX_IMAGES or f"for up to {_MAX_IMAGES} images, not {len(x)}"


def _column_blocks(inputs: int, itemsize: int) -> int:
    """Blocks along the rows of the weights: each warp covers 512 bytes."""
    return ceil_div(inputs * itemsize, 512)


def _parts(outputs: int, blocks: int) -> Split:
    """How the sum over the outputs is split, so that there are enough blocks."""
    return planner.split_sum(outputs, 4 * planner.ENOUGH_BLOCKS // max(1, blocks), _LEAST_OUTPUTS)


@cuda_kernel(FORWARD, algo="matrix-vector", rank=15, supports=_few_images)
def linear_forward_few(device, x, weight, bias):
    x, weight, bias = _forward_operands(device, x, weight, bias)
    (images, inputs), outputs = x.shape, len(weight)
    y = device.empty((images, outputs), x.dtype)
    blocks = ceil_div(outputs, _WARPS) if images else 0
    kernel = _FEW_IMAGES["linear_forward_few"]
    device.launch(kernel, blocks, _BLOCK, x, weight, bias, y, images, outputs, inputs)
    return y


def _input_grad_few_bytes(g, weight) -> int:
    outputs, inputs = weight.shape
    parts, _ = _parts(outputs, _column_blocks(inputs, weight.dtype.itemsize))
    return parts * len(g) * inputs * g.dtype.itemsize if parts > 1 else 0


@cuda_kernel(INPUT_GRAD, algo="matrix-vector", rank=15, supports=_few_images, workspace=_input_grad_few_bytes)
def linear_input_grad_few(device, g, weight):
    g, weight = device.contiguous(g), device.contiguous(weight)
    images, (outputs, inputs) = len(g), weight.shape
    blocks = _column_blocks(inputs, weight.dtype.itemsize) if images else 0
    parts, outputs_a_part = _parts(outputs, blocks)
    gx = device.empty((images, inputs), g.dtype)
    sums = planner.empty_parts(device, gx, parts)
    kernel, grid = _FEW_IMAGES["linear_input_grad_few"], (blocks, parts)
    device.launch(kernel, grid, _BLOCK, g, weight, sums, images, outputs, inputs, outputs_a_part)
    planner.add_parts(device, sums, gx)
    return gx


@cuda_kernel(WEIGHT_GRAD, algo="matrix-vector", rank=15, supports=_few_images)
def linear_weight_grad_few(device, g, x):
    g, x = device.contiguous(g), device.contiguous(x)
    (images, outputs), inputs = g.shape, x.shape[1]
    gw = device.empty((outputs, inputs), g.dtype)
    blocks = _column_blocks(inputs, g.dtype.itemsize) * ceil_div(outputs, _LEAST_OUTPUTS)
    kernel = _FEW_IMAGES["linear_weight_grad_few"]
    device.launch(kernel, blocks, _BLOCK, g, x, gw, images, outputs, inputs, _LEAST_OUTPUTS)
    return gw


@cuda_kernel(FORWARD, algo="cublas", rank=20, devices=("cuda",))
def linear_forward_cublas(device, x, weight, bias):
    y = x @ weight.T
    if bias is not None:
        y += bias
    return y


@cuda_kernel(INPUT_GRAD, algo="cublas", rank=20, devices=("cuda",))
def linear_input_grad_cublas(device, g, weight):
    return g @ weight


@cuda_kernel(WEIGHT_GRAD, algo="cublas", rank=20, devices=("cuda",))
def linear_weight_grad_cublas(device, g, x):
    return g.T @ x
