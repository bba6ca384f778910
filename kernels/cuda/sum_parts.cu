// y (size,) = sum over p of parts[p] (count, size): the results of a product whose K was split.
//
// One thread per element, which adds in the order of p, so that the result is the same in every run.

#include "real.cuh"

extern "C" __global__ void __launch_bounds__(256) sum_parts(
    const real* __restrict__ parts, real* __restrict__ y, int size, int count)
{
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < size; i += gridDim.x * blockDim.x) {
        real sum = 0;
        for (int p = 0; p < count; ++p)
            sum += parts[p * size + i];
        y[i] = sum;
    }
}
