// The matrix product, fourth rung: vectors of 16 bytes.
//
//     y (M, N) = a (M, K) @ b (K, N)
//
// What changes: 8 x 8 results a thread, 128 x 128 a block of 256 threads, in steps of 8 along K; and every load
// moves 16 bytes, from global memory and from shared memory. For this, the tile of a is transposed when it is
// written to shared memory: then a thread's rows are neighbours there, as its columns are. Rows of the shared
// tiles are padded by 16 bytes, so that writing the transposed tile has no bank conflicts.
// The pieces are in matrix_product.cuh: the loaders, the layout of the tiles, the product of two of them.
//
// What it should bring, for float: 16 values from shared memory for 64 multiply-adds, by 4 loads: 1/16 instead
// of 1/2 load instructions a multiply-add. 2 / 128 values from global memory, by vectors of four: 1/256
// loads. 32 operations a byte. Nearly every instruction is a multiply-add now, and the price is 64 registers
// for sums: fewer warps fit on a multiprocessor.
//
// Vectors need rows that start at multiples of 16 bytes: K and N must be multiples of 4 (of 2 for double).
// Otherwise the same code runs with single elements between global memory and registers.
//
// The grid has two axes here, (blocks along the columns, blocks along the rows): the quotient of the earlier
// rungs would cost registers that the sums need. It ends at 65,535 blocks along the rows.

#include "matrix_product.cuh"

template <int LANES>
__device__ __forceinline__ void multiply(
    const real* a, const real* b, real* y, int rows, int columns, int depth, SharedTiles<LargeTile, 1>& shared)
{
    using Tile = LargeTile;
    const int row = blockIdx.y * Tile::BLOCK_M, column = blockIdx.x * Tile::BLOCK_N;
    LoaderA<Tile, true, LANES> a_loader(a, depth, row, rows, 0);
    LoaderB<Tile, false, LANES> b_loader(b, columns, column, columns, 0);
    real sums[Tile::THREAD_M][Tile::THREAD_N];
    clear(sums);
    for (int left = depth; left > 0; left -= Tile::DEPTH) {
        a_loader.first(min(left, Tile::DEPTH));
        b_loader.first(min(left, Tile::DEPTH));
        a_loader.store(shared.a[0]);
        b_loader.store(shared.b[0]);
        __syncthreads();
        multiply_tiles<Tile>(shared.a[0], shared.b[0], sums);
        __syncthreads();
    }
    store_results<Tile>(sums, MatrixOutput<LANES>{y, nullptr, rows, columns, row, column});
}

extern "C" __global__ void __launch_bounds__(256, LARGE_BLOCKS) matmul_vectorised(
    const real* __restrict__ a, const real* __restrict__ b, real* __restrict__ y, int rows, int columns, int depth)
{
    __shared__ SharedTiles<LargeTile, 1> shared;
    if (rows_are_aligned(a, depth) && rows_are_aligned(b, columns))
        multiply<VECTOR>(a, b, y, rows, columns, depth, shared);
    else
        multiply<1>(a, b, y, rows, columns, depth, shared);
}
