"""Products larger than the tiles of the CUDA kernels, of sizes that no tile divides; the arithmetic of TF32.

The drawn shapes of the property tests have sides up to four. Errors are bounded by what rounding can do: a
sum of K products in a precision with the unit u is off by up to K * u times the sum of the magnitudes.
"""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minialex.kernels import cuda_host, find_kernel, list_kernels, select
from minialex.kernels.cuda.gemm import ENOUGH_BLOCKS, LARGE, Gemm, plan
from minialex.kernels.cuda.source import Source

pytestmark = pytest.mark.needs_gxx

RUNGS = [entry.algorithm for entry in list_kernels("matmul.forward", "cuda-host")]
DTYPES = [np.float32, np.float64]
# (M, K, N): no tile divides the first; vectors fit the second; the third is split along K; and the ends.
SIZES = [(129, 37, 131), (256, 64, 256), (33, 1030, 36), (1, 300, 5), (67, 1, 66), (70, 0, 130), (1, 1, 1)]
# (images, inputs, outputs)
LAYERS = [(1, 261, 67), (3, 516, 130), (4, 128, 1), (129, 37, 131), (64, 520, 68), (7, 0, 3), (5, 2, 0)]


def normal(*shape, dtype=np.float32):
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(dtype)


def assert_product(y, a, b, bias=None, unit=None):
    """Check that y is a @ b + bias, up to rounding with the given unit."""
    assert y.dtype == a.dtype
    unit = np.finfo(a.dtype).eps if unit is None else unit
    a, b = a.astype(np.float64), b.astype(np.float64)
    bias = 0.0 if bias is None else bias.astype(np.float64)
    right = a @ b + bias
    bound = (a.shape[1] + 1) * unit * (np.abs(a) @ np.abs(b) + np.abs(bias))
    assert y.shape == right.shape
    assert np.all(np.abs(y - right) <= bound)


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("dtype", DTYPES, ids=["float32", "float64"])
@pytest.mark.parametrize("rung", [each for each in RUNGS if each != "tensor-core"])
def test_each_rung_multiplies_matrices_of_any_size(rung, dtype, size):
    rows, depth, columns = size
    a, b = normal(rows, depth, dtype=dtype), normal(depth, columns, dtype=dtype)
    assert_product(find_kernel("matmul.forward", algo=rung, device="cuda-host")(a, b), a, b)


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_tensor_cores_are_off_by_no_more_than_the_rounding_of_their_operands(size):
    rows, depth, columns = size
    a, b = normal(rows, depth), normal(depth, columns)
    y = find_kernel("matmul.forward", algo="tensor-core", device="cuda-host")(a, b)
    wide_a, wide_b = tf32(a), tf32(b)
    # The product of the rounded operands, up to the rounding of float.
    assert_product(y.astype(np.float64), wide_a, wide_b, unit=np.finfo(np.float32).eps)
    bound = (2.0**-10 + 2.0**-22 + depth * 2.0**-23) * (np.abs(a).astype(float) @ np.abs(b))
    assert np.all(np.abs(y - a.astype(np.float64) @ b) <= bound)


def test_infinities_and_nans_stay_in_their_rows_and_columns():
    for rung in RUNGS:
        a, b = normal(130, 20), normal(20, 132)
        a[129, 19], b[3, 131] = np.inf, np.nan
        y = find_kernel("matmul.forward", algo=rung, device="cuda-host")(a, b)
        assert np.all(np.isfinite(y[:129, :131])), rung
        assert np.all(np.isinf(y[129, :131])), rung
        assert np.all(np.isnan(y[:, 131])), rung


