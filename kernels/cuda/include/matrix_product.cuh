// The tiled matrix product y (M, N) = a (M, K) @ b (K, N), on which matmul, linear and conv2d are built.
//
// A block of threads computes one tile of y. It walks along K in steps of DEPTH: the tiles of a and b of one
// step are loaded into shared memory, and each thread multiplies its THREAD_M rows by its THREAD_N columns
// of them, keeping the sums in registers. The products differ only in where the operands come from and where
// the results go, so the caller provides:
//
//     a loader    an object with three functions, called by all threads of the block at the same time:
//                     first(steps)     reads its part of the first tile into registers: `steps` steps of K,
//                                      1 to DEPTH, and zeros for those beyond
//                     next()           reads its part of the next tile, all DEPTH steps of it
//                     store(tile)      writes what was read into shared memory, where element (i, k) of the
//                                      tile, i along M or N, belongs at tile[k * STRIDE + i]
//                 Elements beyond M or N may have any finite or infinite value: their results are not stored.
//     an output   an object with one function, output(row, column, values): store these VECTOR results, which
//                 are neighbours in one row of the block's tile of y; some may be beyond M or N.
//
// `MatrixLoader` and `MatrixOutput` are for matrices in memory. The first tile is the incomplete one, if
// K is not a multiple of DEPTH, so the loop over the others needs no check.
//
//     using Tile = LargeTile;
//     __shared__ SharedTiles<Tile, 2> shared;
//     real sums[Tile::THREAD_M][Tile::THREAD_N];
//     matrix_product<Tile>(a_loader, b_loader, depth, shared, sums);
//     store_results<Tile>(sums, output);

#include "real.cuh"
#include "vector.cuh"

// The shape of a block's work. BLOCK_M x BLOCK_N results, of which each warp computes WARP_M x WARP_N, and
// each thread THREAD_M x THREAD_N.
//
// A thread's rows are not all neighbours: they are groups of VECTOR rows, one from each stretch of
// LANES_M * VECTOR rows, and so are its columns. So the eight threads that read shared memory together read
// 8 * 16 = 128 neighbouring bytes, each bank once, or all the same 16.
template <int BLOCK_M_, int BLOCK_N_, int WARP_M_, int WARP_N_, int THREAD_M_, int THREAD_N_>
struct ProductTile {
    static constexpr int BLOCK_M = BLOCK_M_, BLOCK_N = BLOCK_N_, DEPTH = 8;
    static constexpr int WARP_M = WARP_M_, WARP_N = WARP_N_;
    static constexpr int THREAD_M = THREAD_M_, THREAD_N = THREAD_N_;
    static constexpr int LANES_M = WARP_M / THREAD_M, LANES_N = WARP_N / THREAD_N;
    static constexpr int WARPS_N = BLOCK_N / WARP_N;
    static constexpr int THREADS = BLOCK_M / THREAD_M * (BLOCK_N / THREAD_N);
    // The distance between two steps in shared memory. The 16 bytes of padding let a warp write a tile that it
    // read along K without bank conflicts: see `MatrixLoader::store`.
    static constexpr int STRIDE_M = BLOCK_M + VECTOR, STRIDE_N = BLOCK_N + VECTOR;

    static_assert(LANES_M * LANES_N == 32, "the threads of a warp must cover its part of the tile");
    static_assert(LANES_N == 8, "the threads that read shared memory together must cover 128 bytes");
    static_assert(BLOCK_M % WARP_M == 0 && BLOCK_N % WARP_N == 0, "warps must cover the block's tile");
    static_assert(THREAD_M % VECTOR == 0 && THREAD_N % VECTOR == 0, "a thread reads whole vectors");

    // The thread's first row and column in the block's tile.
    static __device__ __forceinline__ int first_row()
    {
        const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
        return warp / WARPS_N * WARP_M + lane / LANES_N * VECTOR;
    }
    static __device__ __forceinline__ int first_column()
    {
        const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
        return warp % WARPS_N * WARP_N + lane % LANES_N * VECTOR;
    }
};

// 64 results per thread: for 64 multiply-adds it reads 16 values from shared memory, four vectors of float.
using LargeTile = ProductTile<128, 128, 32, 64, 8, 8>;
// A quarter of the results per block, for products for which the large tile would give too few blocks.
using SmallTile = ProductTile<64, 64, 32, 32, 8, 4>;

// Blocks that should fit on a multiprocessor together: this limits a thread's registers, to 128 for float.
constexpr int LARGE_BLOCKS = sizeof(real) == 4 ? 2 : 1;
constexpr int SMALL_BLOCKS = sizeof(real) == 4 ? 5 : 3;

