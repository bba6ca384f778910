#include "faults.h"

#include <signal.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <ucontext.h>

#include <iterator>

#include "executor.h"

namespace minialex {
namespace {

constexpr int SIGNALS[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGINT};
constexpr size_t INTERRUPT = std::size(SIGNALS) - 1;

struct sigaction before[std::size(SIGNALS)];

MINIALEX_PER_OS_THREAD bool passing_on;

// The frame of a handler holds all registers; the system says how large it is where that is unusual.
size_t signal_stack_bytes() {
    size_t frame = 0;
#ifdef AT_MINSIGSTKSZ
    frame = getauxval(AT_MINSIGSTKSZ);
#endif
    return (frame + (64 << 10) + 0xffff) & ~size_t(0xffff);
}

// An OS thread that has run a kernel keeps its signal stack until it ends: setting one costs a system call.
class SignalStack {
public:
    void use() {
        if (memory_ || has_another()) return;
        bytes_ = signal_stack_bytes();
        void* memory = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (memory == MAP_FAILED) return;
        memory_ = memory;
        stack_t stack{};
        stack.ss_sp = memory_;
        stack.ss_size = bytes_;
        sigaltstack(&stack, nullptr);
    }

    ~SignalStack() {
        if (!memory_) return;
        stack_t now{};
        if (sigaltstack(nullptr, &now) == 0 && now.ss_sp == memory_) {
            now.ss_flags = SS_DISABLE;
            sigaltstack(&now, nullptr);
        }
        munmap(memory_, bytes_);
    }

private:
    bool has_another() {
        if (!asked_) {
            stack_t now{};
            other_ = sigaltstack(nullptr, &now) == 0 && !(now.ss_flags & SS_DISABLE);
            asked_ = true;
        }
        return other_;
    }

    void* memory_ = nullptr;
    size_t bytes_ = 0;
    bool asked_ = false, other_ = false;
};

thread_local SignalStack signal_stack;

void read_registers(Fault& fault, const ucontext_t& context) {
#if defined(__x86_64__)
    fault.instruction = uintptr_t(context.uc_mcontext.gregs[REG_RIP]);
    fault.stack = uintptr_t(context.uc_mcontext.gregs[REG_RSP]);
#elif defined(__aarch64__)
    fault.instruction = context.uc_mcontext.pc;
    fault.stack = context.uc_mcontext.sp;
#endif
}

// To whoever had the signal before. Should that lead back here, it ends the process, as nobody wants it.
void pass_on(int signal, siginfo_t* information, void* context) {
    const struct sigaction* previous = nullptr;
    for (size_t i = 0; i < std::size(SIGNALS); ++i)
        if (SIGNALS[i] == signal) previous = &before[i];
    const bool has_handler = previous->sa_handler != SIG_DFL && previous->sa_handler != SIG_IGN;
    if (has_handler && !passing_on) {
        passing_on = true;
        if (previous->sa_flags & SA_SIGINFO) {
            previous->sa_sigaction(signal, information, context);
        } else {
            previous->sa_handler(signal);
        }
        passing_on = false;
        return;
    }
    if (previous->sa_handler == SIG_IGN && information->si_code <= 0) return;
    struct sigaction by_default {};
    by_default.sa_handler = SIG_DFL;
    sigaction(signal, &by_default, nullptr);
    if (information->si_code <= 0) raise(signal);  // an instruction faults again by itself
}

void handle_interrupt(siginfo_t* information, void* context) {
    Fault where;
    where.signal = SIGINT;
    read_registers(where, *static_cast<ucontext_t*>(context));
    const bool is_own = information->si_code == SI_TKILL && is_own_thread();
    if (!is_own && !passing_on) pass_on(SIGINT, information, context);
    on_interrupt(where, is_own);
}

void handle(int signal, siginfo_t* information, void* context) {
    if (signal == SIGINT) return handle_interrupt(information, context);
    if (information->si_code > 0) {  // not from kill() or raise()
        Fault fault;
        fault.signal = signal;
        // SI_KERNEL is a general protection fault, which has no address.
        fault.has_address = (signal == SIGSEGV || signal == SIGBUS) && information->si_code != SI_KERNEL;
        if (fault.has_address) fault.address = uintptr_t(information->si_addr);
        read_registers(fault, *static_cast<ucontext_t*>(context));
        if (on_fault(fault)) return;
    }
    pass_on(signal, information, context);
}

bool is_ours(int signal) {
    struct sigaction now {};
    return sigaction(signal, nullptr, &now) == 0 && now.sa_flags & SA_SIGINFO && now.sa_sigaction == handle;
}

void take(size_t number) {
    struct sigaction ours {}, now {};
    ours.sa_sigaction = handle;
    // No signal is blocked in the handler, which may leave it for another stack without returning.
    ours.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
    if (number == INTERRUPT) {
        // Without a handler, SIGINT ends the process or is ignored: so it stays.
        sigaction(SIGINT, nullptr, &now);
        if (now.sa_handler == SIG_DFL || now.sa_handler == SIG_IGN) return;
    }
    sigaction(SIGNALS[number], &ours, &now);
    if (now.sa_sigaction != handle) before[number] = now;
}

}  // namespace

void watch_faults() {
    signal_stack.use();
    // Whoever takes one of these takes all of them, as Python's faulthandler does.
    if (!is_ours(SIGSEGV))
        for (size_t i = 0; i < INTERRUPT; ++i) take(i);
    if (!is_ours(SIGINT)) take(INTERRUPT);
}

void unwatch_faults() {
    for (size_t i = 0; i < std::size(SIGNALS); ++i) {
        struct sigaction now {};
        sigaction(SIGNALS[i], nullptr, &now);
        if (now.sa_sigaction == handle) sigaction(SIGNALS[i], &before[i], nullptr);
    }
}

}  // namespace minialex
