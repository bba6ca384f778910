"""Data sets, samplers and batches under the names of `torch.utils.data`, and the loader of any samples."""

from collections import Counter, namedtuple

import numpy as np
import PIL.Image
import pytest

import minialex as ma
from minialex.data import (
    CIFAR10,
    MNIST,
    ArrayDataset,
    BatchSampler,
    ConcatDataset,
    DataLoader,
    Dataset,
    ImageFolder,
    Pipeline,
    RandomSampler,
    SequentialSampler,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
    default_collate,
    random_split,
)
from minialex.data.transforms import Compose, RandomCrop, RandomHorizontalFlip, Resize, Scale, ToTensor
from minialex.errors import DamagedSample, DataError

PIXELS = np.random.default_rng(2).integers(0, 256, (9, 8, 10, 3), dtype=np.uint8)


class Photographs(Dataset):
    """What a user of PyTorch writes."""

    def __init__(self, transform):
        self.transform = transform

    def __len__(self):
        return len(PIXELS)

    def __getitem__(self, index):
        return self.transform(PIL.Image.fromarray(PIXELS[index])), index % 3


RANDOM = Compose([RandomCrop(6, padding=2), RandomHorizontalFlip(), ToTensor()])


@pytest.fixture
def folder(tmp_path):
    for name, pixels in zip(("dog", "cat", "cat"), PIXELS[:3], strict=True):
        (tmp_path / name).mkdir(exist_ok=True)
        PIL.Image.fromarray(pixels).save(tmp_path / name / f"{pixels[0, 0, 0]}.png")
    return tmp_path


def test_samples_of_a_users_data_set_become_tensors():
    loader = DataLoader(Photographs(Compose([ToTensor()])), batch_size=4)
    batches = list(loader)
    assert [type(each) for each in batches[0]] == [ma.Tensor, ma.Tensor]
    assert [x.shape for x, _ in batches] == [(4, 3, 8, 10), (4, 3, 8, 10), (1, 3, 8, 10)]
    assert [y.tolist() for _, y in batches] == [[0, 1, 2, 0], [1, 2, 0, 1], [2]]
    assert np.array_equal(batches[2][0].numpy()[0], (PIXELS[8] / np.float32(255)).transpose(2, 0, 1))
    assert batches[0][1].dtype == np.int64
    assert len(loader) == 3


@pytest.mark.parametrize("num_workers", [0, 1, 3])
def test_augmentation_follows_from_the_seed_whatever_the_workers(num_workers):
    def epochs(seed, workers):
        ma.manual_seed(seed)
        loader = DataLoader(Photographs(RANDOM), 4, shuffle=True, num_workers=workers)
        return [[(x.numpy(), y.tolist()) for x, y in loader] for _ in range(2)]

    first, second = wanted = epochs(1, 0)
    for found_epoch, wanted_epoch in zip(epochs(1, num_workers), wanted, strict=True):
        for (x, y), (wanted_x, wanted_y) in zip(found_epoch, wanted_epoch, strict=True):
            assert np.array_equal(x, wanted_x)
            assert y == wanted_y
    assert not np.array_equal(first[0][0], second[0][0])
    assert not np.array_equal(first[0][0], epochs(2, 0)[0][0][0])


def test_a_run_goes_on_from_any_batch_of_any_samples():
    loader = DataLoader(Photographs(RANDOM), 2, shuffle=True, seed=5)
    whole = [(x.numpy(), y.tolist()) for x, y in loader.batches(3)]
    rest = [(x.numpy(), y.tolist()) for x, y in loader.batches(3, 2)]
    for (x, y), (wanted_x, wanted_y) in zip(rest, whole[2:], strict=True):
        assert np.array_equal(x, wanted_x)
        assert y == wanted_y


def test_anything_with_a_length_is_a_data_set():
    assert [x.tolist() for x in DataLoader([5, 6, 7], batch_size=2)] == [[5, 6], [7]]
    assert [x.tolist() for x in DataLoader([5, 6, 7])] == [[5], [6], [7]]
    assert list(DataLoader("abc", 2, collate_fn="".join)) == ["ab", "c"]
    dropped = DataLoader([5, 6, 7], 2, drop_last=True, pin_memory=True, num_workers=2)
    assert [x.tolist() for x in dropped] == [[5, 6]]


def test_samplers_give_the_order():
    numbers = list(range(10))
    assert [x.tolist() for x in DataLoader(numbers, 2, sampler=[7, 1, 3])] == [[7, 1], [3]]
    loader = DataLoader(numbers, batch_sampler=BatchSampler(SequentialSampler(numbers), 4, True))
    assert [x.tolist() for x in loader] == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert len(loader) == 2
    with pytest.raises(DataError, match="sampler gives the order: leave out shuffle"):
        DataLoader(numbers, sampler=[1], shuffle=True)
    with pytest.raises(DataError, match="batch_sampler gives the batches: leave out batch_size"):
        DataLoader(numbers, 2, batch_sampler=[[1]])
    with pytest.raises(DataError, match="num_workers and workers are the same"):
        DataLoader(numbers, num_workers=1, workers=1)
    with pytest.raises(DataError, match="transform is for data sets of images in arrays"):
        DataLoader(numbers, transform=Pipeline([Scale()]))


