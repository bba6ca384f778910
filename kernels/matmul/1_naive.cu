// The matrix product, first rung: a thread a result.
//
//     y (M, N) = a (M, K) @ b (K, N)          y[m, n] = sum over k of a[m, k] * b[k, n]
//
// The thread with threadIdx.x = t computes column n0 + t. So the 32 threads of a warp have one row and 32
// neighbouring columns: of b they read 32 neighbouring elements, 128 bytes of float, which is what memory
// delivers at once (coalescing); of a they all read the same element, which is one read for the warp; and they
// store neighbours. With t along the rows instead, each load of b would be the same element, but each of a, and
// each store, would touch 32 rows: 32 sectors of 32 bytes to use 4 bytes of each.
//
// Each multiply-add needs two loads, and 2 operations / 8 bytes = 0.25 operations a byte, if caches hold
// nothing. A GPU does 10 to 20 operations in the time of one byte: it waits for memory. The further rungs read
// each element less often.
//
// The blocks are numbered along x only, since a grid ends at 65,535 along y.

#include "real.cuh"

constexpr int BLOCK_M = 8, BLOCK_N = 32;

extern "C" __global__ void __launch_bounds__(256) matmul_naive(
    const real* __restrict__ a, const real* __restrict__ b, real* __restrict__ y, int rows, int columns, int depth)
{
    const int blocks_a_row = (columns + BLOCK_N - 1) / BLOCK_N;
    const int row = (int)blockIdx.x / blocks_a_row * BLOCK_M + threadIdx.y;
    const int column = (int)blockIdx.x % blocks_a_row * BLOCK_N + threadIdx.x;
    if (row >= rows || column >= columns)
        return;
    real sum = 0;
    for (int k = 0; k < depth; ++k)
        sum += a[row * depth + k] * b[k * columns + column];
    y[row * columns + column] = sum;
}
