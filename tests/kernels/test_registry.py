"""The registry: what may be registered, which kernel the engine runs, and plug-ins."""

import math

import numpy as np
import pytest

from minialex import config, kernels
from minialex.checking.testing.calls import kernel_calls
from minialex.checks import in_words
from minialex.config import using
from minialex.errors import DeviceError, KernelError, ShapeError
from minialex.kernels import find_kernel, list_kernels, load_plugin, select, unregister, use
from minialex.kernels.contract import kept_choices
from minialex.kernels.conv2d import ConvCall
from minialex.kernels.sgd.call import SgdCall


@pytest.fixture
def demo():
    """Three kernels of an operation of our own, for the length of a test.

    ``fast`` has the highest rank and supports arrays of even length alone.
    """

    def even(x):
        return len(x) % 2 == 0 or f"length {len(x)} is odd"

    kernels.kernel("demo.forward", algo="reference")(lambda x: ("reference", x))
    kernels.kernel("demo.forward", algo="plain", rank=1)(lambda x: ("plain", x))
    kernels.kernel("demo.forward", algo="fast", rank=2, supports=even)(lambda x: ("fast", x))
    yield
    for entry in list_kernels("demo"):
        unregister(entry.operation, algo=entry.algorithm)


def chosen(length, operation="demo.forward"):
    return select(operation, "cpu", np.zeros(length)).algorithm


# Registration


@pytest.mark.parametrize(
    ("operation", "former", "now"),
    [
        ("relu", "numpy", "'plain'"),
        ("relu", "numba", "'one-pass'"),
        ("relu", "cuda", "'one-pass'"),
        ("reduction", "cuda", "'block-reduction'"),
    ],
)
def test_a_former_name_is_refused_with_the_new_one(operation, former, now):
    direction = {"relu": "relu.forward", "reduction": "sum.forward"}[operation]
    device = "cuda-host" if former == "cuda" else "cpu"
    with pytest.raises(KernelError, match=f"'{former}' is called {now}"):
        find_kernel(direction, algo=former, device=device)
    with pytest.raises(KernelError, match=f"'{former}' is called .*{now}"):
        use({direction: former})


def test_a_former_name_has_no_hint_where_the_new_one_is_of_no_use():
    # Convolution has no algorithm "plain".
    for call in (
        lambda: use(conv2d="numpy"),
        lambda: find_kernel("conv2d.forward", algo="numpy"),
    ):
        with pytest.raises(KernelError, match=r"'numpy'.*; there are: .*im2col") as refused:
            call()
        assert "is called" not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        *(("rank", value, "an integer or None") for value in ("10", math.nan, True, 1.5)),
        *(("algo", value, "a name, such as 'mine'") for value in (1, "", None)),
        *(("dtypes", value, "a tuple of 'float32' and") for value in ("float32", (), ["float32"], ("int8",))),
        *(("kinds", value, "'f', alone or with") for value in ("xyz", "", "i", 1)),
        *(("error", value, "a number 0 or more") for value in ("a", -1, math.nan, math.inf, True)),
        *(("device", value, "'cpu', 'cuda' or 'cuda-host'") for value in ("gpu", None)),
        *((name, {}, "a function or None") for name in ("domain", "cost", "workspace")),
        ("supports", True, "a function or None"),
    ],
)
def test_what_a_kernel_says_of_itself_is_checked_when_it_is_registered(name, value, allowed):
    with pytest.raises(KernelError, match=rf"demo\.forward: {name} must be {allowed}.*, not ") as refused:
        kernels.kernel("demo.forward", **{"algo": "mine", name: value})
    assert str(refused.value).endswith(in_words(value))
    assert list_kernels("demo") == []


@pytest.mark.parametrize("name", ["supports", "workspace", "cost"])
def test_what_takes_no_call_is_refused_where_kernels_take_one(name):
    def former(x, weight, bias, *, stride, padding, dilation, groups):
        return True

    with pytest.raises(KernelError, match=rf"{name}= of a kernel of conv2d\.forward must take .*`call`"):
        kernels.kernel("conv2d.forward", algo="mine", **{name: former})
    # Where there is no class of calls, any signature will do.
    kernels.kernel("demo.forward", algo="mine", **{name: former})(print)
    unregister("demo.forward", algo="mine")


