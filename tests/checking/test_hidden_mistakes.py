"""Mistakes that hide: below a step, in noise, beside large numbers, behind a mask that is kept."""

import numpy as np
import pytest

from minialex import GradcheckError, check_jax, check_torch, check_vjp

X = np.array([0.3, -0.5, 2.0])


def verdict(forward, vjp, inputs, **options) -> str:
    try:
        check_vjp(forward, vjp, inputs, **options)
    except GradcheckError as error:
        return error.check
    return "passes"


# Terms with a period that is shorter than the step, and not their noise


@pytest.mark.parametrize(
    ("size", "amplitude"), [(100, 1e-5), (1e4, 1e-4), (1e6, 1e-3), (1e6, 1e-5), (1e8, 1e-3)]
)
def test_a_term_of_a_short_period(size, amplitude):
    x = size * np.random.default_rng(0).uniform(1, 2, 4)

    def forward(x):
        return x + amplitude * np.sin(x)

    def right(u, x):
        return (u * (1 + amplitude * np.cos(x)),)

    assert verdict(forward, right, [x]) == "passes"
    assert verdict(forward, lambda u, x: (u.copy(),), [x]) == "values"


@pytest.mark.parametrize("x", [1e6, 3e6, 1.2e7])
@pytest.mark.parametrize("mode", ["jacobian", "directions"])
def test_a_sine_of_which_a_step_takes_many_periods(x, mode):
    assert verdict(np.sin, lambda u, x: (u * np.cos(x),), [np.array(x)], mode=mode) == "passes"
    assert verdict(np.sin, lambda u, x: (u * np.sin(x),), [np.array(x)], mode=mode) == "values"


@pytest.mark.parametrize(
    ("forward", "x", "right", "wrong"),
    [
        (lambda x: np.round(256 * x) / 256, [0.41, 0.7, 1.12, 1.9], None, 1.0),
        (lambda x: x + np.round(256 * x) / 256, [0.41, 0.7, 1.12, 1.9], 1.0, 2.0),
        (lambda x: x + x % 1, [10_000.3, 12_000.7], 2.0, 1.0),
        (np.round, [1003.13, 1234.2, 1777.3], None, 1.0),
        (lambda x: np.round(x, 2), [12.343, 57.117, 99.921], None, 1.0),
        (lambda x: x - np.floor(x), [1.23e8 + 0.3, 1.77e8 + 0.7], 1.0, 2.0),
    ],
)
def test_stairs_are_not_what_leads_across_them(forward, x, right, wrong):
    x = np.array(x)
    assert verdict(forward, lambda u, x: (wrong * u,), [x]) == "values"
    if right is not None:
        assert verdict(forward, lambda u, x: (right * u,), [x]) == "passes"


# Beside large numbers


@pytest.mark.parametrize("factor", [0, 1.01, 1.5])
@pytest.mark.parametrize(("large", "small"), [(1e4, 1e-6), (1e6, 1e-4), (1e8, 1e-2)])
def test_a_small_gradient_beside_a_large_one(large, small, factor):
    x, w = np.random.default_rng(0).standard_normal((2, 3))

    def forward(x, w):
        return large * np.sum(x) + small * np.sum(np.sin(w))

    def vjp(u, x, w, factor=factor):
        return u * large * np.ones(3), factor * small * u * np.cos(w)

    # One hundredth of it is more than what rounding leaves of it, and less than what may be taken for that.
    assert verdict(forward, vjp, [x, w]) in (("values", "uncertain") if factor == 1.01 else ("values",))
    assert verdict(forward, lambda u, x, w: vjp(u, x, w, 1), [x, w]) == "passes"


@pytest.mark.parametrize("mode", ["jacobian", "directions"])
def test_a_gradient_that_is_missing_where_the_usual_step_moves_nothing(mode):
    prices = np.array([3.1e5, 4.5e5, 2.2e5, 9.9e5])

    def forward(p, s):
        return ((p - prices) ** 2).sum() + 0.01 * np.logaddexp(0, s).sum()

    def vjp(u, p, s):
        return 2 * u * (p - prices), np.zeros_like(s)

    assert verdict(forward, vjp, [prices * 0.9, np.array([0.3, -0.7, 1.1])], mode=mode) == "values"


def test_rounding_of_one_input_is_none_of_anothers():
    torch = pytest.importorskip("torch")

    class Sum(torch.autograd.Function):
        @staticmethod
        def forward(ctx, a, b):
            ctx.save_for_backward(a)
            return a * a + b

        @staticmethod
        def backward(ctx, u):
            (a,) = ctx.saved_tensors
            return u * (4 if ctx.needs_input_grad == (True, False) else 2) * a, u.clone()

    a = torch.linspace(-1, 1, 4, dtype=torch.float64, requires_grad=True)
    b = torch.full((4,), 1.3e8, dtype=torch.float64, requires_grad=True)
    with pytest.raises(GradcheckError, match="needs_input_grad"):
        check_torch(Sum, [a, b])


