/*
A step of stochastic gradient descent, in place.

    d = g + weight_decay * p
    v = momentum * v + d
    p -= lr * (d + momentum * v if nesterov, else v)

A grid-stride loop: a thread computes every (threads of the grid)-th element. Each number is read once and
written once, 20 bytes an element in float32 with a velocity; a kernel for each operation of the formula would
move several times as many.
*/

#include "real.cuh"

extern "C" __global__ void __launch_bounds__(256)
sgd_update(real* __restrict__ parameter, const real* __restrict__ gradient, int n, real lr, real weight_decay)
{
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x)
        parameter[i] -= lr * (gradient[i] + weight_decay * parameter[i]);
}

extern "C" __global__ void __launch_bounds__(256)
sgd_momentum_update(
    real* __restrict__ parameter, const real* __restrict__ gradient, real* __restrict__ velocity, int n,
    real lr, real momentum, real weight_decay, int nesterov)
{
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) {
        real p = parameter[i];
        real d = gradient[i] + weight_decay * p;
        real v = momentum * velocity[i] + d;
        velocity[i] = v;
        parameter[i] = p - lr * (nesterov ? d + momentum * v : v);
    }
}
