"""The arena behind `memory.empty`: blocks never overlap, come back, and are counted."""

import gc
import multiprocessing
import os
import pickle
import subprocess
import sys
import threading
import tracemalloc
import weakref
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from minialex import autograd
from minialex.checking.gradients import behaviour
from minialex.kernels.runtime import memory
from minialex.kernels.runtime.memory import ALIGNMENT, LARGE, Arena

SEGMENT = 2**20


class AnyOrderOfAllocationsAndReleases(RuleBasedStateMachine):
    """Blocks and free intervals together tile the segments, whatever was asked before."""

    def __init__(self):
        super().__init__()
        self.arena = Arena(SEGMENT)
        self.blocks = []
        self.most = 0

    @rule(units=st.one_of(st.integers(1, 3), st.integers(1, 200), st.integers(1, 3 * SEGMENT // ALIGNMENT)))
    def allocate(self, units):
        size = units * ALIGNMENT
        self.blocks.append((self.arena.allocate(size), size))
        self.most = max(self.most, sum(size for _, size in self.blocks))

    @precondition(lambda self: self.blocks)
    @rule(data=st.data())
    def release(self, data):
        place = data.draw(st.integers(0, len(self.blocks) - 1))
        self.arena.release(*self.blocks.pop(place))

    @rule()
    def trim(self):
        self.arena.trim()

    @rule()
    def reset_peak(self):
        self.arena.reset_peak()
        self.most = sum(size for _, size in self.blocks)

    @invariant()
    def nothing_overlaps_and_nothing_is_lost(self):
        free = self.arena.free_intervals()
        everything = sorted(self.blocks + free)
        for (start, size), (following, _) in pairwise(everything):
            assert start + size <= following
        assert all(start % ALIGNMENT == 0 for start, _ in everything)
        # Free neighbours have been joined.
        for (start, size), (following, _) in pairwise(free):
            assert start + size < following
        segments = len(self.arena._segments)
        assert sum(size for _, size in everything) == self.arena.reserved() - ALIGNMENT * segments

    @invariant()
    def the_statistics_are_right(self):
        assert self.arena.in_use() == sum(size for _, size in self.blocks)
        assert self.arena.peak() == self.most

    def teardown(self):
        for block in self.blocks:
            self.arena.release(*block)
        free = self.arena.free_intervals()
        assert len(free) == len(self.arena._segments)  # each is one free interval again


TestArena = AnyOrderOfAllocationsAndReleases.TestCase


def test_the_smallest_interval_that_fits_is_taken():
    arena = Arena(SEGMENT)
    kept = []
    holes = []
    for size in (4096, 1024, 2048):
        holes.append((arena.allocate(size), size))
        kept.append((arena.allocate(64), 64))
    for hole in holes:
        arena.release(*hole)
    assert arena.allocate(1024) == holes[1][0]
    assert arena.allocate(1088) == holes[2][0]
    assert arena.allocate(2048) == holes[0][0]


def test_what_was_used_before_comes_before_the_end_of_a_segment():
    arena = Arena(2**16)
    first = arena.allocate(2**15)
    second = arena.allocate(64)
    arena.release(first, 2**15)
    rest = 2**16 - 2 * ALIGNMENT - 2**15  # smaller than the hole in front of it
    assert arena.free_intervals() == [(first, 2**15), (second + 64, rest)]
    assert arena.allocate(128) == first
    assert arena.allocate(2**15 - 128) == first + 128
    assert arena.allocate(64) == second + 64
    # Nothing holds this but the end; and nothing this, so that there is a second segment.
    assert arena.allocate(rest - 128) == second + 128
    assert arena.allocate(128) not in range(first, first + 2**16)
    assert arena.reserved() == 2**17


def test_an_older_segment_is_used_to_its_end_before_a_newer_one():
    arena = Arena(2**16)
    blocks = [arena.allocate(2**15) for _ in range(3)]
    older, newer = blocks[0], blocks[1] if blocks[1] != blocks[0] + 2**15 else blocks[2]
    for block in blocks:
        arena.release(block, 2**15)
    # Both are free now, and of one size; what is left of the older is the smaller or the larger of the two.
    assert arena.allocate(64) == older
    assert arena.allocate(2**15) == older + 64
    kept = arena.allocate(2**15)
    assert kept == newer
    arena.release(older + 64, 2**15)
    assert arena.allocate(2**14) == older + 64


def test_small_blocks_leave_large_intervals_alone_while_there_is_room_elsewhere():
    large = 2**26
    arena = Arena(4 * large)
    hole = arena.allocate(large)
    end = arena.allocate(large) + large
    arena.release(hole, large)
    assert arena.allocate(large // 8 + 64) == hole
    arena.release(hole, large // 8 + 64)
    assert arena.allocate(large // 8) == end
    arena.allocate(2 * large - large // 8 - ALIGNMENT)
    # Now there is room nowhere else, and no segment is added.
    assert arena.allocate(64) == hole
    assert arena.reserved() == 4 * large


@given(
    st.sampled_from(["float32", "float64", "float16", "int32", "uint8", "bool", "complex64", ">f4"]),
    st.lists(st.integers(1, 40), max_size=3),
    st.booleans(),
)
def test_arrays_are_what_was_asked_for(dtype, tail, large):
    dtype = np.dtype(dtype)
    rows = -(-LARGE // (dtype.itemsize * int(np.prod(tail)))) if large else 1
    array = memory.empty((rows, *tail), dtype)
    assert array.shape == (rows, *tail)
    assert array.dtype == dtype
    assert array.flags.c_contiguous
    assert array.flags.writeable
    assert memory.owns(array)
    assert not memory.owns(array[:])
    if large:
        assert array.ctypes.data % ALIGNMENT == 0
    array[...] = 1
    following = memory.zeros((rows, *tail), dtype)
    assert (following == 0).all()
    assert not large or following.ctypes.data % ALIGNMENT == 0
    assert (array == 1).all()


@pytest.mark.parametrize("shape", [LARGE, np.int64(LARGE), [LARGE], (np.int32(LARGE),), (LARGE, 1)])
def test_shapes_may_be_any_that_numpy_takes(shape):
    assert memory.empty(shape, np.float32).shape == np.empty(shape, np.float32).shape


def test_bad_shapes_are_numpys_errors():
    with pytest.raises(ValueError, match="negative"):
        memory.empty((-LARGE, -8), np.float32)
    with pytest.raises(TypeError):
        memory.empty((2.5, LARGE), np.float32)


def test_objects_are_not_put_into_the_arena():
    before = memory.in_use()
    array = memory.empty(LARGE, object)
    assert memory.in_use() == before
    assert array[0] is None


def test_a_block_comes_back_with_the_last_view():
    gc.collect()
    before = memory.in_use()
    array = memory.empty((1000, 1000), np.float32)
    assert memory.in_use() == before + 4_000_000
    view = array[10:20, ::2].T.reshape(-1)[:0].base
    part = array[500:]
    del array, view
    assert memory.in_use() == before + 4_000_000
    part[...] = 3
    del part
    assert memory.in_use() == before


def test_the_same_memory_is_used_again():
    addresses = set()
    for _ in range(10):
        array = memory.empty(10**6, np.float32)
        addresses.add(array.ctypes.data)
        del array
    assert len(addresses) == 1


def test_a_release_in_the_midst_of_an_allocation_waits():
    # A garbage collection may run a finaliser while the lock is held, in the same thread.
    arena = Arena(SEGMENT)
    start = arena.allocate(4096)
    with arena.lock:
        arena.release(start, 4096)
    assert arena.in_use() == 0


def test_a_gradient_in_the_arena_is_not_copied_and_a_view_is():
    array = memory.empty(10**5, np.float32)
    kept = autograd._with_own_memory(autograd.Tensor(array), set())
    assert kept.data is array
    assert not np.shares_memory(autograd._with_own_memory(autograd.Tensor(array[1:]), set()).data, array)


def test_arrays_can_be_pickled_and_referred_to_weakly():
    array = memory.zeros(LARGE, np.float32)
    assert (pickle.loads(pickle.dumps(array)) == array).all()
    reference = weakref.ref(array)
    del array
    assert reference() is None


def test_threads_never_get_the_same_memory():
    failures = []

    def work(number):
        generator = np.random.default_rng(number)
        held = []
        for i in range(300):
            array = memory.empty(int(generator.integers(LARGE, 3 * LARGE)), np.int32)
            array.fill(number * 1000 + i)
            held.append((array, number * 1000 + i))
            if len(held) > 5:
                old, value = held.pop(int(generator.integers(0, 5)))
                if not (old == value).all():
                    failures.append((number, i))
                del old

    before = memory.in_use()
    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert memory.in_use() == before


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_child_has_a_copy_of_its_own():
    array = memory.zeros(10**6, np.float32)

    def child(pipe):
        same = memory.empty(10**5, np.float32)
        same.fill(7)
        array.fill(5)
        pipe.send((float(array.sum()), float(same.sum()), memory.in_use()))

    context = multiprocessing.get_context("fork")
    here, there = context.Pipe()
    stop = threading.Event()

    def busy():
        while not stop.is_set():
            memory.empty(LARGE, np.float32)

    # Another thread is in the arena while the process forks.
    thread = threading.Thread(target=busy)
    thread.start()
    try:
        for _ in range(5):
            process = context.Process(target=child, args=(there,))
            process.start()
            assert here.poll(60)
            assert here.recv()[:2] == (5e6, 7e5)
            process.join(60)
            assert process.exitcode == 0
    finally:
        stop.set()
        thread.join()
    assert (array == 0).all()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_trim_gives_memory_back_to_the_system():
    def resident():
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")

    size = 256 * 2**20
    kept = memory.zeros(10**5, np.float32)
    kept.fill(3)
    array = memory.empty(size, np.uint8)
    array.fill(1)
    with_it = resident()
    del array
    assert resident() > with_it - size // 4
    memory.trim()
    assert resident() < with_it - size // 2
    assert (kept == 3).all()
    assert (memory.zeros(size, np.uint8)[::4096] == 0).all()


def test_tracemalloc_counts_the_arena():
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        array = memory.empty(10**6, np.float32)
        during, _ = tracemalloc.get_traced_memory()
        assert 0 <= during - before - 4 * 10**6 < 10_000
        view = array[5:]
        del array
        assert tracemalloc.get_traced_memory()[0] - before >= 4 * 10**6
        del view
        after, peak = tracemalloc.get_traced_memory()
        assert after - before < 10_000
        assert peak - before >= 4 * 10**6
    finally:
        tracemalloc.stop()


def test_blocks_from_before_tracing_do_not_count():
    array = memory.empty(10**6, np.float32)
    tracemalloc.start()
    try:
        del array
        assert tracemalloc.get_traced_memory()[0] < 100_000
    finally:
        tracemalloc.stop()


def test_the_peak():
    memory.reset_peak()
    before = memory.in_use()
    a = memory.empty(10**6, np.uint8)
    b = memory.empty(10**6, np.uint8)
    del a
    c = memory.empty(10**5, np.uint8)
    rounded = -(-(10**6) // ALIGNMENT) * ALIGNMENT
    assert memory.peak() == before + 2 * rounded
    del b, c
    memory.reset_peak()
    assert memory.peak() == memory.in_use() == before


def test_too_much_is_an_error_that_says_how_much():
    before = memory.in_use(), memory.reserved()
    with pytest.raises(MemoryError, match=r"\(4, 1099511627776\) and dtype float32: 16384\.00 GiB"):
        memory.empty((4, 2**40), np.float32)
    assert (memory.in_use(), memory.reserved()) == before


@pytest.mark.skipif(sys.platform != "linux", reason="limits the address space")
def test_a_smaller_segment_where_the_system_refuses_a_large_one():
    code = (
        "import resource, numpy as np\n"
        "from minialex.kernels.runtime import memory\n"
        "used = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()\n"
        "resource.setrlimit(resource.RLIMIT_AS, (used + 300 * 2**20,) * 2)\n"
        "array = memory.zeros(10**6, np.float32)\n"
        "print(memory.reserved() < 2**30, array.sum())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "0.0"]
    assert done.stderr == ""


@pytest.mark.parametrize("tracing", ["0", "1"])
def test_the_interpreter_ends_in_silence(tracing):
    # Arrays in cycles, in modules, in threads that still run: what the end of the interpreter leaves.
    code = (
        "import threading, sys, numpy as np\n"
        "from minialex.kernels.runtime import memory\n"
        "kept = memory.empty(10**6, np.float32)\n"
        "cycle = [memory.empty(10**6, np.float32)]\n"
        "cycle.append(cycle)\n"
        "sys.kept = memory.empty(10**6, np.float32)\n"
        "np.kept = sys.kept[3:]\n"
        "class Late:\n"
        "    def __init__(self): self.array = memory.empty(10**6, np.float32)\n"
        "    def __del__(self): self.array.fill(1)\n"
        "np.late = Late()\n"
        "def work():\n"
        "    while True: memory.empty(10**5, np.float32).fill(2)\n"
        "threading.Thread(target=work, daemon=True).start()\n"
    )
    environment = {**os.environ, "PYTHONTRACEMALLOC": tracing}
    for _ in range(3):
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True
        )
        assert done.stderr == ""


def test_the_checkers_garbage_reaches_the_arena():
    # A gradient that leaves a part of its result unwritten must come out different each time.
    x = np.ones((100, 100))
    assert x.nbytes >= LARGE
    for value in (1e30, 2e30):
        behaviour._fill_freed_memory([x], value)
        assert (memory.empty(x.shape, x.dtype) == value).all()
