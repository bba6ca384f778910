"""The pool: each item once, on any number of threads, from any caller, in any process."""

import functools
import json
import multiprocessing
import os
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minialex import kernels
from minialex.config import using
from minialex.errors import KernelError
from minialex.kernels import find_kernel, kernel, unregister
from minialex.kernels.runtime import compiled as compiled_module
from minialex.kernels.runtime import threads
from minialex.kernels.runtime.compiled import address, call_task, compiled, pack_task
from minialex.kernels.runtime.mailbox import COUNTER_BYTES, COUNTERS


@pytest.fixture(autouse=True)
def default_number():
    """Leave the number of threads as it was."""
    yield
    threads.set_num_threads(None)


@compiled.parallel
def count_calls(item, worker, calls, workers, work):
    """Count the calls for an item, after some work; note who did it."""
    value = 1.0
    for _ in range(work):
        value = value * 1.000001 + 0.5
    calls[item] += 1 if value > 0 else 2
    workers[item] = worker


@compiled.parallel
def fail_at(item, worker, done, where):
    if item == where:
        raise ValueError("no such item")
    done[item] = 1


def counted(items, work=0):
    calls, workers = np.zeros(items, np.int64), np.full(items, -1)
    count_calls.run(items, calls, workers, work)
    assert (calls == 1).all()
    return workers


@given(st.integers(1, 7), st.integers(0, 200), st.sampled_from([0, 100, 20_000]))
def test_each_item_is_done_once(number, items, work):
    threads.set_num_threads(number)
    workers = counted(items, work)
    assert ((workers >= 0) & (workers < number)).all()


@compiled.parallel
def note_order(item, worker, order):
    order[order[0]] = item
    order[0] += 1


def work_alone(worker, buffer, grain, items, *arguments):
    number = (buffer.size * 8 - COUNTERS) // COUNTER_BYTES
    call_task(pack_task(body, buffer, items, grain, number, arguments), address(buffer), worker)


def body():
    """Stands for `note_order`."""


@functools.cache
def one_thread():
    return compiled_module._compile(work_alone, body=note_order)


