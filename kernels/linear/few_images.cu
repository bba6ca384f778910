// The fully connected layer for one to four images.
//
//     y (N, O)  = x (N, I) @ weight.T + bias        gx (N, I) = g (N, O) @ weight         gw (O, I) = g.T @ x
//
// With so few images, each element of the weights is read (or, of their gradient, written) once and used in a
// few multiply-adds: the product is bound by memory. A tile of 128 x 128 would be 97 % padding. So these kernels
// are about moving the weights, 151 MB in AlexNet's fc6, at full bandwidth: every warp reads 512 neighbouring
// bytes with one load, 16 bytes a thread, and no weight is read twice.
//
// As in the tiled products, rows that do not start at multiples of 16 bytes are read one element at a time.

#include "reduce.cuh"
#include "vector.cuh"

constexpr int MAX_IMAGES = 4, WARPS = 8;

// Columns that a warp covers: VECTOR a thread, as one vector or as VECTOR elements 32 apart.
constexpr int WARP_COLUMNS = 32 * VECTOR;

// The products of one row of the weights with each image, for this thread's elements.
template <int LANES>
__device__ __forceinline__ void multiply_row(
    const real* x, const real* row, int images, int inputs, real (&sums)[MAX_IMAGES])
{
#pragma unroll 4
    for (int i = threadIdx.x * LANES; i < inputs; i += 32 * LANES) {
        real weights[LANES];
        load_lanes(row + i, weights);
#pragma unroll
        for (int image = 0; image < MAX_IMAGES; ++image) {
            if (image < images) {
                real values[LANES];
                load_lanes(x + image * inputs + i, values);
#pragma unroll
                for (int lane = 0; lane < LANES; ++lane)
                    sums[image] += weights[lane] * values[lane];
            }
        }
    }
}

// One warp per output. A block is 32 x 8 threads: 8 outputs, which are stored together. A warp beyond the last
// output repeats the last one, and does not store it.
extern "C" __global__ void __launch_bounds__(256) linear_forward_few(
    const real* __restrict__ x, const real* __restrict__ weight, const real* __restrict__ bias,
    real* __restrict__ y, int images, int outputs, int inputs)
{
    __shared__ real results[MAX_IMAGES][WARPS];
    const int first = blockIdx.x * WARPS;
    const real* row = weight + min(first + (int)threadIdx.y, outputs - 1) * inputs;
    real sums[MAX_IMAGES] = {};
    if (rows_are_aligned(x, inputs) && rows_are_aligned(weight, inputs))
        multiply_row<VECTOR>(x, row, images, inputs, sums);
    else
        multiply_row<1>(x, row, images, inputs, sums);
#pragma unroll
    for (int image = 0; image < MAX_IMAGES; ++image) {
        if (image < images) {
            const real sum = warp_reduce<Sum>(sums[image], 32);
            if (threadIdx.x == 0)
                results[image][threadIdx.y] = sum;
        }
    }
    __syncthreads();
    const int output = first + threadIdx.x, image = threadIdx.y;
    if (threadIdx.x < WARPS && image < images && output < outputs)
        y[image * outputs + output] = results[image][threadIdx.x] + bias[output];
}

