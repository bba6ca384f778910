"""The conformance cases inside the onnx wheel, run through MiniAlex.

Two kinds: the node cases, which ONNX generates for each operator, and models that PyTorch exported with
the results it computed itself. Every case that has an operator of a CNN is either run or listed in
`NOT_MAPPED` with the reason.
"""

import warnings
from pathlib import Path

import numpy as np
import pytest

import minialex as ma
from minialex import functional as F
from minialex import optim
from minialex.checking.testing.compare import assert_close
from minialex.nn import Parameter

onnx = pytest.importorskip("onnx", reason="the conformance cases are inside the onnx wheel")

from onnx.backend.test import loader  # noqa: E402 - only where onnx is installed

# The operators whose cases are wanted.
WANTED = {
    "AveragePool",
    "BatchNormalization",
    "Conv",
    "Dropout",
    "Flatten",
    "Gemm",
    "LRN",
    "LogSoftmax",
    "MatMul",
    "MaxPool",
    "Relu",
    "Softmax",
    "SoftmaxCrossEntropyLoss",
    "Adagrad",
    "Adam",
    "Momentum",
}

# Operators by their ONNX definitions (github.com/onnx/onnx, docs/Operators.md). Each takes arrays and gives
# the results that MiniAlex has; an attribute that a function does not name is a TypeError.