def test_a_damaged_sample_of_any_kind_can_be_left_out():
    class Some(Dataset):
        def __len__(self):
            return 4

        def __getitem__(self, index):
            if index == 2:
                raise DamagedSample("2.png", "it is torn")
            return index

    loader = DataLoader(Some(), 2, on_error="skip")
    assert [x.tolist() for x in loader] == [[0, 1], [3]]
    assert [str(each) for each in loader.skipped] == ["2.png: it is torn"]
    with pytest.raises(DamagedSample):
        list(DataLoader(Some(), 2))


def test_an_error_names_its_sample():
    with pytest.raises(DataError, match=r"put ToTensor\(\) at the end of its transforms"):
        list(DataLoader(Photographs(Resize(4)), 2))
    with pytest.raises(ZeroDivisionError) as caught:
        list(DataLoader(Photographs(lambda image: 1 / 0), 2))
    assert caught.value.__notes__ == ["while loading sample 0 of Photographs"]


def test_an_image_folder_is_torchvisions(folder):
    plain = ImageFolder(folder)
    assert list(plain.classes) == ["cat", "dog"]
    assert plain.class_to_idx == {"cat": 0, "dog": 1}
    assert plain.targets == [0, 0, 1]
    assert plain.samples == plain.imgs == list(zip(plain.paths, [0, 0, 1], strict=True))
    assert all(path.endswith(".png") for path, _ in plain.samples)
    (x, y), *_ = DataLoader(
        ImageFolder(folder, Compose([Resize((4, 5)), ToTensor()]), lambda label: label + 5), 3
    )
    assert x.shape == (3, 3, 4, 5)
    assert y.tolist() == [5, 5, 6]
    x, _ = next(iter(DataLoader(plain, 3)))
    assert np.array_equal(x.numpy()[2], (PIXELS[0] / np.float32(255)).transpose(2, 0, 1))


def test_tensors_are_a_data_set():
    x, y = ma.arange(12).reshape(6, 2), np.arange(6) % 2
    dataset = TensorDataset(x, y)
    assert [each.tolist() for each in dataset[4]] == [[8, 9], 0]
    batches = list(DataLoader(dataset, 4))
    assert [each.tolist() for each in batches[1]] == [[[8, 9], [10, 11]], [0, 1]]
    assert isinstance(batches[0][1], ma.Tensor)
    with pytest.raises(DataError, match=r"one length of their first axis, not the shapes \(6, 2\), \(5,\)"):
        TensorDataset(x, y[:5])


def test_an_array_data_set_needs_no_more_than_its_arrays():
    dataset = ArrayDataset(PIXELS.transpose(0, 3, 1, 2), np.arange(9) % 3)
    assert dataset.classes == ("0", "1", "2")
    (x, y), *_ = DataLoader(dataset, 4)
    assert isinstance(x, ma.Tensor)
    assert np.array_equal(x.numpy(), dataset.images[:4] / np.float32(255))
    assert y.tolist() == [0, 1, 2, 0]
    assert isinstance(next(DataLoader(dataset, 4).batches(0))[0], np.ndarray)
    with pytest.raises(DataError, match="there is TensorDataset for other numbers"):
        ArrayDataset(np.zeros((3, 2), np.float32), np.arange(3))


def test_subsets_and_sums():
    numbers = [10, 11, 12, 13]
    assert list(Subset(numbers, [3, 0])) == [13, 10]
    both = ConcatDataset([numbers, [20]]) + [30, 31]
    assert [both[i] for i in range(len(both))] == [10, 11, 12, 13, 20, 30, 31]
    assert both[-1] == 31
    with pytest.raises(IndexError, match="index must be from -7 to 6, not 7"):
        both[7]
    images = ArrayDataset(PIXELS.transpose(0, 3, 1, 2), np.arange(9) % 3)
    part = Subset(images, [8, 2])
    assert (part.classes, part.name) == (images.classes, "arrays")
    x, y = next(iter(DataLoader(part, 2, transform=Pipeline([Scale(1)]))))
    assert np.array_equal(x.numpy(), images.images[[8, 2]])
    assert y.tolist() == [2, 2]
    assert not hasattr(Subset(numbers, [0]), "batch")
    with pytest.raises(NotImplementedError, match=r"Dataset must have a method __getitem__"):
        Dataset()[0]


