"""The registry's kernels under check: their derivatives, their results, and each access to memory."""
