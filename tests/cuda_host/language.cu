// One small kernel for each thing of CUDA C++ that the executor has; test_executor_language.py says what
// each should compute.

#define PLACE (blockIdx.x * blockDim.x + threadIdx.x)

// ---- Where a thread is ----

extern "C" __global__ void coordinates(int* y)
{
    const int threads = blockDim.x * blockDim.y * blockDim.z;
    const int block = blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);
    const int thread = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
    int* mine = y + 12 * (block * threads + thread);
    mine[0] = threadIdx.x, mine[1] = threadIdx.y, mine[2] = threadIdx.z;
    mine[3] = blockIdx.x, mine[4] = blockIdx.y, mine[5] = blockIdx.z;
    mine[6] = blockDim.x, mine[7] = blockDim.y, mine[8] = blockDim.z;
    mine[9] = gridDim.x, mine[10] = gridDim.y, mine[11] = gridDim.z;
}

// The same after a barrier, which threads pass on stacks of their own.
extern "C" __global__ void coordinates_after_a_barrier(int* y)
{
    __syncthreads();
    const int thread = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
    __syncthreads();
    const uint3 index = threadIdx;
    y[thread] = index.x + 100 * index.y + 10000 * index.z;
}

// ---- Shared memory and barriers ----

__device__ int reversed(int value)
{
    __shared__ int line[1024];
    __shared__ int last;
    line[threadIdx.x] = value;
    if (threadIdx.x == 0) last = blockDim.x - 1;
    __syncthreads();
    const int other = line[last - threadIdx.x];
    __syncthreads();
    return other;
}

extern "C" __global__ void reverse_blocks(const int* x, int* y) { y[PLACE] = reversed(x[PLACE]); }

extern "C" __global__ void reverse_dynamic(const double* x, double* y)
{
    extern __shared__ double line[];
    line[threadIdx.x] = x[PLACE];
    __syncthreads();
    y[PLACE] = line[blockDim.x - 1 - threadIdx.x];
}

// As many rounds of the game "each takes its right neighbour's value" as asked.
extern "C" __global__ void rotate_rounds(const int* x, int* y, int rounds)
{
    __shared__ int ring[1024];
    int value = x[PLACE];
    for (int i = 0; i < rounds; ++i) {
        ring[threadIdx.x] = value;
        __syncthreads();
        value = ring[(threadIdx.x + 1) % blockDim.x];
        __syncthreads();
    }
    y[PLACE] = value;
}

extern "C" __global__ void barrier_votes(const int* x, int* y)
{
    y[3 * PLACE] = __syncthreads_count(x[PLACE]);
    y[3 * PLACE + 1] = __syncthreads_and(x[PLACE]);
    y[3 * PLACE + 2] = __syncthreads_or(x[PLACE]);
}

// ---- Warps ----

#define SHUFFLES(name, T)                                                                       \
    extern "C" __global__ void name(const T* x, T* y, int argument, int width)                  \
    {                                                                                           \
        const T value = x[PLACE];                                                               \
        const int threads = gridDim.x * blockDim.x;                                             \
        y[PLACE] = __shfl_sync(0xffffffff, value, argument, width);                             \
        y[PLACE + threads] = __shfl_up_sync(0xffffffff, value, argument, width);                \
        y[PLACE + 2 * threads] = __shfl_down_sync(0xffffffff, value, argument, width);          \
        y[PLACE + 3 * threads] = __shfl_xor_sync(0xffffffff, value, argument, width);           \
    }
SHUFFLES(shuffle_int, int)
SHUFFLES(shuffle_float, float)
SHUFFLES(shuffle_double, double)
SHUFFLES(shuffle_long_long, long long)

extern "C" __global__ void warp_votes(const int* x, unsigned int* y)
{
    y[5 * PLACE] = __ballot_sync(0xffffffff, x[PLACE]);
    y[5 * PLACE + 1] = __any_sync(0xffffffff, x[PLACE]);
    y[5 * PLACE + 2] = __all_sync(0xffffffff, x[PLACE]);
    y[5 * PLACE + 3] = __match_any_sync(0xffffffff, x[PLACE]);
    y[5 * PLACE + 4] = __activemask();
}

// Small numbers come back as int, as from CUDA's overloaded functions.
#define SMALL_SHUFFLES(name, T)                                                                 \
    extern "C" __global__ void name(const T* x, T* y)                                           \
    {                                                                                           \
        static_assert(sizeof(__shfl_sync(0xffffffff, x[0], 0)) == 4, "an int");                 \
        y[4 * PLACE] = __shfl_sync(0xffffffff, x[PLACE], 3);                                    \
        y[4 * PLACE + 1] = __shfl_up_sync(0xffffffff, x[PLACE], 2);                             \
        y[4 * PLACE + 2] = __shfl_down_sync(0xffffffff, x[PLACE], 5);                           \
        y[4 * PLACE + 3] = __shfl_xor_sync(0xffffffff, x[PLACE], 1) +                           \
                           (__match_any_sync(0xffffffff, x[PLACE]) >> threadIdx.x % 32 & 1) - 1; \
    }
