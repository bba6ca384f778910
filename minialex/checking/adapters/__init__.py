"""Functions of tensors, ours, PyTorch's and JAX's, as functions of arrays that a check can call."""
