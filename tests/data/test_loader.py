"""`DataLoader`: batches, orders, and a thread that never outlives its iteration."""

import gc
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minialex.data import ArrayDataset, DataLoader
from minialex.errors import DataError

CLASSES = tuple(f"class {i}" for i in range(256))


def numbered(count):
    """A data set whose sample i is an image of the value i with the label i."""
    values = np.arange(count)
    images = np.empty((count, 1, 2, 3), dtype=np.uint8)
    images[:] = values[:, None, None, None]
    return ArrayDataset(images, values, CLASSES, "numbered")


class OneByOne:
    """A data set without `batch`."""

    classes = CLASSES
    name = "one by one"

    def __init__(self, images, labels):
        self.images, self.labels = images, labels

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        return self.images[index], self.labels[index]


def labels_of(loader):
    return [y.tolist() for _, y in loader]


def samples_of(loader):
    return [label for labels in labels_of(loader) for label in labels]


def loader_threads():
    return [each for each in threading.enumerate() if each.name.startswith("minialex-loader")]


@given(
    st.integers(1, 30),
    st.integers(1, 12),
    st.booleans(),
    st.booleans(),
    st.none() | st.integers(1, 40),
)
def test_batches_are_the_samples_in_order(count, batch_size, shuffle, drop_last, limit):
    samples = count if limit is None else min(count, limit)
    arguments = {"shuffle": shuffle, "drop_last": drop_last, "limit": limit}
    if drop_last and samples < batch_size:
        with pytest.raises(DataError, match="drop_last leaves no batch"):
            DataLoader(numbered(count), batch_size, **arguments)
        return
    loader = DataLoader(numbered(count), batch_size, **arguments)

    batches = list(loader)

    assert len(batches) == len(loader)
    sizes = [len(y) for _, y in batches]
    whole, rest = divmod(samples, batch_size)
    assert sizes == [batch_size] * whole + [rest] * (rest > 0 and not drop_last)
    seen = np.concatenate([y for _, y in batches]).tolist()
    assert len(set(seen)) == len(seen)
    if not shuffle:
        assert seen == list(range(len(seen)))
    for x, y in batches:
        assert x.dtype == np.float32
        assert y.dtype == np.int64
        assert x.shape == (len(y), 1, 2, 3)
        # Without preprocessing: the bytes over 255.
        assert np.array_equal(x, np.broadcast_to((y / 255).astype("f4")[:, None, None, None], x.shape))


def test_preprocess_makes_the_batch():
    def halve(images):
        return images.astype(np.float32) / 2

    (x, y), *_ = DataLoader(numbered(4), 3, preprocess=halve)
    assert x[:, 0, 0, 0].tolist() == [0.0, 0.5, 1.0]
    assert y.tolist() == [0, 1, 2]


def test_order_is_a_function_of_seed_and_epoch():
    def orders(seed, epochs):
        loader = DataLoader(numbered(40), 7, shuffle=True, seed=seed)
        result = []
        for epoch in epochs:
            loader.set_epoch(epoch)
            result.append(samples_of(loader))
        return result

    first, second, third = orders(3, [0, 1, 2])
    assert sorted(first) == sorted(second) == list(range(40))
    assert len({tuple(order) for order in (first, second, third, *orders(4, [0]))}) == 4
    # A run resumed at epoch 2 sees what it would have seen.
    assert orders(3, [2]) == [third]
    assert DataLoader(numbered(40), 7, shuffle=True, seed=3).order(1).tolist() == second


def test_order_is_the_documented_one():
    # Sorting the raw Philox words by hand; test_permutation.py holds them against the paper.
    words = np.random.Philox(key=np.array([9, 4], dtype=np.uint64)).random_raw(20)
    loader = DataLoader(numbered(20), 20, shuffle=True, seed=9)
    loader.set_epoch(4)
    assert labels_of(loader) == [sorted(range(20), key=words.__getitem__)]


def test_limit_takes_the_first_of_the_shuffled_order():
    whole = DataLoader(numbered(30), 4, shuffle=True, seed=1)
    limited = DataLoader(numbered(30), 4, shuffle=True, seed=1, limit=10)
    assert len(limited) == 3
    assert samples_of(limited) == samples_of(whole)[:10]


def test_an_iteration_keeps_the_epoch_it_began_with():
    loader = DataLoader(numbered(12), 5, shuffle=True)
    expected = labels_of(loader)
    running = iter(loader)
    loader.set_epoch(1)
    assert labels_of(running) == expected
    assert labels_of(loader) != expected


def test_two_iterations_at_once_do_not_disturb_each_other():
    loader = DataLoader(numbered(9), 2, shuffle=True)
    expected = labels_of(loader)
    pairs = [(a.tolist(), b.tolist()) for (_, a), (_, b) in zip(loader, loader, strict=True)]
    assert pairs == [(each, each) for each in expected]
    assert loader_threads() == []


def test_a_dataset_without_batch_gives_the_same_batches():
    fast = numbered(7)
    slow = OneByOne(list(fast.images), fast.labels.tolist())
    for (x, y), (expected_x, expected_y) in zip(DataLoader(slow, 3), DataLoader(fast, 3), strict=True):
        assert x.dtype == np.float32
        assert y.dtype == np.int64
        assert np.array_equal(x, expected_x)
        assert np.array_equal(y, expected_y)


