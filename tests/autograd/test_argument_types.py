"""What callers pass for numbers, axes and tensors: NumPy's scalars count as Python's; the rest is refused."""

import numpy as np
import pytest

import minialex as ma
import minialex.functional as F
from minialex import nn, operations, optim
from minialex.errors import DeviceError, GraphError, ShapeError

every_device = pytest.mark.parametrize(
    "device", ["cpu", pytest.param("cuda-host", marks=pytest.mark.needs_gxx)]
)
every_scalar = pytest.mark.parametrize("scalar", [np.float64, np.float32])

IMAGES = np.random.default_rng(1).standard_normal((2, 3, 5, 5))
STATISTICS = np.zeros(3, np.float32), np.ones(3, np.float32)

OPTIONS = {
    "power": lambda x, number: x ** number(2.5),
    "local_response_norm": lambda x, number: F.local_response_norm(
        x, 3, alpha=number(0.5), beta=number(0.75), k=number(2.0)
    ),
    "dropout": lambda x, number: F.dropout(x, number(0.25)),
    "batch_norm": lambda x, number: F.batch_norm(x, None, None, training=True, eps=number(1e-3)),
    "batch_norm at evaluation": lambda x, number: F.batch_norm(x, *STATISTICS, eps=number(1e-3)),
    "cross_entropy": lambda x, number: F.cross_entropy(
        x.reshape(6, 25), [0, 1, 2, 3, 4, 5], label_smoothing=number(0.25), reduction="none"
    ),
    "sum of products": lambda x, number: number(2.0) * x + number(0.5) / x,
}


@every_device
@every_scalar
@pytest.mark.parametrize("name", OPTIONS)
def test_a_number_of_numpy_s_counts_as_python_s_and_widens_nothing(name, scalar, device):
    def run(number):
        ma.manual_seed(3)
        x = ma.Tensor(np.abs(IMAGES).astype(np.float32), requires_grad=True, device=device)
        y = OPTIONS[name](x, number)
        weights = ma.Tensor(IMAGES.astype(np.float32), device=device)
        upstream = weights if y.shape == x.shape else weights.sum((1, 2, 3), keepdims=True).expand(2, 3, 1, 1)
        (gradient,) = ma.grad(y, x, upstream.reshape(y.shape), create_graph=True)
        (second,) = ma.grad(gradient, x, weights, allow_unused=True) if gradient.requires_grad else (None,)
        return [t.numpy() for t in (y, gradient, second) if t is not None]

    for given, right in zip(run(scalar), run(float), strict=True):
        assert given.dtype == np.float32
        np.testing.assert_array_equal(given, right)


@every_device
@every_scalar
@pytest.mark.parametrize("kind", [optim.SGD, optim.Adam])
def test_an_optimiser_takes_numbers_of_numpy_s(kind, scalar, device):
    def run(number):
        p = ma.Tensor(np.array([1.0, -2.0], np.float32), requires_grad=True, device=device)
        special = {"momentum": number(0.9)} if kind is optim.SGD else {"eps": number(1e-6)}
        optimizer = kind([p], lr=number(0.25), weight_decay=number(0.125), **special)
        for _ in range(2):
            p.grad = ma.Tensor(np.array([0.5, 3.0], np.float32), device=device)
            optimizer.step()
        return p.numpy()

    np.testing.assert_allclose(run(scalar), run(float), rtol=1e-6)


@every_device
def test_shapes_and_axes_may_be_integers_of_numpy_s(device):
    one, two, three = np.int64(1), np.int32(2), np.uint8(3)
    values = np.arange(6, dtype=np.float32).reshape(2, 3)
    x = ma.Tensor(values, device=device)
    assert x.reshape(np.prod(x.shape)).numpy().tolist() == [0, 1, 2, 3, 4, 5]
    assert x.reshape(three, two).shape == (3, 2)
    assert x.reshape(np.array([3, 2])).shape == (3, 2)
    assert x.transpose(one, np.int64(0)).numpy().tolist() == values.T.tolist()
    assert x.sum(one).numpy().tolist() == [3, 12]
    assert x.sum((np.int64(-2),)).numpy().tolist() == [3, 5, 7]
    assert x.mean(np.int64(-1), keepdims=True).numpy().tolist() == [[1], [4]]
    assert x.amax([0, one]).item() == 5
    assert x.reshape(1, 2, 3).expand(two, two, three).shape == (2, 2, 3)
    assert F.flatten(x.reshape(2, 3, 1), one).shape == (2, 3)
    np.testing.assert_allclose(F.softmax(x, one).numpy().sum(1), 1, rtol=1e-6)
    images = ma.Tensor(IMAGES.astype(np.float32), device=device)
    layer = nn.Conv2d(three, np.int64(6), two, groups=np.int64(3)).to(device)
    assert layer(images).shape == (2, 6, 4, 4)
    assert F.local_response_norm(images, np.int64(3)).shape == images.shape


