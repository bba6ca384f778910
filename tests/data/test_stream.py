"""Streams of samples: batches as they come, and what a stream cannot do."""

import itertools

import numpy as np
import pytest

import minialex as ma
from minialex.data import DataLoader, IterableDataset
from minialex.errors import DataError


class Squares(IterableDataset):
    def __init__(self, count):
        self.count, self.read = count, 0

    def __iter__(self):
        for i in range(self.count):
            self.read += 1
            yield np.float32(i * i), i


class Counted(Squares):
    def __len__(self):
        return self.count


def numbers(loader):
    return [y.numpy().tolist() for _, y in loader]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [[0], [1], [2], [3], [4], [5], [6]]),
        ({"batch_size": 3}, [[0, 1, 2], [3, 4, 5], [6]]),
        ({"batch_size": 3, "drop_last": True}, [[0, 1, 2], [3, 4, 5]]),
        ({"batch_size": 4, "limit": 6}, [[0, 1, 2, 3], [4, 5]]),
        ({"batch_size": 8, "drop_last": True}, []),
    ],
)
def test_samples_come_in_their_order_each_epoch(options, expected):
    loader = DataLoader(Squares(7), **options)
    assert numbers(loader) == expected
    assert numbers(loader) == expected
    assert len(DataLoader(Counted(7), **options)) == len(expected)


def test_batches_are_joined_as_others_are():
    x, y = next(iter(DataLoader(Squares(3), 3)))
    assert isinstance(x, ma.Tensor)
    np.testing.assert_array_equal(x.numpy(), [0, 1, 4])
    assert (x.dtype, y.dtype) == (np.float32, np.int64)
    assert next(iter(DataLoader(Squares(3), 2, collate_fn=list))) == [(0, 0), (1, 1)]


def test_no_more_is_read_than_asked_for():
    stream = Squares(10**9)
    assert len(list(itertools.islice(DataLoader(stream, 4), 2))) == 2
    assert stream.read == 8


def test_an_empty_stream_has_no_batches():
    assert numbers(DataLoader(Squares(0), 2)) == []


def test_a_stream_without_a_length_says_so():
    with pytest.raises(TypeError, match="Squares is a stream without __len__"):
        len(DataLoader(Squares(3)))


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"shuffle": True}, "shuffle"),
        ({"sampler": [0, 1]}, "sampler"),
        ({"batch_sampler": [[0, 1]]}, "batch_sampler"),
        ({"num_workers": 2}, "num_workers"),
        ({"on_error": "skip"}, "on_error='skip'"),
    ],
)
def test_what_a_stream_cannot_do_is_refused(options, name):
    with pytest.raises(DataError, match=f"an order of its own and one reader: leave out {name}$"):
        DataLoader(Squares(3), **options)


def test_streams_are_not_added_and_have_no_numbered_batches():
    with pytest.raises(DataError, match=r"itertools\.chain"):
        Squares(2) + Squares(3)
    with pytest.raises(DataError, match="batches have no numbers in a stream"):
        DataLoader(Squares(2)).batches(0)
    with pytest.raises(NotImplementedError, match="Endless must have a method __iter__"):
        iter(type("Endless", (IterableDataset,), {})())