def test_a_small_result_beside_a_large_one_is_the_same_where_it_is_differentiated():
    jax = pytest.importorskip("jax")

    @jax.custom_vjp
    def both(x):
        return 1e9 * x, jax.numpy.sin(x)

    def fwd(x):
        return (1e9 * x, 1.0001 * jax.numpy.sin(x)), x

    both.defvjp(fwd, lambda x, u: (1e9 * u[0] + u[1] * jax.numpy.cos(x),))
    with pytest.raises(GradcheckError, match="its fwd"):
        check_jax(both, [X])


# A jump of the gradient is not its noise; nor is a function of short periods


@pytest.mark.parametrize("seed", range(4))
def test_a_gradient_that_jumps_at_an_input(seed):
    x = np.array([0.0, 1.0, 2.0, 0.5, 3.0])
    assert verdict(np.copy, lambda u, x: (u * (x > 0),), [x], seed=seed) == "values"
    assert verdict(np.copy, lambda u, x: (u.copy(),), [x], seed=seed) == "passes"


PERIODS = np.pi * 2.0 ** np.arange(12)


def features(x):
    return np.sin(x[:, None] * PERIODS)


def features_vjp(u, x):
    return ((u * PERIODS * np.cos(x[:, None] * PERIODS)).sum(axis=1),)


def test_linearity_and_layouts_of_functions_that_oscillate():
    x = np.random.default_rng(0).uniform(-1, 1, 5)
    assert verdict(features, features_vjp, [x]) == "passes"

    def clipped(u, x):
        return features_vjp(u / max(1, np.linalg.norm(u)), x)

    def in_memory_order(u, x):
        return features_vjp(u.ravel(order="K").reshape(u.shape), x)

    assert verdict(features, clipped, [x]) == "not linear"
    assert verdict(features, in_memory_order, [x]) == "layout"


def test_linearity_of_a_layer_with_many_kinks():
    random = np.random.default_rng(1)
    weight, x = random.standard_normal((64, 64)) / 6, random.standard_normal((4, 64))

    def forward(x):
        return np.maximum(x @ weight, 0).sum()

    def vjp(u, x):
        return ((u * (x @ weight > 0)) @ weight.T,)

    assert verdict(forward, vjp, [x]) == "passes"
    assert verdict(forward, lambda u, x: vjp(np.clip(u, -50, 50), x), [x]) == "not linear"


def test_a_gradient_that_is_no_number_for_large_upstream_gradients():
    def vjp(u, x):
        with np.errstate(all="ignore"):
            return (4 * u * np.exp(np.abs(u)) / np.exp(np.abs(u)),)

    assert verdict(lambda x: 4 * x, vjp, [X]) == "not linear"


def test_upstream_gradients_of_several_results_are_transposed():
    def vjp(u, x):
        return (2 * u[0].ravel(order="K").reshape(x.shape) + 2 * x * u[1],)

    assert verdict(lambda x: (2 * x, x**2), vjp, [np.arange(1.0, 7).reshape(2, 3)]) == "layout"


# What an earlier call kept


def test_a_mask_that_is_kept():
    kept = {}

    def vjp(u, x):
        return (u * kept.setdefault(x.shape, x > 0),)

    assert verdict(lambda x: np.maximum(x, 0), vjp, [X]) == "values"


def test_indices_of_a_maximum_that_are_kept():
    kept = {}

    def vjp(u, x):
        gradient = np.zeros_like(x)
        gradient[np.arange(len(x)), kept.setdefault(x.shape, x.argmax(axis=1))] = u
        return (gradient,)

    x = np.random.default_rng(0).standard_normal((3, 4))
    assert verdict(lambda x: x.max(axis=1), vjp, [x]) == "values"


def test_values_that_are_kept_with_the_complex_step():
    kept = {}
    vjp = lambda u, x: (u * kept.setdefault(x.shape, 2 * x),)  # noqa: E731
    assert verdict(lambda x: x * x, vjp, [X], method="complex") == "values"


# Gradients that raise outside their domain


def test_a_gradient_that_raises_outside_its_domain():
    def within(x):
        if (x <= 0).any():
            raise ValueError("x should be positive")
        return x

    x = np.array([0.5, 1.2, 0.8, 3])
    forward = lambda x: np.log(within(x))  # noqa: E731
    assert verdict(forward, lambda u, x: (u / within(x),), [x]) == "passes"
    assert verdict(forward, lambda u, x: (1.001 * u / within(x),), [x]) == "values"


