"""The loader's threads: order, errors, and that none outlives its iteration."""

import gc
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
import weakref
from contextlib import closing

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minialex.data import ArrayDataset, DataLoader
from minialex.data.workers import in_order
from minialex.kernels.runtime import threads as kernel_threads
from minialex.kernels.runtime.compiled import compiled

SECONDS = 60  # that a test waits for what should come at once, on a machine that is busy with others


def dataset_of(count):
    images = np.broadcast_to(np.arange(count, dtype=np.uint8)[:, None, None, None], (count, 1, 2, 3))
    return ArrayDataset(images, np.arange(count), tuple(map(str, range(count))), "numbered")


class Singles:
    """Samples one by one, with something to do before each."""

    classes = ("a",)
    name = "singles"

    def __init__(self, count, before=lambda index: None):
        self.count, self.before = count, before

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        self.before(index)
        return np.full((1, 2, 2), index % 256, np.uint8), index


def loader_threads():
    return [each for each in threading.enumerate() if each.name.startswith("minialex-loader")]


def wait_until(condition):
    end = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.001)


def labels_of(batches):
    return [y.tolist() for _, y in batches]


@given(st.integers(0, 12), st.integers(0, 5), st.integers(1, 8), st.randoms(use_true_random=False))
def test_results_come_in_order(count, workers, prefetch, random):
    """However long each takes: the first of all waits for the last of those made beside it."""
    delays = [random.choice([0, 0, 0.002]) for _ in range(count)]

    def make(number, stopping):
        time.sleep(delays[number])
        return number * number

    results = in_order(make, range(count), workers=workers, prefetch=prefetch)
    assert list(results) == [number * number for number in range(count)]


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_as_many_are_made_at_a_time_as_there_are_workers(workers):
    together = threading.Barrier(workers)
    most, running, lock = 0, 0, threading.Lock()

    def make(number, stopping):
        nonlocal most, running
        with lock:
            running += 1
            most = max(most, running)
        together.wait(SECONDS)
        with lock:
            running -= 1

    list(in_order(make, range(4 * workers), workers=workers, prefetch=2 * workers))
    assert most == workers


@pytest.mark.parametrize(("workers", "prefetch"), [(1, 1), (1, 3), (2, 2), (3, 2)])
def test_no_more_are_made_ahead_than_asked_for(workers, prefetch):
    made = []
    results = in_order(
        lambda number, stopping: made.append(number), range(10), workers=workers, prefetch=prefetch
    )
    with closing(results):
        for used in range(1, 4):
            next(results)
            wait_until(lambda used=used: len(made) >= used + prefetch)
            time.sleep(0.02)
            assert sorted(made) == list(range(used + prefetch))


def test_without_workers_the_consumer_makes_each_when_it_asks():
    makers = []
    results = in_order(
        lambda number, stopping: makers.append((number, threading.current_thread())),
        range(3),
        workers=0,
        prefetch=2,
    )
    assert makers == []
    next(results)
    assert makers == [(0, threading.current_thread())]


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_an_error_comes_in_its_place_with_its_type_and_its_sample(workers):
    def before(index):
        if index == 5:
            raise FloatingPointError("sample five")

    batches = iter(DataLoader(Singles(9, before), 2, workers=workers, prefetch=4))
    assert next(batches)[1].tolist() == [0, 1]
    assert next(batches)[1].tolist() == [2, 3]
    with pytest.raises(FloatingPointError, match="sample five") as caught:
        next(batches)
    assert caught.value.__notes__ == ["while loading sample 5 of data set singles"]
    assert caught.traceback[-1].name == "before"
    assert loader_threads() == []
    assert next(batches, None) is None


def test_an_error_of_a_whole_batch_names_its_samples():
    class Torn(Singles):
        def batch(self, indices):
            raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone") as caught:
        list(DataLoader(Torn(9), 4))
    assert caught.value.__notes__ == ["while loading samples 0, 1, 2, ... of data set singles"]


def exhaust(loader):
    list(loader)


def leave_the_loop(loader):
    for _ in loader:
        break


def close(loader):
    batches = iter(loader)
    next(batches)
    batches.close()
    assert loader_threads() == []
    assert next(batches, None) is None


def close_before_the_first(loader):
    iter(loader).close()


def forget(loader):
    next(iter(loader))
    gc.collect()


def never_start(loader):
    iter(loader)


def fail_in_the_consumer(loader):
    def consume():
        for _ in loader:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        consume()


def skip_to_the_end(loader):
    assert list(loader.batches(0, len(loader))) == []


@pytest.mark.parametrize("workers", [0, 1, 3])
@pytest.mark.parametrize(
    "use",
    [
        exhaust,
        leave_the_loop,
        close,
        close_before_the_first,
        forget,
        never_start,
        fail_in_the_consumer,
        skip_to_the_end,
    ],
)
def test_no_thread_and_no_batch_is_left(use, workers):
    before = threading.enumerate()
    use(DataLoader(dataset_of(50), 1, workers=workers, prefetch=4))
    assert threading.enumerate() == before


