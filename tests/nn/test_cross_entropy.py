"""Cross-entropy on labels and distributions: values, gradients, and what is refused."""

import math

import numpy as np
import pytest

import minialex as ma
import minialex.functional as F
from minialex.errors import DataError, ShapeError

DEVICES = ["cpu", pytest.param("cuda-host", marks=pytest.mark.needs_gxx)]


@pytest.mark.parametrize("label", [-1, 5, 1000, -(2**40)])
@pytest.mark.parametrize("place", [0, 2])
def test_a_label_that_is_no_class_is_refused(label, place):
    labels = np.array([0, 4, 1])
    labels[place] = label
    with pytest.raises(DataError, match=rf"labels must be classes from 0 to 4, not {label}"):
        F.cross_entropy(ma.Tensor(np.zeros((3, 5), np.float32)), labels)


@pytest.mark.parametrize("weight", [None, [1.0, 2.0, 3.0]])
def test_each_cell_of_an_image_is_a_row_of_its_own(weight):
    random = np.random.default_rng(0)
    x, labels = random.standard_normal((2, 3, 4, 5)), random.integers(0, 3, (2, 4, 5))
    losses = F.cross_entropy(ma.Tensor(x), labels, weight, reduction="none").numpy()
    shares = np.ones(3) if weight is None else np.array(weight)
    for n, i, j in np.ndindex(2, 4, 5):
        logits, label = x[n, :, i, j], labels[n, i, j]
        expected = shares[label] * (np.log(np.exp(logits).sum()) - logits[label])
        np.testing.assert_allclose(losses[n, i, j], expected, rtol=1e-12)
    mean = F.cross_entropy(ma.Tensor(x), labels, weight).item()
    np.testing.assert_allclose(mean, losses.sum() / shares[labels].sum(), rtol=1e-12)


def test_labels_of_an_image_have_its_shape():
    with pytest.raises(ShapeError, match=r"needs labels \(2, 4, 5\) or a distribution .*, not \(2, 5, 4\)"):
        F.cross_entropy(ma.Tensor(np.zeros((2, 3, 4, 5))), np.zeros((2, 5, 4), int))


def test_labels_that_are_no_integers_are_refused():
    with pytest.raises(DataError, match="labels must be integers, not float64"):
        F.cross_entropy(ma.Tensor(np.zeros((3, 5), np.float32)), np.zeros(3))


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int32, np.int64, np.uint64])
def test_the_first_and_the_last_class_are_taken_in_every_integer_dtype(dtype):
    x = np.log(np.array([[1.0, 2, 5], [1, 2, 5]])).astype(np.float32)
    losses = F.cross_entropy(ma.Tensor(x), np.array([0, 2], dtype), reduction="none")
    assert losses.numpy() == pytest.approx([np.log(8), np.log(8 / 5)], rel=1e-6)


def test_one_hot_rows_give_the_bits_of_labels():
    x = np.random.default_rng(0).standard_normal((6, 4)).astype(np.float32)
    labels = np.array([3, 0, 1, 1, 2, 3])
    losses, gradients = [], []
    for target in (labels, np.eye(4, dtype=np.float32)[labels], np.eye(4)[labels]):
        logits = ma.Tensor(x, requires_grad=True)
        loss = F.cross_entropy(logits, target)
        loss.backward()
        losses.append(loss.numpy().tobytes())
        gradients.append(logits.grad.numpy().tobytes())
    assert len(set(losses)) == len(set(gradients)) == 1


def soft_rows(seed, shape=(3, 4)):
    rows = np.random.default_rng(seed).random(shape)
    return rows / rows.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_a_target_that_requires_a_gradient_gets_it(smoothing):
    """loss[n] = -sum over c of t' log p, t' = (1 - s) t + s / C, so that d loss / d t = -(1 - s) log p."""
    generator = np.random.default_rng(1)
    x, t, upstream = generator.standard_normal((3, 4)), soft_rows(2), generator.standard_normal(3)
    log_p = x - np.log(np.exp(x).sum(axis=1, keepdims=True))
    mixed = (1 - smoothing) * t + smoothing / 4

    logits, target = ma.Tensor(x, requires_grad=True), ma.Tensor(t, requires_grad=True)
    losses = F.cross_entropy(logits, target, reduction="none", label_smoothing=smoothing)
    np.testing.assert_allclose(losses.numpy(), -(mixed * log_p).sum(axis=1), rtol=1e-12)
    of_x, of_t = ma.grad(losses, [logits, target], ma.Tensor(upstream))
    np.testing.assert_allclose(of_t.numpy(), -(1 - smoothing) * log_p * upstream[:, None], rtol=1e-12)
    np.testing.assert_allclose(of_x.numpy(), (np.exp(log_p) - mixed) * upstream[:, None], rtol=1e-10)

    constant = F.cross_entropy(ma.Tensor(x), ma.Tensor(t), reduction="none", label_smoothing=smoothing)
    np.testing.assert_allclose(constant.numpy(), losses.numpy(), rtol=1e-12)


