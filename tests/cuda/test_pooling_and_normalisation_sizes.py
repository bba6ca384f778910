"""Pooling and normalisation kernels on more than one block, which the drawn shapes are too small for.

The oracle is the NumPy kernel of each operation, in float64.
"""

from contextlib import nullcontext

import numpy as np
import pytest

from minialex import kernels
from minialex.checking.testing.compare import assert_close, largest, rounding
from minialex.checking.testing.strategies import normal_values
from minialex.checking.testing.values import distinct_values
from minialex.errors import KernelError
from minialex.kernels import find_kernel, list_kernels, output_shape
from minialex.kernels.cuda.checking_device import few_blocks

pytestmark = pytest.mark.needs_gxx

SHAPE = (3, 5, 31, 37)  # 17,205 elements, 68 blocks of 256; sums of 3,441 numbers a channel
WINDOW = {
    "kernel_size": (3, 2),
    "stride": (2, 1),
    "padding": ((1, 0), (0, 1)),
    "ceil_mode": True,
}
DILATED = {**WINDOW, "dilation": (2, 3)}
# Rows and columns at the end that no window holds.
FLOORED = {**WINDOW, "kernel_size": (3, 4), "stride": (2, 3), "ceil_mode": False}
LRN = {"size": 5, "alpha": 0.8, "beta": 0.75, "k": 1.0}
NORM = {"axis": 1, "eps": 1e-5}


def _cases():
    """Each operation with arrays in float64 and parameters."""
    generator = np.random.default_rng(11)
    x, g = distinct_values(generator, SHAPE), normal_values(generator, SHAPE)
    weight, bias, mean = (normal_values(generator, (5,)) for _ in range(3))
    var = mean**2 + 0.5
    pooled, index = find_kernel("max_pool2d.forward", algo="plain")(x, **DILATED)
    averaged = output_shape("avg_pool2d", SHAPE, **FLOORED)
    anywhere = generator.integers(0, 31 * 37, pooled.shape, dtype=np.int32)
    rows = generator.standard_normal((5003, 6))  # features last: columns in several slices
    of_rows = weight[:1].repeat(6), bias[:1].repeat(6)
    return {
        "max_pool2d.forward": ((x,), DILATED),
        "max_pool2d.gather": ((x, index), {}),
        "max_pool2d.scatter": ((normal_values(generator, pooled.shape), index), {"input_size": (31, 37)}),
        "max_pool2d.scatter to any cells": ((pooled, anywhere), {"input_size": (31, 37)}),
        "avg_pool2d.forward": ((x,), {**WINDOW, "count_include_pad": True}),
        "avg_pool2d.input_grad": (
            (normal_values(generator, averaged),),
            {**FLOORED, "input_size": (31, 37), "count_include_pad": False},
        ),
        "local_response_norm.forward": ((x,), LRN),
        "local_response_norm.backward": ((g, x), {**LRN, "beta": 0.6}),
        "channel_window_sum.forward": ((x,), {"size": 3}),
        "batch_norm.forward": ((x, weight, bias), NORM),
        "batch_norm.forward of rows": ((rows, *of_rows), NORM),
        "batch_norm.backward": ((g, x, weight, x.mean((0, 2, 3)), x.var((0, 2, 3))), NORM),
        "batch_norm.backward of rows": (
            (rows[::-1] ** 2, rows, of_rows[0], rows.mean(0), rows.var(0)),
            NORM,
        ),
        "batch_norm.evaluate": ((x, weight, bias, mean, var), NORM),
    }


CASES = _cases()
every_case = pytest.mark.parametrize("case", CASES)


def _kernel(operation):
    """The only kernel of the operation on cuda-host."""
    (kernel,) = list_kernels(operation, "cuda-host")
    return kernel


def _run(kernel, case, dtype):
    arrays, parameters = CASES[case]
    arrays = tuple(a.astype(dtype) if a.dtype.kind == "f" else a for a in arrays)
    results = kernel(*arrays, **parameters)
    return results if isinstance(results, tuple) else (results,)


@pytest.mark.parametrize("dtype", [np.float64, np.float32], ids=["float64", "float32"])
@pytest.mark.parametrize("blocks", ["as many as there are", "3"])
@every_case
def test_many_blocks_agree_with_numpy(case, blocks, dtype):
    arrays, _ = CASES[case]
    expected = _run(find_kernel(case.split()[0], algo="plain"), case, np.float64)

    # Three blocks for all elements: each thread takes many, as it would beyond 65,535 blocks.
    with few_blocks(3) if blocks == "3" else nullcontext():
        actual = _run(_kernel(case.split()[0]), case, dtype)

    for i, (mine, right) in enumerate(zip(actual, expected, strict=True)):
        if right.dtype.kind == "i":
            np.testing.assert_array_equal(mine, right)
        else:
            scale = max(largest(right), largest(*(a for a in arrays if a.dtype.kind == "f")))
            assert_close(mine, right.astype(dtype), rounding(dtype), scale=scale, name=f"result {i}")


@every_case
def test_any_number_of_threads_gives_the_same_bits(case):
    threads = kernels.num_threads()
    results = []
    try:
        for count in (1, 2, 2):
            kernels.set_num_threads(count)
            results.append(_run(_kernel(case.split()[0]), case, np.float32))
    finally:
        kernels.set_num_threads(threads)
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("operation", ["max_pool2d", "avg_pool2d"])
def test_a_window_whose_cells_overflow_an_int_is_refused(operation):
    window = {"kernel_size": (2**30, 1), "stride": (1, 1), "padding": ((2**30 - 1, 2), (0, 0))}
    window |= {"ceil_mode": False}
    window |= {"dilation": (1, 1)} if operation == "max_pool2d" else {"count_include_pad": True}
    pool = _kernel(f"{operation}.forward")
    with pytest.raises(KernelError, match=r"1073741823 \+ 3 \+ 2 rows, above 2\*\*30"):
        pool(np.ones((1, 1, 3, 4)), **window)
