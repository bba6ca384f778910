"""Softmax and cross-entropy in one: the loss of each row of logits against a target distribution.

    loss[n] = - sum over c of target[n, c] * log_softmax(x[n])[c]
    gx[n, c] = g[n] * (softmax(x[n])[c] * sum over c' of target[n, c'] - target[n, c])

    cross_entropy.forward   (x, target) -> loss (N,)     x and target (N, C)
    cross_entropy.backward  (g, x, target) -> gx (N, C)  g (N,)

A class of target 0 does not count, whatever its logit: 0 * log(0) is 0, as in information theory, and so is
0 * NaN. In a row whose target is all 0, loss and gradient are 0. (PyTorch agrees for labels, but gives NaN
for a distribution that is 0 at a logit of -inf.) A row of logits whose largest is infinite has no softmax:
NaN, as in PyTorch.

The engine (`minialex.operations.cross_entropy`) writes labels, class weights, ignored labels and label
smoothing as a target distribution.
"""

FORWARD = "cross_entropy.forward"
BACKWARD = "cross_entropy.backward"
