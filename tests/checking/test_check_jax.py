"""`check_jax`: right and wrong gradients of functions, `custom_vjp` and jitted ones, and how each is told.

The kinds of mistake are those that people reported of `jax.test_util.check_grads` and `jax.custom_vjp`: the
numbers in brackets are issues of jax-ml/jax.
"""

import functools
import pickle
import re

import numpy as np
import pytest

import minialex as ma
from minialex.checking import constraints
from minialex.checking.adapters.jax_traces import Traced
from minialex.errors import MiniAlexError

jax = pytest.importorskip("jax")
jnp = jax.numpy

pytestmark = pytest.mark.full


def normal(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).standard_normal(shape)


def derivatives(report):
    """How many derivatives were compared, those that are 0 on both sides included."""
    return report.compared + report.zeros


def failure(function, inputs, **options):
    with pytest.raises(ma.GradcheckError) as caught:
        ma.check_jax(function, inputs, **options)
    return caught.value


def custom(function, fwd, bwd, **options):
    made = jax.custom_vjp(function, **options)
    made.defvjp(fwd, bwd)
    return made


def scaled_square(factor=1.0):
    return custom(lambda x: x**2, lambda x: (x**2, x), lambda x, u: (2 * factor * u * x,))


# Functions and arguments


@pytest.mark.parametrize(
    "function",
    [jnp.tanh, jax.jit(jnp.tanh), functools.partial(jnp.tanh), jax.vmap(jnp.tanh), jax.checkpoint(jnp.tanh)],
    ids=["plain", "jit", "partial", "vmap", "checkpoint"],
)
@pytest.mark.parametrize("array", [np.asarray, jnp.asarray], ids=["NumPy", "JAX"])
def test_functions_of_one_array(function, array):
    report = ma.check_jax(function, array(normal(3, 4)))
    assert derivatives(report) == 12 * 12
    assert report.dtype == "float64"
    assert report.worst_error < 1e-9


def test_a_custom_vjp_that_is_right_and_one_that_is_wrong():
    for wrapped in (lambda f: f, jax.jit):
        assert derivatives(ma.check_jax(wrapped(scaled_square()), normal(4))) == 16
        error = failure(wrapped(scaled_square(1.001)), normal(4))
        assert (error.check, error.wrong) == ("values", 4)
        assert error.pattern == "a constant factor of 1.001"
        assert "the gradient of inputs[0] is wrong" in str(error)


def test_names_of_functions():
    assert ma.check_jax(jnp.sin, normal(2)).name == "sin"
    assert ma.check_jax(functools.partial(jnp.sum, axis=0), normal(2)).name == "sum"
    assert ma.check_jax(jnp.sin, normal(2), name="mine").name == "mine"


def test_pytrees_are_differentiated_and_named():
    def network(params, batch):
        for layer in params["layers"]:
            batch = (jnp.tanh(batch[0] @ layer["w"] + layer["b"]), batch[1])
        return batch[0] * batch[1]

    params = {"layers": [{"w": normal(3, 2), "b": normal(2)}, {"w": normal(2, 2), "b": normal(2, seed=1)}]}
    batch = (normal(2, 3), np.float64(0.5))
    report = ma.check_jax(network, [params, batch])
    assert [each.input for each in report.inputs] == list(range(6))

    def wrong(params, batch):
        last = params["layers"][1]
        stopped = {"w": last["w"], "b": jax.lax.stop_gradient(last["b"])}
        return network({"layers": [params["layers"][0], stopped]}, batch)

    error = failure(wrong, [params, batch])
    assert "the gradient of inputs[0]['layers'][1]['b'] is wrong" in str(error)
    assert error.pattern == "all zero"
    # A dict is one argument.
    assert (
        derivatives(ma.check_jax(lambda p: p["a"] * p["b"], {"a": normal(3), "b": normal(3, seed=1)})) == 18
    )


def test_registered_nodes_are_pytrees():
    @jax.tree_util.register_pytree_with_keys_class
    class Pair:
        def __init__(self, a, b):
            self.a, self.b = a, b

        def tree_flatten_with_keys(self):
            key = jax.tree_util.GetAttrKey
            return ((key("a"), self.a), (key("b"), self.b)), None

        @classmethod
        def tree_unflatten(cls, _, children):
            return cls(*children)

    pair = Pair(normal(3), normal(3, seed=1))
    assert derivatives(ma.check_jax(lambda p: Pair(p.a * p.b, p.a), [pair])) == 3 * 6 * 2
    error = failure(lambda p: p.a * jax.lax.stop_gradient(p.b), [pair])
    assert "the gradient of inputs[0].b is wrong" in str(error)


