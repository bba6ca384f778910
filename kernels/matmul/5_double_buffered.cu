// The matrix product, fifth rung: two buffers.
//
//     y (M, N) = a (M, K) @ b (K, N)
//
// What changes: while a tile is multiplied, the next one is on its way from global memory into registers, and
// from there into a second buffer in shared memory: `matrix_product` in matrix_product.cuh. One barrier a tile
// is left of two, and the loop has no check of K, as the incomplete tile comes first.
//
// What it should bring: the fourth rung waits for memory, some 500 clock cycles, at each of its tiles; this
// one has 512 multiply-adds to do meanwhile. Loads a multiply-add and operations a byte are those of before.
//
// Small products: 128 x 128 results a block are few blocks for a small y, and multiprocessors without a block
// idle. So there is a kernel with tiles of 64 x 64; and where K is long, it may be split: the blocks with
// blockIdx.z = p multiply only the steps of K from p * depth_a_part on, and write y[p] of (parts, M, N). Then
// sum_parts adds these up, in the order of p: the result is the same on each run. The rule is in gemm.py.

#include "matrix_product.cuh"

extern "C" __global__ void __launch_bounds__(256, LARGE_BLOCKS) matmul_large(
    const real* __restrict__ a, const real* __restrict__ b, real* __restrict__ y, int rows, int columns,
    int depth, int depth_a_part)
{
    __shared__ SharedTiles<LargeTile, 2> shared;
    multiply_matrices<LargeTile, true, false>(a, b, nullptr, y, rows, columns, depth, depth_a_part, shared);
}

extern "C" __global__ void __launch_bounds__(128, SMALL_BLOCKS) matmul_small(
    const real* __restrict__ a, const real* __restrict__ b, real* __restrict__ y, int rows, int columns,
    int depth, int depth_a_part)
{
    __shared__ SharedTiles<SmallTile, 2> shared;
    multiply_matrices<SmallTile, true, false>(a, b, nullptr, y, rows, columns, depth, depth_a_part, shared);
}
