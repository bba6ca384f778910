// The checker: what it is told by the executor, by the instrumented kernel, and by Python.
//
// A checked module is the user's source compiled with `-fsanitize=thread,alignment,bounds` (instrumentation.py has
// the options), but linked with checker.cpp in place of those sanitizers' runtimes: the compiler puts a call
// before each access to memory (__tsan_read4, ...), and the checker decides what the access means on a GPU.
//
// The executor runs the blocks of a checked launch one after another on one OS thread; within a block it runs
// the threads in ascending order, each until it blocks. It includes this header where MINIALEX_CHECKED is
// defined. `place` is always the return address of the call in the user's code: __builtin_return_address(0) in
// the function of the runtime that the inlined __syncthreads(), __shfl_sync(), ... call.
#pragma once

#include <cstddef>
#include <cstdint>

namespace minialex {

// ---- Told by the executor -------------------------------------------------------------------------------

// A block starts. Python has named its static shared variables; its dynamic shared memory, if any, is given.
void check_block_begin(const unsigned block_index[3], const unsigned block_size[3], void* dynamic_shared,
                       size_t dynamic_bytes);

// From now on, accesses are those of this thread of the block (x + size.x * (y + size.y * z)).
void check_thread_switch(unsigned thread);

// The thread has returned from the kernel, or was stopped by stop_thread().
void check_thread_exit(unsigned thread);

// The thread has arrived at a barrier (__syncthreads and its variants).
void check_barrier(unsigned thread, const void* place);

// The barrier releases all threads that have arrived. The executor does this when every thread that has not
// exited has arrived, and also when no thread of the block can go on: the checker reports who was missing.
void check_barrier_release();

// The thread has arrived at a warp operation (shuffle, vote, match, __syncwarp) with this mask.
void check_warp_operation(unsigned thread, uint32_t mask, const void* place);

// The operation is carried out for `lanes` of a warp: those of the mask, once all have arrived; or, when no
// thread of the block can go on, those that have. Only __syncwarp orders accesses to memory.
void check_warp_release(unsigned warp, uint32_t lanes, bool orders_memory);

// The shuffle that a thread is in reads a lane that takes no part. Returns what the thread gets: `value`, or the one
// that Python has asked for.
uint64_t check_absent_lane(unsigned thread, unsigned lane, uint64_t value);

// Whether the launch is one that was checked before, and must not print.
bool check_is_repeated();

// The processor has refused something (faults.h), or the thread had to end the launch. Returns whether the checker
// has noted it.
bool check_fault(bool is_division, bool stack_is_full, bool has_address, uintptr_t address, const void* place);
bool check_trap(const char* reason, const void* place);

void check_block_end();

// The kernel calls malloc() or new. The checker gives the memory; null if nothing is being checked.
void* check_heap_take(size_t bytes);

// It calls free() or delete. False if nothing is being checked. A mistake is a finding.
bool check_heap_give(void* memory, const void* place);

// ---- Told to the executor -------------------------------------------------------------------------------

// Ends the current thread as if it had returned from the kernel; implemented by the executor.
[[noreturn]] void stop_thread();

// Whether an address is on the stack of the thread that runs.
bool is_on_stack(uintptr_t address);

}  // namespace minialex

// ---- Told by Python (ctypes; see checker.py) ----------------------------------------------------------------

extern "C" {

// An array of the launch. The checker allocates `data`, far from every other array.
struct CheckedArray {
    uint64_t bytes;
    uint32_t granule;      // bytes that are written as one: the array's item size, 4 at most
    uint32_t constant;     // 1: no thread may write it
    uint32_t initialised;  // 1: it may be read before it is written
    uint32_t offset;       // of its begin, from a multiple of 256 bytes
    void* data;
};

// A variable of the module in shared, global or constant memory. In a checked module each begins at a multiple of
// 64 KiB, so that no other one lies right behind its end.
struct CheckedVariable {
    uint64_t address;
    uint64_t bytes;
    uint64_t limit;     // where the next symbol of the library begins, at most 64 KiB from the variable's last byte
    uint32_t space;     // 0 global memory, 1 shared memory
    uint32_t constant;  // 1: no thread may write it
    int32_t array;      // its number in findings
    uint32_t reserved;
};

enum CheckedKind : uint32_t {
    RACE,
    BARRIER_MISSED,    // some threads had exited, or wait elsewhere
    BARRIER_DIVERGED,  // the threads wait at different barriers
    UNINITIALISED,
    OUT_OF_BOUNDS,
    OUT_OF_DIMENSION,  // an index outside the declared dimension of an array
    MISALIGNED,
    CONST_WRITE,
    MASK_WITHOUT_CALLER,
    MASK_NAMES_ABSENT,
    ACCESS_FAULT,  // the processor refused the access
    DIVISION,
    STACK_FULL,
    TRAP,          // an assertion has failed, or the kernel has called __trap(): `reason` says it
    ABSENT_LANE,   // a shuffle reads a lane that takes no part: `mask` is that of the shuffle, `offset` the lane
    UNREACHABLE,   // the thread came to a place that the compiler took to be out of reach
    FREED,         // an access to memory of the heap that was given back
    BAD_FREE,      // what is given back is not the heap's, or was given back before
};

struct CheckedFinding {
    uint32_t kind;
    uint32_t space;        // 0 global memory, 1 shared memory, 2 neither
    uint64_t place;        // where it was noticed
    uint64_t other_place;  // RACE: the earlier access; BARRIER_DIVERGED: the other barrier
    uint64_t address;
    int64_t offset;  // in bytes from the begin of the array or variable; OUT_OF_DIMENSION: the index
    int32_t array;   // which array or variable; -1 unknown, -2 memory from the heap
    uint32_t bytes;  // of the access
    uint32_t thread, other_thread;
    uint32_t block[3], other_block[3];
    uint32_t write, other_write;  // 0 read, 1 write, 2 atomic
    uint32_t mask, lanes;         // of a warp operation; BARRIER_MISSED: threads missing, threads waiting
    char reason[256];
    uint64_t times;
};

// What one instruction of the kernel has moved, in units of its warps.
struct CheckedTraffic {
    uint64_t place;
    uint32_t space;  // 0 global memory, 1 shared memory
    uint32_t write;  // 0 read, 1 write, 2 atomic
    uint64_t instructions, accesses, bytes, sectors, ideal_sectors, bank_conflicts;
};

int checker_begin(CheckedArray* arrays, int count, const CheckedVariable* variables, int variable_count);
// Until checker_end(): the launch is a repetition, in which the shuffle at `place` gives `value` for a lane that takes
// no part.
void checker_repeat(uint64_t place, uint64_t value);
int checker_findings(const CheckedFinding** findings);
int checker_traffic(const CheckedTraffic** traffic);
void checker_end();

}  // extern "C"