def test_integers_and_python_numbers_are_passed_on():
    seen = []

    def function(x, index, power, flag, nothing):
        seen.append((type(power), flag, nothing))
        return x[index] ** power

    report = ma.check_jax(function, [normal(4), np.array([0, 2, 0]), 3, True, None])
    assert derivatives(report) == 3 * 4
    assert set(seen) == {(int, True, None)}
    static = jax.jit(lambda x, mode: {"sin": jnp.sin, "cos": jnp.cos}[mode](x), static_argnums=1)
    assert derivatives(ma.check_jax(static, [normal(3), "sin"])) == 9
    key = jax.random.key(0)
    assert (
        derivatives(ma.check_jax(lambda key, x: x * jax.random.normal(key, x.shape), [key, normal(3)])) == 9
    )


def test_an_integer_argument_of_a_custom_vjp():
    # bwd gives None, or float0, for what has no tangent.
    def make(gradient):
        return custom(lambda x, i: x[i], lambda x, i: (x[i], (x, i)), gradient)

    for nothing in (lambda i: None, lambda i: np.zeros(i.shape, jax.dtypes.float0)):
        right = make(lambda r, u, n=nothing: (jnp.zeros_like(r[0]).at[r[1]].add(u), n(r[1])))
        assert derivatives(ma.check_jax(right, [normal(4), jnp.array([0, 2, 0])])) == 12
    # .set() where indices repeat.
    wrong = make(lambda r, u: (jnp.zeros_like(r[0]).at[r[1]].set(u), None))
    assert failure(wrong, [normal(4), jnp.array([0, 2, 0])]).check == "values"


def test_nondiff_argnums():
    # [1366, 20889] functions and numbers among the arguments.
    def make(factor):
        return custom(
            lambda f, x, n: f(x) ** n,
            lambda f, x, n: (f(x) ** n, x),
            lambda f, n, x, u: (factor * jax.vjp(lambda x: f(x) ** n, x)[1](u)[0],),
            nondiff_argnums=(0, 2),
        )

    assert derivatives(ma.check_jax(make(1.0), [jnp.cos, normal(3), 2])) == 9
    # An array there is no argument to differentiate.
    assert derivatives(ma.check_jax(make(1.0), [jnp.cos, normal(3), np.float64(2)])) == 9
    error = failure(make(2.0), [jnp.cos, normal(3), 2])
    assert "the gradient of inputs[1] is wrong" in str(error)
    assert error.pattern == "a constant factor of 2"


def test_custom_jvp_and_forward_only_rules():
    @jax.custom_jvp
    def cube(x):
        return x**3

    cube.defjvp(lambda primals, tangents: (primals[0] ** 3, 3.003 * primals[0] ** 2 * tangents[0]))
    assert failure(cube, normal(3)).pattern == "a constant factor of 1.001"


def test_argnums():
    def function(x, y):
        return x * jax.lax.stop_gradient(y)

    x, y = normal(3), normal(3, seed=1)
    for argnums in (0, [0], (-2,)):
        assert derivatives(ma.check_jax(function, [x, y], argnums=argnums)) == 9
    assert failure(function, [x, y]).input == 1
    assert "inputs[1]" in str(failure(function, [x, y], argnums=1))


def test_arguments_by_name():
    def affine(x, *, weight, bias):
        return x * weight + bias

    kwargs = {"weight": normal(3, seed=1), "bias": 2}
    assert derivatives(ma.check_jax(affine, [normal(3)], kwargs=kwargs)) == 18
    assert derivatives(ma.check_jax(affine, [normal(3)], kwargs=kwargs, argnums=0)) == 9
    stopped = lambda x, weight, bias: affine(x, weight=jax.lax.stop_gradient(weight), bias=bias)  # noqa: E731
    assert "kwargs['weight']" in str(failure(stopped, [normal(3)], kwargs=kwargs))


# dtype


