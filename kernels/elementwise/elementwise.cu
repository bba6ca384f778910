/*
Element-wise arithmetic, with NumPy's broadcasting.

    y[i] = formula(a[position of i in a], b[position of i in b])

A grid-stride loop: a thread computes every (threads of the grid)-th element of y. So little is computed on each
number that the time is that of moving it: 12 bytes an addition in float32.

An operand is described by its size, `count`, and by how many times in a row each of its elements is repeated,
`inner`. Its position is then i / inner % count:

    a's shape for y (N, C, H, W)      count            inner
    (N, C, H, W)                      N * C * H * W    1
    (C, 1, 1)                         C                H * W
    (H, W)                            H * W            1
    (N, 1, 1, 1)                      N                C * H * W
    ()                                1                (any)

The first and the last of these, the most common, are recognised and need no division: an integer division
takes about as long as twenty additions. An operand broadcast along an axis between two others, such as
(N, 1, H, W), has no such description: the launching code expands it beforehand.
*/

#include "real.cuh"

__device__ int position(int i, int n, int count, int inner)
{
    if (count == n) return i;
    if (count == 1) return 0;
    return i / inner % count;
}

template <class Formula>
__device__ void binary(
    const real* a, const real* b, real* y,
    int n, int a_count, int a_inner, int b_count, int b_inner, Formula formula)
{
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x)
        y[i] = formula(a[position(i, n, a_count, a_inner)], b[position(i, n, b_count, b_inner)]);
}

template <class Formula>
__device__ void unary(const real* x, real* y, int n, Formula formula)
{
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x)
        y[i] = formula(x[i]);
}

extern "C" __global__ void __launch_bounds__(256)
add_forward(
    const real* __restrict__ a, const real* __restrict__ b, real* __restrict__ y,
    int n, int a_count, int a_inner, int b_count, int b_inner)
{
    binary(a, b, y, n, a_count, a_inner, b_count, b_inner, [](real p, real q) { return p + q; });
}

extern "C" __global__ void __launch_bounds__(256)
subtract_forward(
    const real* __restrict__ a, const real* __restrict__ b, real* __restrict__ y,
    int n, int a_count, int a_inner, int b_count, int b_inner)
{
    binary(a, b, y, n, a_count, a_inner, b_count, b_inner, [](real p, real q) { return p - q; });
}

extern "C" __global__ void __launch_bounds__(256)
multiply_forward(
    const real* __restrict__ a, const real* __restrict__ b, real* __restrict__ y,
    int n, int a_count, int a_inner, int b_count, int b_inner)
{
    binary(a, b, y, n, a_count, a_inner, b_count, b_inner, [](real p, real q) { return p * q; });
}

extern "C" __global__ void __launch_bounds__(256)
divide_forward(
    const real* __restrict__ a, const real* __restrict__ b, real* __restrict__ y,
    int n, int a_count, int a_inner, int b_count, int b_inner)
{
    binary(a, b, y, n, a_count, a_inner, b_count, b_inner, [](real p, real q) { return p / q; });
}

// A NaN wins, on either side: comparisons with it are false, and p != p holds for nothing else.
extern "C" __global__ void __launch_bounds__(256)
maximum_forward(
    const real* __restrict__ a, const real* __restrict__ b, real* __restrict__ y,
    int n, int a_count, int a_inner, int b_count, int b_inner)
{
    binary(
        a, b, y, n, a_count, a_inner, b_count, b_inner,
        [](real p, real q) { return p >= q || p != p ? p : q; });
}

extern "C" __global__ void __launch_bounds__(256)
minimum_forward(
    const real* __restrict__ a, const real* __restrict__ b, real* __restrict__ y,
    int n, int a_count, int a_inner, int b_count, int b_inner)
{
    binary(
        a, b, y, n, a_count, a_inner, b_count, b_inner,
        [](real p, real q) { return p <= q || p != p ? p : q; });
}

extern "C" __global__ void __launch_bounds__(256)
negative_forward(const real* __restrict__ x, real* __restrict__ y, int n)
{
    unary(x, y, n, [](real v) { return -v; });
}

extern "C" __global__ void __launch_bounds__(256)
absolute_forward(const real* __restrict__ x, real* __restrict__ y, int n)
{
    unary(x, y, n, [](real v) { return fabs(v); });
}

extern "C" __global__ void __launch_bounds__(256)
exp_forward(const real* __restrict__ x, real* __restrict__ y, int n)
{
    unary(x, y, n, [](real v) { return exp(v); });
}

extern "C" __global__ void __launch_bounds__(256)
log_forward(const real* __restrict__ x, real* __restrict__ y, int n)
{
    unary(x, y, n, [](real v) { return log(v); });
}

extern "C" __global__ void __launch_bounds__(256)
sqrt_forward(const real* __restrict__ x, real* __restrict__ y, int n)
{
    unary(x, y, n, [](real v) { return sqrt(v); });
}

extern "C" __global__ void __launch_bounds__(256)
tanh_forward(const real* __restrict__ x, real* __restrict__ y, int n)
{
    unary(x, y, n, [](real v) { return tanh(v); });
}

extern "C" __global__ void __launch_bounds__(256)
expm1_forward(const real* __restrict__ x, real* __restrict__ y, int n)
{
    unary(x, y, n, [](real v) { return expm1(v); });
}

extern "C" __global__ void __launch_bounds__(256)
log1p_forward(const real* __restrict__ x, real* __restrict__ y, int n)
{
    unary(x, y, n, [](real v) { return log1p(v); });
}

extern "C" __global__ void __launch_bounds__(256)
erf_forward(const real* __restrict__ x, real* __restrict__ y, int n)
{
    unary(x, y, n, [](real v) { return erf(v); });
}

// exp(-|v|) never overflows.
extern "C" __global__ void __launch_bounds__(256)
sigmoid_forward(const real* __restrict__ x, real* __restrict__ y, int n)
{
    unary(x, y, n, [](real v) { real e = exp(-fabs(v)); return (v >= 0 ? 1 : e) / (1 + e); });
}

extern "C" __global__ void __launch_bounds__(256)
softplus_forward(const real* __restrict__ x, real* __restrict__ y, int n)
{
    unary(x, y, n, [](real v) { return (v > 0 ? v : 0) + log1p(exp(-fabs(v))); });
}

// Two comparisons, and not fmin and fmax: these would drop a NaN.
extern "C" __global__ void __launch_bounds__(256)
clamp_forward(const real* __restrict__ x, real* __restrict__ y, int n, real low, real high)
{
    unary(x, y, n, [=](real v) { return v < low ? low : v > high ? high : v; });
}

// A square is not left to pow, which takes some hundred instructions whatever the exponent.
extern "C" __global__ void __launch_bounds__(256)
power_forward(const real* __restrict__ x, real* __restrict__ y, int n, real exponent)
{
    unary(x, y, n, [=](real v) { return exponent == 2 ? v * v : pow(v, exponent); });
}
