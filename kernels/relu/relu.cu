/*
The rectified linear unit and its gradient.

    y = 0 where x <= 0, else x         gx = g where y > 0, else 0

A grid-stride loop: a thread computes every (threads of the grid)-th element. A NaN is not <= 0 and is passed
on; nor is it > 0, so its gradient is 0.
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
relu_backward(const real* __restrict__ g, const real* __restrict__ y, real* __restrict__ gx, int n)
{
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) {
        real upstream = g[i];  // loaded by all threads of a warp, whether they need it or not
        gx[i] = y[i] > 0 ? upstream : 0;
    }
}
