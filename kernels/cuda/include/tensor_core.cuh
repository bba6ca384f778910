// Tensor cores: the product of two small matrices as one instruction of a warp, in TF32.
//
// TF32 is float with 10 bits of mantissa instead of 23: sign, 8 bits of exponent, 10 of mantissa. Products of
// two such numbers are exact in float, and are summed in float. GPUs from sm_80 on have it.
//
// On the host's CPU, which has no tensor cores, a warp computes the same by exchanging its elements with
// shuffles. Rounding to TF32 is the same bit for bit; the order in which a tensor core adds is not
// published, so sums may differ in their last bits.

// The nearest TF32 number, as a float; ties round away from zero.
__device__ __forceinline__ float round_to_tf32(float x)
{
#if defined(MINIALEX_CUDA_HOST)
    if (x != x)
        return __int_as_float(0x7fffffff);
    // Half a unit of the last bit kept; a carry into the exponent is correct, up to infinity.
    return __uint_as_float((__float_as_uint(x) + 0x1000u) & 0xffffe000u);
#elif __CUDA_ARCH__ >= 800
    unsigned int rounded;
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(rounded) : "f"(x));
    return __uint_as_float(rounded);
#else
    __trap();
    return x;
#endif
}

// c (16, 8) += a (16, 8) @ b (8, 8), by all 32 threads of a warp, each holding part of each matrix. a and b
// must be rounded to TF32. With group = lane / 4 and member = lane % 4 (PTX, "mma.m16n8k8"):
//
//     a[0] = A[group, member]           a[1] = A[group + 8, member]
//     a[2] = A[group, member + 4]       a[3] = A[group + 8, member + 4]
//     b[0] = B[member, group]           b[1] = B[member + 4, group]
//     c[0] = C[group, 2 * member]       c[1] = C[group, 2 * member + 1]
//     c[2] = C[group + 8, 2 * member]   c[3] = C[group + 8, 2 * member + 1]
__device__ __forceinline__ void multiply_16x8x8(float (&c)[4], const float (&a)[4], const float (&b)[2])
{
#if defined(MINIALEX_CUDA_HOST)
    const int lane = threadIdx.x % 32, group = lane / 4, member = lane % 4;
    for (int k = 0; k < 8; ++k) {
        const int half = k / 4, holder_of_row = group * 4 + k % 4, holder_of_column = 2 * member * 4 + k % 4;
        const float upper = __shfl_sync(0xffffffffu, a[2 * half], holder_of_row);
        const float lower = __shfl_sync(0xffffffffu, a[2 * half + 1], holder_of_row);
        const float left = __shfl_sync(0xffffffffu, b[half], holder_of_column);
        const float right = __shfl_sync(0xffffffffu, b[half], holder_of_column + 4);
        c[0] += upper * left;
        c[1] += upper * right;
        c[2] += lower * left;
        c[3] += lower * right;
    }
#elif __CUDA_ARCH__ >= 800
    asm volatile(
        "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(__float_as_uint(a[0])), "r"(__float_as_uint(a[1])), "r"(__float_as_uint(a[2])),
          "r"(__float_as_uint(a[3])), "r"(__float_as_uint(b[0])), "r"(__float_as_uint(b[1])));
#else
    __trap();
#endif
}
