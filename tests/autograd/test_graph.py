"""The graph: what is recorded, what is freed and when, and what is refused."""

import copy
import gc
import threading
import weakref

import numpy as np
import pytest

import minialex as ma
import minialex.functional as F
from minialex import nn, optim
from minialex.autograd import branches_taken, is_grad_enabled
from minialex.checking.testing.compare import assert_close
from minialex.errors import DeviceError, GraphError
from minialex.kernels.contract.results import calls_heard
from minialex.stand_ins import stand_in


def leaf(values, dtype=np.float64):
    return ma.Tensor(np.array(values, dtype=dtype), requires_grad=True)


def constant(values, dtype=np.float64):
    return ma.Tensor(np.array(values, dtype=dtype))


class Double(ma.Operation):
    """2 x, with a hook that runs in its backward."""

    def __init__(self, hook=lambda: None):
        self.hook = hook

    def forward(self, x):
        return 2 * x

    def backward(self, g):
        self.hook()
        return (2 * g,)


def test_an_operation_that_is_called_twice_is_refused():
    # The second call would overwrite what the first one's result needs in backward.
    double, x = Double(), leaf([1.0, 2.0])
    y = double(x)
    with pytest.raises(GraphError, match="this Double was called before"):
        double(leaf([5.0, 6.0]))
    (gradient,) = ma.grad(y, x, constant([3.0, -4.0]))
    assert gradient.tolist() == [6.0, -8.0]


# Freeing


def test_the_graph_is_freed_operation_by_operation():
    # While an early operation is differentiated, what a later one kept is gone already.
    kept, alive = [], []
    x = leaf([1.0, 2.0])
    early = Double(lambda: alive.append(kept[0]() is not None))(x)
    middle = early.exp()
    kept.append(weakref.ref(middle.data))
    result = (middle * middle).sum()
    del middle
    assert kept[0]() is not None
    result.backward()
    assert alive == [False]


def test_retain_graph_keeps_it():
    kept, alive = [], []
    early = Double(lambda: alive.append(kept[0]() is not None))(leaf([1.0]))
    middle = early.exp()
    kept.append(weakref.ref(middle.data))
    result = (middle * middle).sum()
    del middle
    result.backward(retain_graph=True)
    assert alive == [True]


def test_without_backward_the_graph_goes_with_its_result_and_without_the_garbage_collector():
    x = leaf([1.0])
    middle = x.exp()
    kept = weakref.ref(middle.data)
    result = middle * middle
    gc.disable()
    try:
        del middle, result
        assert kept() is None
    finally:
        gc.enable()


def test_max_pooling_looks_for_winners_only_where_a_gradient_may_need_them():
    heard = []

    def hears(run):
        heard.clear()
        with calls_heard(lambda name, arrays, parameters: heard.append(name)):
            run()
        return heard

    def image(requires_grad):
        return ma.Tensor(stand_in((1, 1, 4, 4)), requires_grad, "meta")

    alone, both = ["max_pool2d.evaluate"], ["max_pool2d.forward"]
    assert hears(lambda: F.max_pool2d(image(False), 2)) == alone
    assert hears(lambda: F.max_pool2d(image(True), 2)) == both
    with ma.no_grad():
        assert hears(lambda: F.max_pool2d(image(True), 2)) == alone
    # A gradient checker compares which cells won, on both sides of a point.
    x = ma.randn(2, 3, 7, 6)
    with branches_taken() as branches:
        y = F.max_pool2d(x, 3, 2, 1)
    assert [branch.shape for branch in branches] == [y.shape]
    np.testing.assert_array_equal(F.max_pool2d(x, 3, 2, 1).numpy(), y.numpy())
    values, places = F.max_pool2d(x, 3, 2, 1, return_indices=True)
    np.testing.assert_array_equal(values.numpy(), y.numpy())
    np.testing.assert_array_equal(places.numpy(), branches[0])


def test_max_pooling_lets_go_of_its_winners():
    y = F.max_pool2d(leaf(np.arange(16.0).reshape(1, 1, 4, 4)), 2)
    winners = weakref.ref(y.creator.winners)
    y.backward(np.ones(y.shape))
    assert winners() is None


def test_a_second_backward_says_what_to_do():
    x = leaf([2.0])
    y = x * x
    y.backward()
    with pytest.raises(GraphError, match="freed by an earlier backward pass; pass retain_graph=True"):
        y.backward()
    with pytest.raises(GraphError, match="retain_graph=True"):
        ma.grad(y, x)
    # Also where only a part of it was freed.
    shared = x * x
    first, second = shared * 2, shared * 3
    first.backward()
    with pytest.raises(GraphError, match="retain_graph=True"):
        second.backward()


def test_retain_graph_allows_another_pass_that_adds_up():
    x = leaf([2.0])
    y = x * x
    y.backward(retain_graph=True)
    y.backward(retain_graph=True)
    y.backward()
    assert_close(x.grad.data, np.array([12.0]), 0)


def test_create_graph_retains_it():
    x = leaf([2.0])
    y = x * x * x
    (first,) = ma.grad(y, x, create_graph=True)
    (second,) = ma.grad(first, x, retain_graph=True)
    assert (first.item(), second.item()) == (12, 12)
    y.backward()
    assert x.grad.item() == 12


