"""How the threads of a launch find each other and share its items: the layout of their shared memory.

Each worker of the pool (`minialex.kernels.runtime.threads`) has a *mailbox* of four words. The caller posts
a task there, which the worker takes:

    the caller                                      a worker
    ----------------------------------------------  ------------------------------------------------
    writes TASK, BUFFER and FAILED = 0, and         polls STATE for a while; then it sleeps,
    then POSTED, into each mailbox                  and a later caller wakes it
    runs the task itself, as worker 0               POSTED -> RUNNING, and runs the task
    POSTED -> IDLE where no worker has begun;       writes FAILED, and then IDLE
    elsewhere it waits for IDLE

Both leave POSTED by an atomic compare-and-exchange, so only one of them gets the task, and a caller never
waits for a thread that the system has not woken. The state is written last, with release order, and read
with acquire order: whoever sees a state also sees the words that belong to it.

A task is a machine function, ``int64 task(buffer, worker)``, which returns whether it failed. Its *buffer*
describes one launch to all threads. The items are cut into one range for each thread, of equal length. A
thread takes GRAIN items at a time by an atomic addition to the range's counter: first from its own range,
then what is left of the others', in turn.

`compiled.share` and `compiled.serve` are the two columns above; `_atomics.pack_task` fills the buffer and
makes the task.
"""

# A mailbox: the index of each word of eight bytes, and the states.
WORD = 8
STATE, TASK, BUFFER, FAILED = range(4)
IDLE, POSTED, RUNNING = range(3)

# A buffer: the byte offsets of the number of items, how many are taken at a time, the number of threads, and
# the loop's arguments, a struct.
ITEMS, GRAIN, THREADS, ARGUMENTS = 0, 8, 16, 64
# After them, the counters: the next item of each thread's range. Other threads write them, too, so they are
# as far apart as what a processor fetches from memory at a time.
COUNTERS, COUNTER_BYTES = 4096, 128
MOST_ARGUMENT_BYTES = COUNTERS - COUNTER_BYTES - ARGUMENTS


def buffer_words(threads: int) -> int:
    """The length of the buffer of a launch on this many threads."""
    return (COUNTERS + threads * COUNTER_BYTES) // WORD
