"""`minialex gradcheck FILE.py::NAME`: the gradients of somebody's own file."""

import json

import pytest

FILE = """
import numpy as np

import beside
import minialex as ma

print("printed by the file")
x = np.array([0.5, -1.0, 2.0])


def cube(x):
    return x**3


def cube_vjp(u, x):
    return (3 * u * x**2,)


def cube_inputs():
    return [x]


def square(x):
    return x**2


def square_vjp(u, x):
    return (u * x * beside.TWO / 2,)


square_inputs = x


def tangent(x):
    return np.sin(x)


def tangent_vjp(u, x):
    return (u * np.cos(x),)


def tangent_jvp(tangents, x):
    return tangents[0] * np.cos(x)


tangent_inputs = x
tangent_options = {"wrt": [0], "seed": 7}


def softmax(t):
    return ma.functional.softmax(t)


softmax_inputs = (ma.Tensor(x, requires_grad=True),)
layer = ma.nn.Sequential(ma.nn.Linear(3, 2), ma.nn.Dropout(0.5))
layer_inputs = [ma.Tensor(x[None].astype("f4"), requires_grad=True)]
of_arrays = np.tanh
of_arrays_inputs = [x]
a_number = 3


def check_cube(seed, quick=None):
    return ma.check_vjp(cube, cube_vjp, [x], seed=seed)


def check_both():
    return [check_cube(1), check_cube(2)]


def helper(a):
    return a
"""
FAILING = """
import sys

import numpy as np

import minialex as ma

x = np.array([0.5, -1.0, 2.0])


def check_right():
    return ma.check_vjp(np.sin, lambda u, x: (u * np.cos(x),), [x])


def check_wrong():
    return ma.check_vjp(np.sin, lambda u, x: (u * np.sin(x),), [x])


def check_nothing():
    check_right()


def check_empty():
    return []


def check_bug():
    return 1 / 0


def check_leaves():
    sys.exit(0)


def check_assertion():
    assert x.sum() == 7, "seven <is> expected"
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    (folder / "mine.py").write_text(FILE)
    (folder / "beside.py").write_text("TWO = 2\n")
    (folder / "failing.py").write_text(FAILING)
    (folder / "broken.py").write_text("import no_such_module\n")
    (folder / "leaves.py").write_text("raise SystemExit(0)\n")
    (folder / "none.py").write_text("def helper(a):\n    return a\n")
    (folder / "text.txt").write_text("")
    return folder


def run(minialex, folder, *arguments):
    done = minialex("gradcheck", *arguments, "--json", cwd=folder)
    assert "Traceback" not in done.stderr
    return done.returncode, json.loads(done.stdout)


def test_the_functions_of_a_file(minialex, folder):
    code, answer = run(minialex, folder, "mine.py", "--seed", 5)
    assert code == 0
    assert answer["passed"] is True
    one, two = answer["rows"]
    assert (one["file"], one["name"]) == ("mine.py", "check_cube")
    # Three outputs by three inputs; the second function makes two such checks.
    assert one["compared"] + one["zeros"] == 9
    assert two["compared"] == 2 * one["compared"]
    assert len(two["reports"]) == 2


def test_any_object_that_has_inputs(minialex, folder):
    names = ("cube", "square", "softmax", "layer")
    code, answer = run(minialex, folder, *(f"mine.py::{name}" for name in names))
    assert code == 1
    assert [row["name"] for row in answer["rows"]] == list(names)
    assert [row["passed"] for row in answer["rows"]] == [True, False, True, True]
    assert "a constant factor of 0.5" in answer["rows"][1]["error"]
    assert {row["mode"] for row in answer["rows"] if row["passed"]} == {"jacobian"}
    # Two outputs by three inputs, six weights and two biases.
    assert answer["rows"][3]["compared"] + answer["rows"][3]["zeros"] == 2 * (3 + 6 + 2)


def test_both_modes_and_options(minialex, folder):
    code, answer = run(minialex, folder, "mine.py::tangent")
    assert code == 0
    reverse, forward = answer["rows"][0]["reports"]
    assert "tangent: 3 nonzero derivatives" in reverse
    assert forward != reverse
    # Three derivatives that are not 0, in each mode.
    assert answer["rows"][0]["compared"] == 6


def test_quick_and_seed_reach_the_checks(minialex, folder):
    done = minialex("gradcheck", "mine.py::square", "--quick", "--seed", 9, cwd=folder)
    assert "mode='directions'" in done.stdout
    assert "seed=9" in done.stdout
    done = minialex("gradcheck", "mine.py::check_both", "mine.py::check_cube", "--seed", 9, cwd=folder)
    assert done.stderr == "mine.py::check_both has no parameter for --seed: it checks as it is written\n"


def test_what_failed_and_why(minialex, folder):
    code, answer = run(minialex, folder, "failing.py")
    assert code == 1
    assert answer["passed"] is False
    rows = {row["name"]: row for row in answer["rows"]}
    assert [name for name, row in rows.items() if row["passed"]] == ["check_right"]
    assert [name for name, row in rows.items() if row["unchecked"]] == ["check_nothing", "check_empty"]
    assert "returns None" in rows["check_nothing"]["reason"]
    assert "to reproduce" in rows["check_wrong"]["error"]
    assert "ZeroDivisionError: division by zero" in rows["check_bug"]["error"]
    assert "failing.py:28, in check_bug: return 1 / 0" in rows["check_bug"]["error"]
    assert "SystemExit" in rows["check_leaves"]["error"]
    assert "seven <is> expected" in rows["check_assertion"]["error"]


def test_as_text(minialex, folder):
    done = minialex("gradcheck", "failing.py", cwd=folder)
    assert done.returncode == 1
    assert "failing.py::check_right  ok\n    sin: " in done.stdout
    assert "failing.py::check_wrong  WRONG: the gradient of input 0 is wrong\n" in done.stdout
    assert done.stdout.splitlines()[-1] == "1 passed, 4 failed, 2 unchecked"
    assert "Traceback" not in done.stdout + done.stderr


def test_names_that_are_not_there(assert_refused, folder):
    def refused(*arguments, says):
        assert_refused("gradcheck", *arguments, says=says, code=2, cwd=folder)

    listed = "cube, square, tangent, softmax, layer, of_arrays, check_cube, check_both"
    for name in ("nothing", "_", "cube.vjp"):
        refused(f"mine.py::{name}", says=(name, listed))
    refused("mine.py::helper", says=("takes a", "helper_inputs", "helper_vjp"))
    refused("mine.py::a_number", says=("type int", "a_number_inputs"))
    refused("mine.py::", says="FILE.py::NAME")
    refused("nowhere.py::x", says="'nowhere.py' is not a file")
    refused("text.txt", says=("text.txt", ".py"))
    refused("none.py", says=("check_", "none.py::NAME"))
    refused("mine.py", "--op", "relu", says=("--op", "mine.py"))


def test_files_that_do_not_run(assert_refused, folder):
    assert_refused(
        "gradcheck", "broken.py", says=("broken.py", "ModuleNotFoundError", "no_such_module"), cwd=folder
    )
    assert_refused("gradcheck", "leaves.py", says=("leaves.py", "SystemExit"), cwd=folder)


def test_functions_of_arrays_need_a_vjp(minialex, folder):
    code, answer = run(minialex, folder, "mine.py::of_arrays")
    assert code == 1
    assert "of_arrays_vjp" in answer["rows"][0]["error"]


TORCH = """
import torch