def test_only_a_function_is_a_kernel():
    with pytest.raises(KernelError, match=r"demo\.forward: a kernel must be a function, not 5"):
        kernels.kernel("demo.forward", algo="mine")(5)
    assert list_kernels("demo") == []


def test_a_kernel_is_registered_as_the_function_it_decorates(demo):
    @kernels.kernel("demo.backward", algo="mine", rank=3, workspace=lambda x: 8 * x.size)
    def backward(x):
        return 2 * x

    entry = find_kernel("demo.backward", algo="mine")
    assert entry.function is backward
    assert (entry.operation, entry.device, entry.algorithm) == ("demo.backward", "cpu", "mine")
    assert (entry.rank, entry.workspace(np.zeros(3))) == (3, 24)
    assert entry.name == "demo.backward[cpu, mine]"
    assert entry(21) == 42


@pytest.mark.usefixtures("demo")
def test_a_name_is_taken_once():
    with pytest.raises(
        KernelError, match=r"demo\.forward\[cpu, plain\] is registered already, in .*test_registry"
    ):
        kernels.kernel("demo.forward", algo="plain")(print)
    assert find_kernel("demo.forward", algo="plain").function is not print


@pytest.mark.parametrize("name", ["demo", "demo.", ".forward", "demo.forward.fast", "", 5])
def test_a_badly_named_operation_is_refused(name):
    with pytest.raises(KernelError, match=r"<operation>\.<direction>"):
        kernels.kernel(name, algo="mine")


def test_a_reference_has_no_rank():
    with pytest.raises(KernelError, match=r"demo\.forward: a reference kernel has no rank"):
        kernels.kernel("demo.forward", algo="reference", rank=1)


@pytest.mark.usefixtures("demo")
def test_kernels_are_listed_in_order_and_by_operation_and_device():
    names = [entry.name for entry in list_kernels()]
    assert names == sorted(names)
    assert [entry.algorithm for entry in list_kernels("demo")] == ["fast", "plain", "reference"]
    assert list_kernels("demo.forward") == list_kernels("demo")
    assert {entry.operation for entry in list_kernels("conv2d")} == {
        "conv2d.forward",
        "conv2d.forward_relu",
        "conv2d.input_grad",
        "conv2d.weight_grad",
    }
    assert list_kernels("demo", device="nowhere") == list_kernels("nothing") == []
    assert "cpu" in kernels.devices()


@pytest.mark.usefixtures("demo")
def test_what_is_not_registered_is_named_with_what_is():
    with pytest.raises(
        KernelError, match=r"'demo.forward' with algorithm 'slow' on 'cpu'; there are: fast, plain, reference"
    ):
        find_kernel("demo.forward", algo="slow")
    with pytest.raises(KernelError, match="there are: none"):
        find_kernel("demo.backward", algo="slow")


@pytest.mark.usefixtures("demo")
def test_unregister_takes_one_kernel_out():
    unregister("demo.forward", algo="fast")
    assert [entry.algorithm for entry in list_kernels("demo")] == ["plain", "reference"]
    with pytest.raises(KernelError, match="'fast'"):
        unregister("demo.forward", algo="fast")


# The choice


@pytest.mark.usefixtures("demo")
def test_the_highest_rank_that_supports_the_call_is_chosen():
    assert chosen(4) == "fast"
    assert chosen(3) == "plain"
    assert kernels.run("demo.forward", "cpu", [1, 2]) == ("fast", [1, 2])


@pytest.mark.usefixtures("demo")
def test_without_a_candidate_the_error_has_every_reason():
    unregister("demo.forward", algo="plain")
    with pytest.raises(
        KernelError,
        match=r"no kernel for demo\.forward on 'cpu' \(registered: fast, reference\); fast: length 3 is odd",
    ):
        chosen(3)


@pytest.mark.parametrize("answer", [False, None, ""])
def test_a_refusal_without_a_reason_is_a_refusal(demo, answer):
    kernels.kernel("demo.forward", algo="never", rank=9, supports=lambda x: answer)(print)
    assert find_kernel("demo.forward", algo="never").refusal(0) == "not supported"
    assert chosen(4) == "fast"


