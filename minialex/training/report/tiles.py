"""Small images as PNGs that a page holds itself."""

from __future__ import annotations

import base64
import io

import numpy as np

from minialex.integers import ceil_div

_GAP = 4
_TILE = 72
_THUMBNAIL = 160


def as_uri(data: bytes, kind: str) -> str:
    """A ``data:`` address that holds a file of the media type `kind` itself."""
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"


def grey_strip(
    maps: np.ndarray, low: float, high: float, columns: int | None = None, side: int = _TILE
) -> bytes:
    """Maps side by side as one PNG: black is `low`, white is `high`.

    Small maps are enlarged by whole factors, and what is not finite is transparent, as the gaps are.

    Parameters
    ----------
    maps : float (K, H, W)
    low, high : float
    columns : int, optional
        Maps a row; all in one row if not given.
    side : int
        How many pixels the longer side of a map is enlarged to, at most.
    """
    # Divided first: the difference of two finite numbers need not be finite.
    scale = max(abs(low), abs(high)) or 1.0
    span = (high / scale - low / scale) or 1.0
    with np.errstate(all="ignore"):
        shares = (maps / scale - low / scale) / span
    finite = np.isfinite(shares)
    grey = np.rint(255 * np.clip(np.where(finite, shares, 0), 0, 1)).astype(np.uint8)
    return _sheet(np.stack([grey, np.where(finite, 255, 0).astype(np.uint8)], axis=-1), columns, side)


def colour_sheet(planes: np.ndarray, columns: int) -> bytes:
    """Colour planes uint8 (K, H, W, 3) in rows as one PNG, with transparent gaps."""
    opaque = np.full((*planes.shape[:3], 1), 255, dtype=np.uint8)
    return _sheet(np.concatenate([planes, opaque], axis=-1), columns, _TILE)


def thumbnail(image: np.ndarray) -> bytes:
    """An image uint8 (C, H, W), grey or RGB, as a PNG of at most 160 pixels a side."""
    from PIL import Image

    picture = Image.fromarray(image[0] if len(image) == 1 else image.transpose(1, 2, 0))
    picture.thumbnail((_THUMBNAIL, _THUMBNAIL))
    return _png(picture)


def _sheet(tiles: np.ndarray, columns: int | None, side: int) -> bytes:
    """Tiles uint8 (K, H, W, 2 for grey or 4 for RGB with opacity) in rows."""
    from PIL import Image

    factor = max(1, side // max(tiles.shape[1:3]))
    tiles = tiles.repeat(factor, axis=1).repeat(factor, axis=2)
    count, height, width, depth = tiles.shape
    columns = min(count, columns or count)
    rows = ceil_div(count, columns)
    sheet = np.zeros((rows * (height + _GAP) - _GAP, columns * (width + _GAP) - _GAP, depth), np.uint8)
    for i, tile in enumerate(tiles):
        top, left = i // columns * (height + _GAP), i % columns * (width + _GAP)
        sheet[top : top + height, left : left + width] = tile
    return _png(Image.fromarray(sheet))


def _png(picture) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()
