"""The executor's CUDA C++, one kernel of language.cu for each part, against NumPy."""

import functools
import math
import operator
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minialex import kernels
from minialex.kernels import cuda_host

pytestmark = pytest.mark.needs_gxx

SOURCE = Path(__file__).parent / "language.cu"
ABSENT = 0xFFFFFFFF  # what a lane that takes no part gives


@pytest.fixture(scope="module")
def module():
    return cuda_host.load(SOURCE, instances=("outer::add<short, 3>", "outer::add<double, -2>"))


@pytest.fixture(params=[1, 3])
def threads(request):
    kernels.set_num_threads(request.param)
    yield request.param
    kernels.set_num_threads(None)


def _random_ints(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(-(2**31), 2**31, count, np.int32)


# ---- Where a thread is ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("grid", "block"),
    [((1,), (1,)), ((5,), (7,)), ((3, 2), (5, 4)), ((2, 3, 4), (3, 2, 5)), ((1, 1, 3), (1, 1, 64))],
)
def test_each_thread_knows_where_it_is(module, threads, grid, block):
    g, b = (np.array([*extent, 1, 1][:3]) for extent in (grid, block))
    y = np.full((g.prod(), b.prod(), 4, 3), -1, np.int32)

    module["coordinates"](grid, block, (y,))

    for block_number, (z, j, i) in enumerate(np.ndindex(*g[::-1])):
        for thread_number, (w, v, u) in enumerate(np.ndindex(*b[::-1])):
            expected = [[u, v, w], [i, j, z], b, g]
            np.testing.assert_array_equal(y[block_number, thread_number], expected)


def test_a_thread_knows_where_it_is_after_a_barrier(module):
    y = np.zeros(6 * 5 * 7, np.int32)

    module["coordinates_after_a_barrier"](1, (6, 5, 7), (y,))

    expected = [x + 100 * j + 10000 * z for z in range(7) for j in range(5) for x in range(6)]
    np.testing.assert_array_equal(y, expected)


# ---- Shared memory and barriers ------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 31, 32, 33, 96, 1000, 1024])
def test_blocks_share_memory(module, threads, size):
    blocks = 50
    x = _random_ints(blocks * size)
    y = np.zeros_like(x)

    module["reverse_blocks"](blocks, size, (x, y))

    np.testing.assert_array_equal(y.reshape(blocks, size), x.reshape(blocks, size)[:, ::-1])


def test_blocks_have_dynamic_shared_memory(module, threads):
    x = np.random.default_rng(1).random((40, 77))
    y = np.zeros_like(x)

    module["reverse_dynamic"](40, 77, (x, y), shared_mem=77 * 8)

    np.testing.assert_array_equal(y, x[:, ::-1])


@given(size=st.integers(1, 1024), blocks=st.integers(1, 5), rounds=st.integers(0, 20))
def test_threads_wait_at_each_barrier(module, size, blocks, rounds):
    x = np.arange(blocks * size, dtype=np.int32).reshape(blocks, size)
    y = np.zeros_like(x)

    module["rotate_rounds"](blocks, size, (x, y, np.int32(rounds)))

    np.testing.assert_array_equal(y, np.roll(x, -rounds, axis=1))


@pytest.mark.parametrize(
    "chosen", [lambda i: i % 3 == 0, lambda i: i < 0, lambda i: i >= 0, lambda i: i == 99]
)
def test_barriers_count_votes(module, chosen):
    x = chosen(np.arange(100)).astype(np.int32) * 5
    y = np.zeros((100, 3), np.int32)

    module["barrier_votes"](1, 100, (x, y))

    np.testing.assert_array_equal(y, np.tile([np.count_nonzero(x), x.all(), x.any()], (100, 1)))


# ---- Warps ------------------------------------------------------------------


