"""Forward mode: right and wrong Jacobian-vector products, and whether they agree with reverse mode."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minialex as ma
from minialex.checking import GradcheckError, constraints
from minialex.checking.gradients.dot_product import PAIRS, PAIRS_OF_EACH, compare_modes
from minialex.checking.gradients.jvp import COLUMN_LIMIT
from minialex.checking.gradients.tangents import Product
from minialex.errors import MiniAlexError

RANDOM = np.random.default_rng(3)
X = RANDOM.standard_normal((3, 4))
W = RANDOM.standard_normal((4, 2))


def tanh_jvp(v, x):
    return v[0] * (1 - np.tanh(x) ** 2)


def tanh_vjp(u, x):
    return (u * (1 - np.tanh(x) ** 2),)


def product_jvp(v, x, w):
    return v[0] @ w + x @ v[1]


def product_vjp(u, x, w):
    return u @ w.T, x.T @ u


# Three results of different shapes; the integers have no tangent.
INDEX = np.array([0, 3, 3])
VECTOR, OTHER = RANDOM.standard_normal(4), RANDOM.standard_normal(3)


def ragged(x, index, w):
    return x[index] * w.sum(), np.outer(x, w), np.array((x**3).sum())


def ragged_jvp(v, x, index, w):
    assert v[1] is None
    return (
        v[0][index] * w.sum() + x[index] * v[2].sum(),
        np.outer(v[0], w) + np.outer(x, v[2]),
        np.array((3 * x**2 * v[0]).sum()),
    )


def ragged_vjp(u, x, index, w):
    of_x = u[1] @ w + 3 * x**2 * u[2]
    np.add.at(of_x, index, u[0] * w.sum())
    return of_x, None, (u[0] * x[index]).sum() + u[1].T @ x


RAGGED = [VECTOR, INDEX, OTHER]


def failure(*arguments, **options) -> GradcheckError:
    with pytest.raises(GradcheckError) as caught:
        ma.check_jvp(*arguments, **options)
    return caught.value


# Right ones


def test_a_right_jvp_is_reported():
    report = ma.check_jvp(np.tanh, tanh_jvp, [X])
    assert (report.name, report.mode, report.compared, report.zeros) == ("tanh", "jacobian", 12, 132)
    assert report.dot_products is None
    assert 0 < report.worst_error <= report.tolerance < 1e-6


def test_both_modes_agree_to_the_last_bits():
    report = ma.check_jvp(np.matmul, product_jvp, [X, W], vjp=product_vjp)
    # 3 x 2 results: each depends on a row of x and a column of w.
    assert report.compared == 6 * 4 + 6 * 4
    assert report.dot_products.pairs == PAIRS + 2 * PAIRS_OF_EACH
    assert report.dot_products.error <= report.dot_products.tolerance < 1e-11
    assert f"<u, J v> and <vjp(u), v> of {report.dot_products.pairs} random pairs agree to" in str(report)


def test_several_results_and_integers():
    report = ma.check_jvp(ragged, ragged_jvp, RAGGED, vjp=ragged_vjp)
    assert report.compared == (3 + 3 * 3) + (12 + 12) + 4
    assert report.dot_products.pairs == PAIRS + 2 * PAIRS_OF_EACH


def test_wrt_leaves_out_tangents():
    def jvp(v, x, w):
        assert v[1] is None
        return v[0] @ w

    report = ma.check_jvp(np.matmul, jvp, [X, W], wrt=[0], vjp=lambda u, x, w: (u @ w.T, None))
    assert report.compared == 24


def test_float32_is_weak_and_says_so():
    report = ma.check_jvp(np.tanh, tanh_jvp, [X], vjp=tanh_vjp, dtype="float32")
    assert report.weak
    assert "float32 (a weak check)" in str(report)
    assert report.dot_products.tolerance > 1e-7
    wrong = {"vjp": lambda u, x: (np.float32(1.01) * tanh_vjp(u, x)[0],), "dtype": "float32"}
    assert failure(np.tanh, tanh_jvp, [X], **wrong).check == "dot product"


def test_a_tangent_passed_through_is_no_shared_memory():
    assert ma.check_jvp(lambda x: x + 1, lambda v, x: v[0], [X]).compared == 12


def test_a_constant_compares_nothing_unless_that_is_asked_for():
    def constant(x):
        return 0 * x

    assert failure(constant, lambda v, x: 0 * v[0], [X]).check == "nothing compared"
    report = ma.check_jvp(constant, lambda v, x: 0 * v[0], [X], vjp=lambda u, x: (0 * u,), min_compared=0)
    assert (report.compared, report.dot_products.error) == (0, 0)


def test_the_complex_step():
    report = ma.check_jvp(lambda x: x**3, lambda v, x: 3 * x**2 * v[0], [X], method="complex")
    assert report.worst_error < 1e-14


@pytest.mark.parametrize("shape", [(4, 6), (20, 30)], ids=str)
def test_rounding_in_the_function_is_no_behaviour_of_the_jvp(shape):
    # Where the terms cancel, J v is as good as the shares are, which round with x and not with the tangent.
    def shares(x):
        e = np.exp(x - x.max(axis=1, keepdims=True))
        return e / e.sum(axis=1, keepdims=True)

    def product(v, x):
        y = shares(x)
        return y * (v - (y * v).sum(axis=1, keepdims=True))

    for seed in range(6):
        x = 5 * np.random.default_rng(seed).standard_normal(shape)
        report = ma.check_jvp(
            shares, lambda v, x: product(v[0], x), [x], vjp=lambda u, x: (product(u, x),), seed=seed
        )
        assert report.dot_products.pairs == PAIRS


# Many elements


def cumulated(x):
    return np.tanh(x) * x.sum()


def cumulated_jvp(v, x):
    return v[0] * (1 - np.tanh(x) ** 2) * x.sum() + np.tanh(x) * v[0].sum()


def cumulated_vjp(u, x):
    return (u * (1 - np.tanh(x) ** 2) * x.sum() + u @ np.tanh(x),)


MANY = RANDOM.standard_normal(COLUMN_LIMIT + 2000)


def test_many_elements_move_along_a_few_directions():
    calls = 0

    def counted(v, x):
        nonlocal calls
        calls += 1
        return cumulated_jvp(v, x)

    report = ma.check_jvp(cumulated, counted, [MANY], vjp=cumulated_vjp, directions=5)
    assert (report.mode, report.directions, report.compared) == ("directions", 5, 5)
    assert "5 random directions (a quick check)" in str(report)
    assert calls < 300


@pytest.mark.parametrize(
    "wrong",
    [
        lambda v, x: cumulated_jvp(v, x) * 1.01,
        lambda v, x: v[0] * (1 - np.tanh(x) ** 2) * x.sum(),
        lambda v, x: cumulated_jvp(v, x) + 1,
        lambda v, x: cumulated_jvp((v[0] ** 2,), x),
        lambda v, x: cumulated_jvp((v[0][::-1],), x),
    ],
    ids=["factor", "missing term", "constant", "squared", "backwards"],
)
def test_what_is_wrong_for_many_elements_is_caught(wrong):
    assert failure(cumulated, wrong, [MANY]).check in ("values", "zero tangent", "not linear")


@pytest.mark.parametrize("element", range(0, 40, 3))
def test_every_element_moves_along_one_of_the_directions(element):
    factors = np.where(np.arange(40) == element, 3, 1)

    def one_wrong(v, x):
        return np.array(v[0] @ factors)

    assert failure(lambda x: np.array(x.sum()), one_wrong, [MANY[:40]], mode="directions").check == "values"


def test_too_many_columns_are_refused():
    with pytest.raises(
        MiniAlexError, match=r"call jvp with 12,000 unit tangents, and 10,000 are allowed; take"
    ):
        ma.check_jvp(cumulated, cumulated_jvp, [MANY], mode="jacobian")


# Constrained inputs: tangents are what they may move along


def lower(a):
    return np.tril(a) - 0.5 * np.diag(np.diag(a))


def cholesky_jvp(v, a):
    assert np.array_equal(v[0], v[0].T)
    factor = np.linalg.cholesky(a)
    inverse = np.linalg.inv(factor)
    return factor @ lower(inverse @ v[0] @ inverse.T)


def cholesky_vjp(u, a):
    factor = np.linalg.cholesky(a)
    inverse = np.linalg.inv(factor)
    whole = inverse.T @ lower(factor.T @ np.tril(u)) @ inverse
    return ((whole + whole.T) / 2,)


MATRIX = (lambda a: a @ a.T + 4 * np.eye(4))(RANDOM.standard_normal((4, 4)))


@pytest.mark.parametrize("mode", ["jacobian", "directions"])
def test_positive_definite_matrices_move_as_such(mode):
    options = {"constraints": constraints.positive_definite, "mode": mode}
    report = ma.check_jvp(np.linalg.cholesky, cholesky_jvp, [MATRIX], vjp=cholesky_vjp, **options)
    assert report.compared > 0
    error = failure(np.linalg.cholesky, lambda v, a: 1.001 * cholesky_jvp(v, a), [MATRIX], **options)
    assert error.check == "values"


def test_points_of_a_simplex_move_within_it():
    p = np.array([0.1, 0.2, 0.3, 0.4])

    def entropy(p):
        return np.array(-(p * np.log(p)).sum())

    def jvp(v, p):
        assert abs(v[0].sum()) < 1e-12
        return np.array(-(v[0] * np.log(p)).sum())  # of a tangent the constant term is 0

    assert ma.check_jvp(entropy, jvp, [p], constraints=constraints.simplex).compared == 3
    assert failure(entropy, lambda v, p: -jvp(v, p), [p], constraints=constraints.simplex).check == "values"


# Wrong values


@pytest.mark.parametrize(
    ("wrong", "pattern"),
    [
        (lambda v, x: 1.001 * tanh_jvp(v, x), r"constant factor of 1\.001"),
        (lambda v, x: -tanh_jvp(v, x), "sign"),
        (lambda v, x: v[0] * (1 - np.tanh(x)), ""),
        (lambda v, x: v[0], ""),
    ],
)
def test_wrong_values_are_caught(wrong, pattern):
    error = failure(np.tanh, wrong, [X])
    assert error.check == "values"
    assert error.summary == "what jvp gives along input 0 is wrong"
    assert error.input == 0
    assert re.search(pattern, error.pattern)


def test_the_wrong_one_of_several_results_is_named():
    def wrong(v, *arrays):
        *rest, last = ragged_jvp(v, *arrays)
        return *rest, 1.001 * last

    error = failure(ragged, wrong, RAGGED)
    assert (error.check, error.input, error.output_index) == ("values", 0, (3 + 12,))


def test_both_modes_wrong_alike_are_caught_by_the_differences():
    def halved(v, x, w):
        return v[0] @ w / 2 + x @ v[1]

    def halved_vjp(u, x, w):
        return u @ w.T / 2, x.T @ u

    assert failure(np.matmul, halved, [X, W], vjp=halved_vjp).check == "values"


# Behaviour

BUFFER = np.zeros_like(X)
STATE = {"calls": 0}


def in_place(v, x):
    v[0][...] *= 1 - np.tanh(x) ** 2
    return v[0]


def changes_input(v, x):
    x *= 2
    return tanh_jvp(v, x)


def differs(v, x):
    STATE["calls"] += 1
    return tanh_jvp(v, x) * (1 + 1e-9 * STATE["calls"])


def half_written(v, x):
    found = np.empty_like(x)
    found[:2] = v[0][:2]
    return found


def assumes_strides(v, x):
    base = v[0] if v[0].base is None else v[0].base
    return base.ravel(order="K")[: x.size].reshape(x.shape) * (1 - np.tanh(x) ** 2)


@pytest.mark.parametrize(
    ("wrong", "check", "says"),
    [
        (in_place, "changed input", "jvp changes tangent 0"),
        (changes_input, "changed input", "jvp changes (its )?input 0"),
        (lambda v, x: (v[0] * (1 - np.tanh(x) ** 2))[None], "shape", r"shape \(1, 3, 4\), not \(3, 4\)"),
        (lambda v, x: tanh_jvp(v, x).astype("f4"), "dtype", "jvp's result has dtype float32, not float64"),
        (lambda v, x: np.full_like(x, np.nan), "finite", "jvp gives 12 values that are not finite"),
        (lambda v, x: x, "aliasing", "jvp's result shares its memory with input 0"),
        (lambda v, x: np.multiply(tanh_jvp(v, x), 1, out=BUFFER), "aliasing", "in memory that the next call"),
        (differs, "not deterministic", "jvp's result differs when it is computed again"),
        (half_written, "not deterministic", "it may read memory that nothing has written"),
        (lambda v, x: tanh_jvp(v, x) + 1e-3, "zero tangent", "not zero for a zero tangent"),
        (
            lambda v, x: tanh_jvp(v, x) * np.abs(v[0]),
            "not linear",
            "jvp's result is not linear in the tangent",
        ),
        (assumes_strides, "layout", "jvp's result is not the same with .* tangent"),
        (lambda v, x: None, "result", r"jvp gives None; it should give an array of shape \(3, 4\)"),
        (lambda v, x: v, "result", "jvp gives a tuple"),
        (lambda v, x: 1 / 0, "raises", "jvp raises ZeroDivisionError"),
    ],
)
def test_behaviour_is_checked(wrong, check, says):
    # What is written into half of the result only is right there.
    forward = (lambda x: x * [[1], [1], [0]]) if wrong is half_written else np.tanh
    error = failure(forward, wrong, [X.copy()])
    assert error.check == check
    assert re.search(says, error.summary)
    assert "vjp" not in error.summary
    assert "upstream" not in error.summary


def test_the_number_of_results_is_checked():
    error = failure(ragged, lambda v, *arrays: ragged_jvp(v, *arrays)[:2], RAGGED)
    assert (error.check, "jvp gives 2 arrays; it should give a tuple of 3" in str(error)) == ("result", True)


def test_what_is_wrong_with_forward_is_said_of_forward():
    assert (
        failure(lambda x: 1 / 0, tanh_jvp, [X]).summary
        == "forward raises ZeroDivisionError: division by zero"
    )
    assert "forward gives float32" in str(failure(lambda x: x.astype("f4"), tanh_jvp, [X]))
    assert "forward gives an empty tuple" in str(failure(lambda x: (), tanh_jvp, [X]))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"mode": "full"}, "mode must be .*, not 'full'"),
        ({"directions": 0}, "directions must be .*, not 0"),
        ({"vjp": 3}, "vjp must be a function or None, not 3"),
        ({"dtype": "float16"}, "float16"),
        ({"wrt": [4]}, r"wrt must be .*, not \(4,\)"),
        ({"seed": -1}, "seed must be .*, not -1"),
    ],
)
def test_wrong_options_are_refused(options, says):
    with pytest.raises(MiniAlexError, match=says):
        ma.check_jvp(np.tanh, tanh_jvp, [X], **options)


# The dot products


def test_an_error_that_no_difference_resolves_is_found_by_the_dot_product():
    def vjp(u, x):
        gradient = tanh_vjp(u, x)[0]
        gradient[1, 2] *= 1 + 1e-10
        return (gradient,)

    # By itself it passes.
    assert ma.check_vjp(np.tanh, vjp, [X]).compared == 12
    error = failure(np.tanh, tanh_jvp, [X], vjp=vjp)
    assert error.check == "dot product"
    assert 0 < error.tolerance < error.absolute_error < 1e-8


def test_the_smallest_of_many_scales_is_seen():
    scales = 10.0 ** np.arange(8, -9, -1)
    x = RANDOM.standard_normal(17)

    def right(u, x):
        return (2 * scales * x * u,)

    def wrong(u, x):
        return (right(u, x)[0] * np.where(scales == 1e-8, 2, 1),)

    checked = (lambda x: scales * x**2, lambda v, x: 2 * scales * x * v[0], [x])
    assert ma.check_jvp(*checked, vjp=right).dot_products.tolerance < 1e-11
    assert failure(*checked, vjp=wrong).check == "dot product"


def test_what_is_not_known_well_compares_nothing():
    def in_single(u, x):
        return ((u.astype("f4") * (1 - np.tanh(x) ** 2).astype("f4")).astype(float),)

    error = failure(np.tanh, tanh_jvp, [X], vjp=in_single)
    assert error.check == "uncertain"
    assert "are not known to 1.0e-07 of their terms" in str(error)
    assert ma.check_jvp(np.tanh, tanh_jvp, [X], vjp=in_single, max_tolerance=1e-3).dot_products.error > 1e-11


def agreement(forward, jvp, vjp, x, seed=0):
    """Of the dot products only."""
    product = Product(jvp, (0,), np.dtype(float), "f", "", [forward(x)], True)
    return compare_modes(product, vjp, [x], [constraints.free], None, seed)


def test_products_near_the_largest_number_are_compared():
    def vjp(u, x):
        return (u * np.exp(x),)

    x = np.array([709.0, 690.0, 650.0])
    assert agreement(np.exp, lambda v, x: v[0] * np.exp(x), vjp, x).pairs == PAIRS
    with pytest.raises(GradcheckError, match="do not belong to one Jacobian"):
        agreement(np.exp, lambda v, x: v[0] * np.exp(x), lambda u, x: (1.001 * u * np.exp(x),), x)


def test_the_input_is_named_where_the_modes_differ():
    error = failure(np.matmul, product_jvp, [X, W], vjp=lambda u, x, w: (u @ w.T, 1.001 * x.T @ u))
    assert error.check == "dot product"
    error = failure(
        np.multiply,
        lambda v, a, b: v[0] * b + a * v[1],
        [X, 1e-12 * X],
        vjp=lambda u, a, b: (u * b, 1.5 * u * a),
    )
    assert error.check == "dot product"


@pytest.mark.parametrize(
    ("vjp", "check"),
    [
        (lambda u, x: (u * np.nan,), "dot product"),
        (lambda u, x: (np.full_like(x, np.inf),), "dot product"),
        (lambda u, x: (None,), "result"),
        (lambda u, x: (u, u), "result"),
        (lambda u, x: (u[0],), "shape"),
        (lambda u, x: None, "result"),
    ],
    ids=["nan", "inf", "none", "two", "row", "nothing"],
)
def test_what_vjp_gives_never_passes_by_accident(vjp, check):
    assert failure(np.tanh, tanh_jvp, [X], vjp=vjp).check == check


def test_terms_that_cancel_are_no_difference():
    # The derivative of the loss is 1e-13, a difference of numbers about 1: each mode rounds in its own way.
    logits = np.array([30.0, 0.0, -30.0])
    x = np.stack([logits, -logits, 0.1 * logits])

    def shares(x):
        e = np.exp(x - x.max(axis=1, keepdims=True))
        return e / e.sum(axis=1, keepdims=True)

    def losses(x):
        return -np.log(shares(x)[:, 0])

    def jvp(v, x):
        return (shares(x) * v[0]).sum(axis=1) - v[0][:, 0]

    def vjp(u, x):
        return (u[:, None] * (shares(x) - np.array([1, 0, 0])),)

    for seed in range(20):
        found = agreement(losses, jvp, vjp, x, seed)
        assert found.error <= found.tolerance


@given(st.integers(0, 2**32 - 1), st.integers(1, 6), st.integers(1, 6))
def test_matrices_of_any_scales_agree_with_their_transposes(seed, rows, columns):
    random = np.random.default_rng(seed)
    matrix = random.standard_normal((rows, columns)) * 10.0 ** random.integers(-8, 9, (rows, 1))
    x = random.standard_normal(columns) * 10.0 ** random.integers(-8, 9, columns)
    product_of = dict(vjp=lambda u, x: (matrix.T @ u,), max_skipped=1.0, min_compared=0)  # noqa: C408
    ma.check_jvp(lambda x: matrix @ x, lambda v, x: matrix @ v[0], [x], **product_of)
    wrong = matrix.copy()
    wrong[random.integers(rows), :] *= 1 + 1e-7
    error = failure(
        lambda x: matrix @ x,
        lambda v, x: matrix @ v[0],
        [x],
        **product_of | {"vjp": lambda u, x: (wrong.T @ u,)},
    )
    assert error.check == "dot product"


# Lines that repeat it


@pytest.mark.parametrize("with_vjp", [False, True])
def test_a_failure_prints_lines_that_repeat_it(with_vjp):
    jvp, vjp = (
        (tanh_jvp if with_vjp else lambda v, x: 2 * tanh_jvp(v, x)),
        lambda u, x: (2 * tanh_vjp(u, x)[0],),
    )
    first = failure(np.tanh, jvp, [X], seed=4, **({"vjp": vjp} if with_vjp else {}))
    names = {"forward": np.tanh, "jvp": jvp, "vjp": vjp}
    with pytest.raises(GradcheckError) as again:
        exec(first.reproduce, names)
    assert (again.value.check, again.value.summary) == (first.check, first.summary)
    assert first.check == ("dot product" if with_vjp else "values")


def test_the_fixture_has_it(gradcheck):
    assert gradcheck.jvp(np.tanh, tanh_jvp, [X]).compared == 12
