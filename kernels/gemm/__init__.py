"""What all fast products share: the register tile, packed panels, the blocked and the skinny gemm."""
