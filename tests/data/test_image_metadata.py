"""Pictures with large, odd or malformed metadata: the pixels are those of the file without them."""

import io
import struct
import tracemalloc
import warnings
import zlib

import numpy as np
import PIL.Image
import PIL.PngImagePlugin
import pytest

from minialex.data import read_image
from minialex.data.image_excerpts import METADATA_BYTES, excerpt
from minialex.data.orientation import orientation
from minialex.errors import DamagedSample

PIXELS = np.random.default_rng(7).integers(0, 256, (5, 6, 3), dtype=np.uint8)
XMP = b'<x:xmpmeta><rdf:Description tiff:Orientation="6"/>'


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(before=b"", after=b"", depth=8, colour=2, data=None, pixels=PIXELS):
    header = struct.pack(">IIBBBBB", pixels.shape[1], pixels.shape[0], depth, colour, 0, 0, 0)
    if data is None:
        data = chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row.tobytes() for row in pixels)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + before + data + after + chunk(b"IEND", b"")


def exif(order, value, kind=3, count=1, tag=0x0112, others=()):
    """An EXIF structure of a few entries with values that fit into them, as the standard lays it out."""
    fields = b""
    for each in (*others, (tag, kind, count, value)):
        packed = struct.pack(order + {1: "B3x", 3: "H2x", 4: "I", 5: "I", 2: "I"}[each[1]], each[3])
        fields += struct.pack(order + "HHI", *each[:3]) + packed
    head = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(order + "I", 8)
    return head + struct.pack(order + "H", 1 + len(others)) + fields + bytes(4)


def raw_profile(name, content):
    lines = "\n".join(content.hex()[i : i + 72] for i in range(0, 2 * len(content), 72))
    return f"\n{name}\n{len(content):8}\n{lines}\n".encode()


@pytest.fixture
def read(tmp_path):
    """Read a file of these bytes, with every warning an error."""

    def read(content, mode="RGB"):
        path = tmp_path / "picture"
        path.write_bytes(content)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            return read_image(path, mode).transpose(1, 2, 0)

    return read


def compressed(kind, keyword, text):
    between = {b"zTXt": b"\0\0", b"iTXt": b"\0\1\0\0\0", b"iCCP": b"\0\0"}[kind]
    return chunk(kind, keyword + between + zlib.compress(text))


LARGE = bytes(range(256)) * 2**13
assert len(LARGE) == 2**21

ODD_CHUNKS = {
    "2 MB of compressed XMP": compressed(b"iTXt", b"XML:com.adobe.xmp", b"<x>" + b"editor " * 300_000),
    "2 MB of XMP": chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + b"x" * 2**21),
    "80 MB of compressed text": compressed(b"zTXt", b"Comment", bytes(80 * 2**20)),
    "a thousand texts": b"".join(chunk(b"tEXt", b"Comment\0" + b"%d" % i) for i in range(1000)),
    "70 texts of 1 MB": compressed(b"zTXt", b"Comment", bytes(2**20)) * 70,
    "text of another compression": chunk(b"zTXt", b"Comment\0\7abc"),
    "text that is no deflate data": chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0what?"),
    "international text cut off": chunk(b"iTXt", b"XML:com.adobe.xmp\0"),
    "text in no encoding": chunk(b"iTXt", b"Comment\0\0\0\0\0\xff\xfe"),
    "text without a keyword": chunk(b"tEXt", b"x" * 100),
    "empty texts": chunk(b"tEXt", b"") + chunk(b"zTXt", b"") + chunk(b"iTXt", b""),
    "malformed eXIf": chunk(b"eXIf", b"nonsense"),
    "empty eXIf": chunk(b"eXIf", b""),
    "eXIf cut off": chunk(b"eXIf", exif(">", 6)[:12]),
    "eXIf that points nowhere": chunk(b"eXIf", b"MM\0*\xff\xff\xff\xff"),
    "a large ICC profile": compressed(b"iCCP", b"ICC", LARGE),
    "a malformed ICC profile": chunk(b"iCCP", b"ICC\0\0what?"),
    "an ICC profile of another compression": chunk(b"iCCP", b"ICC\0\5what?"),
    "an ICC profile without a name": chunk(b"iCCP", b""),
    "truncated gAMA, cHRM, sRGB and pHYs": b"".join(
        chunk(kind, b"") for kind in (b"gAMA", b"cHRM", b"sRGB", b"pHYs")
    ),
    "wrong checksums of a text": chunk(b"tEXt", b"Comment\0x")[:-4] + b"crc?",
    "a private chunk": chunk(b"prVt", LARGE),
    "a raw profile of odd digits": chunk(b"tEXt", b"Raw profile type exif\0\nexif\n 3\nabc"),
    "a raw profile of no digits": chunk(b"tEXt", b"Raw profile type exif\0\nexif\n 3\nxyz"),
    "an animation of 0 frames": chunk(b"acTL", bytes(8)),
}


