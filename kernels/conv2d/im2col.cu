// Convolution by im2col: the image's windows as the columns of a matrix, then a tiled matrix product
// (Chellapilla, Puri and Simard 2006; Caffe). The second rung of the ladder.
//
//     forward      y    (O, n*P*Q)       =  weight (O, C*KH*KW)   @  windows (C*KH*KW, n*P*Q)
//     weight_grad  gw   (O, C*KH*KW)    +=  g      (O, n*P*Q)     @  windows.T
//     input_grad   gwin (C*KH*KW, n*P*Q) =  weight.T              @  g,    added back onto the image by col2im
//
// for each group, and for a chunk of n images. What it gains over naive.cu: the divisions that find a cell are
// done once for each element of the matrix, and the product is that of matrix_product.cuh: tiles in shared
// memory, 64 results per thread. What it costs: the matrix is KH*KW times the image, and is written to memory
// and read again. In the weight gradient, each block does the whole sum over n*P*Q.
//
// Rows of matrices are padded with zeros to whole vectors of 16 bytes, so that all loads of the product are
// vectors; row_length and depth are those padded sizes.

#include "column_output.cuh"
#include "convolution.cuh"

// windows (groups, padded_taps, padded_positions), element ((c, i, j), (n, p, q)), with zeros in the padding.
// Neighbouring threads write neighbours, and read neighbours at stride 1.
//
// grid: x over the columns, y over the rows (in strides), z over the groups
extern "C" __global__ void __launch_bounds__(256) im2col(
    const real* __restrict__ x, real* __restrict__ windows, int padded_taps, int padded_positions, int images,
    int channels, int height, int width, int outputs, int rows, int columns, int kernel_height,
    int kernel_width, int stride_height, int stride_width, int dilation_height, int dilation_width, int top,
    int left, int groups)
{
    const Convolution conv = {
        images, channels, height, width, outputs, rows, columns, kernel_height, kernel_width, stride_height,
        stride_width, dilation_height, dilation_width, top, left, groups};
    const Forward product = {conv, nullptr, x, (int)blockIdx.z};
    const int column = blockIdx.x * blockDim.x + threadIdx.x;
    if (column >= padded_positions)
        return;
    const bool is_position = column < product.columns();
    const Cell place = product.place(column);
    for (int row = blockIdx.y; row < padded_taps; row += gridDim.y) {
        const bool is_cell = is_position && row < product.depth();
        windows[(blockIdx.z * padded_taps + row) * padded_positions + column] =
            is_cell ? product.right(row, place) : (real)0;
    }
}

// gx (n, C, H, W) from the gradient of the windows, in the layout of im2col. A thread sums what all windows that
// contain its cell have for it, in a fixed order: no two threads write one cell, so no atomic additions are
// needed, and the sum is the same in every run.
// 4 blocks per multiprocessor allow 64 registers; without this bound ptxas takes 32 on sm_100, and spills.
//
// grid: x over the cells
extern "C" __global__ void __launch_bounds__(256, 4) col2im(
    const real* __restrict__ windows, real* __restrict__ gx, int padded_taps, int padded_positions, int
    images, int channels, int height, int width, int outputs, int rows, int columns, int kernel_height, int
    kernel_width, int stride_height, int stride_width, int dilation_height, int dilation_width, int top, int
    left, int groups)
{
    const int cells = images * channels * height * width;
    const int per_group = channels / groups;
    for (int cell = blockIdx.x * blockDim.x + threadIdx.x; cell < cells; cell += gridDim.x * blockDim.x) {
        const Cell place(cell, height, width);
        const int image = place.first / channels, channel = place.first % channels;
        const int first_row =
            channel / per_group * padded_taps + channel % per_group * kernel_height * kernel_width;
        real sum = 0;
        for (int i = 0; i < kernel_height; ++i) {
            const int p = reading_position(place.row, i, top, dilation_height, stride_height, rows);
            if (p < 0)
                continue;
            for (int j = 0; j < kernel_width; ++j) {
                const int q = reading_position(place.column, j, left, dilation_width, stride_width, columns);
                if (q >= 0)
                    sum += windows[(first_row + i * kernel_width + j) * padded_positions
                        + (image * rows + p) * columns + q];
            }
        }
        gx[cell] = sum;
    }
}

// Adds to what earlier chunks of images have left.
struct AddingOutput {
    MatrixOutput<VECTOR> stored;

