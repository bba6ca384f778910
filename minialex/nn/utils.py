"""All parameters as one vector, limits for gradients, networks for inference: as in ``torch.nn.utils``."""

from __future__ import annotations

from collections.abc import Iterable

from minialex.errors import ShapeError
from minialex.nn.folding import fold_batch_norm, fuse_for_inference
from minialex.nn.recorded import record_for_inference
from minialex.operations import cat, reshape
from minialex.operations.gradients import clip_grad_norm_, clip_grad_value_
from minialex.tensor import Tensor

__all__ = [
    "clip_grad_norm_",
    "clip_grad_value_",
    "fold_batch_norm",
    "fuse_for_inference",
    "parameters_to_vector",
    "record_for_inference",
    "vector_to_parameters",
]


def _listed(parameters: Iterable[Tensor]) -> list[Tensor]:
    """The parameters, all of one dtype and device."""
    given = [parameters] if isinstance(parameters, Tensor) else list(parameters)
    if not given:
        raise ShapeError("parameters must be at least one tensor, not none")
    kinds = {(str(p.dtype), p.device) for p in given}
    if len(kinds) > 1:
        raise TypeError(f"parameters must be of one dtype and device, not {sorted(kinds)}")
    return given


def parameters_to_vector(parameters: Iterable[Tensor]) -> Tensor:
    """The values of all parameters, one behind the other.

    Parameters
    ----------
    parameters : iterable of Tensor
        All of one dtype and device.

    Returns
    -------
    Tensor (P,)
        A part of the graph, as PyTorch's is.

    Raises
    ------
    ShapeError, TypeError
        If there is none, or they are of different kinds.
    """
    return cat([reshape(p, -1) for p in _listed(parameters)])


def vector_to_parameters(vec: Tensor, parameters: Iterable[Tensor]) -> None:
    """Copy the values of a vector (P,) into the parameters, in their order.

    Raises
    ------
    TypeError, ShapeError
        If it is no tensor, or has not as many elements as they have together; nothing is changed then.
    """
    given = _listed(parameters)
    if not isinstance(vec, Tensor):
        raise TypeError(f"vec must be a tensor, not {type(vec).__name__}")
    total = sum(p.data.size for p in given)
    if vec.shape != (total,):
        raise ShapeError(f"vec must have shape ({total},), the elements of all parameters, not {vec.shape}")
    values, start = vec.detach(), 0
    for p in given:
        p.detach().copy_(values[start : start + p.data.size].reshape(p.shape))
        start += p.data.size
