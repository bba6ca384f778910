"""Einstein's summation: operands brought into one form, then multiplied two by two, as matrices.

A composition of diagonals, sums, matrix products and permutations.
"""

from __future__ import annotations

import functools
import math
import string

import numpy as np

from minialex.checks import in_words
from minialex.errors import ShapeError
from minialex.operations.elementwise import multiply
from minialex.operations.layout import getitem, permute, reshape
from minialex.operations.matmul import matmul
from minialex.operations.reduction import sum
from minialex.tensor import Tensor, as_tensor, require_tensor

# A tensor and the letters of its axes.
_Lettered = tuple[str, Tensor]


def einsum(equation: str, *operands: Tensor) -> Tensor:
    """The sum of products that the equation names, such as ``einsum("nchw,oc->nohw", x, weight)``.

    A letter for each axis; what stands after ``->`` remains, in that order, and all else is summed over. A
    letter that is twice in one operand stands for its diagonal, and ``...`` for the axes that have no letter,
    which are broadcast. Without ``->`` the axes of ``...`` remain, then the letters that come once, in
    alphabetical order. Several operands are multiplied from the left to the right.

    Parameters
    ----------
    equation : str
    *operands : Tensor
        One or more. An axis of length 1 is broadcast.

    Returns
    -------
    Tensor

    Raises
    ------
    ShapeError
        If equation and shapes do not fit.
    TypeError
        If the equation is no str, or an operand neither a tensor nor what becomes one.
    """
    if not isinstance(equation, str):
        raise TypeError(f"einsum: the equation must be a str, not {type(equation).__name__}")
    inputs, arrow, output = equation.replace(" ", "").partition("->")
    terms = inputs.split(",")
    if not operands or len(terms) != len(operands):
        raise ShapeError(
            f"einsum: {in_words(equation)} must name as many operands as are given: {len(operands)}"
        )
    letters = "".join((*terms, output)).replace("...", "")
    if not all(each in string.ascii_letters for each in letters):
        raise ShapeError(f"einsum: {in_words(equation)} must have letters, commas, '...' and one '->' only")
    require_tensor("einsum", operands[0])
    tensors = [operands[0], *(as_tensor(each, operands[0]) for each in operands[1:])]
    terms, rest = _without_ellipsis(terms, tensors)
    if arrow:
        output = output.replace("...", rest, 1)
    else:
        joined = "".join(terms)
        output = rest + "".join(sorted(each for each in set(letters) if joined.count(each) == 1))
    lengths = _lengths(terms, tensors)
    if len(set(output)) != len(output) or not set(output) <= lengths.keys():
        raise ShapeError(
            f"einsum: the output of {in_words(equation)} must have letters of the operands, each once"
        )
    lettered = [_diagonals(*_unstretched(*each, lengths)) for each in zip(terms, tensors, strict=True)]
    found, result = _product_of_all(lettered, output, lengths)
    return permute(result, *(found.index(letter) for letter in output)) if output else result


def _without_ellipsis(terms: list[str], tensors: list[Tensor]) -> tuple[list[str], str]:
    """The terms with letters of their own for the axes of an ellipsis, and all of these letters.

    They are counted from the last axis, as broadcasting does.
    """
    most, named = 0, []
    for term, x in zip(terms, tensors, strict=True):
        others = x.ndim - len(term.replace("...", ""))
        if term.count("...") > 1 or others < 0 or (others and "..." not in term):
            raise ShapeError(
                f"einsum: {term!r} must have a letter for each axis of {x.shape}, or one '...' for the others"
            )
        most = max(most, others)
        named.append(term.replace("...", _unnamed(others)))
    return named, _unnamed(most)


def _unnamed(axes: int) -> str:
    """Letters that nobody writes: of Unicode's area for private use."""
    return "".join(chr(0xE000 + i) for i in reversed(range(axes)))


def _lengths(terms: list[str], tensors: list[Tensor]) -> dict[str, int]:
    """The length of each letter's axis, to which those of 1 are broadcast."""
    lengths: dict[str, int] = {}
    for term, x in zip(terms, tensors, strict=True):
        for letter, n in zip(term, x.shape, strict=True):
            known = lengths.setdefault(letter, n)
            if known == 1 and term.count(letter) == 1:
                lengths[letter] = n
            elif n != known and (n != 1 or term.count(letter) > 1):
                name = f"axis {letter!r}" if letter.isalpha() else "an axis of '...'"
                raise ShapeError(f"einsum: {name} has the lengths {known} and {n}")
    return lengths


def _unstretched(term: str, x: Tensor, lengths: dict[str, int]) -> _Lettered:
    """Without the axes of length 1 that are broadcast: whoever has the letter brings its length."""
    kept = [i for i, letter in enumerate(term) if x.shape[i] == lengths[letter]]
    if len(kept) == len(term):
        return term, x
    return "".join(term[i] for i in kept), reshape(x, tuple(x.shape[i] for i in kept))


def _diagonals(term: str, x: Tensor) -> _Lettered:
    """One axis for each letter: the diagonal where a letter names two."""
    for letter in dict.fromkeys(term):
        while term.count(letter) > 1:
            first, second = term.index(letter), term.rindex(letter)
            others = [i for i in range(len(term)) if i not in (first, second)]
            places = np.arange(x.shape[first])
            x = getitem(permute(x, first, second, *others), (places, places))
            term = letter + "".join(term[i] for i in others)
    return term, x


def _product_of_all(lettered: list[_Lettered], output: str, lengths: dict[str, int]) -> _Lettered:
    """The product of all operands, summed over what is not in the output as soon as nobody else names it."""
    summed = []
    for i, (term, x) in enumerate(lettered):
        others = "".join(each for j, (each, _) in enumerate(lettered) if j != i)
        summed.append(_without(term, x, output + others))

    def multiplied(left: _Lettered, place: int) -> _Lettered:
        later = "".join(term for term, _ in summed[place + 1 :])
        (term, x), (other, y) = left, summed[place]
        return _product(term, x, other, y, output + later, lengths)

    return functools.reduce(multiplied, range(1, len(summed)), summed[0])


def _without(term: str, x: Tensor, needed: str) -> _Lettered:
    """x summed over the axes that nobody else names."""
    axes = tuple(i for i, letter in enumerate(term) if letter not in needed)
    return "".join(letter for letter in term if letter in needed), sum(x, axes) if axes else x


def _product(
    a_term: str, a: Tensor, b_term: str, b: Tensor, needed: str, lengths: dict[str, int]
) -> _Lettered:
    """The letters of the product, and the product: batches, then what only a has, then what only b has."""
    shared = [letter for letter in a_term if letter in b_term]
    batch = "".join(letter for letter in shared if letter in needed)
    inner = "".join(letter for letter in shared if letter not in needed)
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