@pytest.mark.parametrize(
    "odd", [np.zeros((1, 2, 4), np.uint8), np.zeros((1, 2, 3), np.float32)], ids=["shape", "dtype"]
)
def test_samples_that_make_no_batch_are_refused(odd):
    images = [np.zeros((1, 2, 3), np.uint8)] * 3 + [odd]
    with pytest.raises(DataError, match="image 3 of data set one by one must be uint8 of shape"):
        list(DataLoader(OneByOne(images, [0] * 4), 2))


def test_the_next_batch_is_made_while_one_is_in_use():
    made = threading.Semaphore(0)

    def preprocess(images):
        made.release()
        return images.astype(np.float32)

    batches = iter(DataLoader(numbered(4), 1, preprocess=preprocess))
    next(batches)
    # The first batch and, without another call, the second; never a third.
    assert made.acquire(timeout=10)
    assert made.acquire(timeout=10)
    assert not made.acquire(timeout=0.05)
    batches.close()


def test_an_error_in_the_thread_reaches_the_consumer_after_the_good_batches():
    def preprocess(images):
        if images.max() >= 4:
            raise FloatingPointError("batch two")
        return images.astype(np.float32)

    batches = iter(DataLoader(numbered(9), 2, preprocess=preprocess))
    assert next(batches)[1].tolist() == [0, 1]
    assert next(batches)[1].tolist() == [2, 3]
    with pytest.raises(FloatingPointError, match="batch two"):
        next(batches)
    assert loader_threads() == []


@pytest.mark.parametrize(
    ("preprocess", "message"),
    [
        (lambda images: images, r"float32 array of shape \(2, C, H, W\), got uint8"),
        (lambda images: images[:1].astype("f4"), r"got float32 of shape \(1, 1, 2, 3\)"),
        (lambda images: images[:, 0].astype("f4"), r"got float32 of shape \(2, 2, 3\)"),
        (lambda images: None, "got NoneType"),
    ],
)
def test_a_preprocess_that_returns_no_batch_is_refused(preprocess, message):
    with pytest.raises(DataError, match=message):
        list(DataLoader(numbered(4), 2, preprocess=preprocess))


def exhaust(loader):
    list(loader)


def leave_the_loop(loader):
    for _ in loader:
        break


def close(loader):
    batches = iter(loader)
    next(batches)
    batches.close()


def forget(loader):
    next(iter(loader))
    gc.collect()


def never_start(loader):
    iter(loader)


@pytest.mark.parametrize("use", [exhaust, leave_the_loop, close, forget, never_start])
def test_no_thread_is_left(use):
    before = threading.enumerate()
    use(DataLoader(numbered(50), 1))
    assert threading.enumerate() == before


def test_a_thread_runs_only_while_an_iteration_does():
    batches = iter(DataLoader(numbered(3), 1))
    assert loader_threads() == []
    next(batches)
    assert len(loader_threads()) == 1
    assert labels_of(batches) == [[1], [2]]
    assert loader_threads() == []


def test_a_program_may_end_in_the_middle_of_an_iteration():
    program = (
        "import numpy as np\n"
        "from minialex.data import ArrayDataset, DataLoader\n"
        "images = np.zeros((9, 1, 2, 2), np.uint8)\n"
        "dataset = ArrayDataset(images, np.zeros(9, np.int64), ('a',), 'z')\n"
        "batches = iter(DataLoader(dataset, 1))\n"
        "next(batches)\n"
    )
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert time.monotonic() - started < 60


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"batch_size": 0}, "batch_size must be an integer from 1 .*, got 0"),
        ({"batch_size": -3}, "batch_size must be .*, got -3"),
        ({"batch_size": True}, "batch_size must be .*, got True"),
        ({"batch_size": 2.0}, "batch_size must be .*, got 2.0"),
        ({"batch_size": "2"}, "batch_size must be .*, got '2'"),
        ({"batch_size": None}, "batch_size must be .*, got None"),
        ({"limit": 0}, "limit must be an integer from 1 .*, got 0"),
        ({"limit": True}, "limit must be an integer"),
        ({"seed": -1}, "seed must be an integer from 0 .*, got -1"),
        ({"seed": 2**64}, "seed must be an integer from 0"),
        ({"shuffle": 1}, "shuffle must be True or False, got 1"),
        ({"drop_last": None}, "drop_last must be True or False, got None"),
        ({"preprocess": 3}, "preprocess must be callable, got 3"),
        ({"dataset": [1, 2]}, r"dataset must have __len__, .*, got \[1, 2\]"),
        ({"dataset": numbered(0)}, "data set numbered is empty"),
        ({"drop_last": True, "limit": 1}, "an epoch has 1 samples, fewer than batch_size 2"),
    ],
)
def test_wrong_arguments_are_refused(arguments, message):
    with pytest.raises(DataError, match=message):
        DataLoader(**{"dataset": numbered(5), "batch_size": 2} | arguments)


@pytest.mark.parametrize("epoch", [-1, 1.0, True, 2**64])
def test_a_wrong_epoch_is_refused(epoch):
    loader = DataLoader(numbered(5), 2, shuffle=True)
    with pytest.raises(DataError, match="epoch must be an integer from 0"):
        loader.set_epoch(epoch)
    with pytest.raises(DataError, match="epoch must be an integer from 0"):
        loader.order(epoch)


def test_numpy_integers_are_integers():
    loader = DataLoader(numbered(5), np.int64(2), limit=np.int32(3), seed=np.uint64(2**64 - 1))
    assert labels_of(loader) == [[0, 1], [2]]
