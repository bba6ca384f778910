// Kernels that are right, and look in one way or another as if they were not: the checker has to report nothing.
//
// All are launched with x and y of n floats, y uninitialised unless "in place" is said; what differs from a grid
// of 1, a block of 64 and n = 64 stands above the kernel.

#define LANES 0xffffffffu

// Square matrices; no multiple of the tile.
// grid (3, 3), block (16, 16), n 1369
extern "C" __global__ void tiled_matmul(const float* x, float* y, int n) {
    __shared__ float a[16][16];
    __shared__ float b[16][16];
    const int width = 37;
    int row = blockIdx.y * 16 + threadIdx.y, column = blockIdx.x * 16 + threadIdx.x;
    float sum = 0;
    for (int start = 0; start < width; start += 16) {
        int k = start + threadIdx.x, l = start + threadIdx.y;
        a[threadIdx.y][threadIdx.x] = row < width && k < width ? x[row * width + k] : 0;
        b[threadIdx.y][threadIdx.x] = l < width && column < width ? x[l * width + column] : 0;
        __syncthreads();
        for (int i = 0; i < 16; ++i) sum += a[threadIdx.y][i] * b[i][threadIdx.x];
        __syncthreads();
    }
    if (row < width && column < width) y[row * width + column] = sum;
}

// Two tiles in turn: one barrier for each step is enough.
// grid 1, block 64, n 640
extern "C" __global__ void double_buffered(const float* x, float* y, int n) {
    __shared__ float tile[2][64];
    int i = threadIdx.x;
    float sum = 0;
    tile[0][i] = x[i];
    for (int step = 0; step < 10; ++step) {
        __syncthreads();
        if (step < 9) tile[(step + 1) % 2][i] = x[(step + 1) * 64 + i];
        sum += tile[step % 2][63 - i];
    }
    for (int k = 0; k < 10; ++k) y[k * 64 + i] = sum;
}

// grid 2, block 256, n 400
extern "C" __global__ void reduction_with_shuffles(const float* x, float* y, int n) {
    __shared__ float of_warp[8];
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    float sum = i < n ? x[i] : 0;
    for (int offset = 16; offset > 0; offset /= 2) sum += __shfl_down_sync(LANES, sum, offset);
    if (threadIdx.x % 32 == 0) of_warp[threadIdx.x / 32] = sum;
    __syncthreads();
    if (threadIdx.x < 8) {
        sum = of_warp[threadIdx.x];
        for (int offset = 4; offset > 0; offset /= 2) sum += __shfl_xor_sync(0xffu, sum, offset);
    }
    if (threadIdx.x == 0) y[blockIdx.x] = sum;
}

// grid 3, block 64, n 190
extern "C" __global__ void reduction_in_shared_memory(const float* x, float* y, int n) {
    __shared__ float sums[64];
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    sums[threadIdx.x] = i < n ? x[i] : 0;
    for (int half = 32; half > 0; half /= 2) {
        __syncthreads();
        if (threadIdx.x < half) sums[threadIdx.x] += sums[threadIdx.x + half];
    }
    if (threadIdx.x == 0) y[blockIdx.x] = sums[0];
}

// Within a warp __syncwarp() is enough, before and after each exchange.
extern "C" __global__ void scan_of_a_warp(const float* x, float* y, int n) {
    __shared__ float values[2][32];
    int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    float sum = x[threadIdx.x];
    for (int offset = 1; offset < 32; offset *= 2) {
        values[warp][lane] = sum;
        __syncwarp();
        float left = lane >= offset ? values[warp][lane - offset] : 0;
        __syncwarp();
        sum += left;
    }
    y[threadIdx.x] = sum;
}

// Each half of a warp has a mask, and a synchronisation, of its own.
// grid 1, block 32, n 32
extern "C" __global__ void halves_of_a_warp(const float* x, float* y, int n) {
    __shared__ float tile[32];
    int lane = threadIdx.x;
    unsigned mask = lane < 16 ? 0x0000ffffu : 0xffff0000u;
    tile[lane] = x[lane];
    __syncwarp(mask);
    float value = tile[lane ^ 15];
    for (int offset = 8; offset > 0; offset /= 2) value += __shfl_xor_sync(mask, value, offset);
    y[lane] = value;
}

// A branch with the mask of the lanes that take it.
extern "C" __global__ void mask_of_a_branch(const float* x, float* y, int n) {
    bool taken = x[threadIdx.x] > 0.5f;
    unsigned mask = __ballot_sync(LANES, taken);
    float value = 0;
    if (taken) value = __shfl_sync(mask, x[threadIdx.x], __ffs(mask) - 1);
    y[threadIdx.x] = value;
}

