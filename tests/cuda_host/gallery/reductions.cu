// What reduce.cuh is for: several reductions in turn, which share its scratch memory. The barriers at the end of a
// reduction are there for the next one.

#include "reduce.cuh"

extern "C" __global__ void rows_twice(const real* x, real* y, int n) {
    int i = threadIdx.y * blockDim.x + threadIdx.x;
    real sum = row_sum(x[i]);
    y[i] = row_sum(x[i] - sum) + row_maximum(x[i]);
}

extern "C" __global__ void columns_twice(const real* x, real* y, int n) {
    int i = threadIdx.y * blockDim.x + threadIdx.x;
    real sum = column_sum(x[i]);
    y[i] = column_sum(x[i] - sum) + column_maximum(x[i]);
}
