"""Softmax and cross-entropy in one: the loss of each row of logits against a target distribution.

    loss[n] = - sum over c of target[n, c] * log_softmax(x[n])[c]
    gx[n, c] = g[n] * (softmax(x[n])[c] * sum over c' of target[n, c'] - target[n, c])

    cross_entropy.forward   (x, target) -> loss (N,)     x and target (N, C)
    cross_entropy.backward  (g, x, target) -> gx (N, C)  g (N,)

Integer labels and label smoothing are written as a target distribution by the engine.
"""
