// The checker of checker.h.
//
// Which accesses are ordered
// --------------------------
// The life of a thread is cut into segments: at each barrier of its block and each __syncwarp that it passes, a
// new one starts. Segments are numbered as they start, so that three comparisons tell most of what must be
// known about the segment of an earlier access, s:
//
//     s is the running thread's own segment    the same thread: ordered
//     s < first segment of this block          another block: not ordered, with the exception below
//     s < first since the last barrier         ordered by that barrier
//
// Only within one barrier interval must the table of segments be asked: threads of different warps are not
// ordered, lanes of one warp are if __syncwarp has made the clock of one known to the other (a vector clock
// of 32 lanes). Shuffles and votes do not order memory accesses, and lanes do not run in lockstep: that is how
// CUDA defines it since compute capability 7.0.
//
// Blocks are ordered by what CUDA's sample threadFenceReduction does: one block writes, calls __threadfence() and
// then an atomic function; later another calls an atomic function on the same address, and reads. What the first
// block did before its fence is ordered before what the second one does then.
//
// A cell of shadow memory stands for `granule` bytes and remembers the last write and two reads, which are enough
// to find a race if there is one: a read that is ordered before a later one is dropped for it, as whatever
// races with the first races with the second; and of reads that are not ordered, two of different
// warps or blocks are enough, as a write cannot be ordered after both unless it is after all of them.
// (FastTrack: Flanagan and Freund, PLDI 2009.)
//
// What a warp moves
// -----------------
// Lanes run one after another here. The k-th time that a lane comes to an instruction after the last barrier or
// warp operation is taken to be the same execution for all lanes of its warp.

#include "checker.h"

#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <tuple>
#include <vector>

extern "C" {
// Set by the linker: the begin and the end of this library in memory.
extern const char __ehdr_start[] __attribute__((visibility("hidden")));
extern const char _end[] __attribute__((visibility("hidden")));
// The same of the section with the shared variables that are in no template; instrumentation.py asks for them.
extern const char __start_minialex_shared[] __attribute__((weak, visibility("hidden")));
extern const char __stop_minialex_shared[] __attribute__((weak, visibility("hidden")));
__attribute__((used)) static const char* const shared_section[] = {__start_minialex_shared, __stop_minialex_shared};
}

namespace minialex {
namespace {

enum Space : uint32_t { GLOBAL, SHARED, NEITHER };
enum Access : uint32_t { READ = 0, WRITE = 1, ATOMIC = 2 };  // bits; ATOMIC | WRITE reads and writes

constexpr unsigned WARP = 32;
constexpr uintptr_t SECTOR = 32;
constexpr uintptr_t BANKS = 32, BANK_BYTES = 4;
// Each array lies in the middle of an address range of this size, the rest of which cannot be accessed. An int
// index of floats that has overflowed, or is negative, still points into the range.
constexpr unsigned SLOT_SHIFT = 34;
constexpr uintptr_t SLOT = uintptr_t(1) << SLOT_SHIFT;
constexpr unsigned VARIABLE_SHIFT = 16;  // each variable begins at a multiple of this power of two
constexpr int32_t HEAP = -2;  // the `array` of memory from malloc()
constexpr uintptr_t HEAP_GAP = 4096;  // behind it is nothing that may be accessed
constexpr uintptr_t NEAR = 128 << 10;  // an access this near behind dynamic shared memory was meant for it

struct Record {
    uint32_t segment;  // 0: no access
    uint32_t site_and_access;
};

struct Cell {
    Record write, reads[2];
};

struct Region {
    uintptr_t begin = 0, end = 0;
    uintptr_t limit = 0;  // of a shared variable: from `end` to here is nothing that may be accessed
    Space space = NEITHER;
    int32_t array = -1;
    bool constant = false, initialised = false;
    bool is_freed = false;    // of the heap
    bool is_counted = true;  // constant memory has a cache of its own, and is not
    unsigned granule_shift = 2;
    std::vector<Cell> cells;

    void make_cells() {
        uintptr_t granule = uintptr_t(1) << granule_shift;
        cells.assign((end - begin + granule - 1) >> granule_shift, Cell{});
    }

