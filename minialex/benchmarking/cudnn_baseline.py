"""cuDNN's convolutions beside ours, called through PyTorch, on the same arrays.

PyTorch takes and returns arrays by DLPack, without a copy; TF32 is off, so that it computes in float32 as we
do.
"""

from __future__ import annotations

import importlib.util

from minialex.kernels import Kernel


def why_not_here() -> str | None:
    """Why cuDNN cannot take part; None if it can."""
    if importlib.util.find_spec("torch") is None:
        return "PyTorch, which calls cuDNN, is not installed"
    import torch

    if not torch.cuda.is_available():
        return f"PyTorch {torch.__version__} cannot use a GPU, and so cannot call cuDNN"
    return None


def cudnn_kernels(operation: str) -> list[Kernel]:
    """Kernels named ``cudnn`` for one direction of the convolution; none for other operations.

    They are not registered: the engine does not choose them.
    """
    functions = {
        "conv2d.forward": _forward,
        "conv2d.input_grad": _input_grad,
        "conv2d.weight_grad": _weight_grad,
    }
    return [Kernel(operation, "cuda", "cudnn", functions[operation])] if operation in functions else []


def _forward(x, weight, bias, *, call):
    import torch

    given = [None if each is None else torch.from_dlpack(each) for each in (x, weight, bias)]
    given[0] = torch.nn.functional.pad(given[0], _sides(call.padding))
    with _in_float32():
        y = torch.nn.functional.conv2d(*given, *_window(call))
    return _as_array(y, x)


def _input_grad(g, weight, *, call):
    import torch

    (height, width), (top, left) = call.size, call.window.before
    sides = _sides(call.padding)
    shape = (*call.x_shape[:2], height + sides[2] + sides[3], width + sides[0] + sides[1])
    given = map(torch.from_dlpack, (weight, g))
    with _in_float32():
        padded = torch.nn.grad.conv2d_input(shape, *given, *_window(call))
    if any(sides):
        padded = padded[:, :, top : top + height, left : left + width].contiguous()
    return _as_array(padded, g)


def _weight_grad(g, x, *, call):
    import torch

    padded = torch.nn.functional.pad(torch.from_dlpack(x), _sides(call.padding))
    with _in_float32():
        found = torch.nn.grad.conv2d_weight(padded, call.weight_shape, torch.from_dlpack(g), *_window(call))
    return _as_array(found, g)


def _window(call) -> tuple:
    """Stride, padding, dilation and groups, in PyTorch's order."""
    return call.stride, _both(call.padding), call.dilation, call.groups


def _is_symmetric(padding) -> bool:
    return all(before == after for before, after in padding)


def _both(padding) -> tuple[int, int]:
    """What the convolution itself pads: (height, width); nothing where the sides differ."""
    return tuple(before for before, _ in padding) if _is_symmetric(padding) else (0, 0)


def _sides(padding) -> tuple[int, int, int, int]:
    """What must be padded before it: left, right, top, bottom."""
    (top, bottom), (left, right) = padding
    return (0, 0, 0, 0) if _is_symmetric(padding) else (left, right, top, bottom)


def _in_float32():
    import torch

    return torch.backends.cudnn.flags(allow_tf32=False, benchmark=True)


def _as_array(tensor, like):
    """A tensor as an array of `like`'s library."""
    if type(like).__module__.partition(".")[0] == "numpy":
        return tensor.numpy()
    import cupy

    return cupy.from_dlpack(tensor)
