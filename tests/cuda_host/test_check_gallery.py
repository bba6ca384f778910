"""The checker on small kernels.

Each textbook fault is found in its line, kernels that are right give no report, and the figures are those
that a person works out.
"""

import numpy as np
import pytest
from check_gallery import FOLDER, Example, examples

from minialex.kernels import cuda_host
from minialex.kernels.cuda_host.findings import KINDS

pytestmark = pytest.mark.needs_gxx

FAULTS, CORRECT, TRAFFIC = (examples(name) for name in ("faults.cu", "correct.cu", "traffic.cu"))


@pytest.fixture(scope="module")
def modules():
    return {name: cuda_host.load(FOLDER / name) for name in ("faults.cu", "correct.cu", "traffic.cu")}


def _named(example: Example) -> str:
    return example.name


def _report(module, example):
    uninitialised = () if example.in_place else ("y",)
    return cuda_host.check(
        module[example.name], example.grid, example.block, example.arguments(), uninitialised=uninitialised
    )


@pytest.mark.parametrize("example", FAULTS, ids=_named)
def test_each_fault_is_found_in_its_line(modules, example):
    assert example.faults, "the example should mark the lines that are wrong"

    report = _report(modules["faults.cu"], example)

    assert {(finding.kind, finding.line) for finding in report.findings} == example.faults, str(report)
    for finding in report.findings:
        assert finding.file == str(FOLDER / "faults.cu")


def test_there_is_an_example_of_each_kind():
    assert {kind for example in FAULTS for kind, _ in example.faults} == set(KINDS)


@pytest.mark.parametrize("example", CORRECT, ids=_named)
def test_a_correct_kernel_gives_no_report(modules, example):
    report = _report(modules["correct.cu"], example)

    assert report.findings == [], str(report)


@pytest.mark.parametrize("example", CORRECT, ids=_named)
def test_a_checked_launch_computes_what_a_launch_computes(modules, example):
    kernel = modules["correct.cu"][example.name]
    x, checked, n = example.arguments()
    plain = checked.copy()

    cuda_host.check(kernel, example.grid, example.block, (x, checked, n))
    kernel(example.grid, example.block, (x, plain, n))

    # Instrumented, fewer products and sums are fused.
    np.testing.assert_allclose(checked, plain, rtol=2e-6)


# (space, operation): warp instructions, sectors, ideal sectors, bank conflicts. 32 floats are 4 sectors.
_STORE = {("global", "store"): (1, 4, 4, 0)}
_TILE = {("shared", "store"): (1, 0, 0, 0)}
_ROWS = {("shared", "store"): (32, 0, 0, 0)}
_EXPECTED = {
    "coalesced": {("global", "load"): (1, 4, 4, 0), **_STORE},
    "strided_by_2": {("global", "load"): (1, 8, 4, 0), **_STORE},
    "strided_by_32": {("global", "load"): (1, 32, 4, 0), **_STORE},
    "reversed": {("global", "load"): (1, 4, 4, 0), **_STORE},
    "shifted_by_1": {("global", "load"): (1, 5, 4, 0), **_STORE},
    "broadcast": {("global", "load"): (1, 1, 1, 0), **_STORE},
    "vectors": {("global", "load"): (1, 16, 16, 0), ("global", "store"): (1, 16, 16, 0)},
    "structures": {("global", "load"): (3, 36, 12, 0), **_STORE},
    "half_a_warp": {("global", "load"): (1, 4, 2, 0), ("global", "store"): (1, 4, 2, 0)},
    # Round k has one address for the lanes from k on: one sector each.
    "triangle": {("global", "load"): (32, 32, 32, 0), **_STORE},
    "conflict_free": {**_TILE, ("shared", "load"): (1, 0, 0, 0), **_STORE},
    "column_of_a_tile": {**_ROWS, ("shared", "load"): (1, 0, 0, 31), **_STORE},
    "column_of_a_padded_tile": {**_ROWS, ("shared", "load"): (1, 0, 0, 0), **_STORE},
    "banks_strided_by_2": {("shared", "store"): (2, 0, 0, 0), ("shared", "load"): (1, 0, 0, 1), **_STORE},
    "bank_broadcast": {**_TILE, ("shared", "load"): (1, 0, 0, 0), **_STORE},
    "bank_vectors": {**_TILE, ("shared", "load"): (1, 0, 0, 0), **_STORE},
    # Half a warp has 16 doubles, 4 words apart: each bank that is used has two of them.
    "bank_doubles": {("shared", "store"): (2, 0, 0, 0), ("shared", "load"): (1, 0, 0, 2), **_STORE},
}


@pytest.mark.parametrize("example", TRAFFIC, ids=_named)
def test_traffic_is_what_a_person_works_out(modules, example):
    n = np.int32(2048)
    x, y = np.ones(n, np.float32), np.zeros(n, np.float32)

    report = cuda_host.check(modules["traffic.cu"][example.name], (1,), (32,), (x, y, n))

    assert report.findings == []
    found = {}
    for access in report.accesses:
        figures = (access.instructions, access.sectors, access.ideal_sectors, access.bank_conflicts)
        key = access.space, access.operation
        found[key] = tuple(np.add(found.get(key, (0, 0, 0, 0)), figures))
    assert found == _EXPECTED[example.name]


def test_traffic_adds_up_over_warps_and_blocks(modules):
    n = np.int32(2048)
    x, y = np.ones(n, np.float32), np.zeros(n, np.float32)

    # 50 threads are a warp and 18 lanes, whose 72 bytes are 3 sectors; the blocks write the same results.
    report = cuda_host.check(modules["traffic.cu"]["coalesced"], (3, 2), (50,), (x, y, n))

    load, store = report.accesses
    assert (load.operation, store.operation) == ("load", "store")
    assert load.accesses == store.accesses == 300
    assert load.instructions == 12
    assert load.sectors == load.ideal_sectors == 6 * (4 + 3)