SMALL_SHUFFLES(shuffle_signed_char, signed char)
SMALL_SHUFFLES(shuffle_unsigned_char, unsigned char)
SMALL_SHUFFLES(shuffle_short, short)
SMALL_SHUFFLES(shuffle_unsigned_short, unsigned short)
SMALL_SHUFFLES(shuffle_bool, bool)

// Lanes above the 20th have left, or take another way with a mask of their own.
extern "C" __global__ void partial_warps(const int* x, int* y)
{
    const int lane = threadIdx.x % warpSize;
    if (lane >= 20) return;
    const unsigned int mask = lane < 8 ? 0xff : 0xfff00;
    if (lane < 8) {
        y[2 * PLACE] = __shfl_xor_sync(mask, x[PLACE], 1);
        __syncwarp(0xff);
    } else {
        y[2 * PLACE] = __shfl_down_sync(mask, x[PLACE], 20);
    }
    y[2 * PLACE + 1] = __shfl_sync(0xffffffff, x[PLACE], 19) + 1000 * __popc(__activemask());
}

// A lane that does not take part gives nothing.
extern "C" __global__ void absent_lane(float* y)
{
    if (threadIdx.x < 16) y[threadIdx.x] = __shfl_sync(0xffff, 1.0f, threadIdx.x + 16);
}

// ---- Atomic operations, by all threads of all blocks on the same few numbers ----

#define INTEGER_ATOMICS(name, T)                          \
    extern "C" __global__ void name(const T* x, T* y)     \
    {                                                     \
        atomicAdd(y, x[PLACE]);                           \
        atomicMin(y + 1, x[PLACE]);                       \
        atomicMax(y + 2, x[PLACE]);                       \
        atomicAnd(y + 3, ~x[PLACE]);                      \
        atomicOr(y + 4, x[PLACE]);                        \
        atomicXor(y + 5, x[PLACE]);                       \
        T seen = y[6], old;                               \
        do {                                              \
            old = seen;                                   \
            seen = atomicCAS(y + 6, old, old + x[PLACE]); \
        } while (seen != old);                            \
        y[7 + PLACE] = atomicExch(y + 7 + PLACE, x[PLACE]); \
    }
INTEGER_ATOMICS(atomics_int, int)
INTEGER_ATOMICS(atomics_unsigned, unsigned int)
INTEGER_ATOMICS(atomics_unsigned_long_long, unsigned long long)

extern "C" __global__ void atomics_floating(const float* x, float* y, double* z)
{
    __shared__ float sum;
    if (threadIdx.x == 0) sum = 0;
    __syncthreads();
    atomicAdd(&sum, x[PLACE]);
    __syncthreads();
    if (threadIdx.x == 0) {
        atomicAdd(y, sum);
        atomicAdd(z, (double)sum);
    }
}

// ---- Integers ----

extern "C" __global__ void integer_functions(const int* x, const int* w, int* y)
{
    const int a = x[PLACE], b = w[PLACE];
    int* mine = y + 14 * PLACE;
    mine[0] = __popc(a);
    mine[1] = __clz(a);
    mine[2] = __ffs(a);
    mine[3] = __brev(a);
    mine[4] = __mul24(a, b);
    mine[5] = __umulhi(a, b);
    mine[6] = __mulhi(a, b);
    mine[7] = min(a, b);
    mine[8] = max(a, b);
    mine[9] = max((unsigned int)a, (unsigned int)b);
    mine[10] = __byte_perm(a, b, 0x2541);
    mine[11] = __funnelshift_l(a, b, 7);
    mine[12] = abs(a);
    mine[13] = __popcll((unsigned long long)(unsigned int)a << 32 | (unsigned int)b);
}

// ---- Floating point ----

#define FUNCTIONS(name, T)                                          \
    extern "C" __global__ void name(const T* x, const T* w, T* y)   \
    {                                                               \
        const T a = x[PLACE], b = w[PLACE];                         \
        T* mine = y + 15 * PLACE;                                   \
        mine[0] = exp(a);                                           \
        mine[1] = log(fabs(a));                                     \
        mine[2] = sqrt(fabs(a));                                    \
        mine[3] = rsqrt(fabs(a));                                   \
        mine[4] = pow(fabs(a), b);                                  \
        mine[5] = tanh(a);                                          \
        mine[6] = fmin(a, b);                                       \
        mine[7] = fmax(a, b);                                       \
        mine[8] = min(a, b);                                        \
        mine[9] = max(a, b);                                        \
        mine[10] = fma(a, b, (T)1);                                 \
        mine[11] = floor(a);                                        \
        mine[12] = cos(a);                                          \
        mine[13] = erf(a);                                          \
        mine[14] = sizeof(exp(a)) + sizeof(min(a, b)) + sizeof(fmax(a, b)); \
    }