def _source_lane(kind: int, lane: int, argument: int, width: int) -> int:
    """The lane that is read, as the pseudo-code of the PTX manual has it (shfl.sync)."""
    segment = (32 - width) & 0x1F  # the bits of a lane that number its group
    lowest = lane & segment
    highest = lowest | (31 & ~segment)
    if kind == 0:
        return lowest | (argument & ~segment & 31)
    if kind == 1:
        other = lane - argument
        return other if other >= lowest else lane
    other = lane + argument if kind == 2 else lane ^ argument
    return other if other <= highest else lane


@given(
    name=st.sampled_from(["int", "float", "double", "long_long"]),
    argument=st.integers(0, 31),
    width=st.sampled_from([1, 2, 4, 8, 16, 32]),
)
def test_shuffles_read_the_lane_that_is_asked_for(module, name, argument, width):
    dtype = {"int": np.int32, "float": np.float32, "double": np.float64, "long_long": np.int64}[name]
    x = (np.random.default_rng(2).random(128) * 2**30).astype(dtype)
    if name == "long_long":
        x *= 2**31
    y = np.zeros((4, 128), dtype)

    module[f"shuffle_{name}"](2, 64, (x, y, np.int32(argument), np.int32(width)))

    expected = [
        [x[i // 32 * 32 + _source_lane(kind, i % 32, argument, width)] for i in range(128)]
        for kind in range(4)
    ]
    np.testing.assert_array_equal(y, expected)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.uint16, np.bool_])
def test_shuffles_of_small_numbers(module, dtype):
    name = {"int8": "signed_char", "uint8": "unsigned_char", "int16": "short", "uint16": "unsigned_short"}
    x = np.random.default_rng(12).integers(-(2**15), 2**16, 32).astype(dtype)
    y = np.zeros((32, 4), dtype)

    module[f"shuffle_{name.get(np.dtype(dtype).name, 'bool')}"](1, 32, (x, y))

    lanes = np.arange(32)
    sources = [
        lanes * 0 + 3,
        np.where(lanes < 2, lanes, lanes - 2),
        np.where(lanes > 26, lanes, lanes + 5),
        lanes ^ 1,
    ]
    np.testing.assert_array_equal(y, np.stack([x[source] for source in sources], axis=1))


REDUCTIONS = """
extern "C" __global__ void reductions(const int* x, int* y, unsigned int mask)
{
    if (!(mask >> threadIdx.x % 32 & 1)) return;
    int* mine = y + 12 * threadIdx.x;
    const unsigned int u = x[threadIdx.x];
    mine[0] = __reduce_add_sync(mask, x[threadIdx.x]);
    mine[1] = __reduce_min_sync(mask, x[threadIdx.x]);
    mine[2] = __reduce_max_sync(mask, x[threadIdx.x]);
    mine[3] = __reduce_add_sync(mask, u);
    mine[4] = __reduce_min_sync(mask, u);
    mine[5] = __reduce_max_sync(mask, u);
    mine[6] = __reduce_and_sync(mask, u);
    mine[7] = __reduce_or_sync(mask, u);
    mine[8] = __reduce_xor_sync(mask, u);
    int all;
    mine[9] = __match_all_sync(mask, x[threadIdx.x] / 1000, &all);
    mine[10] = all;
    mine[11] = __uni_sync(mask, x[threadIdx.x] > 0);
}
"""


@pytest.fixture(scope="module")
def reductions():
    return cuda_host.load(source_text=REDUCTIONS, options=("-arch=sm_80",))["reductions"]


