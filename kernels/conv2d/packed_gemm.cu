// Implicit gemm on packed operands: the last rung of the ladder for convolution.
//
// implicit_gemm.cu spends its main loop on finding cells: divisions and comparisons for each number, and a load
// of its own, because neighbours along the product's depth are not neighbours in memory. Here
// everything that is not a multiply-add is moved out of that loop:
//
//   packed images    (groups, N, rows, columns, C) with the channels last, padded with zeros to a whole
//                    number of vectors, and with the window's padding around each image. So the channels of
//                    one tap are a 16-byte load, at any stride and dilation, and no cell is ever outside.
//   packed weights   (groups, depth, rows), so that a tile's rows are neighbours.
//   tables           the address of a cell is the sum of two offsets, one that depends only on the position and
//                    one on the tap and channel: a thread computes one of them once, and reads the other from a
//                    table, one tile ahead.
//   split sums       the weight gradient sums over all positions of all images. The depth is cut into parts
//                    for blocks to do in parallel; a second kernel adds the parts in a fixed order. So there is
//                    work for many blocks, and the result is the same in every run.
//
// Per tile of 8 steps a thread then does 512 multiply-adds (float, tile of 128 x 128), 32 16-byte reads of
// shared memory, two 16-byte loads, one table entry, and the stores of the next tile: nine in ten
// instructions are multiply-adds.
//
// The input gradient is the same kernel as forward. At stride 1 it is the convolution of g with the weights'
// rows and columns reversed. At a larger stride, the cells of the image fall into stride_height *
// stride_width phases, by their remainders; those of one phase read the same taps, and each phase is a
// convolution at stride 1 with only those taps, so that no zero is multiplied, and one launch.

#include "column_output.cuh"

// x (N, C, H, W) as the packed images (groups, N, rows, columns, packed_channels), whose row r is row r - top
// of the image. A block transposes 32 cells and up to 32 channels in shared memory, so that both its reads and its
// writes are coalesced. The distance between two channels there is chosen so that neither has bank conflicts, if
// the channels of a block divide 32.
//
// grid: x over the cells and y over the channels, 32 at a time, z over groups * N (in strides)
extern "C" __global__ void __launch_bounds__(256) pack_images(
    const real* __restrict__ x, real* __restrict__ packed, int groups, int images, int channels, int height,
    int width, int rows, int columns, int packed_channels, int top, int left)
{
    constexpr int CELLS = 32, CHANNELS = 32, TURN = 128 / sizeof(real);
    __shared__ real turned[CHANNELS * (CELLS + 1)];
    const int first_cell = blockIdx.x * CELLS, first_channel = blockIdx.y * CHANNELS;
    const int block_channels = min(CHANNELS, packed_channels - first_channel);
    const int distance = CELLS + max(1, TURN / block_channels);
    const int lane = threadIdx.x % CELLS;
    const int cell = first_cell + lane;
    const int row = cell / columns - top, column = cell % columns - left;
    const bool is_inside = cell < rows * columns && row >= 0 && row < height && column >= 0 && column < width;
    for (int image = blockIdx.z; image < groups * images; image += gridDim.z) {
        const int group = image / images, number = image % images;
        for (int c = threadIdx.x / CELLS; c < block_channels; c += blockDim.x / CELLS) {
            const int channel = first_channel + c;
            const int plane = (number * groups + group) * channels + channel;
            turned[c * distance + lane] =
                is_inside && channel < channels ? x[(plane * height + row) * width + column] : (real)0;
        }
        __syncthreads();
        for (int i = threadIdx.x; i < CELLS * block_channels; i += blockDim.x) {
            const int to_cell = i / block_channels, c = i % block_channels;
            const int to =
                (image * rows * columns + first_cell + to_cell) * packed_channels + first_channel + c;
            if (first_cell + to_cell < rows * columns)
                packed[to] = turned[c * distance + to_cell];
        }
        __syncthreads();
    }
}

