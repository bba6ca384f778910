// Kernels that are wrong, each in one way that textbooks and bug trackers know.
//
// A line that the checker has to report ends with the kinds, after an arrow; it has to report nothing else. All are
// launched with x and y of n floats; what differs from a grid of 1, a block of 64 and n = 64 stands above
// the kernel.

#define LANES 0xffffffffu

// ---- race -----------------------------------------------------------------------------------------------

extern "C" __global__ void race_no_barrier(const float* x, float* y, int n) {
    __shared__ float tile[64];
    int i = threadIdx.x;
    tile[i] = x[i];
    y[i] = tile[i ^ 1];  // <- race
}

// The barrier after the loop's reads is missing: a fast thread writes the next tile too early.
// grid 1, block 64, n 256
extern "C" __global__ void race_reused_tile(const float* x, float* y, int n) {
    __shared__ float tile[64];
    int i = threadIdx.x;
    float sum = 0;
    for (int start = 0; start < n; start += 64) {
        tile[i] = x[start + i];
        __syncthreads();
        sum += tile[63 - i];  // <- race
    }
    y[i] = sum;
}

extern "C" __global__ void race_global_in_block(const float* x, float* y, int n) {
    int i = threadIdx.x;
    y[i] = x[i];
    if (i > 0) y[i] = y[i - 1] + 1;  // <- race
}

// grid 2, block 32, n 64
extern "C" __global__ void race_blocks_write(const float* x, float* y, int n) {
    y[threadIdx.x] = x[blockIdx.x * 32 + threadIdx.x];  // <- race
}

// __syncthreads() does not wait for other blocks.
// grid 2, block 32, n 64
extern "C" __global__ void race_blocks_read(const float* x, float* y, int n) {
    int i = blockIdx.x * 32 + threadIdx.x;
    y[i] = x[i];
    __syncthreads();
    if (i >= 32) y[i] = y[i - 32];  // <- race
}

// The atomic counter says that the other blocks have come, but without __threadfence() not what they have
// written before.
// In place.
// grid 2, block 32, n 65
extern "C" __global__ void race_without_a_fence(const float* x, float* y, int n) {
    __shared__ bool is_last;
    y[blockIdx.x * 32 + threadIdx.x] = x[threadIdx.x];
    __syncthreads();
    if (threadIdx.x == 0) is_last = atomicAdd((int*)y + 64, 1) == 1;
    __syncthreads();
    if (is_last) y[32 + threadIdx.x] += y[threadIdx.x];  // <- race
}

// Lanes of a warp do not run in lockstep since Volta.
// grid 1, block 32, n 32
extern "C" __global__ void race_warp_synchronous(const float* x, float* y, int n) {
    __shared__ volatile float tile[32];
    int lane = threadIdx.x;
    tile[lane] = x[lane];
    __syncwarp();
    for (int half = 16; half > 0; half /= 2)
        if (lane < half) tile[lane] = tile[lane] + tile[lane + half];  // <- race
    if (lane == 0) y[0] = tile[0];
}

// A shuffle exchanges registers; it does not order memory.
// grid 1, block 32, n 32
extern "C" __global__ void race_shuffle_is_no_fence(const float* x, float* y, int n) {
    __shared__ float tile[32];
    int lane = threadIdx.x;
    tile[lane] = x[lane];
    float value = __shfl_sync(LANES, x[lane], 0);
    y[lane] = value + tile[31 - lane];  // <- race
}

// __syncwarp() orders the lanes of its mask only.
// grid 1, block 32, n 32
extern "C" __global__ void race_half_a_warp_synchronised(const float* x, float* y, int n) {
    __shared__ float tile[32];
    int lane = threadIdx.x;
    tile[lane] = x[lane];
    __syncwarp(lane < 16 ? 0x0000ffffu : 0xffff0000u);
    y[lane] = tile[31 - lane];  // <- race
}