@pytest.mark.parametrize("mask", [0xFFFFFFFF, 0x00FF00F0, 1 << 31])
@pytest.mark.parametrize("alike", [False, True])
def test_reductions_in_a_warp(reductions, mask, alike):
    x = np.random.default_rng(13).integers(2001, 2999, 32, np.int32) if alike else _random_ints(32)
    y = np.full((32, 12), 7, np.int32)

    reductions(1, 32, (x, y, np.uint32(mask)))

    lanes = [lane for lane in range(32) if mask >> lane & 1]
    signed = [int(x[lane]) for lane in lanes]
    unsigned = [value % 2**32 for value in signed]
    all_alike = alike or len(lanes) == 1
    expected = [
        sum(signed),
        min(signed),
        max(signed),
        sum(unsigned),
        min(unsigned),
        max(unsigned),
        functools.reduce(operator.and_, unsigned),
        functools.reduce(operator.or_, unsigned),
        functools.reduce(operator.xor, unsigned),
        mask if all_alike else 0,
        int(all_alike),
        int(len({value > 0 for value in signed}) == 1),
    ]
    np.testing.assert_array_equal(y[lanes], [[_signed(value) for value in expected]] * len(lanes))
    assert (np.delete(y, lanes, axis=0) == 7).all()


@pytest.mark.parametrize("size", [32, 64, 45])
def test_votes_and_matches(module, size):
    x = np.random.default_rng(3).integers(0, 3, size, np.int32)
    x[32:] = 1
    y = np.zeros((size, 5), np.uint32)

    module["warp_votes"](1, size, (x, y))

    for thread in range(size):
        warp = x[thread // 32 * 32 :][:32]
        ballot = sum(1 << lane for lane, value in enumerate(warp) if value)
        match = sum(1 << lane for lane, value in enumerate(warp) if value == x[thread])
        expected = [ballot, warp.any(), warp.all(), match, 2 ** len(warp) - 1]
        np.testing.assert_array_equal(y[thread], expected)


def test_lanes_that_have_ended_are_not_waited_for(module):
    x = _random_ints(64) // 4
    y = np.zeros((64, 2), np.int32)

    module["partial_warps"](1, 64, (x, y))

    for thread in range(64):
        warp, lane = divmod(thread, 32)
        if lane >= 20:
            assert not y[thread].any()
            continue
        # A lane beyond the 12 that take part has no value, one beyond the warp gives the caller's own.
        down = x[thread] if lane + 20 > 31 else np.int32(-1)
        assert y[thread, 0] == (x[thread ^ 1] if lane < 8 else down)
        assert y[thread, 1] == x[32 * warp + 19] + 1000 * 20


def test_the_value_of_a_lane_that_takes_no_part_is_nan(module):
    y = np.zeros(16, np.float32)

    module["absent_lane"](1, 32, (y,))

    assert (y.view(np.uint32) == ABSENT).all()
    assert np.isnan(y).all()


# ---- Atomic operations ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "dtype"), [("int", np.int32), ("unsigned", np.uint32), ("unsigned_long_long", np.uint64)]
)
def test_atomic_integers(module, threads, name, dtype):
    blocks, size = 20000, 64  # long enough for the OS threads to meet
    count = blocks * size
    limits = np.iinfo(dtype)
    x = np.random.default_rng(4).integers(limits.min, limits.max, count, dtype, endpoint=True)
    start = np.array([5, limits.max, limits.min, -1 if limits.min else limits.max, 0, 0, 5], dtype)
    y = np.concatenate([start, np.arange(count).astype(dtype)])

    module[f"atomics_{name}"](blocks, size, (x, y))

    total = x.sum(dtype=dtype) + dtype(5)
    np.testing.assert_array_equal(
        y[:7],
        [
            total,
            x.min(),
            x.max(),
            np.bitwise_and.reduce(~x),
            np.bitwise_or.reduce(x),
            np.bitwise_xor.reduce(x),
            total,
        ],
    )
    np.testing.assert_array_equal(y[7:], np.arange(count))


def test_atomic_sums_of_floating_point_numbers(module, threads):
    blocks, size = 300, 96
    x = np.random.default_rng(5).integers(-50, 50, (blocks, size)).astype(np.float32)  # sums are exact
    y, z = np.ones(1, np.float32), np.ones(1)

    module["atomics_floating"](blocks, size, (x, y, z))

    assert y[0] == z[0] == 1 + x.sum(dtype=np.float64)


