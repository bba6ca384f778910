"""Small data sets in the exact formats of those the documents train on."""

import pickle
import struct

import numpy as np
from PIL import Image

CIFAR_CLASSES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


def write_idx(path, array):
    """Write an idx file of unsigned bytes, byte by byte as the format says."""
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    path.write_bytes(header + array.astype("uint8").tobytes())


def make_mnist(folder, train=40, test=20):
    """The four idx files: digit k is a bright bar in row 2 k + 4 of noise."""
    random = np.random.default_rng(0)
    for prefix, count in (("train", train), ("t10k", test)):
        labels = np.arange(count) % 10
        images = random.integers(0, 60, (count, 28, 28))
        for image, label in zip(images, labels, strict=True):
            image[2 * label + 4 : 2 * label + 6] += 180
        write_idx(folder / f"{prefix}-images-idx3-ubyte", images)
        write_idx(folder / f"{prefix}-labels-idx1-ubyte", labels)
    return folder


def make_cifar10(folder, per_batch=8):
    """The python version of CIFAR-10: six pickles, each class with a colour of its own."""
    random = np.random.default_rng(1)
    for name in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"):
        labels = random.integers(0, 10, per_batch)
        data = random.integers(0, 40, (per_batch, 3, 1024)) + 20 * labels[:, None, None] * np.array(
            [[[1], [0], [1]]]
        )
        batch = {
            b"batch_label": name.encode(),
            b"labels": labels.tolist(),
            b"data": data.reshape(per_batch, 3072).astype(np.uint8),
            b"filenames": [b"image.png"] * per_batch,
        }
        (folder / name).write_bytes(pickle.dumps(batch, protocol=2))
    meta = {
        b"num_cases_per_batch": per_batch,
        b"label_names": [name.encode() for name in CIFAR_CLASSES],
        b"num_vis": 3072,
    }
    (folder / "batches.meta").write_bytes(pickle.dumps(meta, protocol=2))
    return folder


def make_image_folders(folder, classes=("daisy", "roses", "tulips"), train=4, val=2):
    """JPEG photographs of various sizes in train/ and val/, a folder a class, each of another colour."""
    random = np.random.default_rng(2)
    for part, count in (("train", train), ("val", val)):
        for k, name in enumerate(classes):
            (folder / part / name).mkdir(parents=True)
            for i in range(count):
                height, width = random.integers(250, 300, 2)
                image = random.integers(0, 80, (height, width, 3)) + np.array([25 * k, 170 - 25 * k, 60])
                Image.fromarray(image.astype(np.uint8)).save(folder / part / name / f"{i}.jpg")
    return folder