extern "C" __global__ void race_atomic_with_plain(const float* x, float* y, int n) {
    __shared__ int count;
    if (threadIdx.x == 0) count = 0;
    __syncthreads();
    if (x[threadIdx.x] > 0.5f) atomicAdd(&count, 1);
    y[threadIdx.x] = count;  // <- race
}

// A __syncwarp() is not enough for the other warps.
extern "C" __global__ void race_syncwarp_for_a_block(const float* x, float* y, int n) {
    __shared__ float tile[64];
    int i = threadIdx.x;
    tile[i] = x[i];
    __syncwarp();
    y[i] = tile[i < 32 ? i : i - 32];  // <- race
}

// ---- barrier --------------------------------------------------------------------------------------------

// grid 2, block 64, n 100
extern "C" __global__ void barrier_after_exit(const float* x, float* y, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    y[i] = x[i];
    __syncthreads();  // <- barrier
    y[i] += 1;
}

extern "C" __global__ void barrier_in_a_branch(const float* x, float* y, int n) {
    int i = threadIdx.x;
    if (i < 32) {
        y[i] = x[i];
        __syncthreads();  // <- barrier
    }
    y[i] = 2 * x[i];
}

extern "C" __global__ void barrier_one_of_two(const float* x, float* y, int n) {
    int i = threadIdx.x;
    if (i % 2 == 0) {
        y[i] = x[i];
        __syncthreads();  // <- barrier
    } else {
        y[i] = -x[i];
        __syncthreads();
    }
}

extern "C" __global__ void barrier_in_a_loop(const float* x, float* y, int n) {
    int i = threadIdx.x;
    for (int step = 0; step < (i < 32 ? 3 : 2); ++step) {
        y[i] = x[i] + step;
        __syncthreads();  // <- barrier
    }
}

// ---- uninitialised --------------------------------------------------------------------------------------

extern "C" __global__ void uninitialised_halo(const float* x, float* y, int n) {
    __shared__ float tile[66];
    int i = threadIdx.x;
    tile[i + 1] = x[i];
    __syncthreads();
    y[i] = tile[i] + tile[i + 1] + tile[i + 2];  // <- uninitialised
}

extern "C" __global__ void uninitialised_sum(const float* x, float* y, int n) {
    __shared__ int count;
    if (x[threadIdx.x] > 0.5f) atomicAdd(&count, 1);  // <- uninitialised
    __syncthreads();
    y[threadIdx.x] = count;
}

// Shared memory does not keep what another block has left in it.
// grid 2, block 64, n 128
extern "C" __global__ void uninitialised_in_the_next_block(const float* x, float* y, int n) {
    __shared__ float tile[64];
    int i = threadIdx.x;
    if (blockIdx.x == 0) tile[i] = x[i];
    __syncthreads();
    y[blockIdx.x * 64 + i] = tile[i];  // <- uninitialised
}

// The results array is given as uninitialised.
extern "C" __global__ void uninitialised_result(const float* x, float* y, int n) {
    y[threadIdx.x] += x[threadIdx.x];  // <- uninitialised
}

// The compiler puts shared variables of templates elsewhere than others.
template <int SIZE>
__device__ float reversed(const float* x) {
    __shared__ float tile[SIZE];
    if (threadIdx.x > 0) tile[threadIdx.x] = x[threadIdx.x];
    __syncthreads();
    return tile[SIZE - 1 - threadIdx.x];  // <- uninitialised
}

extern "C" __global__ void uninitialised_in_a_template(const float* x, float* y, int n) {
    y[threadIdx.x] = reversed<64>(x);
}

// ---- out-of-bounds --------------------------------------------------------------------------------------

// grid 2, block 64, n 100
extern "C" __global__ void bounds_one_too_many(const float* x, float* y, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i <= n)
        y[i] = 1;  // <- out-of-bounds
}

// grid 2, block 64, n 100
extern "C" __global__ void bounds_not_checked(const float* x, float* y, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    float value = x[i];  // <- out-of-bounds
    if (i < n) y[i] = value;
}