# ---- Numbers ------------------------------------------------------------------


def _signed(value: int) -> int:
    value &= 0xFFFFFFFF
    return value - 2**32 if value >> 31 else value


def _low_24(value: int) -> int:
    value &= 0xFFFFFF
    return value - 2**24 if value >> 23 else value


def _expected_integers(a: int, b: int) -> list[int]:
    u, v = a % 2**32, b % 2**32
    written = u.to_bytes(4, "little") + v.to_bytes(4, "little")
    return [
        u.bit_count(),
        32 - u.bit_length(),
        (u & -u).bit_length(),
        _signed(int(f"{u:032b}"[::-1], 2)),
        _signed(_low_24(a) * _low_24(b)),
        _signed(u * v >> 32),
        _signed(a * b >> 32),
        min(a, b),
        max(a, b),
        _signed(max(u, v)),
        _signed(int.from_bytes(bytes(written[place] for place in (1, 4, 5, 2)), "little")),
        _signed((v << 32 | u) << 7 >> 32),
        _signed(abs(a)),
        u.bit_count() + v.bit_count(),
    ]


def test_integer_functions(module):
    x = np.concatenate([[0, 1, -1, -(2**31), 2**31 - 1, 2**23, -(2**23)], _random_ints(249)]).astype(np.int32)
    w = np.concatenate([[0, -1, 1, -(2**31), 2**31 - 1, 2**24, 2**23], _random_ints(249, 1)]).astype(np.int32)
    y = np.zeros((256, 14), np.int32)

    module["integer_functions"](1, 256, (x, w, y))

    np.testing.assert_array_equal(y, [_expected_integers(int(a), int(b)) for a, b in zip(x, w, strict=True)])


@pytest.mark.parametrize(("name", "dtype"), [("float", np.float32), ("double", np.float64)])
def test_floating_point_functions_are_those_of_the_type(module, name, dtype):
    rng = np.random.default_rng(6)
    x, w = (rng.standard_normal(256).astype(dtype) * 3 for _ in range(2))
    x[0], w[1] = np.nan, np.nan
    y = np.zeros((256, 15), dtype)

    module[f"functions_{name}"](1, 256, (x, w, y))

    a, b = x.astype(np.float64), w.astype(np.float64)
    positive = np.abs(a)
    expected = np.stack(
        [
            np.exp(a),
            np.log(positive),
            np.sqrt(positive),
            1 / np.sqrt(positive),
            positive**b,
            np.tanh(a),
            np.fmin(a, b),
            np.fmax(a, b),
            np.fmin(a, b),
            np.fmax(a, b),
            a * b + 1,
            np.floor(a),
            np.cos(a),
            [math.erf(value) for value in a],
            np.full(256, 3.0 * np.dtype(dtype).itemsize),
        ],
        axis=1,
    )
    np.testing.assert_allclose(y, expected, rtol=8 * np.finfo(dtype).eps, atol=8 * np.finfo(dtype).eps)


