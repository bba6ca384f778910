"""`check_vjp` passes every right gradient of the suite of foreign functions, and refuses every wrong one.

The right gradients, written by hand, are held to differentiation by machines: JAX differentiates the source
of the NumPy functions, and PyTorch and JAX their own.
"""

import sys
import types
import warnings
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import minialex as ma

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

from gradcheck_of_others import report as table_of
from gradient_checkers import jax_, pytorch
from gradients_of_others import functions
from gradients_of_others.case import negated

FUNCTIONS = {f.name: f for f in functions()}
OF_NUMPY = [name for name, f in FUNCTIONS.items() if f.library == "NumPy"]
OF_OTHERS = [name for name, f in FUNCTIONS.items() if f.library != "NumPy"]

INEXACT_IN_JAX = {("sinc", "1e-08")}
"""Where JAX's own derivative loses its digits."""

CONVENTIONS = {("relu", "0 among others"), ("abs", "0 among others")}
"""Where there is no derivative, and JAX takes another of the slopes."""


# The suite


def test_no_two_functions_share_a_name():
    assert len(FUNCTIONS) == len(functions())


def test_half_of_the_gradients_are_wrong_or_more():
    cases = [case for name in OF_NUMPY for case in FUNCTIONS[name].cases()]
    assert len(OF_NUMPY) >= 150
    assert 2 * sum(not case.right for case in cases) >= len(cases)


def test_scales_reach_from_1e_8_to_1e8():
    sizes = Counter()
    for name in OF_NUMPY:
        for inputs in FUNCTIONS[name].at.values():
            for a in inputs:
                magnitude = np.median(np.abs(a)) if a.dtype.kind == "f" else 0
                if 0 < magnitude < np.inf:
                    sizes[round(np.log10(magnitude))] += 1
    assert all(sizes[power] >= 5 for power in (-8, -6, -4, -3, 0, 3, 4, 6, 8))


def jacobians(case, vjp) -> dict[int, np.ndarray]:
    """What a vjp gives for each unit upstream gradient: a matrix (outputs, elements) for each input."""
    y = case.forward(*case.inputs)
    parts = [np.asarray(part) for part in (y if isinstance(y, tuple) else (y,))]
    rows = {i: [] for i in case.differentiated()}
    for k, part in enumerate(parts):
        for j in range(part.size):
            upstream = [np.zeros_like(each) for each in parts]
            upstream[k].flat[j] = 1
            gradients = vjp(tuple(upstream) if isinstance(y, tuple) else upstream[0], *case.inputs)
            for i, of_input in rows.items():
                of_input.append(np.ravel(gradients[i]))
    return {i: np.array(of_input) for i, of_input in rows.items()}


def assert_same(actual, expected, rtol):
    """Equal but for rounding: a derivative may be a difference of the larger ones in its row or column."""
    rounding = 1e-11 * np.abs(expected).max(axis=1, keepdims=True, initial=0)
    rounding = rounding + 1e-14 * np.abs(expected).max(axis=0, keepdims=True, initial=0)
    assert np.all(np.abs(actual - expected) <= rtol * np.abs(expected) + rounding)


@pytest.mark.parametrize("name", FUNCTIONS)
@np.errstate(all="ignore")
def test_wrong_gradients_differ_from_the_right_one(name):
    for case in FUNCTIONS[name].cases():
        if case.right or "upstream" in case.gradient:
            continue
        right, wrong = jacobians(case, case.function.vjp), jacobians(case, case.vjp)
        difference = max(
            np.max(np.abs(wrong[i] - right[i]) / np.maximum(np.abs(right[i]), 1e-300)) for i in right
        )
        assert difference > 3e-9, case.name


# What is right


def in_jax(function, jax):
    """A function of NumPy's, from the same source, as one of JAX's."""

    def replaced(value):
        if isinstance(value, np.ufunc):
            return in_jax(value, jax)
        if isinstance(value, types.FunctionType) and value.__module__.split(".")[0] in (
            "gradients_of_others",
            "numpy",
        ):
            return in_jax(value, jax)
        return value

    if not isinstance(function, types.FunctionType) or function.__module__.startswith("numpy"):
        name = {"psi": "digamma"}.get(function.__name__, function.__name__)
        spaces = jax.numpy, jax.numpy.linalg, jax.scipy.special
        return next(getattr(space, name) for space in spaces if hasattr(space, name))
    used = {
        name: function.__globals__[name] for name in names(function.__code__) & function.__globals__.keys()
    }
    scope = {name: replaced(value) for name, value in used.items()}
    scope |= {"np": jax.numpy, "special": jax.scipy.special}
    closure = function.__closure__ and tuple(
        types.CellType(replaced(cell.cell_contents)) for cell in function.__closure__
    )
    return types.FunctionType(function.__code__, scope, function.__name__, function.__defaults__, closure)


