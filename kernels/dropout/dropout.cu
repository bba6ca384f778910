/*
Dropout with a mask from Philox 4x32-10; kernels/dropout/__init__.py has the definition.

    y[i] = x[i] / divisor if word i % 4 of Philox block i / 4 is below the threshold, else 0

A thread makes the four words of one Philox block, those of four neighbouring elements. If it also wrote these
four elements, neighbouring threads would write four elements apart. So the 256 threads of a block put their
1024 words into shared memory, and each takes those of four elements that are 256 apart.

In shared memory the first words of all threads come first, then the second ones, ... A warp that reads the
words of 32 neighbouring elements reads 8 of each row. There are 32 banks: rows that began at the same bank
would cause four-way conflicts. The padding makes each row begin 8 banks after the one before.
*/

#include "real.cuh"
#include "philox.cuh"

#define THREADS 256
#define PADDING 8

extern "C" __global__ void __launch_bounds__(256)
dropout_forward(
    const real* __restrict__ x, real* __restrict__ y, int n,
    real divisor, unsigned long long threshold, unsigned long long seed, unsigned long long offset)
{
    __shared__ unsigned int words_of[4][THREADS + PADDING];

    for (int start = blockIdx.x * (4 * THREADS); start < n; start += gridDim.x * (4 * THREADS)) {
        // The counter's second word is the high half of the block index, which is 0 for an int.
        unsigned int block = start / 4 + threadIdx.x;
        unsigned int words[4] = {block, 0, (unsigned int)offset, (unsigned int)(offset >> 32)};
        philox(words, (unsigned int)seed, (unsigned int)(seed >> 32));
        for (int word = 0; word < 4; ++word)
            words_of[word][threadIdx.x] = words[word];
        __syncthreads();

        for (int place = threadIdx.x; place < 4 * THREADS && start + place < n; place += THREADS) {
            real scaled = x[start + place] / divisor;
            y[start + place] = words_of[place % 4][place / 4] < threshold ? scaled : 0;
        }
        __syncthreads();
    }
}