def test_a_seed_of_numpy_s_is_python_s():
    ma.manual_seed(np.int64(5))
    assert type(ma.random.state_dict()["seed"]) is int
    first = ma.random.generator().random()
    ma.manual_seed(5)
    assert ma.random.generator().random() == first


def test_expand_keeps_the_length_that_minus_one_stands_for():
    x = ma.Tensor(np.array([[1.0], [2.0]], np.float32), requires_grad=True)
    y = x.expand(3, -1, 2)
    assert y.shape == (3, 2, 2)
    y.backward(np.arange(12, dtype=np.float32).reshape(3, 2, 2))
    assert x.grad.numpy().tolist() == [[0 + 1 + 4 + 5 + 8 + 9], [2 + 3 + 6 + 7 + 10 + 11]]
    with pytest.raises(ShapeError, match=r"cannot be repeated to \(-1, 2, 1\)"):
        x.expand(-1, 2, 1)


@pytest.mark.parametrize(
    "call",
    [
        lambda x: x.reshape(2.0, 3),
        lambda x: x.reshape("6"),
        lambda x: x.reshape(True, 6),
        lambda x: x.reshape((6, True)),
        lambda x: x.reshape(True),
        lambda x: x.transpose(1.0, 0),
        lambda x: x.expand(None),
        lambda x: x.sum(1.0),
        lambda x: x.sum(True),
        lambda x: x.max("0"),
        lambda x: F.softmax(x, 1.0),
        lambda x: F.log_softmax(x, None),
        lambda x: F.flatten(x, 0.0),
        lambda x: F.batch_norm(x, None, None, training=True, axis=1.0),
    ],
)
def test_shapes_and_axes_that_are_no_integers_are_refused(call):
    with pytest.raises(ShapeError):
        call(ma.Tensor(np.ones((2, 3), np.float32)))


@pytest.mark.parametrize("value", ["1", None, 1j, True, np.array([0.1]), np.array(0.1), -2.0], ids=repr)
@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("alpha", lambda x, value: F.local_response_norm(x, 3, alpha=value)),
        ("beta", lambda x, value: F.local_response_norm(x, 3, beta=value)),
        ("k", lambda x, value: F.local_response_norm(x, 3, k=value)),
        ("p", F.dropout),
        ("momentum", lambda x, value: F.batch_norm(x, *STATISTICS, training=True, momentum=value)),
        ("eps", lambda x, value: F.batch_norm(x, None, None, training=True, eps=value)),
    ],
)
def test_an_option_that_is_no_number_in_range_is_refused_by_name(name, call, value):
    with pytest.raises(ShapeError, match=f"{name} must be a number"):
        call(ma.Tensor(IMAGES.astype(np.float32)), value)


@pytest.mark.parametrize("value", ["no", "False", None, np.nan, 1], ids=repr)
@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("ceil_mode", lambda x, flag: F.max_pool2d(x, 2, ceil_mode=flag)),
        ("ceil_mode", lambda x, flag: F.avg_pool2d(x, 2, ceil_mode=flag)),
        ("count_include_pad", lambda x, flag: F.avg_pool2d(x, 2, count_include_pad=flag)),
        ("training", lambda x, flag: F.dropout(x, 0.5, flag)),
        ("training", lambda x, flag: F.dropout2d(x, 0.5, flag)),
        ("training", lambda x, flag: F.batch_norm(x, None, None, training=flag)),
        *(
            ("keepdims", lambda x, flag, name=name: getattr(x, name)(dim=0, keepdim=flag))
            for name in ["sum", "mean", "var", "std", "norm", "amax", "amin", "max", "argmax", "any", "all"]
        ),
    ],
)
def test_an_option_that_is_no_flag_is_refused_by_name(name, call, value):
    x = ma.Tensor(IMAGES.astype(np.float32))
    call(x, np.True_)
    with pytest.raises(ShapeError, match=f"{name} must be True or False, not "):
        call(x, value)


@pytest.mark.parametrize("flag", ["no", np.nan, None, 1])
def test_a_gradient_is_required_or_not(flag):
    for call in (
        lambda: ma.ones(2, requires_grad=flag),
        lambda: nn.Parameter(np.ones(2), flag),
        lambda: ma.ones(2).requires_grad_(flag),
    ):
        with pytest.raises(GraphError, match="requires_grad must be True or False, not "):
            call()
    assert ma.ones(2, requires_grad=np.True_).requires_grad is True


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda x: F.conv2d(x, None), TypeError, "conv2d: weight must be a tensor, not None"),
        (lambda x: F.conv1d(x, None), TypeError, "conv1d: weight must be a tensor, not None"),
        (lambda x: F.conv_transpose2d(x, None), TypeError, "conv_transpose2d: weight must be a tensor"),
        (lambda x: F.linear(x, None), TypeError, "linear: weight must be a tensor, not None"),
        (lambda x: ma.Tensor([1.0], device=["cpu"]), DeviceError, r"device must be a name, .* \['cpu'\]"),
        (lambda x: ma.Tensor([1.0], dtype="flaot32"), TypeError, "dtype must be .*, not 'flaot32'"),
        (lambda x: ma.tensor([1.0], dtype="flaot32"), TypeError, "dtype must be .*, not 'flaot32'"),
        (lambda x: ma.tensor(10**40), TypeError, "data holds an integer of more than 64 bits"),
    ],
)
def test_a_wrong_kind_is_said_to_be_wrong(call, error, message):
    with pytest.raises(error, match=message):
        call(ma.Tensor(IMAGES.astype(np.float32)))


