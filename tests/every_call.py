"""One call of each function of `minialex.functional` and of each layer, as an expression of tensors.

It means the same with PyTorch: ``F`` and ``nn`` are either's. The tensor x has the batch for its first axis.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace

import numpy as np

Shape = tuple[int, ...]

N = 4
"""The samples of a batch: no other axis of x has this length."""


@dataclass(frozen=True)
class Call:
    """A call, and what x and the other tensors are.

    Attributes
    ----------
    expression : str
    x : tuple of int
        The shape of x without the batch.
    others : dict
        Further tensors by name: shapes, those that have the batch with ``None`` for it; or arrays.
    wrong : tuple of shapes
        Of x, with the batch, that the call must refuse.
    between : (float, float), optional
        Where the values of x lie, if not everywhere.
    arguments : tuple of str
        What a layer is called with.
    """

    expression: str
    x: Shape
    others: dict = field(default_factory=dict)
    wrong: tuple[Shape, ...] = ()
    between: tuple[float, float] | None = None
    arguments: tuple[str, ...] = ("x",)

    @property
    def name(self) -> str:
        """Of the function, or of the layer."""
        return self.expression.split("(")[0].split(".")[1]

    def arrays(self, seed: int = 0, batch: int = N) -> dict[str, np.ndarray]:
        """All tensors of the call, as arrays of float64 or int64."""
        rng = np.random.default_rng(seed)
        x = rng.standard_normal((batch, *self.x))
        if self.between is not None:
            low, high = self.between
            x = low + (high - low) / (1 + np.exp(-x))
        arrays = {"x": x}
        for name, given in self.others.items():
            if isinstance(given, np.ndarray):
                arrays[name] = given if given.ndim == 0 or len(given) != N else given[:batch]
            else:
                shape = tuple(batch if n is None else n for n in given)
                arrays[name] = rng.uniform(0.1, 0.9, shape)
        return arrays


def evaluated(call: Call, library, arrays: dict[str, np.ndarray], state=None):
    """What a call gives in float64 with `minialex` or ``torch``, and its tensors.

    Parameters
    ----------
    call : Call
    library : module
    arrays : dict
        As `Call.arrays` gives them, or with others in their place.
    state : dict, optional
        The parameters of a layer, of `minialex`.

    Returns
    -------
    result : Tensor
    tensors : dict
        x, and what else the call takes, by name; with the layer's parameters for a layer.
    """
    tensors = {
        name: library.tensor(a, requires_grad=a.dtype.kind == "f" and name not in "mvt")
        for name, a in arrays.items()
    }
    ours = library.__name__ == "minialex"
    # PyTorch divides by the size.
    names = {"nn": library.nn, "F": _functions(library, ours), "ALPHA": 0.1 if ours else 0.3}
    if not call.expression.startswith("nn."):
        return eval(call.expression, names | tensors), tensors
    layer = eval(call.expression, names).double()
    if state is not None:
        layer.load_state_dict(state)
    result = layer(*(tensors[name] for name in call.arguments))
    return result, tensors | dict(layer.named_parameters())


def _functions(library, ours: bool):
    if ours:
        return library.nn.functional
    return SimpleNamespace(**vars(library.nn.functional), flatten=lambda x: library.flatten(x, 1))


IMAGE, ROW, SIGNAL = (3, 6, 5), (6,), (3, 7)
_LABELS = {"t": np.array([1, 0, 5, 2])}
_INDICES = np.array([[[[0, 3, 4], [10, 13, 14]]]])
_FIVE = ((4, 3, 6, 5, 1),)
_NOT_IMAGES = ((4, 3, 6), *_FIVE)

FUNCTIONS = [
    *(
        Call(f"F.{name}(x)", IMAGE)
        for name in (
            *("relu", "relu6", "leaky_relu", "elu", "gelu", "silu", "hardsigmoid", "hardswish", "softplus"),
            *("logsigmoid", "mish", "sigmoid", "tanh", "flatten"),
        )
    ),
    Call("F.gelu(x, approximate='tanh')", ROW),
    Call("F.prelu(x, w)", IMAGE, {"w": (3,)}, wrong=((4, 5), (4, 2, 6, 5))),
    Call("F.softmax(x, dim=1)", ROW, wrong=((4,),)),
    Call("F.log_softmax(x, dim=1)", ROW, wrong=((4,),)),
    Call("F.dropout(x, 0.4, training=False)", IMAGE),
    Call("F.dropout2d(x, 0.4, training=False)", IMAGE, wrong=((4,),)),
    Call("F.linear(x, w, b)", ROW, {"w": (2, 6), "b": (2,)}, wrong=((4, 5), (4,))),
    Call("F.conv2d(x, w, b, 2, 1)", IMAGE, {"w": (2, 3, 3, 2), "b": (2,)}, wrong=(*_FIVE, (4, 2, 6, 5))),
    Call("F.conv1d(x, w, b, 2)", SIGNAL, {"w": (2, 3, 3), "b": (2,)}, wrong=((4, 2, 7), (4, 3, 2), (4, 3))),
    Call(
        "F.conv_transpose2d(x, w, b, 2)",
        IMAGE,
        {"w": (3, 2, 3, 2), "b": (2,)},
        wrong=((4, 2, 6, 5), (4, 3, 6)),
    ),
    Call("F.max_pool2d(x, 2)", IMAGE, wrong=(*_FIVE, (4, 3, 1, 5))),
    Call("F.avg_pool2d(x, (2, 3))", IMAGE, wrong=(*_FIVE, (4, 3, 1, 5))),
    Call(
        "F.max_unpool2d(x, i, 2)",
        (1, 2, 3),
        {"i": np.repeat(_INDICES, N, axis=0)},
        wrong=((4, 1, 2, 2), (4, 1)),
    ),
    Call("F.adaptive_avg_pool2d(x, (4, 2))", IMAGE, wrong=(*_FIVE, (4, 3, 0, 5))),
    Call("F.adaptive_max_pool2d(x, (4, 2))", IMAGE, wrong=(*_FIVE, (4, 3, 0, 5))),
    Call("F.local_response_norm(x, 3, ALPHA, 0.75, 1.0)", IMAGE, wrong=((4, 3),)),
    Call("F.batch_norm(x, m, v, w, b)", IMAGE, dict.fromkeys("mvwb", (3,)), wrong=((4, 2, 6, 5), (4,))),
    Call("F.layer_norm(x, (6, 5), w, b)", IMAGE, dict.fromkeys("wb", (6, 5)), wrong=((4, 3, 5, 6), (4, 5))),
    Call("F.group_norm(x, 3, w, b)", IMAGE, dict.fromkeys("wb", (3,)), wrong=((4, 2, 6, 5), (4,))),
    Call("F.instance_norm(x)", IMAGE, wrong=((4, 3),)),
    Call("F.pad(x, (1, 2, 0, 3), value=1.5)", IMAGE, wrong=((4,),)),
    Call("F.pad(x, (1, 2), mode='reflect')", SIGNAL, wrong=((4, 3, 2), ())),
    Call("F.pad(x, (1, 2), mode='replicate')", SIGNAL, wrong=((4, 3, 0), ())),
    Call("F.pad(x, (1, 2), mode='circular')", SIGNAL, wrong=((4, 3, 1), ())),
    Call("F.unfold(x, 3)", IMAGE, wrong=((4, 3, 2, 5), *_FIVE)),
    Call("F.fold(x, (5, 6), 3)", (18, 12), wrong=((4, 17, 12), (4, 18, 11), (4, 18))),
    Call("F.interpolate(x, scale_factor=2)", IMAGE, wrong=((4, 3, 0, 5), (4, 3))),
    Call("F.interpolate(x, (4, 7), mode='bilinear')", IMAGE, wrong=((4, 3, 0, 5), (4, 3))),
    *(
        Call(f"F.{name}(x, y, reduction='none')", ROW, {"y": (None, 6)}, wrong=((4, 5), (6,)))
        for name in (
            "mse_loss",
            "l1_loss",
            "smooth_l1_loss",
            "huber_loss",
            "binary_cross_entropy_with_logits",
        )
    ),
    Call("F.kl_div(x, y, reduction='none')", ROW, {"y": (None, 6)}, wrong=((4, 5),)),
    Call(
        "F.binary_cross_entropy(x, y, reduction='none')",
        ROW,
        {"y": (None, 6)},
        wrong=((4, 5),),
        between=(0.1, 0.9),
    ),
    Call("F.nll_loss(x, t, reduction='none')", ROW, _LABELS, wrong=((5, 6), (4,))),
    Call("F.cross_entropy(x, t, reduction='none')", ROW, _LABELS, wrong=((5, 6), (4, 6, 2))),
    Call("F.embedding(t, x)", ROW, {"t": np.array([[1, 0], [3, 1], [2, 2]])}, wrong=((4,), (4, 6, 1))),
]

LAYERS = [
    *(
        Call(f"nn.{name}()", IMAGE)
        for name in (
            *("ReLU", "ReLU6", "LeakyReLU", "ELU", "GELU", "SiLU", "Hardsigmoid", "Hardswish", "Softplus"),
            *("LogSigmoid", "Mish", "Sigmoid", "Tanh", "Flatten", "Identity"),
        )
    ),
    Call("nn.PReLU(3)", IMAGE, wrong=((4, 5),)),
    Call("nn.Softmax(1)", ROW, wrong=((4,),)),
    Call("nn.LogSoftmax(1)", ROW, wrong=((4,),)),
    Call("nn.Dropout(0.4).eval()", IMAGE),
    Call("nn.Dropout2d(0.4).eval()", IMAGE, wrong=((4,),)),
    Call("nn.Linear(6, 2)", ROW, wrong=((4, 5), (4,))),
    Call("nn.Conv2d(3, 2, 3)", IMAGE, wrong=(*_FIVE, (4, 2, 6, 5))),
    Call("nn.Conv1d(3, 2, 3)", SIGNAL, wrong=((4, 2, 7), (4, 3, 2))),
    Call("nn.ConvTranspose2d(3, 2, 3)", IMAGE, wrong=((4, 2, 6, 5),)),
    Call("nn.MaxPool2d(2)", IMAGE, wrong=(*_FIVE, (4, 3, 1, 5))),
    Call("nn.AvgPool2d(2)", IMAGE, wrong=(*_FIVE, (4, 3, 1, 5))),
    Call(
        "nn.MaxUnpool2d(2)",
        (1, 2, 3),
        {"i": np.repeat(_INDICES, N, axis=0)},
        wrong=((4, 1, 2, 2),),
        arguments=("x", "i"),
    ),
    Call("nn.AdaptiveAvgPool2d(2)", IMAGE, wrong=_FIVE),
    Call("nn.AdaptiveMaxPool2d(2)", IMAGE, wrong=_FIVE),
    Call("nn.LocalResponseNorm(3, ALPHA, 0.75, 1.0)", IMAGE, wrong=((4, 3),)),
    Call("nn.BatchNorm2d(3).eval()", IMAGE, wrong=((4, 2, 6, 5),)),
    Call("nn.BatchNorm1d(6).eval()", ROW, wrong=((4, 5), (4, 6, 2, 2))),
    Call("nn.LayerNorm((6, 5))", IMAGE, wrong=((4, 3, 5, 6),)),
    Call("nn.GroupNorm(3, 3)", IMAGE, wrong=((4, 2, 6, 5), (4,))),
    Call("nn.InstanceNorm2d(3)", IMAGE, wrong=_NOT_IMAGES),
    Call("nn.ZeroPad2d(2)", IMAGE, wrong=((4,),)),
    Call("nn.ReflectionPad2d(2)", IMAGE, wrong=((4, 3, 6, 2),)),
    Call("nn.ReplicationPad2d(2)", IMAGE, wrong=((4, 3, 6, 0),)),
    Call("nn.Unfold(3)", IMAGE, wrong=((4, 3, 2, 5),)),
    Call("nn.Fold((5, 6), 3)", (18, 12), wrong=((4, 17, 12),)),
    Call("nn.ChannelShuffle(3)", IMAGE, wrong=((4, 2, 6, 5),)),
    Call("nn.Upsample(scale_factor=2)", IMAGE, wrong=((4, 3, 0, 5),)),
    *(
        Call(f"nn.{name}(reduction='none')", ROW, {"y": (None, 6)}, wrong=((4, 5),), arguments=("x", "y"))
        for name in ("MSELoss", "L1Loss", "SmoothL1Loss", "HuberLoss", "BCEWithLogitsLoss", "KLDivLoss")
    ),
    Call(
        "nn.BCELoss(reduction='none')",
        ROW,
        {"y": (None, 6)},
        wrong=((4, 5),),
        between=(0.1, 0.9),
        arguments=("x", "y"),
    ),
    Call("nn.NLLLoss(reduction='none')", ROW, _LABELS, wrong=((5, 6),), arguments=("x", "t")),
    Call("nn.CrossEntropyLoss(reduction='none')", ROW, _LABELS, wrong=((5, 6),), arguments=("x", "t")),
]

CALLS = FUNCTIONS + LAYERS