@pytest.mark.parametrize("place", ["before", "after"])
@pytest.mark.parametrize("odd", ODD_CHUNKS.values(), ids=list(ODD_CHUNKS))
def test_what_stands_beside_the_pixels_of_a_png_does_not_change_them(read, odd, place):
    assert read(png(**{place: odd})).tolist() == PIXELS.tolist()


def test_the_2_mb_are_more_than_pillow_takes(tmp_path):
    """Without the excerpt this picture is refused; if Pillow learns to take it, it may go."""
    path = tmp_path / "picture.png"
    path.write_bytes(png(before=ODD_CHUNKS["2 MB of compressed XMP"]))
    with pytest.raises(ValueError, match="too large"):
        PIL.Image.open(path).load()


@pytest.mark.parametrize("what", ["80 MB of compressed text", "70 texts of 1 MB", "a private chunk"])
def test_metadata_take_little_memory(read, what):
    content = png(before=ODD_CHUNKS[what])
    read(content)
    tracemalloc.start()
    read(content)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2 * METADATA_BYTES


def test_a_compressed_way_up_is_unpacked_no_further_than_needed(read):
    text = b'tiff:Orientation="8"' + bytes(40 * 2**20)
    content = png(before=compressed(b"iTXt", b"XML:com.adobe.xmp", text))
    del text
    tracemalloc.start()
    found = read(content)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.tolist() == np.rot90(PIXELS).tolist()
    assert peak < 8 * METADATA_BYTES


@pytest.mark.parametrize("place", ["before", "after"])
@pytest.mark.parametrize(
    "turned",
    [
        chunk(b"eXIf", exif(">", 6)),
        chunk(b"eXIf", b"Exif\0\0" + exif("<", 6)),
        # Entries before it that are malformed in every way, and one of a type that is none.
        chunk(b"eXIf", exif("<", 6, others=[(0x010F, 2, 2**31, 2**31), (0x011A, 5, 1, 2**32 - 1)])),
        chunk(b"eXIf", exif(">", 6, kind=4)),
        chunk(b"eXIf", exif(">", 6) + LARGE),
        chunk(b"tEXt", b"Raw profile type exif\0" + raw_profile("exif", b"Exif\0\0" + exif(">", 6))),
        compressed(b"zTXt", b"Raw profile type exif", raw_profile("exif", b"Exif\0\0" + exif(">", 6))),
        chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP),
        chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0en\0x\0<tiff:Orientation>6</tiff:Orientation>"),
        compressed(b"iTXt", b"XML:com.adobe.xmp", XMP + b" " * 2**21),
        chunk(b"eXIf", b"nonsense") + chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP),
    ],
)
def test_the_way_up_is_found_wherever_a_png_says_it(read, turned, place):
    assert read(png(**{place: turned})).tolist() == np.rot90(PIXELS, -1).tolist()


@pytest.mark.parametrize(
    "malformed",
    [
        exif(">", 0),
        exif(">", 9),
        exif("<", 6, count=2),
        exif("<", 6, kind=5),
        exif("<", 6)[:19],
        b"",
        b"MM\0*",
    ],
)
def test_a_way_up_that_cannot_be_understood_is_none(read, malformed):
    assert read(png(before=chunk(b"eXIf", malformed))).tolist() == PIXELS.tolist()


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("value", range(1, 9))
def test_orientation_of_exif(order, value):
    assert orientation(exif(order, value), None) == value


def test_exif_comes_before_xmp():
    assert orientation(exif("<", 3), XMP) == 3
    assert orientation(exif("<", 77), XMP) == 6
    assert orientation(None, b"tiff:Orientation = '5'") == 5
    assert orientation(None, b'tiff:Orientation="56"') == 1
    assert orientation(None, None) == 1


def animation(is_default_a_frame):
    """An APNG: the default image, red, and a frame, green."""
    control = struct.pack(">IIIIHHBB", 6, 5, 0, 0, 1, 10, 0, 0)
    red, green = (np.full((5, 6, 3), colour, np.uint8) for colour in ((255, 0, 0), (0, 255, 0)))
    first = chunk(b"fcTL", struct.pack(">I", 0) + control) if is_default_a_frame else b""
    number = 1 if is_default_a_frame else 0
    rows = zlib.compress(b"".join(b"\0" + row.tobytes() for row in green))
    second = chunk(b"fcTL", struct.pack(">I", number) + control)
    second += chunk(b"fdAT", struct.pack(">I", number + 1) + rows)
    frames = struct.pack(">II", 1 + is_default_a_frame, 0)
    return png(before=chunk(b"acTL", frames) + first, after=second, pixels=red)