template <int LANES>
__device__ __forceinline__ void multiply_columns(
    const real* g, const real* weight, real* gx, int images, int outputs, int inputs, int outputs_a_part,
    real (&partial)[WARPS][MAX_IMAGES][WARP_COLUMNS])
{
    constexpr int ROUNDS = VECTOR / LANES;
    const int column0 = blockIdx.x * WARP_COLUMNS + threadIdx.x * LANES;
    const int begin = blockIdx.y * outputs_a_part, end = min(begin + outputs_a_part, outputs);
    real sums[ROUNDS][MAX_IMAGES][LANES] = {};
#pragma unroll 2
    for (int output = begin + threadIdx.y; output < end; output += WARPS) {
#pragma unroll
        for (int round = 0; round < ROUNDS; ++round) {
            const int column = column0 + round * 32 * LANES;
            if (column < inputs) {
                real weights[LANES];
                load_lanes(weight + output * inputs + column, weights);
#pragma unroll
                for (int image = 0; image < MAX_IMAGES; ++image) {
                    if (image < images) {
                        const real factor = g[image * outputs + output];
#pragma unroll
                        for (int lane = 0; lane < LANES; ++lane)
                            sums[round][image][lane] += factor * weights[lane];
                    }
                }
            }
        }
    }
#pragma unroll
    for (int round = 0; round < ROUNDS; ++round)
#pragma unroll
        for (int image = 0; image < MAX_IMAGES; ++image)
            store_lanes(&partial[threadIdx.y][image][(round * 32 + threadIdx.x) * LANES], sums[round][image]);
    __syncthreads();
    const int image = threadIdx.y;
    if (image >= images)
        return;
    real* part = gx + (blockIdx.y * images + image) * inputs;
#pragma unroll
    for (int round = 0; round < ROUNDS; ++round) {
        const int column = column0 + round * 32 * LANES;
        if (column < inputs) {
            real total[LANES] = {};
#pragma unroll
            for (int warp = 0; warp < WARPS; ++warp) {
                real values[LANES];
                load_lanes(&partial[warp][image][(round * 32 + threadIdx.x) * LANES], values);
#pragma unroll
                for (int lane = 0; lane < LANES; ++lane)
                    total[lane] += values[lane];
            }
            store_lanes(part + column, total);
        }
    }
}

// A block of 32 x 8 threads sums over a part of the outputs, for 128 columns of float, or 64 of double: warp w
// takes every eighth row of the weights, and the sums are added in the order of w. blockIdx.y = p is the part, of
// outputs_a_part rows, whose result goes to gx[p] of (parts, N, I), for sum_parts.
extern "C" __global__ void __launch_bounds__(256) linear_input_grad_few(
    const real* __restrict__ g, const real* __restrict__ weight, real* __restrict__ gx, int images, int outputs,
    int inputs, int outputs_a_part)
{
    alignas(16) __shared__ real partial[WARPS][MAX_IMAGES][WARP_COLUMNS];
    if (rows_are_aligned(weight, inputs) && rows_are_aligned(gx, inputs))
        multiply_columns<VECTOR>(g, weight, gx, images, outputs, inputs, outputs_a_part, partial);
    else
        multiply_columns<1>(g, weight, gx, images, outputs, inputs, outputs_a_part, partial);
}

template <int LANES>
__device__ __forceinline__ void outer_product(
    const real* g, const real* x, real* gw, int images, int outputs, int inputs, int outputs_a_block, int blocks_a_row)
{
    const int begin = (int)blockIdx.x / blocks_a_row * outputs_a_block, end = min(begin + outputs_a_block, outputs);
#pragma unroll
    for (int round = 0; round < VECTOR / LANES; ++round) {
        const int column =
            (int)blockIdx.x % blocks_a_row * WARP_COLUMNS + (round * 32 + (int)threadIdx.x) * LANES;
        if (column >= inputs)
            return;
        real values[MAX_IMAGES][LANES] = {};
#pragma unroll
        for (int image = 0; image < MAX_IMAGES; ++image)
            if (image < images)
                load_lanes(x + image * inputs + column, values[image]);
        for (int output = begin + threadIdx.y; output < end; output += WARPS) {
            real sums[LANES] = {};
#pragma unroll
            for (int image = 0; image < MAX_IMAGES; ++image) {
                if (image < images) {
                    const real factor = g[image * outputs + output];
#pragma unroll
                    for (int lane = 0; lane < LANES; ++lane)
                        sums[lane] += factor * values[image][lane];
                }
            }
            store_lanes(gw + output * inputs + column, sums);
        }
    }
}

// A block of 32 x 8 threads writes outputs_a_block rows of 128 columns of float, or 64 of double: each thread
// keeps its columns of x in registers.
extern "C" __global__ void __launch_bounds__(256) linear_weight_grad_few(
    const real* __restrict__ g, const real* __restrict__ x, real* __restrict__ gw, int images, int outputs,
    int inputs, int outputs_a_block)
{
    const int blocks_a_row = (inputs + WARP_COLUMNS - 1) / WARP_COLUMNS;
    if (rows_are_aligned(x, inputs) && rows_are_aligned(gw, inputs))
        outer_product<VECTOR>(g, x, gw, images, outputs, inputs, outputs_a_block, blocks_a_row);
    else
        outer_product<1>(g, x, gw, images, outputs, inputs, outputs_a_block, blocks_a_row);
}
