"""The rectified linear unit (Nair and Hinton 2010): y = max(x, 0).

    relu.forward   x -> y, any shape
    relu.mask      y -> mask, a bit for each element of y, in C order: whether it is above 0
    relu.backward  (g, mask) -> g where its bit is 1, else 0

The gradient at x = 0 is 0, as in every library. The backward pass reads the bits, a thirty-second of the
result, which can be freed with the input: before a concatenation or a pooling nothing else keeps it. NaN
is propagated.

A mask has uint32 words: the bit of element i is that of value 2**(i % 32) in word i // 32. Those beyond the
last element are 0.
"""

FORWARD = "relu.forward"
MASK = "relu.mask"
BACKWARD = "relu.backward"
