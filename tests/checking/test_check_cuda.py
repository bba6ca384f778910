"""Pairs of CUDA kernels, right and wrong, as their authors would write them."""

import textwrap
from pathlib import Path

import numpy as np
import pytest

import minialex as ma
from minialex.checking import CudaKernel, GradcheckError
from minialex.errors import MiniAlexError

pytestmark = pytest.mark.needs_gxx

# One source, compiled once: kernels in two directions, and what is wrong with some of them.
SOURCE = r"""
#define I (blockIdx.x * blockDim.x + threadIdx.x)
extern "C" {

// y = x² w
__global__ void square(const T* x, const T* w, T* y, int n)
{
    int i = I;
    if (i < n) y[i] = x[i] * x[i] * w[i];
}
__global__ void square_tail(const T* x, const T* w, T* y, int n)
{
    int i = I;
    if (i < n - 2) y[i] = x[i] * x[i] * w[i];
}
#define SQUARE_GRAD(name, bound, of_x, of_w)                                              \
    __global__ void name(const T* gy, const T* x, const T* w, T* gx, T* gw, int n)        \
    {                                                                                     \
        int i = I;                                                                        \
        if (bound) { gx[i] = of_x; gw[i] = of_w; }                                        \
    }
#define OF_X 2 * gy[i] * x[i] * w[i]
#define OF_W gy[i] * x[i] * x[i]
SQUARE_GRAD(square_grad, i < n, OF_X, OF_W)
SQUARE_GRAD(no_bound, true, OF_X, OF_W)
SQUARE_GRAD(one_too_many, i <= n, OF_X, OF_W)
SQUARE_GRAD(factor, i < n, OF_X, T(1.01) * OF_W)
SQUARE_GRAD(small_factor, i < n, T(1.0001) * OF_X, OF_W)
SQUARE_GRAD(wrong_index, i < n, 2 * gy[i] * x[i] * w[(i + 1) % n], OF_W)
SQUARE_GRAD(wrong_sign, i < n, -OF_X, OF_W)
SQUARE_GRAD(in_single, i < n, OF_X, (float)gy[i] * (float)x[i] * (float)x[i])
SQUARE_GRAD(tail, i < n - 1, OF_X, OF_W)
SQUARE_GRAD(not_a_number, i < n, OF_X, i == 3 ? T(0) / T(0) : OF_W)
SQUARE_GRAD(by_thread, i < n, OF_X, OF_W * (threadIdx.x < 64 ? 1 : 2))
SQUARE_GRAD(squared_upstream, i < n, gy[i] * OF_X, OF_W)

// Like a sum whose order is not fixed, only more often.
SQUARE_GRAD(never_the_same, i < n, OF_X, OF_W * (1 + T(1e-9) * (clock64() % 1000)))

__global__ void in_place(const T* gy, T* x, const T* w, T* gx, T* gw, int n)
{
    int i = I;
    if (i < n) { gx[i] = OF_X; gw[i] = OF_W; x[i] = 0; }
}
__global__ void other_order(const T* x, const T* w, const T* gy, T* gx, T* gw, int n)
{
    int i = I;
    if (i < n) { gx[i] = OF_X; gw[i] = OF_W; }
}
__global__ void other_names(const T* up, const T* x, const T* w, T* a, T* b, int n)
{
    int i = I;
    if (i < n) { a[i] = 2 * up[i] * x[i] * w[i]; b[i] = up[i] * x[i] * x[i]; }
}
__global__ void const_gradient(const T* gy, const T* x, const T* w, const T* gx, T* gw, int n) {}
__global__ void other_type(const T* gy, const float* x, const T* w, T* gx, T* gw, int n) {}

// The two gradients by two kernels.
__global__ void only_x(const T* gy, const T* x, const T* w, T* gx, int n)
{
    int i = I;
    if (i < n) gx[i] = OF_X;
}
__global__ void only_w(const T* gy, const T* x, T* gw, int n)
{
    int i = I;
    if (i < n) gw[i] = OF_W;
}

// y = x² w, by way of x w: written by one kernel for the next, in either direction.
__global__ void times(const T* x, const T* w, T* product, int n)
{
    int i = I;
    if (i < n) product[i] = x[i] * w[i];
}
__global__ void times_half(const T* x, const T* w, T* product, int n)
{
    int i = I;
    if (i < n / 2) product[i] = x[i] * w[i];
}
__global__ void times_again(const T* x, const T* product, T* y, int n)
{
    int i = I;
    if (i < n) y[i] = x[i] * product[i];
}
__global__ void from_product(const T* gy, const T* x, const T* product, T* gx, T* gw, int n)
{
    int i = I;
    if (i < n) { gx[i] = 2 * gy[i] * product[i]; gw[i] = OF_W; }
}

// y = w x, with one w for all: its gradient is a sum over all threads.
__global__ void one_weight(const T* x, const T* w, T* y, int n)
{
    int i = I;
    if (i < n) y[i] = w[0] * x[i];
}
__global__ void sum_race(const T* gy, const T* x, const T* w, T* gx, T* gw, int n)
{
    int i = I;
    if (i < n) { gx[i] = gy[i] * w[0]; gw[0] += gy[i] * x[i]; }
}
__global__ void sum_atomic(const T* gy, const T* x, const T* w, T* gx, T* gw, int n)
{
    int i = I;
    if (i < n) { gx[i] = gy[i] * w[0]; atomicAdd(gw, gy[i] * x[i]); }
}
__global__ void __launch_bounds__(64)
sum_shared(const T* gy, const T* x, const T* w, T* gx, T* gw, int n)
{
    __shared__ T sums[64];
    T sum = 0;
    for (int i = threadIdx.x; i < n; i += blockDim.x) { gx[i] = gy[i] * w[0]; sum += gy[i] * x[i]; }
    sums[threadIdx.x] = sum;
    __syncthreads();
    if (threadIdx.x == 0) {
        for (int j = 1; j < blockDim.x; ++j) sum += sums[j];
        gw[0] = sum;
    }
}
__global__ void __launch_bounds__(64)
no_barrier(const T* gy, const T* x, const T* w, T* gx, T* gw, int n)
{
    __shared__ T sums[64];
    T sum = 0;
    for (int i = threadIdx.x; i < n; i += blockDim.x) { gx[i] = gy[i] * w[0]; sum += gy[i] * x[i]; }
    sums[threadIdx.x] = sum;
    if (threadIdx.x == 0) {
        for (int j = 1; j < blockDim.x; ++j) sum += sums[j];
        gw[0] = sum;
    }
}

// The maximum of each row, and where it is.
__global__ void row_max(const T* x, T* y, int* argmax, int rows, int columns)
{
    int i = I;
    if (i >= rows) return;
    int best = 0;
    for (int j = 1; j < columns; ++j) if (x[i * columns + j] > x[i * columns + best]) best = j;
    y[i] = x[i * columns + best];
    argmax[i] = best;
}
__global__ void row_max_grad(const T* gy, const int* argmax, T* gx, int rows, int columns)
{
    int k = I;
    if (k < rows * columns) gx[k] = k % columns == argmax[k / columns] ? gy[k / columns] : T(0);
}
__global__ void row_max_unsaved(const T* x, T* y, int* argmax, int rows, int columns)
{
    int i = I;
    if (i >= rows) return;
    T best = x[i * columns];
    for (int j = 1; j < columns; ++j) if (x[i * columns + j] > best) best = x[i * columns + j];
    y[i] = best;
    if (i > 0) argmax[i] = 0;
}

// Rows of a table by their numbers, and two results: y, and its squares.
__global__ void lookup(const T* table, const int* rows, T* y, T* squares, int n, int columns)
{
    int k = I;
    if (k >= n * columns) return;
    y[k] = table[rows[k / columns] * columns + k % columns];
    squares[k] = y[k] * y[k];
}
__global__ void lookup_grad(const T* gy, const T* gsquares, const int* rows, const T* y, T* gtable, int n,
                            int columns)
{
    int k = I;
    if (k < n * columns)
        atomicAdd(&gtable[rows[k / columns] * columns + k % columns], gy[k] + 2 * y[k] * gsquares[k]);
}
__global__ void lookup_last(const T* gy, const T* gsquares, const int* rows, const T* y, T* gtable, int n,
                            int columns)
{
    int k = I;
    if (k < n * columns) gtable[rows[k / columns] * columns + k % columns] = gy[k] + 2 * y[k] * gsquares[k];
}
}
"""