@pytest.mark.usefixtures("demo")
def test_another_device_is_an_error_and_not_a_fallback():
    with pytest.raises(DeviceError, match=r"demo\.forward has no kernel on device 'cuda'"):
        select("demo.forward", "cuda", [1])


@pytest.mark.usefixtures("demo")
def test_use_holds_until_it_is_changed():
    use(demo="reference")
    assert chosen(4) == "reference"
    use(demo=None)
    assert chosen(4) == "fast"


@pytest.mark.usefixtures("demo")
def test_use_in_a_block_restores_what_was_chosen_before():
    with use(demo="plain"):
        with use({"demo.forward": "reference"}):
            assert chosen(4) == "reference"
        assert chosen(4) == "plain"
    assert chosen(4) == "fast"


@pytest.mark.usefixtures("demo")
def test_use_is_restored_after_an_exception():
    def fail():
        with use(demo="plain"):
            assert chosen(4) == "plain"
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert chosen(4) == "fast"


@pytest.mark.usefixtures("demo")
def test_use_tries_its_names_in_their_order_and_nothing_else():
    with use(demo=("fast", "reference")):
        assert (chosen(4), chosen(3)) == ("fast", "reference")
    with use(demo=["plain", "fast"]):
        assert (chosen(4), chosen(3)) == ("plain", "plain")
    with use(demo="fast"), pytest.raises(KernelError, match=r"asked for: fast; .*fast: length 3 is odd"):
        chosen(3)


@pytest.mark.usefixtures("demo")
def test_use_of_a_direction_comes_before_use_of_the_operation():
    kernels.kernel("demo.backward", algo="reference")(print)
    with use({"demo": "reference", "demo.forward": "plain"}):
        assert (chosen(4), chosen(4, "demo.backward")) == ("plain", "reference")


@pytest.mark.usefixtures("demo")
@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"demmo": "plain"}, r"unknown operation 'demmo'; there are: .*demo"),
        ({"demo": "slow"}, r"demo has no algorithm 'slow'; there are: fast, plain, reference"),
        ({"demo": ("plain", "slow")}, "no algorithm 'slow'"),
        ({"demo.backward": "plain"}, r"unknown operation 'demo\.backward'"),
    ],
)
def test_use_of_an_unknown_name_changes_nothing(choice, message):
    with use(demo="plain"):
        before = config.setting("demo")
        with pytest.raises(KernelError, match=message):
            use({"conv2d": "reference", **choice})
        assert config.setting("demo") == before == ("plain",)
        assert config.setting("conv2d") is None


def test_the_engine_runs_what_use_names():
    # The two algorithms differ in their last bits, so each can be told from the other.
    import minialex as ma

    generator = np.random.default_rng(0)
    x, weight = generator.standard_normal((2, 8, 9, 9)), generator.standard_normal((4, 8, 3, 3))
    window = {"stride": (1, 1), "padding": ((0, 0), (0, 0)), "dilation": (1, 1), "groups": 1}
    results = {
        algo: find_kernel("conv2d.forward", algo=algo)(x, weight, None, **window)
        for algo in ("reference", "im2col")
    }
    assert not np.array_equal(*results.values())
    for algo, expected in results.items():
        with use(conv2d=algo):
            y = ma.functional.conv2d(ma.Tensor(x), ma.Tensor(weight))
        np.testing.assert_array_equal(y.data, expected)


# Plug-ins


@pytest.fixture
def plugin(tmp_path):
    """Write a plug-in and load it; what it registers goes when the test is over."""
    before = set(list_kernels())

    def load(text, name="my_kernels.py"):
        path = tmp_path / name
        path.write_text(text)
        return load_plugin(path)

    yield load
    for entry in set(list_kernels()) - before:
        unregister(entry.operation, algo=entry.algorithm, device=entry.device)


GOOD = """
from minialex.kernels import kernel

@kernel("matmul.forward", algo="mine", rank=99)
def matmul(a, b):
    return a @ b
"""


