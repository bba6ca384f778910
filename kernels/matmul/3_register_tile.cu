// The matrix product, third rung: tiles in registers.
//
//     y (M, N) = a (M, K) @ b (K, N)
//
// What changes: a thread computes 4 x 4 results, a block of 256 threads 64 x 64, in steps of 16 along K. For
// one k, a thread reads 4 elements of a and 4 of b from shared memory into registers, and multiplies each by
// each: an outer product.
//
// What it should bring: 8 shared loads for 16 multiply-adds, 1/2 instead of 2; and as the tile is larger,
// 2 / 64 global loads a multiply-add, 16 operations a byte. The 16 sums do not wait for each other, so that a
// thread has work while its last multiply-add is under way.
//
// The thread's rows are 16 apart, and its columns: so neighbouring threads have neighbouring columns, and what
// the second rung said of banks and of coalescing still holds.

#include "real.cuh"

constexpr int TILE = 64, DEPTH = 16, THREADS = 16, PER_THREAD = TILE / THREADS;
constexpr int LOADS = TILE * DEPTH / (THREADS * THREADS);

extern "C" __global__ void __launch_bounds__(256) matmul_register_tile(
    const real* __restrict__ a, const real* __restrict__ b, real* __restrict__ y, int rows, int columns, int depth)
{
    __shared__ real a_tile[TILE][DEPTH], b_tile[DEPTH][TILE];
    const int blocks_a_row = (columns + TILE - 1) / TILE;
    const int row0 = (int)blockIdx.x / blocks_a_row * TILE, column0 = (int)blockIdx.x % blocks_a_row * TILE;
    real sums[PER_THREAD][PER_THREAD] = {};
    for (int k0 = 0; k0 < depth; k0 += DEPTH) {
#pragma unroll
        for (int load = 0; load < LOADS; ++load) {
            const int number = threadIdx.y * THREADS + threadIdx.x + load * THREADS * THREADS;
            const int a_row = number / DEPTH, a_k = number % DEPTH;
            const int b_k = number / TILE, b_column = number % TILE;
            const bool in_a = row0 + a_row < rows && k0 + a_k < depth;
            const bool in_b = k0 + b_k < depth && column0 + b_column < columns;
            a_tile[a_row][a_k] = in_a ? a[(row0 + a_row) * depth + k0 + a_k] : (real)0;
            b_tile[b_k][b_column] = in_b ? b[(k0 + b_k) * columns + column0 + b_column] : (real)0;
        }
        __syncthreads();
#pragma unroll
        for (int k = 0; k < DEPTH; ++k) {
            real a_values[PER_THREAD], b_values[PER_THREAD];
#pragma unroll
            for (int i = 0; i < PER_THREAD; ++i) {
                a_values[i] = a_tile[threadIdx.y + i * THREADS][k];
                b_values[i] = b_tile[k][threadIdx.x + i * THREADS];
            }
#pragma unroll
            for (int i = 0; i < PER_THREAD; ++i)
#pragma unroll
                for (int j = 0; j < PER_THREAD; ++j)
                    sums[i][j] += a_values[i] * b_values[j];
        }
        __syncthreads();
    }
#pragma unroll
    for (int i = 0; i < PER_THREAD; ++i) {
        const int row = row0 + threadIdx.y + i * THREADS;
#pragma unroll
        for (int j = 0; j < PER_THREAD; ++j) {
            const int column = column0 + threadIdx.x + j * THREADS;
            if (row < rows && column < columns)
                y[row * columns + column] = sums[i][j];
        }
    }
}