def names(code) -> set[str]:
    """The global names that a function uses, those of functions inside it included."""
    inner = [names(constant) for constant in code.co_consts if isinstance(constant, types.CodeType)]
    return set(code.co_names).union(*inner)


@pytest.mark.full
@pytest.mark.parametrize("name", OF_NUMPY)
@np.errstate(all="ignore")
def test_right_gradients_are_those_that_jax_finds(name):
    jax = pytest.importorskip("jax")
    with warnings.catch_warnings(), jax.enable_x64(True):
        warnings.simplefilter("ignore")
        twin = in_jax(FUNCTIONS[name].forward, jax)
        for case in FUNCTIONS[name].cases():
            if not case.right or (name, case.where) in INEXACT_IN_JAX | CONVENTIONS:
                continue
            wrt = case.differentiated()
            found = jax.jacrev(twin, argnums=wrt)(*map(jax.numpy.asarray, case.inputs))
            parts = found if isinstance(found[0], tuple) else (found,)
            for n, (i, actual) in enumerate(jacobians(case, case.vjp).items()):
                size = case.inputs[i].size
                expected = np.concatenate([np.asarray(part[n]).reshape(-1, size) for part in parts])
                assert_same(actual, expected, rtol=1e-6)


def test_the_slope_of_sinc_near_0_is_that_of_its_series():
    (x,) = FUNCTIONS["sinc"].at["1e-08"]
    (slope,) = FUNCTIONS["sinc"].vjp(np.ones(x.shape), x)
    np.testing.assert_allclose(slope, -(np.pi**2) * x / 3, rtol=1e-12)


@pytest.mark.full
@pytest.mark.parametrize("name", OF_OTHERS)
def test_right_gradients_are_those_of_the_library_itself(name):
    function = FUNCTIONS[name]
    for case in function.cases():
        if case.vjp is function.own:
            expected = jacobians(case, case.vjp)
            for i, actual in jacobians(case, function.vjp).items():
                assert_same(actual, expected[i], rtol=1e-6)


# The verdicts

OF_EITHER = [*OF_NUMPY, *(pytest.param(name, marks=pytest.mark.full) for name in OF_OTHERS)]


@pytest.mark.parametrize("name", OF_EITHER)
def test_right_ones_pass_and_wrong_ones_are_refused(name):
    mistaken = {}
    for case in FUNCTIONS[name].cases():
        try:
            report = ma.check_vjp(case.forward, case.vjp, case.inputs, wrt=case.wrt)
        except ma.GradcheckError as error:
            # What was not compared is not what was found to be wrong.
            if case.right or error.check in ("kinks", "nothing compared"):
                mistaken[case.name] = str(error)
        else:
            if not case.right or not report.compared:
                mistaken[case.name] = str(report)
    assert not mistaken


# The table


def test_the_table_names_the_points_at_which_a_checker_errs():
    chosen = list(FUNCTIONS["1 / x"].cases())
    true = ["" if case.right else "values" for case in chosen]
    refuses_one = [
        "kinks" if case.right and case.where == "1e-08" else v for case, v in zip(chosen, true, strict=True)
    ]
    passes_signs = ["" if case.gradient == "the sign" else v for case, v in zip(chosen, true, strict=True)]
    lines = table_of(chosen, {"A": true, "B": refuses_one, "C": passes_signs})
    points = "1e-08, 1e-06, 0.001, 1, 1e+08"
    assert "| right gradients refused, of 5 | 0 | 1 | 0 |" in lines
    assert "| wrong gradients passed, of 10 | 0 | 0 | 5 |" in lines
    assert f"| 1 / x | NumPy | right | {points} |  | refused at 1e-08 |  |" in lines
    assert f"| 1 / x | NumPy | the sign | {points} |  |  | **passed** at {points} |" in lines


@pytest.mark.full
@pytest.mark.parametrize("name", ["x^3", "sin and cos", "rows of a table", "F.mse_loss", "jnp.matmul"])
@pytest.mark.parametrize(("package", "check"), [("torch", pytorch), ("jax", jax_)], ids=["PyTorch", "JAX"])
def test_peers_see_the_functions_as_they_are(name, package, check):
    pytest.importorskip(package)
    if name not in FUNCTIONS:
        pytest.skip(f"could not import '{'torch' if name.startswith('F.') else 'jax'}'")
    at_one = [case for case in FUNCTIONS[name].cases() if case.where == "1"]
    right = [case for case in at_one if case.right]
    assert [check(case) for case in right] == [""] * len(right)
    wrong = replace(right[0], vjp=negated().of(right[0].vjp), right=False)
    assert check(wrong) in ("GradcheckError", "AssertionError")