def test_a_plugin_registers_kernels_like_any_other(plugin):
    (entry,) = plugin(GOOD)
    assert entry.name == "matmul.forward[cpu, mine]"
    assert select("matmul.forward", "cpu", np.eye(2), np.eye(2)) is entry


def test_a_plugin_that_fails_says_where_it_is_and_why(plugin, tmp_path):
    with pytest.raises(KernelError, match=r"my_kernels\.py' failed: NameError: name 'nothing'") as raised:
        plugin("nothing")
    assert str(tmp_path) in str(raised.value)
    assert isinstance(raised.value.__cause__, NameError)


def test_a_plugin_that_registers_nothing_is_refused(plugin):
    with pytest.raises(KernelError, match="registered no kernel; decorate one with @kernel"):
        plugin("x = 1")


def test_a_plugin_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(KernelError, match=r"absent\.py' is not a file"):
        load_plugin(tmp_path / "absent.py")
    with pytest.raises(KernelError, match="is not a file"):
        load_plugin(tmp_path)


def test_a_plugin_that_is_not_python_is_refused(plugin):
    with pytest.raises(KernelError, match=r"must end in \.py"):
        plugin(GOOD, "kernels.txt")


def test_a_plugin_cannot_replace_a_kernel(plugin):
    with pytest.raises(KernelError, match=r"matmul\.forward\[cpu, blas\] is registered already"):
        plugin(GOOD.replace("mine", "blas"))


def _ones(*shape):
    return np.ones(shape, np.float32)


@pytest.mark.parametrize("algorithm", ["reference", "plain", "one-pass"])
def test_arrays_of_another_shape_are_refused_before_a_loop_reads_beyond_them(algorithm):
    adam = {"lr": 0.1, "beta1": 0.9, "beta2": 0.99, "eps": 1e-8, "weight_decay": 0.0, "decoupled": False}
    with pytest.raises(ShapeError, match=r"adam.update: array 1 must have shape \(9,\), not \(3,\)"):
        find_kernel("adam.update", algo=algorithm)(*map(_ones, (9, 3, 3, 3)), **adam, step=1)
    with pytest.raises(ShapeError, match=r"relu.backward: array 1 must have shape \(1,\), not \(3,\)"):
        find_kernel("relu.backward", algo=algorithm)(_ones(9), np.zeros(3, np.uint32))


@pytest.mark.parametrize("algorithm", ["reference", "loops", "im2col", "direct", "winograd"])
def test_a_call_of_other_arrays_is_refused(algorithm):
    convolve = find_kernel("conv2d.forward", algo=algorithm)
    x, weight = _ones(2, 3, 6, 6), _ones(4, 3, 3, 3)
    call = ConvCall.of((2, 3, 9, 9), weight.shape)
    with pytest.raises(ShapeError, match=r"array 0 must have shape \(2, 3, 9, 9\), not \(2, 3, 6, 6\)"):
        convolve(x, weight, None, call=call)
    for wrong in (3, None):
        with pytest.raises(KernelError, match=f"call must be a ConvCall, not {wrong}"):
            convolve(x, weight, None, call=wrong)
    right = ConvCall.of(x.shape, weight.shape)
    np.testing.assert_allclose(convolve(x, weight, None, call=right), 27)


@pytest.fixture
def asked():
    """The calls that a convolution's kernel of the highest rank was asked about."""
    calls = []

    def supports(x, weight, bias, *, call):
        calls.append(call)
        return True

    kernels.kernel("conv2d.forward", algo="asked", rank=99, supports=supports)(lambda *args, call: args[0])
    yield calls
    kernels.unregister("conv2d.forward", algo="asked")


def convolver(x, weight) -> str:
    call = ConvCall.of(x.shape, weight.shape, x.dtype)
    return kernels.select("conv2d.forward", "cpu", x, weight, None, call=call).algorithm