def test_gradients_of_both_arguments_of_first_and_second_order():
    arguments = [
        ma.Tensor(np.random.default_rng(3).standard_normal((3, 4)), requires_grad=True),
        ma.Tensor(soft_rows(4), requires_grad=True),
    ]
    assert ma.gradcheck(lambda x, t: F.cross_entropy(x, t, label_smoothing=0.1), arguments)
    assert ma.gradgradcheck(lambda x, t: F.cross_entropy(x, t, reduction="none"), arguments)


def test_a_distribution_of_another_shape_is_refused():
    x = ma.Tensor(np.zeros((3, 5), np.float32))
    for target in (np.zeros((3, 4)), ma.Tensor(np.zeros((3, 4), np.float32), requires_grad=True)):
        with pytest.raises(ShapeError, match=r"target must have shape .*, not \(3, 4\)"):
            F.cross_entropy(x, target)


# Class weights, labels to ignore, reductions

LABELS = np.array([1, 3, 0, 3, 2])
WEIGHT = np.array([0.5, 2.0, 0.0, 1.25])


def loss_of_rows(x, labels, weight, ignored, smoothing):
    """PyTorch's formula in nested loops: the losses, the rows' weights, and the losses' gradients."""
    classes = x.shape[1]
    losses, row_weights, gradients = np.zeros(len(x)), np.zeros(len(x)), np.zeros(x.shape)
    for n, label in enumerate(labels):
        if label == ignored:
            continue
        row_weights[n] = weight[label]
        log_sum = np.log(sum(np.exp(x[n, c]) for c in range(classes)))
        for c in range(classes):
            share = smoothing / classes * weight[c] + (1 - smoothing) * weight[c] * (c == label)
            losses[n] -= share * (x[n, c] - log_sum)
            for k in range(classes):
                gradients[n, k] -= share * ((c == k) - np.exp(x[n, k] - log_sum))
    return losses, row_weights, gradients


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("smoothing", [0.0, 0.4])
@pytest.mark.parametrize("ignored", [3, -100, -1])
@pytest.mark.parametrize("weight", [None, WEIGHT])
def test_the_options_against_nested_loops(device, smoothing, ignored, weight):
    generator = np.random.default_rng(5)
    values, upstream = generator.standard_normal((6, 4)), generator.standard_normal(6)
    labels = np.append(LABELS, ignored)  # of which one more is ignored where 3 is
    right, of_rows, of_x = loss_of_rows(
        values, labels, np.ones(4) if weight is None else weight, ignored, smoothing
    )
    total = of_rows.sum()
    for reduction, value, gradient, u in (
        ("none", right, of_x * upstream[:, None], upstream),
        ("sum", right.sum(), of_x * 1.5, np.array(1.5)),
        ("mean", right.sum() / total, of_x * 1.5 / total, np.array(1.5)),
    ):
        x = ma.Tensor(values, requires_grad=True, device=device)
        options = {"ignore_index": ignored, "reduction": reduction, "label_smoothing": smoothing}
        loss = F.cross_entropy(x, labels, weight, **options)
        np.testing.assert_allclose(loss.numpy(), value, rtol=1e-12)
        loss.backward(ma.Tensor(u, device=device))
        np.testing.assert_allclose(x.grad.numpy(), gradient, rtol=1e-11, atol=1e-15)


