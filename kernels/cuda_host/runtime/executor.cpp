// Runs the blocks of a grid on OS threads, and the threads of a block on stacks of their own (executor.h).
//
// One OS thread has one block at a time. A CUDA thread that waits gives way to another: `give_way` chooses it
// and changes the stack, which takes a few nanoseconds. Lanes of the same warp come first, then the other
// warps in order, so that the order of execution is always the same.
//
// Only stacks outlive a launch, and OS threads are made for each launch: a process may fork.
#include "executor.h"

#include <errno.h>
#include <fenv.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <memory>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include "faults.h"

#ifdef MINIALEX_CHECKED
#include "checker.h"
#define TELL_CHECKER(call) call
#else
#define TELL_CHECKER(call)
#endif
#if !defined(__x86_64__) && !defined(__aarch64__)
#include <ucontext.h>
#endif

namespace minialex {

MINIALEX_PER_OS_THREAD Here here{};

namespace {

#define ALWAYS_INLINE static inline __attribute__((always_inline))
#define SELDOM __attribute__((noinline, cold))

constexpr unsigned MAX_THREADS = 1024;  // of a block
constexpr unsigned WARP = 32;
constexpr unsigned MAX_WARPS = MAX_THREADS / WARP;
// A thread's stack holds what CUDA calls local memory, of which a thread has 512 KiB at most. It is address space:
// only the part of a stack that is used takes memory. Its end is out of bounds, and so at first is everything but its
// beginning, which is enough for most kernels.
constexpr size_t STACK_BYTES = 1 << 20, STACK_BEGINNING = 128 << 10, STACK_GUARD = 64 << 10;
constexpr unsigned MAX_STACKS = 24 * MAX_THREADS;  // two mappings each, of the 65530 that Linux allows
constexpr uint64_t NO_VALUE = 0xffffffffffffffff;  // from a lane that takes no part: NaN, or -1

#ifdef MINIALEX_CHECKED
constexpr bool CHECKED = true;
#define CHECKED_AGAIN check_is_repeated()
#else
constexpr bool CHECKED = false;
#define CHECKED_AGAIN false
#endif

// ---- Stacks ---------------------------------------------------------------------------------------------

void first_function_on_a_stack();

#if defined(__x86_64__)
using Context = void*;  // the stack pointer; the rest lies on the stack

// Saves the position on this stack in *save, and continues the other one where it left off. The compiler saves what it
// keeps in registers. It is not used in leaf functions, which may have data beyond the stack pointer.
ALWAYS_INLINE void change_stack(Context* save, Context next) {
    asm volatile(
        "pushq %%rbp\n\t"
        "leaq 1f(%%rip), %%rax\n\t"
        "pushq %%rax\n\t"
        "movq %%rsp, (%0)\n\t"
        "movq %1, %%rsp\n\t"
        "popq %%rax\n\t"
        "jmp *%%rax\n"
        "1:\n\t"
        "popq %%rbp"
        : "+D"(save), "+S"(next)
        :
        : "rax", "rbx", "rcx", "rdx", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "xmm0", "xmm1", "xmm2",
          "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15",
          "memory", "cc");
}

Context new_context(char* top) {
    void** frame = reinterpret_cast<void**>(top) - 2;  // where to start, and no address to return to
    frame[0] = reinterpret_cast<void*>(first_function_on_a_stack);
    frame[1] = nullptr;
    return frame;
}

#elif defined(__aarch64__)
using Context = void*;

extern "C" void change_stack(Context* save, Context next) asm("minialex_change_stack");
asm(R"(
    .text
    .p2align 4
    .type minialex_change_stack, %function
minialex_change_stack:
    sub sp, sp, #160
    stp x19, x20, [sp]
    stp x21, x22, [sp, #16]
    stp x23, x24, [sp, #32]
    stp x25, x26, [sp, #48]
    stp x27, x28, [sp, #64]
    stp x29, x30, [sp, #80]
    stp d8, d9, [sp, #96]
    stp d10, d11, [sp, #112]
    stp d12, d13, [sp, #128]
    stp d14, d15, [sp, #144]
    mov x9, sp
    str x9, [x0]
    mov sp, x1
    ldp x19, x20, [sp]
    ldp x21, x22, [sp, #16]
    ldp x23, x24, [sp, #32]
    ldp x25, x26, [sp, #48]
    ldp x27, x28, [sp, #64]
    ldp x29, x30, [sp, #80]
    ldp d8, d9, [sp, #96]
    ldp d10, d11, [sp, #112]
    ldp d12, d13, [sp, #128]
    ldp d14, d15, [sp, #144]
    add sp, sp, #160
    ret
    .size minialex_change_stack, . - minialex_change_stack
)");

Context new_context(char* top) {
    void** frame = reinterpret_cast<void**>(top) - 20;
    memset(frame, 0, 20 * sizeof(void*));
    frame[11] = reinterpret_cast<void*>(first_function_on_a_stack);  // x30, where `ret` goes
    return frame;
}

#else
using Context = ucontext_t*;

// The context of a stack lies at its top; that of the OS thread, which has no place there, is made here.
void change_stack(Context* save, Context next) {
    ucontext_t self;
    *save = &self;
    swapcontext(&self, next);
}

Context new_context(char* top) {
    Context context = reinterpret_cast<Context>((uintptr_t(top) - sizeof(ucontext_t)) & ~uintptr_t(63));
    getcontext(context);
    char* bottom = reinterpret_cast<char*>((uintptr_t(top) - 1) / STACK_BYTES * STACK_BYTES);
    context->uc_stack.ss_sp = bottom;
    context->uc_stack.ss_size = reinterpret_cast<char*>(context) - bottom;
    context->uc_link = nullptr;
    makecontext(context, first_function_on_a_stack, 0);
    return context;
}
#endif

// The stacks of one OS thread.
class Stacks {
public:
    // The top of a stack; null if there is no memory.
    char* take() {
        if (free_.empty() && !grow()) return nullptr;
        char* top = free_.back();
        free_.pop_back();
        return top;
    }

    void give(char* top) { free_.push_back(top); }

    // Take all of them back, whoever has them.
    void take_back() { free_.assign(all_.rbegin(), all_.rend()); }

    enum class Place { ELSEWHERE, OPENED, GUARD };

    // Opens all of a stack if an address is in the part that is closed.
    Place open(uintptr_t address) {
        for (Slab& slab : slabs_) {
            const uintptr_t offset = address - uintptr_t(slab.memory);
            if (offset >= SLAB * STACK_BYTES) continue;
            const unsigned number = offset / STACK_BYTES;
            const size_t depth = STACK_BYTES - offset % STACK_BYTES;
            if (depth > STACK_BYTES - STACK_GUARD) return Place::GUARD;
            if (depth <= STACK_BEGINNING || slab.opened >> number & 1) return Place::ELSEWHERE;
            char* lowest = slab.memory + number * STACK_BYTES + STACK_GUARD;
            if (mprotect(lowest, CLOSED, PROT_READ | PROT_WRITE) != 0) return Place::GUARD;
            slab.opened |= 1u << number;
            any_opened_ = true;
            return Place::OPENED;
        }
        return Place::ELSEWHERE;
    }

    // Gives back the memory that only a few kernels need.
    void close() {
        if (!any_opened_) return;
        any_opened_ = false;
        for (Slab& slab : slabs_) {
            for (; slab.opened; slab.opened &= slab.opened - 1) {
                char* lowest = slab.memory + __builtin_ctz(slab.opened) * STACK_BYTES + STACK_GUARD;
                madvise(lowest, CLOSED, MADV_DONTNEED);
                mprotect(lowest, CLOSED, PROT_NONE);
            }
        }
    }

    // The readable part of the stack that holds an address: from the first address up to the second.
    std::pair<uintptr_t, uintptr_t> readable(uintptr_t address) const {
        for (const Slab& slab : slabs_) {
            const uintptr_t offset = address - uintptr_t(slab.memory);
            if (offset >= SLAB * STACK_BYTES) continue;
            const unsigned number = offset / STACK_BYTES;
            const uintptr_t end = uintptr_t(slab.memory) + (number + 1) * STACK_BYTES;
            return {end - STACK_BEGINNING - (slab.opened >> number & 1 ? CLOSED : 0), end};
        }
        return {0, 0};
    }

    ~Stacks() {
        for (const Slab& slab : slabs_) munmap(slab.memory, SLAB * STACK_BYTES);
    }

private:
    static constexpr unsigned SLAB = WARP;
    static constexpr size_t CLOSED = STACK_BYTES - STACK_GUARD - STACK_BEGINNING;

    struct Slab {
        char* memory;
        uint32_t opened;  // a bit for each stack
    };

    bool grow() {
        void* memory = mmap(nullptr, SLAB * STACK_BYTES, PROT_NONE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
        if (memory == MAP_FAILED) return false;
        char* slab = static_cast<char*>(memory);
        for (unsigned i = 0; i < SLAB; ++i) {
            char* beginning = slab + (i + 1) * STACK_BYTES - STACK_BEGINNING;
            if (mprotect(beginning, STACK_BEGINNING, PROT_READ | PROT_WRITE) != 0) {
                munmap(slab, SLAB * STACK_BYTES);
                return false;
            }
        }
        slabs_.push_back({slab, 0});
        for (unsigned i = SLAB; i-- > 0;) {
            // Tops at the same offset in their pages would all compete for the same cache lines.
            const size_t offset = (all_.size() * 11 % 64) * 64;
            all_.push_back(slab + (i + 1) * STACK_BYTES - offset);
            free_.push_back(all_.back());
        }
        return true;
    }

    std::vector<Slab> slabs_;
    std::vector<char*> all_, free_;
    bool any_opened_ = false;
};

// ---- One OS thread --------------------------------------------------------------------------------------

struct Launch {
    const Kernel* kernel;
    const uint64_t* arguments;
    uint3 grid, block;
    size_t shared_bytes;
    unsigned workers;
    bool flush_to_zero;
    bool catches_faults;
    uint64_t blocks;
    std::atomic<uint64_t> next_block{0};
    std::atomic<bool> stopped{false};
    std::atomic<unsigned> interrupts{0};
    std::unique_ptr<pthread_t[]> helpers;  // OS threads beside the caller's; their number:
    std::atomic<unsigned> helper_count{0};
};

// Why a launch has ended early.
struct Failure {
    std::string message;  // empty if it has not
    uint64_t block = ~uint64_t(0);
    uintptr_t place = 0;  // a return address in the kernel's code; 0 if it is not known
};

// What an OS thread needs to run a block.
struct Worker {
    Launch* launch = nullptr;
    Stacks stacks;
    std::unique_ptr<char, decltype(&free)> dynamic_shared{nullptr, free};
    size_t dynamic_bytes = 0;
    Failure failure;
    Fault fault;         // what ended the block; without a signal if nothing did
    bool stack_is_full;  // the fault is that
    bool in_block = false;  // on one of its stacks, and not on the OS thread's own
    bool is_helper = false;  // on an OS thread of the executor's own
    bool left_early;     // a thread has ended the block: stacks are still in use

    Context outside;     // the OS thread's own stack
    char* stack;         // the one in use
    unsigned threads, warps;
    unsigned current;    // the thread that runs
    unsigned ended;      // how many threads have
    unsigned at_barrier; // how many threads wait there
    unsigned votes, votes_of_last_barrier;
    Barrier barrier_kind;

    // Of each warp, by lane: who can run, who has not ended, who waits in a warp operation, and who waits in
    // converged_lanes(). Those that are only in `alive` wait at the barrier.
    uint32_t runnable[MAX_WARPS], alive[MAX_WARPS], in_operation[MAX_WARPS], converging[MAX_WARPS];
    uint32_t warps_runnable;

    Context resume[MAX_THREADS];  // where a thread that waits goes on; null for one that has not started
    WarpOperation operation[MAX_THREADS];
    uint32_t mask[MAX_THREADS];
    uint32_t source[MAX_THREADS];  // the lane whose value is wanted
    uint64_t value[MAX_THREADS], result[MAX_THREADS];
};

MINIALEX_PER_OS_THREAD Worker* worker;

const char* name_of(WarpOperation operation) {
    switch (operation) {
        case WarpOperation::SYNC: return "__syncwarp";
        case WarpOperation::INDEX: return "__shfl_sync";
        case WarpOperation::UP: return "__shfl_up_sync";
        case WarpOperation::DOWN: return "__shfl_down_sync";
        case WarpOperation::XOR: return "__shfl_xor_sync";
        case WarpOperation::BALLOT: return "__ballot_sync";
        case WarpOperation::ANY: return "__any_sync";
        case WarpOperation::ALL: return "__all_sync";
        case WarpOperation::UNIFORM: return "__uni_sync";
        case WarpOperation::MATCH: return "__match_any_sync";
        case WarpOperation::MATCH_ALL: return "__match_all_sync";
        case WarpOperation::REDUCE_ADD: return "__reduce_add_sync";
        case WarpOperation::REDUCE_MIN: return "__reduce_min_sync";
        case WarpOperation::REDUCE_MAX: return "__reduce_max_sync";
        case WarpOperation::REDUCE_AND: return "__reduce_and_sync";
        case WarpOperation::REDUCE_OR: return "__reduce_or_sync";
        case WarpOperation::REDUCE_XOR: return "__reduce_xor_sync";
    }
    return "";
}

const char* name_of(Barrier kind) {
    switch (kind) {
        case Barrier::PLAIN: return "__syncthreads";
        case Barrier::COUNT: return "__syncthreads_count";
        case Barrier::AND: return "__syncthreads_and";
        case Barrier::OR: return "__syncthreads_or";
    }
    return "";
}

std::string text(const char* format, ...) __attribute__((format(printf, 1, 2)));
std::string text(const char* format, ...) {
    char buffer[512];
    va_list values;
    va_start(values, format);
    vsnprintf(buffer, sizeof buffer, format, values);
    va_end(values);
    return buffer;
}

uint32_t lanes_of(const Worker& w, unsigned warp) {
    const unsigned lanes = std::min(WARP, w.threads - warp * WARP);
    return lanes == WARP ? 0xffffffffu : (1u << lanes) - 1;
}

void make_runnable(Worker& w, unsigned warp, uint32_t lanes) {
    w.runnable[warp] |= lanes;
    if (lanes) w.warps_runnable |= 1u << warp;
}

ALWAYS_INLINE void no_longer_runnable(Worker& w, unsigned warp, uint32_t lanes) {
    w.runnable[warp] &= ~lanes;
    if (!w.runnable[warp]) w.warps_runnable &= ~(1u << warp);
}

uint3 coordinates(const Worker& w, unsigned thread) {
    const uint3 size = w.launch->block;
    return {thread % size.x, thread / size.x % size.y, thread / size.x / size.y};
}

[[noreturn]] void leave_block(Worker& w) {
    Context never;
    change_stack(&never, w.outside);
    __builtin_unreachable();
}

// Ends the block, and with it the launch. Its stacks are left as they are: kernels have nothing to clean up.
[[noreturn]] SELDOM void fail(Worker& w, const std::string& message) {
    w.failure.message = text("in block (%u, %u, %u): ", here.block.x, here.block.y, here.block.z) + message;
    w.left_early = true;
    leave_block(w);
}

// "threads 0 to 31 and 64": those for which a condition holds; empty if there are none.
template <class Condition>
std::string list_threads(const Worker& w, Condition holds) {
    std::string list;
    unsigned ranges = 0;
    for (unsigned begin = 0; begin < w.threads; ++begin) {
        if (!holds(begin)) continue;
        unsigned end = begin;
        while (end + 1 < w.threads && holds(end + 1)) ++end;
        if (++ranges > 4) {
            list += ", ...";
            break;
        }
        list += ranges > 1 ? ", " : "";
        list += begin == end ? text("%u", begin) : text("%u to %u", begin, end);
        begin = end;
    }
    return list;
}

bool is_set(const uint32_t* lanes, unsigned thread) { return lanes[thread / WARP] >> thread % WARP & 1; }

// No thread can run: says who waits where.
[[noreturn]] SELDOM void report_deadlock(Worker& w) {
    std::string message = "the threads wait for each other forever: ";
    const char* separator = "";
    auto add = [&](const std::string& threads, const std::string& state) {
        if (threads.empty()) return;
        message += separator + ("threads " + threads) + " " + state;
        separator = "; ";
    };
    add(list_threads(w, [&](unsigned t) { return is_set(w.alive, t) && !is_set(w.in_operation, t); }),
        text("wait at %s for all threads of the block", name_of(w.barrier_kind)));
    std::vector<bool> told(w.threads);
    for (unsigned first = 0; first < w.threads; ++first) {
        if (told[first] || !is_set(w.in_operation, first)) continue;
        auto alike = [&](unsigned t) {
            return t / WARP == first / WARP && is_set(w.in_operation, t) && w.mask[t] == w.mask[first] &&
                   w.operation[t] == w.operation[first];
        };
        add(list_threads(w, alike), text("wait in %s for the lanes 0x%08x of warp %u",
                                         name_of(w.operation[first]), w.mask[first], first / WARP));
        for (unsigned t = first; t < w.threads; ++t) told[t] = told[t] || alike(t);
    }
    add(list_threads(w, [&](unsigned t) { return !is_set(w.alive, t); }), "have ended");
    fail(w, message);
}

[[noreturn]] SELDOM void report_other_barrier(Worker& w, Barrier kind) {
    fail(w, text("thread %u waits at %s, while other threads wait at %s", w.current, name_of(kind),
                 name_of(w.barrier_kind)));
}

// A warp operation's mask or width is wrong.
[[noreturn]] SELDOM void report_operation(Worker& w, WarpOperation operation, uint32_t mask, int width) {
    const unsigned lane = w.current % WARP;
    if (!(mask >> lane & 1))
        fail(w, text("thread %u, lane %u of its warp, calls %s with the mask 0x%08x, which lacks that lane", w.current,
                     lane, name_of(operation), mask));
    fail(w, text("thread %u calls %s with the width %d, which is not 1, 2, 4, 8, 16 or 32", w.current,
                 name_of(operation), width));
}

// From now on the executor chooses which thread runs. Those before `current` have ended, those after it
// have not started.
SELDOM void begin_scheduling(Worker& w, unsigned current) {
    here.scheduled = true;
    w.current = current;
    w.ended = current;
    w.at_barrier = w.votes = 0;
    w.warps_runnable = 0;
    for (unsigned warp = 0; warp < w.warps; ++warp) {
        const unsigned begin = warp * WARP;
        const uint32_t not_ended = begin >= current ? 0xffffffffu
                                   : current - begin >= WARP ? 0
                                                             : 0xffffffffu << (current - begin);
        w.alive[warp] = lanes_of(w, warp) & not_ended;
        w.in_operation[warp] = w.converging[warp] = w.runnable[warp] = 0;
        make_runnable(w, warp, w.alive[warp]);
    }
    no_longer_runnable(w, current / WARP, 1u << current % WARP);
    std::fill_n(w.resume + current, w.threads - current, nullptr);
}

SELDOM void begin_scheduling(Worker& w) {
    const uint3 at = here.thread, size = w.launch->block;
    begin_scheduling(w, at.x + size.x * (at.y + size.y * at.z));
}

ALWAYS_INLINE Worker& scheduled_worker() {
    Worker& w = *worker;
    if (__builtin_expect(!here.scheduled, 0)) begin_scheduling(w);
    return w;
}

void release_barrier(Worker& w) {
    TELL_CHECKER(check_barrier_release());
    for (unsigned warp = 0; warp < w.warps; ++warp) make_runnable(w, warp, w.alive[warp] & ~w.in_operation[warp]);
    w.votes_of_last_barrier = w.votes;
    w.at_barrier = w.votes = 0;
}

uint64_t combined(WarpOperation operation, uint64_t x, uint64_t y) {
    switch (operation) {
        case WarpOperation::REDUCE_ADD: return x + y;
        case WarpOperation::REDUCE_MIN: return std::min(int64_t(x), int64_t(y));
        case WarpOperation::REDUCE_MAX: return std::max(int64_t(x), int64_t(y));
        case WarpOperation::REDUCE_AND: return x & y;
        case WarpOperation::REDUCE_OR: return x | y;
        default: return x ^ y;
    }
}

// What a thread gets from a lane that takes no part in a shuffle: CUDA does not define it.
uint64_t value_of_absent_lane([[maybe_unused]] unsigned thread, [[maybe_unused]] unsigned lane) {
#ifdef MINIALEX_CHECKED
    return check_absent_lane(thread, lane, NO_VALUE);
#else
    return NO_VALUE;
#endif
}

// Carries out the operation for which lanes of a warp have come together.
void carry_out(Worker& w, unsigned warp, uint32_t lanes, WarpOperation operation) {
    TELL_CHECKER(check_warp_release(warp, lanes, operation == WarpOperation::SYNC));
    const unsigned begin = warp * WARP;
    const uint64_t* value = w.value + begin;
    uint64_t* result = w.result + begin;
    uint32_t ballot = 0;
    switch (operation) {
        case WarpOperation::SYNC:
            break;
        case WarpOperation::INDEX:
        case WarpOperation::UP:
        case WarpOperation::DOWN:
        case WarpOperation::XOR:
            for (unsigned lane = 0; lane < WARP; ++lane) {
                const uint32_t source = w.source[begin + lane];
                if (lanes >> lane & 1)
                    result[lane] = lanes >> source & 1 ? value[source] : value_of_absent_lane(begin + lane, source);
            }
            break;
        case WarpOperation::BALLOT:
        case WarpOperation::ANY:
        case WarpOperation::ALL:
        case WarpOperation::UNIFORM:
            for (unsigned lane = 0; lane < WARP; ++lane) ballot |= uint32_t(value[lane] != 0) << lane;
            ballot &= lanes;
            for (unsigned lane = 0; lane < WARP; ++lane) {
                if (!(lanes >> lane & 1)) continue;
                result[lane] = operation == WarpOperation::BALLOT ? ballot
                               : operation == WarpOperation::ANY  ? ballot != 0
                               : operation == WarpOperation::ALL  ? ballot == lanes
                                                                  : ballot == lanes || !ballot;
            }
            break;
        case WarpOperation::MATCH:
            for (unsigned lane = 0; lane < WARP; ++lane) {
                if (!(lanes >> lane & 1)) continue;
                uint32_t equal = 0;
                for (unsigned other = 0; other < WARP; ++other)
                    equal |= uint32_t(value[other] == value[lane]) << other;
                result[lane] = equal & lanes;
            }
            break;
        case WarpOperation::MATCH_ALL: {
            const uint64_t first = value[__builtin_ctz(lanes)];
            bool all = true;
            for (uint32_t rest = lanes; rest; rest &= rest - 1) all = all && value[__builtin_ctz(rest)] == first;
            for (uint32_t rest = lanes; rest; rest &= rest - 1) result[__builtin_ctz(rest)] = all ? lanes : 0;
            break;
        }
        case WarpOperation::REDUCE_ADD:
        case WarpOperation::REDUCE_MIN:
        case WarpOperation::REDUCE_MAX:
        case WarpOperation::REDUCE_AND:
        case WarpOperation::REDUCE_OR:
        case WarpOperation::REDUCE_XOR: {
            uint64_t total = value[__builtin_ctz(lanes)];
            for (uint32_t rest = lanes & (lanes - 1); rest; rest &= rest - 1)
                total = combined(operation, total, value[__builtin_ctz(rest)]);
            for (uint32_t rest = lanes; rest; rest &= rest - 1) result[__builtin_ctz(rest)] = total;
            break;
        }
    }
    w.in_operation[warp] &= ~lanes;
    make_runnable(w, warp, lanes);
}

// Carries out the operation that a lane waits in, if all lanes that it waits for have come: those of the mask that
// have not ended, with the same mask.
bool carry_out_if_complete(Worker& w, unsigned warp, unsigned lane) {
    const unsigned begin = warp * WARP;
    const uint32_t mask = w.mask[begin + lane];
    const WarpOperation operation = w.operation[begin + lane];
    const uint32_t lanes = mask & w.alive[warp];
    if (lanes & ~w.in_operation[warp]) return false;
    for (uint32_t rest = lanes; rest; rest &= rest - 1) {
        const unsigned thread = begin + __builtin_ctz(rest);
        if (w.mask[thread] != mask || w.operation[thread] != operation) return false;
    }
    carry_out(w, warp, lanes, operation);
    return true;
}

// No lane of the warp can run: the first one, and those that came to the same place, go on together.
void converge(Worker& w, unsigned warp) {
    const unsigned begin = warp * WARP;
    const uint64_t place = w.value[begin + __builtin_ctz(w.converging[warp])];
    uint32_t together = 0;
    for (uint32_t rest = w.converging[warp]; rest; rest &= rest - 1) {
        const unsigned lane = __builtin_ctz(rest);
        if (w.value[begin + lane] == place) together |= 1u << lane;
    }
    for (uint32_t rest = together; rest; rest &= rest - 1) w.result[begin + __builtin_ctz(rest)] = together;
    w.converging[warp] &= ~together;
    w.in_operation[warp] &= ~together;
    make_runnable(w, warp, together);
}

// No thread can run. The checker has noted it: those that wait go on, so that it may find more.
void go_on_regardless(Worker& w) {
    for (unsigned warp = 0; warp < w.warps; ++warp) {
        if (!w.in_operation[warp]) continue;
        const unsigned first = warp * WARP + __builtin_ctz(w.in_operation[warp]);
        uint32_t lanes = 0;
        for (uint32_t rest = w.in_operation[warp]; rest; rest &= rest - 1) {
            const unsigned lane = __builtin_ctz(rest);
            if (w.operation[warp * WARP + lane] == w.operation[first]) lanes |= 1u << lane;
        }
        carry_out(w, warp, lanes, w.operation[first]);
        return;
    }
    release_barrier(w);
}

// No lane of the warp can run, unless some have come together. A warp with a lane that can.
SELDOM unsigned choose_warp(Worker& w, unsigned warp) {
    if (w.converging[warp]) {
        converge(w, warp);
        return warp;
    }
    if (CHECKED && !w.warps_runnable) go_on_regardless(w);
    if (!w.warps_runnable) report_deadlock(w);
    return __builtin_ctz(w.warps_runnable);
}

// The thread that runs next: another lane of the same warp if one can run, or else one of another warp.
ALWAYS_INLINE unsigned choose(Worker& w) {
    unsigned warp = w.current / WARP;
    if (!w.runnable[warp]) warp = choose_warp(w, warp);
    const unsigned lane = __builtin_ctz(w.runnable[warp]);
    no_longer_runnable(w, warp, 1u << lane);
    return warp * WARP + lane;
}

ALWAYS_INLINE void set_current(Worker& w, unsigned thread) {
    w.current = thread;
    TELL_CHECKER(check_thread_switch(thread));
}

Context begin_thread(Worker& w, unsigned thread) {
    w.stack = w.stacks.take();
    if (!w.stack) fail(w, "there is no memory for the stacks of its threads");
    here.thread = coordinates(w, thread);
    return new_context(w.stack);
}

// Runs other threads until one of them has made this one runnable.
ALWAYS_INLINE void give_way(Worker& w) {
    char* const stack = w.stack;
    const unsigned self = w.current, next = choose(w);
    if (next == self) return;
    set_current(w, next);
    Context resume = w.resume[next];
    if (!resume) resume = begin_thread(w, next);
    change_stack(&w.resume[self], resume);
    w.stack = stack;
}

// The current thread has ended in a scheduled block. Returns true if `current` is now a thread to start, on the stack
// in use, and false if all threads have ended. If another stack continues instead, it does not return.
bool end_thread(Worker& w) {
    const unsigned warp = w.current / WARP;
    w.alive[warp] &= ~(1u << w.current % WARP);
    TELL_CHECKER(check_thread_exit(w.current));
    if (++w.ended == w.threads) return false;
    for (uint32_t rest = w.in_operation[warp] & ~w.converging[warp]; rest; rest &= rest - 1) {
        const unsigned lane = __builtin_ctz(rest);
        if (w.in_operation[warp] >> lane & 1) carry_out_if_complete(w, warp, lane);
    }
    if (CHECKED && w.at_barrier && w.at_barrier + w.ended == w.threads) release_barrier(w);
    set_current(w, choose(w));
    if (!w.resume[w.current]) {
        here.thread = coordinates(w, w.current);
        return true;
    }
    w.stacks.give(w.stack);
    Context never;
    change_stack(&never, w.resume[w.current]);
    __builtin_unreachable();
}

void first_function_on_a_stack() {
    Worker& w = *worker;
    w.launch->kernel->run(w.launch->arguments);
    leave_block(w);
}

// ---- Floating-point mode --------------------------------------------------------------------------------

#if defined(__x86_64__) || defined(__i386__)
using FloatMode = unsigned;
FloatMode float_mode() { return __builtin_ia32_stmxcsr(); }
void set_float_mode(FloatMode mode) { __builtin_ia32_ldmxcsr(mode); }
FloatMode with_flush_to_zero(FloatMode mode, bool flush) {
    const unsigned bits = 0x8040;  // results (FTZ) and operands (DAZ)
    return flush ? mode | bits : mode & ~bits;
}
#elif defined(__aarch64__)
using FloatMode = uint64_t;
FloatMode float_mode() {
    FloatMode mode;
    asm volatile("mrs %0, fpcr" : "=r"(mode));
    return mode;
}
void set_float_mode(FloatMode mode) { asm volatile("msr fpcr, %0" : : "r"(mode)); }
FloatMode with_flush_to_zero(FloatMode mode, bool flush) {
    const uint64_t bit = uint64_t(1) << 24;
    return flush ? mode | bit : mode & ~bit;
}
#else
using FloatMode = int;
FloatMode float_mode() { return 0; }
void set_float_mode(FloatMode) {}
FloatMode with_flush_to_zero(FloatMode mode, bool) { return mode; }
#endif

// ---- A block --------------------------------------------------------------------------------------------

// Runs the kernel, from here.thread on, until the block has ended or a thread leaves it.
void run_threads(Worker& w) {
    w.in_block = true;
    change_stack(&w.outside, new_context(w.stack));
    w.in_block = false;
}

// Where a fault was, as a return address in the kernel's code. In a function of another library, such as
// memcpy, that is where it was called: the nearest address on the stack.
uintptr_t place_of(const Worker& w, const Fault& fault) {
    const Kernel& kernel = *w.launch->kernel;
    const uintptr_t begin = uintptr_t(kernel.code_begin), end = uintptr_t(kernel.code_end);
    if (fault.instruction - begin < end - begin) return fault.instruction + 1;
    const auto [lowest, top] = w.stacks.readable(fault.stack);
    for (uintptr_t at = std::max(fault.stack, lowest); at + sizeof at <= top; at += sizeof at) {
        const uintptr_t word = *reinterpret_cast<const uintptr_t*>(at);
        if (word - begin < end - begin) return word;
    }
    return 0;
}

constexpr const char* INTERRUPTED = "it was interrupted before it had ended";

std::string describe(const Fault& fault, bool stack_is_full) {
    switch (fault.signal) {
        case SIGINT:
            return INTERRUPTED;
        case SIGFPE:
            return "an integer division by zero, or of the least integer by -1: CUDA defines no result";
        case SIGSEGV:
        case SIGBUS:
            if (stack_is_full)
                return text("its stack is full: it has %zu KiB for local variables and calls (is there an endless "
                            "recursion?)", (STACK_BYTES - STACK_GUARD) >> 10);
            if (!fault.has_address) return "an access to a vector that is not aligned, or to an impossible address";
            return text("an access to the address 0x%zx, which is in no array%s", size_t(fault.address),
                        fault.address < 4096 ? " (a null pointer)" : "");
    }
    return "it came to a place that the compiler took to be out of reach, such as the end of a function that "
           "returns no value";
}

// Finds the thread that had a fault. The loop over a row of threads does not tell, as the compiler may have vectorised
// it. So the threads of the row run again, one by one: a launch that fails leaves its arrays undefined anyway. Returns
// whether the fault has come again.
bool find_thread(Worker& w) {
    const Fault first = w.fault;
    w.fault = Fault();
    w.stacks.take_back();
    w.stack = w.stacks.take();
    here.thread.x = 0;
    here.quiet = true;
    set_float_mode(with_flush_to_zero(float_mode(), w.launch->flush_to_zero));  // the handler had another one
    begin_scheduling(w);
    run_threads(w);
    here.quiet = false;
    return w.fault.signal == first.signal;
}

SELDOM void report_fault(Worker& w) {
    const uint3 row = here.thread;
    std::string what = describe(w.fault, w.stack_is_full);
    uintptr_t place = place_of(w, w.fault);
    std::string x = "?";
    if (here.scheduled || (w.fault.signal != SIGINT && find_thread(w))) {
        what = describe(w.fault, w.stack_is_full);
        place = place_of(w, w.fault);
        x = text("%u", coordinates(w, w.current).x);
    }
    const uint3 thread = here.scheduled && x != "?" ? coordinates(w, w.current) : row;
    w.failure.message = text("in block (%u, %u, %u): thread (%s, %u, %u): ", here.block.x, here.block.y, here.block.z,
                             x.c_str(), thread.y, thread.z) + what;
    w.failure.place = place;
    w.left_early = true;
}

void run_block(Worker& w, uint64_t number) {
    const Launch& launch = *w.launch;
    here.block = {unsigned(number % launch.grid.x), unsigned(number / launch.grid.x % launch.grid.y),
                  unsigned(number / launch.grid.x / launch.grid.y)};
    here.thread = {0, 0, 0};
    here.scheduled = false;
    w.left_early = false;
    w.stack = w.stacks.take();
    if (!w.stack) {
        w.failure.message = "there is no memory for a stack";
    } else {
#ifdef MINIALEX_CHECKED
        const unsigned index[3] = {here.block.x, here.block.y, here.block.z};
        const unsigned size[3] = {launch.block.x, launch.block.y, launch.block.z};
        check_block_begin(index, size, here.dynamic_shared, launch.shared_bytes);
        begin_scheduling(w, 0);
        check_thread_switch(0);
#endif
        run_threads(w);
        TELL_CHECKER(check_block_end());
        if (w.fault.signal) report_fault(w);
    }
    if (!w.left_early) {
        w.stacks.give(w.stack);
    } else {
        w.failure.block = number;
        w.stacks.take_back();
    }
}

// ---- A launch -------------------------------------------------------------------------------------------

// Workers that no launch uses. The slots need no lock, which a fork could leave locked in the child.
std::atomic<Worker*> idle_workers[64];

Worker* take_worker() {
    for (auto& slot : idle_workers)
        if (slot.load(std::memory_order_relaxed))
            if (Worker* idle = slot.exchange(nullptr)) return idle;
    return new Worker;
}

void give_worker(Worker* w) {
    for (auto& slot : idle_workers) {
        Worker* nobody = nullptr;
        if (!slot.load(std::memory_order_relaxed) && slot.compare_exchange_strong(nobody, w)) return;
    }
    delete w;
}

using Clock = std::chrono::steady_clock;

// An OS thread's part in a launch.
class Share {
public:
    explicit Share(Launch& launch, bool is_helper = false)
        : launch_(launch), worker_(*take_worker()), caller_mode_(float_mode()) {
        Worker& w = worker_;
        w.launch = &launch;
        w.is_helper = is_helper;
        w.failure = Failure();
        w.fault = Fault();
        w.threads = launch.block.x * launch.block.y * launch.block.z;
        w.warps = (w.threads + WARP - 1) / WARP;
        if (launch.shared_bytes > w.dynamic_bytes) {
            w.dynamic_bytes = (launch.shared_bytes + 1023) / 1024 * 1024;
            w.dynamic_shared.reset(static_cast<char*>(aligned_alloc(1024, w.dynamic_bytes)));
            if (!w.dynamic_shared) {
                w.dynamic_bytes = 0;
                stop("there is no memory for its dynamic shared memory");
            }
        }
        watch_faults();
        worker = &w;
        here.quiet = CHECKED_AGAIN;
        here.block_size = launch.block;
        here.grid_size = launch.grid;
        here.dynamic_shared = w.dynamic_shared.get();
        set_float_mode(with_flush_to_zero(caller_mode_, launch.flush_to_zero));
    }

    ~Share() {
        worker = nullptr;
        set_float_mode(caller_mode_);
        worker_.stacks.close();
        if (CHECKED) unwatch_faults();
        give_worker(&worker_);
    }

    void run(uint64_t chunk, Clock::time_point until) {
        while (!launch_.stopped.load(std::memory_order_relaxed)) {
            const uint64_t begin = launch_.next_block.fetch_add(chunk);
            if (begin >= launch_.blocks) return;
            const uint64_t end = std::min(begin + chunk, launch_.blocks);
            for (uint64_t block = begin; block < end && worker_.failure.message.empty(); ++block) run_block(worker_, block);
            if (!worker_.failure.message.empty()) launch_.stopped = true;
            if (until != Clock::time_point::max() && Clock::now() >= until) return;
        }
    }

    const Failure& failure() const { return worker_.failure; }

private:
    void stop(const char* reason) {
        worker_.failure.message = reason;
        launch_.stopped = true;
    }

    Launch& launch_;
    Worker& worker_;
    const FloatMode caller_mode_;
};

// What it costs to make an OS thread: shorter launches run only on the caller's.
constexpr auto WORTH_A_THREAD = std::chrono::microseconds(40);

// The failure of the first block that had one.
Failure run_all_blocks(Launch& launch) {
    Share share(launch);
    if (launch.workers > 1) share.run(1, Clock::now() + WORTH_A_THREAD);
    Failure first = share.failure();
    const uint64_t begun = std::min(launch.next_block.load(), launch.blocks);
    const uint64_t left = launch.stopped ? 0 : launch.blocks - begun;
    const unsigned workers = unsigned(std::min<uint64_t>(launch.workers, left));
    if (left > 0) {
        const uint64_t chunk = std::clamp<uint64_t>(left / (16 * workers), 1, 256);
        std::vector<Failure> failures(workers);
        std::vector<std::thread> helpers;
        launch.helpers.reset(new pthread_t[workers]);
        for (unsigned i = 1; i < workers; ++i) {
            try {
                helpers.emplace_back([&launch, &failures, chunk, i] {
                    Share helper(launch, true);
                    helper.run(chunk, Clock::time_point::max());
                    failures[i] = helper.failure();
                });
            } catch (const std::system_error&) {
                break;  // the system allows no more threads: then there are fewer
            }
            launch.helpers[i - 1] = helpers.back().native_handle();
            launch.helper_count = i;
        }
        share.run(chunk, Clock::time_point::max());
        for (std::thread& helper : helpers) helper.join();
        launch.helper_count = 0;
        first = share.failure();
        for (const Failure& other : failures)
            if (!other.message.empty() && (first.message.empty() || other.block < first.block)) first = other;
    }
    if (first.message.empty() && launch.interrupts > 1) first.message = INTERRUPTED;
    return first;
}

}  // namespace

// ---- Called by kernels ----------------------------------------------------------------------------------

bool next_threads() {
    if (here.scheduled) return end_thread(*worker);
    here.thread.x = 0;
    if (++here.thread.y < here.block_size.y) return true;
    here.thread.y = 0;
    return ++here.thread.z < here.block_size.z;
}

unsigned barrier(Barrier kind, bool vote) {
    Worker& w = scheduled_worker();
    TELL_CHECKER(check_barrier(w.current, __builtin_return_address(0)));
    if (w.at_barrier == 0) {
        w.barrier_kind = kind;
    } else if (!CHECKED && kind != w.barrier_kind) {
        report_other_barrier(w, kind);
    }
    w.votes += vote;
    ++w.at_barrier;
    if (w.at_barrier + (CHECKED ? w.ended : 0) == w.threads) {
        release_barrier(w);
        no_longer_runnable(w, w.current / WARP, 1u << w.current % WARP);
    } else {
        give_way(w);
    }
    return w.votes_of_last_barrier;
}

uint64_t warp_operation(WarpOperation operation, uint32_t mask, uint64_t value, int argument, int width) {
    Worker& w = scheduled_worker();
    const unsigned thread = w.current, warp = thread / WARP;
    const int lane = thread % WARP;
#ifdef MINIALEX_CHECKED
    check_warp_operation(thread, mask, __builtin_return_address(0));
    mask |= 1u << lane;
#endif
    if (!(mask >> lane & 1) || width < 1 || width > int(WARP) || width & (width - 1))
        report_operation(w, operation, mask, width);
    const int group = lane & ~(width - 1);  // the first lane of those that exchange values
    int source = lane;
    if (operation == WarpOperation::INDEX) source = group + (argument & (width - 1));
    if (operation == WarpOperation::UP && unsigned(argument) <= unsigned(lane - group)) source = lane - argument;
    if (operation == WarpOperation::DOWN && unsigned(argument) < unsigned(group + width - lane))
        source = lane + argument;
    // Lanes of earlier groups can be read, those of later ones cannot.
    if (operation == WarpOperation::XOR && unsigned(lane ^ argument) < unsigned(group + width))
        source = lane ^ argument;
    w.operation[thread] = operation;
    w.mask[thread] = mask;
    w.value[thread] = value;
    w.source[thread] = source;
    w.in_operation[warp] |= 1u << lane;
    if (carry_out_if_complete(w, warp, lane)) {
        no_longer_runnable(w, warp, 1u << lane);
    } else {
        give_way(w);
    }
    return w.result[thread];
}

uint32_t converged_lanes() {
    Worker& w = scheduled_worker();
    const unsigned thread = w.current, warp = thread / WARP;
    w.value[thread] = reinterpret_cast<uint64_t>(__builtin_return_address(0));
    w.mask[thread] = 0;
    w.in_operation[warp] |= 1u << thread % WARP;
    w.converging[warp] |= 1u << thread % WARP;
    give_way(w);
    return w.result[thread];
}

void write_output(const char* text, int length) {
    if (!here.quiet) fwrite(text, 1, length, stdout);
}

void stop_launch(const char* reason, const char* file, int line) {
    Worker& w = *worker;
#ifdef MINIALEX_CHECKED
    if (check_trap(reason, __builtin_return_address(0))) {
        w.launch->stopped = true;
        w.left_early = true;
        leave_block(w);
    }
#endif
    const uint3 thread = here.thread;
    fail(w, text("thread (%u, %u, %u): %s, at %s:%d", thread.x, thread.y, thread.z, reason, file, line));
}

void stop_launch_at(const char* reason, const void* place) {
    Worker& w = *worker;
    const uint3 thread = here.thread;
    w.failure.place = uintptr_t(place);
    fail(w, text("thread (%u, %u, %u): %s", thread.x, thread.y, thread.z, reason));
}

// On the signal stack.
bool on_fault(const Fault& fault) {
    Worker* const w = worker;
    if (!w || !w->in_block) return false;
    auto place = Stacks::Place::ELSEWHERE;
    if (fault.has_address) place = w->stacks.open(fault.address);
    if (place == Stacks::Place::OPENED) return true;
    if (!w->launch->catches_faults) return false;
    w->fault = fault;
    w->stack_is_full = place == Stacks::Place::GUARD;
#ifdef MINIALEX_CHECKED
    const void* const at = reinterpret_cast<const void*>(place_of(*w, fault));
    if (check_fault(fault.signal == SIGFPE, w->stack_is_full, fault.has_address, fault.address, at)) {
        w->fault = Fault();
        set_float_mode(with_flush_to_zero(float_mode(), w->launch->flush_to_zero));
        stop_thread();
    }
#endif
    w->left_early = true;
    leave_block(*w);
}

bool is_own_thread() { return worker && worker->is_helper; }

// On the signal stack. The first SIGINT lets a launch end in its own time, as nearly all do at once: the program may
// want to keep what it computes. At the second, the kernel is taken to be in an endless loop. It is interrupted only
// in its own code, and not in a function of the C library, which may hold a lock.
void on_interrupt(const Fault& where, bool is_own) {
    Worker* const w = worker;
    if (!w) return;
    Launch& launch = *w->launch;
    if (!is_own && ++launch.interrupts < 2) return;
    launch.stopped = true;
    if (!is_own)
        for (unsigned i = 0; i < launch.helper_count; ++i) pthread_kill(launch.helpers[i], SIGINT);
    const uintptr_t begin = uintptr_t(launch.kernel->library), end = uintptr_t(launch.kernel->code_end);
    if (!w->in_block || where.instruction - begin >= end - begin) return;
    w->fault = where;
    w->left_early = true;
    leave_block(*w);
}

#ifdef MINIALEX_CHECKED
void stop_thread() {
    Worker& w = *worker;
    if (end_thread(w)) {
        // What lies on the stack is abandoned, and the next thread starts at its top.
        Context never;
        change_stack(&never, new_context(w.stack));
    }
    leave_block(w);
}

bool is_on_stack(uintptr_t address) {
    return address - (uintptr_t(worker->stack) - STACK_BYTES) < STACK_BYTES;
}
#endif

}  // namespace minialex

// ---- Called by Python -----------------------------------------------------------------------------------

struct minialex_failure {
    uint64_t place;  // the offset of a return address in the kernel's library; 0 if the line is not known
    char message[4096];
};

// Runs a grid. Returns 0, or 1 with the reason why it ended early.
extern "C" __attribute__((visibility("default"))) int minialex_launch(
    const minialex::Kernel* kernel, const uint64_t* arguments, const uint32_t* grid, const uint32_t* block,
    uint64_t shared_bytes, uint32_t workers, int flush_to_zero, int catches_faults, minialex_failure* reason) {
    using namespace minialex;
    Launch launch;
    launch.kernel = kernel;
    launch.arguments = arguments;
    launch.grid = {grid[0], grid[1], grid[2]};
    launch.block = {block[0], block[1], block[2]};
    launch.shared_bytes = shared_bytes;
    launch.flush_to_zero = flush_to_zero;
    launch.catches_faults = catches_faults;
    launch.blocks = uint64_t(grid[0]) * grid[1] * grid[2];
    const unsigned stacks = block[0] * block[1] * block[2];
    launch.workers = CHECKED ? 1 : std::clamp(MAX_STACKS / stacks, 1u, workers);
    const Failure failure = run_all_blocks(launch);
    fflush(stdout);
    if (failure.message.empty()) return 0;
    snprintf(reason->message, sizeof reason->message, "%s", failure.message.c_str());
    reason->place = failure.place ? failure.place - uintptr_t(kernel->library) : 0;
    return 1;
}