@pytest.mark.parametrize("length", [10_000, 100_000])
def test_a_deep_graph_needs_no_recursion(length):
    x = leaf([1.0])
    y = x
    for _ in range(length):
        y = -y
    y.backward(np.array([3.0]), retain_graph=True)
    assert x.grad.item() == 3  # the length is even
    kept = weakref.ref(y.creator)
    del y  # deallocated from the last operation to the first
    assert kept() is None


def test_a_deep_graph_can_be_differentiated_twice():
    x = leaf([1.0])
    y = x
    for _ in range(10_000):
        y = y * 1.0001
    (first,) = ma.grad(y * y, x, create_graph=True)
    (second,) = ma.grad(first, x)
    # y = c x, (y * y)'' = 2 c * c; ten thousand roundings of 1e-16 each
    assert_close(second.data, np.array([2 * 1.0001**20_000]), 1e-11)


# Paths


def test_an_expression_that_is_used_twice_is_passed_once():
    calls = []
    x = leaf([3.0])
    shared = Double(lambda: calls.append(1))(x)  # 2 x
    y = shared * shared + 5 * shared  # 4 x x + 10 x
    y.backward()
    assert x.grad.item() == 8 * 3 + 10
    assert calls == [1]


def test_a_ladder_of_diamonds_takes_linear_time():
    # 2**60 paths from end to end.
    x = leaf([1.0])
    y = x
    for _ in range(60):
        y = y + y
    y.backward()
    assert x.grad.item() == 2.0**60


def test_one_tensor_as_both_inputs():
    x = leaf([[1.0, 2.0], [3.0, 4.0]])
    (x @ x).backward(np.array([[1.0, -1.0], [0.5, 2.0]]))
    g = np.array([[1.0, -1.0], [0.5, 2.0]])
    assert_close(x.grad.data, g @ x.data.T + x.data.T @ g, 1e-15)


def test_the_leaves_of_several_branches():
    a, b, c = leaf([1.0]), leaf([2.0]), leaf([4.0])
    (a * b + b * c).backward()
    assert [t.grad.item() for t in (a, b, c)] == [2, 5, 2]


def test_constants_and_detached_tensors_get_no_gradient():
    x, fixed = leaf([2.0]), constant([3.0])
    (x * fixed + (x * x).detach()).backward()
    assert x.grad.item() == 3
    assert fixed.grad is None


def test_backward_of_a_leaf():
    x = leaf([1.0, 2.0])
    upstream = np.array([3.0, 4.0])
    x.backward(upstream)
    assert_close(x.grad.data, upstream, 0)
    assert not np.may_share_memory(x.grad.data, upstream)


# grad()


def test_grad_of_several_outputs_is_that_of_their_weighted_sum():
    x = leaf([1.0, 2.0])
    first, second = x * x, x * 3
    upstream = constant([1.0, 10.0]), constant([2.0, 20.0])
    (gradient,) = ma.grad([first, second], x, upstream)
    assert_close(gradient.data, np.array([1 * 2 * 1 + 2 * 3, 10 * 2 * 2 + 20 * 3.0]), 0)


def test_grad_of_outputs_of_one_element_needs_no_upstream():
    x = leaf([2.0])
    (gradient,) = ma.grad([x * x, x * 3], x, [None, constant([10.0])])
    assert gradient.item() == 4 + 30


def test_an_output_that_is_behind_another_output():
    x = leaf([2.0])
    inner = x * x
    outer = inner * 3
    gradients = ma.grad([outer, inner], [x, inner], retain_graph=True)
    assert [g.item() for g in gradients] == [(3 + 1) * 4, 3 + 1]


def test_grad_with_respect_to_intermediates_and_leaves():
    x = leaf([2.0])
    middle = x * x
    result = middle * middle
    of_middle, of_x, again = ma.grad(result, [middle, x, middle])
    assert (of_middle.item(), of_x.item(), again.item()) == (8, 32, 8)


def test_grad_with_respect_to_a_result_itself():
    x = leaf([2.0])
    y = x * x
    (gradient,) = ma.grad(y, y, constant([7.0]))
    assert gradient.item() == 7


def test_grad_leaves_grad_alone_and_frees_only_what_it_passed():
    x = leaf([2.0])
    middle = x * x
    result = middle * 3
    ma.grad(result, middle)
    assert x.grad is None
    middle.backward()  # was not passed
    assert x.grad.item() == 4


def test_an_input_that_was_not_used():
    x, other = leaf([2.0]), leaf([1.0])
    with pytest.raises(GraphError, match=r"do not depend on inputs\[1\]; pass allow_unused=True"):
        ma.grad(x * x, [x, other])
    of_x, of_other = ma.grad(x * x, [x, other], allow_unused=True)
    assert of_x.item() == 4
    assert of_other is None


def test_an_input_behind_an_operation_that_gives_it_no_gradient():
    class Stop(ma.Operation):
        def forward(self, a, b):
            return a + b

        def backward(self, g):
            return g, None

    a, b = leaf([1.0]), leaf([2.0])
    assert ma.grad(Stop()(a, b), [a, b], allow_unused=True)[1] is None
    Stop()(a, b).backward()
    assert a.grad.item() == 1
    assert b.grad is None