// The last warp has 8 lanes only: there are no others for the mask to name.
// grid 1, block 40, n 40
extern "C" __global__ void block_of_no_whole_warps(const float* x, float* y, int n) {
    __shared__ int positive;
    int count = __popc(__ballot_sync(LANES, x[threadIdx.x] > 0));
    if (threadIdx.x == 0) positive = 0;
    __syncthreads();
    if (threadIdx.x % 32 == 0) atomicAdd(&positive, count);
    __syncthreads();
    y[threadIdx.x] = positive;
}

// grid 2, block 64, n 500
extern "C" __global__ void vectorised_copy(const float* x, float* y, int n) {
    int vectors = n / 4;
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < vectors; i += gridDim.x * blockDim.x)
        ((float4*)y)[i] = ((const float4*)x)[i];
}

// 50 rows of 30 become 30 rows of 50.
// grid (1, 2), block (32, 8), n 1500
extern "C" __global__ void padded_transpose(const float* x, float* y, int n) {
    __shared__ float tile[32][33];
    const int rows = 50, columns = 30;
    for (int k = threadIdx.y; k < 32; k += 8) {
        int row = blockIdx.y * 32 + k, column = blockIdx.x * 32 + threadIdx.x;
        if (row < rows && column < columns) tile[k][threadIdx.x] = x[row * columns + column];
    }
    __syncthreads();
    for (int k = threadIdx.y; k < 32; k += 8) {
        int row = blockIdx.x * 32 + k, column = blockIdx.y * 32 + threadIdx.x;
        if (row < columns && column < rows) y[row * rows + column] = tile[threadIdx.x][k];
    }
}

// In place: the counts are added to.
// grid 4, block 64, n 256
extern "C" __global__ void histogram(const float* x, float* y, int n) {
    __shared__ int counts[16];
    if (threadIdx.x < 16) counts[threadIdx.x] = 0;
    __syncthreads();
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    atomicAdd(&counts[(int)(x[i] * 15.99f)], 1);
    __syncthreads();
    if (threadIdx.x < 16) atomicAdd((int*)y + threadIdx.x, counts[threadIdx.x]);
}

// In place: each thread has elements of its own, in whatever order the blocks run.
// grid 3, block 64, n 1000
extern "C" __global__ void grid_stride_update(const float* x, float* y, int n) {
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) {
        y[i] += x[i];
        y[i] *= 2;
    }
}

// Neighbours write neighbouring bytes of one word.
// grid 1, block 64, n 16
extern "C" __global__ void bytes(const float* x, float* y, int n) {
    __shared__ unsigned char marks[64];
    int i = threadIdx.x;
    marks[i] = x[i % 16] > 0.5f;
    __syncthreads();
    ((unsigned char*)y)[i] = marks[63 - i];
}

// A thread may leave early where nobody waits for it afterwards.
// grid 2, block 64, n 100
extern "C" __global__ void early_exit(const float* x, float* y, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    y[i] = __ldg(x + i);
}

// All threads take the same branch, and the same number of rounds.
// grid 2, block 64, n 128
extern "C" __global__ void barrier_in_a_uniform_branch(const float* x, float* y, int n) {
    __shared__ float tile[64];
    int i = blockIdx.x * 64 + threadIdx.x;
    float value = x[i];
    if (blockIdx.x == 0) {
        for (int round = 0; round < 3; ++round) {
            tile[threadIdx.x] = value;
            __syncthreads();
            value += tile[63 - threadIdx.x];
            __syncthreads();
        }
    }
    y[i] = value;
}

__device__ float sum_of_block(float value, float* scratch) {
    scratch[threadIdx.x] = value;
    __syncthreads();
    float sum = 0;
    for (int i = 0; i < 64; ++i) sum += scratch[i];
    __syncthreads();
    return sum;
}

// One barrier of a function is reached from several calls.
extern "C" __global__ void barriers_in_a_function(const float* x, float* y, int n) {
    __shared__ float scratch[64];
    float mean = sum_of_block(x[threadIdx.x], scratch) / n;
    float distance = x[threadIdx.x] - mean;
    float variance = sum_of_block(distance * distance, scratch) / n;
    y[threadIdx.x] = distance / sqrtf(variance + 1e-5f);
}

