"""Einstein's summation over one or two tensors: permuted, reshaped, and multiplied as matrices."""

from __future__ import annotations

import math

from minialex.checks import in_words
from minialex.errors import ShapeError
from minialex.operations.elementwise import multiply
from minialex.operations.layout import permute, reshape
from minialex.operations.matmul import matmul
from minialex.operations.reduction import sum
from minialex.tensor import Tensor, as_tensor, require_tensor


def einsum(equation: str, *operands: Tensor) -> Tensor:
    """The sum of products that the equation names, such as ``einsum("nchw,oc->nohw", x, weight)``.

    A letter for each axis; what stands after ``->`` remains, in that order, and all else is summed over.
    Without ``->`` the letters that come once remain, in alphabetical order.

    Parameters
    ----------
    equation : str
    *operands : Tensor
        One or two, without repeated letters in one.

    Raises
    ------
    ShapeError
        If equation and shapes do not fit, or the equation has what is not supported: an ellipsis, a diagonal,
        three operands.
    """
    if not isinstance(equation, str):
        raise TypeError(f"einsum: the equation must be a str, not {type(equation).__name__}")
    inputs, arrow, output = equation.replace(" ", "").partition("->")
    terms = inputs.split(",")
    if len(terms) != len(operands) or len(operands) not in (1, 2):
        raise ShapeError(
            f"einsum: {equation!r} must name one or two operands, as many as are given: {len(operands)}"
        )
    if not all(term.isalpha() or not term for term in (*terms, output)):
        raise ShapeError(f"einsum: {equation!r} must have letters only, without an ellipsis")
    lengths: dict[str, int] = {}
    require_tensor("einsum", operands[0])
    tensors = [operands[0], *(as_tensor(each, operands[0]) for each in operands[1:])]
    for term, x in zip(terms, tensors, strict=True):
        if len(term) != x.ndim or len(set(term)) != len(term):
            raise ShapeError(f"einsum: {term!r} must have a letter of its own for each axis of {x.shape}")
        for letter, n in zip(term, x.shape, strict=True):
            if lengths.setdefault(letter, n) != n:
                raise ShapeError(f"einsum: axis {letter!r} has the lengths {lengths[letter]} and {n}")
    if not arrow:
        output = "".join(sorted(letter for letter in lengths if inputs.count(letter) == 1))
    if len(set(output)) != len(output) or not set(output) <= lengths.keys():
        raise ShapeError(
            f"einsum: the output {in_words(output)} must have letters of the operands, each once"
        )
    reduced = [
        _without(term, x, output + "".join(terms[:i] + terms[i + 1 :]))
        for i, (term, x) in enumerate(zip(terms, tensors, strict=True))
    ]
    found, result = reduced[0] if len(reduced) == 1 else _product(*reduced[0], *reduced[1], output, lengths)
    return permute(result, *(found.index(letter) for letter in output)) if output else result


def _without(term: str, x: Tensor, needed: str) -> tuple[str, Tensor]:
    """x summed over the axes that nobody else names."""
    axes = tuple(i for i, letter in enumerate(term) if letter not in needed)
    return "".join(letter for letter in term if letter in needed), sum(x, axes) if axes else x


def _product(a_term: str, a: Tensor, b_term: str, b: Tensor, output: str, lengths: dict[str, int]):
    """The letters of the product, and the product: batches, then what a has alone, then what b has."""
    shared = [letter for letter in a_term if letter in b_term]
    batch = "".join(letter for letter in shared if letter in output)
    inner = "".join(letter for letter in shared if letter not in output)
    rows = "".join(letter for letter in a_term if letter not in b_term)
    columns = "".join(letter for letter in b_term if letter not in a_term)

    def arranged(term: str, x: Tensor, *groups: str) -> Tensor:
        order = [term.index(letter) for group in groups for letter in group]
        turned = permute(x, *order) if order else x
        return reshape(turned, tuple(math.prod(lengths[letter] for letter in group) for group in groups))

    if not inner:
        left, right = arranged(a_term, a, batch, rows, ""), arranged(b_term, b, batch, "", columns)
        product = multiply(left, right)
    else:
        product = matmul(arranged(a_term, a, batch, rows, inner), arranged(b_term, b, batch, inner, columns))
    found = batch + rows + columns
    return found, reshape(product, tuple(lengths[letter] for letter in found))
