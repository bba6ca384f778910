"""Settings for a block of code: nested, by thread, and refused where unknown."""

import asyncio
import threading

import numpy as np
import pytest

import minialex as ma
from minialex import kernels
from minialex.config import setting
from minialex.errors import KernelError


def test_a_block_sets_and_restores():
    threads, limit = kernels.num_threads(), kernels.workspace_limit()
    with ma.using(conv2d="im2col", threads=1, workspace="32 MiB", tuning=True):
        assert kernels.num_threads() == 1
        assert kernels.workspace_limit() == 32 * 2**20
        assert kernels.is_tuning()
        x = np.ones((1, 1, 3, 3), np.float32)
        call = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1}
        assert kernels.select("conv2d.forward", "cpu", x, x, None, **call).algorithm == "im2col"
    assert (kernels.num_threads(), kernels.workspace_limit(), kernels.is_tuning()) == (threads, limit, False)
    assert setting("conv2d") is None


def test_the_innermost_block_that_names_a_setting_counts():
    with ma.using(threads=3, conv2d="direct"):
        with ma.using(threads=2):
            assert (kernels.num_threads(), setting("conv2d")) == (2, ("direct",))
            with ma.using(conv2d=None):
                assert (kernels.num_threads(), setting("conv2d")) == (2, None)
        assert kernels.num_threads() == 3


def test_other_threads_do_not_see_a_block_and_see_what_is_set_for_the_process():
    seen = []

    def look():
        seen.append((kernels.num_threads(), setting("relu")))

    with ma.using(threads=7, relu="plain"):
        kernels.set_num_threads(5)
        thread = threading.Thread(target=look)
        thread.start()
        thread.join()
        assert kernels.num_threads() == 7
    kernels.set_num_threads(None)
    assert seen == [(5, None)]


def test_use_without_a_block_holds_for_the_process():
    chosen = kernels.use(relu="plain")
    thread = threading.Thread(target=lambda: seen.append(setting("relu")))
    seen = [setting("relu")]
    thread.start()
    thread.join()
    with chosen:
        assert setting("relu") == ("plain",)
    assert seen == [("plain",)] * 2
    assert setting("relu") is None


def test_a_decorated_function_runs_in_its_block():
    @ma.using(threads=1)
    def threads():
        return kernels.num_threads()

    with ma.using(threads=2):
        assert threads() == 1
        assert kernels.num_threads() == 2


def test_one_block_is_used_by_several_threads_at_once():
    block, seen, barrier = ma.using(relu="reference"), {}, threading.Barrier(2)

    def look(number):
        with ma.using(threads=number):
            barrier.wait()
            with block:
                barrier.wait()
                seen[number] = kernels.num_threads()
            barrier.wait()
            seen[-number] = kernels.num_threads(), setting("relu")

    threads = [threading.Thread(target=look, args=(number,)) for number in (3, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == {3: 3, 5: 5, -3: (3, None), -5: (5, None)}


def test_tasks_of_asyncio_do_not_see_each_others_blocks():
    async def look(number):
        with ma.using(threads=number):
            await asyncio.sleep(0)
            return kernels.num_threads()

    async def both():
        return await asyncio.gather(look(3), look(5))

    assert asyncio.run(both()) == [3, 5]


def test_an_operation_named_inside_counts_before_its_direction_named_outside():
    x = np.ones(3, np.float32)
    with ma.using({"relu.forward": "plain"}):
        assert kernels.select("relu.forward", "cpu", x).algorithm == "plain"
        with ma.using(relu="reference"):
            assert kernels.select("relu.forward", "cpu", x).algorithm == "reference"
        with ma.using(relu=None):
            assert kernels.select("relu.forward", "cpu", x).algorithm == "one-pass"
    kernels.use({"relu.forward": "plain"})
    with ma.using(relu="reference"):
        assert kernels.select("relu.forward", "cpu", x).algorithm == "reference"
    kernels.use({"relu.forward": None})


def test_use_as_a_decorator_holds_in_the_function_only():
    @kernels.use(relu="reference")
    def chosen():
        return setting("relu")

    assert setting("relu") is None
    kernels.use(relu="plain")
    assert chosen() == ("reference",)
    assert setting("relu") == ("plain",)
    kernels.use(relu=None)


def test_what_runs_in_steps_is_not_decorated():
    def generator():
        yield 1

    async def coroutine():
        return 1

    for function in (generator, coroutine):
        with pytest.raises(TypeError, match=r"runs in steps.*open the block inside"):
            ma.using(threads=1)(function)


@pytest.mark.parametrize("algorithms", ["conv2d", 3])
def test_algorithms_that_are_no_dictionary_are_refused(algorithms):
    with pytest.raises(KernelError, match="algorithms must be a dictionary by operation, not"):
        ma.using(algorithms)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"thread": 1},
            r"unknown operation 'thread'; there are: .*; and the settings threads, tuning, workspace",
        ),
        ({"conv2d": "magic"}, "conv2d has no algorithm 'magic'; there are: .*winograd"),
        ({"threads": 0}, "threads must be an integer 1 or more, not 0"),
        ({"threads": True}, "threads must be .*, not True"),
        ({"workspace": "32 pounds"}, "workspace must be .* such as '32 MiB', not '32 pounds'"),
        ({"workspace": -1}, "workspace must be .*, not -1"),
        ({"conv2d": 1}, "conv2d must be an algorithm, or several in a tuple, not 1"),
        ({"conv2d": ()}, r"conv2d must be an algorithm, or several in a tuple, not \(\)"),
        ({"tuning": 1}, "tuning must be True or False, not 1"),
        ({"tuning": "yes"}, "tuning must be True or False, not 'yes'"),
    ],
)
def test_what_is_refused_changes_nothing(settings, message):
    with ma.using(threads=2), pytest.raises(KernelError, match=message), ma.using(relu="plain", **settings):
        pytest.fail("the block was entered")
    assert setting("relu") is None
