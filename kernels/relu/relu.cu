/*
The rectified linear unit, the mask of its result, and its gradient.

    y = 0 where x <= 0, else x         mask = a bit for each y > 0        gx = g where its bit is 1, else 0

A grid-stride loop: a thread computes every (threads of the grid)-th element. A NaN is not <= 0 and is passed
on; nor is it > 0, so its gradient is 0. A warp's 32 elements follow each other and make a word of the mask.
*/

#include "real.cuh"

extern "C" __global__ void __launch_bounds__(256)
relu_forward(const real* __restrict__ x, real* __restrict__ y, int n)
{
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) {
        real value = x[i];
        y[i] = value <= 0 ? 0 : value;
    }
}

extern "C" __global__ void __launch_bounds__(256)
relu_mask(const real* __restrict__ y, unsigned int* __restrict__ mask, int n)
{
    const int lane = threadIdx.x % 32;
    // All lanes stay until the warp's first element is beyond the last: each takes part in the vote.
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i - lane < n; i += gridDim.x * blockDim.x) {
        unsigned int bits = __ballot_sync(0xffffffffu, i < n && y[i] > 0);
        if (lane == 0)
            mask[i / 32] = bits;
    }
}

extern "C" __global__ void __launch_bounds__(256)
relu_backward(const real* __restrict__ g, const unsigned int* __restrict__ mask, real* __restrict__ gx, int n)
{
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) {
        real upstream = g[i];  // loaded by all threads of a warp, whether they need it or not
        gx[i] = mask[i / 32] >> (i % 32) & 1 ? upstream : 0;
    }
}
