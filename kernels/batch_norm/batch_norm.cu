/*
Batch normalisation: the statistics of a batch, the normalised batch, and the gradients.

    mean = sum(x) / M,   var = sum((x - mean)**2) / M        over the M elements of a feature
    y = weight * (x - mean) / sqrt(var + eps) + bias
    gb = sum(g),   gw = sum(g * h),   h = (x - mean) / sqrt(var + eps)
    gx = weight / sqrt(var + eps) * (g - gb / M - h * gw / M)

Arrays are C-contiguous and seen as (outer, features, inner); images (N, C, H, W) with their channels as
features are (N, C, H * W), a matrix (N, F) is (N, F, 1). M is outer * inner.

Sums
----
A feature has one sum over many rows of memory, and a GPU needs many threads. So sums are taken in two steps.

1. The array is a matrix of `outer` rows and `columns` = features * inner columns. A thread sums one column over
   every slices-th row: every (slices * columns)-th of all elements, which lies in the same column. Whatever
   the layout, neighbouring threads read neighbouring numbers; and there are many threads, 193,600 for the
   first layer of AlexNet at one slice. They write (slices, columns).
2. The threads of a row of a block sum the slices * inner partial sums of a feature, as reduce.cuh explains.

Each sum has a fixed order, so that two runs give the same bits.

Digits
------
mean(x**2) - mean(x)**2 has no digit left in float32 if the mean is 1e4 times the deviation. Here `centre`,
the mean as computed by a first pass, is subtracted before a second pass sums the differences and their squares:

    offset = sum(x - centre) / M,   mean = centre + offset,   var = sum((x - centre)**2) / M - offset**2

Between numbers so close the subtraction is exact, and offset**2 only corrects for the rounding of the centre: the
corrected two-pass algorithm (Chan, Golub and LeVeque 1983, equation 1.7). A float32 mean of 1e4 is itself off by up to
5e-4, which x - mean would inherit; as the sum centre + offset is known to more digits than that, what `mean`
lacks becomes part of the shift.
*/

#include "real.cuh"
#include "reduce.cuh"

// What the second step sums for feature f: its partial sums in (slices, columns).
static __device__ real feature_sum(const real* partial, int f, int inner, int features, int slices)
{
    return line_sum<RowThreads>(slices * inner, [=](int k) {
        return partial[(k / inner * features + f) * inner + k % inner];
    });
}

extern "C" __global__ void __launch_bounds__(256)
batch_norm_column_sums(
    const real* __restrict__ x, real* __restrict__ sums, int size, int partials)
{
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < partials; i += gridDim.x * blockDim.x) {
        real sum = 0;
        for (int at = i; at < size; at += partials)
            sum += x[at];
        sums[i] = sum;
    }
}

extern "C" __global__ void __launch_bounds__(256)
batch_norm_centre(
    const real* __restrict__ sums, real* __restrict__ centre, int inner, int features, int slices, int count)
{
    int line = RowThreads::line();
    int f = min(line, features - 1);
    real sum = feature_sum(sums, f, inner, features, slices);
    if (line == f && RowThreads::first() == 0) centre[f] = sum / (real)count;
}

extern "C" __global__ void __launch_bounds__(256)
batch_norm_column_moments(
    const real* __restrict__ x, const real* __restrict__ centre,
    real* __restrict__ differences, real* __restrict__ squares, int size, int partials, int inner, int features)
{
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < partials; i += gridDim.x * blockDim.x) {
        real middle = centre[i / inner % features];
        real sum = 0, sum_of_squares = 0;
        for (int at = i; at < size; at += partials) {
            real difference = x[at] - middle;
            sum += difference;
            sum_of_squares += difference * difference;
        }
        differences[i] = sum;
        squares[i] = sum_of_squares;
    }
}

