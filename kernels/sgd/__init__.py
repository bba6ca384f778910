"""One step of stochastic gradient descent with momentum (PyTorch's form).

    d = gradient + weight_decay * parameter
    velocity = momentum * velocity + d
    parameter -= lr * (d + momentum * velocity if nesterov else velocity)

At a constant rate this is the rule of the paper and of Caffe, which keep lr inside the velocity.

    sgd.update  (parameter, gradient, velocity)  changes parameter and velocity in place; velocity is
                None where momentum is 0
"""

from minialex.kernels.sgd.call import SgdCall

UPDATE = "sgd.update"

__all__ = ["UPDATE", "SgdCall"]
