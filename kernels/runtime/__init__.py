"""What compiled kernels run on: compiled functions and their cache, threads, memory, prepacked weights."""
