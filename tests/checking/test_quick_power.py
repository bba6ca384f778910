"""What random directions would find: the error in a single element that the report names."""

import numpy as np
import pytest

from minialex.checking import GradcheckError, check_vjp

N = 10_000


def tanh_vjp(u, x):
    return (u * (1 - np.tanh(x) ** 2),)


def one_wrong(element, factor):
    def vjp(u, x):
        (g,) = tanh_vjp(u, x)
        g[element] *= factor
        return (g,)

    return vjp


def inputs(seed):
    # Derivatives of about one size, as the power is stated for.
    return np.random.default_rng(seed).uniform(0.4, 0.6, N)


@pytest.mark.parametrize("seed", range(3))
def test_an_error_of_one_percent_in_one_of_ten_thousand_elements_is_found(seed):
    x = inputs(seed)
    report = check_vjp(np.tanh, tanh_vjp, [x], seed=seed)
    assert report.mode == "directions"
    assert report.power < 0.01
    assert f"in one of {N:,} elements would be found" in str(report)
    for element in np.random.default_rng(seed).integers(0, N, 5):
        with pytest.raises(GradcheckError, match="along random direction"):
            check_vjp(np.tanh, one_wrong(element, 1.01), [x], seed=seed)


@pytest.mark.parametrize("seed", range(3))
def test_it_finds_what_it_says(seed):
    x = inputs(seed)
    power = check_vjp(np.tanh, tanh_vjp, [x], seed=seed).power
    upstream = np.random.default_rng([seed, 1])
    for element in upstream.integers(0, N, 8):
        # The upstream gradient of that element is seldom small in every direction: three times is enough.
        with pytest.raises(GradcheckError):
            check_vjp(np.tanh, one_wrong(element, 1 + 3 * power), [x], seed=seed)
    # And it is no idle claim: what is far below it passes.
    check_vjp(np.tanh, one_wrong(0, 1 + power / 1000), [x], seed=seed)
