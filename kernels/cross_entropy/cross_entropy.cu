/*
The cross-entropy of logits x (N, C) against a target distribution (N, C), and its gradient, in one kernel
each.

    loss[n] = sum over c of target[n, c] * (log_sum - (x[n, c] - top))
    gx[n, c] = g[n] * (exp(x[n, c] - top) / sum * total - target[n, c])

A product is 0 where the target or its total is, whatever the other factor.

    top = max(x[n]), sum = sum of exp(x[n] - top), log_sum = log(sum), total = sum of target[n]

The threads of a row of the block share a row of x (reduce.cuh): 256 of them where a row has 1000 classes.
Softmax, its logarithm and their product with the target never reach memory. The launch bounds are explained
in softmax.cu.
*/

#include "real.cuh"
#include "reduce.cuh"

extern "C" __global__ void __launch_bounds__(256, 4)
cross_entropy_forward(
    const real* __restrict__ x, const real* __restrict__ target, real* __restrict__ loss,
    int rows, int classes)
{
    int start = min(RowThreads::line(), rows - 1) * classes;
    const real* logits = x + start;
    const real* weights = target + start;
    real top = line_maximum<RowThreads>(classes, [=](int c) { return logits[c]; });
    real sum = line_sum<RowThreads>(classes, [=](int c) { return exp(logits[c] - top); });
    real log_sum = log(sum);
    real result = line_sum<RowThreads>(
        classes,
        [=](int c) { return weights[c] != 0 ? weights[c] * (log_sum - (logits[c] - top)) : (real)0; });
    if (RowThreads::first() == 0 && RowThreads::line() < rows)
        loss[RowThreads::line()] = result;
}

extern "C" __global__ void __launch_bounds__(256, 4)
cross_entropy_backward(
    const real* __restrict__ g, const real* __restrict__ x, const real* __restrict__ target,
    real* __restrict__ gx, int rows, int classes)
{
    int row = min(RowThreads::line(), rows - 1);
    const real* logits = x + row * classes;
    const real* weights = target + row * classes;
    real top = line_maximum<RowThreads>(classes, [=](int c) { return logits[c]; });
    real sum = line_sum<RowThreads>(classes, [=](int c) { return exp(logits[c] - top); });
    real total = line_sum<RowThreads>(classes, [=](int c) { return weights[c]; });
    if (RowThreads::line() < rows)
        for (int c = RowThreads::first(); c < classes; c += RowThreads::count())
            gx[row * classes + c] =
                g[row] * ((total != 0 ? exp(logits[c] - top) / sum * total : (real)0) - weights[c]);
}