N = 100
RANDOM = np.random.default_rng(7)
X, W = RANDOM.standard_normal((2, N))


def check(backward, forward="square", inputs=(X, W), outputs=(N,), parameters=(N,), **options):
    """By position."""
    options = {"threads": N, "real": "T"} | options
    return ma.check_cuda(
        SOURCE, forward, backward, list(inputs), list(outputs), parameters=parameters, **options
    )


def check_by_name(backward, forward="square", **options):
    options = {"threads": N, "real": "T", "parameters": {"n": N}} | options
    return ma.check_cuda(SOURCE, forward, backward, {"x": X, "w": W}, {"y": N}, **options)


def check_sum(backward, **options):
    return check(backward, "one_weight", (X, W[:1]), **options)


def failure(checked, *arguments, **options) -> GradcheckError:
    with pytest.raises(GradcheckError) as caught:
        checked(*arguments, **options)
    return caught.value


# Right ones


def test_a_right_pair_passes_with_every_size_of_block():
    report = check("square_grad")
    assert (report.mode, report.dtype) == ("jacobian", "float64")
    assert report.compared >= 2 * N
    assert report.worst_error <= report.tolerance < 1e-6
    assert "[cuda-host, blocks of 256, 96 and 32 threads]" in str(report)


def test_names_and_positions_find_the_same():
    by_name = check_by_name("square_grad")
    assert by_name.compared == check("square_grad").compared
    assert check_by_name("other_order").compared == by_name.compared
    given = {"up": "y", "a": "x", "b": "w"}
    assert check_by_name("other_names", gradients=given).compared == by_name.compared


