/*
Sums and maxima along the middle axis of x (outer, length, inner).

    y[o, p, i] = sum (or maximum) of x[o, j, i] over the positions j of piece p

A line x[o, :, i] is cut into pieces of `piece` positions, the last of them perhaps shorter; y is (outer,
pieces, inner). With one piece per line that is the result. A few long lines, such as a
whole array to be summed, would leave most of the GPU idle: they are cut into many pieces, and a second launch
sums their sums. The pieces depend only on the shape, and no atomic operation is used: the bits are the same
in every run.

Several axes are reduced by several launches, the innermost first, which reads the whole array. The gradient
of a convolution's bias, the sum of (N, C, H, W) over N, H and W, is

    sum_rows       (N * C, H * W, 1) -> (N * C, 1, 1)    the threads of a row of the block share a line
    sum_columns    (1, N, C)         -> (1, 1, C)        those of a column share a line, its neighbours theirs

Both compute the same for any shape. Which of them reads neighbouring addresses depends on `inner`.
*/

#include "real.cuh"
#include "reduce.cuh"

struct Piece {
    const real* start;
    int length;
};

// The piece that result `line` is computed from.
__device__ Piece piece_of(const real* x, int line, int length, int inner, int piece)
{
    int pieces = (length + piece - 1) / piece;
    int begin = line / inner % pieces * piece;
    return {x + (line / inner / pieces * length + begin) * inner + line % inner, min(piece, length - begin)};
}

template <class Threads>
__device__ void sum_pieces(const real* x, real* y, int results, int length, int inner, int piece)
{
    int line = min(Threads::line(), results - 1);
    Piece of = piece_of(x, line, length, inner, piece);
    real sum = line_sum<Threads>(of.length, [=](int i) { return of.start[i * inner]; });
    if (Threads::first() == 0 && Threads::line() < results)
        y[line] = sum;
}

template <class Threads>
__device__ void amax_pieces(const real* x, real* y, int results, int length, int inner, int piece)
{
    int line = min(Threads::line(), results - 1);
    Piece of = piece_of(x, line, length, inner, piece);
    real top = line_maximum<Threads>(of.length, [=](int i) { return of.start[i * inner]; });
    if (Threads::first() == 0 && Threads::line() < results)
        y[line] = top;
}

extern "C" __global__ void __launch_bounds__(256)
sum_rows(const real* __restrict__ x, real* __restrict__ y, int results, int length, int inner, int piece)
{
    sum_pieces<RowThreads>(x, y, results, length, inner, piece);
}

extern "C" __global__ void __launch_bounds__(256)
sum_columns(const real* __restrict__ x, real* __restrict__ y, int results, int length, int inner, int piece)
{
    sum_pieces<ColumnThreads>(x, y, results, length, inner, piece);
}

extern "C" __global__ void __launch_bounds__(256)
amax_rows(const real* __restrict__ x, real* __restrict__ y, int results, int length, int inner, int piece)
{
    amax_pieces<RowThreads>(x, y, results, length, inner, piece);
}

extern "C" __global__ void __launch_bounds__(256)
amax_columns(const real* __restrict__ x, real* __restrict__ y, int results, int length, int inner, int piece)
{
    amax_pieces<ColumnThreads>(x, y, results, length, inner, piece);
}