def test_a_choice_is_kept_for_the_same_call_and_layout(asked):
    x, weight = np.ones((1, 2, 4, 4), np.float32), np.ones((3, 2, 3, 3), np.float32)
    assert [convolver(x, weight) for _ in range(3)] == ["asked"] * 3
    assert len(asked) == 1
    for other in (
        np.ones((2, 2, 4, 4), np.float32),
        x.astype(np.float64),
        np.ones((1, 4, 4, 2), np.float32).transpose(0, 3, 1, 2),
    ):
        before = len(asked)
        assert convolver(other, weight.astype(other.dtype)) == "asked"
        assert len(asked) == before + 1


def test_a_kept_choice_ends_with_what_it_was_made_under(asked):
    x, weight = np.ones((1, 2, 4, 4), np.float32), np.ones((3, 2, 3, 3), np.float32)
    assert convolver(x, weight) == "asked"
    with using(conv2d="reference"):
        assert convolver(x, weight) == "reference"
    assert convolver(x, weight) == "asked"
    kernels.use(conv2d="reference")
    try:
        assert convolver(x, weight) == "reference"
    finally:
        kernels.use(conv2d=None)
    assert convolver(x, weight) == "asked"
    kernels.kernel("conv2d.forward", algo="later", rank=100)(lambda *args, call: args[0])
    try:
        assert convolver(x, weight) == "later"
    finally:
        kernels.unregister("conv2d.forward", algo="later")
    assert convolver(x, weight) == "asked"


def test_a_refusal_is_not_kept(asked):
    x, weight = np.ones((1, 2, 4, 4), np.float16), np.ones((3, 2, 3, 3), np.float16)
    for _ in range(2):
        with pytest.raises(KernelError, match="convert the data"):
            convolver(x, weight)


def test_as_many_choices_are_kept_as_were_promised(asked, monkeypatch):
    monkeypatch.setattr(kept_choices, "MOST", 3)
    weight = np.ones((3, 2, 3, 3), np.float32)
    for n in range(1, 9):
        assert convolver(np.ones((n, 2, 4, 4), np.float32), weight) == "asked"
        assert len(kept_choices._kept) <= 3


@pytest.mark.parametrize(
    "operation", ["conv2d.forward", "conv2d.weight_grad", "exp.forward", "linear.forward"]
)
def test_the_choice_does_not_depend_on_the_number_of_threads(operation):
    """Algorithms differ in their last bits, and results are the same bits for any number of threads."""
    calls = [*kernel_calls(operation, "awkward"), *kernel_calls(operation, "blocks")]
    found = []
    try:
        for threads in (1, 2, 3, 8, 64):
            kernels.set_num_threads(threads)
            found.append([select(operation, "cpu", *c.arrays, **c.parameters).algorithm for c in calls])
    finally:
        kernels.set_num_threads(None)
    assert len(set(map(tuple, found))) == 1


def test_a_kept_choice_is_for_arrays_of_one_shape():
    """Columns of a matrix have its strides; an update in place takes the matrix and refuses the columns."""
    call = SgdCall.of(lr=1.0, momentum=0.5, weight_decay=0.0, nesterov=False)

    def update(columns):
        p, g, v = np.zeros((3, 4), np.float32), np.ones((3, 4), np.float32), np.zeros((3, 4), np.float32)
        kernels.run("sgd.update", "cpu", p[:, :columns], g[:, :columns], v[:, :columns], call=call)
        return p

    np.testing.assert_array_equal(update(4), np.full((3, 4), -1))
    with pytest.raises(KernelError, match="the parameter is not C-contiguous"):
        update(2)


def test_a_kept_choice_is_for_frozen_weights_or_for_others():
    """Of frozen weights the transformed ones are kept, which makes another kernel fastest for one image."""
    x, weight = np.ones((1, 256, 13, 13), np.float32), np.ones((384, 256, 3, 3), np.float32)
    frozen = weight.copy()
    frozen.flags.writeable = False
    call = ConvCall.of(x.shape, weight.shape, padding=1)

    def algorithm(weights):
        return kernels.select("conv2d.forward", "cpu", x, weights, None, call=call).algorithm

    with using(tuning=False):  # a block, in which nothing is kept
        expected = [algorithm(weights) for weights in (weight, frozen)]
    assert expected[0] != expected[1]
    assert [algorithm(weights) for weights in (weight, frozen, weight)] == [*expected, expected[0]]
