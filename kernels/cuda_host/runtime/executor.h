// What a compiled CUDA source and the executor (executor.cpp) know about each other.
//
// The executor runs the blocks of a grid on a few OS threads, and the threads of a block one after another on
// the OS thread that has the block. Each CUDA thread runs until it has to wait for others, at a barrier or in
// a warp operation; then another runs, on a stack of its own. Threads that never wait cost no switch:
// they are the iterations of a plain loop (Invocation in kernel.h), which the compiler may even vectorise.
#pragma once

#include <stddef.h>
#include <stdint.h>

struct uint3 {
    unsigned int x, y, z;
};

struct dim3 {
    unsigned int x, y, z;
    constexpr dim3(unsigned int x = 1, unsigned int y = 1, unsigned int z = 1) : x(x), y(y), z(z) {}
    constexpr dim3(uint3 v) : x(v.x), y(v.y), z(v.z) {}
    constexpr operator uint3() const { return {x, y, z}; }
};

#pragma GCC visibility push(default)

namespace minialex {

// A checked module runs its blocks on one OS thread and has an executor of its own. Others share one, so that
// all modules of a process need only a few bytes of the scarce static thread-local memory.
#ifdef MINIALEX_CHECKED
#define MINIALEX_PER_OS_THREAD
#else
#define MINIALEX_PER_OS_THREAD __thread __attribute__((tls_model("initial-exec")))
#endif

// Where the running CUDA thread is. Its own index is kept by the kernel's library, which sets `thread`
// before it calls the executor; the executor sets it where a thread starts.
struct Here {
    uint3 thread;
    bool scheduled;  // a thread of the block has had to wait, so that the executor chooses who runs
    uint3 block;
    dim3 block_size, grid_size;
    void* dynamic_shared;
    bool quiet;  // the kernel runs again to find something out, and prints nothing
};

extern MINIALEX_PER_OS_THREAD Here here;

struct Parameter {
    enum Kind { SCALAR, VECTOR, STRUCTURE };
    const char* type;  // without const and *
    int kind;          // of that type
    int pointer, constant;
    int bytes;  // of the value, or of what it points to
};

struct Kernel {
    const char* name;
    const char* parameter_names;  // separated by commas; empty if they are not known
    const Parameter* parameters;
    int parameter_count;
    int launch_bound;  // the most threads of a block that the kernel declares; 0 if it does not
    void (*run)(const uint64_t* arguments);  // each argument takes as many words as it needs
    const char* library;                // where the library that it is in begins
    const char *code_begin, *code_end;  // of the source, in that library
    const char* file;  // where the kernel is defined
    int line;
};

// A variable in global or constant memory, outside functions.
struct Global {
    const char* name;
    void* address;
    const char* element;  // the type of its elements, without const; null for a structure
    int constant;         // it lies in constant memory
    int read_only;        // it is declared const
    uint64_t bytes, element_bytes;
    int rank;  // of an array: the extents of its dimensions
    uint64_t extents[8];
};

enum class Barrier : uint8_t { PLAIN, COUNT, AND, OR };
enum class WarpOperation : uint8_t {
    SYNC, INDEX, UP, DOWN, XOR, BALLOT, ANY, ALL, UNIFORM, MATCH, MATCH_ALL,
    REDUCE_ADD, REDUCE_MIN, REDUCE_MAX, REDUCE_AND, REDUCE_OR, REDUCE_XOR
};

// The running thread has ended, or a row of threads has. True: run the kernel for here.thread.
bool next_threads();

// Waits for all threads of the block; returns the number of those whose `vote` was true.
unsigned barrier(Barrier kind, bool vote);

// Waits for the lanes of `mask`. Returns the value of another lane (INDEX, UP, DOWN, XOR: `argument` is that of the
// CUDA function), the lanes whose value is not zero (BALLOT, ANY, ALL, UNIFORM: none or all) or equal (MATCH,
// MATCH_ALL), or all values combined (REDUCE: as signed numbers of 64 bits).
uint64_t warp_operation(WarpOperation operation, uint32_t mask, uint64_t value, int argument, int width);

// The lanes of the warp that have come to the same place when no lane can go on.
uint32_t converged_lanes();

// Prints what printf() made of its arguments.
void write_output(const char* text, int length);

// Ends the launch with an error: an assertion has failed, or the kernel has called __trap().
[[noreturn]] void stop_launch(const char* reason, const char* file, int line);
[[noreturn]] void stop_launch_at(const char* reason, const void* place);

// malloc and free of kernels; `place` is the return address of the call in the source.
void* heap_take(size_t bytes);
void heap_give(void* memory, const void* place);

}  // namespace minialex

#pragma GCC visibility pop