@pytest.mark.parametrize(
    ("algorithm", "layer"),
    [
        (algorithm, layer)
        for algorithm in ("double-buffered", "matrix-vector")
        for layer in LAYERS
        if algorithm != "matrix-vector" or layer[0] <= 4  # the images that it is for
    ],
    ids=str,
)
@pytest.mark.parametrize("dtype", DTYPES, ids=["float32", "float64"])
def test_linear_of_any_size(algorithm, dtype, layer):
    images, inputs, outputs = layer
    x, weight = normal(images, inputs, dtype=dtype), normal(outputs, inputs, dtype=dtype)
    g, bias = normal(images, outputs, dtype=dtype), normal(outputs, dtype=dtype)

    def run(direction, *arrays):
        return find_kernel(f"linear.{direction}", algo=algorithm, device="cuda-host")(*arrays)

    assert_product(run("forward", x, weight, bias), x, weight.T, bias)
    assert_product(run("forward", x, weight, None), x, weight.T)
    assert_product(run("input_grad", g, weight), g, weight)
    assert_product(run("weight_grad", g, x), g.T, x)


def test_the_batch_decides_between_the_two_kernels_of_linear():
    weight, bias = normal(9, 8), normal(9)
    for images, algorithm in ((0, "matrix-vector"), (4, "matrix-vector"), (5, "double-buffered")):
        assert select("linear.forward", "cuda-host", normal(images, 8), weight, bias).algorithm == algorithm


def test_each_run_gives_the_same_bits():
    a, b, x, weight = normal(33, 1030), normal(1030, 36), normal(2, 130), normal(515, 130)
    for run in (
        lambda: find_kernel("matmul.forward", algo="double-buffered", device="cuda-host")(a, b),
        lambda: find_kernel("linear.weight_grad", algo="double-buffered", device="cuda-host")(b, b),
        lambda: find_kernel("linear.input_grad", algo="matrix-vector", device="cuda-host")(
            weight[:, :2].T, weight
        ),
        lambda: find_kernel("linear.forward", algo="matrix-vector", device="cuda-host")(x, weight, None),
    ):
        np.testing.assert_array_equal(run(), run())


def test_views_are_copied_to_where_vectors_can_be_read():
    a, b = normal(66, 41)[1:, 1:], normal(36, 40).T[:, 4:]
    for rung in RUNGS:
        y = find_kernel("matmul.forward", algo=rung, device="cuda-host")(a, b)
        assert_product(y, a, b, unit=2.0**-10 if rung == "tensor-core" else None)


_sizes = st.integers(0, 3000) | st.integers(0, 10**8)


@given(_sizes, _sizes, _sizes)
def test_a_plan_covers_the_product_and_no_more(rows, columns, depth):
    tile, (across, down, parts), depth_a_part = plan(Gemm(rows, columns, depth))
    assert across * tile.side >= columns > (across - 1) * tile.side or across == columns == 0
    assert down * tile.side >= rows > (down - 1) * tile.side or down == rows == 0
    assert parts * depth_a_part >= depth
    assert (parts - 1) * depth_a_part < max(depth, 1)
    assert depth_a_part % 8 == 0, "parts start at multiples of a tile's depth"
    assert parts == 1 or (depth_a_part >= 256 and across * down * parts <= ENOUGH_BLOCKS)


def test_large_results_get_large_tiles_and_long_sums_are_split():
    assert plan(Gemm(4096, 4096, 64)).tile is LARGE
    assert plan(Gemm(128, 4096, 64)).tile.side == 64
    assert plan(Gemm(128, 4096, 64)).parts == 1
    assert plan(Gemm(64, 512, 9216)).parts == ENOUGH_BLOCKS // 8


def test_a_result_with_more_rows_than_a_grid_has_tiles_goes_to_the_third_rung():
    a, b = np.broadcast_to(np.float32(1), (5_000_000, 2)), normal(2, 3)
    assert "4194240 rows, not 5000000" in find_kernel(
        "matmul.forward", algo="double-buffered", device="cuda-host"
    ).refusal(a, b)
    assert select("matmul.forward", "cuda-host", a, b).algorithm == "register-tile"


@pytest.mark.parametrize(("capability", "refused"), [("75", True), ("80", False), ("120", False)])
def test_a_gpu_without_tf32_is_refused_its_rung(capability, refused):
    class Array(np.ndarray):
        """A NumPy array with the attribute of a CuPy array that the kernel asks."""

        device = SimpleNamespace(compute_capability=capability)

    a = normal(2, 2).view(Array)
    refusal = find_kernel("matmul.forward", algo="tensor-core", device="cuda").refusal(a, a)
    assert (refusal is not None and "sm_75" in refusal) == refused


