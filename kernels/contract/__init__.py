"""What kernels and callers agree on: the registry, shapes, windows, cost, workspace and the choice."""