@given(st.data(), st.integers(1, 6), st.integers(0, 40), st.integers(1, 5))
def test_a_thread_begins_with_its_own_items_and_goes_on_with_those_of_the_next(data, number, items, grain):
    worker = data.draw(st.integers(0, number - 1))
    order = np.ones(items + 1, np.int64)
    one_thread()(worker, threads._new_buffer(number), grain, items, order)
    ranges = [range(items * i // number, items * (i + 1) // number) for i in range(number)]
    assert list(order[1:]) == [item for each in ranges[worker:] + ranges[:worker] for item in each]


def test_other_threads_do_take_part():
    threads.set_num_threads(3)
    # Long enough for the system to wake them, however busy it is.
    assert any(len(set(counted(64, 200_000))) > 1 for _ in range(100)), "no worker has ever taken an item"


@compiled.parallel
def work_for(item, worker, works, done):
    value = 1.0
    for _ in range(works[item]):
        value = value * 1.000001 + 0.5
    done[item] = value


def test_the_caller_waits_for_the_last_item_of_another_thread():
    # The caller takes the first item, which is short, and another thread the second, most of the times.
    threads.set_num_threads(2)
    works = np.array([100_000, 2_000_000])
    for _ in range(30):
        done = np.zeros(2)
        work_for.run(2, works, done)
        assert (done > 0).all()


def test_thousands_of_launches_in_a_row_and_with_pauses():
    threads.set_num_threads(4)
    for i in range(5000):
        assert counted(4, 50 * (i % 3)).max() < 4
        if i % 500 == 0:
            time.sleep(0.01)  # the workers fall asleep


@pytest.mark.parametrize("number", [1, 2, 5])
@pytest.mark.parametrize("where", [0, 37, 99])
def test_an_error_in_any_thread_reaches_the_caller(number, where):
    threads.set_num_threads(number)
    for _ in range(20):
        with pytest.raises(ValueError, match="no such item"):
            fail_at.run(100, np.zeros(100), where)
    done = np.zeros(100)
    fail_at.run(100, done, -1)
    assert (done == 1).all()


def test_callers_in_several_threads():
    threads.set_num_threads(3)
    failures = []

    def call():
        try:
            for _ in range(300):
                counted(16, 300)
        except BaseException as error:
            failures.append(error)

    callers = [threading.Thread(target=call) for _ in range(4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert not failures


def test_the_number_may_change_between_calls():
    for number in (1, 4, 2, 6, 1, 3):
        threads.set_num_threads(number)
        assert threads.num_threads() == number
        for _ in range(20):
            assert counted(32, 500).max() < number


def test_the_number_does_not_change_within_a_call_of_a_kernel():
    """It would be called with scratch memory for fewer threads than take part."""
    found = []

    def set_elsewhere(number):
        other = threading.Thread(target=threads.set_num_threads, args=(number,))
        other.start()
        other.join()

    @kernel("relu.forward", algo="asks")
    def relu(x):
        found.append(threads.num_threads())
        set_elsewhere(5)
        find_kernel("relu.forward", algo="plain")(x)
        found.append(threads.num_threads())
        return x

    x = np.ones((2, 3), np.float32)
    try:
        for run in (find_kernel("relu.forward", algo="asks"), through_the_engine):
            threads.set_num_threads(2)
            run(x)
            assert found == [2, 2]
            assert threads.num_threads() == 5
            found.clear()
    finally:
        unregister("relu.forward", algo="asks")


def through_the_engine(x):
    with using(relu="asks"):
        return kernels.run("relu.forward", "cpu", x)


def test_many_more_threads_than_processors():
    threads.set_num_threads(8 * threads.available_threads() + 1)
    for _ in range(50):
        assert counted(200, 2000).max() < threads.num_threads()


@pytest.mark.parametrize("number", [0, -1, 1.0, True, "2"])
def test_a_number_of_threads_is_a_positive_int(number):
    with pytest.raises(KernelError, match="threads must be an integer 1 or more"):
        threads.set_num_threads(number)


PROGRAM = """
import json, os, threading
from minialex.errors import KernelError
from minialex.kernels.runtime import threads
try:
    print(json.dumps(threads.num_threads()))
except KernelError as error:
    print(json.dumps(str(error)))
"""


@pytest.mark.parametrize(("given_", "expected"), [("1", 1), (" 3 ", 3), (None, threads.available_threads())])
def test_the_environment_sets_the_number(given_, expected):
    assert number_in_a_process(given_) == expected


@pytest.mark.parametrize("given_", ["", "0", "-2", "2.0", "many", "²"])
def test_a_bad_number_in_the_environment_is_refused(given_):
    message = number_in_a_process(given_)
    assert f"MINIALEX_NUM_THREADS must be an integer 1 or more, not {given_}" in message.replace("'", "")


def number_in_a_process(given_):
    environment = {key: value for key, value in os.environ.items() if key != "MINIALEX_NUM_THREADS"}
    if given_ is not None:
        environment["MINIALEX_NUM_THREADS"] = given_
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, env=environment, check=True
    )
    return json.loads(done.stdout)


def in_a_child(pipe):
    threads.set_num_threads(3)
    seen = {0}
    for _ in range(100):
        seen |= {int(worker) for worker in counted(64, 200_000)}
        if len(seen) > 1:
            break
    pipe.send(seen)


@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_child_has_threads_of_its_own(method):
    threads.set_num_threads(3)
    counted(64, 20_000)  # the parent's threads are awake
    context = multiprocessing.get_context(method)
    here, there = context.Pipe()
    process = context.Process(target=in_a_child, args=(there,))
    process.start()
    assert here.poll(120)
    workers = here.recv()
    assert workers <= {0, 1, 2}
    assert len(workers) > 1
    process.join(60)
    assert process.exitcode == 0
    counted(64)  # and the parent's go on


@pytest.mark.full
@pytest.mark.parametrize("pause", [0.0, 0.05])
def test_the_interpreter_ends_with_workers_that_wait_or_sleep(pause):
    code = (
        "import sys, threading, time\n"
        "sys.path.insert(0, sys.argv[1])\n"
        "from test_threads import counted, threads\n"
        "threads.set_num_threads(4)\n"
        "counted(64, 1000)\n"
        "def forever():\n"
        "    while True: counted(64, 1000)\n"
        "threading.Thread(target=forever, daemon=True).start()\n"
        f"time.sleep({pause})\n"
    )
    for _ in range(3):
        done = subprocess.run(
            [sys.executable, "-c", code, os.path.dirname(__file__)],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(not hasattr(time, "pthread_getcpuclockid"), reason="no clock of a thread")
def test_workers_that_have_nothing_to_do_sleep():
    threads.set_num_threads(2)
    counted(64, 20_000)
    (worker, *_) = threads._pool.workers
    clock = time.pthread_getcpuclockid(worker.ident)
    deadline = time.monotonic() + 10
    while not worker.asleep and time.monotonic() < deadline:  # a busy machine lets it fall asleep later
        time.sleep(0.1)
    before = time.clock_gettime(clock)
    time.sleep(0.5)
    assert time.clock_gettime(clock) - before < 0.005
    assert worker.asleep


def test_an_interrupted_caller_leaves_no_worker_at_work():
    # What a Ctrl-C does to a caller that naps while a worker is at its last item.
    class Stubborn:
        mailbox = np.array([2, 0, 0, 0])

    naps = []

    def nap(_):
        naps.append(1)
        if len(naps) == 1:
            raise KeyboardInterrupt
        if len(naps) == 3:
            Stubborn.mailbox[0] = 0

    sleep, time.sleep = time.sleep, nap
    try:
        with pytest.raises(KeyboardInterrupt):
            threads._wait_for([Stubborn])
    finally:
        time.sleep = sleep
    assert len(naps) == 3
