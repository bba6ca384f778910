"""The strategies: that they cover every operation, and draw the cases that find mistakes."""

import dataclasses

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, find, given, settings
from hypothesis import strategies as st
from tiers import examples

from minialex.checking.testing import strategies
from minialex.checking.testing.strategies import Call, call, convolutions, distinct_values, layouts, poolings
from minialex.kernels import find_kernel, list_kernels, output_shape
from minialex.kernels.contract.registry import Sizes
from minialex.kernels.gemm import processor


def test_every_registered_operation_has_a_strategy():
    assert strategies.operations() == sorted({entry.operation for entry in list_kernels()})


def test_an_unknown_operation_is_refused():
    with pytest.raises(ValueError, match=r"'conv3d.forward' has no example calls; .*conv2d.forward"):
        call("conv3d.forward")


@pytest.mark.parametrize("operation", strategies.operations())
@given(st.data(), st.sampled_from((np.float32, np.float64)))
@settings(max_examples=examples(30))
def test_arrays_have_the_dtype_that_was_asked_for(operation, data, dtype):
    drawn = data.draw(call(operation, dtype))
    assert isinstance(drawn, Call)
    assert drawn.operation == operation
    assert all(a is None or a.dtype in (dtype, np.int32, np.uint32) for a in drawn.arrays)
    assert repr(drawn).startswith(f"Call({operation!r}")


def supported(entry, draws=12):
    """The share of the calls drawn for a kernel that it supports."""
    answers = []

    @settings(
        max_examples=draws, phases=[Phase.generate], database=None, suppress_health_check=list(HealthCheck)
    )
    @given(call(entry.operation, (entry.dtypes or ("float64",))[0], entry))
    def ask(drawn):
        answers.append(entry.refusal(*drawn.arrays, **drawn.parameters) is None)

    ask()
    return sum(answers) / len(answers)


@pytest.mark.parametrize(
    "entry",
    [entry for entry in list_kernels() if entry.supports is not None and entry.device != "cuda"],
    ids=lambda entry: entry.name,
)
def test_most_calls_drawn_for_a_kernel_are_supported(entry, monkeypatch):
    """On every processor, whose tiles have other sizes: what a domain says must be what `supports` says."""
    domains = [None]
    for name in ("_AVX512", "_AVX2", "_NEON", "_PLAIN"):
        monkeypatch.setattr(processor, "_FUSED", ((".", getattr(processor, name)),))
        processor.processor.cache_clear()
        try:
            domain = None if entry.domain is None else entry.domain()
            if domain not in domains or domains == [None]:
                assert supported(entry) >= 0.5, name
            domains.append(domain)
        finally:
            monkeypatch.undo()
            processor.processor.cache_clear()


def test_a_domain_in_unknown_words_is_refused():
    entry = dataclasses.replace(find_kernel("relu.forward", algo="plain"), domain=lambda: {"colour": "red"})
    with pytest.raises(
        ValueError, match=r"relu.forward\[cpu, plain\]: the domain speaks of colour; .*: nothing"
    ):
        call("relu.forward", kernel=entry)


@given(st.data())
def test_sizes_of_a_domain(data):
    """Lengths below the least or above the most are not drawn, and those next to the grain are."""
    sizes = Sizes(3, 9, grain=4)
    entry = dataclasses.replace(
        find_kernel("linear.input_grad", algo="blas"), domain=lambda: {"images": sizes, "outputs": Sizes(8)}
    )
    g, weight = data.draw(call("linear.input_grad", kernel=entry)).arrays
    assert 3 <= len(g) <= 9
    assert g.shape[1] == len(weight) >= 8


@pytest.mark.parametrize("length", [3, 4, 5, 7, 8, 9])
def test_sizes_next_to_the_grain_are_drawn(length):
    entry = dataclasses.replace(
        find_kernel("linear.input_grad", algo="blas"), domain=lambda: {"images": Sizes(1, grain=4)}
    )
    one = settings(max_examples=500, phases=[Phase.generate], database=None)
    calls = call("linear.input_grad", kernel=entry)
    found = find(calls, lambda drawn: len(drawn.arrays[0]) == length, settings=one)
    assert found.arrays[0].shape[0] == length


@given(convolutions(empty=False, windows=((3, 3),), strides=(1,), dilations=(1, 2)))
def test_convolutions_of_a_domain(case):
    assert case.weight[2:] == (3, 3)
    assert case.parameters["stride"] == (1, 1)
    assert set(case.parameters["dilation"]) <= {1, 2}
    assert 0 not in case.x + case.weight + case.y


@given(convolutions())
def test_convolutions_are_legal_and_small(case):
    assert output_shape("conv2d", case.x, case.weight, **case.parameters) == case.y
    # Images, outputs, positions; input channels of a group, cells of a window of 5 x 5.
    assert np.prod(case.y) * np.prod(case.weight[1:]) <= 3 * (3 * 2) * 6**2 * 2 * 5**2


