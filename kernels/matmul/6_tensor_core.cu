// The matrix product, sixth rung: tensor cores, in TF32.
//
//     y (M, N) = a (M, K) @ b (K, N)
//
// What changes: the products of tiles are done by tensor cores, 16 x 8 x 8 multiply-adds by one instruction of
// a warp. They take numbers of 10 bits of mantissa: a and b are rounded to it on their way to shared memory.
// Each warp computes 64 x 32 results of the block's 128 x 128, in steps of 8 along K.
//
// What it should bring: for 16 such instructions, 16384 multiply-adds, a thread loads 24 values from shared
// memory, which is 1/21 load a multiply-add (24 * 32 / 16384) in place of 1/16, and the instructions
// themselves are a few hundred in place of thousands. An A100 does 156 TFLOP/s this way, and 19.5 by FFMA.
//
// What it costs: each factor is off by up to 2^-11 of itself, so that each product is by up to 2^-10: y by up
// to 2^-10 (|a| @ |b|), where float has errors near 2^-22 of it.
//
// The tiles stay as they lie in memory, neighbours along K of a and along N of b, with rows 16 and 32 bytes
// longer. In a fragment of a, the eight groups of four threads read eight rows, 12 floats apart, and in one of
// b, four rows 136 apart: each time 32 different banks. Writing 16 bytes a thread, eight threads write four rows
// of a. Rows that are 2 apart lie 24 floats apart, so that these four have different banks if they are chosen so.
//
// Float only, and sm_80 or newer: on an older processor the kernel stops with an error, and is not offered.

// There is no TF32 of double: whatever the other files are compiled for, real is float here.
#undef REAL
#define REAL float
#include "matrix_product.cuh"
#include "tensor_core.cuh"

constexpr int BLOCK_M = 128, BLOCK_N = 128, DEPTH = 8, THREADS = 256;
constexpr int WARP_M = 64, WARP_N = 32;
constexpr int PIECES_M = WARP_M / 16, PIECES_N = WARP_N / 8;
constexpr int A_STRIDE = DEPTH + 4, B_STRIDE = BLOCK_N + 8;

struct TensorTiles {
    alignas(16) float a[2][BLOCK_M * A_STRIDE];
    alignas(16) float b[2][DEPTH * B_STRIDE];
};

// Element (i, k) at [i * A_STRIDE + k]. Four successive numbers are rows that are 2 apart.
struct OuterMajor {
    static constexpr int OUTER_DISTANCE = A_STRIDE, STEP_DISTANCE = 1;
    static __device__ __forceinline__ int row(int number)
    {
        return number / 8 * 8 + number % 4 * 2 + number % 8 / 4;
    }
};

template <int LANES>
using TensorLoaderA = MatrixLoader<BLOCK_M, DEPTH, OuterMajor, THREADS, true, LANES>;
template <int LANES>
using TensorLoaderB = MatrixLoader<BLOCK_N, DEPTH, StepMajor<B_STRIDE>, THREADS, false, LANES>;

template <int LOADS, int LANES>
__device__ __forceinline__ void round_all(float (&values)[LOADS][LANES])
{
#pragma unroll
    for (int load = 0; load < LOADS; ++load)
#pragma unroll
        for (int lane = 0; lane < LANES; ++lane)
            values[load][lane] = round_to_tf32(values[load][lane]);
}

// Adds the product of two tiles to the sums of the warp. a and b begin at the warp's first row and column.
__device__ __forceinline__ void multiply_tensor_tiles(
    const float* a, const float* b, float (&sums)[PIECES_M][PIECES_N][4])
{
    const int lane = threadIdx.x % 32, group = lane / 4, member = lane % 4;
    a += group * A_STRIDE + member;
    b += member * B_STRIDE + group;
#pragma unroll
    for (int k = 0; k < DEPTH; k += 8) {
        float rows[PIECES_M][4], columns[PIECES_N][2];
#pragma unroll
        for (int i = 0; i < PIECES_M; ++i) {
            const float* piece = a + i * 16 * A_STRIDE + k;
            rows[i][0] = piece[0];
            rows[i][1] = piece[8 * A_STRIDE];
            rows[i][2] = piece[4];
            rows[i][3] = piece[8 * A_STRIDE + 4];
        }
#pragma unroll
        for (int j = 0; j < PIECES_N; ++j) {
            const float* piece = b + j * 8 + k * B_STRIDE;
            columns[j][0] = piece[0];
            columns[j][1] = piece[4 * B_STRIDE];
        }
#pragma unroll
        for (int i = 0; i < PIECES_M; ++i)
#pragma unroll
            for (int j = 0; j < PIECES_N; ++j)
                multiply_16x8x8(sums[i][j], rows[i], columns[j]);
    }
}

template <int LANES>
__device__ __forceinline__ void multiply(
    const float* a, const float* b, float* y, int rows, int columns, int depth, TensorTiles& shared)
{
    const int row_begin = blockIdx.y * BLOCK_M, column_begin = blockIdx.x * BLOCK_N;
    const int warp = threadIdx.x / 32;
    const int warp_row = warp / (BLOCK_N / WARP_N) * WARP_M, warp_column = warp % (BLOCK_N / WARP_N) * WARP_N;
    TensorLoaderA<LANES> a_loader(a, depth, row_begin, rows, 0);
    TensorLoaderB<LANES> b_loader(b, columns, column_begin, columns, 0);
    float sums[PIECES_M][PIECES_N][4] = {};
    const int tiles = (depth + DEPTH - 1) / DEPTH;
    int buffer = 0;
    if (tiles > 0) {
        a_loader.first(depth - (tiles - 1) * DEPTH);
        b_loader.first(depth - (tiles - 1) * DEPTH);
    }
    for (int left = tiles; left > 0; --left) {
        round_all(a_loader.staged);
        round_all(b_loader.staged);
        a_loader.store(shared.a[buffer]);
        b_loader.store(shared.b[buffer]);
        __syncthreads();
        if (left > 1) {
            a_loader.next();
            b_loader.next();
        }
        multiply_tensor_tiles(shared.a[buffer] + warp_row * A_STRIDE, shared.b[buffer] + warp_column, sums);
        buffer ^= 1;
    }
    const int lane = threadIdx.x % 32;
#pragma unroll
    for (int i = 0; i < PIECES_M; ++i)
#pragma unroll
        for (int j = 0; j < PIECES_N; ++j)
#pragma unroll
            for (int half = 0; half < 2; ++half) {
                const int row = row_begin + warp_row + i * 16 + half * 8 + lane / 4;
                const int column = column_begin + warp_column + j * 8 + lane % 4 * 2;
                if (row >= rows)
                    continue;
                if (LANES == VECTOR) {
                    const float pair[2] = {sums[i][j][half * 2], sums[i][j][half * 2 + 1]};
                    if (column < columns)
                        store_lanes(y + row * columns + column, pair);
                } else {
#pragma unroll
                    for (int c = 0; c < 2; ++c)
                        if (column + c < columns)
                            y[row * columns + column + c] = sums[i][j][half * 2 + c];
                }
            }
}

extern "C" __global__ void __launch_bounds__(256, 2) matmul_tensor_core(
    const float* __restrict__ a, const float* __restrict__ b, float* __restrict__ y, int rows, int columns, int depth)
{
    __shared__ TensorTiles shared;
    if (rows_are_aligned(a, depth) && rows_are_aligned(b, columns))
        multiply<VECTOR>(a, b, y, rows, columns, depth, shared);
    else
        multiply<1>(a, b, y, rows, columns, depth, shared);
}
