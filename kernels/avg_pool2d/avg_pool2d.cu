/*
Average pooling and its gradient.

    y[n, c, p, q] = (sum of the window's cells inside the image) / divisor[p, q]

The divisor is the number of the window's cells that count: those inside the image and, if the padding
counts, inside the padding. The cells that count are a rectangle, rows counted_top to counted_bottom - 1 and
columns counted_left to counted_right - 1, so the divisor is a height times a width.

Images are (N, C, H, W), results (N, C, P, Q), both C-contiguous. Each result, in either direction, has one
thread, and neighbouring threads have neighbouring columns. The gradient is a gather: a cell sums what the
windows that hold it send back, and no two threads add to the same cell. Row h lies in the windows p with
p * stride <= h + top < p * stride + kernel. A kernel of its own divides what a window sends back, once
rather than for each of its cells: a division is some ten instructions.
*/

#include "real.cuh"

static __device__ int cells_that_count(int start, int kernel, int first, int end)
{
    return min(start + kernel, end) - max(start, first);
}

extern "C" __global__ void __launch_bounds__(256)
avg_pool2d_forward(
    const real* __restrict__ x, real* __restrict__ y,
    int results, int height, int width, int out_height, int out_width,
    int kernel_height, int kernel_width, int stride_down, int stride_across, int top, int left,
    int counted_top, int counted_bottom, int counted_left, int counted_right)
{
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < results; i += gridDim.x * blockDim.x) {
        int first_row = i / out_width % out_height * stride_down - top;
        int first_column = i % out_width * stride_across - left;
        const real* plane = x + i / (out_height * out_width) * (height * width);

        real sum = 0;
        for (int row = max(first_row, 0); row < min(first_row + kernel_height, height); ++row)
            for (int column = max(first_column, 0); column < min(first_column + kernel_width, width); ++column)
                sum += plane[row * width + column];

        int down = cells_that_count(first_row, kernel_height, counted_top, counted_bottom);
        int across = cells_that_count(first_column, kernel_width, counted_left, counted_right);
        y[i] = sum / ((real)down * (real)across);
    }
}

// The first half of the gradient: what each window sends back to each of its cells, g / divisor.
extern "C" __global__ void __launch_bounds__(256)
avg_pool2d_shares(
    const real* __restrict__ g, real* __restrict__ shares, int results, int out_height, int out_width,
    int kernel_height, int kernel_width, int stride_down, int stride_across, int top, int left,
    int counted_top, int counted_bottom, int counted_left, int counted_right)
{
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < results; i += gridDim.x * blockDim.x) {
        int first_row = i / out_width % out_height * stride_down - top;
        int first_column = i % out_width * stride_across - left;
        int down = cells_that_count(first_row, kernel_height, counted_top, counted_bottom);
        int across = cells_that_count(first_column, kernel_width, counted_left, counted_right);
        shares[i] = g[i] / ((real)down * (real)across);
    }
}

// The second half: the shares of all windows that hold a cell.
extern "C" __global__ void __launch_bounds__(256)
avg_pool2d_input_grad(
    const real* __restrict__ shares, real* __restrict__ gx,
    int size, int height, int width, int out_height, int out_width,
    int kernel_height, int kernel_width, int stride_down, int stride_across, int top, int left)
{
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < size; i += gridDim.x * blockDim.x) {
        // Counted from the first cell of the padding, so that no quotient is negative.
        int row = i / width % height + top;
        int column = i % width + left;
        const real* plane = shares + i / (height * width) * (out_height * out_width);

        int first_p = row < kernel_height ? 0 : (row - kernel_height) / stride_down + 1;
        int first_q = column < kernel_width ? 0 : (column - kernel_width) / stride_across + 1;
        int last_p = min(row / stride_down, out_height - 1);
        int last_q = min(column / stride_across, out_width - 1);
        real sum = 0;
        for (int p = first_p; p <= last_p; ++p)
            for (int q = first_q; q <= last_q; ++q)
                sum += plane[p * out_width + q];
        gx[i] = sum;
    }
}
