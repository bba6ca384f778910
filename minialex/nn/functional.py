"""The layers as functions, where PyTorch has them: ``import minialex.nn.functional as F``."""

from minialex.functional import *  # noqa: F403
from minialex.functional import __all__  # noqa: F401