// For each feature: mean, var, and y = (x - mean) * scale + shift.
extern "C" __global__ void __launch_bounds__(256)
batch_norm_statistics(
    const real* __restrict__ differences, const real* __restrict__ squares, const real* __restrict__ centre,
    const real* __restrict__ weight, const real* __restrict__ bias,
    real* __restrict__ mean, real* __restrict__ var, real* __restrict__ scale, real* __restrict__ shift,
    int inner, int features, int slices, int count, real eps)
{
    int line = RowThreads::line();
    int f = min(line, features - 1);
    real offset = feature_sum(differences, f, inner, features, slices) / (real)count;
    real square = feature_sum(squares, f, inner, features, slices) / (real)count;
    if (line == f && RowThreads::first() == 0) {
        real variance = square - offset * offset;
        if (variance < 0) variance = 0;  // by rounding; unlike fmax this keeps a NaN
        real rounded = centre[f] + offset;
        real factor = weight[f] / sqrt(variance + eps);
        mean[f] = rounded;
        var[f] = variance;
        scale[f] = factor;
        shift[f] = bias[f] + ((rounded - centre[f]) - offset) * factor;
    }
}

// The scale at evaluation, where mean and var are given and the shift is the bias.
extern "C" __global__ void __launch_bounds__(256)
batch_norm_scale(
    const real* __restrict__ weight, const real* __restrict__ var, real* __restrict__ scale,
    int features, real eps)
{
    for (int f = blockIdx.x * blockDim.x + threadIdx.x; f < features; f += gridDim.x * blockDim.x)
        scale[f] = weight[f] / sqrt(var[f] + eps);
}

extern "C" __global__ void __launch_bounds__(256)
batch_norm_apply(
    const real* __restrict__ x, const real* __restrict__ mean,
    const real* __restrict__ scale, const real* __restrict__ shift, real* __restrict__ y,
    int size, int inner, int features)
{
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < size; i += gridDim.x * blockDim.x) {
        int f = i / inner % features;
        y[i] = (x[i] - mean[f]) * scale[f] + shift[f];
    }
}

extern "C" __global__ void __launch_bounds__(256)
batch_norm_column_gradients(
    const real* __restrict__ g, const real* __restrict__ x, const real* __restrict__ mean,
    real* __restrict__ sums, real* __restrict__ products, int size, int partials, int inner, int features)
{
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < partials; i += gridDim.x * blockDim.x) {
        real middle = mean[i / inner % features];
        real sum = 0, sum_of_products = 0;
        for (int at = i; at < size; at += partials) {
            sum += g[at];
            sum_of_products += g[at] * (x[at] - middle);
        }
        sums[i] = sum;
        products[i] = sum_of_products;
    }
}

// For each feature: gw, gb, and gx = (g - of_g - (x - mean) * of_x) * scale.
extern "C" __global__ void __launch_bounds__(256)
batch_norm_gradients(
    const real* __restrict__ sums, const real* __restrict__ products,
    const real* __restrict__ weight, const real* __restrict__ var,
    real* __restrict__ gw, real* __restrict__ gb,
    real* __restrict__ of_g, real* __restrict__ of_x, real* __restrict__ scale,
    int inner, int features, int slices, int count, real eps)
{
    int line = RowThreads::line();
    int f = min(line, features - 1);
    real sum = feature_sum(sums, f, inner, features, slices);
    real sum_of_products = feature_sum(products, f, inner, features, slices);
    if (line == f && RowThreads::first() == 0) {
        real reciprocal = (real)1 / sqrt(var[f] + eps);
        gb[f] = sum;
        gw[f] = sum_of_products * reciprocal;
        of_g[f] = sum / (real)count;
        of_x[f] = sum_of_products * reciprocal * reciprocal / (real)count;
        scale[f] = weight[f] * reciprocal;
    }
}

extern "C" __global__ void __launch_bounds__(256)
batch_norm_input_grad(
    const real* __restrict__ g, const real* __restrict__ x, const real* __restrict__ mean,
    const real* __restrict__ of_g, const real* __restrict__ of_x, const real* __restrict__ scale,
    real* __restrict__ gx, int size, int inner, int features)
{
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < size; i += gridDim.x * blockDim.x) {
        int f = i / inner % features;
        gx[i] = (g[i] - of_g[f] - (x[i] - mean[f]) * of_x[f]) * scale[f];
    }
}
