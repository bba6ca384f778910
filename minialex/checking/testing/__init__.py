"""What tests of kernels and operations are made of, for this project's and for anyone's own.

- `minialex.checking.testing.compare`: the one comparison of two arrays;
- `minialex.checking.testing.numerical`: gradients by finite differences;
- `minialex.checking.testing.values`: values without ties, matrices of every kind, drawn from a NumPy
  generator;
- `minialex.checking.testing.strategies`: Hypothesis strategies (the only module that needs Hypothesis).
"""
