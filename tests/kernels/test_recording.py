"""Recorded launches of kernels, run again on other values."""

import gc
import threading
import weakref

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from tiers import examples

from minialex.checking.testing.strategies import call
from minialex.errors import KernelError
from minialex.kernels import kernel, list_kernels, num_threads, run, set_num_threads, unregister
from minialex.kernels.conv2d.call import ConvCall
from minialex.kernels.runtime import memory
from minialex.kernels.runtime.prepacked import frozen
from minialex.kernels.runtime.recording import Recording, run_again
from minialex.kernels.runtime.threads import number_kept

RECORDED = [entry for entry in list_kernels(device="cpu") if entry.records]


def fill_with_nan(recording):
    """Every byte of the recording's memory."""
    for _, segment in recording.arena._segments:
        segment[:] = b"\xff" * len(segment)


def as_tuple(results):
    return results if isinstance(results, tuple) else (results,)


def freeze(array):
    if array is None:
        return None
    array = array.copy()
    array.flags.writeable = False
    assert frozen(array)
    return array


def test_the_kernels_that_networks_mostly_run_are_recorded():
    names = {entry.operation for entry in RECORDED}
    assert names >= {
        "conv2d.forward",
        "conv2d.forward_relu",
        "max_pool2d.evaluate",
        "linear.forward",
        "add.forward",
    }
    convolutions = {e.algorithm for e in RECORDED if e.operation == "conv2d.forward_relu"}
    assert convolutions == {"direct", "depthwise", "pointwise", "winograd"}


@pytest.mark.parametrize("entry", RECORDED, ids=lambda entry: entry.name)
@settings(max_examples=examples(40))
@given(st.data())
def test_runs_of_a_kernel_again_give_what_a_call_gives(entry, data):
    drawn = data.draw(call(entry.operation, (entry.dtypes or ("float32",))[0], entry))
    other = data.draw(st.permutations(range(entry.records)))
    changing = [np.ascontiguousarray(array).copy() for array in drawn.arrays[: entry.records]]
    others = [freeze(array) for array in drawn.arrays[entry.records :]]
    assume(entry.refusal(*changing, *others, **drawn.parameters) is None)
    entry(*changing, *others, **drawn.parameters)  # what is packed once is packed now
    recording = Recording(segment_bytes=2**12)
    with recording:
        results = as_tuple(entry(*changing, *others, **drawn.parameters))
    launches = list(recording.launches)

    for repetition in range(2):
        fill_with_nan(recording)
        for place, array in enumerate(changing):
            # Other numbers, of the same kind: negated, in reverse order, perhaps the other operand's.
            same_shape = changing[other[place]].shape == array.shape
            given = drawn.arrays[other[place] if same_shape else place].reshape(-1)[::-1]
            sign = 1 if repetition or entry.operation.startswith(("log", "sqrt")) else -1
            array[...] = (sign * given).reshape(array.shape)
        run_again(launches)
        expected = as_tuple(entry(*changing, *others, **drawn.parameters))
        for mine, right in zip(results, expected, strict=True):
            if right is not None:
                assert mine.tobytes() == right.tobytes()


CALL = ConvCall.of((1, 8, 12, 12), (16, 8, 3, 3), padding=1)


def convolution(seed=0):
    generator = np.random.default_rng(seed)
    x = generator.standard_normal(CALL.x_shape, np.float32)
    weight, bias = (freeze(generator.standard_normal(s, np.float32)) for s in (CALL.weight_shape, (16,)))
    return x, weight, bias


def test_a_recording_hears_of_kernels_and_of_their_loops():
    x, weight, bias = convolution()
    with Recording() as recording:
        y = run("conv2d.forward", "cpu", x, weight, bias, call=CALL)
    ((entry, arrays, returned),) = recording.calls
    assert entry.operation == "conv2d.forward"
    assert arrays[0] is x
    assert returned is y
    assert recording.launches
    assert recording.arena.view(y) is not y
    assert recording.arena.view(x) is x
    heard = len(recording.launches)
    run("conv2d.forward", "cpu", x, weight, bias, call=CALL)
    assert len(recording.launches) == heard


def test_another_thread_is_not_heard():
    x, *_ = convolution()
    with Recording() as recording:
        other = threading.Thread(target=run, args=("relu.forward", "cpu", x))
        other.start()
        other.join()
        assert not recording.launches
        assert not recording.calls


def test_there_is_one_recording_at_a_time():
    with Recording(), pytest.raises(RuntimeError, match="under way"), Recording():
        pass
    with Recording():
        pass


def test_fewer_threads_give_the_same():
    x, weight, bias = convolution()
    before = num_threads()
    try:
        set_num_threads(3)
        with Recording() as recording:
            y = run("conv2d.forward", "cpu", x, weight, bias, call=CALL)
        expected = y.copy()
        for threads in (1, 2, 3, 5):
            set_num_threads(threads)
            y[...] = np.nan
            with number_kept(recording.threads):
                assert num_threads() == min(threads, 3)
                run_again(recording.launches)
            np.testing.assert_array_equal(y, expected)
    finally:
        set_num_threads(before)


def test_its_memory_goes_with_it():
    x, weight, bias = convolution()
    in_use = memory.in_use()
    with Recording() as recording:
        y = run("conv2d.forward", "cpu", x, weight, bias, call=CALL)
        scratch = memory.empty(100, np.float32)
    assert memory.in_use() == in_use
    (_, segment), *_ = recording.arena._segments
    alive = weakref.ref(segment) if hasattr(segment, "__weakref__") else None
    view = recording.arena.view(y)
    expected = y.copy()
    recording.calls.clear()
    del y, scratch, segment
    gc.collect()
    # A view keeps the memory, though not the block.
    assert recording.arena.in_use() == 0
    del recording
    gc.collect()
    np.testing.assert_array_equal(view, expected)
    del view
    gc.collect()
    assert alive is None or alive() is None


def test_a_place_is_for_the_first_array_of_its_shape():
    place = np.empty((2, 3), np.float32)
    with Recording(), memory.placed_at(place):
        assert memory.empty((3, 2), np.float32) is not place
        assert memory.empty((2, 3), np.float64) is not place
        assert memory.empty((2, 3), np.float32) is place
        assert memory.empty((2, 3), np.float32) is not place
    with memory.placed_at(place):
        assert memory.empty((2, 3), np.float32) is not place


@pytest.mark.parametrize("records", [-1, 1.0, "x", True, None])
def test_a_claim_is_a_number_of_arrays(records):
    with pytest.raises(KernelError, match="records must be an integer 0 or more"):
        kernel("relu.forward", algo="mine", records=records)(lambda x: x)


def test_a_plug_in_records_nothing_unless_it_says_so():
    kernel("relu.forward", algo="mine")(lambda x: np.maximum(x, 0))
    try:
        (mine,) = [e for e in list_kernels("relu.forward", "cpu") if e.algorithm == "mine"]
        assert mine.records == 0
    finally:
        unregister("relu.forward", algo="mine")
