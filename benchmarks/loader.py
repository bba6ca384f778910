"""Time the loading of batches by threads and by processes, by itself and while a network trains.

Two kinds of data: MNIST's 28 x 28 bytes in memory, and JPEGs of 500 x 375 that are decoded, cropped at
random, flipped and normalised. All ways to load them make the same batches with the same code; processes
hand them over in shared memory, without a copy. Each way has a turn in each round, and the smallest of each
figure is kept. Needs scikit-learn, for its two photographs.

    python benchmarks/loader.py
"""

from __future__ import annotations

import multiprocessing
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path
from typing import NamedTuple

import click
import numpy as np

import minialex as ma
from minialex import functional as F
from minialex.benchmarking.machine import describe_machine, describe_versions
from minialex.benchmarking.timing import rotated
from minialex.data import ArrayDataset, ImageFolder
from minialex.data.batch_maker import BatchMaker
from minialex.data.transforms import Pipeline, standard_pipeline
from minialex.data.workers import in_order
from minialex.files import write_json
from minialex.models import create_model
from minialex.optim import Adam

_OUT = Path(__file__).parent / "results" / "loader.json"


@dataclass(frozen=True)
class Work:
    """What is loaded, and what is trained on it."""

    maker: BatchMaker
    batch_size: int
    model: str

    def parts(self, number: int) -> list[np.ndarray]:
        """The indices of the samples of this many batches."""
        whole = len(self.maker.dataset) // self.batch_size
        return [np.arange(self.batch_size) + i % whole * self.batch_size for i in range(number)]