FUNCTIONS(functions_float, float)
FUNCTIONS(functions_double, double)

extern "C" __global__ void fast_functions(const float* x, float* y)
{
    const float a = x[PLACE];
    float* mine = y + 8 * PLACE;
    mine[0] = __expf(a);
    mine[1] = __logf(fabsf(a));
    mine[2] = __powf(fabsf(a), 1.5f);
    mine[3] = __fdividef(a, 3.0f);
    mine[4] = fminf(a, 0.5f);
    mine[5] = fmaxf(a, 0.5f);
    mine[6] = __saturatef(a);
    mine[7] = rsqrtf(fabsf(a));
}

// x * x - y of numbers where the rounding of the product is all that is left.
extern "C" __global__ void contractions(const float* x, const float* w, float* y)
{
    y[3 * PLACE] = x[PLACE] * x[PLACE] - w[PLACE];
    y[3 * PLACE + 1] = __fsub_rn(__fmul_rn(x[PLACE], x[PLACE]), w[PLACE]);
    y[3 * PLACE + 2] = __fmaf_rn(x[PLACE], x[PLACE], -w[PLACE]);
}

extern "C" __global__ void lengths_of_vectors(const double* x, const float* w, double* y, float* z, int count)
{
    y[0] = norm(count, x), y[1] = rnorm(count, x);
    z[0] = normf(count, w), z[1] = rnormf(count, w), z[2] = nanf(""), z[3] = nan("");
}

extern "C" __global__ void halve(const float* x, float* y) { y[PLACE] = x[PLACE] * 0.5f; }

extern "C" __global__ void bits(const float* x, const double* w, int* y, long long* z)
{
    y[PLACE] = __float_as_int(x[PLACE]) ^ (int)__float_as_uint(__int_as_float(0x3f800000));
    z[PLACE] = __double_as_longlong(__longlong_as_double(__double_as_longlong(w[PLACE]) ^ 1));
}

extern "C" __global__ void conversions(const float* x, int* y, unsigned int* z)
{
    y[4 * PLACE] = __float2int_rn(x[PLACE]);
    y[4 * PLACE + 1] = __float2int_rz(x[PLACE]);
    y[4 * PLACE + 2] = __float2int_rd(x[PLACE]);
    y[4 * PLACE + 3] = __float2int_ru(x[PLACE]);
    z[PLACE] = __float2uint_rn(x[PLACE]);
}

// ---- Vectors, constants, qualifiers ----

__constant__ float weights[4] = {1.0f, 10.0f, 100.0f, 1000.0f};

__device__ __forceinline__ float dot(float4 a, const float* b) { return a.x * b[0] + a.y * b[1] + a.z * b[2] + a.w * b[3]; }

static __host__ __device__ __noinline__ float twice(float x) { return 2 * x; }

extern "C" __global__ void __launch_bounds__(32 * 2, 1) vectors(const float* __restrict__ x, float2* __restrict__ y)
{
    const float4 four = __ldg(reinterpret_cast<const float4*>(x) + PLACE);
    y[PLACE] = make_float2(dot(four, weights), twice(four.w));
}

extern "C" {
__launch_bounds__(64) __global__ void scalars(
    double* y, bool a, signed char b, unsigned char c, short d, unsigned short e, int f, unsigned int g, long long h,
    unsigned long long i, float j, double k, const void* nothing)
{
    const double values[] = {(double)a, (double)b, (double)c, (double)d, (double)e, (double)f, (double)g, (double)h,
                             (double)i, (double)j, k, nothing == nullptr ? 1.0 : 0.0};
    for (int n = 0; n < 12; ++n) y[n] = values[n];
}
}

// ---- Kernels of namespaces, templates and macros ----

namespace outer {
namespace {
constexpr int HIDDEN = 7;
}
namespace inner {
__global__ void __launch_bounds__(HIDDEN) fill(int* y) { y[threadIdx.x] = HIDDEN; }
}
template <class T, int N>
__global__ void add(T* y)
{
    __shared__ T step;
    if (threadIdx.x == 0) step = N;
    __syncthreads();
    y[threadIdx.x] += step;
}
}

#define FILL_WITH(number) \
    __global__ void fill_##number(int* y) { y[PLACE] = number; }
FILL_WITH(3)
