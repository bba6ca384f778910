"""What can go wrong, by the part of the project that detects it.

Every error that a caller can cause derives from `MiniAlexError` and says which argument was wrong, what
was given, what is allowed and what to do. The command line prints its message as one line and
exits with 1; any other exception is a bug of ours and keeps its traceback.
"""

import os


class MiniAlexError(Exception):
    """Base of all errors that MiniAlex raises on purpose."""


class ShapeError(MiniAlexError, ValueError):
    """Array shapes, or the parameters of a window, do not fit together."""


class KernelError(MiniAlexError, ValueError):
    """No registered kernel can do what was asked for."""


class DeviceError(MiniAlexError, RuntimeError):
    """A device is unknown or not available, or arrays of two devices were mixed."""


class GraphError(MiniAlexError, RuntimeError):
    """`backward` or `grad` was asked for something that the recorded graph cannot provide."""


class SharingError(MiniAlexError, BufferError):
    """Memory cannot be shared with another library as it is."""


class ModelError(MiniAlexError, ValueError):
    """A model name is unknown, or its definition and its input do not fit."""


class UnloadedModelError(ModelError):
    """A model in a file of somebody's own was named, and nobody has loaded the file."""


class CheckpointError(MiniAlexError, ValueError):
    """A checkpoint cannot be read, or belongs to another model."""


class DataError(MiniAlexError, ValueError):
    """A data set or an image is missing, damaged or not what it should be."""


class DamagedSample(DataError):
    """One sample of a data set cannot be read. A loader may be told to leave such samples out.

    Parameters
    ----------
    path : str or path-like
        The file that holds the sample.
    reason : str
        What is wrong with it, without the path: "it ends in the middle of the image".

    Attributes
    ----------
    path : str
    reason : str
    """

    def __init__(self, path: str | os.PathLike[str], reason: str):
        self.path, self.reason = os.fspath(path), reason
        super().__init__(self.path, reason)

    def __str__(self) -> str:
        """Return the path and the reason as one line."""
        return f"{self.path}: {self.reason}"


class TrainingError(MiniAlexError, ArithmeticError):
    """Training cannot go on, or has learned nothing."""


class RunError(MiniAlexError, ValueError):
    """A run folder cannot be written, or does not hold what it should."""


class RecipeError(MiniAlexError, ValueError):
    """A training recipe is unknown, or one of its values is not allowed."""
