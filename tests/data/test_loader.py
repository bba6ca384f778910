"""`DataLoader`: which samples make which batch, what is made of them, and where an epoch goes on."""

import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minialex.data import ArrayDataset, DataLoader
from minialex.data.sample_random import SampleRandom
from minialex.data.transforms import (
    HorizontalFlip,
    Normalize,
    Pipeline,
    RandomCrop,
    RandomResizedCrop,
    Scale,
    TenCrop,
)
from minialex.errors import DamagedSample, DataError
from minialex.random import manual_seed, state_dict

CLASSES = tuple(f"class {i}" for i in range(256))
RANDOM = Pipeline([RandomCrop((2, 2), padding=1), HorizontalFlip(), Scale()])


def numbered(count):
    """A data set whose sample i is an image of the value i with the label i."""
    values = np.arange(count)
    images = np.empty((count, 1, 2, 3), dtype=np.uint8)
    images[:] = values[:, None, None, None]
    return ArrayDataset(images, values, CLASSES, "numbered")


def noise(count, size=(3, 4)):
    images = np.random.default_rng(count).integers(0, 256, (count, 3, *size), dtype=np.uint8)
    return ArrayDataset(images, np.arange(count), CLASSES, "noise")


class Singles:
    """Samples one by one, some of them damaged; it notes which were asked for."""

    classes = CLASSES
    name = "singles"

    def __init__(self, samples, damaged=()):
        self.samples, self.damaged = samples, frozenset(damaged)
        self.asked = []
        self.lock = threading.Lock()

    def __len__(self):
        return len(self.samples)

    def __getitem__(self, index):
        with self.lock:
            self.asked.append(index)
        if index in self.damaged:
            raise DamagedSample(f"{index}.jpg", "it ends too soon")
        return self.samples[index]


def labels_of(loader):
    return [y.tolist() for _, y in loader]


def samples_of(loader):
    return [label for labels in labels_of(loader) for label in labels]


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
    seen = [label for _, y in batches for label in y.tolist()]
    assert len(set(seen)) == len(seen)
    if not shuffle:
        assert seen == list(range(len(seen)))
    for x, y in batches:
        x, y = x.numpy(), y.numpy()
        assert x.dtype == np.float32
        assert y.dtype == np.int64
        assert x.shape == (len(y), 1, 2, 3)
        # Without a transform: the bytes over 255.
        assert np.array_equal(x, np.broadcast_to((y / 255).astype("f4")[:, None, None, None], x.shape))


def test_transform_makes_the_batch():
    pipeline = Pipeline([Scale(2)])
    for dataset in (numbered(4), Singles(numbered(4))):
        (x, y), *_ = DataLoader(dataset, 3, transform=pipeline)
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
    loader = DataLoader(numbered(12), 5, shuffle=True, seed=0)
    running = iter(loader)
    loader.set_epoch(1)
    assert labels_of(running) == labels_of(loader.batches(0))
    assert labels_of(loader) == labels_of(loader.batches(1))


def test_epochs_are_counted_by_the_iterations_where_there_is_a_seed():
    loader = DataLoader(numbered(12), 5, shuffle=True, seed=3)
    orders = [samples_of(loader) for _ in range(3)]
    assert orders == [loader.order(epoch).tolist() for epoch in range(3)]
    assert orders[0] != orders[1] != orders[2]
    loader.set_epoch(7)
    assert samples_of(loader) == loader.order(7).tolist()


def test_without_a_seed_each_iteration_draws_its_order_from_manual_seed():
    loader = DataLoader(numbered(12), 5, shuffle=True)
    manual_seed(4)
    first, second = samples_of(loader), samples_of(loader)
    assert first != second
    manual_seed(4)
    assert [samples_of(loader), samples_of(loader)] == [first, second]
    apart = DataLoader(numbered(12), 5, shuffle=True, generator=np.random.default_rng(1))
    manual_seed(4)
    other = samples_of(apart)
    manual_seed(5)
    again = DataLoader(numbered(12), 5, shuffle=True, generator=np.random.default_rng(1))
    assert samples_of(again) == other != first


def test_a_loader_that_draws_nothing_leaves_the_random_numbers_alone():
    manual_seed(4)
    before = state_dict()
    for transform in (None, Pipeline([Scale()])):
        list(DataLoader(numbered(5), 2, transform=transform))
    assert state_dict() == before


def test_two_iterations_at_once_do_not_disturb_each_other():
    loader = DataLoader(numbered(9), 2, shuffle=True, seed=0)
    pairs = [(a.tolist(), b.tolist()) for (_, a), (_, b) in zip(loader, loader, strict=True)]
    assert pairs == list(zip(labels_of(loader.batches(0)), labels_of(loader.batches(1)), strict=True))


def test_a_dataset_without_batch_gives_the_same_batches():
    together = noise(7)
    for transform in (None, RANDOM):
        batches, expected = (
            list(DataLoader(dataset, 3, transform=transform, seed=0))
            for dataset in (Singles(together), together)
        )
        for (x, y), (expected_x, expected_y) in zip(batches, expected, strict=True):
            assert x.dtype == np.float32
            assert y.dtype == np.int64
            assert np.array_equal(x, expected_x)
            assert np.array_equal(y, expected_y)


