"""Cross-entropy on a GPU: the launches of cross_entropy.cu."""

from minialex.kernels.contract.shapes import output_shape, require_same_shape
from minialex.kernels.cross_entropy import BACKWARD, FORWARD
from minialex.kernels.cuda import Source, cuda_kernel
from minialex.kernels.cuda.lines import line_block

SOURCE = Source(__file__, "cross_entropy.cu")


def _launch(device, name, rows, classes, *arrays):
    block = line_block(classes)
    device.launch(SOURCE[name], block.grid(rows), block.shape, *arrays, rows, classes)


@cuda_kernel(FORWARD, algo="block-reduction", rank=10)
def cross_entropy_forward(device, x, target):
    require_same_shape(FORWARD, x=x.shape, target=target.shape)
    loss = device.empty(output_shape("cross_entropy", x.shape, target.shape), x.dtype)
    x, target = device.contiguous(x), device.contiguous(target)
    _launch(device, "cross_entropy_forward", *x.shape, x, target, loss)
    return loss


@cuda_kernel(BACKWARD, algo="block-reduction", rank=10)
def cross_entropy_backward(device, g, x, target):
    require_same_shape(BACKWARD, x=x.shape, target=target.shape)
    losses = output_shape("cross_entropy", x.shape, target.shape)
    require_same_shape(BACKWARD, g=g.shape, losses=losses)
    gx = device.empty(x.shape, x.dtype)
    g, x, target = map(device.contiguous, (g, x, target))
    _launch(device, "cross_entropy_backward", *x.shape, g, x, target, gx)
    return gx
