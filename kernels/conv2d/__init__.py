"""Two-dimensional convolution (cross-correlation, as in every CNN library).

    y[n, o, p, q] = bias[o] + sum over c, i, j of
                    weight[o, c, i, j] * x[n, g * C/groups + c, p * sh - top + i * dh, q * sw - left + j * dw]

where g is the group of output channel o and cells outside the image count as zero. It is linear in x
and in weight, so its two gradients sum the same products, into the other two places. The three make
a closed family: the derivatives of each are the other two.

    conv2d.forward      (x, weight, bias) -> y (N, O, P, Q)
    conv2d.input_grad   (g, weight) -> gx          takes input_size=(H, W)
    conv2d.weight_grad  (g, x) -> gw               takes kernel_size=(KH, KW)

    x (N, C, H, W), weight (O, C/groups, KH, KW), bias (O,) or None, g like y

All take stride, padding, dilation (see `minialex.kernels.contract.windows`) and groups.
"""