// The block that comes last, which may be any, adds up what all have written: ordered by fences and the atomic
// counter. In place: the counter, the last element of y, starts at 0.
// grid 4, block 64, n 256
extern "C" __global__ void last_block_adds_up(const float* x, float* y, int n) {
    __shared__ bool is_last;
    int i = blockIdx.x * 64 + threadIdx.x;
    if (i < n - 1) y[i] = x[i];
    __threadfence();
    __syncthreads();
    if (threadIdx.x == 0) is_last = atomicAdd((int*)y + n - 1, 1) == 3;
    __syncthreads();
    if (is_last && threadIdx.x == 0) {
        float sum = 0;
        for (int k = 0; k < n - 1; ++k) sum += y[k];
        y[0] = sum;
    }
}

// The block's last read of shared memory needs no barrier after it.
extern "C" __global__ void no_barrier_at_the_end(const float* x, float* y, int n) {
    __shared__ float first;
    if (threadIdx.x == 0) first = x[0];
    __syncthreads();
    y[threadIdx.x] = first;
}

// An index that is computed outside, and used inside of the array only.
extern "C" __global__ void clamped_neighbours(const float* x, float* y, int n) {
    int i = threadIdx.x;
    const float* left = x + i - 1;
    y[i] = x[i] + (i > 0 ? *left : 0) + (i + 1 < n ? x[i + 1] : 0);
}

// 200 KB for each thread, of the 512 KiB that CUDA allows, while the others have theirs.
// grid 2, block 3, n 6
extern "C" __global__ void large_local_array(const float* x, float* y, int n) {
    float values[50000];
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    for (int k = 0; k < 50000; k += 500) values[k] = k + x[i];
    __syncthreads();
    float sum = 0;
    for (int k = 0; k < 50000; k += 500) sum += values[(k + 12500) % 50000];
    y[i] = sum;
}

// Lanes beyond the last give the caller's own value, as do those before the first: defined, whether used or not.
// grid 1, block 64, n 64
extern "C" __global__ void shuffles_out_of_range(const float* x, float* y, int n) {
    float value = x[threadIdx.x];
    float next = __shfl_down_sync(LANES, value, 5), before = __shfl_up_sync(LANES, value, 3);
    float group_next = __shfl_down_sync(LANES, value, 3, 8), group_before = __shfl_up_sync(LANES, value, 2, 4);
    y[threadIdx.x] = next + 2 * before + 3 * group_next + 4 * group_before;
}

// A running sum by shuffles; half a warp each.
// grid 2, block 48, n 96
extern "C" __global__ void running_sum(const float* x, float* y, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x, lane = threadIdx.x % 16;
    unsigned mask = threadIdx.x % 32 < 16 ? 0x0000ffffu : 0xffff0000u;
    float sum = x[i];
    for (int distance = 1; distance < 16; distance *= 2) {
        float before = __shfl_up_sync(mask, sum, distance, 16);
        if (lane >= distance) sum += before;
    }
    y[i] = sum;
}

// The upper lanes of half a warp read lanes that take no part, and nobody uses what they get.
// grid 1, block 64, n 64
extern "C" __global__ void sum_of_half_a_warp(const float* x, float* y, int n) {
    float sum = x[threadIdx.x];
    if (threadIdx.x < 16)
        for (int distance = 8; distance > 0; distance /= 2) sum += __shfl_down_sync(0xffffu, sum, distance);
    if (threadIdx.x == 0) y[0] = sum;
}

// The last lanes of a block that is no whole warp read beyond it, and do not use it.
// grid 1, block 45, n 45
extern "C" __global__ void difference_to_the_next(const float* x, float* y, int n) {
    float value = x[threadIdx.x];
    float next = __shfl_down_sync(LANES, value, 1);
    y[threadIdx.x] = threadIdx.x % 32 == 31 || threadIdx.x == 44 ? 0 : next - value;
}

// Each warp of the block, whole or not, by a butterfly over the power of two that it has.
// grid 1, block 40, n 40
extern "C" __global__ void butterfly_of_what_is_there(const float* x, float* y, int n) {
    int lanes = threadIdx.x < 32 ? 32 : 8;
    float sum = x[threadIdx.x];
    for (int distance = lanes / 2; distance > 0; distance /= 2) sum += __shfl_xor_sync(LANES, sum, distance);
    y[threadIdx.x] = sum;
}

// A list on the heap, and a counter of all blocks.
__device__ unsigned int blocks_done;
__constant__ float offsets[2] = {0.25f, 0.5f};

// grid 3, block 16, n 48
extern "C" __global__ void heap_and_variables(const float* x, float* y, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    float* values = new float[3];
    for (int k = 0; k < 3; ++k) values[k] = x[i] + offsets[k % 2];
    __syncthreads();
    y[i] = values[0] + values[1] + values[2];
    delete[] values;
    if (threadIdx.x == 0) atomicAdd(&blocks_done, 1u);
}
