"""What kernels and callers agree on: registry, shapes, windows, cost, workspace and choice of a kernel."""
