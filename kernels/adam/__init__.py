"""One step of Adam (Kingma and Ba 2015, algorithm 1) or AdamW (Loshchilov and Hutter 2019, algorithm 2).

g = gradient + weight_decay * parameter          (Adam: the decay is part of the gradient)
parameter *= 1 - lr * weight_decay               (AdamW, decoupled: it is not)
m = beta1 * m + (1 - beta1) * g
v = beta2 * v + (1 - beta2) * g * g
parameter -= lr * (m / (1 - beta1**step)) / (sqrt(v / (1 - beta2**step)) + eps)

adam.update  (parameter, gradient, m, v)  changes parameter, m and v in place; step counts from 1
"""

from minialex.kernels.adam.call import AdamCall

UPDATE = "adam.update"

__all__ = ["UPDATE", "AdamCall"]
