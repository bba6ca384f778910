"""Threads that make things ahead of their use, and hand them over in order."""

import atexit
import os
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future
from itertools import islice
from queue import SimpleQueue
from typing import Generic, TypeVar

from minialex.errors import DataError

THREAD_NAME = "minialex-loader"

Argument = TypeVar("Argument")
Result = TypeVar("Result")


def in_order(
    make: Callable[[Argument, threading.Event], Result],
    arguments: Iterable[Argument],
    *,
    workers: int,
    prefetch: int,
) -> Generator[Result]:
    """Yield what `make` returns for each argument, in their order, made ahead by threads.

    The threads start with the first result and end with the iteration: when it is exhausted, fails, is
    closed or is no longer referenced, or when the program ends. That waits for the calls in work.

    Parameters
    ----------
    make : callable
        ``make(argument, stopping)``, called in one of the threads. Once the event `stopping` is set nobody
        wants the result any more: it should return soon, whatever it has.
    arguments : iterable
    workers : int
        How many threads. With 0 the consumer makes each result itself, when it asks for it.
    prefetch : int
        How many results are made, or in work, beside the one in use; at least 1.

    Raises
    ------
    DataError
        In a forked child that goes on with its parent's iteration: the threads stayed behind.
    """
    if not workers:
        for argument in arguments:
            yield make(argument, threading.Event())
        return
    arguments, process = iter(arguments), os.getpid()
    threads = _Threads(make, workers)
    try:
        coming = deque(threads.begin(argument) for argument in islice(arguments, prefetch))
        while coming:
            result = coming.popleft().result()
            coming.extend(threads.begin(argument) for argument in islice(arguments, 1))
            yield result
            if os.getpid() != process:
                raise DataError("an iteration does not go on in a forked child; begin another there")
    finally:
        threads.stop()


class _Threads(Generic[Argument, Result]):
    """Up to `number` threads, which begin calls of `make` in the order in which they are asked to.

    A `ThreadPoolExecutor` would not do: when the program ends it waits for all calls that it was given.
    """

    def __init__(self, make: Callable[[Argument, threading.Event], Result], number: int):
        self.make, self.number = make, number
        self.tasks: SimpleQueue[tuple[Future, Argument] | None] = SimpleQueue()
        self.stopping = threading.Event()
        self.started: list[threading.Thread] = []
        # After Python has waited for the threads that are no daemons, while these can still end in peace.
        atexit.register(self.stop)

    def begin(self, argument: Argument) -> Future[Result]:
        future: Future[Result] = Future()
        self.tasks.put((future, argument))
        if len(self.started) < self.number:
            thread = threading.Thread(target=self.work, name=THREAD_NAME, daemon=True)
            thread.start()
            self.started.append(thread)
        return future

    def work(self) -> None:
        while (task := self.tasks.get()) is not None and not self.stopping.is_set():
            future, argument = task
            try:
                future.set_result(self.make(argument, self.stopping))
            except BaseException as error:
                future.set_exception(error)

    def stop(self) -> None:
        self.stopping.set()
        for _ in self.started:
            self.tasks.put(None)
        for thread in self.started:
            thread.join()
        atexit.unregister(self.stop)
