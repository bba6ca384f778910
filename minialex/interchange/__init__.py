"""Trained networks from and to other frameworks, without these frameworks.

Files are untrusted: nothing in one is executed, sizes are checked before anything is allocated, and a damaged
file is told in one line.
"""

from minialex.interchange.torch_files import read_torch_file
from minialex.interchange.weights import LoadedTensor, LoadedWeights, load_weights, save_weights

__all__ = ["LoadedTensor", "LoadedWeights", "load_weights", "read_torch_file", "save_weights"]