@pytest.mark.parametrize("function", [lambda x: x + 0, lambda x: x.reshape(-1), lambda x: x.T.T, lambda x: x])
def test_a_gradient_that_is_the_upstream_gradient_can_be_differentiated_by_it(function):
    x, upstream = leaf([1.0, 2.0]), leaf([3.0, 4.0])
    (gradient,) = ma.grad(function(x), x, upstream, create_graph=True)
    (back,) = ma.grad(gradient, upstream, constant([5.0, 6.0]))
    assert_close(back.data, np.array([5.0, 6.0]), 0)


def test_backward_with_create_graph_gives_gradients_that_can_be_differentiated():
    x = leaf([3.0])
    (x * x * x).backward(create_graph=True)
    (second,) = ma.grad(x.grad, x)
    assert second.item() == 18


# Collecting


def test_backward_adds_to_grad_in_an_array_of_its_own():
    x = leaf([2.0, 3.0])
    (x * x).backward(np.array([1.0, 10.0]))
    first = x.grad
    kept = first.data.copy()
    (x * 5).backward(np.array([1.0, 1.0]))
    assert_close(x.grad.data, np.array([4.0 + 5, 60.0 + 5]), 0)
    assert_close(first.data, kept, 0)


def test_gradients_that_reach_two_leaves_unchanged_do_not_share_memory():
    a, b, upstream = leaf([1.0, 2.0]), leaf([3.0, 4.0]), np.array([5.0, 6.0])
    (a + b).backward(upstream)
    a.grad.data[:] = -1
    assert_close(b.grad.data, np.array([5.0, 6.0]), 0)
    assert_close(upstream, np.array([5.0, 6.0]), 0)
    for gradients in (
        ma.grad(a + b, [a, b, a], constant(upstream)),
        ma.grad(a.reshape(-1), [a], constant([1, 2.0])),
    ):
        for gradient in gradients:
            gradient.data[:] = -1
    assert_close(upstream, np.array([5.0, 6.0]), 0)


def test_a_repeated_gradient_is_one_array_of_full_size():
    # The gradient of a sum is a broadcast view inside of the engine; the caller may write to it.
    x = leaf(np.ones((2, 3)))
    x.sum().backward()
    x.grad.data[0, 0] = 7
    assert_close(x.grad.data, np.array([[7.0, 1, 1], [1, 1, 1]]), 0)


def test_results_and_gradients_without_axes_are_arrays():
    x = leaf(2.0)
    y = x * x + x.exp() - abs(3.0)
    total = leaf([1.0, 2.0]).sum()
    y.backward()
    for tensor in (y, total, x.grad):
        assert isinstance(tensor.data, np.ndarray)
    x.grad.data[...] = 5
    assert x.grad.item() == 5


# Indexing and broadcasting


