"""Einstein's summation against NumPy's, its gradients against those of loops over all letters."""

import itertools

import numpy as np
import pytest

import minialex as ma
from minialex.errors import ShapeError

LENGTHS = {"a": 2, "b": 3, "c": 4, "i": 3, "j": 2, "k": 5}


def case(equation, *shapes):
    """The shapes follow from the letters where they are not given."""
    terms = equation.partition("->")[0].replace(" ", "").split(",")
    return equation, shapes or tuple(tuple(LENGTHS[letter] for letter in term) for term in terms)


CASES = [
    case("ab,bc->ac"),
    case("ab , bc"),
    case("ba"),
    case("abc->ca"),
    case("ii"),
    case("ii->i"),
    case("ibi->b"),
    case("aiai->ia", (2, 3, 2, 3)),
    case("iii->i"),
    case("ii,ij->j"),
    case("ab,bc,ck->ak"),
    case("ab,ab,ab->b"),
    case("a,b,c->cab"),
    case("ab,bc,ck,ka->"),
    case("abk,bk,ak->k"),
    case("...a->a...", (3, 4, 2)),
    case("...", (3, 4)),
    case("...ab,...bc->...ac", (5, 2, 3), (5, 3, 4)),
    case("...ab,...bc", (5, 1, 2, 3), (6, 3, 4)),
    case("a...,b...->ab...", (2, 5), (3, 5)),
    case("ab...,b->a...", (2, 3, 4, 2), (3,)),
    case("a...b,...->ab...", (2, 4, 3), (4,)),
    case("...ii->...i", (2, 3, 3)),
    case("ab,ab->ab", (2, 3), (1, 3)),
    case("a,a->", (1,), (4,)),
    case("ab,b->a", (0, 3), (3,)),
    case("ab,bc->ac", (2, 0), (0, 4)),
]
IDS = [f"{equation} {shapes}" for equation, shapes in CASES]


@pytest.mark.parametrize(("equation", "shapes"), CASES, ids=IDS)
def test_values_are_numpys(equation, shapes):
    rng = np.random.default_rng(len(equation))
    arrays = [rng.standard_normal(shape) for shape in shapes]
    y = ma.einsum(equation, *map(ma.Tensor, arrays))
    expected = np.einsum(equation, *arrays)
    assert y.shape == expected.shape
    np.testing.assert_allclose(y.numpy(), expected, rtol=1e-12, atol=1e-13)


def loops(terms, output, arrays, lengths):
    """The sum of products, term by term: the definition."""
    y = np.zeros([lengths[letter] for letter in output])
    for places in itertools.product(*(range(n) for n in lengths.values())):
        at = dict(zip(lengths, places, strict=True))
        factors = [x[tuple(at[letter] for letter in term)] for term, x in zip(terms, arrays, strict=True)]
        y[tuple(at[letter] for letter in output)] += np.prod(factors)
    return y


@pytest.mark.parametrize("equation", ["ii->i", "aba->b", "ab,bc,ca->c", "iij,jk,ik->k", "ab,ab,b->a"])
def test_gradients_are_those_of_the_definition(equation):
    """The sum is linear in each operand: its gradient is the sum with the upstream gradient in its place."""
    inputs, _, output = equation.partition("->")
    terms = inputs.split(",")
    lengths = {letter: LENGTHS[letter] for letter in sorted(set(inputs) - {","})}
    rng = np.random.default_rng(1)
    arrays = [rng.standard_normal([lengths[letter] for letter in term]) for term in terms]
    tensors = [ma.Tensor(x, requires_grad=True) for x in arrays]
    y = ma.einsum(equation, *tensors)
    upstream = rng.standard_normal(y.shape)
    y.backward(ma.Tensor(upstream))
    for i, (term, x) in enumerate(zip(terms, arrays, strict=True)):
        expected = np.zeros_like(x)
        for place in np.ndindex(x.shape):
            moved = np.zeros_like(x)
            moved[place] = 1
            changed = loops(terms, output, [*arrays[:i], moved, *arrays[i + 1 :]], lengths)
            expected[place] = np.vdot(changed, upstream)
        np.testing.assert_allclose(tensors[i].grad.numpy(), expected, rtol=1e-12, atol=1e-13, err_msg=term)


@pytest.mark.parametrize(
    ("equation", "shapes", "message"),
    [
        ("ab,bc->ac", ((2, 3),), "'ab,bc->ac' must name as many operands as are given: 1"),
        ("", (), "must name as many operands as are given: 0"),
        ("ab->a1", ((2, 3),), "must have letters, commas"),
        ("a.b", ((2, 3),), "must have letters, commas"),
        ("a->b->c", ((2,),), "must have letters, commas"),
        ("abc", ((2, 3),), r"'abc' must have a letter for each axis of \(2, 3\)"),
        ("a", ((2, 3),), r"'a' must have a letter for each axis of \(2, 3\), or one '...'"),
        ("a......", ((2, 3),), "or one '...'"),
        ("ab,bc", ((2, 3), (4, 5)), "axis 'b' has the lengths 3 and 4"),
        ("...a,...a", ((2, 3), (4, 3)), "an axis of '...' has the lengths 2 and 4"),
        ("ii", ((1, 3),), "axis 'i' has the lengths 1 and 3"),
        ("ii", ((3, 1),), "axis 'i' has the lengths 3 and 1"),
        ("ab->c", ((2, 3),), "the output of 'ab->c' must have letters of the operands, each once"),
        ("ab->aa", ((2, 3),), "each once"),
        ("a->...a...", ((3,),), "must have letters|each once"),
    ],
)
def test_what_does_not_fit_is_said(equation, shapes, message):
    with pytest.raises(ShapeError, match=message):
        ma.einsum(equation, *(ma.ones(*shape) for shape in shapes))


def test_the_equation_comes_first():
    with pytest.raises(TypeError, match="einsum: the equation must be a str, not Tensor"):
        ma.einsum(ma.ones(2), "a")
