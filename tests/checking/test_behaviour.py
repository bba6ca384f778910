"""How functions behave: what they do to their arguments, which strides they fit, when they raise."""

import warnings

import numpy as np
import pytest

from minialex.checking import GradcheckError, check_vjp, constraints

X = np.random.default_rng(0).standard_normal((3, 4))
POSITIVE = np.abs(X) + 0.5


def failure(forward, vjp, *inputs, **options):
    with pytest.raises(GradcheckError) as caught:
        check_vjp(forward, vjp, list(inputs), **options)
    return caught.value


def cube(x):
    return x**3


def cube_vjp(u, x):
    return (3 * u * x**2,)


# What is changed


def test_a_backward_that_changes_its_upstream_gradient():
    def vjp(u, x):
        g = 3 * u * x**2
        u *= 0
        return (g,)

    assert failure(cube, vjp, X).check == "changed input"


def test_a_backward_that_changes_it_for_some_strides_only():
    def vjp(u, x):
        g = 3 * u * x**2
        if not u.flags.c_contiguous and u.flags.writeable:
            u[...] = 0
        return (g,)

    error = failure(cube, vjp, X)
    assert error.check == "changed input"
    assert "the upstream gradient with" in str(error)


# Which strides are read


def walk(array, strides):
    """The elements of a 2-dimensional array as somebody who has these strides finds them."""
    base = array
    while base.base is not None and isinstance(base.base, np.ndarray):
        base = base.base
    view = np.lib.stride_tricks.as_strided(array, array.shape, strides)
    return view.copy()


def test_the_upstream_gradient_read_with_the_strides_of_the_input():
    def vjp(u, x):
        # Only where that stays within its memory, and elsewhere as it lies.
        inside = u.base is None and all(s > 0 for s in x.strides) and max(x.strides) < u.nbytes // 2
        reach = sum((n - 1) * s for n, s in zip(x.shape, x.strides, strict=True)) + x.itemsize
        return (3 * (walk(u, x.strides) if inside and reach <= u.nbytes else u) * x**2,)

    error = failure(cube, vjp, X)
    assert error.check == "layout"


def test_an_upstream_gradient_that_is_assumed_to_be_contiguous():
    def vjp(u, x):
        return (3 * np.frombuffer(u.tobytes("A"), u.dtype).reshape(x.shape) * x**2,)

    error = failure(cube, vjp, X)
    assert error.check == "layout"
    assert "transposed upstream gradient" in str(error)


def test_a_broadcast_upstream_gradient_is_tried():
    def vjp(u, x):
        if 0 in u.strides:
            u = u * 2
        return (3 * u * x**2,)

    error = failure(cube, vjp, X)
    assert error.check == "layout"
    assert "broadcast" in str(error)


def test_negative_strides_are_tried_and_may_be_refused():
    def assumes(u, x):
        return (3 * (u[::-1] if u.strides[0] < 0 else u) * x**2,)

    def refuses(u, x):
        if min(u.strides + x.strides) < 0:
            raise ValueError("negative strides are not supported")
        return (3 * u * x**2,)

    error = failure(cube, assumes, X)
    assert (error.check, "backwards" in str(error)) == ("layout", True)
    assert check_vjp(cube, refuses, [X]).compared == X.size


# What raises


def test_outside_its_domain_a_function_may_raise():
    def root(x):
        if (x <= 0).any():
            raise ValueError("math domain error")
        return np.sqrt(x)

    x = np.array([1e-9, 1.0, 2.0])
    assert check_vjp(root, lambda u, x: (u / (2 * np.sqrt(x)),), [x]).compared == 3
    assert failure(root, lambda u, x: (u / np.sqrt(x),), x).check == "values"


def test_warnings_as_errors_are_no_hindrance():
    x = np.array([1e-9, 1.0, 2.0])

    def log(x):
        if (x < 0).any():
            warnings.warn("negative", RuntimeWarning, stacklevel=1)
        return np.log(x)

    with warnings.catch_warnings(), np.errstate(all="raise"):
        warnings.simplefilter("error")
        assert check_vjp(log, lambda u, x: (u / x,), [x]).compared == 3


def test_what_raises_at_the_inputs_is_reported():
    singular = np.ones((2, 2))
    error = failure(np.linalg.inv, lambda u, x: (u,), singular)
    assert error.check == "raises"
    assert "forward raises LinAlgError" in str(error)
    assert isinstance(error.__cause__, np.linalg.LinAlgError)

    def broken(u, x):
        raise RuntimeError("no kernel for this")

    error = failure(cube, broken, X)
    assert (error.check, "vjp raises RuntimeError: no kernel for this" in str(error)) == ("raises", True)


def test_what_raises_beside_the_inputs_at_every_step_is_reported_with_the_place():
    def only_there(x):
        if not np.array_equal(x, POSITIVE):
            raise np.linalg.LinAlgError("no convergence")
        return x**2

    calls = iter(range(100))

    def sometimes(x):
        return only_there(x)

    error = failure(sometimes, lambda u, x: (2 * u * x,), POSITIVE)
    assert next(calls) == 0
    assert error.check == "raises"
    assert "forward raises LinAlgError near the inputs, at every step: no convergence" in str(error)
    assert "input 0 at (" in str(error)


# How far results may differ


def test_nondeterminism_is_allowed_only_when_asked_for_and_told():
    noise = np.random.default_rng(0)

    def forward(x):
        return x**3

    def vjp(u, x):
        return (3 * u * x**2 + 1e-13 * noise.standard_normal(x.shape),)

    assert failure(forward, vjp, X).check == "not deterministic"
    assert failure(forward, vjp, X, nondeterminism=1e-16).check == "not deterministic"


# Where inputs may move


def test_positive_inputs_stay_positive():
    seen = []

    def log(x):
        seen.append(x.min())
        assert (x > 0).all()
        return np.log(x)

    x = np.array([1e-3, 0.5, 2.0])
    report = check_vjp(log, lambda u, x: (u / x,), [x], constraints=[constraints.positive])
    assert report.compared == 3
    assert min(seen) > 0


def test_symmetric_matrices_stay_symmetric():
    a = X[:, :3] @ X[:, :3].T + 3 * np.eye(3)

    def lower_only(a):
        """Reads one triangle, as LAPACK does."""
        return np.tril(a) + np.tril(a, -1).T

    def vjp(u, a):
        # All of it to the triangle that is read.
        return (np.tril(u) + np.triu(u, 1).T,)

    assert failure(lower_only, lambda u, a: (u,), a).check == "values"
    for right in (vjp, lambda u, a: (1.0 * u,)):
        report = check_vjp(lower_only, right, [a], constraints=[constraints.symmetric])
        assert report.compared > 0
    wrong = failure(lower_only, lambda u, a: (1.001 * u,), a, constraints=[constraints.symmetric])
    assert "along move" in str(wrong)


def test_a_constraint_that_does_not_hold_is_refused():
    from minialex.errors import MiniAlexError

    with pytest.raises(MiniAlexError, match="input 0 is not in positive"):
        check_vjp(np.log, lambda u, x: (u / x,), [np.array([1.0, 0.0])], constraints=[constraints.positive])
    with pytest.raises(MiniAlexError, match="constraints must be one constraint or None for each"):
        check_vjp(np.log, lambda u, x: (u / x,), [POSITIVE], constraints=[None, None])