def test_several_kernels_share_the_work():
    assert check_by_name(["only_x", "only_w"]).compared == check("square_grad").compared
    assert check_by_name("only_w", wrt=["w"]).compared == check("square_grad", wrt=[1]).compared


def test_scratch_arrays_are_passed_from_kernel_to_kernel_and_no_further():
    kernels = {"forward": ["times", "times_again"], "scratch": {"product": N}}
    assert check_by_name(["times", "from_product"], **kernels).compared == check("square_grad").compared
    # What forward has left there is gone.
    with pytest.raises(
        MiniAlexError, match=r"const double\* product is the scratch array product, a pointer to"
    ):
        check_by_name(["from_product"], **kernels)
    error = failure(check_by_name, ["times_half", "from_product"], **kernels)
    assert error.check in ("finite", "uninitialised", "values")


def test_a_sum_over_threads_in_shared_memory_or_by_atomic_functions():
    report = check_sum(CudaKernel("sum_shared", threads=1), blocks=(256, 64, 32))
    assert "[cuda-host, blocks of 64 and 32 threads]" in str(report)
    check_sum(CudaKernel("sum_shared", grid=1, block=64))
    check_sum("sum_atomic", zeroed=["gw"], blocks=(128,))


MAXIMA = {
    "inputs": {"x": RANDOM.permutation(70).reshape(7, 10) * 0.25},
    "outputs": {"y": 7},
    "saved": {"argmax": 7},
    "parameters": {"rows": 7, "columns": 10},
    "real": "T",
}
MAXIMUM_GRAD = CudaKernel("row_max_grad", threads=70)


def test_what_forward_saves_is_given_to_backward():
    report = ma.check_cuda(SOURCE, CudaKernel("row_max", threads=7), MAXIMUM_GRAD, **MAXIMA)
    assert report.skipped == 0
    assert report.compared >= 7


LOOKUP = {
    "inputs": {"table": RANDOM.standard_normal((4, 3)), "rows": np.array([2, 0, 2, 3, 2], np.int32)},
    "outputs": {"y": (5, 3), "squares": (5, 3)},
    "parameters": {"n": 5, "columns": 3},
    "threads": 15,
    "real": "T",
}


def test_integers_and_several_outputs():
    report = ma.check_cuda(SOURCE, "lookup", "lookup_grad", zeroed=["gtable"], **LOOKUP)
    assert report.compared >= 2 * 15
    error = failure(ma.check_cuda, SOURCE, "lookup", "lookup_last", zeroed=["gtable"], **LOOKUP)
    assert error.check == "race"
    error = failure(ma.check_cuda, SOURCE, "lookup", "lookup_last", zeroed=["gtable"], blocks=(1,), **LOOKUP)
    assert error.check == "race", "blocks are not ordered, either"


# Wrong values


