// Storing the results of a tile of a matrix product whose columns are positions of images.
//
// Neighbouring columns are neighbours in memory, (N, O, P*Q), but rows of P*Q numbers need not begin at multiples
// of 16 bytes, and a column may be the last of its image. So each number is stored on its own, by a warp that has
// 32 neighbours.

#include "matrix_product.cuh"

// Passes the block's results to output(row, value), where a thread has one column and neighbouring threads have
// neighbouring columns: in registers, a thread itself has 4 neighbours, and a warp's stores of them would be
// 16 bytes apart. They are exchanged through the shared memory of the tiles, some rows at a time.
template <typename Tile, typename Output>
__device__ __forceinline__ void store_by_columns(
    const real (&sums)[Tile::THREAD_M][Tile::THREAD_N], SharedTiles<Tile, 2>& shared, const Output& output)
{
    constexpr int TOGETHER = 2;  // rows of a thread
    constexpr int ROWS = Tile::BLOCK_M / Tile::THREAD_M * TOGETHER;
    static_assert(ROWS * Tile::STRIDE_N * sizeof(real) <= sizeof(shared), "the rows must fit the tiles");
    static_assert(VECTOR % TOGETHER == 0, "the rows must be of one vector");
    static_assert(Tile::THREADS % Tile::BLOCK_N == 0, "each thread must have one column");

    real* rows = reinterpret_cast<real*>(&shared);
    const int own_row =
        Tile::first_row() / Tile::WARP_M * Tile::LANES_M + Tile::first_row() % Tile::WARP_M / VECTOR;
    const int column = threadIdx.x % Tile::BLOCK_N;
#pragma unroll
    for (int i = 0; i < Tile::THREAD_M; i += TOGETHER) {
        __syncthreads();
#pragma unroll
        for (int row = 0; row < TOGETHER; ++row)
#pragma unroll
            for (int j = 0; j < Tile::THREAD_N; j += VECTOR) {
                real values[VECTOR];
#pragma unroll
                for (int lane = 0; lane < VECTOR; ++lane)
                    values[lane] = sums[i + row][j + lane];
                store_lanes(
                    rows + (own_row * TOGETHER + row) * Tile::STRIDE_N + Tile::first_column()
                        + j * Tile::LANES_N,
                    values);
            }
        __syncthreads();
        for (int row = threadIdx.x / Tile::BLOCK_N; row < ROWS; row += Tile::THREADS / Tile::BLOCK_N) {
            const int lane = row / TOGETHER % Tile::LANES_M, warp = row / TOGETHER / Tile::LANES_M;
            output(
                warp * Tile::WARP_M + i / VECTOR * Tile::LANES_M * VECTOR + lane * VECTOR + i % VECTOR
                    + row % TOGETHER,
                rows[row * Tile::STRIDE_N + column]);
        }
    }
}

// One column of results: a position of an image, in all channels of the group.
struct ColumnOutput {
    real* column;  // null beyond the last position
    const real* bias;
    int row_begin, rows, plane;

    __device__ __forceinline__ void operator()(int row, real value) const
    {
        row += row_begin;
        if (column && row < rows)
            column[row * plane] = value + (bias ? bias[row] : (real)0);
    }
};
