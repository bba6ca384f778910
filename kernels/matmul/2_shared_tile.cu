// The matrix product, second rung: tiles in shared memory.
//
//     y (M, N) = a (M, K) @ b (K, N)
//
// What changes: the 256 threads of a block compute a tile of 16 x 16 results together. In steps of 16 along K
// they copy one tile of a and one of b into shared memory, each thread an element of both, and then each
// multiplies a row of one by a column of the other. An element that came from memory is used 16 times.
//
// What it should bring: 2 / 16 global loads a multiply-add instead of 2, 4 operations a byte instead of 0.25.
// Of shared memory, every multiply-add still needs two loads. It delivers 32 floats a clock cycle, while a
// multiprocessor could do 128 multiply-adds: it is the limit of this rung.
//
// Bank conflicts: a warp is two rows of 16 threads. They read 16 neighbours of b_tile, and two elements of
// a_tile, 16 banks apart. Coalescing: they read 64 bytes of two rows each, whole sectors if rows are aligned.
//
// The first barrier waits until the tiles are complete, the second until all have read them.

#include "real.cuh"

constexpr int TILE = 16;

extern "C" __global__ void __launch_bounds__(256) matmul_shared_tile(
    const real* __restrict__ a, const real* __restrict__ b, real* __restrict__ y, int rows, int columns, int depth)
{
    __shared__ real a_tile[TILE][TILE], b_tile[TILE][TILE];
    const int blocks_a_row = (columns + TILE - 1) / TILE;
    const int i = threadIdx.y, j = threadIdx.x;
    const int row = (int)blockIdx.x / blocks_a_row * TILE + i;
    const int column = (int)blockIdx.x % blocks_a_row * TILE + j;
    real sum = 0;
    for (int k0 = 0; k0 < depth; k0 += TILE) {
        a_tile[i][j] = row < rows && k0 + j < depth ? a[row * depth + k0 + j] : (real)0;
        b_tile[i][j] = k0 + i < depth && column < columns ? b[(k0 + i) * columns + column] : (real)0;
        __syncthreads();
#pragma unroll
        for (int k = 0; k < TILE; ++k)
            sum += a_tile[i][k] * b_tile[k][j];
        __syncthreads();
    }
    if (row < rows && column < columns)
        y[row * columns + column] = sum;
}
