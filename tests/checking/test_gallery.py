"""Every mistake of the gallery is caught at default settings and recognised; the right gradients pass.

The quick tier catches each with the inputs of seed 0, the full tier with others as well.
"""

import difflib
import functools
import inspect
from collections import Counter

import numpy as np
import pytest

from minialex import functional
from minialex.checking import GradcheckError, check_vjp
from minialex.checking.gallery import KINDS, mistakes
from minialex.checking.gallery.mistake import with_line_replaced

SEEDS = (0, pytest.param(1, marks=pytest.mark.full))
GALLERY = {(seed, m.name): m for seed in (0, 1) for m in mistakes(seed)}
NAMES = [name for seed, name in GALLERY if seed == 0]
RIGHT = {
    (m.operation, m.right_vjp.func, str(m.right_vjp.keywords)): name
    for (seed, name), m in GALLERY.items()
    if seed == 0
}

UNWRITTEN = ("not deterministic", "finite", "values", "zero upstream", "not linear", "layout")
"""What freed memory holds is not up to the checker only."""

CHECKS = {
    "conv2d: bias' gradient over the wrong axes": "shape",
    "conv2d: bias' gradient added up in float32": "not linear",
    "conv2d: accumulates into memory that nothing has written": UNWRITTEN,
    "conv2d, plain: correlation of g with itself": "not linear",
    "max_pool2d: gradient starts from memory that nothing has written": UNWRITTEN,
    "avg_pool2d: stale gradient: memory that nothing has written": UNWRITTEN,
    "local_response_norm: g inside the wrong factor": "not linear",
    "batch_norm: centred in place": "changed input",
    "linear, square: bias' gradient without the upstream gradient": "zero upstream",
    "linear, square: bias' gradient aliases the weight's": "aliasing",
    "linear: bias' gradient not summed": "shape",
    "linear: bias' gradient written over the bias": "changed input",
    "matmul: contiguous inputs only": "layout",
    "matmul: memory order for logical order": "layout",
    "matmul: a little noise": "not deterministic",
    "matmul: in the dtype of a faster machine": "dtype",
    "matmul: returned transposed": "shape",
    "relu: negative gradients stopped": "not linear",
    "relu: upstream gradient masked in place": "changed input",
    "relu: upstream gradient clipped": "not linear",
    "relu: a constant added": "zero upstream",
    "dropout: a new mask at every call": "not deterministic",
    "cross_entropy: upstream gradient ignored": "zero upstream",
    "multiply: broadcast gradient not summed": "shape",
    "add: one gradient for both inputs": "aliasing",
    "tanh: not a number where the result is 0": "finite",
    "power: a result kept for the next call": "aliasing",
    "indexing, repeated rows: memory that nothing has written": UNWRITTEN,
    "indexing, flat: a copy is written to": "layout",
    "dropout2d: other cells than channels": "not deterministic",
    "cat: cut along the other axis": "shape",
    "split: the part that is not used is not zeroed": UNWRITTEN,
}
"""Which check catches it; ``"values"`` for the others."""