@pytest.mark.parametrize(
    ("backward", "which"),
    [
        ("factor", 1),
        ("small_factor", 0),
        ("wrong_index", 0),
        ("wrong_sign", 0),
    ],
)
def test_a_wrong_gradient_is_caught(backward, which):
    error = failure(check, backward)
    assert (error.check, error.input) == ("values", which)
    assert failure(check_by_name, backward).summary == f"the gradient of input {'xw'[which]} is wrong"


def test_the_pattern_of_a_mistake_is_named():
    assert "1.01" in failure(check, "factor").pattern


def test_numbers_of_less_precision_in_between_are_caught():
    assert failure(check, "in_single").check in ("values", "not linear")


def test_an_upstream_gradient_that_is_squared_is_not_linear():
    assert failure(check, "squared_upstream").check == "not linear"


def test_sums_without_a_fixed_order_are_told_of_and_allowed():
    error = failure(check, "never_the_same", blocks=(256,))
    assert error.check == "not deterministic"
    assert (
        "it has atomic functions, whose sums have no fixed order; allow for that with nondeterminism="
        in str(error)
    )
    report = check("never_the_same", blocks=(256,), nondeterminism=1e-4, max_tolerance=0.5)
    assert 0 < report.nondeterminism <= 1e-4


# Wrong launches


@pytest.mark.parametrize("backward", ["no_bound", "one_too_many"])
def test_a_missing_bound_is_out_of_bounds(backward):
    error = failure(check, backward)
    assert error.check == "out-of-bounds"
    assert "[100]" in str(error)
    # Where the threads are as many as the elements, only another size of block shows it.
    if backward == "no_bound":
        assert failure(check, backward, blocks=(50, 96)).check == "out-of-bounds"


def test_a_number_that_is_too_large_reads_what_is_not_there():
    assert failure(check, "square_grad", parameters=[N + 3]).check == "out-of-bounds"


@pytest.mark.parametrize("blocks", [(256,), (32,), (1,)], ids=str)
def test_a_sum_without_atomic_functions_is_a_race(blocks):
    error = failure(check_sum, "sum_race", zeroed=["gw"], blocks=blocks)
    assert error.check == "race"
    assert "gw[0]" in str(error)


def test_a_missing_barrier_is_a_race():
    assert failure(check_sum, "no_barrier", blocks=(64,)).check in ("race", "uninitialised")


def test_what_nobody_filled_with_zeros_is_read():
    error = failure(check_sum, "sum_atomic")
    assert error.check == "uninitialised"
    assert "zeroed=['gw']" in str(error)


def test_a_tail_that_is_not_written_is_found():
    error = failure(check, "tail")
    assert error.check == "unwritten"
    assert f"leaves 1 of {N} elements of the gradient of input 0 unwritten, the first at ({N - 1},)" in str(
        error
    )
    error = failure(check, "square_grad", "square_tail")
    assert f"forward with blocks of 256 threads leaves 2 of {N} elements of the output 0" in str(error)
    saved = failure(ma.check_cuda, SOURCE, CudaKernel("row_max_unsaved", threads=7), MAXIMUM_GRAD, **MAXIMA)
    assert (saved.check, "the saved array argmax unwritten" in str(saved)) == ("unwritten", True)


def test_a_number_that_is_none_is_not_taken_for_unwritten():
    assert failure(check, "not_a_number").check == "finite"


def test_an_input_that_is_changed_is_found():
    error = failure(check, "in_place")
    assert (error.check, "in_place changes the input 0" in str(error)) == ("changed input", True)


def test_a_result_that_depends_on_the_size_of_the_blocks_is_found():
    error = failure(check, "by_thread", blocks=(64, 96))
    assert error.check == "block size"
    assert "with 64 threads" in str(error)
    assert failure(check, "by_thread", blocks=(256,)).check == "values"


