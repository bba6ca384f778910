"""Products, decompositions and solutions of linear systems."""

import numpy as np

from gradients_of_others.case import (
    Function,
    in_float32,
    instead,
    negated,
    normal,
    one_element,
    squared_upstream,
    stale,
    swapped,
    times,
    without,
)


def regular(seed: int, n: int, scale: float = 1.0) -> np.ndarray:
    """A matrix that is not symmetric and far from singular."""
    return scale * (normal(seed, n, n) + 3 * np.diag(1.0 + np.arange(n)))


def _sym(a):
    return (a + np.swapaxes(a, -1, -2)) / 2


# Products


def matmul_vjp(u, a, b):
    return u @ b.T, a.T @ u


def linear_vjp(u, x, w, b):
    return u @ w, u.T @ x, u.sum(axis=0)


def bilinear_vjp(u, x, w, y):
    return (
        np.einsum("n,ij,nj->ni", u, w, y),
        np.einsum("n,ni,nj->ij", u, x, y),
        np.einsum("n,ni,ij->nj", u, x, w),
    )


def _chain_vjp(u, a, b, c):
    return u @ (b @ c).T, a.T @ u @ c.T, (a @ b).T @ u


def _quadratic_vjp(u, x, a):
    return u * (a + a.T) @ x, u * np.outer(x, x)


def _kron_vjp(u, a, b):
    u = u.reshape(a.shape[0], b.shape[0], a.shape[1], b.shape[1])
    return np.einsum("ikjl,kl->ij", u, b), np.einsum("ikjl,ij->kl", u, a)


def _cube_vjp(u, a):
    t = a.T
    return (u @ t @ t + t @ u @ t + t @ t @ u,)


def _mlp(x, v, w):
    return np.tanh(x @ v) @ w


def _mlp_vjp(u, x, v, w):
    h = np.tanh(x @ v)
    g = (u @ w.T) * (1 - h**2)
    return g @ v.T, x.T @ g, h.T @ u


def _recurrent(x, w):
    """Three steps of a plain recurrent network, all states."""
    h1 = np.tanh(x[0])
    h2 = np.tanh(x[1] + h1 @ w)
    h3 = np.tanh(x[2] + h2 @ w)
    return np.stack([h1, h2, h3])


def _recurrent_vjp(u, x, w, steps: int = 3):
    h = _recurrent(x, w)
    gx, gw, g = np.zeros_like(x), np.zeros_like(w), np.zeros_like(x[0])
    for t in (2, 1, 0):
        a = (u[t] + g) * (1 - h[t] ** 2)
        gx[t] = a
        if t:
            gw += np.outer(h[t - 1], a)
        g = a @ w.T if 3 - t < steps else np.zeros_like(a)
    return gx, gw


def _low_rank_vjp(u, x, a, b):
    return u @ (a @ b).T, x.T @ u @ b.T, a.T @ (x.T @ u)


def _pair(seed: int, scale: float, other: float = 1.0) -> list[np.ndarray]:
    return [normal(seed, 2, 3, scale=scale), normal(seed + 1, 3, 4, scale=other)]