    __device__ __forceinline__ void operator()(int row, int column, const real (&values)[VECTOR]) const
    {
        const int at = (stored.row_begin + row) * stored.columns + stored.column_begin + column;
        if (stored.row_begin + row >= stored.rows || stored.column_begin + column >= stored.columns)
            return;
        real sums[VECTOR];
        load_lanes(stored.matrix + at, sums);
#pragma unroll
        for (int lane = 0; lane < VECTOR; ++lane)
            sums[lane] += values[lane];
        store_lanes(stored.matrix + at, sums);
    }
};

// y (n, O, P, Q) = weight (groups, rows, depth) @ windows (groups, depth, row_length) + bias
//
// grid: x over tiles of columns, y over tiles of rows, z over the groups; the same in all three products
extern "C" __global__ void __launch_bounds__(256, LARGE_BLOCKS) weight_times_windows(
    const real* __restrict__ weight, const real* __restrict__ windows, const real* __restrict__ bias,
    real* __restrict__ y, int has_bias, int rows, int depth, int row_length, int images, int positions)
{
    using Tile = LargeTile;
    __shared__ SharedTiles<Tile, 2> shared;
    real sums[Tile::THREAD_M][Tile::THREAD_N];
    const int row_begin = blockIdx.y * Tile::BLOCK_M, column_begin = blockIdx.x * Tile::BLOCK_N;
    const int group = blockIdx.z;
    LoaderA<Tile, true, VECTOR> a(weight + group * rows * depth, depth, row_begin, rows, 0);
    windows += group * depth * row_length;
    LoaderB<Tile, false, VECTOR> b(windows, row_length, column_begin, row_length, 0);
    matrix_product<Tile>(a, b, depth, shared, sums);
    const int column = column_begin + threadIdx.x % Tile::BLOCK_N;
    const int image = column / positions, position = column % positions;
    real* first = y + (image * (int)gridDim.z * rows + group * rows) * positions + position;
    const ColumnOutput output = {
        image < images ? first : nullptr, has_bias ? bias + group * rows : nullptr, row_begin, rows,
        positions};
    store_by_columns<Tile>(sums, shared, output);
}

// windows (groups, taps, row_length) = weight.T @ g
//
// weight (groups, depth, taps), g (groups, depth, row_length)
extern "C" __global__ void __launch_bounds__(256, LARGE_BLOCKS) windows_gradient(
    const real* __restrict__ weight, const real* __restrict__ g, real* __restrict__ windows, int taps, int
    depth, int row_length)
{
    using Tile = LargeTile;
    __shared__ SharedTiles<Tile, 2> shared;
    real sums[Tile::THREAD_M][Tile::THREAD_N];
    const int row_begin = blockIdx.y * Tile::BLOCK_M, column_begin = blockIdx.x * Tile::BLOCK_N;
    const int group = blockIdx.z;
    LoaderA<Tile, false, VECTOR> a(weight + group * depth * taps, taps, row_begin, taps, 0);
    LoaderB<Tile, false, VECTOR> b(g + group * depth * row_length, row_length, column_begin, row_length, 0);
    matrix_product<Tile>(a, b, depth, shared, sums);
    const MatrixOutput<VECTOR> output = {
        windows + group * taps * row_length, nullptr, taps, row_length, row_begin, column_begin};
    store_results<Tile>(sums, output);
}

// gw (groups, rows, taps) += g (groups, rows, depth) @ windows.T, with windows (groups, taps, depth)
extern "C" __global__ void __launch_bounds__(256, LARGE_BLOCKS) add_weight_gradient(
    const real* __restrict__ g, const real* __restrict__ windows, real* __restrict__ gw, int rows, int taps,
    int depth)
{
    using Tile = LargeTile;
    __shared__ SharedTiles<Tile, 2> shared;
    real sums[Tile::THREAD_M][Tile::THREAD_N];
    const int row_begin = blockIdx.y * Tile::BLOCK_M, column_begin = blockIdx.x * Tile::BLOCK_N;
    const int group = blockIdx.z;
    LoaderA<Tile, true, VECTOR> a(g + group * rows * depth, depth, row_begin, rows, 0);
    LoaderB<Tile, true, VECTOR> b(windows + group * taps * depth, depth, column_begin, taps, 0);
    matrix_product<Tile>(a, b, depth, shared, sums);
    const AddingOutput output = {{gw + group * rows * taps, nullptr, rows, taps, row_begin, column_begin}};
    store_results<Tile>(sums, output);
}
