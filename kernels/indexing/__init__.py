"""The gradient of indexing.

    index_add.forward  g -> gx, zeros of the given shape with gx[index] += g; takes index, shape

An element that the index names several times accumulates all of its gradients.
"""

INDEX_ADD = "index_add.forward"
