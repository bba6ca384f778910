"""Fully connected layers and tables."""

from __future__ import annotations

import numpy as np

from minialex import functional as F
from minialex.checks import is_int
from minialex.errors import ShapeError
from minialex.nn import init
from minialex.nn.layer import Layer, require_flags, require_positive
from minialex.nn.module import Module, Parameter
from minialex.operations.embedding import require_plain
from minialex.tensor import Tensor


class Linear(Layer):
    """A fully connected layer; see `minialex.functional.linear`. Weights start as PyTorch's do.

    Parameters
    ----------
    in_features, out_features : int
        The layer takes (..., in_features) and gives (..., out_features).
    bias : bool
    device : str, optional
    dtype : float32 or float64, optional
    """

    def __init__(self, in_features: int, out_features: int, bias: bool = True, device=None, dtype=None):
        super().__init__()
        require_positive(in_features=in_features, out_features=out_features)
        require_flags(bias=bias)
        self.in_features, self.out_features = in_features, out_features
        self.weight = Parameter(np.empty((out_features, in_features), np.float32))
        self.register_parameter("bias", Parameter(np.empty(out_features, np.float32)) if bias else None)
        init.default(self)
        self.to(device=device, dtype=dtype)

    def reset_parameters(self) -> None:
        """Draw the weights anew."""
        init.pytorch(self)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight, self.bias)

    def extra_repr(self) -> str:
        text = f"{self.in_features}, {self.out_features}"
        return text if self.bias is not None else text + ", bias=False"


class Embedding(Module):
    """Rows of a table, by their numbers; see `minialex.functional.embedding`.

    Integers of any shape (...) give (..., embedding_dim). The rows start standard normal, as PyTorch's do;
    that of padding_idx starts as zeros.

    Parameters
    ----------
    num_embeddings, embedding_dim : int
        How many rows, of how many numbers.
    padding_idx : int, optional
        A row that is not trained.
    max_norm, norm_type, scale_grad_by_freq, sparse
        PyTorch's, to be left out; see the function.
    device : str, optional
    dtype : float32 or float64, optional
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        sparse: bool = False,
        device=None,
        dtype=None,
    ):
        super().__init__()
        require_plain("", max_norm, scale_grad_by_freq, sparse)
        require_positive(num_embeddings=num_embeddings, embedding_dim=embedding_dim)
        if padding_idx is not None:
            if not is_int(padding_idx, -num_embeddings, num_embeddings - 1):
                raise ShapeError(
                    f"padding_idx must be from {-num_embeddings} to {num_embeddings - 1}, not {padding_idx!r}"
                )
            padding_idx = int(padding_idx) % num_embeddings
        self.num_embeddings, self.embedding_dim = num_embeddings, embedding_dim
        self.padding_idx = padding_idx
        self.weight = Parameter(np.empty((num_embeddings, embedding_dim), np.float32))
        init.default(self)
        self.to(device=device, dtype=dtype)

    @classmethod
    def from_pretrained(
        cls,
        embeddings: Tensor,
        freeze: bool = True,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        sparse: bool = False,
    ) -> Embedding:
        """A layer with a table (M, D) that is there already, and by default is not trained."""
        if not isinstance(embeddings, Tensor) or embeddings.ndim != 2:
            raise ShapeError(f"embeddings must be a tensor (M, D), not {type(embeddings).__name__}")
        rows, dim = embeddings.shape
        with init.deferred():
            layer = cls(rows, dim, padding_idx, max_norm, norm_type, scale_grad_by_freq, sparse)
        layer.weight = Parameter(embeddings.data, not freeze, embeddings.device)
        return layer

    def reset_parameters(self) -> None:
        """Draw the rows anew."""
        init.normal_(self.weight)
        if self.padding_idx is not None:
            self.weight.data[self.padding_idx] = 0

    def forward(self, index) -> Tensor:
        return F.embedding(index, self.weight, self.padding_idx)

    def extra_repr(self) -> str:
        text = f"{self.num_embeddings}, {self.embedding_dim}"
        return text if self.padding_idx is None else f"{text}, padding_idx={self.padding_idx}"
