"""Time the im2col kernels by the size of their chunks.

python benchmarks/im2col_chunks.py
"""

from __future__ import annotations

import time

import click
import numpy as np

from minialex import kernels

# name, x, weight, stride, padding, groups
_LAYERS = (
    ("conv1 of alexnet", (32, 3, 227, 227), (96, 3, 11, 11), 4, 0, 1),
    ("conv2 of alexnet", (32, 96, 27, 27), (256, 48, 5, 5), 1, 2, 2),
    ("conv3 of alexnet", (32, 256, 13, 13), (384, 256, 3, 3), 1, 1, 1),
    ("conv2 of alexnet_mnist28_bn", (64, 64, 14, 14), (192, 64, 5, 5), 1, 2, 1),
    ("conv4 of alexnet_mnist28_bn", (64, 384, 7, 7), (384, 384, 3, 3), 1, 1, 1),
)


@click.command()
@click.option("--repeats", type=int, default=5, show_default=True)
def main(repeats: int) -> None:
    """Print effective GFLOP/s, the fastest of the repeats: forward / input gradient / weight gradient."""
    random = np.random.default_rng(0)
    for name, x_shape, w_shape, stride, padding, groups in _LAYERS:
        window = {"stride": (stride,) * 2, "padding": ((padding,) * 2,) * 2, "dilation": (1, 1)}
        window["groups"] = groups
        x, w = (random.standard_normal(shape, np.float32) for shape in (x_shape, w_shape))
        g = random.standard_normal(kernels.output_shape("conv2d", x_shape, w_shape, **window), np.float32)
        operations = 2 * g.size * w[0].size
        for limit in (4, 8, 16, 32, 64, 128):
            kernels.set_workspace_limit(limit * 2**20)
            calls = (
                ("conv2d.forward", (x, w, None), window),
                ("conv2d.input_grad", (g, w), window | {"input_size": x_shape[2:]}),
                ("conv2d.weight_grad", (g, x), window | {"kernel_size": w_shape[2:]}),
            )
            rates = [operations / _fastest(repeats, *call) / 1e9 for call in calls]
            click.echo(f"{name:28} {limit:4} MiB  " + " / ".join(f"{rate:4.0f}" for rate in rates))


def _fastest(repeats: int, operation: str, arrays, parameters) -> float:
    run = kernels.find_kernel(operation, algo="im2col")
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run(*arrays, **parameters)
        times.append(time.perf_counter() - start)
    return min(times)


if __name__ == "__main__":
    main()