// weight as packed weights (groups, depth, packed_rows) with depth (i, j, channel), which must be zeroed
// beforehand: the padding is left as it is. In both directions the weights are matrices (rows, length) for each
// `outer`, with rows contiguous in memory, to be transposed:
//
//     forward      row o, and neighbours (c, i, j); outer is 1
//     input_grad   row c, and neighbours (i, j), for each o, which is the depth's channel; outer is O/groups
//
// A block transposes 32 rows and up to 32 neighbours of each, so that reads and writes are coalesced. It takes the
// taps first_row + a * row_stride of the kernel's rows, and likewise of its columns, and leaves the others out.
//
// grid: x over the rows and y over the neighbours, 32 at a time, z over groups * outer (y and z in strides)
extern "C" __global__ void __launch_bounds__(256) pack_weights(
    const real* __restrict__ weight, real* __restrict__ packed, int groups, int outer, int rows, int length,
    int packed_rows, int packed_channels, int tap_rows, int tap_columns, int first_row, int first_column,
    int row_stride, int column_stride, int kernel_height, int kernel_width)
{
    constexpr int ROWS = 32;
    __shared__ real turned[ROWS * (ROWS + 1)];
    const int taps = kernel_height * kernel_width;
    const int first = blockIdx.x * ROWS;
    const int lane = threadIdx.x % ROWS;
    for (int matrix = blockIdx.z; matrix < groups * outer; matrix += gridDim.z) {
        const int group = matrix / outer, channel = matrix % outer;
        for (int begin = blockIdx.y * ROWS; begin < length; begin += gridDim.y * ROWS) {
            const int here = min(ROWS, length - begin);
            const int distance = here | 1;  // an odd stride uses each bank once
            for (int i = threadIdx.x; i < ROWS * here; i += blockDim.x) {
                const int row = i / here, neighbour = i % here;
                if (first + row < rows)
                    turned[row * distance + neighbour] =
                        weight[(matrix * rows + first + row) * length + begin + neighbour];
            }
            __syncthreads();
            for (int neighbour = threadIdx.x / ROWS; neighbour < here; neighbour += blockDim.x / ROWS) {
                const int tap = (begin + neighbour) % taps;
                const int i = tap / kernel_width - first_row, j = tap % kernel_width - first_column;
                const bool is_taken = i >= 0 && i % row_stride == 0 && j >= 0 && j % column_stride == 0;
                const int packed_tap = (group * tap_rows + i / row_stride) * tap_columns + j / column_stride;
                const int depth = packed_tap * packed_channels + channel + (begin + neighbour) / taps;
                if (is_taken && first + lane < rows)
                    packed[depth * packed_rows + first + lane] = turned[lane * distance + neighbour];
            }
            __syncthreads();
        }
    }
}

// offsets[(a, b, c)] = first + a * outer_step + b * row_step + c * column_step, for b < rows and c < columns;
// 0 in the entries from `used` on, which are read ahead and never used.
extern "C" __global__ void __launch_bounds__(256) tabulate_offsets(
    int* __restrict__ offsets, int entries, int used, int rows, int columns, int first, int outer_step,
    int row_step, int column_step)
{
    const int threads = gridDim.x * blockDim.x;
    for (int entry = blockIdx.x * blockDim.x + threadIdx.x; entry < entries; entry += threads) {
        const int outer = entry / columns / rows, row = entry / columns % rows, column = entry % columns;
        offsets[entry] =
            entry < used ? first + outer * outer_step + row * row_step + column * column_step : 0;
    }
}

// Reads the windows of packed images along the depth: a thread has one position, or two, and in each tile
// some vectors of channels of one tap.
template <typename Tile>
struct WindowLoader {
    static constexpr int VECTORS = Tile::DEPTH / VECTOR;
    static constexpr int LOADS = Tile::BLOCK_N * VECTORS / Tile::THREADS;

    const real* cells;
    int window[LOADS];  // where each begins: int indices need fewer instructions than pointers
    const int* table;  // the entry of this thread's vector in the next tile but one
    int offset;        // of its vector in the next tile
    real staged[LOADS][VECTOR];

    static_assert(Tile::THREADS % VECTORS == 0, "each thread must have one vector of a tile's depth");

