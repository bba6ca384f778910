"""Two-dimensional convolution (cross-correlation, as in every CNN library).

    y[n, o, p, q] = bias[o] + sum over c, i, j of
                    weight[o, c, i, j] * x[n, g * C/groups + c, p * sh - top + i * dh, q * sw - left + j * dw]

where g is the group of output channel o, and cells outside the image count as zero. It is linear in x
and in weight, so its two gradients sum the same products, into the other two arrays. The three are
a closed family: the derivatives of each are the other two. The fourth is forward with ReLU, for inference.

    conv2d.forward       (x, weight, bias) -> y (N, O, P, Q)
    conv2d.input_grad    (g, weight) -> gx
    conv2d.weight_grad   (g, x) -> gw
    conv2d.forward_relu  (x, weight, bias) -> max(y, 0)

    x (N, C, H, W), weight (O, C/groups, KH, KW), bias (O,) or None, g like y

All take a `ConvCall`: shapes, stride, padding, dilation and groups. The ladder, from the definition up:

    reference      the formula
    loops          the same nested loops, compiled
    im2col         one large matrix product by BLAS; the matrix is built in chunks
    direct         register tiles that read the image in place
    winograd       fewer multiplications, for 3 x 3 and 5 x 5 windows at stride 1
    depthwise      vectors of adjacent positions, for groups of a few channels
    pointwise      a matrix product for each image, for 1 x 1 windows at stride 1
    cuda.py, cuda_im2col.py, cuda_packed.py    the rungs in CUDA: naive, im2col, implicit gemms
"""

from minialex.kernels.conv2d.call import ConvCall

FORWARD = "conv2d.forward"
FORWARD_RELU = "conv2d.forward_relu"
INPUT_GRAD = "conv2d.input_grad"
WEIGHT_GRAD = "conv2d.weight_grad"

__all__ = ["FORWARD", "FORWARD_RELU", "INPUT_GRAD", "WEIGHT_GRAD", "ConvCall"]