class Processes:
    """What `minialex.data.workers.in_order` does with threads, done with processes.

    A batch is written into a slot of shared memory, where the consumer reads it until it asks for the next.
    """

    def __init__(self, maker: BatchMaker, batch_size: int, workers: int, prefetch: int):
        x = maker(np.arange(batch_size), threading.Event()).x
        self.shape, self.prefetch = x.shape, prefetch
        self.slots = [SharedMemory(create=True, size=x.nbytes) for _ in range(prefetch + 1)]
        names = [slot.name for slot in self.slots]
        # Not forked: the threads of the parent's kernels may hold locks.
        context = multiprocessing.get_context("spawn")
        self.pool = ProcessPoolExecutor(workers, context, _start_worker, (maker, names))

    def batches(self, parts: list[np.ndarray]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield the batches of these samples, in order."""
        free, left = deque(range(len(self.slots))), iter(parts)
        coming: deque[tuple[int, Future]] = deque()

        def begin(number: int) -> None:
            for _, indices in zip(range(number), left, strict=False):
                slot = free.popleft()
                coming.append((slot, self.pool.submit(_fill_slot, slot, indices)))

        begin(self.prefetch)
        while coming:
            slot, future = coming.popleft()
            labels = future.result()
            begin(1)
            yield np.ndarray((len(labels), *self.shape[1:]), np.float32, self.slots[slot].buf), labels
            free.append(slot)

    def close(self) -> None:
        self.pool.shutdown(cancel_futures=True)
        for slot in self.slots:
            slot.close()
            slot.unlink()


_maker: BatchMaker
_slots: list[SharedMemory]


def _start_worker(maker: BatchMaker, names: list[str]) -> None:
    global _maker, _slots
    _maker, _slots = maker, [SharedMemory(name) for name in names]


def _fill_slot(slot: int, indices: np.ndarray) -> np.ndarray:
    x, y, _ = _maker(indices, threading.Event())
    np.ndarray(x.shape, np.float32, _slots[slot].buf)[:] = x
    return y


class Threads:
    """The loader's own threads, or none."""

    def __init__(self, maker: BatchMaker, workers: int, prefetch: int):
        self.maker, self.workers, self.prefetch = maker, workers, prefetch

    def batches(self, parts: list[np.ndarray]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield the batches of these samples, in order."""
        for x, y, _ in in_order(self.maker, parts, workers=self.workers, prefetch=self.prefetch):
            yield x, y

    def close(self) -> None:
        pass


class Way(NamedTuple):
    """Who makes the batches, how many of them, and how many batches they make beside the one in use."""

    kind: str
    workers: int
    prefetch: int

    def source(self, work: Work) -> Threads | Processes:
        if self.kind == "processes":
            return Processes(work.maker, work.batch_size, self.workers, self.prefetch)
        return Threads(work.maker, self.workers, self.prefetch)


_WAYS = (
    Way("consumer", 0, 1),
    *(
        Way(kind, *numbers)
        for numbers in ((1, 1), (1, 2), (2, 2), (2, 4))
        for kind in ("threads", "processes")
    ),
)


@click.command()
@click.option("--rounds", type=click.IntRange(1), default=5, show_default=True)
@click.option("--batches", type=click.IntRange(1), default=8, show_default=True, help="Timed in each turn.")
@click.option("--work", "only", type=click.Choice(["mnist", "photographs"]), help="The other is left out.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), default=_OUT, show_default=True)
def main(rounds: int, batches: int, only: str | None, out: Path) -> None:
    """Print the milliseconds a batch takes by each way to load, and keep them in a file."""
    start = time.perf_counter()
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, make in (("mnist", mnist_work), ("photographs", photographs_work)):
            if only in (None, name):
                results[name] = measure(make(Path(folder)), rounds, batches)
                click.echo(report(name, results[name]) + "\n")
    about = {"schema": 2, "machine": describe_machine(), "versions": describe_versions()}
    seconds = time.perf_counter() - start
    kept = {**about, "rounds": rounds, "batches": batches, "seconds": seconds, "works": results}
    write_json(out, kept)


def mnist_work(folder: Path) -> Work:
    """Bytes of 28 x 28 in memory, normalised; their values do not matter here."""
    images = np.random.default_rng(0).integers(0, 256, (60_000, 1, 28, 28), np.uint8)
    labels = np.arange(len(images)) % 10
    dataset = ArrayDataset(images, labels, tuple("0123456789"), "mnist")
    maker = BatchMaker(dataset, standard_pipeline((1, 28, 28), 0.1307, 0.3081), 0, 0)
    return Work(maker, 64, "alexnet_mnist28_bn")


def photographs_work(folder: Path) -> Work:
    """JPEGs of 500 x 375 (about 65 KB each, quality 90), as ImageNet has them, and its usual augmentation."""
    from PIL import Image
    from sklearn.datasets import load_sample_images

    random = np.random.default_rng(0)
    for label, pixels in enumerate(load_sample_images().images):
        (folder / f"class {label}").mkdir()
        photograph = Image.fromarray(pixels)
        for number in range(128):
            left, top = random.uniform(0, 0.25, 2) * photograph.size
            box = (left, top, left + 0.75 * photograph.width, top + 0.75 * photograph.height)
            picture = photograph.resize((500, 375), Image.Resampling.BICUBIC, box)
            picture.save(folder / f"class {label}" / f"{number}.jpg", quality=90)
    steps = [
        {"name": "random_resized_crop", "size": [224, 224]},
        {"name": "horizontal_flip"},
        {"name": "scale"},
        {"name": "normalize", "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]},
    ]
    maker = BatchMaker(ImageFolder(folder), Pipeline.from_list(steps), 0, 0)
    return Work(maker, 32, "alexnet_half")


def measure(work: Work, rounds: int, batches: int) -> dict:
    """Time all ways in turns."""
    step = training_step(work)
    x, y, _ = work.maker(work.parts(1)[0], threading.Event())
    step(x, y)
    step_alone, samples = [], {way: [] for way in _WAYS}
    for turn in range(rounds):
        step_alone.append(_mean_milliseconds(lambda: step(x, y), batches))
        for way in rotated(list(_WAYS), turn):
            samples[way].append(time_way(work, way, batches, step))
    return {
        "model": work.model,
        "batch_size": work.batch_size,
        "step_alone": round(min(step_alone), 3),
        "ways": [way._asdict() | smallest(samples[way]) for way in _WAYS],
    }


def smallest(samples: list[dict[str, float]]) -> dict[str, float]:
    """The smallest of each figure, and the share of the fastest step with loading that was spent waiting."""
    fastest = min(samples, key=lambda sample: sample["training"])
    share = round(fastest["waiting"] / fastest["training"], 5)
    least = {key: min(sample[key] for sample in samples) for key in ("first", "alone", "training")}
    return least | {"share_waiting": share}


def time_way(work: Work, way: Way, batches: int, step: Callable) -> dict[str, float]:
    """Milliseconds: until the first batch is there; for a batch afterwards, by itself and with a training
    step; and the part of the latter that was spent waiting for data.
    """
    # After the first ones as many batches are ahead as ever will be, and enough follow to keep it so.
    settled = way.prefetch + 1
    parts = work.parts(settled + batches + way.prefetch)
    start = time.perf_counter()
    source = way.source(work)
    try:
        with closing(source.batches(parts)) as coming:
            next(coming)
            first = time.perf_counter() - start
            for _ in range(settled - 1):
                next(coming)
            alone = _mean_milliseconds(lambda: next(coming), batches)
        waiting = 0.0
        with closing(source.batches(parts)) as coming:
            for _ in range(settled):
                step(*next(coming))
            begin = time.perf_counter()
            for _ in range(batches):
                asked = time.perf_counter()
                x, y = next(coming)
                waiting += time.perf_counter() - asked
                step(x, y)
            total = time.perf_counter() - begin
    finally:
        source.close()
    return {
        "first": round(1e3 * first, 3),
        "alone": round(alone, 3),
        "training": round(1e3 * total / batches, 3),
        "waiting": round(1e3 * waiting / batches, 3),
    }


def training_step(work: Work) -> Callable[[np.ndarray, np.ndarray], None]:
    """Forward, backward and an update of the work's model."""
    network = create_model(work.model, len(work.maker.dataset.classes))
    optimizer = Adam(network.parameters(), lr=1e-4)

    def step(x: np.ndarray, y: np.ndarray) -> None:
        optimizer.zero_grad()
        loss = F.cross_entropy(network(ma.Tensor(x)), y)
        loss.backward()
        optimizer.step()

    return step


def report(name: str, result: dict) -> str:
    """The smallest figures of all rounds as a table in Markdown."""
    about = f"{name}: {result['model']}, batch {result['batch_size']}"
    lines = [
        f"{about}; a step on data at hand {result['step_alone']:.1f} ms",
        "",
        "| made by | workers | ahead | first batch, ms | a batch alone, ms | a step, ms | of it waiting |",
        "|---|---|---|---|---|---|---|",
    ]
    for way in result["ways"]:
        lines.append(
            "| {kind} | {workers} | {prefetch} | {first:.0f} | {alone:.1f} | {training:.1f} "
            "| {share_waiting:.1%} |".format(**way)
        )
    return "\n".join(lines)


def _mean_milliseconds(run: Callable[[], object], calls: int) -> float:
    start = time.perf_counter()
    for _ in range(calls):
        run()
    return 1e3 * (time.perf_counter() - start) / calls


if __name__ == "__main__":
    main()
