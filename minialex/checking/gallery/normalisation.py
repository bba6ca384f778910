"""Wrong gradients of local response normalisation and batch normalisation."""

import numpy as np

from minialex.checking.gallery.mistake import Subject

# Local response normalisation over 5 channels: d = k + alpha * S(x²), y = x * d**-beta. x (2, 7, 2, 1)
SIZE, BETA, K = 5, 0.75, 2.0


def window_sum(v, size=SIZE):
    """The sums over the channels c - size // 2 .. c + size // 2 that exist."""
    reach = size // 2
    padded = np.pad(v, ((0, 0), (reach, reach), (0, 0), (0, 0)))
    return sum(padded[:, i : i + v.shape[1]] for i in range(size))


def response_norm(x, alpha):
    return x * (K + alpha * window_sum(x * x)) ** -BETA


def response_norm_vjp(g, x, alpha):
    d = K + alpha * window_sum(x * x)
    own = g * d**-BETA
    cross = window_sum(g * x * d ** (-BETA - 1))
    gx = own - 2 * alpha * BETA * x * cross
    return (gx,)


def _channels(random):
    return [random.standard_normal((2, 7, 2, 1))]


# Alpha 1, where all terms count alike; and the paper's, where the cross-channel term is some 1e-5: near the
# usual tolerances.
NORM = Subject("local_response_norm", response_norm, response_norm_vjp, _channels, options={"alpha": 1.0})
PAPER = Subject(
    "local_response_norm",
    response_norm,
    response_norm_vjp,
    _channels,
    name="alpha 1e-4",
    options={"alpha": 1e-4},
)

for subject in (NORM, PAPER):
    subject.wrong("""
        term: no cross-channel term
        - gx = own - 2 * alpha * BETA * x * cross
        + gx = own
        d is taken for a constant; at the paper's alpha networks train as well.

        accumulation: the window's sum missing
        - cross = window_sum(g * x * d ** (-BETA - 1))
        + cross = g * x * d ** (-BETA - 1)
        The derivative with respect to the own channel only.

        index: window smaller by one on each side
        - cross = window_sum(g * x * d ** (-BETA - 1))
        + cross = window_sum(g * x * d ** (-BETA - 1), SIZE - 2)
        An off-by-one in the half width.
    """)
NORM.wrong("""
    constant: alpha divided by the size
    - d = K + alpha * window_sum(x * x)
    + d = K + alpha / SIZE * window_sum(x * x)
    The paper and TensorFlow do not divide; Caffe, PyTorch and ONNX do.

    constant: alpha divided by the size in one term
    - gx = own - 2 * alpha * BETA * x * cross
    + gx = own - 2 * alpha / SIZE * BETA * x * cross
    The other convention, applied once of twice.

    factor: factor of 2 missing
    - gx = own - 2 * alpha * BETA * x * cross
    + gx = own - alpha * BETA * x * cross
    The 2 comes from the derivative of x².

    factor: sign of the cross-channel term
    - gx = own - 2 * alpha * BETA * x * cross
    + gx = own + 2 * alpha * BETA * x * cross
    The minus comes from the exponent -beta.

    constant: exponent not decreased
    - cross = window_sum(g * x * d ** (-BETA - 1))
    + cross = window_sum(g * x * d**-BETA)
    The derivative of a power has the next lower exponent.

    constant: k left out
    - d = K + alpha * window_sum(x * x)
    + d = 1 + alpha * window_sum(x * x)
    Caffe's and PyTorch's k is 1, the paper's 2.

    term: g inside the wrong factor
    - gx = own - 2 * alpha * BETA * x * cross
    + gx = own - 2 * alpha * BETA * g * cross
    A slip of the pen; quadratic in the upstream gradient.
""")


# Batch normalisation of channels. x (3, 2, 2, 4), weight and bias (2,)
AXES, EPS = (0, 2, 3), 1e-5


def batch_norm(x, weight, bias):
    h = (x - x.mean(axis=AXES, keepdims=True)) / np.sqrt(x.var(axis=AXES, keepdims=True) + EPS)
    return weight[:, None, None] * h + bias[:, None, None]


def batch_norm_vjp(g, x, weight, bias):
    centred = x - x.mean(axis=AXES, keepdims=True)
    deviation = np.sqrt(x.var(axis=AXES, keepdims=True) + EPS)
    h = centred / deviation
    gh = g * weight[:, None, None]
    mean_term = gh.mean(axis=AXES, keepdims=True)
    variance_term = h * (gh * h).mean(axis=AXES, keepdims=True)
    gx = (gh - mean_term - variance_term) / deviation
    gw = (g * h).sum(axis=AXES)
    gb = g.sum(axis=AXES)
    return gx, gw, gb


BATCH = Subject(
    "batch_norm",
    batch_norm,
    batch_norm_vjp,
    lambda random: [random.standard_normal(shape) for shape in ((3, 2, 2, 4), (2,), (2,))],
)

BATCH.wrong("""
    term: mean term missing
    - gx = (gh - mean_term - variance_term) / deviation
    + gx = (gh - variance_term) / deviation
    The batch's mean is taken for a constant; right for upstream gradients that add up to 0.

    term: variance term missing
    - gx = (gh - mean_term - variance_term) / deviation
    + gx = (gh - mean_term) / deviation
    The batch's variance is taken for a constant; right for an upstream gradient of ones.

    term: both terms missing
    - gx = (gh - mean_term - variance_term) / deviation
    + gx = gh / deviation
    The gradient at evaluation, with running statistics.

    factor: missing 1/N in the variance term
    - variance_term = h * (gh * h).mean(axis=AXES, keepdims=True)
    + variance_term = h * (gh * h).sum(axis=AXES, keepdims=True)
    A sum for a mean.

    constant: unbiased variance
    - deviation = np.sqrt(x.var(axis=AXES, keepdims=True) + EPS)
    + deviation = np.sqrt(x.var(axis=AXES, keepdims=True, ddof=1) + EPS)
    Normalised by the biased one; the running variance has the other.

    constant: eps outside the root
    - deviation = np.sqrt(x.var(axis=AXES, keepdims=True) + EPS)
    + deviation = np.sqrt(x.var(axis=AXES, keepdims=True)) + EPS
    Off by some 1e-5.

    constant: eps forgotten
    - deviation = np.sqrt(x.var(axis=AXES, keepdims=True) + EPS)
    + deviation = np.sqrt(x.var(axis=AXES, keepdims=True))
    Off by some 1e-5; a constant feature would give infinity.

    factor: weight forgotten
    - gh = g * weight[:, None, None]
    + gh = g.copy()
    Right at the start of training, where all weights are 1.

    term: weight's gradient from the input that was not normalised
    - gw = (g * h).sum(axis=AXES)
    + gw = (g * centred).sum(axis=AXES)
    Right for inputs of variance 1.

    index: weight's and bias' gradients exchanged
    - return gx, gw, gb
    + return gx, gb, gw
    They have the same shape.

    accumulation: statistics of the batch only
    - mean_term = gh.mean(axis=AXES, keepdims=True)
    + mean_term = gh.mean(axis=0, keepdims=True)
    Right for vectors; images have pixels, too.

    memory: centred in place
    - centred = x - x.mean(axis=AXES, keepdims=True)
    + centred = np.subtract(x, x.mean(axis=AXES, keepdims=True), out=x)
    Saves an array, and changes what the next layer's gradient needs.
""")

SUBJECTS = (NORM, PAPER, BATCH)
