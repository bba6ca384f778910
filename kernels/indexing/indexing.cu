/*
The gradient of indexing, gx[index] += g, where the index may name an element several times.

A thread for each element of g would need atomic additions to gx, in an order that changes from
run to run, and with it the last bits. Here the launching code sorts the positions of g by the element of gx
that they belong to:

    place[d]                        the element of gx of group d; elements not named are left as they are
    order[start[d] : start[d + 1]]  the positions of g that belong to it, in order

and the threads of a row of the block share a group (reduce.cuh). The groups differ in length, so the threads
of a short one wait for those of a long one.
*/

#include "real.cuh"
#include "reduce.cuh"

extern "C" __global__ void __launch_bounds__(256)
index_add_forward(
    const real* __restrict__ g, const int* __restrict__ place, const int* __restrict__ start,
    const int* __restrict__ order, real* __restrict__ gx, int groups)
{
    int group = min(RowThreads::line(), groups - 1);
    const int* positions = order + start[group];
    real sum = line_sum<RowThreads>(start[group + 1] - start[group], [=](int i) { return g[positions[i]]; });
    if (RowThreads::first() == 0 && RowThreads::line() < groups)
        gx[place[group]] = sum;
}