def tf32(values):
    """The nearest TF32 numbers, ties to the larger magnitude, as float64: by arithmetic, not by bits."""
    wide = values.astype(np.float64)
    _, exponent = np.frexp(wide)
    unit = np.ldexp(1.0, np.maximum(exponent, -125) - 11)  # of the last of 11 significant bits
    return np.sign(wide) * np.floor(np.abs(wide) / unit + 0.5) * unit


TENSOR_CORE_KERNELS = """
#include "tensor_core.cuh"

extern "C" __global__ void round_each(const float* __restrict__ x, float* __restrict__ y, int n)
{
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n)
        y[i] = round_to_tf32(x[i]);
}

extern "C" __global__ void multiply_fragments(
    const float* __restrict__ a, const float* __restrict__ b, float* __restrict__ c)
{
    float a_part[4], b_part[2], c_part[4];
    for (int i = 0; i < 4; ++i)
        a_part[i] = a[threadIdx.x * 4 + i], c_part[i] = c[threadIdx.x * 4 + i];
    for (int i = 0; i < 2; ++i)
        b_part[i] = b[threadIdx.x * 2 + i];
    multiply_16x8x8(c_part, a_part, b_part);
    for (int i = 0; i < 4; ++i)
        c[threadIdx.x * 4 + i] = c_part[i];
}
"""


@pytest.fixture(scope="module")
def tensor_core(tmp_path_factory):
    path = tmp_path_factory.mktemp("tensor_core") / "tensor_core.cu"
    path.write_text(TENSOR_CORE_KERNELS)
    return cuda_host.load(source_text=Source(path, path.name).text)


def test_rounding_to_tf32_is_exact_to_the_bit(tensor_core):
    generator = np.random.default_rng(0)
    bits = generator.integers(0, 2**32, 4000, dtype=np.uint64).astype(np.uint32)
    ties = (bits & np.uint32(0xFFFFE000)) | np.uint32(0x1000)
    below = ties - np.uint32(1)
    x = np.concatenate([bits, ties, below]).view(np.float32)
    x = np.append(x, np.finfo(np.float32).max)
    x = x[np.isfinite(x) & (np.abs(x) >= np.finfo(np.float32).tiny)]  # what is not flushed to zero
    y = np.empty_like(x)
    tensor_core["round_each"]((len(x) // 256 + 1,), (256,), (x, y, np.int32(len(x))))
    right = tf32(x)
    with np.errstate(over="ignore"):  # the largest number rounds to infinity
        np.testing.assert_array_equal(y, right.astype(np.float32))


def test_a_warp_multiplies_the_fragments_that_ptx_describes(tensor_core):
    """Integers, whose sums are exact in any order, laid out as the PTX manual says (mma.m16n8k8, .tf32)."""
    generator = np.random.default_rng(0)
    a, b, c = (generator.integers(-9, 10, shape).astype(np.float32) for shape in ((16, 8), (8, 8), (16, 8)))
    lane = np.arange(32)
    group, member = lane >> 2, lane & 3
    # a0 and a2 are of row groupID, a1 and a3 of + 8; a0 and a1 of column threadID_in_group, a2 and a3 of + 4.
    a_rows, a_columns = group[:, None] + [0, 8, 0, 8], member[:, None] + [0, 0, 4, 4]
    # b0 is of row threadID_in_group, b1 of + 4; both of column groupID.
    b_rows, b_columns = member[:, None] + [0, 4], group[:, None] + [0, 0]
    # c0 and c1 are of row groupID, c2 and c3 of + 8; ci is of column threadID_in_group * 2 + (i & 1).
    c_rows, c_columns = group[:, None] + [0, 0, 8, 8], member[:, None] * 2 + [0, 1, 0, 1]
    fragments = np.ascontiguousarray(c[c_rows, c_columns])
    arrays = (
        np.ascontiguousarray(a[a_rows, a_columns]),
        np.ascontiguousarray(b[b_rows, b_columns]),
        fragments,
    )
    tensor_core["multiply_fragments"]((1,), (32,), arrays)
    np.testing.assert_array_equal(fragments, (a @ b + c)[c_rows, c_columns])
