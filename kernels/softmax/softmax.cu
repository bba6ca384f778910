/*
Softmax and its logarithm along the middle axis of x (outer, length, inner), and their gradients.

    softmax:      y[i] = exp(x[i] - top) / sum of exp(x[j] - top), top = max(x)     gx = y * (g - sum(g * y))
    log_softmax:  y[i] = x[i] - top - log(sum of exp(x[j] - top))                   gx = g - exp(y) * sum(g)

A line x[o, :, i] is shared by several threads (reduce.cuh). They read it once for its maximum, once for its
sum, and once to write the result; a line is short, and after the first time it comes from the cache. That costs
two exponentials an element, and saves storing and loading the first.

Each function has a kernel for rows, the usual softmax along the last axis, and one for columns, along any
other. Both compute the same for any shape; they differ in which addresses neighbouring threads read.

The launch bounds ask for 4 resident blocks per multiprocessor, which leaves a thread 64 registers. Left to
itself, the compiler aims for more blocks on sm_90, and spills some of what exp needs in float64.
*/

#include "real.cuh"
#include "reduce.cuh"

// The position in memory of a line's first element.
__device__ int start_of(int line, int length, int inner)
{
    return line / inner * length * inner + line % inner;
}

template <class Threads>
__device__ void softmax_forward(const real* x, real* y, int lines, int length, int inner)
{
    int start = start_of(min(Threads::line(), lines - 1), length, inner);
    const real* from = x + start;
    real top = line_maximum<Threads>(length, [=](int i) { return from[i * inner]; });
    real sum = line_sum<Threads>(length, [=](int i) { return exp(from[i * inner] - top); });
    if (Threads::line() < lines)
        for (int i = Threads::first(); i < length; i += Threads::count())
            y[start + i * inner] = exp(from[i * inner] - top) / sum;
}

template <class Threads>
__device__ void softmax_backward(const real* g, const real* y, real* gx, int lines, int length, int inner)
{
    int start = start_of(min(Threads::line(), lines - 1), length, inner);
    real sum = line_sum<Threads>(length, [=](int i) { return g[start + i * inner] * y[start + i * inner]; });
    if (Threads::line() < lines)
        for (int i = Threads::first(); i < length; i += Threads::count())
            gx[start + i * inner] = y[start + i * inner] * (g[start + i * inner] - sum);
}

template <class Threads>
__device__ void log_softmax_forward(const real* x, real* y, int lines, int length, int inner)
{
    int start = start_of(min(Threads::line(), lines - 1), length, inner);
    const real* from = x + start;
    real top = line_maximum<Threads>(length, [=](int i) { return from[i * inner]; });
    real sum = line_sum<Threads>(length, [=](int i) { return exp(from[i * inner] - top); });
    real log_sum = log(sum);
    if (Threads::line() < lines)
        for (int i = Threads::first(); i < length; i += Threads::count())
            y[start + i * inner] = (from[i * inner] - top) - log_sum;
}

template <class Threads>
__device__ void log_softmax_backward(const real* g, const real* y, real* gx, int lines, int length, int inner)
{
    int start = start_of(min(Threads::line(), lines - 1), length, inner);
    real sum = line_sum<Threads>(length, [=](int i) { return g[start + i * inner]; });
    if (Threads::line() < lines)
        for (int i = Threads::first(); i < length; i += Threads::count())
            gx[start + i * inner] = g[start + i * inner] - exp(y[start + i * inner]) * sum;
}

extern "C" __global__ void __launch_bounds__(256, 4)
softmax_forward_rows(const real* __restrict__ x, real* __restrict__ y, int lines, int length, int inner)
{
    softmax_forward<RowThreads>(x, y, lines, length, inner);
}

extern "C" __global__ void __launch_bounds__(256, 4)
softmax_forward_columns(const real* __restrict__ x, real* __restrict__ y, int lines, int length, int inner)
{
    softmax_forward<ColumnThreads>(x, y, lines, length, inner);
}

extern "C" __global__ void __launch_bounds__(256, 4)
softmax_backward_rows(
    const real* __restrict__ g, const real* __restrict__ y, real* __restrict__ gx,
    int lines, int length, int inner)
{
    softmax_backward<RowThreads>(g, y, gx, lines, length, inner);
}

extern "C" __global__ void __launch_bounds__(256, 4)
softmax_backward_columns(
    const real* __restrict__ g, const real* __restrict__ y, real* __restrict__ gx,
    int lines, int length, int inner)
{
    softmax_backward<ColumnThreads>(g, y, gx, lines, length, inner);
}

extern "C" __global__ void __launch_bounds__(256, 4)
log_softmax_forward_rows(const real* __restrict__ x, real* __restrict__ y, int lines, int length, int inner)
{
    log_softmax_forward<RowThreads>(x, y, lines, length, inner);
}

extern "C" __global__ void __launch_bounds__(256, 4)
log_softmax_forward_columns(
    const real* __restrict__ x, real* __restrict__ y, int lines, int length, int inner)
{
    log_softmax_forward<ColumnThreads>(x, y, lines, length, inner);
}

extern "C" __global__ void __launch_bounds__(256, 4)
log_softmax_backward_rows(
    const real* __restrict__ g, const real* __restrict__ y, real* __restrict__ gx,
    int lines, int length, int inner)
{
    log_softmax_backward<RowThreads>(g, y, gx, lines, length, inner);
}

extern "C" __global__ void __launch_bounds__(256, 4)
log_softmax_backward_columns(
    const real* __restrict__ g, const real* __restrict__ y, real* __restrict__ gx,
    int lines, int length, int inner)
{
    log_softmax_backward<ColumnThreads>(g, y, gx, lines, length, inner);
}