def _pads(pads, auto_pad, size, kernel, strides, dilations):
    """ONNX's padding, (top, left, bottom, right) or a rule, in the form of `minialex.functional`."""
    if auto_pad == b"SAME_UPPER":
        return "same"
    if auto_pad == b"SAME_LOWER":  # as SAME_UPPER, but the odd cell stands at the top and left
        totals = [
            max((-(-n // s) - 1) * s + d * (k - 1) + 1 - n, 0)
            for n, k, s, d in zip(size, kernel, strides, dilations, strict=True)
        ]
        return tuple((total - total // 2, total // 2) for total in totals)
    assert auto_pad == b"NOTSET"
    top, left, bottom, right = pads
    return (top, bottom), (left, right)


def _conv(
    x,
    weight,
    bias=None,
    *,
    kernel_shape,
    pads=(0, 0, 0, 0),
    auto_pad=b"NOTSET",
    strides=(1, 1),
    dilations=(1, 1),
    group=1,
):
    padding = _pads(pads, auto_pad, x.shape[2:], kernel_shape, strides, dilations)
    bias = None if bias is None else ma.Tensor(bias)
    y = F.conv2d(ma.Tensor(x), ma.Tensor(weight), bias, tuple(strides), padding, tuple(dilations), group)
    return (y,)


def _max_pool(
    x,
    *,
    kernel_shape,
    pads=(0, 0, 0, 0),
    auto_pad=b"NOTSET",
    strides=(1, 1),
    dilations=(1, 1),
    ceil_mode=0,
    storage_order=0,
):
    padding = _pads(pads, auto_pad, x.shape[2:], kernel_shape, strides, dilations)
    x = ma.Tensor(x)
    return (F.max_pool2d(x, kernel_shape, tuple(strides), padding, tuple(dilations), bool(ceil_mode)),)


def _average_pool(
    x,
    *,
    kernel_shape,
    pads=(0, 0, 0, 0),
    auto_pad=b"NOTSET",
    strides=(1, 1),
    ceil_mode=0,
    count_include_pad=0,
):
    padding = _pads(pads, auto_pad, x.shape[2:], kernel_shape, strides, (1, 1))
    x = ma.Tensor(x)
    return (F.avg_pool2d(x, kernel_shape, tuple(strides), padding, bool(ceil_mode), bool(count_include_pad)),)


def _lrn(x, *, size, alpha=1e-4, beta=0.75, bias=1.0):
    return (F.local_response_norm(ma.Tensor(x), size, alpha, beta, k=bias, alpha_mode="mean"),)


def _batch_normalization(
    x, scale, bias, mean, var, *, epsilon=1e-5, momentum=0.9, training_mode=0, is_test=1
):
    """ONNX calls 1 - momentum its momentum, and keeps the biased variance."""
    assert is_test  # of old versions, whose training cases are not in the wheel
    moved_mean, moved_var = mean.copy(), var.copy()
    given = (ma.Tensor(x), moved_mean, moved_var, ma.Tensor(scale), ma.Tensor(bias))
    y = F.batch_norm(*given, training=bool(training_mode), momentum=1 - momentum, eps=epsilon)
    if not training_mode:
        return (y,)
    count = x.size // x.shape[1]
    biased = momentum * var + (moved_var - momentum * var) * (count - 1) / count
    return y, moved_mean, biased.astype(var.dtype)


def _dropout(x, ratio=0.5, training_mode=False, *, seed=None):
    return (F.dropout(ma.Tensor(x), float(ratio), bool(training_mode)),)


def _gemm(a, b, c=None, *, alpha=1.0, beta=1.0, transA=0, transB=0, broadcast=1):
    """alpha * a @ b + beta * c; `linear` has no factors and takes b transposed."""
    assert broadcast  # of old versions
    a = ma.Tensor(a).T if transA else ma.Tensor(a)
    weight = ma.Tensor(b) if transB else ma.Tensor(b).T
    bias = None if c is None else beta * ma.Tensor(np.broadcast_to(c, (1, weight.shape[0])))
    return (F.linear(alpha * a, weight, None if bias is None else bias.reshape(-1)),)


def _flatten(x, *, axis=1):
    """Two axes: those before `axis` and the others."""
    return (F.flatten(F.flatten(ma.Tensor(x), axis % x.ndim), 0, axis % x.ndim - 1),)


def _cross_entropy(scores, labels, weight=None, *, reduction=b"mean", ignore_index=-100):
    """ONNX has the classes on axis 1 of any number of axes."""
    rows = np.moveaxis(scores, 1, -1)
    x = ma.Tensor(rows).reshape(-1, scores.shape[1])
    options = {"reduction": reduction.decode(), "ignore_index": ignore_index}
    loss = F.cross_entropy(x, labels.reshape(-1), weight, **options)
    log_probabilities = F.log_softmax(ma.Tensor(scores), 1)
    return loss.reshape(labels.shape) if reduction == b"none" else loss, log_probabilities


def _momentum(rate, count, *tensors, alpha, beta, mode, norm_coefficient):
    """X, G, V of each parameter in turn; beta, a factor of the gradient, counts only after update 0."""
    assert count == 0
    parameters, gradients, velocities = _columns(tensors, 3)
    optimizer = optim.SGD(parameters, float(rate), alpha, norm_coefficient, nesterov=mode == b"nesterov")
    return _updated(optimizer, gradients, [{"velocity": v} for v in velocities], ("velocity",))


def _adam(rate, count, *tensors, alpha, beta, epsilon, norm_coefficient, norm_coefficient_post=0.0):
    """X, G, V, H. Update 0 corrects no bias, as ours does once alpha**step and beta**step are 0."""
    assert (count, norm_coefficient_post) == (0, 0)
    parameters, gradients, m, v = _columns(tensors, 4)
    optimizer = optim.Adam(parameters, float(rate), (alpha, beta), epsilon, norm_coefficient)
    states = [{"step": 10**6, "m": a, "v": b} for a, b in zip(m, v, strict=True)]
    return _updated(optimizer, gradients, states, ("m", "v"))


def _columns(tensors, kinds):
    """The inputs X1, X2, G1, G2, ... as one list a kind, the first of them parameters."""
    each = len(tensors) // kinds
    parameters, *others = ([a.copy() for a in tensors[i * each : (i + 1) * each]] for i in range(kinds))
    return [Parameter(array) for array in parameters], *others


def _updated(optimizer, gradients, states, names):
    """Take one step from the given states; the parameters and the states named."""
    saved = optimizer.state_dict()
    optimizer.load_state_dict(saved | {"state": dict(enumerate(states))})
    for parameter, gradient in zip(optimizer.parameters(), gradients, strict=True):
        parameter.grad = ma.Tensor(gradient)
    optimizer.step()
    return (
        *optimizer.parameters(),
        *(optimizer.state[i][name] for name in names for i in range(len(states))),
    )


OPERATORS = {
    "Adam": _adam,
    "AveragePool": _average_pool,
    "BatchNormalization": _batch_normalization,
    "Constant": lambda *, value: (onnx.numpy_helper.to_array(value),),
    "Conv": _conv,
    "Dropout": _dropout,
    "Flatten": _flatten,
    "Gemm": _gemm,
    "LRN": _lrn,
    "LogSoftmax": lambda x, *, axis=-1: (F.log_softmax(ma.Tensor(x), axis),),
    "MatMul": lambda a, b: (ma.Tensor(a) @ ma.Tensor(b),),
    "MaxPool": _max_pool,
    "Momentum": _momentum,
    "Neg": lambda x: (-ma.Tensor(x),),
    "Relu": lambda x: (F.relu(ma.Tensor(x)),),
    "Softmax": lambda x, *, axis=-1: (F.softmax(ma.Tensor(x), axis),),
    "SoftmaxCrossEntropyLoss": _cross_entropy,
    "Transpose": lambda x, *, perm: (ma.Tensor(x).transpose(*perm),),
}

# Results beyond the first that MiniAlex keeps to itself: the winners' places and the mask.
ONLY_FIRST_RESULT = {"MaxPool", "Dropout"}

# Cases that are not run, by the reason.
NOT_MAPPED = {
    "images have two axes by design, not one or three": """
        test_averagepool_1d_default
        test_averagepool_3d_default
        test_averagepool_3d_dilations_large_count_include_pad_is_0_ceil_mode_is_False
        test_averagepool_3d_dilations_large_count_include_pad_is_0_ceil_mode_is_True
        test_averagepool_3d_dilations_large_count_include_pad_is_1_ceil_mode_is_False
        test_averagepool_3d_dilations_large_count_include_pad_is_1_ceil_mode_is_True
        test_averagepool_3d_dilations_small
        test_maxpool_1d_default
        test_maxpool_3d_default
        test_maxpool_3d_dilations
        test_maxpool_3d_dilations_use_ref_impl
        test_maxpool_3d_dilations_use_ref_impl_large
        pytorch-converted/test_AvgPool1d
        pytorch-converted/test_AvgPool1d_stride
        pytorch-converted/test_AvgPool3d
        pytorch-converted/test_AvgPool3d_stride
        pytorch-converted/test_AvgPool3d_stride1_pad0_gpu_input
        pytorch-converted/test_Conv1d
        pytorch-converted/test_Conv1d_dilated
        pytorch-converted/test_Conv1d_groups
        pytorch-converted/test_Conv1d_pad1
        pytorch-converted/test_Conv1d_pad1size1
        pytorch-converted/test_Conv1d_pad2
        pytorch-converted/test_Conv1d_pad2size1
        pytorch-converted/test_Conv1d_stride
        pytorch-converted/test_Conv3d
        pytorch-converted/test_Conv3d_dilated
        pytorch-converted/test_Conv3d_dilated_strided
        pytorch-converted/test_Conv3d_groups
        pytorch-converted/test_Conv3d_no_bias
        pytorch-converted/test_Conv3d_stride
        pytorch-converted/test_Conv3d_stride_padding
        pytorch-converted/test_MaxPool1d
        pytorch-converted/test_MaxPool1d_stride
        pytorch-converted/test_MaxPool1d_stride_padding_dilation
        pytorch-converted/test_MaxPool3d
        pytorch-converted/test_MaxPool3d_stride
        pytorch-converted/test_MaxPool3d_stride_padding
        pytorch-operator/test_operator_maxpool
    """,
    "avg_pool2d has no dilation, as in PyTorch": "test_averagepool_2d_dilations",
    "the engine computes with floats": "test_maxpool_2d_uint8",
    "flatten joins axes and adds none": """
        test_flatten_axis0
        test_flatten_negative_axis4
        pytorch-operator/test_operator_view
    """,
    "linear adds one bias a feature, not one an element": """
        test_gemm_default_matrix_bias
        pytorch-operator/test_operator_addmm
    """,
    "matmul takes only matrices": """
        test_matmul_1d_1d
        test_matmul_1d_3d
        test_matmul_3d
        test_matmul_4d
        test_matmul_4d_1d
        test_matmul_bcast
    """,
    "a mask drawn by another generator": """
        test_training_dropout
        test_training_dropout_default
        test_training_dropout_default_mask
        test_training_dropout_mask
    """,
    "there is no Adagrad": "test_adagrad test_adagrad_multiple",
}

# Results agree to some units of float32 rounding, relative to the largest: 16 units. ONNX itself asks only
# for 1e-3 of each element, which lets a formula wrong by a thousandth pass.
TOLERANCE = 16 * float(np.finfo(np.float32).eps)
# The expected numbers of this case are written with four digits.
FOUR_DIGITS = {"test_averagepool_2d_ceil_last_window_starts_on_pad": 1e-3}


def _node_cases():
    with warnings.catch_warnings():
        # Generating the cases of other operators overflows, divides by 0 and so on, on purpose.
        warnings.simplefilter("ignore", RuntimeWarning)
        generated = loader.load_node_model_tests()
    for case in generated:
        nodes = case.model.graph.node
        if len(nodes) == 1 and nodes[0].op_type in WANTED and "_expanded" not in case.name:
            ((inputs, outputs),) = case.data_sets
            yield case.name, (case.model, inputs, outputs)


def _pytorch_cases():
    for kind in ("pytorch-converted", "pytorch-operator"):
        for case in loader.load_model_tests(kind=kind):
            folder = Path(case.model_dir)
            model = onnx.load(folder / "model.onnx")
            if any(node.op_type in WANTED for node in model.graph.node):
                inputs, outputs = (_arrays(folder / "test_data_set_0", side) for side in ("input", "output"))
                yield f"{kind}/{case.name}", (model, inputs, outputs)


def _arrays(folder, side):
    files = [folder / f"{side}_{i}.pb" for i in range(len(list(folder.glob(f"{side}_*.pb"))))]
    return [onnx.numpy_helper.to_array(onnx.load_tensor(file)) for file in files]


CASES = dict(_node_cases()) | dict(_pytorch_cases())
EXPLAINED = [name for names in NOT_MAPPED.values() for name in names.split()]
RUN = sorted(CASES.keys() - set(EXPLAINED))


def run_model(model, inputs):
    """The results of a graph by name, computed with `OPERATORS`, node after node."""
    values = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    given = [value.name for value in model.graph.input if value.name not in values]
    values.update(zip(given, inputs, strict=True))
    for node in model.graph.node:
        attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        results = OPERATORS[node.op_type](*(values[name] for name in node.input), **attributes)
        for name, result in zip(node.output, results, strict=False):
            values[name] = result.numpy() if isinstance(result, ma.Tensor) else result
    return values


def test_every_case_is_run_or_explained():
    """A new version of onnx may bring cases: they should be run, or explained above, and counted here."""
    assert (len(RUN), len(EXPLAINED)) == (150, 58)
    assert set(RUN) | set(EXPLAINED) == CASES.keys()
    assert len(set(EXPLAINED)) == 58, "a case is explained twice"
    assert FOUR_DIGITS.keys() <= set(RUN)


@pytest.mark.parametrize("name", RUN)
def test_case(name):
    model, inputs, expected = CASES[name]
    names = [value.name for value in model.graph.output]
    if model.graph.node[-1].op_type in ONLY_FIRST_RESULT:
        names, expected = names[:1], expected[:1]
    results = run_model(model, inputs)
    for output, array in zip(names, expected, strict=True):
        tolerance = FOUR_DIGITS.get(name, TOLERANCE)
        assert_close(np.asarray(results[output]), np.asarray(array), tolerance, name=output)