# Right ones


def softmax(z):
    e = np.exp(z - z.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


@pytest.mark.parametrize("scale", [1, 10, 100])
def test_attention_with_saturated_weights(scale):
    def forward(q, k, v):
        return softmax(q @ k.transpose(0, 2, 1) / 2) @ v

    def vjp(u, q, k, v):
        p = softmax(q @ k.transpose(0, 2, 1) / 2)
        gp = u @ v.transpose(0, 2, 1)
        gs = p * (gp - (gp * p).sum(axis=-1, keepdims=True)) / 2
        return gs @ k, gs.transpose(0, 2, 1) @ q, p.transpose(0, 2, 1) @ u

    def without_sum(u, q, k, v):
        p = softmax(q @ k.transpose(0, 2, 1) / 2)
        gs = p * (u @ v.transpose(0, 2, 1)) / 2
        return gs @ k, gs.transpose(0, 2, 1) @ q, p.transpose(0, 2, 1) @ u

    inputs = [scale * np.random.default_rng(scale).standard_normal((2, 3, 4)) for _ in range(3)]
    inputs = [a + 0.1 * scale * k for k, a in enumerate(inputs)]
    assert verdict(forward, vjp, inputs) == "passes"
    assert verdict(forward, without_sum, inputs) == "values"


@pytest.mark.parametrize("mode", ["jacobian", "directions"])
@pytest.mark.parametrize("scale", [30, 300])
def test_cross_entropy_of_large_logits(scale, mode):
    logits = scale * np.random.default_rng(1).standard_normal((4, 5))

    def forward(z):
        z = z - z.max(axis=-1, keepdims=True)
        return np.log(np.exp(z).sum(axis=-1)) - z[np.arange(4), np.arange(4)]

    def vjp(u, z):
        gradient = softmax(z)
        gradient[np.arange(4), np.arange(4)] -= 1
        return (gradient * u[:, None],)

    assert verdict(forward, vjp, [logits], mode=mode) == "passes"


def test_subnormal_inputs():
    x = np.array([5e-324, 1e-310, 1.0])
    assert verdict(np.square, lambda u, x: (2 * u * x,), [x], max_skipped=1.0) in ("passes", "uncertain")


# PyTorch


def test_the_second_order_where_no_upstream_gradient_requires_one():
    torch = pytest.importorskip("torch")

    class Gradient(torch.autograd.Function):
        @staticmethod
        def forward(ctx, u, x):
            ctx.save_for_backward(u, x)
            return 3 * u * x**2

        @staticmethod
        def backward(ctx, c):
            u, x = ctx.saved_tensors
            return (3 * c * x**2, 6 * c * u * x) if ctx.needs_input_grad[0] else (None, None)

    class Cube(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x**3

        @staticmethod
        def backward(ctx, u):
            return Gradient.apply(u, *ctx.saved_tensors)

    x = torch.tensor([0.5, -1.0, 2.0], requires_grad=True)
    check_torch(Cube, x)
    with pytest.raises(GradcheckError, match="no upstream gradient requires one"):
        check_torch(Cube, x, order=2)


@pytest.mark.parametrize("like", ["channels_last", "expanded"])
def test_upstream_gradients_in_the_layouts_of_other_operations(like):
    torch = pytest.importorskip("torch")

    def misread(u):
        if like == "expanded":
            return u.as_strided(u.shape, (0,) * u.ndim) if 0 in u.stride() else u
        last = not u.is_contiguous() and u.is_contiguous(memory_format=torch.channels_last)
        return u.permute(0, 2, 3, 1).reshape(u.shape) if last else u

    class Square(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x**2

        @staticmethod
        def backward(ctx, u):
            (x,) = ctx.saved_tensors
            return 2 * x * misread(u)

    x = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    for given in (x.clone(), x.to(memory_format=torch.channels_last)):
        with pytest.raises(GradcheckError) as caught:
            check_torch(Square, given.requires_grad_())
        assert caught.value.check == "layout"


def test_an_array_that_is_no_tensor_is_a_constant():
    torch = pytest.importorskip("torch")

    def clipped(x, mask):
        np.clip(mask, 0, 1, out=mask)
        return x * torch.from_numpy(mask)

    x, mask = torch.ones(3, dtype=torch.float64, requires_grad=True), np.array([0.0, 2.0, 1.0])
    with pytest.raises(GradcheckError) as caught:
        check_torch(clipped, [x, mask])
    assert caught.value.check == "changed input"
    assert mask[1] == 2
