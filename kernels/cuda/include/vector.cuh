// Loads and stores of 16 bytes: four floats or two doubles in one instruction.
//
// A thread can read 4, 8 or 16 bytes with one instruction. With 16, a quarter of the instructions (for
// float) move the same data, and a warp reads 512 neighbouring bytes at once. The address must be a multiple
// of 16 bytes. That holds for each row of a row-major matrix only if rows are a multiple of 16
// bytes long and the first starts at such an address: `rows_are_aligned`. Kernels that use vectors are
// templates over the LANES of a load, VECTOR or 1, and ask this function which to take; both are the
// same code.

#include "real.cuh"

// The elements of 16 bytes: 4 floats or 2 doubles.
constexpr int VECTOR = 16 / sizeof(real);

// Whether each row of a row-major matrix starts at a multiple of 16 bytes, and is a whole number of vectors.
__device__ __forceinline__ bool rows_are_aligned(const real* matrix, int row_length)
{
    return row_length % VECTOR == 0 && reinterpret_cast<unsigned long long>(matrix) % 16 == 0;
}

__device__ __forceinline__ void load_lanes(const float* from, float (&to)[4])
{
    const float4 vector = *reinterpret_cast<const float4*>(from);
    to[0] = vector.x;
    to[1] = vector.y;
    to[2] = vector.z;
    to[3] = vector.w;
}

__device__ __forceinline__ void load_lanes(const double* from, double (&to)[2])
{
    const double2 vector = *reinterpret_cast<const double2*>(from);
    to[0] = vector.x;
    to[1] = vector.y;
}

template <typename T>
__device__ __forceinline__ void load_lanes(const T* from, T (&to)[1])
{
    to[0] = *from;
}

__device__ __forceinline__ void store_lanes(float* to, const float (&from)[4])
{
    *reinterpret_cast<float4*>(to) = make_float4(from[0], from[1], from[2], from[3]);
}

__device__ __forceinline__ void store_lanes(double* to, const double (&from)[2])
{
    *reinterpret_cast<double2*>(to) = make_double2(from[0], from[1]);
}

__device__ __forceinline__ void store_lanes(float* to, const float (&from)[2])
{
    *reinterpret_cast<float2*>(to) = make_float2(from[0], from[1]);
}

template <typename T>
__device__ __forceinline__ void store_lanes(T* to, const T (&from)[1])
{
    *to = from[0];
}
