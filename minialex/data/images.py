"""Reading an image file as the array that a viewer would show."""

import os
import re
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from minialex.checks import require_choice, require_module
from minialex.data.image_excerpts import Metadata, excerpt
from minialex.data.orientation import ORIENTATION_TAG, orientation
from minialex.errors import DamagedSample, DataError
from minialex.files import open_file

if TYPE_CHECKING:
    from PIL import Image

# Where Pillow starts to warn of a decompression bomb: a quarter of a GiB of RGB.
MAX_PIXELS = (1 << 30) // 4 // 3

# The endings of the files that `ImageFolder` takes: torchvision's IMG_EXTENSIONS.
IMAGE_EXTENSIONS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")

# What the first bytes look like -> (name, Pillow module, class in it).
_FORMATS = {
    rb"\x89PNG\r\n\x1a\n": ("PNG", "PIL.PngImagePlugin", "PngImageFile"),
    rb"\xff\xd8\xff": ("JPEG", "PIL.JpegImagePlugin", "JpegImageFile"),
    rb"BM": ("BMP", "PIL.BmpImagePlugin", "BmpImageFile"),
    rb"RIFF.{4}WEBP": ("WebP", "PIL.WebPImagePlugin", "WebPImageFile"),
    rb"P[2356]\s": ("PPM", "PIL.PpmImagePlugin", "PpmImageFile"),
    rb"II\*\0|MM\0\*": ("TIFF", "PIL.TiffImagePlugin", "TiffImageFile"),
}
_MAGIC_BYTES = 12
# What TIFF has beyond these (floats, 32-bit integers, Lab) has no agreed way to become 8 bits.
_BITS_PER_SAMPLE, _PHOTOMETRIC, _WHITE_IS_ZERO = 258, 262, 0  # TIFF 6.0, section 8
_TIFF_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "I;16", "I;16B")
IMAGE_MODES = ("L", "RGB")
_WHITE = 255


def read_image(path: str | os.PathLike[str], mode: str = "RGB") -> np.ndarray:
    """Read a PNG, JPEG, BMP, WebP, PPM (or PGM) or TIFF file as a viewer shows it on a white page.

    The orientation that EXIF, or else XMP, states is applied; transparent pixels are laid over white;
    palettes and CMYK become RGB; 16-bit grey values v become round(v / 257), so 65535 becomes 255, and
    12-bit ones round(v / 4095 * 255); a TIFF may count from white to black. Colour becomes grey by the
    ITU-R 601 luma, as everywhere in Pillow. Of an animation or a multi-picture file the first picture
    is read; of APNG that is the default image.

    Other metadata change nothing: colour profiles are not applied, and of PNG and JPEG they may be
    of any size, or malformed. An orientation that makes no sense is ignored.

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
        If `mode` is another one, or if there is no such file.
    DamagedSample
        If the file is of another format, damaged, truncated, without pixels or of more than
        `MAX_PIXELS` pixels, or a TIFF of floats or 32-bit integers. It is a `DataError` as well.

    Notes
    -----
    Two limits of Pillow's PNG decoder are limits here too. Rows that are missing although the
    compressed data ends as it should come out black. A single colour marked as transparent (tRNS)
    is not recognised in grey of 2 or 4 bits, and may be taken for another in 16-bit RGB.
    """
    require_choice("mode", mode, IMAGE_MODES, error=DataError)
    with open_file(path) as file:
        image, metadata = _open_image(file, path)
        # A decoder that meets damaged bytes raises whatever it stumbled over: OSError,
        # SyntaxError, ValueError, struct.error, zlib.error and others. None of them is a bug.
        try:
            image = _convert(_upright(image, metadata), mode, *_grey_levels(image))
        except Exception as error:
            raise DamagedSample(
                path, f"cannot decode it: it is damaged or truncated ({_one_line(error)})"
            ) from None
    pixels = np.asarray(image).reshape(image.height, image.width, -1)
    return np.array(pixels.transpose(2, 0, 1), order="C")


def _open_image(file: BinaryIO, path: str | os.PathLike[str]) -> tuple["Image.Image", Metadata]:
    """Read the header with Pillow's class for the format, and what else a PNG or JPEG says of itself.

    `PIL.Image.open` would do the same, but it warns of a large image by the warnings module, and
    turning that warning into an error would change the filters of the whole process.
    """
    start = file.read(_MAGIC_BYTES)
    file.seek(0)
    magic = next((each for each in _FORMATS if re.match(each, start, re.DOTALL)), None)
    if magic is None:
        known = ", ".join(name for name, _, _ in _FORMATS.values())
        found = f"it starts with the bytes {start.hex(' ')}" if start else "it is empty"
        raise DamagedSample(path, f"not an image of a known format ({known}): {found}")
    name, module, reader = _FORMATS[magic]
    plugin = require_module(module, "read_image", "pip install pillow", error=DataError)
    metadata = Metadata()
    try:
        if name in ("PNG", "JPEG"):
            file, metadata = excerpt(file, name)
        image = getattr(plugin, reader)(file)
    except Exception as error:
        raise DamagedSample(
            path, f"cannot read its {name} header: it is damaged or gives no pixels ({_one_line(error)})"
        ) from None
    if image.width * image.height > MAX_PIXELS:
        raise DamagedSample(
            path,
            f"{image.width:,} x {image.height:,} pixels, more than the {MAX_PIXELS:,} that are read; "
            "scale it down first",
        )
    if name == "TIFF" and image.mode not in _TIFF_MODES:
        raise DamagedSample(
            path, f"a TIFF with pixels of Pillow's mode {image.mode!r}; convert it to 8 bits first"
        )
    return image, metadata


def _upright(image: "Image.Image", metadata: Metadata) -> "Image.Image":
    from PIL.Image import Transpose

    image.load()
    if image.format == "TIFF":
        # It stands among the entries that describe the pixels. Pillow 11 has applied and removed it by now.
        way_up = image.getexif().get(ORIENTATION_TAG)
    else:
        exif, xmp = (image.info.get(name) for name in ("exif", "xmp"))
        way_up = orientation(metadata.exif or exif, metadata.xmp or xmp)
    turn = {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }.get(way_up or 1)
    return image if turn is None else image.transpose(turn)


def _grey_levels(image: "Image.Image") -> tuple[int, bool]:
    """The largest value of an image of more than 8 bits, and whether it is black and 0 white.

    Pillow applies neither of what a TIFF says of this to more than 8 bits.
    """
    if image.format != "TIFF":
        return 2**16 - 1, False
    tags = image.tag_v2  # pyright: ignore[reportAttributeAccessIssue] - as images in TIFF have them
    return 2 ** tags[_BITS_PER_SAMPLE][0] - 1, tags[_PHOTOMETRIC] == _WHITE_IS_ZERO


def _convert(image: "Image.Image", mode: str, largest: int, white_is_zero: bool) -> "Image.Image":
    """Return the image in 8-bit `mode`, with what is transparent laid over white."""
    from PIL import Image

    # 16-bit grey: "I;16", or "I" before Pillow 11. Pillow's own conversion to "L" clips at 255.
    if image.mode.startswith("I"):
        values = np.asarray(image).astype(np.uint32)
        grey = ((values * 255 + largest // 2) // largest).astype(np.uint8)
        if white_is_zero:
            grey = 255 - grey
        if "transparency" in image.info:
            grey[values == image.info["transparency"]] = _WHITE
        image = Image.fromarray(grey)
    elif image.has_transparency_data:
        page = Image.new("RGBA", image.size, (_WHITE,) * 4)
        image = Image.alpha_composite(page, image.convert("RGBA"))
    return image.convert(mode)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