def test_fast_functions(module):
    x = np.random.default_rng(7).standard_normal(64).astype(np.float32) * 3
    y = np.zeros((64, 8), np.float32)

    module["fast_functions"](1, 64, (x, y))

    a = x.astype(np.float64)
    positive = np.abs(a)
    expected = [
        np.exp(a),
        np.log(positive),
        positive**1.5,
        a / 3,
        np.minimum(a, 0.5),
        np.maximum(a, 0.5),
        np.clip(a, 0, 1),
        1 / np.sqrt(positive),
    ]
    np.testing.assert_allclose(y, np.stack(expected, axis=1), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("count", [0, 1, 5])
def test_lengths_of_vectors(module, count):
    x = np.array([3, -4, 12, 84, 0.5])  # with Pythagorean triples among them
    y, z = np.zeros(2), np.zeros(4, np.float32)

    module["lengths_of_vectors"](1, 1, (x, x.astype(np.float32), y, z, np.int32(count)))

    expected = math.hypot(*x[:count])
    np.testing.assert_allclose(y, [expected, 1 / expected if count else np.inf], rtol=1e-15)
    np.testing.assert_allclose(z[:2], [expected, 1 / expected if count else np.inf], rtol=1e-7)
    assert np.isnan(z[2:]).all()


def test_products_and_sums_are_fused_but_where_they_are_kept_apart(module):
    x = 1 + np.random.default_rng(8).random(64, np.float32)
    w = (x.astype(np.float64) ** 2).astype(np.float32)  # the rounded product
    residue = (x.astype(np.float64) ** 2 - w).astype(np.float32)
    assert np.count_nonzero(residue) > 50
    y = np.full((64, 3), 7, np.float32)

    module["contractions"](1, 64, (x, w, y))
    np.testing.assert_array_equal(y, np.stack([residue, np.zeros_like(x), residue], axis=1))

    apart = cuda_host.load(SOURCE, options=("-fmad=false",))
    apart["contractions"](1, 64, (x, w, y))
    np.testing.assert_array_equal(y, np.stack([np.zeros_like(x), np.zeros_like(x), residue], axis=1))


def test_subnormal_numbers_are_flushed_to_zero_during_a_launch_alone(module, threads):
    tiny = np.finfo(np.float32).tiny
    x = np.tile(np.array([tiny, -tiny, tiny / 2, 2 * tiny, 1], np.float32), 1000)
    y = np.full_like(x, 7)

    module["halve"](x.size // 5, 5, (x, y))
    np.testing.assert_array_equal(y, np.tile(np.array([0, 0, 0, tiny, 0.5], np.float32), 1000))
    # Not here, afterwards. In bits: where they were flushed, a comparison would do it as well.
    assert (x[2:3] * np.float32(0.5)).view(np.int32) == 0x00200000

    keeping = cuda_host.load(SOURCE, options=("-ftz=false",))
    keeping["halve"](x.size // 5, 5, (x, y))
    np.testing.assert_array_equal(y, x * np.float32(0.5))


def test_bits_of_numbers(module):
    rng = np.random.default_rng(9)
    x, w = rng.standard_normal(32).astype(np.float32), rng.standard_normal(32)
    y, z = np.zeros(32, np.int32), np.zeros(32, np.int64)

    module["bits"](1, 32, (x, w, y, z))

    np.testing.assert_array_equal(y, x.view(np.int32) ^ 0x3F800000)
    np.testing.assert_array_equal(z, w.view(np.int64) ^ 1)


def test_conversions_round_and_saturate(module):
    x = np.array([0.5, 1.5, -0.5, -2.5, 2.7, -2.7, 3e9, -3e9, np.nan, np.inf, -np.inf, 2**31], np.float32)
    y, z = np.zeros((12, 4), np.int32), np.zeros(12, np.uint32)

    module["conversions"](1, 12, (x, y, z))

    def to(values, least, most):
        return np.clip(np.nan_to_num(values.astype(np.float64), nan=0), least, most).astype(np.int64)

    for column, function in enumerate([np.rint, np.trunc, np.floor, np.ceil]):
        np.testing.assert_array_equal(y[:, column], to(function(x), -(2**31), 2**31 - 1))
    np.testing.assert_array_equal(z, to(np.rint(x), 0, 2**32 - 1))


# ---- Vectors, parameters, names ------------------------------------------------------------------


def test_vectors_and_constants(module):
    x = np.random.default_rng(10).integers(0, 10, (64, 4)).astype(np.float32)
    y = np.zeros((64, 2), np.float32)

    module["vectors"](1, 64, (x, y))

    np.testing.assert_array_equal(y, np.stack([x @ [1, 10, 100, 1000], 2 * x[:, 3]], axis=1))


def test_scalars_arrive_as_they_are(module):
    y = np.zeros(12)
    values = [
        np.bool_(True),
        np.int8(-3),
        np.uint8(200),
        np.int16(-300),
        np.uint16(60000),
        np.int32(-(2**31)),
    ]
    values += [np.uint32(2**32 - 1), np.int64(-(2**53)), np.uint64(2**63), np.float32(0.1), np.float64(0.1)]

    module["scalars"](1, 1, (y, *values, None))

    np.testing.assert_array_equal(y, [*(float(value) for value in values), 1])


def test_parameters_are_as_the_source_declares_them(module):
    assert module["vectors"].parameters == [("x", "const float*"), ("y", "float2*")]
    assert module["atomics_floating"].parameters == [("x", "const float*"), ("y", "float*"), ("z", "double*")]
    assert [kind for _, kind in module["scalars"].parameters] == [
        "double*",
        "bool",
        "signed char",
        "unsigned char",
        "short",
        "unsigned short",
        "int",
        "unsigned int",
        "long long",
        "unsigned long long",
        "float",
        "double",
        "const void*",
    ]
    assert module["outer::add<short, 3>"].parameters == [(None, "short*")]
    bounds = {
        name: module[name].launch_bound for name in ("vectors", "scalars", "outer::inner::fill", "halve")
    }
    assert bounds == {"vectors": 64, "scalars": 64, "outer::inner::fill": 7, "halve": None}


def test_kernels_of_namespaces_templates_and_macros(module):
    y = np.zeros(7, np.int32)
    module["outer::inner::fill"](1, 7, (y,))
    assert (y == 7).all()

    module["fill_3"](1, 7, (y,))
    assert (y == 3).all()

    short, double = np.arange(5, dtype=np.int16), np.arange(5.0)
    module["outer::add<short, 3>"](1, 5, (short,))
    module["outer::add<double, -2>"](1, 5, (double,))
    np.testing.assert_array_equal(short, np.arange(5) + 3)
    np.testing.assert_array_equal(double, np.arange(5) - 2)


def test_results_do_not_depend_on_the_number_of_threads():
    module = cuda_host.load(SOURCE)
    x = np.random.default_rng(11).standard_normal(64 * 4096).astype(np.float32)
    results = []
    for number in (1, 2, 5):
        kernels.set_num_threads(number)
        try:
            y = np.zeros((x.size, 15), np.float32)
            module["functions_float"](4096, 64, (x, x[::-1].copy(), y))
            results.append(y.tobytes())
        finally:
            kernels.set_num_threads(None)
    assert results[0] == results[1] == results[2]


_PRINTS = """
import numpy as np
from minialex.kernels import cuda_host
source = 'extern "C" __global__ void say(int n) { printf("thread %d of %d\\\\n", threadIdx.x, n); }'
cuda_host.load(source_text=source)["say"](1, 3, (np.int32(3),))
"""


def test_kernels_print():
    answer = subprocess.run([sys.executable, "-c", _PRINTS], capture_output=True, text=True, check=True)
    assert answer.stdout.splitlines() == [f"thread {i} of 3" for i in range(3)]


_FORKS = """
import os, sys
import numpy as np
from minialex.kernels import cuda_host
module = cuda_host.load(sys.argv[1])
x = np.arange(1024 * 200, dtype=np.int32)
y = np.zeros_like(x)
module["reverse_blocks"](200, 1024, (x, y))
y[:] = 0
child = os.fork()
module["reverse_blocks"](200, 1024, (x, y))
right = (y.reshape(200, 1024) == x.reshape(200, 1024)[:, ::-1]).all()
if child == 0:
    os._exit(0 if right else 1)
_, status = os.waitpid(child, 0)
sys.exit(status != 0 or not right)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
def test_a_forked_process_launches():
    subprocess.run([sys.executable, "-c", _FORKS, str(SOURCE)], check=True, timeout=120)
