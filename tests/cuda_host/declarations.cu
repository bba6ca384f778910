// Declarations of variables as CUDA C++ allows them; test_executor_declarations.py says what each kernel should
// compute. NVRTC compiles this file as it is.

// ---- Shared memory: y becomes x in reverse order ----

#define REVERSE(shared)                     \
    shared[threadIdx.x] = x[threadIdx.x];   \
    __syncthreads();                        \
    y[threadIdx.x] = shared[blockDim.x - 1 - threadIdx.x];

// The common way to have dynamic shared memory of any type in a template.
template <class T>
__global__ void aligned_bytes(const T* x, T* y)
{
    extern __shared__ __align__(sizeof(T)) unsigned char raw[];
    T* line = reinterpret_cast<T*>(raw);
    REVERSE(line)
}

__global__ void volatile_before(const float* x, float* y)
{
    volatile __shared__ float line[64];
    REVERSE(line)
}

__global__ void volatile_after(const float* x, float* y)
{
    __shared__ volatile float line[64];
    REVERSE(line)
}

__global__ void type_before(const float* x, float* y)
{
    float __shared__ line[64];
    REVERSE(line)
}

__global__ void with_static(const float* x, float* y)
{
    static __shared__ float first[32];
    __shared__ static float second[64];
    if (threadIdx.x == 0) first[0] = 0;
    REVERSE(second)
}

__global__ void extern_after(const float* x, float* y)
{
    __shared__ extern float line[];
    REVERSE(line)
}

__global__ void extern_volatile(const float* x, float* y)
{
    volatile extern __shared__ float volatile_line[];
    REVERSE(volatile_line)
}

__global__ void rows_of_two(const float* x, float* y)
{
    extern __shared__ float rows[][2];
    rows[threadIdx.x][0] = -1;
    rows[threadIdx.x][1] = x[threadIdx.x];
    __syncthreads();
    y[threadIdx.x] = rows[blockDim.x - 1 - threadIdx.x][1];
}

// All that is extern begins at the same address.
__global__ void several_at_once(const float* x, float* y)
{
    extern __shared__ float line[], same[], fours[][4];
    line[threadIdx.x] = x[threadIdx.x];
    __syncthreads();
    const int other = blockDim.x - 1 - threadIdx.x;
    y[threadIdx.x] = same[other] == fours[other / 4][other % 4] ? same[other] : -1;
}

// With a size it is a variable of its own.
__global__ void extern_with_a_size(const float* x, float* y)
{
    extern __shared__ float sized_line[64];
    extern __shared__ float line[];
    line[threadIdx.x] = -1;
    __syncthreads();
    REVERSE(sized_line)
}

template <class T, int N>
__device__ T reversed(T value)
{
    typedef T Row[N];
    constexpr int ROWS = 1 << 1;
    __shared__ Row rows[ROWS], other[ROWS];
    __shared__ volatile T last[ROWS * N > 3 ? N : 1], first;
    rows[1][threadIdx.x] = value;
    other[1][threadIdx.x] = -value;
    last[threadIdx.x] = 0;
    if (threadIdx.x == 0) first = 0;
    __syncthreads();
    return rows[1][blockDim.x - 1 - threadIdx.x] + first + last[0];
}

__global__ void in_a_device_template(const float* x, float* y) { y[threadIdx.x] = reversed<float, 64>(x[threadIdx.x]); }

extern __shared__ float of_the_file[];
namespace space {
extern __shared__ int2 of_a_namespace[][1];
__shared__ float fixed[64];
}

__global__ void outside_of_functions(const float* x, float* y)
{
    of_the_file[threadIdx.x] = x[threadIdx.x];
    space::fixed[threadIdx.x] = 0.5f;
    __syncthreads();
    const int other = blockDim.x - 1 - threadIdx.x;
    const int bits = other % 2 ? space::of_a_namespace[other / 2][0].y : space::of_a_namespace[other / 2][0].x;
    y[threadIdx.x] = __int_as_float(bits) * space::fixed[other] * 2;
}

// A read of what nobody has written, for the checker.
__global__ void unwritten(float* y) { y[threadIdx.x] = space::fixed[threadIdx.x] + of_the_file[threadIdx.x]; }

// ---- Global and constant memory ----

__constant__ float weights[4];
static __constant__ float2 pairs[2][3];
__device__ __constant__ int first = 3, second[2] = {4, 5};
extern "C" __device__ unsigned long long counter;
extern __device__ int defined_later;
__device__ int defined_later = 6;
__device__ const short fixed_numbers[3] = {7, 8, 9};
__device__ volatile double number = 0.5;
__device__ float* pointer;
struct Pair {
    int number;
    float share;
};
namespace space {
enum Colour : unsigned char { RED, GREEN };
__device__ Pair structures[2];
namespace {
__device__ Colour colours[3];
}
}
template <class A, class B>
struct Both {
    A a;
    B b;
};
__device__ Both<int, float> a_function(int i, float x) { return {i, x}; }
__device__ bool operator<(Pair a, Pair b) { return a.number < b.number; }

extern "C" __global__ void read_globals(double* y)
{
    y[0] = weights[1];
    y[1] = pairs[1][2].y;
    y[2] = first + second[1];
    y[3] = defined_later + fixed_numbers[2];
    y[4] = number;
    y[5] = *pointer;
    y[6] = space::structures[1].number + space::structures[1].share;
    y[7] = space::colours[2];
    y[8] = a_function(1, 2.0f).b + (Pair{1, 0} < Pair{2, 0});
}

extern "C" __global__ void count() { atomicAdd(&counter, 1ull); }

extern "C" __global__ void misuse(const int* which, float* y)
{
    if (threadIdx.x == 0) *const_cast<float*>(weights) = 2;
    if (threadIdx.x == 1) y[0] = weights[which[0]];
    if (threadIdx.x == 2) defined_later = 1;
    if (threadIdx.x == 3) defined_later = 2;
}

// ---- What a compiler for GPUs defines ----

extern "C" __global__ void definitions(int* y)
{
    y[0] = __CUDA_ARCH__;
#if __CUDA_ARCH__ >= 900
    y[1] = 9;
#elif __CUDA_ARCH__ >= 800
    y[1] = 8;
#else
    y[1] = 7;
#endif
    constexpr int architectures[] = {__CUDA_ARCH_LIST__};
    y[2] = architectures[0];
    y[3] = __CUDACC_VER_MAJOR__;
#if defined(__CUDACC__) && defined(__CUDACC_RTC__) && !defined(__NVCC__)
    y[4] = 1;
#endif
#ifdef __CUDA_FTZ
    y[5] = 1;
#endif
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
    y[6] = 1;
#endif
}