PRODUCTS = [
    Function(
        "matrix product",
        np.matmul,
        matmul_vjp,
        {
            **{f"{s:g}": _pair(41, s, s) for s in (1e-8, 1e-4, 1.0, 1e4, 1e8)},
            "1e-8 and 1e8": _pair(41, 1e-8, 1e8),
        },
        [
            times(1.001),
            instead("without the transpose", lambda u, a, b: (u @ b.T, (u.T @ a).T * 1.001)),
            in_float32(("1",)),
        ],
    ),
    Function(
        "product of square matrices",
        lambda a, b: a @ b,
        matmul_vjp,
        {
            "1": [normal(43, 3, 3), normal(44, 3, 3)],
            "1e8 and 1e-8": [normal(43, 3, 3, scale=1e8), normal(44, 3, 3, scale=1e-8)],
        },
        [
            times(1.001),
            instead("not transposed", lambda u, a, b: (u @ b, a @ u)),
            swapped(("1",)),
            squared_upstream(("1",)),
        ],
    ),
    Function(
        "product of columns from 1e6 to 1e-6",
        lambda a, b: a @ b,
        matmul_vjp,
        {"side by side": [normal(45, 2, 3), normal(46, 3, 3) * np.array([1e6, 1.0, 1e-6])]},
        [
            times(1.001),
            instead("the small column doubled", lambda u, a, b: (u @ b.T, a.T @ u * np.array([1, 1, 2]))),
        ],
    ),
    Function(
        "dense layer",
        lambda x, w, b: x @ w.T + b,
        linear_vjp,
        {
            f"{s:g}": [normal(47, 3, 2, scale=s), normal(48, 4, 2), normal(49, 4, scale=s)]
            for s in (1e-8, 1.0, 1e8)
        },
        [
            times(1.001),
            instead("the bias' mean", lambda u, x, w, b: (u @ w, u.T @ x, u.mean(axis=0))),
            instead("the bias' first row", lambda u, x, w, b: (u @ w, u.T @ x, 1.0 * u[0])),
            stale(1.1),
        ],
    ),
    Function(
        "inner product",
        np.dot,
        lambda u, x, y: (u * y, u * x),
        {f"{s:g}": [normal(50, 5, scale=s), normal(51, 5, scale=s)] for s in (1e-8, 1e-4, 1.0, 1e4, 1e8)},
        [times(1.001), swapped(), one_element()],
    ),
    Function(
        "outer product",
        np.outer,
        lambda u, x, y: (u @ y, u.T @ x),
        {
            "1": [normal(52, 3), normal(53, 3)],
            "1e-8 and 1e8": [normal(52, 3, scale=1e-8), normal(53, 3, scale=1e8)],
        },
        [times(1.001), instead("not transposed", lambda u, x, y: (u.T @ y, u @ x))],
    ),
    Function(
        "matrix times vector",
        lambda a, x: a @ x,
        lambda u, a, x: (np.outer(u, x), a.T @ u),
        {f"{s:g}": [normal(54, 3, 3), normal(55, 3, scale=s)] for s in (1e-8, 1.0, 1e8)},
        [times(1.001), instead("not transposed", lambda u, a, x: (np.outer(u, x), a @ u))],
    ),
    Function(
        "batched product",
        lambda a, b: np.einsum("nij,njk->nik", a, b),
        lambda u, a, b: (np.einsum("nik,njk->nij", u, b), np.einsum("nij,nik->njk", a, u)),
        {
            "1": [normal(56, 2, 2, 3), normal(57, 2, 3, 2)],
            "1e4": [normal(56, 2, 2, 3, scale=1e4), normal(57, 2, 3, 2)],
        },
        [
            times(1.001),
            instead(
                "of the other matrix of the batch",
                lambda u, a, b: (np.einsum("nik,njk->nij", u, b[::-1]), np.einsum("nij,nik->njk", a, u)),
            ),
        ],
    ),
    Function(
        "bilinear form",
        lambda x, w, y: np.einsum("ni,ij,nj->n", x, w, y),
        bilinear_vjp,
        {
            "1": [normal(58, 2, 3), normal(59, 3, 3), normal(60, 2, 3)],
            "1e-4, 1e8, 1e-4": [
                normal(58, 2, 3, scale=1e-4),
                normal(59, 3, 3, scale=1e8),
                normal(60, 2, 3, scale=1e-4),
            ],
        },
        [
            times(1.001),
            instead("the matrix transposed", lambda u, x, w, y: bilinear_vjp(u, x, w.T, y)),
            instead(
                "the matrix' gradient transposed",
                lambda u, x, w, y: (lambda g: (g[0], g[1].T, g[2]))(bilinear_vjp(u, x, w, y)),
            ),
        ],
    ),
    Function(
        "quadratic form",
        lambda x, a: x @ a @ x,
        _quadratic_vjp,
        {f"{s:g}": [normal(61, 3, scale=s), normal(62, 3, 3)] for s in (1e-8, 1.0, 1e8)},
        [
            times(1.001),
            instead("as of a symmetric matrix", lambda u, x, a: (2 * u * a @ x, u * np.outer(x, x))),
        ],
    ),
    Function(
        "product of three matrices",
        lambda a, b, c: a @ b @ c,
        _chain_vjp,
        {
            "1": [normal(63, 2, 3), normal(64, 3, 2), normal(65, 2, 2)],
            "1e-8, 1, 1e8": [normal(63, 2, 3, scale=1e-8), normal(64, 3, 2), normal(65, 2, 2, scale=1e8)],
        },
        [times(1.001), without(1)],
    ),
    Function(
        "low-rank layer",
        lambda x, a, b: x @ a @ b,
        _low_rank_vjp,
        {
            "1": [normal(66, 2, 3), normal(67, 3, 1), normal(68, 1, 3)],
            "b of 1e-8": [normal(66, 2, 3), normal(67, 3, 1), normal(68, 1, 3, scale=1e-8)],
        },
        [times(1.001), without(2), without(1, ("b of 1e-8",))],
    ),
    Function(
        "cube of a matrix",
        lambda a: a @ a @ a,
        _cube_vjp,
        {f"{s:g}": [normal(69, 3, 3, scale=s)] for s in (1e-4, 1.0, 1e4)},
        [times(1.001), instead("3 A^2 as for numbers", lambda u, a: (3 * u @ a.T @ a.T,))],
    ),
    Function(
        "Kronecker product",
        np.kron,
        _kron_vjp,
        {
            "1": [normal(70, 2, 2), normal(71, 2, 3)],
            "1e6 and 1e-6": [normal(70, 2, 2, scale=1e6), normal(71, 2, 3, scale=1e-6)],
        },
        [times(1.001), without(0)],
    ),
    Function(
        "Gram matrix",
        lambda x: x @ x.T,
        lambda u, x: ((u + u.T) @ x,),
        {f"{s:g}": [normal(72, 3, 2, scale=s)] for s in (1e-8, 1.0, 1e8)},
        [times(1.001), instead("2 u x", lambda u, x: (2 * u @ x,)), times(0.5)],
    ),
    Function(
        "trace of a product",
        lambda a, b: np.trace(a @ b),
        lambda u, a, b: (u * b.T, u * a.T),
        {"1": [normal(73, 3, 3), normal(74, 3, 3)], "1e8": [normal(73, 3, 3, scale=1e8), normal(74, 3, 3)]},
        [times(1.001), instead("not transposed", lambda u, a, b: (u * b, u * a))],
    ),
    Function(
        "cross product",
        np.cross,
        lambda u, a, b: (np.cross(b, u), np.cross(u, a)),
        {f"{s:g}": [normal(75, 2, 3, scale=s), normal(76, 2, 3)] for s in (1e-8, 1.0, 1e8)},
        [times(1.001), negated(), instead("the order", lambda u, a, b: (np.cross(u, b), np.cross(u, a)))],
    ),
    Function(
        "two dense layers with tanh between them",
        _mlp,
        _mlp_vjp,
        {
            "1": [normal(77, 2, 3), normal(78, 3, 3), normal(79, 3, 2)],
            "1e-4": [normal(77, 2, 3, scale=1e-4), normal(78, 3, 3), normal(79, 3, 2)],
            "1e4 and 1e-4": [normal(77, 2, 3, scale=1e4), normal(78, 3, 3, scale=1e-4), normal(79, 3, 2)],
        },
        [
            times(1.001),
            instead(
                "without the slope of tanh",
                lambda u, x, v, w: (u @ w.T @ v.T, x.T @ (u @ w.T), np.tanh(x @ v).T @ u),
                ("1", "1e4 and 1e-4"),
            ),
        ],
    ),
    Function(
        "a recurrent network of three steps",
        _recurrent,
        _recurrent_vjp,
        {
            "1": [normal(80, 3, 2), normal(81, 2, 2)],
            "w of 1e-3": [normal(80, 3, 2), normal(81, 2, 2, scale=1e-3)],
        },
        [times(1.001), instead("truncated after one step", lambda u, x, w: _recurrent_vjp(u, x, w, 1))],
    ),
]