def test_images_of_many_sizes_make_a_batch():
    random = np.random.default_rng(0)
    images = [random.integers(0, 256, (3, 5 + i, 9 - i), dtype=np.uint8) for i in range(5)]
    dataset = Singles([(image, i) for i, image in enumerate(images)])
    pipeline = Pipeline([RandomResizedCrop((4, 6)), Normalize(0.5, 0.25)])
    loader = DataLoader(dataset, 5, transform=pipeline, shuffle=True, seed=6)
    ((x, y),) = loader.batches(11)
    expected = [pipeline(images[i], SampleRandom(6, 11, i)) for i in loader.order(11)]
    assert np.array_equal(x, np.stack(expected))
    assert y.tolist() == loader.order(11).tolist()


def test_ten_crops_are_an_axis_of_their_own():
    dataset = noise(5, (6, 7))
    pipeline = Pipeline([TenCrop((4, 4)), Scale()])
    for each in (dataset, Singles(dataset)):
        (x, y), (last, _) = DataLoader(each, 3, transform=pipeline)
        assert x.shape == (3, 10, 3, 4, 4)
        assert last.shape == (2, 10, 3, 4, 4)
        assert y.tolist() == [0, 1, 2]
        # The first crop is the upper left one, in torchvision's order.
        assert np.array_equal(x[:, 0], dataset.images[:3, :, :4, :4] / np.float32(255))