x = torch.tensor([[0.5, -1.0, 2.0]], requires_grad=True)
module = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.Tanh())
module_inputs = [x]


def function(x, scale):
    return (x * scale).sin()


def function_inputs():
    return {"x": x}["x"], 2.0


class Wrong(torch.autograd.Function):
    @staticmethod
    def forward(context, x):
        context.save_for_backward(x)
        return x.sin()

    @staticmethod
    def backward(context, g):
        (x,) = context.saved_tensors
        return g * x.sin()


Wrong_inputs = x
"""
JAX = """
import jax
import jax.numpy as jnp

w = jnp.array([[0.5, -1.0], [2.0, 0.25]])


def function(p, x):
    return jnp.tanh(x @ p["w"])


function_inputs = [{"w": w}, w[0]]


@jax.custom_vjp
def wrong(x):
    return jnp.sin(x)


wrong.defvjp(lambda x: (jnp.sin(x), x), lambda x, g: (g * jnp.sin(x),))
wrong_inputs = w
"""


@pytest.mark.parametrize(
    ("library", "source", "right", "wrong"),
    [("torch", TORCH, ["module", "function"], "Wrong"), ("jax", JAX, ["function"], "wrong")],
    ids=["torch", "jax"],
)
def test_objects_of_other_libraries(minialex, tmp_path, library, source, right, wrong):
    pytest.importorskip(library)
    (tmp_path / "theirs.py").write_text(source)
    code, answer = run(minialex, tmp_path, *(f"theirs.py::{name}" for name in [*right, wrong]))
    assert code == 1
    assert [row["passed"] for row in answer["rows"]] == [*(True for _ in right), False], answer
    assert f"ma.check_{library}(" in answer["rows"][-1]["error"]
    # In random directions, too.
    code, answer = run(minialex, tmp_path, f"theirs.py::{right[0]}", "--quick")
    assert code == 0
    assert answer["rows"][0]["mode"] == "directions"
