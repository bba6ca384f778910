"""None of 2,000 right gradients fails: drawn functions, shapes, parameters and values, over all operations.

(The quick tier draws a fifth of them.)

The inputs are those that `minialex.checking.testing.strategies` draws for the kernels. They are without ties,
but where a function has kinks, inputs full of ties and exact zeros are drawn as well: elements at kinks must
be skipped, however many they are (``max_skipped=1.0``), and none may fail.
"""

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from tiers import examples

import minialex as ma
import minialex.functional as F
from minialex.checking import gradcheck
from minialex.checking.kernels.cases import case_of
from minialex.checking.kernels.suite import WITHOUT_GRADIENT
from minialex.checking.testing import strategies

IN_ALL = 2000
KINKED = ("absolute", "amax", "max_pool2d", "maximum", "minimum", "relu")
SMOOTH = sorted(
    {name.split(".")[0] for name in strategies.operations() if name.endswith(".forward")}
    - {*WITHOUT_GRADIENT, *KINKED}
)
EACH = -(-IN_ALL // (len(SMOOTH) + 2 * len(KINKED)))

# An example differentiates every element: few elements, and sizes that are too large are drawn again.
LARGEST = 80
drawn_few_times = settings(
    max_examples=examples(EACH), suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow]
)


def draw_case(draw, operation):
    """A function of tensors, and small arrays for it."""
    limit = {"limit": 2} if operation == "conv2d" else {}
    case = case_of(draw(strategies.call(f"{operation}.forward", **limit)))
    assume(sum(a.size for a in case.arrays) <= LARGEST)
    # Without features there is no batch to normalise, and a clear error.
    assume(operation != "batch_norm" or case.arrays[0].size)
    return case.function, case.arrays


def check(function, arrays, **options):
    return gradcheck(function, [ma.Tensor(np.array(a), requires_grad=True) for a in arrays], **options)


@pytest.mark.parametrize("operation", [*SMOOTH, *KINKED])
@drawn_few_times
@given(st.data())
def test_no_right_gradient_fails(operation, data):
    function, arrays = draw_case(data.draw, operation)
    # Drawn arrays may be empty, and dropout may drop all.
    report = check(function, arrays, min_compared=0)
    assert report.skipped == report.uncertain == 0


@pytest.mark.parametrize("operation", KINKED)
@drawn_few_times
@given(st.data())
def test_none_fails_at_ties_and_zeros(operation, data):
    function, arrays = draw_case(data.draw, operation)
    generator = data.draw(strategies.seeds())
    tied = [generator.integers(-1, 2, a.shape).astype(float) for a in arrays]
    report = check(function, tied, max_skipped=1.0, min_compared=0)
    if operation == "relu":
        # An element at 0 has one derivative that is left out.
        assert report.skipped == np.count_nonzero(tied[0] == 0)


@pytest.mark.parametrize("mode", ["jacobian", "directions"])
@pytest.mark.parametrize("reduction", ["none", "mean"])
@pytest.mark.parametrize("seed", range(5))
def test_the_loss_of_confident_predictions_passes(seed, reduction, mode):
    # It is some 1e-5, the difference of numbers near 12: rounding is relative to those.
    x = np.random.default_rng(seed).standard_normal((3, 4)) + 12 * (np.arange(4) == 0)
    labels = np.zeros(3, int)
    check(lambda x: F.cross_entropy(x, labels, reduction=reduction), [x], mode=mode)


def test_every_operation_is_drawn():
    with_kernels = {name.split(".")[0] for name in strategies.operations()}
    assert {*SMOOTH, *KINKED} >= set(F.__all__) & with_kernels
    assert (len(SMOOTH) + 2 * len(KINKED)) * EACH >= IN_ALL
