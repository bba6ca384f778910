"""Wrong gradients of fully connected layers and the matrix product."""

from minialex.checking.gallery.mistake import Subject

# The fully connected layer, with as many images as inputs and outputs: what is transposed has the right
# shape. x (4, 4), weight (4, 4), bias (4,)


def linear(x, weight, bias):
    return x @ weight.T + bias


def linear_vjp(g, x, weight, bias):
    gx = g @ weight
    gw = g.T @ x
    gb = g.sum(axis=0)
    return gx, gw, gb


SQUARE = Subject(
    "linear",
    linear,
    linear_vjp,
    lambda random: [random.standard_normal(shape) for shape in ((4, 4), (4, 4), (4,))],
    name="square",
)

SQUARE.wrong("""
    index: weight not transposed back
    - gx = g @ weight
    + gx = g @ weight.T
    Of the right shape where there are as many inputs as outputs.

    index: weight's gradient transposed
    - gw = g.T @ x
    + gw = x.T @ g
    Of the right shape where there are as many inputs as outputs.

    accumulation: bias' gradient over the wrong axis
    - gb = g.sum(axis=0)
    + gb = g.sum(axis=1)
    Of the right shape where there are as many images as outputs.

    upstream: bias' gradient without the upstream gradient
    - gb = g.sum(axis=0)
    + gb = np.full_like(bias, len(g))
    Right for an upstream gradient of ones, which `.sum()` gives.

    upstream: upstream gradient transposed
    - gb = g.sum(axis=0)
    + gb = g.T.sum(axis=0)
    Right for an upstream gradient of ones, which `.sum()` gives.

    memory: bias' gradient aliases the weight's
    - gb = g.sum(axis=0)
    + gb = np.matmul(np.ones(len(g)), g, out=gw[0])
    A workspace is used twice.
""")

# Three images, five inputs, two outputs.
LINEAR = Subject(
    "linear",
    linear,
    linear_vjp,
    lambda random: [random.standard_normal(shape) for shape in ((3, 5), (2, 5), (2,))],
)

LINEAR.wrong("""
    factor: averaged over the batch
    - gw = g.T @ x
    + gw = g.T @ x / len(x)
    The loss divides by the number of images already.

    factor: weight's gradient wrong by 0.05 %
    - gw = g.T @ x
    + gw = g.T @ x * 1.0005
    Below the usual relative tolerance of 0.1 %.

    precision: product in float32
    - gx = g @ weight
    + gx = g @ weight.astype(np.float32)
    Float64 again in the end, and off by only 1e-8.

    form: bias' gradient not summed
    - gb = g.sum(axis=0)
    + gb = g.copy()
    The batch's axis was added by broadcasting, and must be summed away.

    form: bias' gradient forgotten
    - return gx, gw, gb
    + return gx, gw, None
    None says that the result does not depend on it.

    memory: bias' gradient written over the bias
    - gb = g.sum(axis=0)
    + gb = np.sum(g, axis=0, out=bias)
    Saves an array; the parameter is gone.

    factor: sign
    - gx = g @ weight
    + gx = -g @ weight
    Gradient descent becomes ascent.
""")

# The matrix product. a (3, 4), b (4, 2)


def matmul(a, b):
    return a @ b


def matmul_vjp(g, a, b):
    ga = g @ b.T
    gb = a.T @ g
    return ga, gb


MATMUL = Subject(
    "matmul",
    matmul,
    matmul_vjp,
    lambda random: [random.standard_normal(shape) for shape in ((3, 4), (4, 2))],
)

MATMUL.wrong("""
    layout: contiguous inputs only
    - gb = a.T @ g
    + gb = np.ndarray(a.shape, a.dtype, buffer=a).T @ g
    The buffer of a is read from its start, one element after the other.

    layout: memory order for logical order
    - ga = g @ b.T
    + ga = g @ b.ravel(order="K").reshape(b.shape).T
    Right for contiguous inputs; the values of a transposed one come in another order.

    random: a little noise
    - ga = g @ b.T
    + ga = g @ b.T * (1 + 1e-9 * np.random.default_rng().standard_normal())
    As atomic additions on a GPU would give, whose order is never the same.

    form: in the dtype of a faster machine
    - gb = a.T @ g
    + gb = (a.T @ g).astype(np.float32)
    The next operation computes in float32, too.

    form: returned transposed
    - gb = a.T @ g
    + gb = g.T @ a
    Seen at once, for its shape, unless the matrices are square.
""")

SUBJECTS = (SQUARE, LINEAR, MATMUL)
