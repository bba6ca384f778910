"""The idx format, in which MNIST and its relatives are distributed.

A file is two zero bytes, one byte for the type of the elements, one byte for the rank, the length
of every dimension as a big-endian uint32, and the elements, big-endian, in C order. Source: the
section "The IDX file format" of http://yann.lecun.com/exdb/mnist/.
"""

import gzip
import math
import os
import struct
import zlib
from typing import BinaryIO

import numpy as np

from minialex.errors import DataError
from minialex.files import open_file

_TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_GZIP_MAGIC = b"\x1f\x8b"
# NumPy 1 stops at 32 dimensions, NumPy 2 at 64.
_MAX_RANK = 32
_CHUNK_BYTES = 1 << 20


def read_idx(path: str | os.PathLike[str], *, max_bytes: int = 1 << 32) -> np.ndarray:
    """Read an idx file, gzipped or not; which of the two is seen from its bytes, not its name.

    Memory grows with what the file really holds: a header is compared with the size of the file
    before anything is allocated, and a gzipped file is unpacked in pieces, no further than one
    byte beyond what its header promises.

    Parameters
    ----------
    path : path-like
        The file.
    max_bytes : int
        The most that the elements may take, unpacked; 4 GiB unless told otherwise.

    Returns
    -------
    numpy.ndarray
        The elements, in the type and shape of the header and this machine's byte order. Writable.

    Raises
    ------
    DataError
        If there is no such file, or it is empty, not idx, of an unknown type, larger than
        `max_bytes`, shorter or longer than its header promises, or damaged gzip data.
    """
    with open_file(path) as file:
        start = file.read(len(_GZIP_MAGIC))
        file.seek(0)
        if not start:
            raise DataError(f"{path} is empty; an idx file has at least 4 bytes")
        if start != _GZIP_MAGIC:
            return _read_stream(file, path, max_bytes, file_bytes=os.fstat(file.fileno()).st_size)
        try:
            with gzip.open(file) as unpacked:
                return _read_stream(unpacked, path, max_bytes, file_bytes=None)
        except (EOFError, OSError, zlib.error) as error:
            reason = str(error).rstrip(".")
            raise DataError(f"{path} is damaged gzip data ({reason}); fetch it again") from None


def _read_stream(
    stream: BinaryIO | gzip.GzipFile, path: str | os.PathLike[str], max_bytes: int, file_bytes: int | None
) -> np.ndarray:
    """Read idx data from a stream; `file_bytes` is its size, or None where it is not known."""
    dtype, shape = _read_header(stream, path)
    promised = math.prod(shape) * dtype.itemsize
    # NumPy refuses a shape whose other lengths overflow even where one length is 0.
    span = math.prod(max(length, 1) for length in shape) * dtype.itemsize
    if span > max_bytes:
        raise DataError(
            f"{path} promises an array of shape {shape}, {span:,} bytes, but max_bytes is "
            f"{max_bytes:,}; raise it if you trust the file"
        )
    if file_bytes is not None:
        _check_size(path, promised, present=file_bytes - stream.tell())
    elements = bytearray()
    while chunk := stream.read(min(_CHUNK_BYTES, promised + 1 - len(elements))):
        elements += chunk
    _check_size(path, promised, present=len(elements))
    array = np.frombuffer(elements, dtype=dtype).reshape(shape)
    return array.astype(dtype.newbyteorder("="), copy=False)


def _read_header(
    stream: BinaryIO | gzip.GzipFile, path: str | os.PathLike[str]
) -> tuple[np.dtype, tuple[int, ...]]:
    magic = stream.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0":
        raise DataError(
            f"{path} is not an idx file: it starts with the bytes {magic.hex(' ') or '(none)'}, "
            "not with 00 00, a type and a rank"
        )
    code, rank = magic[2:]
    if code not in _TYPES:
        known = ", ".join(f"{each:02x}" for each in _TYPES)
        raise DataError(f"{path} has the unknown idx element type {code:02x}; known are {known}")
    if rank > _MAX_RANK:
        raise DataError(f"{path} has {rank} dimensions; at most {_MAX_RANK} can be read")
    lengths = stream.read(4 * rank)
    if len(lengths) < 4 * rank:
        raise DataError(
            f"{path} is truncated: the lengths of its {rank} dimensions take {4 * rank} bytes, "
            f"but {len(lengths)} are there"
        )
    return np.dtype(_TYPES[code]), struct.unpack(f">{rank}I", lengths)


def _check_size(path: str | os.PathLike[str], promised: int, present: int) -> None:
    if present < promised:
        raise DataError(
            f"{path} is truncated: its header promises {promised:,} bytes of elements, "
            f"but {present:,} are there"
        )
    if present > promised:
        raise DataError(
            f"{path} has trailing bytes: its header promises {promised:,} bytes of elements, "
            "but more are there"
        )