    // Changes to cells of one byte: until now, each granule was accessed as a whole.
    void refine() {
        std::vector<Cell> finer(end - begin);
        for (size_t i = 0; i < finer.size(); ++i) finer[i] = cells[i >> granule_shift];
        cells.swap(finer);
        granule_shift = 0;
    }
};

struct Segment {
    uint32_t block;
    uint16_t thread;
    uint32_t clock;
};

// One execution of an instruction by a warp: the address that each lane accesses.
struct WarpAccess {
    uint32_t lanes = 0;
    uint32_t bytes = 0;
    uintptr_t address[WARP];
};

// An instruction of the kernel that accesses memory, for one space.
struct Site {
    CheckedTraffic traffic{};
    std::vector<WarpAccess> pending;  // of `warp`, since `interval` began
    size_t used = 0;
    unsigned warp = ~0u, interval = ~0u, thread = ~0u;
    size_t next = 0;  // which execution the thread comes to next
};

struct Thread {
    uint32_t segment;   // 0: none yet since the last synchronisation
    uint32_t clock;
    uint32_t interval;  // barriers and warp operations passed
    uint32_t known[WARP];  // the clock of each lane of its warp up to which accesses are ordered before its own
    bool exited, stopped, at_barrier;
    const void* place;  // where it waits
    uint32_t mask;
};

struct Checker {
    bool active = false;
    std::vector<Region> arrays;
    uintptr_t arena = 0, arena_bytes = 0;

    std::vector<Region> variables;
    uintptr_t variables_begin = 0, variables_bytes = 0;
    std::vector<int32_t> variable_of;  // for each 64 KiB from variables_begin: 1 + the variable there; 0 none
    Region dynamic_shared;

    std::map<uintptr_t, Region> heap;  // by their begin; what was given back stays, so that its use is found

    unsigned block_index[3], block_size[3];
    uint32_t block = 0, thread_count = 0;
    std::vector<uint32_t> block_indices;  // three for each block
    std::vector<Thread> threads;
    std::vector<Segment> segments;
    uint32_t block_first = 1, barrier_first = 1;

    uint32_t fenced = 0;  // the block's segments below this one have been followed by a __threadfence()
    std::map<uintptr_t, std::map<uint32_t, uint32_t>> released;  // `fenced` of each block, by an atomic's address
    std::vector<uint32_t> acquired;  // of each earlier block, the segments below this one are ordered before now

    unsigned thread = 0;
    uint32_t segment = 0;

    std::vector<uint32_t> site_of[2];  // for each byte of code: 1 + its site
    std::vector<Site> sites;
    std::vector<CheckedTraffic> traffic;

    bool repeated = false;
    uint64_t absent_place = 0, absent_value = 0;