@pytest.mark.parametrize(
    ("values", "dtype", "other"),
    [([1, 2], np.int64, 0.5), ([1, 2], np.uint8, 300), ([1, 2], np.uint8, -1), ([True], np.bool_, 2)],
)
def test_a_number_that_an_integer_tensor_cannot_hold_is_refused(values, dtype, other):
    """0.5 would become 0, and 300 as a byte 44."""
    t = ma.Tensor(np.array(values, dtype))
    for meet in (lambda: t * other, lambda: other + t, lambda: t - np.float64(other)):
        with pytest.raises(TypeError, match="cannot hold it; make that one of floats"):
            meet()


def test_a_number_that_an_integer_tensor_holds_takes_its_dtype():
    t = ma.Tensor(np.array([1, 2], np.uint8)) * 3.0
    assert t.dtype == np.uint8
    assert t.numpy().tolist() == [3, 6]


@pytest.mark.parametrize("other", [None, "1", 1j, object()], ids=["None", "text", "complex", "object"])
def test_what_is_no_number_is_no_operand(other):
    """None would become a NaN, and 1j lose its imaginary part."""
    x = ma.Tensor(np.ones(2, np.float32))
    for meet in (lambda: x + other, lambda: other * x):
        with pytest.raises(TypeError, match=r"must be a number, an array of numbers or a tensor, not "):
            meet()


@pytest.mark.parametrize("exponent", [None, "2", [1.0, 2.0], np.array([1.0, 2.0]), True], ids=repr)
def test_an_exponent_that_is_no_number_is_refused(exponent):
    with pytest.raises(TypeError, match="power: exponent must be a number"):
        ma.Tensor(np.ones(2, np.float32)) ** exponent


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("relu", F.relu),
        ("softmax", F.softmax),
        ("log_softmax", F.log_softmax),
        ("linear", nn.Linear(3, 2).forward),
        ("conv2d", nn.Conv2d(1, 1, 1).forward),
        ("flatten", F.flatten),
        ("flatten", nn.Flatten().forward),
        ("avg_pool2d", lambda x: F.avg_pool2d(x, 1)),
        ("max_pool2d", lambda x: F.max_pool2d(x, 1)),
        ("local_response_norm", F.local_response_norm),
        ("dropout", F.dropout),
        ("dropout", lambda x: F.dropout(x, training=False)),
        ("batch_norm", lambda x: F.batch_norm(x, None, None)),
        ("batch_norm", nn.BatchNorm2d(3).forward),
        ("cross_entropy", lambda x: F.cross_entropy(x, [0, 1])),
        ("sum", operations.sum),
        ("mean", operations.mean),
        ("amax", operations.amax),
        ("reshape", lambda x: operations.reshape(x, 6)),
        ("transpose", operations.transpose),
        ("broadcast_to", lambda x: operations.broadcast_to(x, 2, 3)),
        ("getitem", lambda x: operations.getitem(x, 0)),
        ("channel_window_sum", lambda x: operations.channel_window_sum(x, 1)),
        ("any", operations.any),
        ("all", operations.all),
        ("power", lambda x: operations.power(x, 2)),
    ],
)
@pytest.mark.parametrize(
    ("kind", "given"), [("ndarray", np.ones((2, 3, 1, 1), np.float32)), ("list", [[1.0, 2.0]])]
)
def test_what_is_no_tensor_is_refused_with_what_to_do(name, call, kind, given):
    with pytest.raises(
        TypeError, match=rf"^{name}: x must be a tensor, not {kind}; wrap an array with minialex\.Tensor"
    ):
        call(given)


def test_a_batch_normalisation_takes_lists_where_a_convolution_does():
    """(x - 1) / sqrt(4) for x = 5, twice that plus 1, and thrice plus 2."""
    x = ma.Tensor(np.full((1, 2, 1, 1), 5, np.float32))
    mean, var = np.ones(2, np.float32), np.full(2, 4, np.float32)
    y = F.batch_norm(x, mean, var, weight=[2.0, 3.0], bias=[1, 2], eps=0)
    assert y.numpy().ravel().tolist() == [5.0, 8.0]
    assert y.dtype == np.float32
    for argument in ("weight", "bias"):
        with pytest.raises(ShapeError, match=rf"batch_norm: .*{argument}"):
            F.batch_norm(x, mean, var, **{argument: 1.0})