extern "C" __global__ void bounds_before_the_begin(const float* x, float* y, int n) {
    int i = threadIdx.x;
    y[i] = x[i - 1];  // <- out-of-bounds
}

// An image of 4 rows and 16 columns, its index transposed.
// grid 1, block (16, 4), n 64
extern "C" __global__ void bounds_transposed(const float* x, float* y, int n) {
    y[threadIdx.x * 16 + threadIdx.y] = 1;  // <- out-of-bounds
}

// 2^31 / 2^12 elements on, where another array could be.
extern "C" __global__ void bounds_far_away(const float* x, float* y, int n) {
    y[threadIdx.x] = x[threadIdx.x * 524288];  // <- out-of-bounds
}

extern "C" __global__ void bounds_negative_and_far(const float* x, float* y, int n) {
    y[(int)threadIdx.x * -33000000] = 0;  // <- out-of-bounds
}

extern "C" __global__ void bounds_no_array(const float* x, float* y, int n) {
    const float* nothing = nullptr;
    y[threadIdx.x] = nothing[threadIdx.x];  // <- out-of-bounds
}

extern "C" __global__ void bounds_shared(const float* x, float* y, int n) {
    __shared__ float tile[32];
    tile[threadIdx.x] = x[threadIdx.x];  // <- out-of-bounds
}

extern "C" __global__ void bounds_shared_by_pointer(const float* x, float* y, int n) {
    __shared__ float tile[32];
    __shared__ float other[64];
    float* p = tile;
    p += threadIdx.x;
    other[threadIdx.x] = 0;
    *p = x[threadIdx.x];  // <- out-of-bounds
}

template <int SIZE>
__device__ void store(const float* x) {
    __shared__ float tile[SIZE];
    float* p = tile;
    p[threadIdx.x] = x[threadIdx.x];  // <- out-of-bounds
}

extern "C" __global__ void bounds_in_a_template(const float* x, float* y, int n) {
    store<32>(x);
}

// The tail of a vectorised copy.
// grid 1, block 64, n 254
extern "C" __global__ void bounds_vector_tail(const float* x, float* y, int n) {
    int i = threadIdx.x;
    if (4 * i < n)
        ((float4*)y)[i] = make_float4(0, 0, 0, 0);  // <- out-of-bounds
}

// In place.
extern "C" __global__ void bounds_atomic(const float* x, float* y, int n) {
    int bin = threadIdx.x == 5 ? 64 : 0;
    atomicAdd((int*)y + bin, 1);  // <- out-of-bounds
}

extern "C" __global__ void bounds_registers(const float* x, float* y, int n) {
    float sums[4];
    for (int k = 0; k < 4; ++k) sums[k] = x[k];
    y[threadIdx.x] = sums[threadIdx.x % 5];  // <- out-of-bounds
}

// ---- misaligned -----------------------------------------------------------------------------------------

extern "C" __global__ void misaligned_load(const float* x, float* y, int n) {
    if (threadIdx.x < 15) {
        float4 v = *(const float4*)(x + 4 * threadIdx.x + 1);  // <- misaligned
        y[threadIdx.x] = v.x + v.w;
    }
}

extern "C" __global__ void misaligned_store(const float* x, float* y, int n) {
    if (threadIdx.x < 16)
        *(float2*)(y + 3 * threadIdx.x) = make_float2(1, 2);  // <- misaligned
}

// A row of 33 floats is no multiple of 16 bytes.
// grid 1, block 32, n 32
extern "C" __global__ void misaligned_padded_tile(const float* x, float* y, int n) {
    __shared__ __align__(16) float tile[32][33];
    for (int k = 0; k < 33; ++k) tile[threadIdx.x][k] = 0;
    __syncthreads();
    float4 v = *(float4*)&tile[threadIdx.x][4];  // <- misaligned
    y[threadIdx.x] = v.x;
}

extern "C" __global__ void misaligned_double(const float* x, float* y, int n) {
    if (threadIdx.x < 32)
        y[threadIdx.x] = (float)*(const double*)(x + threadIdx.x);  // <- misaligned
}