@pytest.mark.parametrize("is_default_a_frame", [True, False])
def test_of_an_animation_the_default_image_is_read(read, is_default_a_frame):
    assert read(animation(is_default_a_frame)).tolist() == np.full((5, 6, 3), (255, 0, 0)).tolist()


def test_a_malformed_animation_is_its_default_image(read):
    content = animation(True).replace(b"fdAT\0\0\0\2", b"fdAT\0\0\0\7")
    assert read(content)[0, 0].tolist() == [255, 0, 0]


def test_pixels_in_many_chunks_are_joined(read):
    packed = zlib.compress(b"".join(b"\0" + row.tobytes() for row in PIXELS))
    data = b"".join(chunk(b"IDAT", packed[i : i + 1]) for i in range(len(packed)))
    assert read(png(data=data)).tolist() == PIXELS.tolist()


def test_a_palette_with_its_transparency_stays(read):
    before = chunk(b"PLTE", bytes([9, 8, 7, 50, 60, 70])) + chunk(b"eXIf", b"?") + chunk(b"tRNS", b"\0\xff")
    found = read(png(before=before, colour=3, pixels=np.array([[0, 1]], np.uint8)))
    assert found.tolist() == [[[255, 255, 255], [50, 60, 70]]]


@pytest.mark.parametrize("length", [2**31, 2**32 - 1, 10_000])
def test_a_chunk_that_promises_more_than_there_is_is_refused(read, length):
    broken = struct.pack(">I", length) + b"tEXtComment\0"
    with pytest.raises(DamagedSample, match="PNG header"):
        read(png(before=broken))


# JPEG


def jpeg(*segments, mode="RGB", **options):
    """A JPEG that Pillow writes, with segments after its first two bytes, and the pixels that it shows."""
    image = PIL.Image.fromarray(np.kron(PIXELS, np.ones((8, 8, 1), np.uint8))).convert(mode)
    file = io.BytesIO()
    image.save(file, "JPEG", quality=95, **options)
    content = file.getvalue()
    shown = np.asarray(PIL.Image.open(io.BytesIO(content)).convert("RGB"))
    return content[:2] + b"".join(segments) + content[2:], shown


def segment(marker, content):
    return bytes([0xFF, marker]) + struct.pack(">H", len(content) + 2) + content


EXIF, ICC, MPF = b"Exif\0\0", b"ICC_PROFILE\0", b"MPF\0"
ODD_SEGMENTS = {
    "malformed EXIF": [segment(0xE1, EXIF + b"nonsense")],
    "EXIF cut off": [segment(0xE1, EXIF + exif("<", 6)[:-20])],
    "empty EXIF": [segment(0xE1, EXIF)],
    "the largest EXIF": [segment(0xE1, EXIF + exif("<", 1) + bytes(65_000))],
    "EXIF in 100 segments": [segment(0xE1, EXIF + bytes(65_000))] * 100,
    "EXIF with a resolution by zero": [segment(0xE1, EXIF + exif("<", 0, kind=5, tag=0x011A))],
    "a large ICC profile": [segment(0xE2, ICC + bytes([i, 90]) + bytes(65_000)) for i in range(1, 91)],
    "parts of an ICC profile missing": [segment(0xE2, ICC + bytes([7, 9]) + b"x")],
    "an ICC profile cut off": [segment(0xE2, ICC)],
    "malformed MPF": [segment(0xE2, MPF + b"II*\0\xff\xff\xff\xff")],
    "empty MPF": [segment(0xE2, MPF)],
    "malformed Photoshop": [segment(0xED, b"Photoshop 3.0\x008BIM\x03\xed\0")],
    "a short JFIF header": [segment(0xE0, b"JFIF")],
    "a short mark of Adobe": [segment(0xEE, b"Adobe")],
    "FlashPix": [segment(0xE2, b"FPXR\0")],
    "comments": [segment(0xFE, b"\xff\xd8\xff" * 1000)] * 50,
    "fill bytes": [b"\xff" * 1000 + segment(0xFE, b"x"), b"\xff" * 7],
}


@pytest.mark.parametrize("odd", ODD_SEGMENTS.values(), ids=list(ODD_SEGMENTS))
def test_what_stands_beside_the_pixels_of_a_jpeg_does_not_change_them(read, odd):
    content, shown = jpeg(*odd)
    assert (read(content) == shown).all()


