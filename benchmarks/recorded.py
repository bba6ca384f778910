"""What recording a network for inference saves: one image, by its modules and recorded, in turns.

python benchmarks/recorded.py squeezenet1_0 googlenet
"""

import statistics
import sys
import time

import numpy as np

import minialex as ma
from minialex.models import create_model
from minialex.nn.utils import fuse_for_inference, record_for_inference

WARMUP, ROUNDS = 20, 230


def seconds(function, *arguments) -> float:
    start = time.perf_counter()
    function(*arguments)
    return time.perf_counter() - start


def measure(name: str) -> None:
    network = create_model(name)
    shape = (1, *network.architecture.input_shape)
    network = fuse_for_inference(network, shape).freeze()
    recorded = record_for_inference(network, shape)
    image = ma.tensor(np.random.default_rng(0).standard_normal(shape).astype(np.float32))
    with ma.no_grad():
        pairs = [(seconds(network, image), seconds(recorded, image)) for _ in range(WARMUP + ROUNDS)]
    times = [[1e3 * second for second in column] for column in zip(*pairs[WARMUP:], strict=True)]
    for title, column in zip(("by its modules", "recorded"), times, strict=True):
        print(f"{name} {title}: fastest {min(column):.2f} ms, median {statistics.median(column):.2f} ms")


for each in sys.argv[1:]:
    measure(each)