    __device__ __forceinline__ WindowLoader(const real* cells, const int* offsets)
        : cells(cells), table(offsets + vector())
    {
    }

    static __device__ __forceinline__ int vector() { return threadIdx.x % VECTORS; }
    static __device__ __forceinline__ int column(int load)
    {
        return threadIdx.x / VECTORS + load * (Tile::THREADS / VECTORS);
    }

    __device__ __forceinline__ void first(int steps)
    {
        const bool is_used = vector() * VECTOR < steps;
        const int now = *table;
#pragma unroll
        for (int load = 0; load < LOADS; ++load) {
            if (is_used) {
                load_lanes(cells + (window[load] + now), staged[load]);
            } else {
#pragma unroll
                for (int lane = 0; lane < VECTOR; ++lane)
                    staged[load][lane] = 0;
            }
        }
        table += steps / VECTOR;
        read_ahead();
    }
    __device__ __forceinline__ void next()
    {
#pragma unroll
        for (int load = 0; load < LOADS; ++load)
            load_lanes(cells + (window[load] + offset), staged[load]);
        read_ahead();
    }
    // Transposes the tile, one element at a time. The padding of its rows keeps the 32 elements that a warp
    // writes together in 32 banks: see MatrixLoader::store.
    __device__ __forceinline__ void store(real* tile) const
    {
#pragma unroll
        for (int load = 0; load < LOADS; ++load)
#pragma unroll
            for (int lane = 0; lane < VECTOR; ++lane)
                tile[(vector() * VECTOR + lane) * Tile::STRIDE_N + column(load)] = staged[load][lane];
    }
    __device__ __forceinline__ void read_ahead()
    {
        offset = *table;
        table += VECTORS;
    }
};

// Reads the windows of packed images with the positions along the depth: a thread has one vector of channels
// of one tap, and in each tile one position, or some.
template <typename Tile>
struct PositionLoader {
    static constexpr int VECTORS = Tile::BLOCK_N / VECTOR;
    static constexpr int ROWS_A_LOAD = Tile::THREADS / VECTORS;
    static constexpr int LOADS = Tile::DEPTH / ROWS_A_LOAD;

    const real* cells;  // of this thread's tap and channels
    const int* table;
    int offset[LOADS];
    real staged[LOADS][VECTOR];

    __device__ __forceinline__ PositionLoader(const real* cells, const int* offsets)
        : cells(cells), table(offsets + step(0))
    {
    }

    static __device__ __forceinline__ int column() { return threadIdx.x % VECTORS * VECTOR; }
    static __device__ __forceinline__ int step(int load)
    {
        return threadIdx.x / VECTORS + load * ROWS_A_LOAD;
    }

    __device__ __forceinline__ void first(int steps)
    {
#pragma unroll
        for (int load = 0; load < LOADS; ++load) {
            if (step(load) < steps) {
                load_lanes(cells + table[load * ROWS_A_LOAD], staged[load]);
            } else {
#pragma unroll
                for (int lane = 0; lane < VECTOR; ++lane)
                    staged[load][lane] = 0;
            }
        }
        table += steps;
        read_ahead();
    }
    __device__ __forceinline__ void next()
    {
#pragma unroll
        for (int load = 0; load < LOADS; ++load)
            load_lanes(cells + offset[load], staged[load]);
        read_ahead();
    }
    __device__ __forceinline__ void store(real* tile) const
    {
#pragma unroll
        for (int load = 0; load < LOADS; ++load)
            store_lanes(tile + step(load) * Tile::STRIDE_N + column(), staged[load]);
    }
    __device__ __forceinline__ void read_ahead()
    {
#pragma unroll
        for (int load = 0; load < LOADS; ++load)
            offset[load] = table[load * ROWS_A_LOAD];
        table += Tile::DEPTH;
    }
};