@pytest.mark.parametrize(
    "turned",
    [
        [segment(0xE1, EXIF + exif(">", 6))],
        [segment(0xE1, EXIF + exif("<", 6, others=[(0x010F, 2, 2**31, 2**31)]))],
        [segment(0xE1, EXIF + exif("<", 6)), segment(0xE1, EXIF + b"what does not fit into the first")],
        [segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + XMP)],
        [segment(0xE2, ICC), segment(0xE1, EXIF + exif(">", 6)), segment(0xE2, MPF)],
    ],
)
def test_the_way_up_is_found_wherever_a_jpeg_says_it(read, turned):
    content, shown = jpeg(*turned)
    assert (read(content) == np.rot90(shown, -1)).all()


def test_progressive_jpeg_with_metadata(read):
    content, shown = jpeg(segment(0xE1, EXIF + b"?"), progressive=True)
    assert (read(content) == shown).all()


def test_cmyk_with_metadata(read):
    inks = np.zeros((16, 16, 4), np.uint8)
    inks[..., 2] = 255
    file = io.BytesIO()
    PIL.Image.frombytes("CMYK", (16, 16), inks.tobytes()).save(file, "JPEG", quality=100)
    content = file.getvalue()
    found = read(content[:2] + segment(0xE1, EXIF + b"?") + segment(0xE2, ICC) + content[2:]).astype(int)
    assert np.abs(found - [255, 255, 0]).max() <= 3


def test_colours_that_adobe_marks_as_they_are_are_not_converted(read):
    """A JPEG of RGB, not YCbCr. Its components have the usual numbers, so that the mark alone says so."""
    image = PIL.Image.new("RGB", (16, 16), (200, 100, 30))
    file = io.BytesIO()
    image.save(file, "JPEG", quality=100, keep_rgb=True)
    content = file.getvalue()
    for named, numbered in (
        (b"R\x11\0G\x11\0B\x11\0", b"\1\x11\0\2\x11\0\3\x11\0"),
        (b"R\0G\0B\0", b"\1\0\2\0\3\0"),
    ):
        assert content.count(named) == 1
        content = content.replace(named, numbered)
    assert content.count(b"Adobe") == 1
    found = read(content[:2] + segment(0xE1, EXIF + b"?") + content[2:]).astype(int)
    assert np.abs(found - [200, 100, 30]).max() <= 3


@pytest.mark.parametrize("length", [0, 1, 60_000])
def test_a_segment_that_is_cut_off_is_refused(read, length):
    with pytest.raises(DamagedSample, match="JPEG header"):
        read(b"\xff\xd8" + b"\xff\xe1" + struct.pack(">H", length) + b"Exif")


def test_webp_with_malformed_metadata(read):
    file = io.BytesIO()
    PIL.Image.fromarray(PIXELS).save(
        file, "WEBP", lossless=True, exif=b"nonsense", xmp=b"<", icc_profile=LARGE
    )
    assert read(file.getvalue()).tolist() == PIXELS.tolist()


def test_webp_with_its_way_up_beside_malformed_entries(read):
    file = io.BytesIO()
    malformed = exif("<", 6, others=[(0x010F, 2, 2**31, 2**31)])
    PIL.Image.fromarray(PIXELS).save(file, "WEBP", lossless=True, exif=malformed)
    assert read(file.getvalue()).tolist() == np.rot90(PIXELS, -1).tolist()


def test_an_excerpt_is_read_from_any_place():
    """As one would slice it out by hand."""
    whole = png(before=chunk(b"tEXt", b"a\0b"), after=chunk(b"eXIf", b"x"))
    expected = png()
    file, _ = excerpt(io.BytesIO(whole), "PNG")
    assert file.read() == expected
    for start in range(len(expected) + 1):
        assert file.seek(start) == start
        assert file.read(9) == expected[start : start + 9]
        assert file.tell() == min(start + 9, max(start, len(expected)))
    assert file.seek(-4, 2) == len(expected) - 4
    assert file.read() == expected[-4:]


def test_a_picture_of_very_many_pieces_is_left_to_the_decoder():
    """Pieces that are read and pieces that are not take turns, which costs memory for each."""
    pieces = (chunk(b"PRVT", b"") + chunk(b"prVT", b"")) * 50_000
    tracemalloc.start()
    file, _ = excerpt(io.BytesIO(png(before=pieces)), "PNG")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < len(pieces) + 4 * 2**20
    assert file.read().endswith(chunk(b"IEND", b""))