    std::map<std::tuple<uint32_t, uint64_t, uint64_t, int32_t>, size_t> found;
    std::vector<CheckedFinding> findings;
};

Checker checker;

// ---- Findings -------------------------------------------------------------------------------------------

CheckedFinding& add_finding(CheckedKind kind, const void* place, const void* other = nullptr, int32_t array = -1) {
    auto key = std::make_tuple(uint32_t(kind), uint64_t(place), uint64_t(other), array);
    auto [position, is_new] = checker.found.try_emplace(key, checker.findings.size());
    if (is_new) {
        CheckedFinding finding{};
        finding.kind = kind;
        finding.place = uint64_t(place);
        finding.other_place = uint64_t(other);
        finding.array = array;
        finding.space = NEITHER;
        finding.thread = checker.thread;
        std::copy_n(checker.block_index, 3, finding.block);
        checker.findings.push_back(finding);
    }
    CheckedFinding& finding = checker.findings[position->second];
    ++finding.times;
    return finding;
}

CheckedFinding& add_access_finding(CheckedKind kind, const void* place, const Region* region, uintptr_t address,
                                   uint32_t bytes, uint32_t access, const void* other = nullptr) {
    CheckedFinding& finding = add_finding(kind, place, other, region ? region->array : -1);
    if (finding.times == 1) {
        finding.space = region ? region->space : NEITHER;
        finding.address = address;
        finding.offset = int64_t(address - (region ? region->begin : 0));
        finding.bytes = bytes;
        finding.write = access & ATOMIC ? 2 : access;
    }
    return finding;
}

[[noreturn]] void stop() {
    checker.threads[checker.thread].stopped = true;
    stop_thread();
}

// ---- Sites and what warps move --------------------------------------------------------------------------

uint32_t site_index(const void* place, Space space, uint32_t access) {
    size_t offset = uintptr_t(place) - uintptr_t(__ehdr_start);
    std::vector<uint32_t>& table = checker.site_of[space];
    if (offset >= table.size()) table.resize(offset + 4096);
    if (!table[offset]) {
        Site site;
        site.traffic.place = uint64_t(place);
        site.traffic.space = space;
        site.traffic.write = access & ATOMIC ? 2 : access;
        checker.sites.push_back(std::move(site));
        table[offset] = checker.sites.size();
    }
    return table[offset] - 1;
}

// Sorts and keeps one of each; returns the number left.
template <typename T>
size_t distinct(T* values, size_t count) {
    std::sort(values, values + count);
    return std::unique(values, values + count) - values;
}

void count_sectors(Site& site, const WarpAccess& access) {
    uintptr_t begins[WARP], sectors[WARP * 3];
    size_t count = 0, sector_count = 0;
    for (unsigned lane = 0; lane < WARP; ++lane) {
        if (!(access.lanes >> lane & 1)) continue;
        uintptr_t address = access.address[lane];
        begins[count++] = address;
        uintptr_t last = (address + access.bytes - 1) / SECTOR;
        for (uintptr_t sector = address / SECTOR; sector <= last && sector_count < WARP * 3; ++sector)
            if (!sector_count || sectors[sector_count - 1] != sector) sectors[sector_count++] = sector;
    }
    count = distinct(begins, count);
    uintptr_t bytes = 0, end = 0;
    for (size_t i = 0; i < count; ++i) {
        uintptr_t next = begins[i] + access.bytes;
        bytes += next - std::max(begins[i], end);
        end = next;
    }
    site.traffic.bytes += bytes;
    site.traffic.sectors += distinct(sectors, sector_count);
    site.traffic.ideal_sectors += (bytes + SECTOR - 1) / SECTOR;
}

// Lanes are served in groups that access at most 128 bytes: 32 lanes of 4 bytes, 16 of 8, 8 of 16. A group takes
// as many rounds as the fullest bank has different words; a conflict is a round beyond the first.
void count_bank_conflicts(Site& site, const WarpAccess& access) {
    uintptr_t words_of_lane = std::max<uintptr_t>(1, (access.bytes + BANK_BYTES - 1) / BANK_BYTES);
    unsigned lanes_of_group = std::max<unsigned>(1, WARP / words_of_lane);
    for (unsigned first = 0; first < WARP; first += lanes_of_group) {
        uintptr_t words[WARP * 2];
        size_t count = 0;
        for (unsigned lane = first; lane < std::min(first + lanes_of_group, WARP); ++lane) {
            if (!(access.lanes >> lane & 1)) continue;
            for (uintptr_t word = 0; word < words_of_lane && count < WARP * 2; ++word)
                words[count++] = access.address[lane] / BANK_BYTES + word;
        }
        count = distinct(words, count);
        uint8_t rounds[BANKS] = {};
        uint8_t most = 1;
        for (size_t i = 0; i < count; ++i) most = std::max(most, ++rounds[words[i] % BANKS]);
        site.traffic.bank_conflicts += most - 1;
    }
}

void count_pending(Site& site) {
    for (size_t i = 0; i < site.used; ++i) {
        const WarpAccess& access = site.pending[i];
        ++site.traffic.instructions;
        site.traffic.accesses += __builtin_popcount(access.lanes);
        if (site.traffic.space == GLOBAL) count_sectors(site, access);
        else count_bank_conflicts(site, access);
    }
    site.used = 0;
    site.thread = ~0u;
}

void note_traffic(Site& site, uintptr_t address, uint32_t bytes) {
    unsigned thread = checker.thread, warp = thread / WARP, interval = checker.threads[thread].interval;
    if (site.warp != warp || site.interval != interval) {
        count_pending(site);
        site.warp = warp;
        site.interval = interval;
    }
    if (site.thread != thread) {
        site.thread = thread;
        site.next = 0;
    }
    if (site.next == site.used) {
        if (site.used == site.pending.size()) site.pending.emplace_back();
        site.pending[site.used].lanes = 0;
        site.pending[site.used].bytes = 0;
        ++site.used;
    }
    WarpAccess& access = site.pending[site.next++];
    access.lanes |= 1u << thread % WARP;
    access.bytes = std::max(access.bytes, bytes);
    access.address[thread % WARP] = address;
}

// ---- Races and what was never written -------------------------------------------------------------------

uint32_t current_segment() {
    if (!checker.segment) {
        Thread& thread = checker.threads[checker.thread];
        if (!thread.segment) {
            thread.segment = checker.segments.size();
            checker.segments.push_back({checker.block, uint16_t(checker.thread), thread.clock});
        }
        checker.segment = thread.segment;
    }
    return checker.segment;
}

// Whether an access of the running thread is not ordered after an earlier one.
bool concurrent(uint32_t earlier, Space space) {
    if (earlier == 0 || earlier == checker.segment) return false;
    if (earlier < checker.block_first) {
        if (space != GLOBAL) return false;
        uint32_t block = checker.segments[earlier].block;
        return block >= checker.acquired.size() || earlier >= checker.acquired[block];
    }
    if (earlier < checker.barrier_first) return false;
    const Segment& segment = checker.segments[earlier];
    if (segment.thread == checker.thread) return false;
    if (segment.thread / WARP != checker.thread / WARP) return true;
    return checker.threads[checker.thread].known[segment.thread % WARP] < segment.clock;
}

bool is_absent(const Record& record, Space space) {
    return record.segment == 0 || (space == SHARED && record.segment < checker.block_first);
}

void add_race(const Record& earlier, const Region& region, uintptr_t address, uint32_t bytes, uint32_t access,
              const void* place) {
    const Segment& segment = checker.segments[earlier.segment];
    uint32_t other_access = earlier.site_and_access & 3;
    const void* other = (const void*)checker.sites[earlier.site_and_access >> 2].traffic.place;
    CheckedFinding& finding = add_access_finding(RACE, place, &region, address, bytes, access, other);
    if (finding.times > 1) return;
    finding.other_thread = segment.thread;
    std::copy_n(&checker.block_indices[size_t(segment.block) * 3], 3, finding.other_block);
    finding.other_write = other_access & ATOMIC ? 2 : other_access;
}

void keep_read(Cell& cell, Record now, Space space) {
    Record &first = cell.reads[0], &second = cell.reads[1];
    if (is_absent(first, space) || !concurrent(first.segment, space)) {
        first = now;
    } else if (is_absent(second, space) || !concurrent(second.segment, space)) {
        second = now;
    } else {
        const Segment &a = checker.segments[first.segment], &b = checker.segments[second.segment];
        bool one_block = a.block == b.block;
        bool one_warp = one_block && a.thread / WARP == b.thread / WARP;
        if ((one_block && a.block != checker.block) || (one_warp && a.thread / WARP != checker.thread / WARP))
            second = now;
    }
}

void check_cell(Cell& cell, Region& region, uintptr_t address, uint32_t bytes, uint32_t access, uint32_t site,
                const void* place) {
    Space space = region.space;
    Record now{checker.segment, site << 2 | access};
    auto races_with = [&](const Record& earlier) {
        bool both_atomic = access & ATOMIC && earlier.site_and_access & ATOMIC;
        return !both_atomic && concurrent(earlier.segment, space);
    };
    bool reads = !(access & WRITE) || access & ATOMIC;
    if (reads && !region.initialised && is_absent(cell.write, space))
        add_access_finding(UNINITIALISED, place, &region, address, bytes, access);
    if (races_with(cell.write)) add_race(cell.write, region, address, bytes, access, place);
    if (!(access & WRITE)) {
        keep_read(cell, now, space);
        return;
    }
    for (const Record& read : cell.reads)
        if (races_with(read)) {
            add_race(read, region, address, bytes, access, place);
            break;
        }
    cell = Cell{now, {}};
}

// An atomic function on an address: the block learns what others left there, and leaves what it has fenced.
void order_blocks(uintptr_t address) {
    if (!checker.fenced && checker.released.empty()) return;
    std::map<uint32_t, uint32_t>& left_here = checker.released[address];
    for (auto [block, fenced] : left_here) {
        if (block == checker.block) continue;
        if (block >= checker.acquired.size()) checker.acquired.resize(block + 1, 0);
        checker.acquired[block] = std::max(checker.acquired[block], fenced);
    }
    if (checker.fenced) left_here[checker.block] = checker.fenced;
}

void check_region(Region& region, uintptr_t address, uint32_t bytes, uint32_t access, const void* place) {
    if (bytes <= 16 && !(bytes & (bytes - 1)) && address & (bytes - 1)) {
        add_access_finding(MISALIGNED, place, &region, address, bytes, access);
        stop();
    }
    if (region.constant && access & WRITE) add_access_finding(CONST_WRITE, place, &region, address, bytes, access);

    uint32_t site = site_index(place, region.space, access);
    // CUDA has no atomic load. This one starts the loop around a compare-and-swap, which is counted.
    if (access != (ATOMIC | READ) && region.is_counted) note_traffic(checker.sites[site], address, bytes);

    uintptr_t offset = address - region.begin;
    uintptr_t granule = uintptr_t(1) << region.granule_shift;
    if ((offset | bytes) & (granule - 1)) region.refine();
    uintptr_t last = (offset + bytes - 1) >> region.granule_shift;
    current_segment();
    if (access == (ATOMIC | WRITE) && region.space == GLOBAL) order_blocks(address);
    for (uintptr_t cell = offset >> region.granule_shift; cell <= last; ++cell)
        check_cell(region.cells[cell], region, address, bytes, access, site, place);
}

// The variable that an address is in, or beyond the end of.
Region* variable_at(uintptr_t address) {
    if (address - checker.variables_begin >= checker.variables_bytes) return nullptr;
    int32_t number = checker.variable_of[(address - checker.variables_begin) >> VARIABLE_SHIFT];
    if (!number) return nullptr;
    Region& variable = checker.variables[number - 1];
    return address < variable.limit ? &variable : nullptr;
}

// The memory from malloc() that an address is in, or a little behind.
Region* heap_at(uintptr_t address) {
    if (checker.heap.empty()) return nullptr;
    auto after = checker.heap.upper_bound(address);
    if (after == checker.heap.begin()) return nullptr;
    Region& region = std::prev(after)->second;
    return address < region.limit ? &region : nullptr;
}

// Whether an address is that of a constant, of the runtime, or of a variable on the thread's own stack: all that a
// kernel may access beside the arrays and shared memory.
bool is_own_memory(uintptr_t address) {
    return address - uintptr_t(__ehdr_start) < uintptr_t(_end) - uintptr_t(__ehdr_start) || is_on_stack(address);
}

[[noreturn]] void out_of_bounds(const Region* region, uintptr_t address, uint32_t bytes, uint32_t access,
                                const void* place) {
    add_access_finding(OUT_OF_BOUNDS, place, region, address, bytes, access);
    stop();
}

void check_access(const volatile void* pointer, uint32_t bytes, uint32_t access, const void* place) {
    if (!checker.active) return;
    uintptr_t address = uintptr_t(pointer);
    if (address - checker.arena < checker.arena_bytes) {
        Region& region = checker.arrays[(address - checker.arena) >> SLOT_SHIFT];
        if (address < region.begin || address + bytes > region.end)
            out_of_bounds(&region, address, bytes, access, place);
        check_region(region, address, bytes, access, place);
    } else if (Region* variable = variable_at(address)) {
        if (address + bytes > variable->end) out_of_bounds(variable, address, bytes, access, place);
        check_region(*variable, address, bytes, access, place);
    } else if (address - checker.dynamic_shared.begin < checker.dynamic_shared.end - checker.dynamic_shared.begin) {
        if (address + bytes > checker.dynamic_shared.end)
            out_of_bounds(&checker.dynamic_shared, address, bytes, access, place);
        check_region(checker.dynamic_shared, address, bytes, access, place);
    } else if (Region* memory = heap_at(address)) {
        if (memory->is_freed) {
            add_access_finding(FREED, place, memory, address, bytes, access);
            stop();
        }
        if (address + bytes > memory->end) out_of_bounds(memory, address, bytes, access, place);
        check_region(*memory, address, bytes, access, place);
    } else if (!is_own_memory(address)) {
        const Region& dynamic = checker.dynamic_shared;
        bool is_behind = dynamic.end > dynamic.begin && address - dynamic.end < NEAR;
        out_of_bounds(is_behind ? &dynamic : nullptr, address, bytes, access, place);
    }
}

void map_arena(CheckedArray* arrays, int count) {
    checker.arena_bytes = SLOT * count;
    if (!count) return;
    void* arena = mmap(nullptr, checker.arena_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (arena == MAP_FAILED) {
        checker.arena_bytes = 0;
        return;
    }
    checker.arena = uintptr_t(arena);
    uintptr_t page = sysconf(_SC_PAGESIZE);
    for (int i = 0; i < count; ++i) {
        uintptr_t start = checker.arena + SLOT * i + SLOT / 2;
        uintptr_t begin = start + arrays[i].offset;
        uintptr_t bytes = (arrays[i].offset + arrays[i].bytes + page - 1) / page * page;
        if (arrays[i].bytes > SLOT / 4 || (bytes && mprotect((void*)start, bytes, PROT_READ | PROT_WRITE))) {
            munmap(arena, checker.arena_bytes);
            checker.arena = checker.arena_bytes = 0;
            return;
        }
        arrays[i].data = (void*)begin;
        Region region;
        region.begin = begin;
        region.end = begin + arrays[i].bytes;
        region.space = GLOBAL;
        region.array = i;
        region.constant = arrays[i].constant;
        region.initialised = arrays[i].initialised;
        region.granule_shift = __builtin_ctz(arrays[i].granule);
        region.make_cells();
        checker.arrays.push_back(std::move(region));
    }
}

}  // namespace

// ---- Told by the executor -------------------------------------------------------------------------------

void check_block_begin(const unsigned block_index[3], const unsigned block_size[3], void* dynamic_shared,
                       size_t dynamic_bytes) {
    if (!checker.active) return;
    std::copy_n(block_index, 3, checker.block_index);
    std::copy_n(block_size, 3, checker.block_size);
    checker.block = checker.block_indices.size() / 3;
    checker.block_indices.insert(checker.block_indices.end(), block_index, block_index + 3);
    checker.thread_count = block_size[0] * block_size[1] * block_size[2];
    checker.threads.assign(checker.thread_count, Thread{});
    for (Thread& thread : checker.threads) thread.clock = 1;
    checker.block_first = checker.barrier_first = checker.segments.size();
    checker.fenced = 0;
    checker.acquired.clear();
    checker.thread = 0;
    checker.segment = 0;

    Region& region = checker.dynamic_shared;
    uintptr_t begin = uintptr_t(dynamic_shared);
    if (region.begin != begin || region.end != begin + dynamic_bytes) {
        region = Region{};
        region.begin = begin;
        region.end = begin + dynamic_bytes;
        region.space = SHARED;
        region.make_cells();
    }
}

void check_thread_switch(unsigned thread) {
    if (!checker.active) return;
    checker.thread = thread;
    checker.segment = checker.threads[thread].segment;
}

void check_thread_exit(unsigned thread) {
    if (checker.active) checker.threads[thread].exited = true;
}

void check_barrier(unsigned thread, const void* place) {
    if (!checker.active) return;
    checker.threads[thread].at_barrier = true;
    checker.threads[thread].place = place;
}

void check_barrier_release() {
    if (!checker.active) return;
    unsigned waiting = 0, missing = 0, first_waiting = 0, first_missing = 0;
    for (unsigned i = checker.thread_count; i-- > 0;) {
        const Thread& thread = checker.threads[i];
        if (thread.at_barrier) {
            ++waiting;
            first_waiting = i;
        } else if (!thread.stopped) {
            ++missing;
            first_missing = i;
        }
    }
    if (!waiting) return;
    const void* place = checker.threads[first_waiting].place;
    if (missing) {
        CheckedFinding& finding = add_finding(BARRIER_MISSED, place);
        if (finding.times == 1) {
            finding.thread = first_waiting;
            finding.other_thread = first_missing;
            finding.other_write = checker.threads[first_missing].exited;
            finding.mask = missing;
            finding.lanes = waiting;
        }
    }
    for (unsigned i = 0; i < checker.thread_count; ++i) {
        Thread& thread = checker.threads[i];
        if (thread.at_barrier && thread.place != place) {
            CheckedFinding& finding = add_finding(BARRIER_DIVERGED, place, thread.place);
            if (finding.times == 1) {
                finding.thread = first_waiting;
                finding.other_thread = i;
            }
        }
        if (thread.at_barrier) ++thread.interval;
        thread.at_barrier = false;
        thread.segment = 0;
        ++thread.clock;
    }
    checker.segment = 0;
    checker.barrier_first = checker.segments.size();
}

void check_warp_operation(unsigned thread, uint32_t mask, const void* place) {
    if (!checker.active) return;
    checker.threads[thread].mask = mask;
    checker.threads[thread].place = place;
    if (!(mask >> thread % WARP & 1)) {
        CheckedFinding& finding = add_finding(MASK_WITHOUT_CALLER, place);
        if (finding.times == 1) {
            finding.thread = thread;
            finding.mask = mask;
        }
    }
}

void check_warp_release(unsigned warp, uint32_t lanes, bool orders_memory) {
    if (!checker.active) return;
    unsigned first = warp * WARP, count = std::min(WARP, checker.thread_count - first);
    Thread* threads = &checker.threads[first];
    uint32_t may_miss = 0;  // lanes that the block does not have, and those that the checker has stopped
    for (unsigned lane = 0; lane < WARP; ++lane)
        if (lane >= count || threads[lane].stopped) may_miss |= 1u << lane;
    uint32_t joined[WARP] = {};
    for (unsigned lane = 0; lane < count; ++lane) {
        if (!(lanes >> lane & 1)) continue;
        if (threads[lane].mask & ~lanes & ~may_miss) {
            CheckedFinding& finding = add_finding(MASK_NAMES_ABSENT, threads[lane].place);
            if (finding.times == 1) {
                finding.thread = first + lane;
                finding.mask = threads[lane].mask;
                finding.lanes = lanes;
            }
        }
        for (unsigned other = 0; other < WARP; ++other)
            joined[other] = std::max(joined[other], threads[lane].known[other]);
        joined[lane] = std::max(joined[lane], threads[lane].clock);
        ++threads[lane].interval;
    }
    if (!orders_memory) return;
    for (unsigned lane = 0; lane < count; ++lane) {
        if (!(lanes >> lane & 1)) continue;
        std::copy_n(joined, WARP, threads[lane].known);
        ++threads[lane].clock;
        threads[lane].segment = 0;
    }
    checker.segment = checker.threads[checker.thread].segment;
}

uint64_t check_absent_lane(unsigned thread, unsigned lane, uint64_t value) {
    if (!checker.active) return value;
    const unsigned absent = thread / WARP * WARP + lane;
    if (absent < checker.thread_count && checker.threads[absent].stopped) return value;  // has its own finding
    const void* place = checker.threads[thread].place;
    CheckedFinding& finding = add_finding(ABSENT_LANE, place);
    if (finding.times == 1) {
        finding.thread = thread;
        finding.mask = checker.threads[thread].mask;
        finding.offset = lane;
    }
    return uint64_t(place) == checker.absent_place ? checker.absent_value : value;
}

bool check_is_repeated() { return checker.repeated; }

bool check_fault(bool is_division, bool stack_is_full, bool has_address, uintptr_t address, const void* place) {
    if (!checker.active) return false;
    const CheckedKind kind = is_division     ? DIVISION
                             : stack_is_full ? STACK_FULL
                             : has_address   ? ACCESS_FAULT
                                             : UNREACHABLE;
    CheckedFinding& finding = add_finding(kind, place);
    if (finding.times == 1) finding.address = address;
    checker.threads[checker.thread].stopped = true;
    return true;
}

bool check_trap(const char* reason, const void* place) {
    if (!checker.active) return false;
    CheckedFinding& finding = add_finding(TRAP, place);
    snprintf(finding.reason, sizeof finding.reason, "%s", reason);
    return true;
}

void* check_heap_take(size_t bytes) {
    if (!checker.active) return nullptr;
    void* memory = aligned_alloc(16, (bytes + 15) / 16 * 16 + HEAP_GAP);
    if (!memory) return nullptr;
    Region region;
    region.begin = uintptr_t(memory);
    region.end = region.begin + bytes;
    region.limit = region.begin + (bytes + 15) / 16 * 16 + HEAP_GAP;
    region.space = GLOBAL;
    region.array = HEAP;
    region.make_cells();
    checker.heap.insert_or_assign(region.begin, std::move(region));
    return memory;
}

bool check_heap_give(void* memory, const void* place) {
    if (!checker.active) return false;
    auto found = checker.heap.find(uintptr_t(memory));
    if (found == checker.heap.end() || found->second.is_freed) {
        CheckedFinding& finding = add_finding(BAD_FREE, place, nullptr, found == checker.heap.end() ? -1 : HEAP);
        if (finding.times == 1) finding.address = uint64_t(memory);
        stop();
    }
    found->second.is_freed = true;
    return true;
}

void check_block_end() {
    if (!checker.active) return;
    for (Site& site : checker.sites) {
        count_pending(site);
        site.warp = ~0u;
    }
    checker.threads.clear();
}

}  // namespace minialex

// ---- Told by Python ---------------------------------------------------------------------------------------

using namespace minialex;

extern "C" {

#define MINIALEX_EXPORT __attribute__((visibility("default")))

// Returns 0, or 1 if the arrays cannot be allocated.
MINIALEX_EXPORT int checker_begin(CheckedArray* arrays, int count, const CheckedVariable* variables,
                                  int variable_count) {
    checker = Checker{};
    checker.segments.push_back({});  // segment 0 means none
    checker.block_first = checker.barrier_first = 1;
    map_arena(arrays, count);
    if (count && !checker.arena_bytes) return 1;

    uintptr_t code = uintptr_t(_end) - uintptr_t(__ehdr_start);
    for (auto& table : checker.site_of) table.assign(code, 0);

    uintptr_t lowest = ~uintptr_t(0), highest = 0;
    for (int i = 0; i < variable_count; ++i) {
        Region variable;
        variable.begin = variables[i].address;
        variable.end = variable.begin + variables[i].bytes;
        variable.limit = variables[i].limit;
        variable.space = Space(variables[i].space);
        variable.constant = variables[i].constant;
        variable.initialised = variable.space == GLOBAL;
        variable.is_counted = !variable.constant;
        variable.array = variables[i].array;
        variable.make_cells();
        checker.variables.push_back(std::move(variable));
        lowest = std::min<uintptr_t>(lowest, variables[i].address);
        highest = std::max<uintptr_t>(highest, variables[i].address + std::max<uint64_t>(variables[i].bytes, 1) - 1);
    }
    if (variable_count) {
        checker.variables_begin = lowest;
        checker.variable_of.assign(((highest - lowest) >> VARIABLE_SHIFT) + 1, 0);
        checker.variables_bytes = checker.variable_of.size() << VARIABLE_SHIFT;
        for (int i = 0; i < variable_count; ++i)
            for (uint64_t offset = 0; offset < std::max<uint64_t>(variables[i].bytes, 1); offset += 1 << VARIABLE_SHIFT)
                checker.variable_of[(variables[i].address + offset - lowest) >> VARIABLE_SHIFT] = i + 1;
    }

    checker.active = true;
    return 0;
}

MINIALEX_EXPORT void checker_repeat(uint64_t place, uint64_t value) {
    checker.repeated = true;
    checker.absent_place = place;
    checker.absent_value = value;
}

MINIALEX_EXPORT int checker_findings(const CheckedFinding** findings) {
    *findings = checker.findings.data();
    return checker.findings.size();
}

MINIALEX_EXPORT int checker_traffic(const CheckedTraffic** traffic) {
    checker.traffic.clear();
    for (const Site& site : checker.sites) checker.traffic.push_back(site.traffic);
    *traffic = checker.traffic.data();
    return checker.traffic.size();
}

MINIALEX_EXPORT void checker_end() {
    if (!checker.active) return;
    checker.active = false;
    if (checker.arena_bytes) munmap((void*)checker.arena, checker.arena_bytes);
    for (auto& [begin, region] : checker.heap) free((void*)begin);
    checker = Checker{};
}

// ---- Told by the instrumented kernel: ThreadSanitizer's interface ---------------------------------------

#define PLACE __builtin_return_address(0)

void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}

#define ACCESSES(bytes)                                                                               \
    void __tsan_read##bytes(void* p) { check_access(p, bytes, READ, PLACE); }                         \
    void __tsan_write##bytes(void* p) { check_access(p, bytes, WRITE, PLACE); }                       \
    void __tsan_unaligned_read##bytes(void* p) { check_access(p, bytes, READ, PLACE); }               \
    void __tsan_unaligned_write##bytes(void* p) { check_access(p, bytes, WRITE, PLACE); }             \
    void __tsan_volatile_read##bytes(void* p) { check_access(p, bytes, READ, PLACE); }                \
    void __tsan_volatile_write##bytes(void* p) { check_access(p, bytes, WRITE, PLACE); }
ACCESSES(1)
ACCESSES(2)
ACCESSES(4)
ACCESSES(8)
ACCESSES(16)

void __tsan_read_range(void* p, unsigned long bytes) { check_access(p, bytes, READ, PLACE); }
void __tsan_write_range(void* p, unsigned long bytes) { check_access(p, bytes, WRITE, PLACE); }
void __tsan_vptr_read(void** p) { check_access(p, sizeof(void*), READ, PLACE); }
void __tsan_vptr_update(void** p, void*) { check_access(p, sizeof(void*), WRITE, PLACE); }

// These functions must do the operations, too.
void __tsan_atomic_thread_fence(int) {
    if (checker.active) checker.fenced = checker.segments.size();
}
void __tsan_atomic_signal_fence(int) {}

#define FETCH(bits, type, name)                                                                       \
    type __tsan_atomic##bits##_fetch_##name(volatile type* p, type value, int) {                      \
        check_access(p, sizeof(type), ATOMIC | WRITE, PLACE);                                         \
        return __atomic_fetch_##name(p, value, __ATOMIC_RELAXED);                                     \
    }