// result (images, groups * rows, plane) = weights @ windows + bias, in each image at the cells
// first + p * result_row + q * result_column for positions_high x positions_wide positions (p, q).
//
// weights      packed, (groups, depth, packed_rows)
// cells        packed images, image_size elements each; the window at (p, q) begins at
//              p * row_step + q * column_step
// offsets      of each vector of the depth from the window's start, and VECTORS more entries
//
// grid: x over tiles of columns (images * positions), y over tiles of rows, z over the groups
template <typename Tile>
__device__ __forceinline__ void convolve(
    const real* weights, const real* cells, const int* offsets, const real* bias, real* result, int has_bias,
    int rows, int packed_rows, int depth, int images, int positions_high, int positions_wide, int image_size,
    int row_step, int column_step, int plane, int first, int result_row, int result_column)
{
    __shared__ SharedTiles<Tile, 2> shared;
    real sums[Tile::THREAD_M][Tile::THREAD_N];
    const int row_begin = blockIdx.y * Tile::BLOCK_M, column_begin = blockIdx.x * Tile::BLOCK_N;
    const int group = blockIdx.z;
    const int positions = positions_high * positions_wide;

    LoaderA<Tile, false, VECTOR> a(weights, packed_rows, row_begin, packed_rows, group * depth);
    WindowLoader<Tile> b(cells, offsets);
#pragma unroll
    for (int load = 0; load < WindowLoader<Tile>::LOADS; ++load) {
        const int column = min(column_begin + WindowLoader<Tile>::column(load), images * positions - 1);
        const int position = column % positions;
        b.window[load] = (group * images + column / positions) * image_size
            + position / positions_wide * row_step + position % positions_wide * column_step;
    }
    matrix_product<Tile>(a, b, depth, shared, sums);

    const int column = column_begin + threadIdx.x % Tile::BLOCK_N;
    const int position = column % positions;
    const int image = column / positions;
    real* first_row = result + (image * (int)gridDim.z * rows + group * rows) * plane + first
        + position / positions_wide * result_row + position % positions_wide * result_column;
    const ColumnOutput output = {
        image < images ? first_row : nullptr, has_bias ? bias + group * rows : nullptr, row_begin, rows,
        plane};
    store_by_columns<Tile>(sums, shared, output);
}

// parts (splits, groups, rows, columns): part s is g @ windows over the positions from s * split_depth on.
//
// g            packed, (groups, depth, packed_rows), with depth = images * positions
// cells        packed images, group_size elements for each group
// offsets      of each position's window from the first, and DEPTH more entries
// columns      (i, j, c) with packed_channels channels; tap (i, j) lies at i * row_step + j * column_step
//
// grid: x over tiles of columns, y over tiles of rows, z over splits * groups
template <typename Tile>
__device__ __forceinline__ void gradient_parts(
    const real* g, const real* cells, const int* offsets, real* parts, int groups, int rows, int packed_rows,
    int depth, int split_depth, int columns, int packed_channels, int kernel_width, int group_size, int
    row_step, int column_step)
{
    __shared__ SharedTiles<Tile, 2> shared;
    real sums[Tile::THREAD_M][Tile::THREAD_N];
    const int row_begin = blockIdx.y * Tile::BLOCK_M, column_begin = blockIdx.x * Tile::BLOCK_N;
    const int group = blockIdx.z % groups;
    const int k = blockIdx.z / groups * split_depth;

    LoaderA<Tile, false, VECTOR> a(g + group * depth * packed_rows, packed_rows, row_begin, packed_rows, k);
    const int column = min(column_begin + PositionLoader<Tile>::column(), columns - VECTOR);
    const int tap = column / packed_channels;
    PositionLoader<Tile> b(
        cells + group * group_size + tap / kernel_width * row_step + tap % kernel_width * column_step
            + column % packed_channels,
        offsets + k);
    matrix_product<Tile>(a, b, min(split_depth, depth - k), shared, sums);
    const MatrixOutput<VECTOR> output = {
        parts + blockIdx.z * rows * columns, nullptr, rows, columns, row_begin, column_begin};
    store_results<Tile>(sums, output);
}