IN_PLACES = "the right contributions in the wrong places"
PATTERNS = {
    "conv2d: groups swapped": "2 blocks of axis 1 in the wrong order (swapped groups?)",
    "conv2d: kernel flipped in the weight's gradient": "flipped along axes 2, 3",
    "conv2d: padding on the left taken for the right one's": "shifted by +1 along axis 3",
    "conv2d: padding at the top ignored": "shifted by +1 along axis 2",
    "conv2d: last row of the window left out": "wrong at indices 1, 3 of axis 2 only",
    "conv2d: bias' gradient averaged": "1 over the length of axes 1, 3 of the result: a division too many?",
    "conv2d: input's gradient wrong by 0.05 %": "a constant factor of 1.0005",
    "conv2d: weight's gradient from float32 images": "computed in float32 on the way?",
    "conv2d, plain: kernel not flipped": IN_PLACES,
    "conv2d, plain: kernel flipped along one axis only": IN_PLACES,
    "conv2d, plain: padded on one side": "shifted by +1 along axis 2",
    "conv2d, plain: kernel transposed": "transposed: axes in the order (0, 1, 3, 2)",
    "max_pool2d: padding on one side ignored": "shifted by +1 along axis 3",
    "max_pool2d: window smaller by one": IN_PLACES,
    "max_pool2d, winners: the last maximum instead of the first": "wrong at indices 0, 1, 6, 7 of axis 1",
    "avg_pool2d: window smaller by one": IN_PLACES,
    "avg_pool2d: padding at the left ignored": IN_PLACES,
    "avg_pool2d, of the whole image: missing 1/N": "of 20, the length of axes 2, 3: a missing division?",
    "avg_pool2d, of the whole image: divided by the wrong axis": "a constant factor of 1.6666",
    "batch_norm: mean term missing": "off by the same amount all along axes 0, 2, 3: a missing mean",
    "batch_norm: weight forgotten": "a factor that depends on axis 1",
    "batch_norm: statistics of the batch only": "off by the same amount all along axis 0",
    "linear, square: weight's gradient transposed": "transposed: axes in the order (1, 0)",
    "linear: averaged over the batch": "1 over the length of axis 0 of the result: a division too many?",
    "linear: weight's gradient wrong by 0.05 %": "a constant factor of 1.0005",
    "linear: product in float32": "computed in float32 on the way?",
    "linear: sign": "the sign is wrong everywhere",
    "relu: leaks on the negative side": "not zero in 10 places where it should be",
    "relu: passes all": "not zero in 10 places where it should be",
    "relu: threshold at 1": "zero in 4 places: contributions overwritten or lost?",
    "dropout: not scaled": "a constant factor of 0.6",
    "dropout: scaled by 1 / p": "a constant factor of 1.5",
    "cross_entropy: missing 1/N": "of 4, the length of axis 0: a missing division?",
    "cross_entropy: divided by the number of classes": "of 0.2, 1 over the length of axis 1",
    "cross_entropy: smoothing shared by the other classes": "everywhere: a missing mean or sum?",
    "cross_entropy, of a distribution: upstream gradient of the next row": "a factor that depends on axis 0",
    "multiply: broadcast gradient averaged": "of 0.5, 1 over the length of axis 1 of the result",
    "subtract: sign": "the sign is wrong everywhere",
    "maximum: both get the gradient": "where it should be",
    "sqrt: factor of 1/2 missing": "a constant factor of 2",
    "sign: passed straight through": "a gradient where there should be none",
    "sum: spread along the wrong axis": "transposed: axes in the order (1, 0)",
    "mean: missing 1/N": "of 4, the length of axis 1: a missing division?",
    "mean, removed: the mean taken for a constant": "off by the same amount all along axis 1: a missing mean",
    "amax: all elements get the gradient": "not zero in 9 places",
    "indexing, repeated rows: repeated indices overwrite": "wrong at index 0 of axis 0 only",
    "indexing, slice: one row too early": "shifted by -1 along axis 0",
    "indexing, slice: written backwards": "flipped along axis 1",
    "transpose: the same order instead of its inverse": "transposed: axes in the order (1, 2, 0)",
    "conv1d: padding not cut off": "shifted by +1 along axis 2",
    "conv_transpose2d: rows and columns of the kernel exchanged": "axes in the order (0, 1, 3, 2)",
    "pad, constant: before and after exchanged": "shifted by +1 along axis 1",
    "pad, constant: padding not cut off": "shifted by +2 along axis 1",
    "dropout2d: scaled by how many were kept": "a constant factor of 0.9",
    "hardsigmoid: missing 1/6": "a constant factor of 6",
    "softplus, beta: divided by beta again": "a constant factor of 0.3333",
    "erf: factor of the integral missing": "a constant factor of 0.8862",
    "erf: the normal distribution's factor": "a constant factor of 0.3535",
    "nll_loss: divided by the batch": "a constant factor of 0.9375",
    "nll_loss: divided by the labels that count": "a constant factor of 1.25",
    "cross_entropy, of weighted labels: divided by the labels that count": "a constant factor of 1.25",
    "binary_cross_entropy_with_logits: divided by the batch": "of 4, the length of axis 1",
    "binary_cross_entropy_with_logits: sign of the target's gradient": "the sign is wrong everywhere",
    "kl_div: divided by the elements": "of 0.25, 1 over the length of axis 1: a division too many?",
    "mse_loss: factor of 2 missing": "a constant factor of 0.5",
    "mse_loss: divided by the batch": "of 4, the length of axis 1: a missing division?",
    "l1_loss: averaged": "1 over the length of axes 0, 1: a division too many?",
    "l1_loss: sign": "the sign is wrong everywhere",
    "smooth_l1_loss: Huber's loss": "a constant factor of 0.5",
    "var: the biased variance's": "a constant factor of 0.75",
    "std: the biased deviation in the denominator": "a constant factor of 1.1547",
    "norm: the root not differentiated": "a constant factor of 4",
    "norm, of p: p left in": "a constant factor of 3",
    "einsum, diagonal: averaged over what is summed": "of 0.25, 1 over the length of axis 2",
    "cat: the second part from the first one's length": "shifted by +2 along axis 1",
    "max_unpool2d: the inverse order": "shifted by +2 along axis 1",
    "where: averaged over what was broadcast": "1 over the length of axis 0 of the result",
}
"""What the wrong gradient is recognised as, where it has a pattern."""


