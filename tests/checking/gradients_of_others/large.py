"""Functions of more elements than a checker may want to compare every derivative of."""

import numpy as np

from gradients_of_others.case import Function, instead, negated, normal, times
from gradients_of_others.matrices import matmul_vjp
from gradients_of_others.reductions import softmax, softmax_vjp

HALF = np.where(np.arange(600) % 2, 1.0, 1.01)


def _cubed_with_half(u, x):
    return (3 * u * x**2 * HALF,)


FUNCTIONS: list[Function] = [
    Function(
        "tanh of 600 elements",
        np.tanh,
        lambda u, x: (u * (1 - np.tanh(x) ** 2),),
        {f"{s:g}": [normal(401, 600, scale=s)] for s in (1e-6, 1e-2, 1.0)},
        [
            times(1.001),
            negated(),
            instead("half of the elements, by 1.01", lambda u, x: (u * (1 - np.tanh(x) ** 2) * HALF,)),
        ],
    ),
    Function(
        "x^3 of 600 elements",
        lambda x: x**3,
        lambda u, x: (3 * u * x**2,),
        {f"{s:g}": [normal(402, 600, scale=s)] for s in (1e-4, 1.0, 1e4)},
        [times(1.001), instead("half of the elements, by 1.01", _cubed_with_half)],
    ),
    Function(
        "log of 600 elements from 1e-4 to 1e4",
        np.log,
        lambda u, x: (u / x,),
        {"1e-4 to 1e4": [np.geomspace(1e-4, 1e4, 600)]},
        [times(1.001), instead("1 / (1 + x)", lambda u, x: (u / (1 + x),))],
    ),
    Function(
        "product of matrices of 25 x 25",
        np.matmul,
        matmul_vjp,
        {f"{s:g}": [normal(403, 25, 25, scale=s), normal(404, 25, 25)] for s in (1e-8, 1.0, 1e8)},
        [times(1.001), instead("not transposed", lambda u, a, b: (u @ b, a @ u))],
    ),
    Function(
        "softmax of 20 rows of 30",
        softmax,
        softmax_vjp,
        {
            "1": [normal(405, 20, 30)],
            "5": [normal(405, 20, 30, scale=5.0)],
            "about 1e4": [1e4 + normal(405, 20, 30)],
        },
        [times(1.001), instead("the diagonal only", lambda u, x: (u * softmax(x) * (1 - softmax(x)),))],
    ),
    Function(
        "sorted rows of 600 elements",
        lambda x: np.sort(x, axis=1),
        lambda u, x: (np.take_along_axis(u, np.argsort(np.argsort(x, axis=1), axis=1), axis=1),),
        {"1": [np.random.default_rng(406).permutation(600.0 * np.arange(600)).reshape(3, 200) / 600]},
        [times(1.001), instead("not sorted back", lambda u, x: (1.0 * u,))],
    ),
]