// gw (O, C/groups, taps) = the sum of the parts (splits, O, taps, packed_channels), in their order.
// A block transposes 32 channels and up to 32 taps, as pack_weights does.
//
// grid: x over the channels and y over the taps, 32 at a time, z over the outputs (y and z in strides)
extern "C" __global__ void __launch_bounds__(256) add_parts(
    const real* __restrict__ parts, real* __restrict__ gw, int splits, int outputs, int channels,
    int packed_channels, int taps)
{
    constexpr int CHANNELS = 32;
    __shared__ real turned[CHANNELS * (CHANNELS + 1)];
    const int part_size = outputs * taps * packed_channels;
    const int first = blockIdx.x * CHANNELS;
    const int lane = threadIdx.x % CHANNELS;
    for (int output = blockIdx.z; output < outputs; output += gridDim.z) {
        for (int begin = blockIdx.y * CHANNELS; begin < taps; begin += gridDim.y * CHANNELS) {
            const int here = min(CHANNELS, taps - begin);
            const int distance = here | 1;
            for (int tap = threadIdx.x / CHANNELS; tap < here; tap += blockDim.x / CHANNELS) {
                if (first + lane < channels) {
                    const int from = (output * taps + begin + tap) * packed_channels + first + lane;
                    real sum = parts[from];
                    for (int split = 1; split < splits; ++split)
                        sum += parts[split * part_size + from];
                    turned[lane * distance + tap] = sum;
                }
            }
            __syncthreads();
            for (int i = threadIdx.x; i < CHANNELS * here; i += blockDim.x) {
                const int channel = i / here, tap = i % here;
                const int to = (output * channels + first + channel) * taps + begin + tap;
                if (first + channel < channels)
                    gw[to] = turned[channel * distance + tap];
            }
            __syncthreads();
        }
    }
}

extern "C" __global__ void __launch_bounds__(256, LARGE_BLOCKS) convolve_large(
    const real* __restrict__ weights, const real* __restrict__ cells, const int* __restrict__ offsets, const
    real* __restrict__ bias, real* __restrict__ result, int has_bias, int rows, int packed_rows, int depth,
    int images, int positions_high, int positions_wide, int image_size, int row_step, int column_step, int
    plane, int first, int result_row, int result_column)
{
    convolve<LargeTile>(
        weights, cells, offsets, bias, result, has_bias, rows, packed_rows, depth, images, positions_high,
        positions_wide, image_size, row_step, column_step, plane, first, result_row, result_column);
}

extern "C" __global__ void __launch_bounds__(256, LARGE_BLOCKS) gradient_parts_large(
    const real* __restrict__ g, const real* __restrict__ cells, const int* __restrict__ offsets, real*
    __restrict__ parts, int groups, int rows, int packed_rows, int depth, int split_depth, int columns, int
    packed_channels, int kernel_width, int group_size, int row_step, int column_step)
{
    gradient_parts<LargeTile>(
        g, cells, offsets, parts, groups, rows, packed_rows, depth, split_depth, columns, packed_channels,
        kernel_width, group_size, row_step, column_step);
}

extern "C" __global__ void __launch_bounds__(128, SMALL_BLOCKS) convolve_small(
    const real* __restrict__ weights, const real* __restrict__ cells, const int* __restrict__ offsets, const
    real* __restrict__ bias, real* __restrict__ result, int has_bias, int rows, int packed_rows, int depth,
    int images, int positions_high, int positions_wide, int image_size, int row_step, int column_step, int
    plane, int first, int result_row, int result_column)
{
    convolve<SmallTile>(
        weights, cells, offsets, bias, result, has_bias, rows, packed_rows, depth, images, positions_high,
        positions_wide, image_size, row_step, column_step, plane, first, result_row, result_column);
}

extern "C" __global__ void __launch_bounds__(128, SMALL_BLOCKS) gradient_parts_small(
    const real* __restrict__ g, const real* __restrict__ cells, const int* __restrict__ offsets, real*
    __restrict__ parts, int groups, int rows, int packed_rows, int depth, int split_depth, int columns, int
    packed_channels, int kernel_width, int group_size, int row_step, int column_step)
{
    gradient_parts<SmallTile>(
        g, cells, offsets, parts, groups, rows, packed_rows, depth, split_depth, columns, packed_channels,
        kernel_width, group_size, row_step, column_step);
}