@pytest.mark.parametrize(
    "index",
    [
        1,
        -1,
        (slice(None), 2),
        (..., 0),
        (None, 1),
        slice(None, None, -1),
        (slice(0, 1), None, [0, 0, 2]),
        [0, 0, 1, 0],
        ([0, 0, 1], [2, 2, 0]),
        np.array([[True, False, True], [False, False, True]]),
        np.array([True, False]),
        np.int64(1),
        (np.array([0, 0]), ..., None),
    ],
    ids=str,
)
def test_the_gradient_of_indexing_counts_every_time_an_element_is_named(index):
    x = leaf([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    y = x[index]
    np.testing.assert_array_equal(y.data, x.data[index])
    upstream = np.random.default_rng(0).standard_normal(y.shape)
    y.backward(upstream)
    expected = np.zeros((2, 3))
    np.add.at(expected, index, upstream)
    assert_close(x.grad.data, expected, 1e-15)


@pytest.mark.parametrize(
    ("index", "change"),
    [
        (np.array([0, 1]), lambda index: index.fill(2)),
        ([0, 1], lambda index: index.reverse()),
        (np.array([True, True, False]), lambda index: np.logical_not(index, out=index)),
        (ma.Tensor(np.array([0, 1])), lambda index: index.data.fill(2)),
    ],
    ids=["array", "list", "mask", "tensor"],
)
def test_an_index_that_is_changed_before_backward_is_that_of_the_forward(index, change):
    x = ma.tensor([1.0, 2.0, 3.0], requires_grad=True)
    y = x[index]
    change(index)
    y.backward(np.array([5, 7], np.float32))
    assert x.grad.numpy().tolist() == [5, 7, 0]


def test_a_tensor_of_integers_is_an_index():
    x = leaf([1.0, 2.0, 3.0])
    y = x[ma.Tensor(np.array([2, 2, 0]))]
    y.backward(np.array([1.0, 10.0, 100.0]))
    assert x.grad.data.tolist() == [100, 0, 11]


def test_the_gradient_of_broadcasting_is_summed():
    row, column, number = leaf([1.0, 2.0, 3.0]), leaf([[1.0], [2.0]]), leaf(2.0)
    upstream = np.arange(6.0).reshape(2, 3)
    (row + column + number).backward(upstream)
    assert_close(row.grad.data, upstream.sum(axis=0), 0)
    assert_close(column.grad.data, upstream.sum(axis=1, keepdims=True), 0)
    assert_close(number.grad.data, np.asarray(upstream.sum()), 0)


# Recording


def test_no_grad_and_enable_grad_nest():
    x = leaf([1.0])
    assert ma.is_grad_enabled()
    with ma.no_grad():
        assert not (x * 2).requires_grad
        with ma.enable_grad():
            assert (x * 2).requires_grad
            with ma.no_grad():
                assert not ma.is_grad_enabled()
            assert ma.is_grad_enabled()
        assert not ma.is_grad_enabled()
    assert ma.is_grad_enabled()


def test_one_no_grad_object_may_be_entered_again():
    mode = ma.no_grad()
    with mode:
        with mode:
            assert not ma.is_grad_enabled()
        assert not ma.is_grad_enabled()
    assert ma.is_grad_enabled()


def test_an_exception_restores_recording():
    def fail():
        with ma.no_grad():
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert ma.is_grad_enabled()


def test_no_grad_as_a_decorator_even_of_a_function_that_calls_itself():
    @ma.no_grad()
    def recorded(depth):
        return [ma.is_grad_enabled(), *(recorded(depth - 1) if depth else [])]

    assert recorded(3) == [False] * 4
    assert ma.is_grad_enabled()


def in_thread(function):
    """Run a function in a thread of its own; return what it returns."""
    answer = []
    thread = threading.Thread(target=lambda: answer.append(function()))
    thread.start()
    thread.join(timeout=10)
    return answer[0]


@pytest.mark.parametrize("decorate", [ma.no_grad, ma.no_grad()], ids=["bare", "called"])
def test_no_grad_decorates_with_and_without_parentheses(decorate):
    @decorate
    def double(x):
        """Twice x."""
        return x * 2

    assert not double(ma.tensor(1.0, requires_grad=True)).requires_grad
    assert (double.__name__, double.__doc__) == ("double", "Twice x.")
    assert is_grad_enabled()


@pytest.mark.parametrize("decorate", [ma.no_grad, ma.no_grad()], ids=["bare", "called"])
def test_the_body_of_a_generator_runs_in_no_grad_and_its_consumer_does_not(decorate):
    seen = []

    @decorate
    def steps(x):
        try:
            received = yield (x * 2).requires_grad
            seen.append((received, is_grad_enabled()))
            try:
                yield is_grad_enabled()
            except KeyError:
                seen.append(("thrown", is_grad_enabled()))
            yield 3
        finally:
            seen.append(("closed", is_grad_enabled()))

    generator = steps(ma.tensor(1.0, requires_grad=True))
    assert next(generator) is False
    assert is_grad_enabled()
    assert generator.send("sent") is False
    assert is_grad_enabled()
    assert generator.throw(KeyError) == 3
    generator.close()
    assert seen == [("sent", False), ("thrown", False), ("closed", False)]
    assert is_grad_enabled()


def test_a_decorated_generator_returns_and_raises_what_its_own_does():
    @ma.no_grad
    def count(fail):
        yield 1
        if fail:
            raise LookupError("told")
        return "end"

    def consumer(fail):
        return (yield from count(fail))

    generator = consumer(False)
    assert next(generator) == 1
    with pytest.raises(StopIteration) as end:
        next(generator)
    assert end.value.value == "end"
    with pytest.raises(LookupError, match="told"):
        list(consumer(True))
    assert is_grad_enabled()


def test_recording_is_a_setting_of_the_thread():
    with ma.no_grad():
        assert in_thread(ma.is_grad_enabled)
        assert not ma.is_grad_enabled()
    assert in_thread(lambda: ma.no_grad().__enter__() and None) is None  # and never left
    assert ma.is_grad_enabled()


def test_a_decorated_function_in_two_threads_restores_each_threads_own_setting():
    other_is_inside, first_is_out = threading.Event(), threading.Event()

    @ma.no_grad()
    def call(function):
        function()

    def stay_inside():
        other_is_inside.set()
        first_is_out.wait(timeout=10)

    def other_thread():
        with ma.no_grad():
            call(stay_inside)
            settings.append(ma.is_grad_enabled())

    def start_the_other():
        thread.start()
        other_is_inside.wait(timeout=10)

    # This thread, recording, enters first and leaves while the other one, not recording, is inside.
    settings = []
    thread = threading.Thread(target=other_thread)
    call(start_the_other)
    settings.append(ma.is_grad_enabled())
    first_is_out.set()
    thread.join(timeout=10)
    assert settings == [True, False]


def test_nothing_is_recorded_without_a_leaf_that_asks_for_it():
    y = constant([1.0]) * constant([2.0])
    assert not y.requires_grad
    assert y.is_leaf


# What is refused


def test_tensors_of_two_dtypes_do_not_meet():
    single, double = leaf([[1.0]], np.float32), leaf([[1.0]])
    x = leaf(np.ones((1, 1, 2, 2)))
    weight = leaf(np.ones((1, 1, 1, 1)), np.float32)
    for meet in (
        lambda: single + double,
        lambda: double * single,
        lambda: single @ double,
        lambda: F.linear(single, double),
        lambda: F.linear(single, single, leaf([1.0])),
        lambda: F.conv2d(x, weight),
        lambda: F.conv2d(x, leaf(np.ones((1, 1, 1, 1))), leaf([1.0], np.float32)),
        lambda: F.batch_norm(x, None, None, leaf([1.0], np.float32), training=True),
    ):
        with pytest.raises(TypeError, match=r"float(32|64) and float(32|64) meet; nothing is cast silently"):
            meet()
    with pytest.raises(TypeError, match=r"convert it with \.astype"):
        single + np.ones((1, 1))


def test_numbers_take_the_dtype_of_the_tensor():
    x = leaf([1.5], np.float32)
    for y in (x + 1, 1 - x, x * 2.5, 1 / x, x**2, x / np.float64(3)):
        assert y.dtype == np.float32


def test_only_floats_have_gradients():
    for make in (
        lambda: ma.Tensor(np.arange(3), requires_grad=True),
        lambda: ma.tensor([1, 2], requires_grad=True),
        lambda: ma.Tensor(np.arange(3)).requires_grad_(),
    ):
        with pytest.raises(GraphError, match="data must be float32 or float64 for requires_grad, not int"):
            make()


def test_requires_grad_is_a_setting_of_leaves():
    x = leaf([1.0])
    with pytest.raises(GraphError, match="leaves only; detach"):
        (x * 2).requires_grad_(False)
    assert not x.requires_grad_(False).requires_grad


def test_the_upstream_gradient_has_to_fit():
    x = leaf([1.0, 2.0])
    with pytest.raises(GraphError, match=r"shape \(2,\) needs an upstream gradient"):
        (x * 2).backward()
    with pytest.raises(GraphError, match=r"upstream gradient has shape \(3,\).*the result has \(2,\)"):
        (x * 2).backward(np.ones(3))
    with pytest.raises(GraphError, match=r"float32.*the result has .*float64"):
        (x * 2).backward(np.ones(2, np.float32))
    with pytest.raises(GraphError, match="2 outputs, but 1 grad_outputs"):
        ma.grad([x * 2, x * 3], x, [constant([1.0, 1.0])])


def test_what_does_not_require_a_gradient_cannot_be_differentiated():
    x = leaf([1.0])
    with ma.no_grad():
        y = x * 2
    with pytest.raises(GraphError, match="nothing to differentiate: the tensor was computed under no_grad"):
        y.backward()
    with pytest.raises(GraphError, match=r"inputs\[1\] does not require a gradient"):
        ma.grad(x * 2, [x, constant([1.0])])


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (
            lambda g: (g.reshape(1, -1),),
            r"that Wrong\.backward returned for input 0 has shape \(1, 2\) .*; the input has \(2,\)",
        ),
        (lambda g: (g, g), r"Wrong\.backward must return a tuple of 1"),
        (lambda g: (), "tuple of 1, a gradient or None for each input, not 0"),
    ],
)
def test_a_backward_that_returns_something_else_is_refused(returned, message):
    class Wrong(ma.Operation):
        def forward(self, x):
            return 2 * x

        def backward(self, g):
            return returned(g)

    with pytest.raises(GraphError, match=message):
        Wrong()(leaf([1.0, 2.0])).backward(np.ones(2))