// The tiles of both operands in shared memory, element (i, k) at [k * STRIDE + i].
template <typename Tile, int BUFFERS>
struct alignas(16) SharedTiles {
    real a[BUFFERS][Tile::DEPTH * Tile::STRIDE_M];
    real b[BUFFERS][Tile::DEPTH * Tile::STRIDE_N];
};

// The layout of a tile in shared memory: here element (i, k) is at [k * STRIDE + i], neighbours along M or N.
template <int STRIDE>
struct StepMajor {
    static constexpr int OUTER_DISTANCE = 1, STEP_DISTANCE = STRIDE;
    static __device__ __forceinline__ int row(int number) { return number; }
};

// Reads an operand that is a row-major matrix, LANES elements at a time.
//
// SIZE         of the tile along M or N, the outer dimension
// Layout       of the tile in shared memory. For reads along K, its row(number) says which row of the tile the
//              threads with this number load
// ALONG_K      whether neighbours in memory are neighbours along K, as in a (M, K), and in b.T (N, K);
//              otherwise they are neighbours along the outer dimension, as in b (K, N), and in a.T (K, M)
// LANES        VECTOR if rows_are_aligned, 1 otherwise
//
// Rows of the tile beyond the matrix are read from its last row (columns from the last LANES): that is always
// in bounds and needs no check in the loop, and their results are not stored.
template <int SIZE, int DEPTH, typename Layout, int THREADS, bool ALONG_K, int LANES>
struct MatrixLoader {
    static constexpr int LOADS_A_ROW = (ALONG_K ? DEPTH : SIZE) / LANES;
    static constexpr int LOADS = SIZE * DEPTH / LANES / THREADS;
    // Rows of the matrix between two loads of a thread.
    static constexpr int ROWS_A_LOAD = THREADS / LOADS_A_ROW;

    static_assert(LOADS * LANES * THREADS == SIZE * DEPTH, "every thread must have the same number of loads");
    static_assert(ROWS_A_LOAD * LOADS_A_ROW == THREADS, "the block must read whole rows of the tile");

    const real* __restrict__ matrix;
    // One for each load if rows are clamped one by one; that of the first if they are a fixed distance apart.
    // Unsigned, because those of steps beyond K, which are not read, may wrap.
    unsigned int index[ALONG_K ? LOADS : 1];
    int row_length;
    real staged[LOADS][LANES];

    // matrix       its first element
    // row_length   elements between two rows in memory
    // begin        the tile's first index along the outer dimension
    // size         the matrix's size along the outer dimension, at least 1; a multiple of LANES unless ALONG_K
    // k            the first step
    __device__ __forceinline__ MatrixLoader(const real* matrix, int row_length, int begin, int size, int k)
        : matrix(matrix), row_length(row_length)
    {
        if (ALONG_K) {
#pragma unroll
            for (int load = 0; load < LOADS; ++load)
                index[load] = min(begin + row(load), size - 1) * row_length + k + column();
        } else {
            index[0] = (unsigned int)(k + row(0)) * row_length + min(begin + column(), size - LANES);
        }
    }

    // Where a load of this thread begins in the tile: its index along the outer dimension, and its step of K.
    static __device__ __forceinline__ int outer(int load) { return ALONG_K ? row(load) : column(); }
    static __device__ __forceinline__ int step(int load) { return ALONG_K ? column() : row(load); }
    static __device__ __forceinline__ int row(int load)
    {
        const int number = (int)threadIdx.x / LOADS_A_ROW + load * ROWS_A_LOAD;
        return ALONG_K ? Layout::row(number) : number;
    }
    static __device__ __forceinline__ int column() { return (int)threadIdx.x % LOADS_A_ROW * LANES; }

    __device__ __forceinline__ const real* address(int load) const
    {
        return matrix + (ALONG_K ? index[load] : index[0] + (unsigned int)(load * ROWS_A_LOAD) * row_length);
    }
    __device__ __forceinline__ void advance(int steps)
    {
        if (ALONG_K) {
#pragma unroll
            for (int load = 0; load < LOADS; ++load)
                index[load] += steps;
        } else {
            index[0] += (unsigned int)steps * row_length;
        }
    }

    __device__ __forceinline__ void first(int steps)
    {
#pragma unroll
        for (int load = 0; load < LOADS; ++load) {
            if (step(load) < steps) {
                load_lanes(address(load), staged[load]);
            } else {
#pragma unroll
                for (int lane = 0; lane < LANES; ++lane)
                    staged[load][lane] = 0;
            }
        }
        advance(steps);
    }

    __device__ __forceinline__ void next()
    {
#pragma unroll
        for (int load = 0; load < LOADS; ++load)
            load_lanes(address(load), staged[load]);
        advance(DEPTH);
    }