# What is refused


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: check("other_order"), r"by position x would be the upstream gradient of output 0"),
        (lambda: check_by_name("other_names"), r"up is none of x, w, y, n, nor the gradient of one"),
        (lambda: check("const_gradient"), r"const double\* gx is the gradient of input 0, a pointer"),
        (lambda: check("other_type"), r"const float\* x is the input 0, and the array is float64"),
        (lambda: check("square_grad", parameters=[]), r"takes 4 arguments, and by position there are 3"),
        (lambda: check("square_grad", parameters=[2.5]), r"has 2\.5 for int n, which takes an int from"),
        (lambda: check("square_grad", parameters=[2**31]), r"has 2147483648 for int n"),
        (lambda: check("square_grad", parameters=[None]), r"has None for int n"),
        (lambda: check("absent"), r"has no kernel 'absent'; it has square, "),
        (lambda: check("square_grad", threads=None), r"forward square: how is it launched\?"),
        (lambda: check("square_grad", threads=0), r"threads must be an integer 1 or more, not 0"),
        (
            lambda: check("square_grad", blocks=(2000,)),
            r"blocks must be .* to 1,024, not \(2000,\)",
        ),
        (lambda: check(["only_x", "only_w"]), r"several kernels share the work: give inputs"),
        (lambda: check_by_name("only_x"), r"no kernel of backward writes the gradient of input w"),
        (lambda: check_by_name("square_grad", scratch={"s": N}), r"no kernel takes the scratch array s"),
        (lambda: check_by_name("only_x", wrt=["v"]), r"wrt must be a sequence of positions.*, not \('v',\)"),
        (lambda: check("square_grad", outputs=[(3, "a")]), r"output 0 must be a shape, .*, not \(3, 'a'\)"),
        (lambda: check_by_name("square_grad", parameters=[N]), r"all of them must be dictionaries, or"),
        (lambda: check_by_name("square_grad", parameters={"x": N}), r"x stands in two of inputs"),
        (lambda: check_by_name("square_grad", gradients={"gx": "z"}), r"there is no input or output 'z'"),
        (lambda: check("square_grad", zeroed=["gz"]), r"zeroed='gz' is none of the parameters that are"),
        (lambda: check("square_grad", device="gpu"), r"device must be 'cuda-host' or 'cuda', not 'gpu'"),
        (lambda: check("square_grad", method="complex"), r"check_cuda has no option method"),
        (lambda: check("square_grad", real="a T"), r"real must be the name of a macro.*, not 'a T'"),
        (lambda: check("square_grad", dtype="float16"), r"dtype=float16 cannot be checked"),
        (lambda: check(CudaKernel("square_grad", grid=1)), r"square_grad: give threads, or grid and block"),
        (lambda: check(3), r"backward must be a kernel's name.*, not 3"),
        (lambda: check("sum_shared", blocks=(128,)), r"__launch_bounds__\(64\)"),
        (lambda: ma.check_cuda("absent.cu", "f", "g", [X], [N], threads=1), r"absent\.cu.* cannot be read"),
        (
            lambda: ma.check_cuda(3, "f", "g", [X], [N], threads=1),
            r"source must be the path .*, not 3",
        ),
    ],
)
def test_what_does_not_fit_is_refused(call, says):
    with pytest.raises(MiniAlexError, match=says) as caught:
        call()
    assert not isinstance(caught.value, GradcheckError)


def test_integers_of_another_size_are_refused_with_what_to_give():
    table = {"table": LOOKUP["inputs"]["table"], "rows": np.array([0, 1, 2, 3, 0])}
    with pytest.raises(
        MiniAlexError, match=r"const int\* rows is the input rows, and the array is int64: give it"
    ):
        ma.check_cuda(SOURCE, "lookup", "lookup_grad", **LOOKUP | {"inputs": table})


# Lines that repeat it


def test_a_failure_prints_lines_that_repeat_it():
    text = failure(check_by_name, "factor", blocks=(32,), seed=5).reproduce
    assert "ma.check_cuda(source, 'square', 'factor', {'x': x0, 'w': x1}, {'y': 100}" in text
    error = failure(exec, text, {"source": SOURCE})
    assert (error.check, error.input, error.seed) == ("values", 1, 5)
    again = failure(check_by_name, "factor", blocks=(32,), seed=5)
    assert (error.index, error.analytic, error.numeric) == (again.index, again.analytic, again.numeric)


# Other sources: each is compiled on its own.

KERNELS = Path(ma.kernels.__file__).parent
IMAGES = RANDOM.standard_normal((2, 5, 3, 3))
LINES = {"lines": 2, "length": 40, "inner": 1}
WINDOW = {"size": 90, "channels": 5, "pixels": 9, "half": 2, "alpha": 0.7, "beta": 0.75, "k": 2.0}


