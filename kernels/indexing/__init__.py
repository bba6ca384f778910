"""The gradient of indexing.

    index_add.forward  g -> gx of a given shape, zero but for gx[index] += g; takes index, shape

An element that the index names several times collects all of its gradients.
"""

INDEX_ADD = "index_add.forward"