@given(
    st.data(),
    st.integers(1, 20),
    st.integers(1, 6),
    st.sampled_from([0, 1, 2, 4]),
    st.integers(1, 5),
    st.booleans(),
    st.booleans(),
    st.none() | st.integers(1, 25),
    st.booleans(),
)
def test_an_epoch_goes_on_from_any_batch(
    data, count, batch_size, workers, prefetch, shuffle, drop_last, limit, one_by_one
):
    """Against a loop over the order; the samples of earlier batches must not be loaded."""
    samples = count if limit is None else min(count, limit)
    if drop_last:
        batch_size = min(batch_size, samples)
    damaged = data.draw(st.sets(st.integers(0, count - 1))) if one_by_one else set()
    together = noise(count)
    dataset = Singles(together, damaged) if one_by_one else together
    seed, epoch = data.draw(st.integers(0, 3)), data.draw(st.integers(0, 3))
    loader = DataLoader(
        dataset,
        batch_size,
        transform=RANDOM,
        shuffle=shuffle,
        seed=seed,
        drop_last=drop_last,
        limit=limit,
        workers=workers,
        prefetch=prefetch,
        on_error="skip",
    )
    start = data.draw(st.integers(0, len(loader)))
    order = loader.order(epoch).tolist()
    parts = [order[k * batch_size : (k + 1) * batch_size] for k in range(start, len(loader))]
    left = [[i for i in part if i not in damaged] for part in parts]
    rest = order[start * batch_size : len(loader) * batch_size]
    assert len(loader) == (samples // batch_size if drop_last else -(-samples // batch_size))

    batches = loader.batches(epoch, start)

    assert batches.position == start
    for number, good in enumerate(left, start):
        if not good:
            continue
        x, y = next(batches)
        assert batches.position == number + 1
        assert y.tolist() == good
        assert np.array_equal(x, [RANDOM(together.images[i], SampleRandom(seed, epoch, i)) for i in good])
        seen = order[start * batch_size : (number + 1) * batch_size]
        assert [each.path for each in batches.skipped] == [f"{i}.jpg" for i in seen if i in damaged]
    if start == 0 and not any(left):
        with pytest.raises(DataError, match=f"all {len(rest):,} samples of the epoch are damaged"):
            next(batches)
    else:
        assert next(batches, None) is None
    assert batches.position == len(loader)
    if one_by_one:
        assert sorted(dataset.asked) == sorted(rest)
        assert [each.path for each in loader.skipped] == [f"{i}.jpg" for i in rest if i in damaged]


def test_augmentation_differs_by_epoch_seed_and_sample():
    images = np.broadcast_to(noise(1, (60, 60)).images, (30, 3, 60, 60))
    dataset = ArrayDataset(images, np.zeros(30, np.int64), CLASSES, "the same")
    pipeline = Pipeline([RandomResizedCrop((4, 4)), Scale()])

    def samples(seed, epoch):
        loader = DataLoader(dataset, 30, transform=pipeline, seed=seed)
        ((x, _),) = loader.batches(epoch)
        return x

    base = samples(0, 0)
    assert np.array_equal(base, samples(0, 0))
    # Far more crops than samples: two of the same are not to be expected.
    assert len(np.unique(base, axis=0)) == 30
    for other in (samples(1, 0), samples(0, 1)):
        assert not (base == other).all(axis=(1, 2, 3)).any()


def test_the_present_epoch_is_the_one_that_is_iterated():
    loader = DataLoader(noise(9), 4, transform=RANDOM, shuffle=True)
    loader.set_epoch(3)
    for (x, y), (expected_x, expected_y) in zip(loader, loader.batches(3), strict=True):
        assert np.array_equal(x, expected_x)
        assert np.array_equal(y, expected_y)


def test_a_damaged_sample_stops_by_default():
    batches = iter(DataLoader(Singles(numbered(9), damaged={5}), 2))
    assert next(batches)[1].tolist() == [0, 1]
    assert next(batches)[1].tolist() == [2, 3]
    with pytest.raises(DamagedSample, match=r"^5\.jpg: it ends too soon$") as caught:
        next(batches)
    assert (caught.value.path, caught.value.reason) == ("5.jpg", "it ends too soon")


def test_damaged_samples_are_named_once_an_epoch_and_not_before_their_batch():
    loader = DataLoader(Singles(numbered(6), damaged={1, 4}), 2, on_error="skip", workers=2, prefetch=3)
    for _ in range(2):
        named = [[each.path for each in loader.skipped] for _ in loader]
        assert named == [["1.jpg"], ["1.jpg"], ["1.jpg", "4.jpg"]]
    assert [str(each) for each in loader.skipped] == [
        "1.jpg: it ends too soon",
        "4.jpg: it ends too soon",
    ]
    # With a traceback it would keep the frames of the data set alive, images and all.
    assert all(each.__traceback__ is None and each.__context__ is None for each in loader.skipped)


def test_iterations_at_once_count_their_damaged_samples_apart():
    loader = DataLoader(Singles(numbered(4), damaged={0, 3}), 2, on_error="skip")
    first, second = iter(loader), iter(loader)
    next(first)
    assert (len(first.skipped), len(second.skipped)) == (1, 0)
    list(second)
    assert (len(first.skipped), len(second.skipped)) == (1, 2)


def test_only_a_damaged_sample_is_skipped():
    dataset = Singles([*numbered(3), "no sample"])
    with pytest.raises(ValueError, match="too many values"):
        list(DataLoader(dataset, 2, on_error="skip"))


def test_samples_of_two_shapes_make_no_batch():
    images = [np.zeros((1, 2, 3), np.uint8)] * 3 + [np.zeros((1, 2, 4), np.uint8)]
    loader = DataLoader(Singles([(image, 0) for image in images]), 2)
    with pytest.raises(DataError, match=r"sample 3 of data set singles has shape \(1, 2, 4\).*\(1, 2, 3\)"):
        list(loader)


@pytest.mark.parametrize(
    "odd",
    [np.zeros((1, 2, 3), np.float32), np.zeros((2, 3), np.uint8), [[1, 2]]],
    ids=["float", "two axes", "list"],
)
@pytest.mark.parametrize("transform", [None, Pipeline([Scale()])], ids=["none", "pipeline"])
def test_what_is_no_image_is_refused_and_its_number_told(odd, transform):
    dataset = Singles([*numbered(3), (odd, 0)])
    with pytest.raises(DataError, match=r"uint8|\(C, H, W\)") as caught:
        list(DataLoader(dataset, 2, transform=transform))
    assert caught.value.__notes__ == ["while loading sample 3 of data set singles"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"batch_size": 0}, "batch_size must be an integer from 1 .*, not 0"),
        ({"batch_size": -3}, "batch_size must be .*, not -3"),
        ({"batch_size": True}, "batch_size must be .*, not True"),
        ({"batch_size": 2.0}, "batch_size must be .*, not 2.0"),
        ({"batch_size": "2"}, "batch_size must be .*, not '2'"),
        ({"batch_size": None}, "batch_size must be .*, not None"),
        ({"limit": 0}, "limit must be an integer from 1 .*, not 0"),
        ({"limit": True}, "limit must be an integer"),
        ({"seed": -1}, "seed must be an integer from 0 .*, not -1"),
        ({"seed": 2**64}, "seed must be an integer from 0"),
        ({"shuffle": 1}, "shuffle must be True or False, not 1"),
        ({"drop_last": None}, "drop_last must be True or False, not None"),
        ({"transform": Scale()}, r"transform must be a Pipeline, not Scale\(divisor=255.0\)"),
        ({"workers": -1}, "workers must be an integer from 0 .*, not -1"),
        ({"workers": True}, "workers must be an integer"),
        ({"prefetch": 0}, "prefetch must be an integer from 1 .*, not 0"),
        ({"on_error": "ignore"}, "on_error must be 'stop' or 'skip', not 'ignore'"),
        ({"on_error": None}, "on_error must be 'stop' or 'skip', not None"),
        ({"dataset": 12}, "dataset must have __len__ and __getitem__, not 12"),
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


@pytest.mark.parametrize("start", [-1, 4, 1.0, True, None])
def test_a_wrong_start_is_refused(start):
    with pytest.raises(DataError, match="start must be an integer from 0 to 3, not"):
        DataLoader(numbered(5), 2).batches(0, start)


def test_numpy_integers_are_integers():
    loader = DataLoader(numbered(5), np.int64(2), limit=np.int32(3), seed=np.uint64(2**64 - 1))
    assert labels_of(loader) == [[0, 1], [2]]