# Solutions, determinants and decompositions


def solve_vjp(u, a, b):
    g = np.linalg.solve(a.T, u)
    return -np.outer(g, np.linalg.solve(a, b)), g


def inverse_vjp(u, a):
    t = np.linalg.inv(a).T
    return (-t @ u @ t,)


def cholesky_vjp(u, a):
    """The gradient of the symmetric part (Murray, 2016, "Differentiation of the Cholesky decomposition")."""
    root = np.linalg.cholesky(_sym(a))
    inner = np.tril(root.T @ np.tril(u))
    inner[np.diag_indices_from(inner)] /= 2
    inverse = np.linalg.inv(root)
    return (_sym(inverse.T @ inner @ inverse),)


def eigenvalues_vjp(u, a):
    _, vectors = np.linalg.eigh(_sym(a))
    return ((vectors * u) @ vectors.T,)


def singular_values_vjp(u, a):
    left, _, right = np.linalg.svd(a, full_matrices=False)
    return ((left * u) @ right,)


def _mahalanobis(x, a):
    return x @ np.linalg.solve(a @ a.T, x)


def _mahalanobis_vjp(u, x, a):
    y = np.linalg.solve(a @ a.T, x)
    return 2 * u * y, -2 * u * np.outer(y, a.T @ y)


