"""`gradcheck` on functions and arrays of other libraries: refused, and told which check to call."""

import functools
import subprocess
import sys

import numpy as np
import pytest

import minialex as ma
from minialex.errors import MiniAlexError


def tensor():
    return ma.Tensor(np.array([0.5, -1.0, 2.0]), requires_grad=True)


def torch_objects(torch):
    class Mine(torch.nn.Module):
        def forward(self, x):
            return x

    class Square(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x**2

    return {
        "a module": torch.nn.Tanh(),
        "a module's subclass": Mine(),
        "a method of a module": Mine().forward,
        "a Function": Square,
        "its apply": Square.apply,
        "compiled": torch.tanh,
        "functional": torch.nn.functional.gelu,
        "partial": functools.partial(torch.sum, dim=0),
    }


def jax_objects(jax):
    return {
        "a function": jax.numpy.tanh,
        "jit": jax.jit(lambda x: x),
        "custom_vjp": jax.custom_vjp(lambda x: x),
        "partial": functools.partial(jax.nn.softmax, axis=0),
    }


LIBRARIES = [("torch", torch_objects, "check_torch"), ("jax", jax_objects, "check_jax")]
CHECKS = [ma.gradcheck, ma.gradgradcheck]


@pytest.mark.full
@pytest.mark.parametrize(("library", "objects", "check"), LIBRARIES, ids=["torch", "jax"])
@pytest.mark.parametrize("gradcheck", CHECKS, ids=["gradcheck", "gradgradcheck"])
def test_functions_of_other_libraries_are_refused(library, objects, check, gradcheck):
    for fn in objects(pytest.importorskip(library)).values():
        with pytest.raises(MiniAlexError, match=rf"fn is .* of .*call ma\.{check}$"):
            gradcheck(fn, tensor())


@pytest.mark.full
@pytest.mark.parametrize("gradcheck", CHECKS, ids=["gradcheck", "gradgradcheck"])
def test_arrays_of_other_libraries_are_refused(gradcheck):
    torch, jax = pytest.importorskip("torch"), pytest.importorskip("jax")
    for array, check in (
        (torch.ones(3, requires_grad=True), "check_torch"),
        (torch.nn.Parameter(torch.ones(3)), "check_torch"),
        (jax.numpy.ones(3), "check_jax"),
    ):
        with pytest.raises(MiniAlexError, match=rf"inputs is a .* call ma\.{check}$"):
            gradcheck(lambda x: x, array)
        with pytest.raises(MiniAlexError, match=rf"input 1 is a .* call ma\.{check}$"):
            gradcheck(lambda x, y: x, [tensor(), array])


@pytest.mark.full
@pytest.mark.parametrize("gradcheck", CHECKS, ids=["gradcheck", "gradgradcheck"])
def test_results_of_other_libraries_are_refused(gradcheck):
    torch, jax = pytest.importorskip("torch"), pytest.importorskip("jax")
    for fn, check in (
        (lambda x: torch.tanh(torch.tensor(x.numpy())), "check_torch"),
        (lambda x: (x, torch.tensor(x.numpy())), "check_torch"),
        (lambda x: jax.numpy.tanh(x.numpy()), "check_jax"),
    ):
        with pytest.raises(
            ma.GradcheckError, match=rf"its own gradient would not be checked; call ma\.{check}"
        ) as caught:
            gradcheck(fn, tensor())
        assert caught.value.check == "result"


class TorchLike:
    """A name that only looks like the library's."""

    __module__ = "torch_like.functions"

    def __call__(self, x):
        return x * x


def test_other_names_are_not_taken_for_a_library():
    assert ma.gradcheck(TorchLike(), tensor()).compared > 0
    assert ma.gradcheck(functools.partial(lambda n, x: x**n, 2), tensor()).compared > 0


def test_nothing_of_the_others_is_imported():
    code = (
        "import sys, numpy as np, minialex as ma, minialex.checking\n"
        "ma.check_torch, ma.check_jax\n"
        "x = ma.Tensor(np.ones(2), requires_grad=True)\n"
        "ma.gradcheck(lambda x: x * x, x)\n"
        "assert not {'torch', 'jax', 'jaxlib'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=300)


def test_a_library_that_is_not_installed_is_named(monkeypatch):
    for name, check in (("torch", ma.check_torch), ("jax", ma.check_jax)):
        monkeypatch.setitem(sys.modules, name, None)
        with pytest.raises(MiniAlexError, match=f"{check.__name__} needs .*, which cannot be imported"):
            check(abs, [np.ones(2)])
