"""Sums and maxima over axes.

sum.forward   x -> y    takes axis, a tuple of axes, and keepdims
amax.forward  x -> y    the same; the gradient of several equal maxima is shared among them
"""

SUM = "sum.forward"
AMAX = "amax.forward"