def test_a_weighted_mean_by_hand():
    # log softmax of both rows is log(1/4), log(3/4).
    x = np.log(np.array([[1.0, 3], [1, 3], [1, 3]]))
    loss = F.cross_entropy(ma.Tensor(x), np.array([0, 1, -100]), [2.0, 1.0])
    assert loss.item() == pytest.approx((2 * np.log(4) + np.log(4 / 3)) / 3, rel=1e-14)
    # Of a distribution the weights count in the sum, and the mean is that of the rows.
    loss = F.cross_entropy(ma.Tensor(x), np.array([[0.5, 0.5], [1, 0], [0, 0]]), [2.0, 1.0])
    assert loss.item() == pytest.approx((np.log(4) + np.log(4 / 3) / 2 + 2 * np.log(4)) / 3, rel=1e-14)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("rows", [0, 3])
def test_no_rows_and_ignored_rows_have_a_mean_of_nan_and_no_gradient(rows, dtype, device):
    values, labels = np.full((rows, 4), np.nan, dtype), np.full(rows, 255)
    for weight in (None, WEIGHT):
        for reduction, value in (("mean", np.nan), ("sum", 0), ("none", np.zeros(rows))):
            x = ma.Tensor(values, requires_grad=True, device=device)
            loss = F.cross_entropy(x, labels, weight, ignore_index=255, reduction=reduction)
            np.testing.assert_array_equal(loss.numpy(), np.asarray(value, dtype), strict=True)
            loss.backward(ma.Tensor(np.full(loss.shape, 0.3, dtype), device=device))
            np.testing.assert_array_equal(x.grad.numpy(), np.zeros((rows, 4), dtype), strict=True)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_infinite_and_huge_logits(dtype, device):
    for row, label, value, gradient in (
        ([0, -np.inf, 1], 2, np.log(1 + np.exp(-1)), [1 / (1 + np.e), 0, -1 / (1 + np.e)]),
        ([2e38, -2e38], 0, 0, [0, 0]),
        ([-np.inf, -7], 1, 0, [0, 0]),
        ([0, -np.inf], 1, np.inf, [1, -1]),
    ):
        x = ma.Tensor(np.array([row], dtype), requires_grad=True, device=device)
        for target in (np.array([label]), np.eye(len(row))[[label]]):
            loss = F.cross_entropy(x, target)
            np.testing.assert_allclose(loss.numpy(), value, rtol=1e-6)
            (of_x,) = ma.grad(loss, x, create_graph=True)
            np.testing.assert_allclose(of_x.numpy(), [gradient], rtol=1e-6, atol=1e-12)
            # The derivative of softmax along u is p (u - sum(p u)).
            u = np.arange(1, len(row) + 1) / 3
            p = np.exp(np.array(row, np.float64) - max(row))
            p /= p.sum()
            (second,) = ma.grad(of_x, x, ma.Tensor(u[None].astype(dtype), device=device))
            np.testing.assert_allclose(second.numpy(), [p * (u - (p * u).sum())], rtol=1e-5, atol=1e-7)


def test_smoothing_gives_a_class_that_was_ruled_out_a_weight():
    x = ma.Tensor([[0.0, -np.inf, 1.0]], requires_grad=True)
    loss = F.cross_entropy(x, np.array([2]), label_smoothing=0.3)
    assert loss.item() == np.inf
    loss.backward()
    p = np.array([1, 0, np.e]) / (1 + np.e)
    np.testing.assert_allclose(x.grad.numpy(), [p - [0.1, 0.1, 0.8]], rtol=1e-6)
    # A class weight of 0 takes it away again.
    assert F.cross_entropy(x, np.array([2]), [1, 0, 1], label_smoothing=0.3).item() < 1


def test_gradients_of_first_and_second_order_with_weights():
    x = ma.Tensor(np.random.default_rng(6).standard_normal((5, 4)), requires_grad=True)
    t = ma.Tensor(soft_rows(7, (5, 4)), requires_grad=True)
    options = {"ignore_index": 3, "label_smoothing": 0.2}
    assert ma.gradgradcheck(lambda x: F.cross_entropy(x, LABELS, WEIGHT, **options), [x])
    assert ma.gradgradcheck(lambda x, t: F.cross_entropy(x, t, WEIGHT, label_smoothing=0.2), [x, t])


X = np.zeros((3, 5), np.float32)
ROWS = np.full((3, 5), 0.2)


