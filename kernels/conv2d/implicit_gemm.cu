// Implicit gemm: convolution as a tiled product whose right matrix, the windows of the image, is
// never in memory. Each element is fetched from the image when its tile is loaded (Chetlur et
// al. 2014, "cuDNN: Efficient Primitives for Deep Learning"). convolution.cuh has the three directions as
// products of functions; the two rungs here are templates over those.
//
//   implicit_shared      One thread per result, as in naive.cu, but 16 x 16 threads load a tile of each
//                        operand into shared memory, and each element is used 16 times. Global loads fall to
//                        a sixteenth, and with them the divisions of the index arithmetic. What remains: two
//                        reads of shared memory for each multiply-add.
//
//   implicit_registers   A thread has 8 x 4 results in registers: for 32 multiply-adds it reads 12 values
//                        from shared memory, with three 16-byte loads in float. A block computes 64 x 64
//                        results, so that each element is used 64 times; the loads of the next tile are in
//                        flight while this one is multiplied. What remains: 4-byte loads, each with the
//                        divisions that find its cell, in the loop; and a weight gradient whose long sum,
//                        over all positions of all images, is done by one block.
//
// packed_gemm.cu is the next rung.
//
// grid: x over tiles of columns, y over tiles of rows of the group's product, z over the groups

#include "convolution.cuh"
#include "matrix_product.cuh"

constexpr int SIDE = 16;

template <typename Product>
__device__ __forceinline__ void multiply_in_shared_memory(
    const Product& product, const real* bias, real* result)
{
    __shared__ real left[SIDE][SIDE], right[SIDE][SIDE];
    const int x = threadIdx.x, y = threadIdx.y;
    const int column = blockIdx.x * SIDE + x, row = blockIdx.y * SIDE + y;
    const bool in_rows = row < product.rows(), in_columns = column < product.columns();
    const int depth = product.depth();
    const typename Product::Place place = product.place(column);
    real sum = bias && in_rows ? bias[product.group * product.rows() + row] : (real)0;
    for (int first = 0; first < depth; first += SIDE) {
        left[y][x] = in_rows && first + x < depth ? product.left(row, first + x) : (real)0;
        right[y][x] = in_columns && first + y < depth ? product.right(first + y, place) : (real)0;
        __syncthreads();
#pragma unroll
        for (int k = 0; k < SIDE; ++k)
            sum += left[y][k] * right[k][x];
        __syncthreads();
    }
    if (in_rows && in_columns)
        result[product.at(row, place)] = sum;
}

// Fetches a tile of the left matrix: neighbouring threads have neighbouring k.
template <typename Product, typename Tile>
struct LeftElements {
    static constexpr int LOADS = Tile::BLOCK_M * Tile::DEPTH / Tile::THREADS;

    const Product& product;
    int begin, k;
    real staged[LOADS];

    __device__ __forceinline__ LeftElements(const Product& product, int begin)
        : product(product), begin(begin), k(0)
    {
    }

    static __device__ __forceinline__ int row(int load)
    {
        return threadIdx.x / Tile::DEPTH + load * (Tile::THREADS / Tile::DEPTH);
    }
    static __device__ __forceinline__ int step() { return threadIdx.x % Tile::DEPTH; }

    __device__ __forceinline__ void first(int steps)
    {
#pragma unroll
        for (int load = 0; load < LOADS; ++load)
            staged[load] = step() < steps ? element(load) : (real)0;
        k += steps;
    }
    __device__ __forceinline__ void next()
    {
#pragma unroll
        for (int load = 0; load < LOADS; ++load)
            staged[load] = element(load);
        k += Tile::DEPTH;
    }
    __device__ __forceinline__ void store(real* tile) const
    {
#pragma unroll
        for (int load = 0; load < LOADS; ++load)
            tile[step() * Tile::STRIDE_M + row(load)] = staged[load];
    }
    __device__ __forceinline__ real element(int load) const
    {
        return product.left(min(begin + row(load), product.rows() - 1), k + step());
    }
};

// Fetches a tile of the right matrix: neighbouring threads have neighbouring columns, and each has one.
template <typename Product, typename Tile>
struct RightElements {
    static constexpr int LOADS = Tile::BLOCK_N * Tile::DEPTH / Tile::THREADS;

    static_assert(Tile::THREADS % Tile::BLOCK_N == 0, "each thread must have one column");

    const Product& product;
    typename Product::Place place;
    int k;
    real staged[LOADS];

    __device__ __forceinline__ RightElements(const Product& product, int begin)
        : product(product), place(product.place(min(begin + column(), product.columns() - 1))), k(0)
    {
    }

    static __device__ __forceinline__ int column() { return threadIdx.x % Tile::BLOCK_N; }
    static __device__ __forceinline__ int step(int load)
    {
        return threadIdx.x / Tile::BLOCK_N + load * (Tile::THREADS / Tile::BLOCK_N);
    }

    __device__ __forceinline__ void first(int steps)
    {
#pragma unroll
        for (int load = 0; load < LOADS; ++load)
            staged[load] = step(load) < steps ? product.right(k + step(load), place) : (real)0;
        k += steps;
    }
    __device__ __forceinline__ void next()
    {
#pragma unroll
        for (int load = 0; load < LOADS; ++load)
            staged[load] = product.right(k + step(load), place);
        k += Tile::DEPTH;
    }
    __device__ __forceinline__ void store(real* tile) const
    {
#pragma unroll
        for (int load = 0; load < LOADS; ++load)
            tile[step(load) * Tile::STRIDE_N + column()] = staged[load];
    }
};

template <typename Product>
struct ElementOutput {
    const Product& product;
    const real* bias;
    real* result;
    int row_begin, column_begin;