@pytest.mark.parametrize("workers", [1, 2])
def test_threads_run_only_while_an_iteration_does(workers):
    batches = iter(DataLoader(dataset_of(9), 1, workers=workers, prefetch=3))
    assert loader_threads() == []
    next(batches)
    assert 1 <= len(loader_threads()) <= workers
    assert labels_of(batches) == [[i] for i in range(1, 9)]
    assert loader_threads() == []


def test_an_end_waits_for_the_call_in_work_and_begins_no_other():
    begun, made = threading.Event(), []

    def make(number, stopping):
        if number == 1:
            begun.set()
            stopping.wait(SECONDS)
            time.sleep(0.05)
        made.append(number)

    results = in_order(make, range(10), workers=1, prefetch=4)
    next(results)
    assert begun.wait(SECONDS)
    results.close()
    assert made == [0, 1]


def test_a_batch_is_given_up_in_its_middle():
    begun, asked = threading.Event(), []

    def before(index):
        asked.append(index)
        if index == 500:
            begun.set()
        time.sleep(0.001)

    batches = iter(DataLoader(Singles(100_000, before), 400, workers=1, prefetch=1))
    next(batches)
    assert begun.wait(SECONDS)
    batches.close()
    assert 500 < len(asked) < 800


def test_nothing_is_kept_of_an_iteration_that_has_ended():
    class Array(np.ndarray):
        """An array that can be referred to weakly."""

    kept = []

    def make(number, stopping):
        array = np.zeros(10).view(Array)
        kept.append(weakref.ref(array))
        return array

    kept.append(weakref.ref(make))
    results = in_order(make, range(20), workers=2, prefetch=3)
    del make
    for _ in range(5):
        next(results)
    results.close()
    gc.collect()
    assert len(kept) > 5
    assert [each() for each in kept if each() is not None] == []


@compiled.parallel
def add_one(item, worker, values):
    values[item] += 1


def test_loading_while_kernels_run_on_their_pool():
    """The kernels' threads and the loader's do not wait for each other; a data set may run kernels, too."""

    def before(index):
        values = np.zeros(64)
        add_one.run(64, values)
        assert (values == 1).all()

    kernel_threads.set_num_threads(3)
    try:
        seen = []
        for _, y in DataLoader(Singles(60, before), 4, workers=3, prefetch=4):
            values = np.zeros(1000)
            add_one.run(1000, values)
            assert (values == 1).all()
            seen += y.tolist()
    finally:
        kernel_threads.set_num_threads(None)
    assert seen == list(range(60))


SLOW = """
import signal, sys, time
import numpy as np
from minialex.data import DataLoader
from minialex.data.workers import in_order


class Slow:
    classes, name = ("a",), "slow"

    def __len__(self):
        return 100_000

    def __getitem__(self, index):
        time.sleep(0.01)
        return np.zeros((1, 2, 2), np.uint8), 0
"""


def start(program):
    return subprocess.Popen(
        [sys.executable, "-c", SLOW + textwrap.dedent(program)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_ctrl_c_ends_a_program_that_waits_for_a_batch(workers):
    # A batch takes 1000 seconds.
    program = start(f"""
        # A program that a script starts in the background ignores the signal.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        batches = iter(DataLoader(Slow(), 100_000, workers={workers}))
        print("waiting", flush=True)
        next(batches)
    """)
    assert program.stdout.readline() == "waiting\n"
    time.sleep(0.2)
    program.send_signal(signal.SIGINT)
    _, errors = program.communicate(timeout=SECONDS)
    assert errors.rstrip().endswith("KeyboardInterrupt")
    assert program.returncode in (1, -signal.SIGINT, 128 + signal.SIGINT)


@pytest.mark.parametrize("how", ["pass", "sys.exit(3)", "1 / 0"])
def test_a_program_may_end_in_the_middle_of_an_iteration(how):
    program = start(f"""
        import os, threading

        begun = threading.Semaphore(0)

        def make(seconds, stopping):
            begun.release()
            if stopping.wait(seconds):
                os.write(1, b"told to stop\\n")

        batches = in_order(make, [0, 1000, 1000, 1000, 1000], workers=2, prefetch=3)
        next(batches)
        for _ in range(3):
            begun.acquire()
        {how}
    """)
    out, errors = program.communicate(timeout=SECONDS)
    # By the two threads, which were waited for; no other call was begun.
    assert out == "told to stop\n" * 2
    assert program.returncode == {"pass": 0, "sys.exit(3)": 3, "1 / 0": 1}[how]
    assert ("ZeroDivisionError" in errors) == (how == "1 / 0")
    assert len(errors.splitlines()) <= 5


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
def test_a_forked_child_does_not_wait_for_its_parents_threads():
    program = start("""
        import os

        from minialex.errors import DataError

        loader = DataLoader(Slow(), 2, workers=2, prefetch=2, limit=6)
        batches = iter(loader)
        next(batches)
        child = os.fork()
        if child == 0:
            try:
                next(batches)
            except DataError as error:
                assert "begin another" in str(error)
                assert len(list(loader)) == 3
                print("refused", flush=True)
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        print(len(list(batches)), "more")
    """)
    out, errors = program.communicate(timeout=SECONDS)
    assert (out, program.returncode) == ("refused\n2 more\n", 0), errors