// ---- const-write ----------------------------------------------------------------------------------------

extern "C" __global__ void const_cast_away(const float* x, float* y, int n) {
    float* input = (float*)x;
    input[threadIdx.x] = 0;  // <- const-write
    y[threadIdx.x] = 0;
}

extern "C" __global__ void const_atomic(const float* x, float* y, int n) {
    atomicAdd((int*)x, 1);  // <- const-write
}

// ---- warp-mask ------------------------------------------------------------------------------------------

// grid 1, block 32, n 32
extern "C" __global__ void mask_in_a_branch(const float* x, float* y, int n) {
    float value = x[threadIdx.x];
    if (threadIdx.x < 16)
        value += __shfl_down_sync(LANES, value, 1);  // <- warp-mask
    y[threadIdx.x] = value;
}

// grid 1, block 32, n 20
extern "C" __global__ void mask_of_exited_lanes(const float* x, float* y, int n) {
    if (threadIdx.x >= n) return;
    float value = x[threadIdx.x];
    value += __shfl_xor_sync(LANES, value, 1);  // <- warp-mask
    y[threadIdx.x] = value;
}

// grid 1, block 32, n 32
extern "C" __global__ void mask_without_the_caller(const float* x, float* y, int n) {
    y[threadIdx.x] = __ballot_sync(0x0000ffffu, x[threadIdx.x] > 0.5f);  // <- warp-mask
}

// grid 1, block 32, n 32
extern "C" __global__ void mask_of_syncwarp(const float* x, float* y, int n) {
    if (threadIdx.x % 2 == 0)
        __syncwarp();  // <- warp-mask
    y[threadIdx.x] = x[threadIdx.x];
}

// ---- division, stack, trap ------------------------------------------------------------------------------

extern "C" __global__ void division_by_zero(const float* x, float* y, int n) {
    int i = threadIdx.x;
    y[i] = 100 / (i % 16);  // <- division
}

extern "C" __global__ void division_rest(const float* x, float* y, int n) {
    unsigned count = n - 64;
    y[threadIdx.x] = threadIdx.x % count;  // <- division
}

extern "C" __global__ void division_of_the_least(const float* x, float* y, int n) {
    int least = 0x80000000 + (n - 64);
    y[threadIdx.x] = least / ((int)threadIdx.x - 9);  // <- division
}

__device__ __noinline__ float sum_to_the_end(const float* x, int i) { float v[9]; v[i & 7] = x[i & 63]; return sum_to_the_end(x, i + 1) + v[i & 3]; }  // <- stack

extern "C" __global__ void stack_recursion(const float* x, float* y, int n) {
    y[threadIdx.x] = sum_to_the_end(x, 0);
}

// The launch ends there: no other thread comes to the line with the race.
extern "C" __global__ void trap_assertion(const float* x, float* y, int n) {
    assert(x[threadIdx.x] > 2);  // <- trap
    y[0] = x[threadIdx.x];
}

extern "C" __global__ void trap_called(const float* x, float* y, int n) {
    if (threadIdx.x == 40)
        __trap();  // <- trap
    y[threadIdx.x] = 0;
}

// ---- warp-lane ------------------------------------------------------------------------------------------

// Each lane of half a warp reads one of the other half.
// grid 1, block 32, n 32
extern "C" __global__ void lane_not_in_the_mask(const float* x, float* y, int n) {
    float value = x[threadIdx.x];
    if (threadIdx.x < 16)
        value = __shfl_down_sync(0xffffu, value, 16);  // <- warp-lane
    y[threadIdx.x] = value;
}

// The mask of a butterfly names lanes that the block does not have.
// grid 2, block 20, n 40
extern "C" __global__ void lane_of_no_thread(const float* x, float* y, int n) {
    float sum = x[blockIdx.x * 20 + threadIdx.x];
    for (int distance = 16; distance > 0; distance /= 2)
        sum += __shfl_xor_sync(LANES, sum, distance);  // <- warp-lane
    y[blockIdx.x * 20 + threadIdx.x] = sum;
}