def operation_that_returns(*, forward=lambda x: 2 * x, backward):
    class Own(ma.Operation):
        def forward(self, x):
            return forward(x)

        def backward(self, g):
            return backward(g)

    return Own()


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda-host", marks=pytest.mark.needs_gxx)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    "backward",
    [
        lambda g: (2 * g,),
        lambda g: [2 * g],
        lambda g: 2 * g,
        lambda g: 2 * g.numpy(),
        lambda g: (2 * g.numpy()).astype(g.dtype.newbyteorder()),
        lambda g: ((2 * g).tolist(),),
        lambda g: [[2, -4.0]],
        lambda g: (tuple((2 * g).tolist()),),
    ],
)
def test_what_has_a_meaning_as_a_gradient_is_taken_in_the_dtype_of_its_input(backward, dtype, device):
    x = ma.Tensor(np.array([1, 2], dtype), requires_grad=True, device=device)
    operation_that_returns(backward=backward)(x).backward(ma.Tensor(np.array([1, -2], dtype), device=device))
    np.testing.assert_array_equal(x.grad.numpy(), np.array([2, -4], dtype), strict=True)
    assert x.grad.device == device


@pytest.mark.parametrize("gradient", [3.0, 3, np.float32(3), np.array(3, np.float32)])
def test_a_number_is_the_gradient_of_an_input_without_axes(gradient):
    x = ma.tensor(1.0, requires_grad=True)
    operation_that_returns(backward=lambda g: gradient)(x).backward()
    np.testing.assert_array_equal(x.grad.numpy(), np.array(3, np.float32), strict=True)