@pytest.mark.parametrize(
    ("lengths", "sizes"),
    [([7, 3], [7, 3]), ([0.5, 0.25, 0.25], [6, 2, 2]), ([0.99, 0.01], [10, 0]), ([1.0], [10])],
)
def test_random_splits(lengths, sizes):
    parts = random_split(range(10), lengths, generator=np.random.default_rng(3))
    assert [len(each) for each in parts] == sizes
    assert sorted(x for part in parts for x in part) == list(range(10))
    again = random_split(range(10), lengths, generator=np.random.default_rng(3))
    assert [list(each) for each in again] == [list(each) for each in parts]
    ma.manual_seed(1)
    first = [list(each) for each in random_split(range(10), lengths)]
    ma.manual_seed(1)
    assert [list(each) for each in random_split(range(10), lengths)] == first


@pytest.mark.parametrize("lengths", [[7, 4], [0.5, 0.6], [-1, 11], [], [5.5, 4.5]])
def test_wrong_lengths_of_a_split_are_refused(lengths):
    with pytest.raises(DataError, match="lengths must be integers that add up to 10, or fractions"):
        random_split(range(10), lengths)
    with pytest.raises(DataError, match=r"generator must be a numpy\.random\.Generator"):
        random_split(range(10), [10], generator=7)


def test_random_samplers():
    ma.manual_seed(0)
    sampler = RandomSampler(range(8))
    first, second = list(sampler), list(sampler)
    assert sorted(first) == sorted(second) == list(range(8))
    assert first != second
    longer = list(RandomSampler(range(4), num_samples=10))
    assert sorted(longer[:4]) == sorted(longer[4:8]) == [0, 1, 2, 3]
    assert len(longer) == 10
    assert set(RandomSampler(range(3), True, 200)) == {0, 1, 2}
    assert sorted(SubsetRandomSampler([4, 7, 9])) == [4, 7, 9]
    counts = Counter(WeightedRandomSampler([0.0, 1.0, 3.0], 4000, generator=np.random.default_rng(0)))
    assert set(counts) == {1, 2}
    assert 2850 < counts[2] < 3150
    assert sorted(WeightedRandomSampler([1, 0, 5], 2, replacement=False)) == [0, 2]
    with pytest.raises(DataError, match="weights has 2 above 0, too few to draw num_samples 3"):
        WeightedRandomSampler([1, 0, 5], 3, replacement=False)
    batches = BatchSampler([3, 1, 2], 2, drop_last=False)
    assert (list(batches), len(batches)) == ([[3, 1], [2]], 2)


def test_collating():
    Pair = namedtuple("Pair", "a b")
    found = default_collate([{"x": ma.ones(2), "y": (1, "a")}, {"x": ma.zeros(2), "y": (2, "b")}])
    assert found["x"].tolist() == [[1, 1], [0, 0]]
    assert found["y"][0].tolist() == [1, 2]
    assert found["y"][1] == ["a", "b"]
    assert default_collate([Pair(1.5, True), Pair(2.5, False)]).b.tolist() == [True, False]
    weight = ma.ones(2, requires_grad=True)
    default_collate([weight, 3 * weight]).sum().backward()
    assert weight.grad.tolist() == [4, 4]
    with pytest.raises(DataError, match=r"must have one shape, not \(2,\) and \(3,\)"):
        default_collate([ma.zeros(2), ma.zeros(3)])
    with pytest.raises(DataError, match="as many members each"):
        default_collate([(1, 2), (1,)])
    with pytest.raises(DataError, match=r"a sample must be of tensors, .*, not None"):
        default_collate([None])


def test_published_data_sets_give_pil_images(tmp_path):
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    digits = PIXELS[:, :, :, 0]
    for part, count in (("train", 6), ("t10k", 3)):
        header = bytes([0, 0, 8, 3]) + np.array([count, 8, 10], ">i4").tobytes()
        (raw / f"{part}-images-idx3-ubyte").write_bytes(header + digits[:count].tobytes())
        labels = bytes([0, 0, 8, 1]) + np.array([count], ">i4").tobytes() + bytes(range(count))
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(labels)
    dataset = MNIST(tmp_path, train=False)
    assert (len(dataset), dataset.targets, dataset.data.shape) == (3, [0, 1, 2], (3, 8, 10))
    image, label = dataset[1]
    assert (image.mode, image.size, label) == ("L", (10, 8), 1)
    assert np.array_equal(image, digits[1])
    x, y = next(iter(DataLoader(MNIST(tmp_path, transform=ToTensor(), target_transform=lambda t: t + 1), 6)))
    assert np.array_equal(x.numpy()[:, 0], digits[:6] / np.float32(255))
    assert y.tolist() == [1, 2, 3, 4, 5, 6]
    with pytest.raises(DataError):
        CIFAR10(tmp_path)
