// The heap of kernels: malloc, free, new and delete (cuda_language.h). As on a GPU, what a thread takes stays, even
// after its launch, until any thread of any launch gives it back, which is checked.
#include "executor.h"

#include <stdlib.h>

#include <mutex>
#include <unordered_set>

#ifdef MINIALEX_CHECKED
#include "checker.h"
#endif

namespace minialex {
namespace {

std::mutex mutex;
std::unordered_set<void*> taken;

}  // namespace

void* heap_take(size_t bytes) {
#ifdef MINIALEX_CHECKED
    if (void* memory = check_heap_take(bytes)) return memory;
#endif
    void* memory = malloc(bytes ? bytes : 1);
    if (memory) {
        std::lock_guard lock(mutex);
        taken.insert(memory);
    }
    return memory;
}

void heap_give(void* memory, const void* place) {
    if (!memory) return;
#ifdef MINIALEX_CHECKED
    if (check_heap_give(memory, place)) return;
#endif
    {
        std::lock_guard lock(mutex);
        if (taken.erase(memory)) {
            free(memory);
            return;
        }
    }
    stop_launch_at("free() or delete of memory that malloc() or new did not give, or that was given back before",
                   place);
}

}  // namespace minialex
