"""A pair of CUDA kernels, forward and backward, as functions of arrays that a check can call."""