def test_64_bits_are_enabled_while_the_check_runs():
    assert not jax.config.jax_enable_x64
    seen = set()

    def function(x, constant):
        seen.update({x.dtype.name, constant.dtype.name})
        assert isinstance(constant, jax.Array)
        return jax.lax.mul(x, constant)

    # As JAX has them by default: of float32.
    x, constant = jnp.asarray(normal(3)), jnp.asarray(normal(3, seed=1))
    assert (x.dtype, constant.dtype) == ("float32", "float32")
    assert ma.check_jax(function, [x, constant], argnums=0).dtype == "float64"
    assert seen == {"float64"}
    assert not jax.config.jax_enable_x64
    assert jnp.ones(1).dtype == "float32"
    with pytest.raises(ma.GradcheckError):
        ma.check_jax(scaled_square(2.0), x)
    assert not jax.config.jax_enable_x64


def test_float32_on_request():
    seen = set()

    def function(x):
        seen.add(x.dtype.name)
        return jnp.sin(x)

    report = ma.check_jax(function, normal(3), dtype="float32")
    assert report.weak
    assert seen == {"float32"}


def test_coarse_inputs():
    # [7742] the step of check_grads vanishes beside float16 and bfloat16.
    for dtype in (jnp.float16, jnp.bfloat16):
        assert derivatives(ma.check_jax(jnp.sin, jnp.asarray(normal(3), dtype))) == 9


def test_float32_inside_is_found():
    narrow = custom(
        lambda x: x**3,
        lambda x: (x**3, x),
        lambda x, u: ((3 * x.astype("float32") ** 2).astype(x.dtype) * u,),
    )
    assert failure(narrow, normal(3)).check == "values"
    error = failure(lambda x: {"a": x, "b": x.astype("float32")}, normal(3))
    assert error.check == "dtype"
    assert "result['b'] is float32 for inputs of float64" in str(error)


# Results


def test_several_results():
    x = normal(2, 3)
    for function in (
        lambda x: (jnp.sin(x), x.sum(0)),
        lambda x: [jnp.sin(x), x.sum(0)],
        lambda x: {"sin": jnp.sin(x), "sum": x.sum(0), "none": None},
    ):
        assert derivatives(ma.check_jax(function, x)) == (6 + 3) * 6
    assert failure(lambda x: (x, jax.lax.stop_gradient(x)), x).analytic == 0.0


def test_integer_results_are_ignored_and_said_so():
    report = ma.check_jax(lambda x: (x.max(), x.argmax(), True), normal(4))
    assert derivatives(report) == 4
    assert report.notes[0].startswith("result[1] is int")
    assert report.notes[1:] == ("result[2] is bool and has no gradient",)
    assert str(report).endswith("result[2] is bool and has no gradient")


def test_a_fwd_that_gives_another_result():
    other = custom(lambda x: x**2, lambda x: (x**2 + 1e-3, x), lambda x, u: (2 * u * x,))
    error = failure(other, normal(3))
    assert error.check == "values"
    assert "the result is different where it is differentiated (its fwd)" in str(error)


@pytest.mark.parametrize("wrong", [False, True])
def test_each_result_and_each_input_alone(wrong):
    # With symbolic zeros, fwd and bwd are told what is not asked for.
    def fwd(a, b):
        return (a.value + b.value, a.value * b.value), (a.value, b.value, a.perturbed and b.perturbed)

    def bwd(residuals, u):
        a, b, both = residuals
        zeros = [isinstance(each, jax.custom_derivatives.SymbolicZero) for each in u]
        s, p = (jnp.zeros_like(a) if zero else each for each, zero in zip(u, zeros, strict=True))
        if wrong == "results" and zeros[0]:
            p = 2 * p
        if wrong == "inputs" and not both:
            a, b = b, a
        return s + p * b, s + p * a

    def make():
        made = jax.custom_vjp(lambda a, b: (a + b, a * b))
        made.defvjp(fwd, bwd, symbolic_zeros=True)
        return made

    inputs = [normal(3), normal(3, seed=1)]
    if not wrong:
        assert derivatives(ma.check_jax(make(), inputs)) == 6 * 6
        return
    wrong = "results"
    assert "where only result[1] is used" in str(failure(make(), inputs))
    wrong = "inputs"
    assert "where only inputs[0] is differentiated" in str(failure(make(), inputs))


