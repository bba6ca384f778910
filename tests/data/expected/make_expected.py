"""Save what torchvision, TensorFlow and Keras make of small images, for the tests of the transforms.

    pip install torchvision tensorflow-cpu scipy pillow
    python tests/data/expected/make_expected.py

writes torchvision.npz, tensorflow.npz and keras.npz beside this file. The tests read these files; none
of the libraries is needed to run them. `versions` in each file says what made it. Arrays are as the
libraries give them, but with the channels first.
"""

import importlib.metadata
from pathlib import Path

import numpy as np
from PIL import Image

FOLDER = Path(__file__).parent
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


def versions(*names):
    return np.array([f"{name} {importlib.metadata.version(name)}" for name in names])


def photograph(height, width, channels=3):
    """Smooth shades under noise, uint8 (H, W, C): something to see at every frequency."""
    rows, columns = np.mgrid[:height, :width]
    shades = [
        90 * np.sin(rows / 5 + channel) * np.cos(columns / (7 + channel)) for channel in range(channels)
    ]
    noise = np.random.default_rng(height * 1000 + width).normal(0, 30, (height, width, channels))
    return np.clip(128 + np.stack(shades, axis=-1) + noise, 0, 255).astype(np.uint8)


def channels_first(image):
    image = np.asarray(image)
    return image[np.newaxis] if image.ndim == 2 else np.moveaxis(image, -1, 0)


def from_torchvision():
    import torch
    from torchvision.transforms import RandomResizedCrop, TenCrop
    from torchvision.transforms import functional as F

    saved = {"versions": versions("torchvision", "torch", "pillow")}
    for name, shape in (("landscape", (37, 53)), ("portrait", (53, 37))):
        source = photograph(*shape)
        image = Image.fromarray(source)
        saved[name] = channels_first(source)
        for size in ((24, 31), (60, 80), (37, 20)):
            saved[f"{name} resize {size[0]} {size[1]}"] = channels_first(F.resize(image, size))
        for side in (20, 64):
            saved[f"{name} shorter {side}"] = channels_first(F.resize(image, side))
        # Differences of 1, 17, 19, 33 and 35 are halved to numbers that must be rounded to even.
        for size in ((20, 18), (36, 36), (18, 20), (37, 37)):
            saved[f"{name} center {size[0]} {size[1]}"] = channels_first(F.center_crop(image, size))
        for box in ((0, 0, 37, 37), (3, 5, 20, 9), (30, 1, 1, 33), (7, 2, 24, 24)):
            crop = F.resized_crop(image, *box, size=[24, 24])
            saved[f"{name} box {' '.join(map(str, box))}"] = channels_first(crop)
        saved[f"{name} ten"] = np.stack([channels_first(crop) for crop in TenCrop((16, 20))(image)])
        saved[f"{name} grey"] = channels_first(F.rgb_to_grayscale(image))
        saved[f"{name} flip"] = channels_first(F.hflip(image))
        saved[f"{name} tensor"] = F.to_tensor(image).numpy()
        saved[f"{name} normalized"] = F.normalize(F.to_tensor(image), MEAN, STD).numpy()
    # Where none of ten tries fits: (height, width) and the (top, left, height, width) at the centre.
    sizes = [(5, 200), (200, 5), (300, 7), (7, 300), (3, 999), (999, 4)]
    boxes = [
        RandomResizedCrop.get_params(Image.new("L", size[::-1]), [1, 1], [3 / 4, 4 / 3]) for size in sizes
    ]
    saved["centre boxes"] = np.array([size + tuple(box) for size, box in zip(sizes, boxes, strict=True)])
    torch.manual_seed(1)
    image = Image.new("L", (500, 375))
    draws = [RandomResizedCrop.get_params(image, [0.08, 1.0], [3 / 4, 4 / 3]) for _ in range(50_000)]
    draws = np.array(draws, dtype=np.float64)
    # Of the tops, lefts, heights and widths of crops of a 375 x 500 image: their 5, 10, ... 95 % quantiles.
    saved["box quantiles"] = np.quantile(draws, np.arange(1, 20) / 20, axis=0)
    np.savez_compressed(FOLDER / "torchvision.npz", **saved)


def from_tensorflow():
    import tensorflow as tf

    saved = {"versions": versions("tensorflow-cpu")}
    for shape, target in (
        ((28, 28, 1), (227, 227)),
        ((60, 45, 3), (20, 32)),
        ((45, 60, 3), (32, 20)),
        ((13, 29, 3), (40, 40)),
        ((100, 7, 1), (24, 24)),
        ((1, 5, 1), (9, 8)),
        ((16, 12, 3), (16, 12)),
    ):
        source = photograph(*shape)
        name = f"{shape[0]} {shape[1]} to {target[0]} {target[1]}"
        padded = tf.image.resize_with_pad(source, *target).numpy()
        # All of a small result; of a large one every sixth row, and the sum of each row.
        saved[name + " source"] = channels_first(source)
        saved[name] = channels_first(padded)[:, :: 6 if target[0] > 100 else 1]
        saved[name + " row sums"] = channels_first(padded).astype(np.float64).sum(axis=-1)
    # (height, width, target height, target width), and where the image is put: (top, left, height, width).
    generator = np.random.default_rng(2)
    places = []
    while len(places) < 400:
        case = generator.integers(1, 300, 4)
        try:
            padded = tf.image.resize_with_pad(np.ones((*case[:2], 1), np.uint8), *map(int, case[2:])).numpy()
        except tf.errors.InvalidArgumentError:
            continue  # TensorFlow refuses what would become 0 pixels high or wide.
        rows, columns = np.nonzero(padded[..., 0].any(axis=1))[0], np.nonzero(padded[..., 0].any(axis=0))[0]
        places.append([*case, rows[0], columns[0], len(rows), len(columns)])
    saved["places"] = np.array(places, dtype=np.int16)
    np.savez_compressed(FOLDER / "tensorflow.npz", **saved)


def from_keras():
    from keras.src.legacy.preprocessing.image import ImageDataGenerator

    saved = {"versions": versions("keras", "scipy")}
    source = np.random.default_rng(3).normal(0, 1, (11, 14, 3)).astype(np.float32)
    saved["source"] = channels_first(source)
    for cval in (0.0, 0.75):
        generator = ImageDataGenerator(fill_mode="constant", cval=cval, data_format="channels_last")
        whole = ((2, -3), (0, 4), (10, 13))
        between = ((-1.25, 0), (1.5, 2.75), (-0.5, -0.125), (10.5, 1), (-9.75, 12.9), (0.1, 0.2))
        for rows, columns in whole + between:
            # Keras 3 takes tx for the columns, although it draws it from height_shift_range.
            values = generator.apply_transform(source, {"tx": columns, "ty": rows})
            saved[f"shift {rows} {columns} {cval}"] = channels_first(values)
    values = generator.apply_transform(source, {"tx": 1.5, "ty": -2.25, "flip_horizontal": True})
    saved["shift -2.25 1.5 0.75 then flip"] = channels_first(values)
    np.savez_compressed(FOLDER / "keras.npz", **saved)


if __name__ == "__main__":
    from_torchvision()
    from_tensorflow()
    from_keras()