#define COMPARE_EXCHANGE(bits, type, strength)                                                        \
    int __tsan_atomic##bits##_compare_exchange_##strength(volatile type* p, type* expected, type value, int, int) { \
        check_access(p, sizeof(type), ATOMIC | WRITE, PLACE);                                         \
        return __atomic_compare_exchange_n(p, expected, value, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED); \
    }
#define ATOMICS(bits, type)                                                                           \
    type __tsan_atomic##bits##_load(const volatile type* p, int) {                                    \
        check_access(p, sizeof(type), ATOMIC | READ, PLACE);                                          \
        return __atomic_load_n(p, __ATOMIC_RELAXED);                                                  \
    }                                                                                                 \
    void __tsan_atomic##bits##_store(volatile type* p, type value, int) {                             \
        check_access(p, sizeof(type), ATOMIC | WRITE, PLACE);                                         \
        __atomic_store_n(p, value, __ATOMIC_RELAXED);                                                 \
    }                                                                                                 \
    type __tsan_atomic##bits##_exchange(volatile type* p, type value, int) {                          \
        check_access(p, sizeof(type), ATOMIC | WRITE, PLACE);                                         \
        return __atomic_exchange_n(p, value, __ATOMIC_RELAXED);                                       \
    }                                                                                                 \
    FETCH(bits, type, add)                                                                            \
    FETCH(bits, type, sub)                                                                            \
    FETCH(bits, type, and)                                                                            \
    FETCH(bits, type, or)                                                                             \
    FETCH(bits, type, xor)                                                                            \
    FETCH(bits, type, nand)                                                                           \
    COMPARE_EXCHANGE(bits, type, strong)                                                              \
    COMPARE_EXCHANGE(bits, type, weak)
ATOMICS(8, uint8_t)
ATOMICS(16, uint16_t)
ATOMICS(32, uint32_t)
ATOMICS(64, uint64_t)

// ---- UndefinedBehaviorSanitizer's, for what the front end knows and an address does not tell ------------

void __ubsan_handle_type_mismatch_v1(void*, uintptr_t address) {
    if (!checker.active) return;
    const Region* region = nullptr;
    if (address - checker.arena < checker.arena_bytes)
        region = &checker.arrays[(address - checker.arena) >> SLOT_SHIFT];
    else
        region = variable_at(address);
    add_access_finding(MISALIGNED, PLACE, region, address, 0, READ);
    stop();
}

void __ubsan_handle_divrem_overflow(void*, uintptr_t, uintptr_t) {
    if (!checker.active) return;
    add_finding(DIVISION, PLACE);
    stop();
}

void __ubsan_handle_out_of_bounds(void*, uintptr_t index) {
    if (!checker.active) return;
    add_finding(OUT_OF_DIMENSION, PLACE).offset = int64_t(index);
    stop();
}

}  // extern "C"