@pytest.mark.parametrize("returned", [None, (None,), [None]])
def test_none_is_no_gradient(returned):
    x, y = leaf([1.0]), leaf([2.0])
    (operation_that_returns(backward=lambda g: returned)(x) + y).backward([1.0])
    assert x.grad is None
    assert y.grad.item() == 1


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (lambda g: ma.Tensor(np.ones(2)), r"dtype float64; the input has \(2,\) and float32"),
        (lambda g: g.numpy().astype(np.float64), r"dtype float64; the input has \(2,\) and float32"),
        (lambda g: g.numpy().astype(np.float16), r"dtype float16; the input has \(2,\) and float32"),
        (lambda g: np.ones(2, np.int64), r"dtype int64; the input has \(2,\) and float32"),
        (lambda g: 2.0, r"shape \(\) and dtype float32; the input has \(2,\)"),
        (lambda g: ([1, 2, 3],), r"shape \(3,\) .*; the input has \(2,\)"),
        (lambda g: ([1, [2, 3]],), r"must be a tensor, an array, or numbers, not \[1, \[2, 3\]\]"),
        (lambda g: "ab", "must be a tensor, an array, or numbers, not 'ab'"),
        (lambda g: (object,), "must be a tensor, an array, or numbers, not "),
        (lambda g: g.numpy() * 1j, "must be a tensor, an array, or numbers, not "),
        (lambda g: [g, g], "tuple of 1, a gradient or None for each input, not 2"),
        (lambda g: [1.0, 2.0], "tuple of 1, a gradient or None for each input, not 2"),
    ],
)
def test_a_gradient_that_has_no_meaning_for_its_input_is_refused(returned, message):
    x = leaf([1.0, 2.0], np.float32)
    with pytest.raises(GraphError, match=message) as raised:
        operation_that_returns(backward=returned)(x).backward(np.ones(2, np.float32))
    assert "Own.backward" in str(raised.value)
    assert "\n" not in str(raised.value)
    assert x.grad is None


def test_an_operation_of_two_inputs_returns_two_gradients():
    class Product(ma.Operation):
        saved_inputs = (0, 1)

        def forward(self, a, b):
            return a * b

        def backward(self, g):
            return g * self.saved[1]

    a, b = leaf([1.0, 2.0]), leaf([3.0, 5.0])
    with pytest.raises(GraphError, match="tuple of 2, a gradient or None for each input, not a Tensor"):
        Product()(a, b).backward(np.ones(2))


@pytest.mark.needs_gxx
def test_a_gradient_on_another_device_is_refused():
    x = ma.Tensor(np.ones(2), requires_grad=True, device="cuda-host")
    y = operation_that_returns(backward=lambda g: ma.Tensor(g.numpy()))(x)
    with pytest.raises(DeviceError, match=r"for input 0 is on 'cpu'; the input is on 'cuda-host'"):
        y.backward(np.ones(2))
    with pytest.raises(DeviceError, match="the upstream gradient is on 'cpu'; the result is on 'cuda-host'"):
        (x * 2).backward(constant([1.0, 1.0]))


@pytest.mark.parametrize("backward", [lambda g: 2 * g.numpy(), lambda g: (2 * g).tolist(), lambda g: (2.0,)])
def test_an_array_cannot_be_differentiated_again(backward):
    x = leaf(1.0)
    y = operation_that_returns(backward=backward)(x)
    with pytest.raises(
        GraphError, match=r"cannot be differentiated again; for create_graph=True .* with tensors"
    ):
        ma.grad(y, x, create_graph=True)


def test_forward_may_return_a_number():
    x = leaf([1.0, 2.0], np.float32)
    y = operation_that_returns(forward=lambda x: float(x.sum()), backward=lambda g: g.expand(2))(x)
    np.testing.assert_array_equal(y.numpy(), np.array(3, np.float32), strict=True)
    y.backward(2)
    assert x.grad.tolist() == [2, 2]


@pytest.mark.parametrize("result", [None, [1.0, 2.0], "ab", [np.ones(2)], ma.tensor([1.0])])
def test_forward_returns_arrays(result):
    operation = operation_that_returns(forward=lambda x: result, backward=lambda g: g)
    message = rf"Own\.forward must return an array or a tuple of arrays, not {type(result).__name__}"
    with pytest.raises(GraphError, match=message):
        operation(leaf([1.0]))


@pytest.mark.parametrize("given", [np.ones(2), [1.0, 2.0], 1.0])
def test_an_operation_takes_tensors(given):
    with pytest.raises(TypeError, match=rf"Own takes tensors, not {type(given).__name__}; wrap"):
        operation_that_returns(backward=lambda g: g)(given)
    with pytest.raises(TypeError, match="relu: x must be a tensor, not "):
        F.relu(given)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    "upstream", [[3, -1.5], (3.0, -1.5), np.array([3, -1.5]), ma.Tensor(np.array([3, -1.5]))]
)
def test_the_upstream_gradient_as_lists_arrays_and_tensors(upstream, dtype):
    if not isinstance(upstream, list | tuple):
        array = np.asarray(upstream).astype(dtype)
        upstream = ma.Tensor(array) if isinstance(upstream, ma.Tensor) else array
    x = leaf([1.0, 2.0], dtype)
    (x * x).backward(upstream)
    np.testing.assert_array_equal(x.grad.numpy(), np.array([6, -6], dtype), strict=True)
    if not isinstance(upstream, list | tuple):
        (found,) = ma.grad(x * x, x, upstream)
        np.testing.assert_array_equal(found.numpy(), np.array([6, -6], dtype), strict=True)
    (found,) = ma.grad([x * x], [x], [upstream])
    np.testing.assert_array_equal(found.numpy(), np.array([6, -6], dtype), strict=True)


@pytest.mark.parametrize("shape", [(), (1,), (1, 1)])
def test_a_number_is_the_upstream_gradient_of_one_element(shape):
    x = leaf(np.full(shape, 3), np.float32)
    (x * x).backward(2)
    np.testing.assert_array_equal(x.grad.numpy(), np.full(shape, 12, np.float32), strict=True)
    (found,) = ma.grad(x * x, x, 0.5)
    np.testing.assert_array_equal(found.numpy(), np.full(shape, 3, np.float32), strict=True)


