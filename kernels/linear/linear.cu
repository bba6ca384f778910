// The fully connected layer for many images: two of its three products, on tiles.
//
//     linear_forward       y (N, O) = x (N, I) @ weight.T + bias       both operands are contiguous along I
//     linear_weight_grad   gw (O, I) = g.T @ x, of g (N, O), x (N, I)  neither is contiguous along N
//
// The third, the input gradient g (N, O) @ weight (O, I), is the plain product of the operands as they are in
// memory: the kernels of matmul/5_double_buffered.cu. No operand is transposed in memory: the loaders of
// matrix_product.cuh read each as it is. What a thread and a block compute, and what blockIdx.z is for, is
// explained there and in 5_double_buffered.cu.

#include "matrix_product.cuh"

extern "C" __global__ void __launch_bounds__(256, LARGE_BLOCKS) linear_forward_large(
    const real* __restrict__ x, const real* __restrict__ weight, const real* __restrict__ bias,
    real* __restrict__ y, int images, int outputs, int inputs, int depth_a_part)
{
    __shared__ SharedTiles<LargeTile, 2> shared;
    multiply_matrices<LargeTile, true, true>(x, weight, bias, y, images, outputs, inputs, depth_a_part, shared);
}

extern "C" __global__ void __launch_bounds__(128, SMALL_BLOCKS) linear_forward_small(
    const real* __restrict__ x, const real* __restrict__ weight, const real* __restrict__ bias,
    real* __restrict__ y, int images, int outputs, int inputs, int depth_a_part)
{
    __shared__ SharedTiles<SmallTile, 2> shared;
    multiply_matrices<SmallTile, true, true>(x, weight, bias, y, images, outputs, inputs, depth_a_part, shared);
}

extern "C" __global__ void __launch_bounds__(256, LARGE_BLOCKS) linear_weight_grad_large(
    const real* __restrict__ g, const real* __restrict__ x, real* __restrict__ gw, int outputs, int inputs,
    int images, int depth_a_part)
{
    __shared__ SharedTiles<LargeTile, 2> shared;
    multiply_matrices<LargeTile, false, false>(g, x, nullptr, gw, outputs, inputs, images, depth_a_part, shared);
}

extern "C" __global__ void __launch_bounds__(128, SMALL_BLOCKS) linear_weight_grad_small(
    const real* __restrict__ g, const real* __restrict__ x, real* __restrict__ gw, int outputs, int inputs,
    int images, int depth_a_part)
{
    __shared__ SharedTiles<SmallTile, 2> shared;
    multiply_matrices<SmallTile, false, false>(g, x, nullptr, gw, outputs, inputs, images, depth_a_part, shared);
}
