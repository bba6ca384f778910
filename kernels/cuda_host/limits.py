"""The largest launches on any GPU so far: CUDA C++ Programming Guide, "Technical Specifications"."""

MAX_GRID = (2**31 - 1, 65535, 65535)
MAX_BLOCK = (1024, 1024, 64)
MAX_THREADS = 1024
"""Of a block, all axes together."""
