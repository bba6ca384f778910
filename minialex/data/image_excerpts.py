"""PNG and JPEG files without the parts that do not decide a pixel.

Cameras and editors put megabytes of text, previews and colour profiles beside the pixels, and some of it
malformed. Pillow reads all of it, and gives up on the picture where one part is too large for its limits
or wrong. Here such parts are skipped unread; only the orientation is taken from them (`orientation`).

From where a file is not built as the format says, all of it is left in: the decoder says what is wrong.
"""

import io
import os
import re
import zlib
from bisect import bisect_right
from collections.abc import Iterator
from itertools import accumulate
from typing import BinaryIO, NamedTuple

# How much of each piece of metadata is looked at, compressed and not; the way up stands at the beginning.
METADATA_BYTES = 1 << 20

# A picture has a handful of ranges; a file made to have millions is left as it is from here on.
_MOST_RANGES = 10_000
_MAGIC = {"PNG": b"\x89PNG\r\n\x1a\n", "JPEG": b"\xff\xd8"}


class Metadata(NamedTuple):
    """What a file says about its picture, unchecked; None where it has none."""

    exif: bytes | None = None
    xmp: bytes | None = None


def excerpt(file: BinaryIO, form: str) -> tuple[BinaryIO, Metadata]:
    """Return a PNG or JPEG file as its decoder needs it, and what its metadata begin with.

    Parameters
    ----------
    file : binary file
        Seekable; it must stay open while the excerpt is read, and not be read beside it.
    form : "PNG" or "JPEG"

    Returns
    -------
    excerpt : binary file
        Of PNG the critical chunks and tRNS (of an animation: the default image); of JPEG everything but
        the application segments and comments, of which the JFIF header and Adobe's mark of the colours,
        which libjpeg reads, are left in.
    metadata : Metadata
    """
    end = file.seek(0, os.SEEK_END)
    found: dict[str, bytes] = {}
    parts = {"PNG": _png_parts, "JPEG": _jpeg_parts}[form](file, end, found)
    ranges = [(0, len(_MAGIC[form]))]
    for start, stop in parts:
        if start == ranges[-1][1]:
            ranges[-1] = ranges[-1][0], stop
        elif len(ranges) < _MOST_RANGES:
            ranges.append((start, stop))
        else:
            ranges.append((start, end))
            break
    return io.BufferedReader(_Ranges(file, ranges)), Metadata(found.get("exif"), found.get("xmp"))


def _png_parts(file: BinaryIO, end: int, found: dict[str, bytes]) -> Iterator[tuple[int, int]]:
    """Yield from where to where the chunks are that decide pixels (PNG, third edition, section 5.3)."""
    place, name = len(_MAGIC["PNG"]), b""
    while place < end and name != b"IEND":
        file.seek(place)
        header = file.read(8)
        length, name = int.from_bytes(header[:4]), header[4:]
        if len(name) < 4 or not (name.isascii() and name.isalpha()):
            yield place, end
            return
        after = place + 12 + length
        is_critical = name[:1].isupper()
        if is_critical or name == b"tRNS":
            yield place, min(after, end)
        else:
            _take_from_png(file, name, length, found)
        place = after


def _take_from_png(file: BinaryIO, name: bytes, length: int, found: dict[str, bytes]) -> None:
    """Take what a chunk says about the picture, whose contents the file stands before."""
    if name == b"eXIf":
        found.setdefault("exif", file.read(min(length, METADATA_BYTES)))
    elif name in (b"iTXt", b"zTXt", b"tEXt"):
        # A keyword has at most 79 bytes.
        keyword, zero, rest = file.read(min(length, 80)).partition(b"\0")
        kind = {b"XML:com.adobe.xmp": "xmp", b"Raw profile type exif": "exif"}.get(keyword)
        if not zero or kind is None or kind in found:
            return
        rest += file.read(max(0, min(length, METADATA_BYTES) - 80))
        text = _text(name, rest)
        if text:
            found[kind] = text if kind == "xmp" else _from_hexadecimal(text)


def _text(name: bytes, rest: bytes) -> bytes:
    """Return the beginning of the text of a chunk, from what follows the keyword."""
    if name == b"tEXt":
        return rest
    if name == b"iTXt":
        is_compressed, rest = rest[:1] == b"\1", rest[2:]
        # The language and the keyword in it.
        rest = rest.split(b"\0", 2)[-1]
        if not is_compressed:
            return rest
    else:
        rest = rest[1:]
    try:
        return zlib.decompressobj().decompress(rest, METADATA_BYTES)
    except zlib.error:
        return b""


def _from_hexadecimal(text: bytes) -> bytes:
    """Return the bytes of a profile as ImageMagick writes one: lines of name, length, hexadecimal digits."""
    digits = b"".join(text.split(b"\n", 3)[3:])
    digits = re.split(rb"[^0-9a-fA-F\s]", digits, maxsplit=1)[0].translate(None, b" \t\r\n\v\f")
    return bytes.fromhex(digits[: len(digits) // 2 * 2].decode())


def _jpeg_parts(file: BinaryIO, end: int, found: dict[str, bytes]) -> Iterator[tuple[int, int]]:
    """Yield from where to where the segments are that decide pixels (ITU-T T.81, annex B)."""
    place = len(_MAGIC["JPEG"])
    while place < end:
        file.seek(place)
        header = file.read(4)
        if len(header) < 4 or header[0] != 0xFF:
            break
        marker, length = header[1], int.from_bytes(header[2:])
        if marker == 0xFF:
            # A marker may have any number of these before it.
            yield place, place + 1
            place += 1
            continue
        # Those without a length, and what follows the header of the first scan, are no segments to pass over.
        has_length = 0xC0 <= marker <= 0xFE and not 0xD0 <= marker <= 0xDA
        after = place + 2 + length
        if not has_length or length < 2 or after > end:
            break
        is_metadata = 0xE0 <= marker <= 0xEF or marker == 0xFE
        # As libjpeg tells them; shorter ones are nothing to it, and too short for Pillow.
        is_mark = (marker == 0xE0 and length >= 16) or (marker == 0xEE and length >= 14)
        if not is_metadata or is_mark:
            yield place, after
        elif marker == 0xE1:
            _take_from_jpeg(file.read(length - 2), found)
        place = after
    if place < end:
        yield place, end


def _take_from_jpeg(content: bytes, found: dict[str, bytes]) -> None:
    # What does not fit into one segment goes on in others, but the way up stands at the beginning.
    for start, kind in ((b"Exif\0\0", "exif"), (b"http://ns.adobe.com/xap/1.0/\0", "xmp")):
        if content.startswith(start):
            found.setdefault(kind, content[len(start) :])


class _Ranges(io.RawIOBase):
    """Ranges of a file as one file."""

    def __init__(self, file: BinaryIO, ranges: list[tuple[int, int]]):
        self._file, self._ranges, self._place = file, ranges, 0
        # Where each range begins in what is read, and where the last one ends.
        self._begins = list(accumulate((stop - start for start, stop in ranges), initial=0))

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: self._begins[-1]}[whence]
        self._place = max(0, base + offset)
        return self._place

    def readinto(self, buffer) -> int:
        if self._place >= self._begins[-1]:
            return 0
        i = bisect_right(self._begins, self._place) - 1
        start, stop = self._ranges[i]
        start += self._place - self._begins[i]
        self._file.seek(start)
        content = self._file.read(min(len(buffer), stop - start))
        buffer[: len(content)] = content
        self._place += len(content)
        return len(content)
