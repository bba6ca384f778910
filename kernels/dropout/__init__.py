"""Dropout (Srivastava et al. 2014), inverted: what is kept is scaled by 1 / (1 - p) during training.

    y[i] = x[i] / (1 - p) if u[i] < (1 - p) * 2**32 else 0

u[i], i counting the elements in row-major order, is word i % 4 of the Philox 4x32-10 block (Salmon et
al. 2011, "Parallel random numbers: as easy as 1, 2, 3") with

    counter = (low and high word of i // 4, low and high word of offset)
    key     = (low and high word of seed)

so the mask is a pure function of (seed, offset, i): the same on every device, for any number of
threads, and recomputed in the backward pass instead of being kept.

    dropout.forward  x, any shape -> y; takes p, seed, offset. It is linear, and its own gradient.
"""

FORWARD = "dropout.forward"
