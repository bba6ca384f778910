"""`minialex kernels inspect`, run as a user runs it."""

import json

import pytest

from minialex.errors import DeviceError
from minialex.kernels.cuda.inspection.compile import choose_compiler
from minialex.kernels.cuda.inspection.disassemble import find_disassembler


@pytest.fixture(scope="module", autouse=True)
def _tools():
    try:
        choose_compiler()
        find_disassembler()
    except DeviceError as error:
        pytest.skip(str(error))


def test_one_operation(minialex):
    done = minialex("kernels", "inspect", "relu", "--arch", "sm_90")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("compiled by nv")
    (row,) = (line.split() for line in lines if line.startswith("relu_forward"))
    registers, spilled, stack, shared, threads = map(int, row[1:6])
    assert 8 <= registers <= 32
    assert (spilled, stack, shared, threads, row[6]) == (0, 0, 0, 256, "100%,")
    assert lines[-1] == "3 compiled kernels; spilling: none"


def test_json(minialex):
    done = minialex("kernels", "inspect", "relu_forward", "--arch", "sm_80", "--real", "float64", "--json")
    (found,) = json.loads(done.stdout)
    assert (found["kernel"], found["architecture"], found["real"]) == ("relu_forward", "sm_80", "float64")
    assert found["loop"]["loads"] == {"global 8 B": found["loop"]["stores"]["global 8 B"]}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("nothing",), "no CUDA kernel, file or operation 'nothing'; files: "),
        (("relu", "--arch", "sm_99"), "architecture 'sm_99' is unknown; there are: sm_75"),
        (("--gpu", "Voodoo"), "no datasheet of a GPU 'Voodoo'; there are: T4"),
        (("relu", "--write-budgets"), "--write-budgets is for all kernels"),
    ],
)
def test_refused(assert_refused, arguments, says):
    assert_refused("kernels", "inspect", *arguments, says=says)