@pytest.mark.parametrize(
    ("target", "arguments", "error", "message"),
    [
        ([0, 1, 2], {"weight": np.ones(4)}, ShapeError, r"weight must have shape \(5,\) .*, not \(4,\)"),
        ([0, 1, 2], {"weight": np.ones((5, 1))}, ShapeError, r"weight must have shape .*, not \(5, 1\)"),
        ([0, 1, 2], {"weight": 2.0}, ShapeError, r"weight must have shape .*, not \(\)"),
        ([0, 1, 2], {"weight": "sum"}, DataError, r"must be 5 numbers, not 'sum'; write reduction='sum'"),
        ([0, 1, 2], {"weight": ["a"] * 5}, DataError, r"must be 5 numbers, not of <U1"),
        ([0, 1, 2], {"weight": np.ones(5) * 1j}, DataError, r"must be 5 numbers, not of complex128"),
        ([0, 1, 2], {"weight": ma.Tensor(np.ones(5), True)}, DataError, r"constant .* weight\.detach\(\)"),
        ([0, 1, 2], {"ignore_index": 1.0}, ShapeError, r"ignore_index must be an integer, not 1\.0"),
        ([0, 1, 2], {"ignore_index": None}, ShapeError, r"ignore_index must be an integer, not None"),
        ([0, 1, 7], {"ignore_index": 1}, DataError, r"labels must be classes from 0 to 4, not 7"),
        (ROWS, {"ignore_index": 1}, ShapeError, r"ignore_index=1 is for labels"),
        (
            [0, 1, 2],
            {"reduction": "Mean"},
            ShapeError,
            r"reduction must be 'mean', 'sum' or 'none', not 'Mean'",
        ),
        ([0, 1, 2], {"reduction": None}, ShapeError, r"reduction must be .*, not None"),
        (
            [0, 1, 2],
            {"label_smoothing": -0.1},
            ShapeError,
            r"label_smoothing must be a number from 0 to 1, not -0\.1",
        ),
        ([0, 1, 2], {"label_smoothing": "0.1"}, ShapeError, r"label_smoothing must be .*, not '0\.1'"),
        ([0, 1, 2], {"label_smoothing": np.nan}, ShapeError, r"label_smoothing must be .*, not nan"),
        ([0, 1, 2], {"weight": [1, np.nan, 1, 1, 1]}, DataError, "weight must be 5 numbers, and has a NaN"),
        (ROWS * 1j, {}, DataError, r"a distribution must be of real numbers, not of complex128"),
    ],
)
def test_an_option_that_is_wrong_is_named(target, arguments, error, message):
    with pytest.raises(error, match=message):
        F.cross_entropy(ma.Tensor(X), target, **arguments)


def test_ignore_index_may_be_a_number_of_numpy():
    x, labels = ma.Tensor(np.eye(3, 5)), np.array([0, 255, 2], np.uint8)
    loss = F.cross_entropy(x, labels, ignore_index=np.int64(255), reduction="none")
    np.testing.assert_allclose(loss.numpy(), [np.log(np.e + 4) - 1, 0, np.log(np.e + 4) - 1], rtol=1e-14)


@pytest.mark.parametrize("wrap", [lambda target: target, ma.Tensor], ids=["array", "tensor"])
def test_a_target_that_is_used_again_for_the_next_batch_does_not_change_this_gradient(wrap):
    x = ma.Tensor(np.array([[1.0, 2.0]], np.float32), requires_grad=True)
    target = np.array([[0.5, 0.5]], np.float32)
    loss = F.cross_entropy(x, wrap(target))
    target[...] = 1, 0
    loss.backward()
    share = 1 / (1 + math.e)
    np.testing.assert_allclose(x.grad.numpy(), [[share - 0.5, 0.5 - share]], rtol=1e-6)


def test_the_loss_of_log_probabilities_refuses_what_cross_entropy_does():
    x = ma.Tensor(np.zeros((2, 3), np.float32))
    weight = ma.tensor([1.0, 2.0, 3.0], requires_grad=True)
    for loss in (F.cross_entropy, F.nll_loss):
        with pytest.raises(DataError, match="labels must be classes from 0 to 2, not 3"):
            loss(x, np.array([0, 3]))
        with pytest.raises(DataError, match=r"a constant and gets no gradient; pass weight.detach\(\)"):
            loss(x, np.array([0, 1]), weight)
        with pytest.raises(DataError, match="weight must be 3 numbers, and has a NaN"):
            loss(x, np.array([0, 1]), [1.0, np.nan, 1.0])
        with pytest.raises(ShapeError, match="reduction must be 'mean', 'sum' or 'none', not 'median'"):
            loss(x, np.array([0, 1]), reduction="median")
