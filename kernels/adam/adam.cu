/*
A step of Adam or AdamW, in place.

    slope = g + decay * p                                   (decay is 0 in AdamW)
    m = beta1 * m + share1 * slope                          (share1 = 1 - beta1)
    v = beta2 * v + share2 * slope * slope                  (share2 = 1 - beta2)
    p = kept * p - rate * m / (sqrt(v) * scale + eps)       (kept is 1 - lr * weight_decay in AdamW, else 1)

The bias corrections are the same for all elements: rate = lr / (1 - beta1**step), and
scale = 1 / sqrt(1 - beta2**step). The launching code computes all constants in float64; in float32, 1 - 0.999
would lose three of seven digits.

A grid-stride loop: a thread computes every (threads of the grid)-th element. Each number is read once and
written once: 28 bytes an element in float32.
*/

#include "real.cuh"

extern "C" __global__ void __launch_bounds__(256)
adam_update(
    real* __restrict__ parameter, const real* __restrict__ gradient,
    real* __restrict__ m, real* __restrict__ v, int n,
    real rate, real beta1, real share1, real beta2, real share2, real scale, real eps, real decay, real kept)
{
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) {
        real p = parameter[i];
        real slope = gradient[i] + decay * p;
        real mean = beta1 * m[i] + share1 * slope;
        real square = beta2 * v[i] + share2 * (slope * slope);
        m[i] = mean;
        v[i] = square;
        parameter[i] = kept * p - rate * (mean / (sqrt(square) * scale + eps));
    }
}