def _ridge(x, y):
    """The coefficients of a regression."""
    return np.linalg.solve(x.T @ x + 0.1 * np.eye(x.shape[1]), x.T @ y)


def _ridge_vjp(u, x, y):
    a = x.T @ x + 0.1 * np.eye(x.shape[1])
    w, g = np.linalg.solve(a, x.T @ y), np.linalg.solve(a, u)
    return np.outer(y - x @ w, g) - np.outer(x @ g, w), x @ g


def _whitened_vjp(u, x, a):
    root = np.linalg.cholesky(a @ a.T)
    g = np.linalg.solve(root.T, u)
    z = np.linalg.solve(root, x)
    (by_product,) = cholesky_vjp(-np.outer(g, z), a @ a.T)
    return g, 2 * by_product @ a


SYMMETRIC = _sym(regular(91, 3))
SCALES = (1e-8, 1e-4, 1.0, 1e4, 1e8)

SYSTEMS = [
    Function(
        "solve",
        np.linalg.solve,
        solve_vjp,
        {f"{s:g}": [regular(82, 3, s), normal(83, 3)] for s in (1e-4, 1.0, 1e4)}
        | {"b of 1e-8": [regular(82, 3), normal(83, 3, scale=1e-8)]},
        [
            times(1.001),
            instead("not transposed", lambda u, a, b: (solve_vjp(u, a, b)[0], np.linalg.solve(a, u))),
            instead(
                "the sign of the matrix'", lambda u, a, b: (-solve_vjp(u, a, b)[0], solve_vjp(u, a, b)[1])
            ),
        ],
    ),
    Function(
        "inverse",
        np.linalg.inv,
        inverse_vjp,
        {f"{s:g}": [regular(84, 3, s)] for s in (1e-4, 1.0, 1e4)},
        [
            times(1.001),
            negated(),
            instead("not transposed", lambda u, a: (-np.linalg.inv(a) @ u @ np.linalg.inv(a),)),
        ],
    ),
    Function(
        "inverse of a nearly singular matrix",
        np.linalg.inv,
        inverse_vjp,
        {
            "1e-4 from singular": [np.array([[1.0, 2.0], [2.0, 4.0001]])],
            "1e-6 from singular": [np.array([[1.0, 2.0], [2.0, 4.000001]])],
        },
        [times(1.01), negated()],
    ),
    Function(
        "determinant",
        np.linalg.det,
        lambda u, a: (u * np.linalg.det(a) * np.linalg.inv(a).T,),
        {f"{s:g}": [regular(85, 3, s)] for s in (1e-4, 1.0, 1e4)},
        [
            times(1.001),
            instead("not transposed", lambda u, a: (u * np.linalg.det(a) * np.linalg.inv(a),)),
            stale(1.1),
        ],
    ),
    Function(
        "logarithm of the determinant",
        lambda a: np.linalg.slogdet(a)[1],
        lambda u, a: (u * np.linalg.inv(a).T,),
        {f"{s:g}": [regular(86, 3, s)] for s in SCALES},
        [times(1.001), instead("not transposed", lambda u, a: (u * np.linalg.inv(a),))],
    ),
    Function(
        "Cholesky factor of the symmetric part",
        lambda a: np.linalg.cholesky((a + a.T) / 2),
        cholesky_vjp,
        {f"{s:g}": [s * SYMMETRIC] for s in (1e-4, 1.0, 1e4)},
        [times(1.001), times(2)],
    ),
    Function(
        "eigenvalues of the symmetric part",
        lambda a: np.linalg.eigvalsh((a + a.T) / 2),
        eigenvalues_vjp,
        {f"{s:g}": [s * SYMMETRIC] for s in (1e-8, 1.0, 1e8)},
        [times(1.001), instead("in the reverse order", lambda u, a: eigenvalues_vjp(u[::-1], a))],
    ),
    Function(
        "singular values",
        lambda a: np.linalg.svd(a, compute_uv=False),
        singular_values_vjp,
        {f"{s:g}": [s * regular(87, 3)[:2]] for s in (1e-8, 1.0, 1e8)},
        [times(1.001), negated(), one_element()],
    ),
    Function(
        "nuclear norm",
        lambda a: np.linalg.svd(a, compute_uv=False).sum(),
        lambda u, a: singular_values_vjp(u * np.ones(2), a),
        {f"{s:g}": [s * regular(88, 3)[:2]] for s in (1e-8, 1.0, 1e8)},
        [times(1.001), instead("the Frobenius norm's", lambda u, a: (u * a / np.linalg.norm(a),))],
    ),
    Function(
        "spectral norm",
        lambda a: np.linalg.norm(a, 2),
        lambda u, a: singular_values_vjp(u * np.array([1.0, 0.0]), a),
        {"1": [regular(88, 3)[:2]], "1e8": [1e8 * regular(88, 3)[:2]]},
        [
            times(1.001),
            instead("of all singular values", lambda u, a: singular_values_vjp(u * np.ones(2), a)),
        ],
    ),
    Function(
        "Frobenius norm",
        np.linalg.norm,
        lambda u, a: (u * a / np.linalg.norm(a),),
        {f"{s:g}": [normal(89, 2, 3, scale=s)] for s in SCALES},
        [times(1.001), times(2), one_element(1.05)],
    ),
    Function(
        "Mahalanobis distance",
        _mahalanobis,
        _mahalanobis_vjp,
        {
            "1": [normal(90, 3), regular(92, 3)],
            "x of 1e-6": [normal(90, 3, scale=1e-6), regular(92, 3)],
            "1e4": [normal(90, 3, scale=1e4), regular(92, 3, 1e4)],
        },
        [
            times(1.001),
            without(1),
            instead(
                "the sign of the matrix'",
                lambda u, x, a: (_mahalanobis_vjp(u, x, a)[0], -_mahalanobis_vjp(u, x, a)[1]),
            ),
        ],
    ),
    Function(
        "whitened by a Cholesky factor",
        lambda x, a: np.linalg.solve(np.linalg.cholesky(a @ a.T), x),
        _whitened_vjp,
        {"1": [normal(93, 3), regular(94, 3)], "1e3": [normal(93, 3, scale=1e3), regular(94, 3, 1e3)]},
        [
            times(1.001),
            without(1),
            instead(
                "half of the matrix'",
                lambda u, x, a: (_whitened_vjp(u, x, a)[0], _whitened_vjp(u, x, a)[1] / 2),
            ),
        ],
    ),
    Function(
        "ridge regression",
        _ridge,
        _ridge_vjp,
        {
            "1": [normal(95, 4, 2), normal(96, 4)],
            "y of 1e8": [normal(95, 4, 2), normal(96, 4, scale=1e8)],
            "x of 10": [normal(95, 4, 2, scale=10), normal(96, 4)],
        },
        [
            times(1.001),
            instead(
                "without the residual",
                lambda u, x, y: (-np.outer(_ridge_vjp(u, x, y)[1], _ridge(x, y)), _ridge_vjp(u, x, y)[1]),
            ),
        ],
    ),
]

FUNCTIONS: list[Function] = PRODUCTS + SYSTEMS