    __device__ __forceinline__ void operator()(int row, int column, const real (&values)[VECTOR]) const
    {
        row += row_begin;
        if (row >= product.rows())
            return;
        const real start = bias ? bias[product.group * product.rows() + row] : (real)0;
#pragma unroll
        for (int lane = 0; lane < VECTOR; ++lane)
            if (column_begin + column + lane < product.columns())
                result[product.at(row, product.place(column_begin + column + lane))] = values[lane] + start;
    }
};

template <typename Product>
__device__ __forceinline__ void multiply_in_registers(const Product& product, const real* bias, real* result)
{
    using Tile = SmallTile;
    __shared__ SharedTiles<Tile, 2> shared;
    real sums[Tile::THREAD_M][Tile::THREAD_N];
    const int row_begin = blockIdx.y * Tile::BLOCK_M, column_begin = blockIdx.x * Tile::BLOCK_N;
    LeftElements<Product, Tile> left(product, row_begin);
    RightElements<Product, Tile> right(product, column_begin);
    matrix_product<Tile, 1>(left, right, product.depth(), shared, sums);
    store_results<Tile>(sums, ElementOutput<Product>{product, bias, result, row_begin, column_begin});
}

extern "C" __global__ void __launch_bounds__(256) implicit_shared_forward(
    const real* __restrict__ x, const real* __restrict__ weight, const real* __restrict__ bias, real*
    __restrict__ y, int has_bias, int images, int channels, int height, int width, int outputs, int rows,
    int columns, int kernel_height, int kernel_width, int stride_height, int stride_width, int
    dilation_height, int dilation_width, int top, int left, int groups)
{
    const Convolution conv = {
        images, channels, height, width, outputs, rows, columns, kernel_height, kernel_width, stride_height,
        stride_width, dilation_height, dilation_width, top, left, groups};
    multiply_in_shared_memory(Forward{conv, weight, x, (int)blockIdx.z}, has_bias ? bias : nullptr, y);
}

extern "C" __global__ void __launch_bounds__(256) implicit_shared_input_grad(
    const real* __restrict__ g, const real* __restrict__ weight, real* __restrict__ gx, int images, int
    channels, int height, int width, int outputs, int rows, int columns, int kernel_height, int
    kernel_width, int stride_height, int stride_width, int dilation_height, int dilation_width, int top,
    int left, int groups)
{
    const Convolution conv = {
        images, channels, height, width, outputs, rows, columns, kernel_height, kernel_width, stride_height,
        stride_width, dilation_height, dilation_width, top, left, groups};
    multiply_in_shared_memory(InputGradient{conv, weight, g, (int)blockIdx.z}, nullptr, gx);
}

extern "C" __global__ void __launch_bounds__(256) implicit_shared_weight_grad(
    const real* __restrict__ g, const real* __restrict__ x, real* __restrict__ gw, int images, int
    channels, int height, int width, int outputs, int rows, int columns, int kernel_height, int
    kernel_width, int stride_height, int stride_width, int dilation_height, int dilation_width, int top,
    int left, int groups)
{
    const Convolution conv = {
        images, channels, height, width, outputs, rows, columns, kernel_height, kernel_width, stride_height,
        stride_width, dilation_height, dilation_width, top, left, groups};
    multiply_in_shared_memory(WeightGradient{conv, g, x, (int)blockIdx.z}, nullptr, gw);
}

extern "C" __global__ void __launch_bounds__(128, SMALL_BLOCKS) implicit_registers_forward(
    const real* __restrict__ x, const real* __restrict__ weight, const real* __restrict__ bias, real*
    __restrict__ y, int has_bias, int images, int channels, int height, int width, int outputs, int rows,
    int columns, int kernel_height, int kernel_width, int stride_height, int stride_width, int
    dilation_height, int dilation_width, int top, int left, int groups)
{
    const Convolution conv = {
        images, channels, height, width, outputs, rows, columns, kernel_height, kernel_width, stride_height,
        stride_width, dilation_height, dilation_width, top, left, groups};
    multiply_in_registers(Forward{conv, weight, x, (int)blockIdx.z}, has_bias ? bias : nullptr, y);
}

extern "C" __global__ void __launch_bounds__(128, SMALL_BLOCKS) implicit_registers_input_grad(
    const real* __restrict__ g, const real* __restrict__ weight, real* __restrict__ gx, int images, int
    channels, int height, int width, int outputs, int rows, int columns, int kernel_height, int
    kernel_width, int stride_height, int stride_width, int dilation_height, int dilation_width, int top,
    int left, int groups)
{
    const Convolution conv = {
        images, channels, height, width, outputs, rows, columns, kernel_height, kernel_width, stride_height,
        stride_width, dilation_height, dilation_width, top, left, groups};
    multiply_in_registers(InputGradient{conv, weight, g, (int)blockIdx.z}, nullptr, gx);
}

extern "C" __global__ void __launch_bounds__(128, SMALL_BLOCKS) implicit_registers_weight_grad(
    const real* __restrict__ g, const real* __restrict__ x, real* __restrict__ gw, int images, int
    channels, int height, int width, int outputs, int rows, int columns, int kernel_height, int
    kernel_width, int stride_height, int stride_width, int dilation_height, int dilation_width, int top,
    int left, int groups)
{
    const Convolution conv = {
        images, channels, height, width, outputs, rows, columns, kernel_height, kernel_width, stride_height,
        stride_width, dilation_height, dilation_width, top, left, groups};
    multiply_in_registers(WeightGradient{conv, g, x, (int)blockIdx.z}, nullptr, gw);
}
