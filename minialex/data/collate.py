"""From samples one by one to the tensors of a batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from minialex.checks import in_words
from minialex.data.transforms.pictures import is_pil_image
from minialex.errors import DataError
from minialex.operations import stack
from minialex.tensor import Tensor


def default_collate(batch: Sequence[Any]) -> Any:
    """Join samples to a batch, as ``torch.utils.data.default_collate`` does.

    Parameters
    ----------
    batch : sequence
        B samples of one kind. Tensors and arrays (...) become a tensor (B, ...); numbers become a tensor (B,)
        of int64, bool or, as in PyTorch, float64; texts stay a list. Tuples, lists and dictionaries are
        joined member by member: a tuple or a list of n members becomes a list of n batches.

    Returns
    -------
    Tensor, list, dict or namedtuple

    Raises
    ------
    DataError
        If there is no sample, their shapes or numbers of members differ, or they are of another kind.
    """
    batch = list(batch)
    if not batch:
        raise DataError("a batch must have a sample or more, not none")
    first = batch[0]
    if isinstance(first, Tensor | np.ndarray):
        shapes = sorted({each.shape for each in batch})
        if len(shapes) > 1:
            raise DataError(
                f"samples of one batch must have one shape, not {shapes[0]} and {shapes[-1]}; end their "
                "transforms with a crop, or a resize to a fixed size, or pass collate_fn"
            )
        return _stacked(batch)
    if isinstance(first, bool | int | float | np.number | np.bool_):
        return Tensor(np.array(batch))
    if isinstance(first, str | bytes):
        return batch
    if isinstance(first, Mapping):
        return {key: default_collate([each[key] for each in batch]) for key in first}
    if isinstance(first, tuple | list):
        if len({len(each) for each in batch}) > 1:
            raise DataError(
                "samples of one batch must have as many members each; pass collate_fn to join others"
            )
        members = [default_collate(each) for each in zip(*batch, strict=True)]
        return type(first)(*members) if hasattr(first, "_fields") else members
    advice = "; put ToTensor() at the end of its transforms" if is_pil_image(first) else ""
    raise DataError(
        f"a sample must be of tensors, arrays, numbers, texts, tuples, lists or dictionaries, not "
        f"{in_words(first)}{advice}, or pass collate_fn"
    )


def _stacked(batch: list[Any]) -> Tensor:
    """Stack tensors or arrays of one shape; the operation costs more, and only a graph or a GPU needs it."""
    if any(isinstance(each, Tensor) and (each.requires_grad or each.device != "cpu") for each in batch):
        return stack(batch)
    return Tensor(np.stack([each.data if isinstance(each, Tensor) else each for each in batch]))