// A butterfly over 24 lanes: the other 8 have another branch.
// grid 1, block 64, n 64
extern "C" __global__ void lane_of_another_branch(const float* x, float* y, int n) {
    float most = x[threadIdx.x];
    if (threadIdx.x % 32 < 24) {
        for (int distance = 16; distance > 0; distance /= 2)
            most = fmaxf(most, __shfl_xor_sync(0xffffffu, most, distance));  // <- warp-lane
    }
    y[threadIdx.x] = most;
}

// The sum of the first 20 elements lacks what lanes 20 to 31 do not add, and has what they do not define.
// grid 1, block 32, n 20
extern "C" __global__ void lane_that_has_ended(const float* x, float* y, int n) {
    unsigned mask = __ballot_sync(LANES, threadIdx.x < n);
    if (threadIdx.x >= n) return;
    int sum = 100 * x[threadIdx.x];
    for (int distance = 16; distance > 0; distance /= 2)
        sum += __shfl_down_sync(mask, sum, distance);  // <- warp-lane
    if (threadIdx.x == 0) y[0] = sum;
}

// grid 1, block 32, n 32
extern "C" __global__ void lane_by_its_number(const float* x, float* y, int n) {
    double value = x[threadIdx.x];
    if (threadIdx.x >= 8)
        value = __shfl_sync(0xffffff00u, value, 0);  // <- warp-lane
    y[threadIdx.x] = value;
}

// Lanes 4 to 7 read the group below, as a width of 8 lets them.
// grid 1, block 32, n 32
extern "C" __global__ void lane_below_the_mask(const float* x, float* y, int n) {
    float value = x[threadIdx.x];
    if (threadIdx.x % 8 >= 4)
        value += __shfl_up_sync(0xf0f0f0f0u, value, 2, 8);  // <- warp-lane
    y[threadIdx.x] = value;
}

// The least of a warp that is not whole.
// grid 1, block 27, n 27
extern "C" __global__ void lane_in_a_minimum(const float* x, float* y, int n) {
    int least = 1000 * x[threadIdx.x];
    for (int distance = 1; distance < 32; distance *= 2)
        least = min(least, __shfl_xor_sync(LANES, least, distance));  // <- warp-lane
    y[threadIdx.x] = least;
}

// ---- heap, and variables in constant and global memory --------------------------------------------------

extern "C" __global__ void heap_used_after_free(const float* x, float* y, int n) {
    float* copy = static_cast<float*>(malloc(sizeof(float)));
    *copy = x[threadIdx.x];
    free(copy);
    y[threadIdx.x] = *copy;  // <- heap
}

extern "C" __global__ void heap_freed_twice(const float* x, float* y, int n) {
    float* copy = new float[2];
    copy[0] = y[threadIdx.x] = x[threadIdx.x];
    if (copy[0] >= 0) delete[] copy;
    delete[] copy;  // <- heap
}

extern "C" __global__ void heap_beyond_its_end(const float* x, float* y, int n) {
    float* copies = new float[n];
    for (int i = 0; i <= n; ++i)
        copies[i] = x[threadIdx.x];  // <- out-of-bounds
    y[threadIdx.x] = copies[n - 1];
    delete[] copies;
}

__constant__ float factors[4] = {1, 2, 3, 4};
__device__ int finished;

extern "C" __global__ void constant_beyond_its_end(const float* x, float* y, int n) {
    const float* factor = factors;
    y[threadIdx.x] = x[threadIdx.x] * factor[threadIdx.x % 5];  // <- out-of-bounds
}

extern "C" __global__ void constant_written(const float* x, float* y, int n) {
    if (threadIdx.x == 5) factors[0] = x[0];  // <- const-write
    y[threadIdx.x] = x[threadIdx.x];
}

extern "C" __global__ void race_on_a_device_variable(const float* x, float* y, int n) {
    if (x[threadIdx.x] > 0.5f)
        ++finished;  // <- race
    y[threadIdx.x] = x[threadIdx.x];
}