@functools.cache
def caught(name, seed):
    mistake = GALLERY[seed, name]
    # One mistake divides 0 by 0, which is its point.
    with np.errstate(invalid="ignore"), pytest.raises(GradcheckError) as raised:
        check_vjp(mistake.forward, mistake.wrong_vjp, mistake.inputs, seed=seed)
    return raised.value


# Each layer as a function, but those made of one other and a number.
WITH_TWO_AT_LEAST = set(functional.__all__) - {"flatten", "logsigmoid", "relu6"} | {
    *("clamp", "einsum", "embedding", "erf", "expm1", "log1p", "max", "topk", "gather"),
    *("cat", "norm", "split", "stack", "std", "var", "where"),
}


# The gallery itself


def test_there_are_enough_mistakes_of_every_kind_in_every_operation():
    gallery = mistakes()
    assert len({m.name for m in gallery}) == len(gallery) >= 300
    assert {m.kind for m in gallery} == set(KINDS)
    counts = Counter(m.operation for m in gallery)
    assert counts.keys() >= {"matmul", "multiply", "add", "sum", "amax", "indexing", "transpose"}
    few = {name: counts[name] for name in WITH_TWO_AT_LEAST if counts[name] < 2}
    assert not few
    assert set(CHECKS) | set(PATTERNS) <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_one_line_differs(name):
    mistake = GALLERY[0, name]
    right, wrong = (inspect.getsource(f.func).splitlines() for f in (mistake.right_vjp, mistake.wrong_vjp))
    changes = [line for line in difflib.ndiff(right, wrong) if line[0] in "+-"]
    assert [(line[0], line[2:].strip()) for line in changes] == [
        ("-", mistake.right_line),
        ("+", mistake.wrong_line),
    ]
    assert mistake.why.endswith(".")


def test_a_line_that_is_not_there_once_is_refused():
    with pytest.raises(ValueError, match="0 times, not once"):
        with_line_replaced(caught, "return 1", "return 2")


# What the checker says of it


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", RIGHT.values())
def test_the_right_gradient_passes(name, seed):
    mistake = GALLERY[seed, name]
    # The derivatives of sign are 0, all of them.
    constant = mistake.operation == "sign" or name.startswith("sign:")
    options = {"seed": seed, "min_compared": 0 if constant else 1}
    report = check_vjp(mistake.forward, mistake.right_vjp, mistake.inputs, **options)
    assert report.compared + report.zeros > 0
    assert report.skipped == 0


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", NAMES)
def test_every_mistake_is_caught(name, seed):
    mistake = GALLERY[seed, name]
    error = caught(name, seed)
    expected = CHECKS.get(name, "values")
    if expected is UNWRITTEN:
        assert error.check in expected
        return
    assert error.check == expected
    if expected != "values":
        return
    if name == "linear: bias' gradient forgotten":
        assert error.input == 2
        assert "gives None for input 2" in str(error)
        return
    assert 0 < error.wrong <= error.compared
    assert error.absolute_error > error.tolerance
    # The two values that it prints are those of the right and of the wrong gradient, at the place it names.
    upstream = np.zeros_like(mistake.forward(*mistake.inputs))
    upstream[error.output_index] = 1
    right, wrong = (
        vjp(upstream, *mistake.inputs)[error.input][error.index]
        for vjp in (mistake.right_vjp, mistake.wrong_vjp)
    )
    assert error.analytic == wrong
    assert abs(error.numeric - right) <= max(error.tolerance, 1e-12)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", PATTERNS)
def test_patterns_are_recognised(name, seed):
    error = caught(name, seed)
    assert PATTERNS[name] in error.pattern
    assert PATTERNS[name] in str(error)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", [name for name in NAMES if name not in PATTERNS and name not in CHECKS])
def test_no_pattern_is_claimed_that_is_not_there(name, seed):
    # A factor, a shift or a transposition of the whole would be a false trail.
    pattern = caught(name, seed).pattern
    assert not any(
        word in pattern for word in ("constant factor", "shifted", "flipped", "transposed", "sign")
    )
