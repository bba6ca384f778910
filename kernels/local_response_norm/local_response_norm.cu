/*
Local response normalisation across channels, its gradient, and the sum over a window of channels.

    S(v)[c] = sum of v over the channels c - half .. c + half that exist
    d = k + alpha * S(x * x)
    y = x * d ** -beta
    gx = g * d ** -beta - 2 * alpha * beta * x * S(g * x * d ** (-beta - 1))

Arrays are (N, C, H, W) and C-contiguous; `pixels` is H * W. One thread computes one element, so that
neighbouring threads read neighbouring pixels, in each channel of the window. Every element is read by the
threads of `size` channels, from the cache all but the first time.

The alternative is one thread per pixel, which walks up the channels and keeps a running sum: add the square that
enters the window, subtract the one that leaves it. It reads each element twice, whatever the window's size. But it
has only N * H * W threads, 3,025 for an image of AlexNet's first layer, where a GPU needs a hundred thousand; and
what a large square rounds away while it is in the window is still lost after it is subtracted.

The gradient takes two kernels, because what S sums in the second, g * x * d ** (-beta - 1), belongs to other
channels, whose d would otherwise be computed once for each element of the window.
*/

#include "real.cuh"

// The first and the last channel of the window around an element's channel are `below` and `above` away.
static __device__ int channels_below(int i, int channels, int pixels, int half)
{
    return min(i / pixels % channels, half);
}

static __device__ int channels_above(int i, int channels, int pixels, int half)
{
    return min(channels - 1 - i / pixels % channels, half);
}

static __device__ real window_sum(const real* v, int i, int channels, int pixels, int half)
{
    int below = channels_below(i, channels, pixels, half);
    int above = channels_above(i, channels, pixels, half);
    real sum = 0;
    for (int distance = -below; distance <= above; ++distance)
        sum += v[i + distance * pixels];
    return sum;
}

static __device__ real window_sum_of_squares(const real* v, int i, int channels, int pixels, int half)
{
    int below = channels_below(i, channels, pixels, half);
    int above = channels_above(i, channels, pixels, half);
    real sum = 0;
    for (int distance = -below; distance <= above; ++distance)
        sum += v[i + distance * pixels] * v[i + distance * pixels];
    return sum;
}

// d ** -beta. The paper's beta needs two square roots and a division, correctly rounded, which are several
// times faster than a general power, and more accurate.
static __device__ real inverse_power(real d, real beta)
{
    if (beta == (real)0.75) {
        real root = sqrt(d);
        return (real)1 / (root * sqrt(root));
    }
    return pow(d, -beta);
}

extern "C" __global__ void __launch_bounds__(256)
local_response_norm_forward(
    const real* __restrict__ x, real* __restrict__ y,
    int size, int channels, int pixels, int half, real alpha, real beta, real k)
{
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < size; i += gridDim.x * blockDim.x) {
        real d = k + alpha * window_sum_of_squares(x, i, channels, pixels, half);
        y[i] = x[i] * inverse_power(d, beta);
    }
}

// The first half of the gradient: direct = g * d ** -beta and cross = g * x * d ** (-beta - 1).
extern "C" __global__ void __launch_bounds__(256)
local_response_norm_factors(
    const real* __restrict__ g, const real* __restrict__ x, real* __restrict__ direct, real* __restrict__ cross,
    int size, int channels, int pixels, int half, real alpha, real beta, real k)
{
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < size; i += gridDim.x * blockDim.x) {
        real d = k + alpha * window_sum_of_squares(x, i, channels, pixels, half);
        real factor = g[i] * inverse_power(d, beta);
        direct[i] = factor;
        cross[i] = factor * x[i] / d;
    }
}

// The second half. What was direct becomes the gradient, in place: each thread reads and writes its own.
extern "C" __global__ void __launch_bounds__(256)
local_response_norm_backward(
    const real* __restrict__ x, const real* __restrict__ cross, real* __restrict__ gx,
    int size, int channels, int pixels, int half, real alpha, real beta)
{
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < size; i += gridDim.x * blockDim.x)
        gx[i] -= 2 * alpha * beta * x[i] * window_sum(cross, i, channels, pixels, half);
}

extern "C" __global__ void __launch_bounds__(256)
channel_window_sum(
    const real* __restrict__ x, real* __restrict__ y, int size, int channels, int pixels, int half)
{
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < size; i += gridDim.x * blockDim.x)
        y[i] = window_sum(x, i, channels, pixels, half);
}