# The second order


def test_second_order():
    x = normal(3, 2)
    report = ma.check_jax(jnp.tanh, x, order=2)
    assert report.name == "gradient of tanh"
    assert derivatives(report) == 6 * (6 + 6)
    assert re.match(r"first order: \d+ derivatives agree to", report.notes[-1])
    assert derivatives(ma.check_jax(scaled_square(), normal(3), order=2)) == 18
    report = ma.check_jax(
        jax.jit(lambda p: (p["a"] ** 3, p["n"])), {"a": normal(2), "n": np.int32(2)}, order=2
    )
    assert report.notes[0] == "result[1] is int32 and has no gradient"


def test_second_order_checks_the_first():
    assert failure(scaled_square(1.001), normal(3), order=2).operation.startswith("scaled_square")


def test_a_wrong_second_gradient():
    slope = custom(
        lambda x, u: 2 * x * u,
        lambda x, u: (2 * x * u, (x, u)),
        lambda r, v: (2 * r[1] * v, 2.002 * r[0] * v),
    )
    square = custom(lambda x: x**2, lambda x: (x**2, x), lambda x, u: (slope(x, u),))
    assert derivatives(ma.check_jax(square, normal(3))) == 9
    error = failure(square, normal(3), order=2)
    assert "the gradient of the upstream gradient of result is wrong" in str(error)
    assert error.pattern == "a constant factor of 1.001"


def test_a_backward_that_cannot_be_differentiated():
    def bwd(x, u):
        shape = jax.ShapeDtypeStruct(x.shape, x.dtype)
        return (jax.pure_callback(lambda x, u: np.asarray(2 * x * u), shape, x, u),)

    called = custom(lambda x: x**2, lambda x: (x**2, x), bwd)
    assert derivatives(ma.check_jax(called, normal(3))) == 9
    error = failure(called, normal(3), order=2)
    assert error.check == "raises"
    assert "differentiating its gradient raises" in str(error)


# What is refused


@pytest.mark.parametrize(
    ("function", "check", "says"),
    [
        (lambda x: "text", "result", "what it returns is 'text': return arrays"),
        (lambda x: (x, "text"), "result", r"result\[1\] is 'text'"),
        (lambda x: None, "result", "returns no floating-point array"),
        (lambda x: x.argmax(), "result", "returns no floating-point array"),
        (lambda x: x + 1j, "result", "what it returns is complex128: return its real"),
        (lambda x: np.tanh(np.asarray(x)), "raises", "its backward raises TracerArrayConversionError"),
        (lambda x: x.nothing(), "raises", "the function raises AttributeError"),
        (
            custom(lambda x: x, lambda x: (x, None), lambda r, u: (u, u)),
            "raises",
            "its backward raises TypeError",
        ),
        (custom(lambda x: x, lambda x: (x, None), lambda r, u: (u[:1],)), "raises", "its backward raises"),
    ],
    ids=["text", "a text", "None", "argmax", "complex", "NumPy", "raises", "two gradients", "shape"],
)
def test_results_that_cannot_be_checked(function, check, says):
    error = failure(function, normal(3))
    assert error.check == check
    assert re.search(says, str(error))
    # The messages of JAX are long.
    assert len(error.summary) < 700


@pytest.mark.parametrize(
    ("inputs", "options", "says"),
    [
        ([3, 2.0, None], {}, "there is nothing to differentiate.*Python's numbers"),
        ([np.arange(3)], {}, "there is nothing to differentiate"),
        ([normal(3) + 1j], {}, r"inputs\[0\] is complex128: complex inputs cannot be checked"),
        (7, {}, "inputs must be an array, or a list.*, not 7"),
        ([normal(3)], {"kwargs": [1]}, r"kwargs must be a dict.*, not \[1\]"),
        ([normal(3)], {"argnums": 1}, "argnums must be the position of one of the 1 arguments.*, not 1"),
        ([normal(3)], {"argnums": []}, r"argnums must be the position.*, not \[\]"),
        ([normal(3)], {"argnums": "x"}, "argnums must be the position.*, not 'x'"),
        ([normal(3)], {"order": 0}, "order must be 1.*, not 0"),
        ([normal(3)], {"wrt": [0]}, "wrt is not an option of check_jax: argnums says"),
        ([normal(3)], {"branches": len}, "branches is not an option of check_jax"),
        ([normal(3)], {"method": "complex"}, 'method="complex" is not for check_jax'),
        ([normal(3)], {"dtype": jnp.bfloat16}, "cannot be checked"),
        ([normal(3)], {"mode": "full"}, "mode must be .*, not 'full'"),
    ],
    ids=lambda value: None if isinstance(value, list) else str(value)[:20],
)
def test_arguments_that_cannot_be_checked(inputs, options, says):
    with pytest.raises(MiniAlexError, match=says) as caught:
        ma.check_jax(jnp.sin, inputs, **options)
    assert not isinstance(caught.value, ma.GradcheckError)


