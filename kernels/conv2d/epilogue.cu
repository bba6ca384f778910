/*
What a convolution does to its results: ReLU, in place.

    y = 0 where y <= 0

A grid-stride loop: a thread replaces every (threads of the grid)-th element. A NaN is not <= 0 and stays.
*/

#include "real.cuh"

extern "C" __global__ void __launch_bounds__(256)
rectify(real* __restrict__ y, int n)
{
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) {
        real value = y[i];
        if (value <= 0) {
            y[i] = 0;
        }
    }
}