    // If neighbours in memory are not neighbours in the tile, it is transposed here, one element at a time.
    // With StepMajor and in float, a warp holds 16 rows of two vectors; the padding puts the steps 0 and 4 of
    // one row 4 * STRIDE = 16 (mod 32) banks apart, so that the 32 elements written together are in 32 banks.
    // In double, 16 threads write together, 4 rows of four vectors, and 2 * STRIDE = 4 (mod 16).
    __device__ __forceinline__ void store(real* tile) const
    {
        constexpr int DISTANCE = ALONG_K ? Layout::STEP_DISTANCE : Layout::OUTER_DISTANCE;
#pragma unroll
        for (int load = 0; load < LOADS; ++load) {
            real* to = tile + step(load) * Layout::STEP_DISTANCE + outer(load) * Layout::OUTER_DISTANCE;
            if (DISTANCE == 1) {
                store_lanes(to, staged[load]);
            } else {
#pragma unroll
                for (int lane = 0; lane < LANES; ++lane)
                    to[lane * DISTANCE] = staged[load][lane];
            }
        }
    }
};

template <typename Tile, bool ALONG_K, int LANES>
using LoaderA =
    MatrixLoader<Tile::BLOCK_M, Tile::DEPTH, StepMajor<Tile::STRIDE_M>, Tile::THREADS, ALONG_K, LANES>;
template <typename Tile, bool ALONG_K, int LANES>
using LoaderB =
    MatrixLoader<Tile::BLOCK_N, Tile::DEPTH, StepMajor<Tile::STRIDE_N>, Tile::THREADS, ALONG_K, LANES>;

// Stores results into a row-major matrix (rows, columns), with bias[column] added unless bias is null.
// row_begin and column_begin are where the block's tile begins. LANES is VECTOR if rows_are_aligned, else 1.
template <int LANES>
struct MatrixOutput {
    real* matrix;
    const real* bias;
    int rows, columns, row_begin, column_begin;

    __device__ __forceinline__ void operator()(int row, int column, const real (&values)[VECTOR]) const
    {
        row += row_begin;
        column += column_begin;
        if (row >= rows)
            return;
#pragma unroll
        for (int first = 0; first < VECTOR; first += LANES, column += LANES) {
            if (column >= columns)
                return;
            real lanes[LANES] = {};
            if (bias != nullptr)
                load_lanes(bias + column, lanes);
#pragma unroll
            for (int lane = 0; lane < LANES; ++lane)
                lanes[lane] += values[first + lane];
            store_lanes(matrix + row * columns + column, lanes);
        }
    }
};

// Reads COUNT values of one step from shared memory, in groups of VECTOR that are DISTANCE apart.
template <int COUNT, int DISTANCE>
__device__ __forceinline__ void load_fragment(const real* tile, real (&fragment)[COUNT])
{
#pragma unroll
    for (int group = 0; group < COUNT / VECTOR; ++group) {
        real lanes[VECTOR];
        load_lanes(tile + group * DISTANCE, lanes);
#pragma unroll
        for (int lane = 0; lane < VECTOR; ++lane)
            fragment[group * VECTOR + lane] = lanes[lane];
    }
}

// Adds the product of two tiles in shared memory to the thread's sums.
template <typename Tile>
__device__ __forceinline__ void multiply_tiles(
    const real* a, const real* b, real (&sums)[Tile::THREAD_M][Tile::THREAD_N])
{
    a += Tile::first_row();
    b += Tile::first_column();
#pragma unroll
    for (int k = 0; k < Tile::DEPTH; ++k) {
        real rows[Tile::THREAD_M], columns[Tile::THREAD_N];
        load_fragment<Tile::THREAD_M, Tile::LANES_M * VECTOR>(a + k * Tile::STRIDE_M, rows);
        load_fragment<Tile::THREAD_N, Tile::LANES_N * VECTOR>(b + k * Tile::STRIDE_N, columns);
#pragma unroll
        for (int i = 0; i < Tile::THREAD_M; ++i)
#pragma unroll
            for (int j = 0; j < Tile::THREAD_N; ++j)
                sums[i][j] += rows[i] * columns[j];
    }
}

template <int THREAD_M, int THREAD_N>
__device__ __forceinline__ void clear(real (&sums)[THREAD_M][THREAD_N])
{
#pragma unroll
    for (int i = 0; i < THREAD_M; ++i)
#pragma unroll
        for (int j = 0; j < THREAD_N; ++j)
            sums[i][j] = 0;
}