def _covers(axis_is_special):
    """Whether a case is special along one of its axes."""

    def predicate(case):
        parameters = case.parameters
        kernel = parameters.get("kernel_size") or case.weight[2:]
        dilation = parameters.get("dilation", (1, 1))
        axes = zip(
            case.x[2:], case.y[2:], kernel, parameters["stride"], parameters["padding"], dilation, strict=True
        )
        return any(axis_is_special(*axis) for axis in axes)

    return predicate


WINDOW_CASES = {
    "kernel larger than the image": lambda n, p, k, s, pad, d: 0 < n < k,
    "kernel as large as the image": lambda n, p, k, s, pad, d: n == k > 1,
    "asymmetric padding": lambda n, p, k, s, pad, d: pad[0] != pad[1] and p > 1,
    "stride above the kernel": lambda n, p, k, s, pad, d: s > k and p > 1,
    "overlapping windows": lambda n, p, k, s, pad, d: s < k and p > 1,
    "dilation with stride": lambda n, p, k, s, pad, d: d > 1 and k > 1 and s > 1 and p > 1,
    "cells after the last window": lambda n, p, k, s, pad, d: (n + sum(pad) - d * (k - 1) - 1) % s and p > 1,
}
SHAPE_CASES = {
    "no images": lambda case: case.x[0] == 0,
    "one image": lambda case: case.x[0] == 1,
    "several images": lambda case: case.x[0] > 1,
    "one channel": lambda case: case.x[1] == 1,
    "distinct lengths": lambda case: len({*case.x}) == 4 and 0 not in case.x,
    "different sides": lambda case: 0 < case.y[2] != case.y[3] > 0 and case.x[2] != case.x[3],
}
CONVOLUTION_CASES = {
    "groups": lambda case: case.parameters["groups"] > 1 and case.weight[1] > 1,
    "depthwise": lambda case: case.x[1] == case.parameters["groups"] > 1 == case.weight[1],
    "grouped outputs": lambda case: case.weight[0] > case.parameters["groups"] > 1,
    "an empty image": lambda case: case.x[2] == 0,
    "no channels": lambda case: case.x[1] == 0,
    "no outputs": lambda case: case.weight[0] == 0,
    "no bias": lambda case: not case.has_bias,
}
POOLING_CASES = {
    "a window cut off in ceil mode": lambda case: (
        case.y != output_shape("max_pool2d", case.x, **{**case.parameters, "ceil_mode": False})
    ),
}


def _named(strategy, cases):
    return [(strategy, predicate, name) for name, predicate in cases.items()]


WINDOWS = {name: _covers(special) for name, special in WINDOW_CASES.items()}


@pytest.mark.parametrize(
    ("strategy", "predicate", "name"),
    [
        *_named(convolutions, WINDOWS | SHAPE_CASES | CONVOLUTION_CASES),
        *_named(poolings, WINDOWS | SHAPE_CASES | POOLING_CASES),
    ],
    ids=lambda value: value if isinstance(value, str) else getattr(value, "__name__", ""),
)
def test_the_cases_that_find_mistakes_are_drawn(strategy, predicate, name):
    quick = settings(
        max_examples=2000, phases=[Phase.generate], suppress_health_check=list(HealthCheck), database=None
    )
    assert predicate(find(strategy(), predicate, settings=quick)), name


@given(strategies.shapes(), strategies.seeds(), st.sampled_from((np.float32, np.float64)))
def test_distinct_values_are_well_separated(shape, generator, dtype):
    values = distinct_values(generator, shape, dtype)
    assert values.shape == shape
    assert np.all(np.abs(values) >= 0.125)
    assert np.all(np.diff(np.sort(values, axis=None)) >= 0.25)


@given(st.data(), strategies.shapes(), st.sampled_from((np.float32, np.float64, np.int32)))
def test_layouts_keep_the_values(data, shape, dtype):
    array = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
    changed = data.draw(layouts(array))
    assert changed.dtype == array.dtype
    np.testing.assert_array_equal(changed, array)
    assert not np.may_share_memory(changed, array)


@pytest.mark.parametrize(
    "predicate",
    [
        lambda a: a.flags.c_contiguous and a.flags.writeable,
        lambda a: not a.flags.writeable,
        lambda a: a.flags.f_contiguous and not a.flags.c_contiguous,
        lambda a: min(a.strides) > a.itemsize,
        lambda a: max(a.strides) < 0,
    ],
    ids=["C", "read-only", "Fortran", "strided", "backwards"],
)
def test_every_layout_is_drawn(predicate):
    array = np.arange(6.0).reshape(2, 3)
    assert predicate(find(layouts(array), predicate, settings=settings(database=None)))
