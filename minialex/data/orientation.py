"""Which way up a picture is, as its EXIF or XMP metadata says.

Pillow would tell, too, but reads every entry for it: a malformed one costs the whole picture, or prints a
warning. Here only the one entry is looked at, and ignored if it makes no sense.
"""

import re
import struct

UPRIGHT = 1
ORIENTATION_TAG = 0x0112

_ENTRY_BYTES = 12
# TIFF's types of whole numbers: BYTE, SHORT, LONG. The standard wants SHORT; some cameras write others.
_WHOLE_NUMBERS = {1: "B", 3: "H", 4: "I"}
_IN_XMP = re.compile(rb"""tiff:Orientation\s*(?:=\s*["']|>)\s*([1-8])\s*["'<]""")


def orientation(exif: bytes | None, xmp: bytes | None) -> int:
    """Return the orientation of a picture, from 1 (as it is stored) to 8.

    Parameters
    ----------
    exif : bytes or None
        A TIFF structure, with or without "Exif" and two zero bytes before it (EXIF 2.3, section 4.5).
    xmp : bytes or None
        XML, of which the attribute or element tiff:Orientation is read. EXIF comes first.

    Returns
    -------
    int
        1 where neither says anything that can be understood.
    """
    return _from_exif(exif or b"") or _from_xmp(xmp or b"") or UPRIGHT


def _from_exif(exif: bytes) -> int | None:
    while exif.startswith(b"Exif\0\0"):
        exif = exif[6:]
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(exif[:4])
    if order is None:
        return None
    try:
        (start,) = struct.unpack_from(f"{order}I", exif, 4)
        (entries,) = struct.unpack_from(f"{order}H", exif, start)
        for i in range(entries):
            place = start + 2 + _ENTRY_BYTES * i
            tag, kind, count = struct.unpack_from(f"{order}HHI", exif, place)
            if tag == ORIENTATION_TAG:
                if kind not in _WHOLE_NUMBERS or count != 1:
                    return None
                (value,) = struct.unpack_from(f"{order}{_WHOLE_NUMBERS[kind]}", exif, place + 8)
                return value if 1 <= value <= 8 else None
    except struct.error:
        # It is cut off.
        pass
    return None


def _from_xmp(xmp: bytes) -> int | None:
    found = _IN_XMP.search(xmp)
    return int(found[1]) if found else None
