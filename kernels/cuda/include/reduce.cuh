// Sums and maxima along lines of an array, by several threads, in a fixed order.
//
// A line is what a reduction runs along: x[0], x[step], x[2 * step], ... The threads of a two-dimensional
// block share lines in one of two ways, and in both of them neighbouring threads read neighbouring addresses:
//
//     RowThreads       the threads with the same threadIdx.y share a line: for contiguous lines (step 1).
//                      blockDim.x is a power of two up to 32, or a multiple of 32.
//     ColumnThreads    the threads with the same threadIdx.x share a line: for lines that run side by side
//                      (step > 1). blockDim.y is a power of two.
//
// A block has at most 256 threads, a multiple of 32. Each thread first takes every count()-th element, which
// makes many short sums of a long one and so rounds less; then the threads combine theirs in pairs.
//
// Every thread of the block calls these functions, and each gets its line's result. A thread whose line is
// beyond the last one works on the last one instead, and does not write.

#include "real.cuh"

struct Sum {
    static __device__ real of(real a, real b) { return a + b; }
};

// A NaN wins, as in NumPy.
struct Maximum {
    static __device__ real of(real a, real b) { return a >= b || a != a ? a : b; }
};

// Over each group of `width` neighbouring threads of a warp, a power of two. In each step both threads of a
// pair compute the same number, because a + b and the maximum are commutative (except for the sign of a 0): all
// end with the same result.
template <class Operation>
__device__ real warp_reduce(real value, int width)
{
    for (int distance = width / 2; distance > 0; distance /= 2)
        value = Operation::of(value, __shfl_xor_sync(0xffffffffu, value, distance));
    return value;
}

// `scratch` holds a number for each warp of the block.
template <class Operation>
__device__ real row_reduce(real value, real* scratch)
{
    if (blockDim.x <= 32)
        return warp_reduce<Operation>(value, blockDim.x);
    value = warp_reduce<Operation>(value, 32);
    int warps = blockDim.x / 32;
    int first = threadIdx.y * warps;
    if (threadIdx.x % 32 == 0)
        scratch[first + threadIdx.x / 32] = value;
    __syncthreads();
    value = scratch[first];
    for (int warp = 1; warp < warps; ++warp)
        value = Operation::of(value, scratch[first + warp]);
    __syncthreads();  // the next reduction writes to scratch again
    return value;
}

// `scratch` holds a number for each thread of the block.
template <class Operation>
__device__ real column_reduce(real value, real* scratch)
{
    int place = threadIdx.y * blockDim.x + threadIdx.x;
    scratch[place] = value;
    for (int half = blockDim.y / 2; half > 0; half /= 2) {
        __syncthreads();
        if ((int)threadIdx.y < half)
            scratch[place] = Operation::of(scratch[place], scratch[place + half * blockDim.x]);
    }
    __syncthreads();
    value = scratch[threadIdx.x];
    __syncthreads();
    return value;
}

__device__ real row_sum(real value)
{
    __shared__ real scratch[8];
    return row_reduce<Sum>(value, scratch);
}

__device__ real row_maximum(real value)
{
    __shared__ real scratch[8];
    return row_reduce<Maximum>(value, scratch);
}

__device__ real column_sum(real value)
{
    __shared__ real scratch[256];
    return column_reduce<Sum>(value, scratch);
}

__device__ real column_maximum(real value)
{
    __shared__ real scratch[256];
    return column_reduce<Maximum>(value, scratch);
}

struct RowThreads {
    static __device__ int line() { return blockIdx.x * blockDim.y + threadIdx.y; }
    static __device__ int first() { return threadIdx.x; }
    static __device__ int count() { return blockDim.x; }
    static __device__ real sum(real value) { return row_sum(value); }
    static __device__ real maximum(real value) { return row_maximum(value); }
};

struct ColumnThreads {
    static __device__ int line() { return blockIdx.x * blockDim.x + threadIdx.x; }
    static __device__ int first() { return threadIdx.y; }
    static __device__ int count() { return blockDim.y; }
    static __device__ real sum(real value) { return column_sum(value); }
    static __device__ real maximum(real value) { return column_maximum(value); }
};

// element(i) is what is summed: a function of the position in the line.
template <class Threads, class Element>
__device__ real line_sum(int length, Element element)
{
    real sum = 0;
    for (int i = Threads::first(); i < length; i += Threads::count())
        sum += element(i);
    return Threads::sum(sum);
}

// The maximum of a line that is not empty. A thread without an element takes the last one.
template <class Threads, class Element>
__device__ real line_maximum(int length, Element element)
{
    real top = element(min(Threads::first(), length - 1));
    for (int i = Threads::first() + Threads::count(); i < length; i += Threads::count())
        top = Maximum::of(top, element(i));
    return Threads::maximum(top);
}
