// Convolution by definition, in three directions: one thread per result. The first rung of the ladder.
//
//     x (N, C, H, W), weight (O, C/groups, KH, KW), bias (O,), y (N, O, P, Q)
//
// A thread sums the products of its result, a row of the left matrix by a column of the right one, as
// convolution.cuh defines them. Neighbouring threads have neighbouring columns: in forward and in the input
// gradient the stores are coalesced, and at stride 1 so are the reads of the image; all threads of a warp read
// the same weight.
//
// Every product costs two loads from global memory and some divisions for the indices, and what one thread
// has read its neighbours read again: the arithmetic waits. The next rungs mend that.
//
//     im2col.cu          the image's windows as a matrix, and a tiled matrix product
//     implicit_gemm.cu   the tiled product without that matrix: shared memory, then registers
//     packed_gemm.cu     operands in an order that 16-byte loads can read, and no divisions in the loop

#include "convolution.cuh"

// grid: x over the columns, y over the rows of the group's product, z over the groups
template <typename Product>
__device__ __forceinline__ void one_result(const Product& product, const real* bias, real* result)
{
    const int column = blockIdx.x * blockDim.x + threadIdx.x;
    const int row = blockIdx.y;
    if (column >= product.columns())
        return;
    const typename Product::Place place = product.place(column);
    real sum = bias ? bias[product.group * product.rows() + row] : (real)0;
    for (int k = 0; k < product.depth(); ++k)
        sum += product.left(row, k) * product.right(k, place);
    result[product.at(row, place)] = sum;
}

extern "C" __global__ void __launch_bounds__(256) naive_forward(
    const real* __restrict__ x, const real* __restrict__ weight, const real* __restrict__ bias, real*
    __restrict__ y, int has_bias, int images, int channels, int height, int width, int outputs, int rows, int
    columns, int kernel_height, int kernel_width, int stride_height, int stride_width, int dilation_height,
    int dilation_width, int top, int left, int groups)
{
    const Convolution conv = {
        images, channels, height, width, outputs, rows, columns, kernel_height, kernel_width, stride_height,
        stride_width, dilation_height, dilation_width, top, left, groups};
    one_result(Forward{conv, weight, x, (int)blockIdx.z}, has_bias ? bias : nullptr, y);
}

extern "C" __global__ void __launch_bounds__(256) naive_input_grad(
    const real* __restrict__ g, const real* __restrict__ weight, real* __restrict__ gx, int images,
    int channels, int height, int width, int outputs, int rows, int columns, int kernel_height,
    int kernel_width, int stride_height, int stride_width, int dilation_height, int dilation_width, int top,
    int left, int groups)
{
    const Convolution conv = {
        images, channels, height, width, outputs, rows, columns, kernel_height, kernel_width, stride_height,
        stride_width, dilation_height, dilation_width, top, left, groups};
    one_result(InputGradient{conv, weight, g, (int)blockIdx.z}, nullptr, gx);
}

extern "C" __global__ void __launch_bounds__(256) naive_weight_grad(
    const real* __restrict__ g, const real* __restrict__ x, real* __restrict__ gw, int images, int channels,
    int height, int width, int outputs, int rows, int columns, int kernel_height, int kernel_width,
    int stride_height, int stride_width, int dilation_height, int dilation_width, int top, int left,
    int groups)
{
    const Convolution conv = {
        images, channels, height, width, outputs, rows, columns, kernel_height, kernel_width, stride_height,
        stride_width, dilation_height, dilation_width, top, left, groups};
    one_result(WeightGradient{conv, g, x, (int)blockIdx.z}, nullptr, gw);
}
