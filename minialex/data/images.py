"""Reading an image file as the array that a viewer would show."""

import os
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from minialex.data.checks import optional_module
from minialex.data.files import open_file
from minialex.errors import DataError

if TYPE_CHECKING:
    from PIL import Image

# Where Pillow starts to warn of a decompression bomb: a quarter of a GiB of RGB.
MAX_PIXELS = (1 << 30) // 4 // 3

# First bytes -> (name, Pillow module, class in it).
_FORMATS = {
    b"\x89PNG\r\n\x1a\n": ("PNG", "PIL.PngImagePlugin", "PngImageFile"),
    b"\xff\xd8\xff": ("JPEG", "PIL.JpegImagePlugin", "JpegImageFile"),
}
_MODES = ("L", "RGB")
_WHITE = 255


def read_image(path: str | os.PathLike[str], mode: str = "RGB") -> np.ndarray:
    """Read a PNG or JPEG file as a viewer shows it on a white page.

    The EXIF orientation is applied; transparent pixels are laid over white; palettes and CMYK
    become RGB; 16-bit grey values v become round(v / 257), so 65535 becomes 255. Colour becomes
    grey by the ITU-R 601 luma, as everywhere in Pillow. Of an animation or a multi-picture file
    the first picture is read.

    The number of pixels is taken from the header and checked before any is decoded. No setting of
    Pillow and no warning filter is touched, so threads may call this function at the same time.

    Parameters
    ----------
    path : path-like
        The file. Its content counts, not its name.
    mode : {"RGB", "L"}
        Colour or grey.

    Returns
    -------
    numpy.ndarray
        uint8, shape (3, H, W) or (1, H, W). Writable.

    Raises
    ------
    DataError
        If `mode` is another one, if there is no such file, or if it is neither PNG nor JPEG,
        damaged, truncated, without pixels or of more than `MAX_PIXELS` pixels.

    Notes
    -----
    Two limits of Pillow's PNG decoder are limits here too. Rows that are missing although the
    compressed data ends as it should come out black. A single colour marked as transparent (tRNS)
    is not recognised in grey of 2 or 4 bits, and may be taken for another in 16-bit RGB.
    """
    if mode not in _MODES:
        raise DataError(f"mode must be one of {', '.join(map(repr, _MODES))}, got {mode!r}")
    with open_file(path) as file:
        image = _open_image(file, path)
        # A decoder that meets damaged bytes raises whatever it stumbled over: OSError,
        # SyntaxError, ValueError, struct.error, zlib.error and others. None of them is a bug.
        try:
            image = _convert(_upright(image), mode)
        except Exception as error:
            raise DataError(
                f"cannot decode {path}, which is damaged or truncated ({_one_line(error)})"
            ) from None
    pixels = np.asarray(image).reshape(image.height, image.width, -1)
    return np.array(pixels.transpose(2, 0, 1), order="C")


def _open_image(file: BinaryIO, path: str | os.PathLike[str]) -> "Image.Image":
    """Read the header with Pillow's class for the format.

    `PIL.Image.open` would do the same, but it warns of a large image by the warnings module, and
    turning that warning into an error would change the filters of the whole process.
    """
    start = file.read(max(map(len, _FORMATS)))
    file.seek(0)
    magic = next(filter(start.startswith, _FORMATS), None)
    if magic is None:
        found = f"it starts with the bytes {start.hex(' ')}" if start else "it is empty"
        raise DataError(f"{path} is neither a PNG nor a JPEG file: {found}")
    name, module, reader = _FORMATS[magic]
    plugin = optional_module(module, "read_image", "pip install pillow")
    try:
        image = getattr(plugin, reader)(file)
    except Exception as error:
        raise DataError(
            f"cannot read the {name} header of {path}, which is damaged or gives no pixels "
            f"({_one_line(error)})"
        ) from None
    if image.width * image.height > MAX_PIXELS:
        raise DataError(
            f"{path} has {image.width:,} x {image.height:,} pixels, more than the {MAX_PIXELS:,} "
            "that are read; scale it down first"
        )
    return image


def _upright(image: "Image.Image") -> "Image.Image":
    from PIL import ImageOps

    return ImageOps.exif_transpose(image)


def _convert(image: "Image.Image", mode: str) -> "Image.Image":
    """Return the image in 8-bit `mode`, with what is transparent laid over white."""
    from PIL import Image

    # 16-bit grey: "I;16", or "I" before Pillow 11. Pillow's own conversion to "L" clips at 255.
    if image.mode.startswith("I"):
        values = np.asarray(image).astype(np.uint32)
        grey = ((values + 128) // 257).astype(np.uint8)
        if "transparency" in image.info:
            grey[values == image.info["transparency"]] = _WHITE
        image = Image.fromarray(grey)
    elif image.has_transparency_data:
        page = Image.new("RGBA", image.size, (_WHITE,) * 4)
        image = Image.alpha_composite(page, image.convert("RGBA"))
    return image.convert(mode)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
