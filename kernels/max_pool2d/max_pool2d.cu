/*
Max-pooling: the largest cell of each window, the cells that won, and the gradient.

    y[n, c, p, q] = max over i, j of x[n, c, p * sh - top + i * dh, q * sw - left + j * dw]

Images are (N, C, H, W), results (N, C, P, Q), both C-contiguous. The N * C planes are independent. An index is
the winner's place in its plane, row * W + column.

    max_pool2d_forward       one thread per result: neighbours in q read neighbouring windows, whose common
                             cells come from the cache
    max_pool2d_evaluate      the same without the cells that won
    max_pool2d_gather        one thread per result
    max_pool2d_winner_bounds, max_pool2d_scatter: the gradient, one thread per cell of the image

The gradient adds each g to the cell that won. With one thread per g that would be a scatter, in which
several threads add to one cell in an order that changes from run to run, and with it the last bits. Here each
cell looks for the positions that it won and sums them in order. It need not look at all P * Q of them:
the winners of the positions of one row p lie between two rows of the image, those of a column q between two
columns, and the cell can have won only where it lies between both. For the winners of a pooling those positions
are few more than the windows that hold the cell. For any other index, which the definition also allows, they may
be all of them, and the sum is still right.
*/

#include "real.cuh"

extern "C" __global__ void __launch_bounds__(256)
max_pool2d_forward(
    const real* __restrict__ x, real* __restrict__ y, int* __restrict__ index,
    int results, int height, int width, int out_height, int out_width,
    int kernel_height, int kernel_width, int stride_down, int stride_across,
    int top, int left, int dilation_down, int dilation_across)
{
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < results; i += gridDim.x * blockDim.x) {
        int q = i % out_width;
        int p = i / out_width % out_height;
        const real* plane = x + i / (out_height * out_width) * (height * width);

        real best = 0;
        int winner = -1;
        for (int a = 0; a < kernel_height; ++a) {
            int row = p * stride_down - top + a * dilation_down;
            if (row < 0 || row >= height) continue;
            for (int b = 0; b < kernel_width; ++b) {
                int column = q * stride_across - left + b * dilation_across;
                if (column < 0 || column >= width) continue;
                real value = plane[row * width + column];
                // NaN is not <= anything, so it wins; nothing wins against a NaN that has won.
                if (winner < 0 || (!(value <= best) && best == best)) {
                    best = value;
                    winner = row * width + column;
                }
            }
        }
        y[i] = best;
        index[i] = winner;
    }
}

extern "C" __global__ void __launch_bounds__(256)
max_pool2d_evaluate(
    const real* __restrict__ x, real* __restrict__ y,
    int results, int height, int width, int out_height, int out_width,
    int kernel_height, int kernel_width, int stride_down, int stride_across,
    int top, int left, int dilation_down, int dilation_across)
{
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < results; i += gridDim.x * blockDim.x) {
        int q = i % out_width;
        int p = i / out_width % out_height;
        const real* plane = x + i / (out_height * out_width) * (height * width);

        real best = 0;
        bool found = false;
        for (int a = 0; a < kernel_height; ++a) {
            int row = p * stride_down - top + a * dilation_down;
            if (row < 0 || row >= height) continue;
            for (int b = 0; b < kernel_width; ++b) {
                int column = q * stride_across - left + b * dilation_across;
                if (column < 0 || column >= width) continue;
                real value = plane[row * width + column];
                if (!found || (!(value <= best) && best == best)) best = value;
                found = true;
            }
        }
        y[i] = best;
    }
}

extern "C" __global__ void __launch_bounds__(256)
max_pool2d_gather(
    const real* __restrict__ x, const int* __restrict__ index, real* __restrict__ y,
    int results, int cells, int positions)
{
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < results; i += gridDim.x * blockDim.x)
        y[i] = x[i / positions * cells + index[i]];
}

// One thread per line of positions: for each plane first its P rows, then its Q columns. It finds the lowest
// and the highest row (or column) of the image among the line's winners; both are (planes, P + Q).
extern "C" __global__ void __launch_bounds__(256)
max_pool2d_winner_bounds(
    const int* __restrict__ index, int* __restrict__ lowest, int* __restrict__ highest,
    int lines, int width, int out_height, int out_width)
{
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < lines; i += gridDim.x * blockDim.x) {
        int line = i % (out_height + out_width);
        const int* winners = index + i / (out_height + out_width) * (out_height * out_width);

        bool is_row = line < out_height;
        int length = is_row ? out_width : out_height;
        int first = is_row ? line * out_width : line - out_height;
        int step = is_row ? 1 : out_width;
        int low = 0, high = 0;
        for (int j = 0; j < length; ++j) {
            int winner = winners[first + j * step];
            int place = is_row ? winner / width : winner % width;
            low = j == 0 || place < low ? place : low;
            high = j == 0 || place > high ? place : high;
        }
        lowest[i] = low;
        highest[i] = high;
    }
}

extern "C" __global__ void __launch_bounds__(256)
max_pool2d_scatter(
    const real* __restrict__ g, const int* __restrict__ index,
    const int* __restrict__ lowest, const int* __restrict__ highest, real* __restrict__ gx,
    int size, int height, int width, int out_height, int out_width)
{
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < size; i += gridDim.x * blockDim.x) {
        int plane = i / (height * width);
        int cell = i % (height * width);
        int row = cell / width;
        int column = cell % width;
        const int* low = lowest + plane * (out_height + out_width);
        const int* high = highest + plane * (out_height + out_width);

        int first_q = out_width, last_q = -1;
        for (int q = 0; q < out_width; ++q)
            if (low[out_height + q] <= column && column <= high[out_height + q]) {
                first_q = min(first_q, q);
                last_q = q;
            }
        real sum = 0;
        for (int p = 0; p < out_height; ++p)
            if (low[p] <= row && row <= high[p])
                for (int q = first_q; q <= last_q; ++q) {
                    int position = (plane * out_height + p) * out_width + q;
                    if (index[position] == cell) sum += g[position];
                }
        gx[i] = sum;
    }
}
