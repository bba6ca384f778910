"""The rectified linear unit (Nair and Hinton 2010): y = max(x, 0).

    relu.forward   x -> y, any shape
    relu.backward  (g, y) -> g where y > 0, else 0

The gradient at x = 0 is 0, as in every library. The backward pass reads the result y, which the next
layer keeps anyway, so that the input can be freed. NaN is propagated.
"""

FORWARD = "relu.forward"
BACKWARD = "relu.backward"