def test_complex_arrays_may_be_constants():
    phase = np.exp(1j * np.arange(3))
    assert derivatives(ma.check_jax(lambda x, p: jnp.real(x * p), [normal(3), phase], argnums=0)) == 9


# Options, reports and messages


def test_options_are_passed_on():
    report = ma.check_jax(jnp.sin, normal(6), mode="directions", directions=3, seed=4)
    assert (report.mode, report.directions, report.seed) == ("directions", 3, 4)


def test_nothing_compared_is_no_pass():
    assert failure(lambda x: 0 * x + 1, normal(2)).check == "nothing compared"
    assert ma.check_jax(lambda x: 0 * x + 1, normal(2), min_compared=0).compared == 0


def test_constraints_are_given_for_each_argument():
    a = normal(3, 3)
    a = a @ a.T + np.eye(3)
    inputs = [{"a": (a + a.T) / 2}, 2, np.array([1e-3, 4.0])]
    given = [constraints.positive_definite, None, constraints.positive]

    def function(p, n, x):
        return jnp.linalg.cholesky(p["a"]) * n, jnp.log(x)

    for order in (1, 2):
        assert ma.check_jax(function, inputs, constraints=given, order=order).compared > 0
    stopped = lambda p, n, x: function(p, n, jax.lax.stop_gradient(x))  # noqa: E731
    error = failure(stopped, inputs, constraints=given)
    assert re.search(r"the gradient of inputs\[2\] is wrong along move \d of positive", str(error))


def test_each_point_has_its_own_gradient():
    # What was traced at one point is kept for the other upstream gradients of that point only.
    traced = Traced(lambda x: x**2, [normal(3)], {}, None, np.dtype(np.float64))
    traced.paths, traced.kept = ["result"], [0]
    u = normal(3, seed=1)
    for x in (normal(3), normal(3, seed=2), normal(3)):
        (gradient,) = traced.vjp(u, x)
        np.testing.assert_allclose(gradient, 2 * u * x, rtol=1e-15)


def test_redraw_gives_other_inputs():
    def redraw(generator):
        return [1 + generator.random(3), 2]

    report = ma.check_jax(lambda x, n: n * jnp.abs(x), [np.zeros(3), 2], redraw=redraw)
    assert report.redrawn == 1
    with pytest.raises(MiniAlexError, match="redraw must give as many arrays"):
        ma.check_jax(lambda x, n: n * jnp.abs(x), [np.zeros(3), 2], redraw=lambda g: [normal(4), 2])


def test_the_lines_of_a_failure_repeat_it():
    def wrong(params, x, n, *, mask):
        return jnp.tanh(x * params["w"][0] + jax.lax.stop_gradient(params["w"][1])) ** n * mask

    params = {"w": (jnp.asarray(normal(3)), normal(3, seed=1))}
    error = failure(wrong, [params, normal(2, 3), 3], kwargs={"mask": np.array([1, 0, 1])}, seed=2, argnums=0)
    with pytest.raises(ma.GradcheckError) as again:
        exec(error.reproduce, {"function": wrong})
    assert again.value.summary == error.summary
    assert (again.value.analytic, again.value.numeric) == (error.analytic, error.numeric)


def test_an_error_can_be_pickled():
    error = failure(scaled_square(2.0), normal(3))
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_the_fixture(gradcheck):
    assert derivatives(gradcheck.jax(jnp.sin, [normal(3)])) == 9
    with pytest.raises(ma.GradcheckError):
        gradcheck.jax(scaled_square(2.0), [normal(3)])