@pytest.mark.full
@pytest.mark.parametrize(
    ("source", "forward", "backward", "x", "options"),
    [
        (
            "softmax",
            CudaKernel("softmax_forward_rows", grid=2, block=256),
            CudaKernel("softmax_backward_rows", grid=(2,), block=(256,)),
            IMAGES.ravel()[:80].reshape(2, 40),
            {"parameters": LINES, "gradients": {"g": "y"}},
        ),
        (
            "local_response_norm",
            "local_response_norm_forward",
            ["local_response_norm_factors", "local_response_norm_backward"],
            IMAGES,
            {
                "parameters": WINDOW,
                "threads": 90,
                "scratch": {"cross": IMAGES.shape},
                "gradients": {"g": "y", "direct": "x"},
            },
        ),
    ],
    ids=["softmax", "local_response_norm"],
)
def test_kernels_of_the_project_pass(source, forward, backward, x, options):
    flags = [f"-I{KERNELS / 'cuda' / 'include'}"]
    file = KERNELS / source / f"{source}.cu"
    report = ma.check_cuda(
        file, forward, backward, {"x": x}, {"y": x.shape}, real="REAL", flags=flags, **options
    )
    assert (report.dtype, report.compared > 0) == ("float64", True)


SINGLE = """
extern "C" __global__ void cube(const float* x, float* y, int n)
{
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) y[i] = x[i] * x[i] * x[i];
}
extern "C" __global__ void cube_grad(const float* gy, const float* x, float* gx, int n)
{
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) gx[i] = 3 * gy[i] * x[i] * x[i] * FACTOR;
}
"""


@pytest.mark.full
def test_a_file_of_float_is_a_weak_check_that_says_so(tmp_path):
    file = tmp_path / "cube.cu"
    file.write_text('#include "factor.cuh"\n' + SINGLE)
    (tmp_path / "factor.cuh").write_text("#ifndef FACTOR\n#define FACTOR 1\n#endif\n")
    report = ma.check_cuda(file, "cube", "cube_grad", [X], [N], parameters=[N], threads=N)
    assert (report.weak, report.dtype) == (True, "float32")
    assert "float32 (a weak check)" in str(report)
    wrong = {"parameters": [N], "threads": N, "flags": ["-DFACTOR=1.1f"]}
    error = failure(ma.check_cuda, str(file), "cube", "cube_grad", [X], [N], **wrong)
    assert error.check == "values"
    assert f"ma.check_cuda({str(file)!r}, " in error.reproduce
    with pytest.raises(MiniAlexError, match=r'dtype=float64, and the arrays of cube.* name it: real="T"'):
        ma.check_cuda(file, "cube", "cube_grad", [X], [N], parameters=[N], threads=N, dtype="float64")


@pytest.mark.full
def test_templates_are_checked_by_position_or_with_names():
    source = textwrap.dedent(
        """
        template <typename T> __global__ void cube(const T* x, T* y, int n)
        {
            int i = blockIdx.x * blockDim.x + threadIdx.x;
            if (i < n) y[i] = x[i] * x[i] * x[i];
        }
        template <typename T> __global__ void cube_grad(const T* x, const T* gy, T* gx, int n)
        {
            int i = blockIdx.x * blockDim.x + threadIdx.x;
            if (i < n) gx[i] = 3 * gy[i] * x[i] * x[i];
        }
        """
    )
    names = (
        CudaKernel("cube<double>", arguments="x y n"),
        CudaKernel("cube_grad<double>", arguments="x gy gx n"),
    )
    report = ma.check_cuda(source, *names, {"x": X}, {"y": N}, parameters={"n": N}, threads=N)
    assert (report.dtype, report.compared >= N) == ("float64", True)
    # By position, x and gy change places, and no names tell.
    kernels = [each.name for each in names]
    error = failure(ma.check_cuda, source, *kernels, [X], [N], parameters=[N], threads=N)
    assert error.check in ("not linear", "zero upstream")
    with pytest.raises(MiniAlexError, match=r"the names of its parameters are not known"):
        ma.check_cuda(source, *kernels, {"x": X}, {"y": N}, parameters={"n": N}, threads=N)
    with pytest.raises(MiniAlexError, match=r"names 2 parameters, and the kernel takes 3"):
        ma.check_cuda(
            source, CudaKernel("cube<double>", arguments="x y"), kernels[1], {"x": X}, {"y": N}, threads=N
        )
