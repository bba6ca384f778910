"""The fully connected layer: y = x @ weight.T + bias.

    linear.forward      (x, weight, bias) -> y    x (N, I), weight (O, I), bias (O,) or None, y (N, O)
    linear.input_grad   (g, weight) -> g @ weight     (N, I)
    linear.weight_grad  (g, x) -> g.T @ x             (O, I)

Bilinear like convolution, and closed under derivatives like it.
"""

FORWARD = "linear.forward"
INPUT_GRAD = "linear.input_grad"
WEIGHT_GRAD = "linear.weight_grad"
