// Philox 4x32-10, a stateless random number generator (Salmon et al. 2011, "Parallel random numbers: as
// easy as 1, 2, 3"): it turns a counter of four words into four random words, under a key of two.
//
// Each thread computes the words it needs from their index, and none waits for another: this is why
// GPUs use it. The words are the same for any grid, and on the CPU.

// Replaces the counter in `words` by its random words. The array stays in registers, because every index is a
// constant.
__device__ void philox(unsigned int words[4], unsigned int key_low, unsigned int key_high)
{
#pragma unroll
    for (int round = 0; round < 10; ++round) {
        unsigned long long first = 0xD2511F53ull * words[0];
        unsigned long long second = 0xCD9E8D57ull * words[2];
        words[0] = (unsigned int)(second >> 32) ^ words[1] ^ key_low;
        words[1] = (unsigned int)second;
        words[2] = (unsigned int)(first >> 32) ^ words[3] ^ key_high;
        words[3] = (unsigned int)first;
        key_low += 0x9E3779B9u;
        key_high += 0xBB67AE85u;
    }
}
