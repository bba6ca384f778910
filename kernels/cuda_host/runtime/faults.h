// Faults: what the processor refuses a kernel, such as an address without memory or a division by zero.
//
// They arrive as signals, and a process has one handler for each. While an OS thread runs a block, the handler asks
// the executor; a fault of anything else goes to whoever had the signal before, as if there were no executor.
// SIGINT, by which a user wants a launch to end, goes to both.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace minialex {

struct Fault {
    int signal = 0;
    uintptr_t address = 0;      // of SIGSEGV and SIGBUS: what could not be accessed
    bool has_address = false;   // a vector that is not aligned has none on x86-64
    uintptr_t instruction = 0;  // the program counter
    uintptr_t stack = 0;        // the stack pointer
};

// Called on the signal stack. Returns true if the access is possible now, false if it is not a kernel's fault. For
// a kernel's fault it does not return: it changes to another stack. Implemented by the executor.
bool on_fault(const Fault& fault);

// Called for each SIGINT. Returns unless the kernel must end. Implemented by the executor.
void on_interrupt(const Fault& where, bool is_own);

// Whether this OS thread is the executor's own: a SIGINT that is sent only to it comes from the executor.
bool is_own_thread();

// Before a launch: from now on the handlers are those of this file, and this OS thread has a signal stack, as
// a full stack has no room for a handler.
void watch_faults();

// Restores the handlers from before watch_faults(). For the executors of checked modules, which are many.
void unwatch_faults();

}  // namespace minialex