// sums = the product over `depth` steps of K, from the loaders' first.
//
// Double buffering: while the threads multiply one tile in shared memory, the loads of the next are in flight
// to registers, from which they go to the other buffer. So the latency of global memory is hidden behind
// DEPTH * THREAD_M * THREAD_N multiply-adds, and one barrier per tile is enough: before it, all threads have
// read the buffer that is written after it.
//
// The loop is unrolled over UNROLL tiles: with two, the buffers' addresses are constants. Loaders that
// compute much should take one, or they would need more registers than there are.
template <typename Tile, int UNROLL = 2, typename A, typename B>
__device__ __forceinline__ void matrix_product(
    A& a, B& b, int depth, SharedTiles<Tile, 2>& shared, real (&sums)[Tile::THREAD_M][Tile::THREAD_N])
{
    clear(sums);
    if (depth == 0)
        return;
    const int tiles = (depth + Tile::DEPTH - 1) / Tile::DEPTH;
    const int steps = depth - (tiles - 1) * Tile::DEPTH;
    a.first(steps);
    b.first(steps);
    a.store(shared.a[0]);
    b.store(shared.b[0]);
    __syncthreads();
    int buffer = 0;
    // Two tiles per iteration, so that the addresses in both buffers are constants.
#pragma unroll UNROLL
    for (int left = tiles - 1; left > 0; --left) {
        a.next();
        b.next();
        multiply_tiles<Tile>(shared.a[buffer], shared.b[buffer], sums);
        buffer ^= 1;
        a.store(shared.a[buffer]);
        b.store(shared.b[buffer]);
        __syncthreads();
    }
    multiply_tiles<Tile>(shared.a[buffer], shared.b[buffer], sums);
}

// Passes the thread's results to output(row, column, values), VECTOR neighbours at a time.
template <typename Tile, typename Output>
__device__ __forceinline__ void store_results(
    const real (&sums)[Tile::THREAD_M][Tile::THREAD_N], const Output& output)
{
#pragma unroll
    for (int i = 0; i < Tile::THREAD_M; ++i) {
        const int row = Tile::first_row() + i / VECTOR * Tile::LANES_M * VECTOR + i % VECTOR;
#pragma unroll
        for (int j = 0; j < Tile::THREAD_N; j += VECTOR) {
            real values[VECTOR];
#pragma unroll
            for (int lane = 0; lane < VECTOR; ++lane)
                values[lane] = sums[i][j + lane];
            output(row, Tile::first_column() + j * Tile::LANES_N, values);
        }
    }
}

// One block's part of y (rows, columns) = a @ b + bias, for matrices in memory.
//
// A_ALONG_K, B_ALONG_K   the layout of the operands: see `MatrixLoader`. (true, false) is a (M, K) and
//                        b (K, N); (true, true) is a and b.T (N, K); (false, false) is a.T (K, M) and b
// bias                   (columns,), or null
// depth_a_part           blockIdx.z = p is a part of K, of this many steps, a multiple of DEPTH; its result is
//                        stored at y[p] of (parts, rows, columns), and the first part adds the bias
//
// The grid is (blocks along the columns, blocks along the rows, parts).
template <typename Tile, bool A_ALONG_K, bool B_ALONG_K, int LANES>
__device__ __forceinline__ void multiply_lanes(
    const real* a, const real* b, const real* bias, real* y, int rows, int columns, int depth, int depth_a_part,
    SharedTiles<Tile, 2>& shared)
{
    const int row = blockIdx.y * Tile::BLOCK_M, column = blockIdx.x * Tile::BLOCK_N;
    const int k = blockIdx.z * depth_a_part;
    LoaderA<Tile, A_ALONG_K, LANES> a_loader(a, A_ALONG_K ? depth : rows, row, rows, k);
    LoaderB<Tile, B_ALONG_K, LANES> b_loader(b, B_ALONG_K ? depth : columns, column, columns, k);
    real sums[Tile::THREAD_M][Tile::THREAD_N];
    matrix_product<Tile>(a_loader, b_loader, min(depth_a_part, depth - k), shared, sums);
    real* part = y + blockIdx.z * rows * columns;
    const real* part_bias = blockIdx.z == 0 ? bias : nullptr;
    store_results<Tile>(sums, MatrixOutput<LANES>{part, part_bias, rows, columns, row, column});
}

template <typename Tile, bool A_ALONG_K, bool B_ALONG_K>
__device__ __forceinline__ void multiply_matrices(
    const real* a, const real* b, const real* bias, real* y, int rows, int columns, int depth, int depth_a_part,
    SharedTiles<Tile, 2>& shared)
{
    const bool aligned = rows_are_aligned(a, A_ALONG_K ? depth : rows)
                      && rows_are_aligned(b, B_ALONG_K ? depth : columns) && rows_are_aligned(y, columns)
                      && rows_are_aligned(bias, columns);
    if (aligned)
        multiply_lanes<Tile, A_ALONG_K, B_ALONG_K, VECTOR>(
            a, b, bias, y, rows, columns, depth, depth_a_part, shared);
    else
        multiply_lanes<Tile, A_ALONG_K, B_ALONG_K, 1>(a, b, bias, y, rows, columns, depth, depth_a_part, shared);
}
