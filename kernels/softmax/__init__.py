"""Softmax and its logarithm along one axis.

    softmax:      y[i] = exp(x[i]) / sum over j of exp(x[j])
    log_softmax:  y[i] = x[i] - log(sum over j of exp(x[j]))

The maximum is subtracted first, which changes neither and keeps exp in range.

    softmax.forward       x -> y                              takes axis
    softmax.backward      (g, y) -> y * (g - sum(g * y))
    log_softmax.forward   x -> y
    log_softmax.backward  (g, y) -> g - exp(y) * sum(g)
"""

FORWARD = "softmax.forward"
BACKWARD = "softmax.backward"
LOG_FORWARD = "log_softmax.forward"
LOG_BACKWARD = "log_softmax.backward"
