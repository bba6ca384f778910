// Accesses of which a person can say what they move: one warp of 32 lanes, x and y of 2048 floats.

extern "C" __global__ void coalesced(const float* x, float* y, int n) {
    y[threadIdx.x] = x[threadIdx.x];
}

extern "C" __global__ void strided_by_2(const float* x, float* y, int n) {
    y[threadIdx.x] = x[2 * threadIdx.x];
}

extern "C" __global__ void strided_by_32(const float* x, float* y, int n) {
    y[threadIdx.x] = x[32 * threadIdx.x];
}

extern "C" __global__ void reversed(const float* x, float* y, int n) {
    y[threadIdx.x] = x[31 - threadIdx.x];
}

extern "C" __global__ void shifted_by_1(const float* x, float* y, int n) {
    y[threadIdx.x] = x[threadIdx.x + 1];
}

extern "C" __global__ void broadcast(const float* x, float* y, int n) {
    y[threadIdx.x] = x[7];
}

extern "C" __global__ void vectors(const float* x, float* y, int n) {
    ((float4*)y)[threadIdx.x] = ((const float4*)x)[threadIdx.x];
}

// A row of 3 floats for each lane, of which each load takes one.
extern "C" __global__ void structures(const float* x, float* y, int n) {
    float sum = 0;
    for (int k = 0; k < 3; ++k)
        sum += x[3 * threadIdx.x + k];
    y[threadIdx.x] = sum;
}

// Half of the lanes come to the load.
extern "C" __global__ void half_a_warp(const float* x, float* y, int n) {
    if (threadIdx.x % 2 == 0)
        y[threadIdx.x] = x[threadIdx.x];
}

// The lanes leave the loop one after another.
extern "C" __global__ void triangle(const float* x, float* y, int n) {
    float sum = 0;
    for (int k = 0; k <= threadIdx.x; ++k)
        sum += x[64 * k];
    y[threadIdx.x] = sum;
}

extern "C" __global__ void conflict_free(const float* x, float* y, int n) {
    __shared__ float tile[32];
    tile[threadIdx.x] = 1;
    __syncwarp();
    y[threadIdx.x] = tile[threadIdx.x ^ 5];
}

extern "C" __global__ void column_of_a_tile(const float* x, float* y, int n) {
    __shared__ float tile[32][32];
    for (int k = 0; k < 32; ++k) tile[k][threadIdx.x] = k;
    __syncwarp();
    y[threadIdx.x] = tile[threadIdx.x][3];
}

extern "C" __global__ void column_of_a_padded_tile(const float* x, float* y, int n) {
    __shared__ float tile[32][33];
    for (int k = 0; k < 32; ++k) tile[k][threadIdx.x] = k;
    __syncwarp();
    y[threadIdx.x] = tile[threadIdx.x][3];
}

extern "C" __global__ void banks_strided_by_2(const float* x, float* y, int n) {
    __shared__ float tile[64];
    for (int k = 0; k < 2; ++k) tile[threadIdx.x + 32 * k] = 1;
    __syncwarp();
    y[threadIdx.x] = tile[2 * threadIdx.x];
}

extern "C" __global__ void bank_broadcast(const float* x, float* y, int n) {
    __shared__ float tile[32];
    tile[threadIdx.x] = 1;
    __syncwarp();
    y[threadIdx.x] = tile[threadIdx.x / 8];
}

extern "C" __global__ void bank_vectors(const float* x, float* y, int n) {
    __shared__ float4 tile[32];
    tile[threadIdx.x] = make_float4(1, 2, 3, 4);
    __syncwarp();
    float4 v = tile[31 - threadIdx.x];
    y[threadIdx.x] = v.x + v.w;
}

extern "C" __global__ void bank_doubles(const float* x, float* y, int n) {
    __shared__ double tile[64];
    for (int k = 0; k < 2; ++k) tile[threadIdx.x + 32 * k] = 1;
    __syncwarp();
    y[threadIdx.x] = (float)tile[2 * threadIdx.x];
}