@pytest.mark.parametrize("upstream", ["ab", [1, [2]], 1j, np.ones(2) * 1j, object()])
def test_an_upstream_gradient_that_is_no_number_is_refused(upstream):
    x = leaf([1.0, 2.0])
    with pytest.raises(
        GraphError, match=r"the upstream gradient must be a tensor, an array, or numbers, not "
    ):
        (x * 2).backward(upstream)


def test_what_is_differentiated_has_to_be_a_tensor():
    x = leaf([1.0])
    with pytest.raises(TypeError, match=r"outputs\[1\] must be a Tensor, not ndarray"):
        ma.grad([x * 2, np.ones(1)], x)
    with pytest.raises(TypeError, match=r"inputs\[0\] must be a Tensor, not float"):
        ma.grad(x * 2, 1.0)


def test_an_operation_has_to_be_defined():
    class Empty(ma.Operation):
        pass

    with pytest.raises(NotImplementedError, match="Empty must define forward"):
        Empty()(leaf([1.0]))


def test_an_unknown_device_is_refused():
    with pytest.raises(DeviceError, match="device='tpu' is not available"):
        ma.Tensor([1.0], device="tpu")


# An operation of one's own


def test_an_operation_with_several_results_and_an_optional_input():
    seen = []

    class SplitSigns(ma.Operation):
        def forward(self, x, scale):
            assert scale is None
            return np.maximum(x, 0), np.minimum(x, 0)

        def backward(self, of_positive, of_negative):
            seen.append((of_positive is None, of_negative is None))
            return of_positive, None

    x = leaf([1.0, -2.0])
    positive, negative = SplitSigns()(x, None)
    assert (positive.data.tolist(), negative.data.tolist()) == ([1, 0], [0, -2])
    positive.backward(np.array([3.0, 4.0]))
    assert seen == [(False, True)]
    assert x.grad.data.tolist() == [3, 4]


def test_saved_results_lead_back_into_the_graph():
    class Exp(ma.Operation):
        saved_outputs = (0,)

        def forward(self, x):
            return np.exp(x)

        def backward(self, g):
            return (g * self.saved[0],)

    x = leaf([0.5])
    y = Exp()(x)
    for _ in range(3):
        (y,) = ma.grad(y, x, create_graph=True)
        assert_close(y.data, np.exp([0.5]), 1e-15)


# Dropout


def test_dropout_draws_a_new_mask_each_time_and_uses_it_again_in_backward():
    x = leaf(np.ones(200))
    first, second = F.dropout(x), F.dropout(x)
    assert not np.array_equal(first.data, second.data)
    (first + second).backward(np.ones(200))
    assert_close(x.grad.data, first.data + second.data, 0)


def test_manual_seed_repeats_the_masks():
    x = leaf(np.ones(200))
    ma.manual_seed(7)
    masks = [F.dropout(x, 0.3).data for _ in range(2)]
    ma.manual_seed(7)
    again = [F.dropout(x, 0.3).data for _ in range(2)]
    ma.manual_seed(8)
    other = F.dropout(x, 0.3).data
    np.testing.assert_array_equal(masks, again)
    assert not np.array_equal(masks[0], other)


def test_dropout_at_evaluation_is_the_tensor_itself_and_draws_nothing():
    x = leaf(np.ones(200))
    before = F.dropout(x).data
    ma.manual_seed(0)
    assert F.dropout(x, training=False) is x
    assert F.dropout(x, 0.0) is x
    np.testing.assert_array_equal(F.dropout(x).data, before)
    assert not F.dropout(x, 1.0).data.any()


# Changes between forward and backward, and copies


@pytest.mark.parametrize("change", ["step", "load"])
def test_a_backward_through_a_parameter_that_was_changed_since_is_refused(change):
    """With the weight of the second forward, the gradient of the first would be -4, where it is 4."""
    layer = ma.nn.Linear(1, 1, bias=False)
    layer.weight.data[...] = 2.0
    loss = (layer.weight * layer.weight).sum()
    loss.backward(retain_graph=True)
    assert layer.weight.grad.item() == 4.0
    if change == "step":
        ma.optim.SGD(layer.parameters(), lr=1.0).step()
    else:
        layer.load_state_dict({"weight": np.array([[-2.0]], np.float32)})
    assert layer.weight.item() == -2.0
    with pytest.raises(
        GraphError, match=r"Multiply.backward needs its input 0, of shape \(1, 1\), .* before"
    ):
        loss.backward()
    (layer.weight * layer.weight).sum().backward()


def test_a_step_of_other_parameters_does_not_disturb_a_graph():
    """A generator's step between the two passes of a discriminator."""
    x, w = ma.tensor([3.0], requires_grad=True), ma.tensor([2.0], requires_grad=True)
    y = (x * w).sum()
    other = ma.tensor([1.0], requires_grad=True)
    (other * 5).sum().backward()
    ma.optim.SGD([other], lr=1.0).step()
    y.backward()
    assert (x.grad.item(), w.grad.item()) == (2.0, 3.0)


def test_a_result_is_not_deep_copied_into_another_graph():
    x = ma.tensor([1.0], requires_grad=True)
    with pytest.raises(GraphError, match=r"copy .detach\(\) instead"):
        copy.deepcopy(x * 2)
    with pytest.raises(GraphError):
        copy.deepcopy({"losses": [x * 2]})


def test_a_deep_copied_leaf_is_its_own():
    x = ma.nn.Parameter(np.array([1.0, 2.0], np.float32))
    x.grad = ma.tensor([3.0, 4.0])
    twice = copy.deepcopy([x, x])
    assert twice[0] is twice[1]
    y = twice[0]
    assert type(y) is ma.nn.Parameter
    assert y.requires_grad
    y.data[...] = y.grad.data[...] = 9
    assert x.numpy().tolist() == [1, 2]
    assert x.grad.numpy().tolist() == [3, 4]


@pytest.mark.parametrize(
    "result",
    [np.float16(1), np.ones(2, np.float16), np.longdouble(1), np.complex128(1), np.ones(2, np.complex64)]
    + [np.array([None, 1]), np.zeros(2, "M8[s]"), np.zeros(2, [("a", "f4")])],
    ids=repr,
)
@pytest.mark.parametrize("asked", [False, True])
def test_a_forward_that_returns_what_no_tensor_holds_is_refused(result, asked):
    class Wrong(ma.Operation):
        def forward(self, x):
            return x, result

    with pytest.raises(TypeError, match=r"^Wrong\.forward returned an array of ") as caught:
        Wrong()(ma.Tensor([1.0, 2.0], requires_grad=asked))
    assert "\n" not in str(caught.value)


def test_a_result_of_integers_is_a_constant():
    """The largest element, whose gradient goes to its place alone, and that place."""

    class Largest(ma.Operation):
        saved_outputs = (1,)

        def forward(self, x):
            return x.max(), x.argmax()

        def backward(self, g, of_place):
            assert of_place is None
            (place,) = self.saved
            assert not place.requires_grad
            gx = np.zeros(self.shapes[0])
            gx[place.numpy()] = g.item()
            return gx

    x = leaf([1.0, 5.0, 2.0])
    largest, place = Largest()(x)
    assert place.item() == 1
    assert place.creator is None
    assert not place.requires_grad
    (3 * largest).backward()
    assert x.grad.tolist() == [0.0, 3.0, 0.0]


def test_a_number_that_integers_cannot_hold_is_no_result_of_theirs():
    class Half(ma.Operation):
        def forward(self, x):
            return 0.5

    with pytest.raises(TypeError, match=r"0\.5 meets a tensor of int64, which cannot hold it"):
        Half()(ma.Tensor(np.array([1, 2])))


@pytest.mark.parametrize("attribute", ["saved_inputs", "saved_outputs"])
@pytest.mark.parametrize("positions", [(3,), 0, ("x",), None, (0, 1.0)], ids=repr)
def test_positions_that_name_nothing_are_refused(attribute, positions):
    class Wrong(ma.Operation):
        def forward(self, x):
            return 2 * x

    setattr(Wrong, attribute, positions)
    with pytest.raises(GraphError, match=rf"^Wrong: {attribute} must be a tuple of positions, each "):
        Wrong()(leaf([1.0, 2.0]))


def test_an_operation_without_inputs_is_refused():
    for inputs in ((), (None,)):
        with pytest.raises(TypeError, match=r"^Double was called without inputs; pass at least one tensor$"):
            Double()(*inputs)


VIEWS = {
    "T": lambda w: w.T.T,
    "transpose": lambda w: w.transpose(1, 0).transpose(1, 0),
    "reshape": lambda w: w.reshape(4).reshape(2, 2),
    "slice": lambda w: w[:],
    "new axis": lambda w: w[None][0],
    "expand": lambda w: w.expand(1, 2, 2)[0],
    "detach": lambda w: w.detach(),
    "detached view": lambda w: w.T.detach().T,
    "an operation of its own": lambda w: operation_that_returns(forward=lambda x: x, backward=lambda g: g)(w),
}


@pytest.mark.parametrize("name", VIEWS)
@pytest.mark.parametrize("change", ["step", "state"])
def test_a_view_of_changed_values_is_not_used_by_backward(name, change):
    """The gradient of sum(x v), v a view of w, holds the sums of the rows that w had."""
    w = nn.Parameter(np.array([[1.0, 2.0], [3.0, 5.0]]))
    module = nn.Module()
    module.w = w
    x = leaf([[1.0, 1.0]])
    w.grad = ma.Tensor(np.ones((2, 2)))
    y = (x @ VIEWS[name](w)).sum()
    assert ma.grad(y, x, retain_graph=True)[0].tolist() == [[3.0, 8.0]]
    if change == "step":
        optim.SGD([w], lr=1.0).step()
    else:
        module.load_state_dict({"w": np.zeros((2, 2))})
    with pytest.raises(GraphError, match=r"MatMul\.backward needs its input 1, .* which was changed after"):
        ma.grad(y, x)


@pytest.mark.parametrize(
    "copied",
    [lambda w: w[[0, 1]], lambda w: w * 1, lambda w: ma.tensor(w.numpy()), copy.deepcopy],
    ids=range(4),
)
def test_a_copy_counts_its_own_changes(copied):
    w = leaf([[1.0, 2.0], [3.0, 5.0]])
    x = leaf([[1.0, 1.0]])
    y = (x @ copied(w)).sum()
    w.data += 1
    w.version += 1
    assert ma.grad(y, x)[0].tolist() == [[3.0, 8.0]]
