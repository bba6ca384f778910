"""`read_image` against pixels that are known before they are written."""

import struct
import sys
import threading
import tracemalloc
import warnings
import zlib

import numpy as np
import PIL.Image
import PIL.ImageFile
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minialex.data import MAX_PIXELS, read_image
from minialex.errors import DamagedSample, DataError

GREY, RGB, PALETTE, GREY_ALPHA, RGBA = 0, 2, 3, 4, 6
ORIENTATION = 0x0112


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width, height, rows, depth=8, colour=GREY, before_data=b""):
    """Make a PNG by hand: what Pillow writes, it might also misread."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + row for row in rows))
    return b"".join(
        [
            b"\x89PNG\r\n\x1a\n",
            chunk(b"IHDR", header),
            before_data,
            chunk(b"IDAT", pixels),
            chunk(b"IEND", b""),
        ]
    )


@pytest.fixture
def write(tmp_path):
    def write(content, name="image"):
        path = tmp_path / name
        path.write_bytes(content)
        return path

    return write


@pytest.fixture
def save(tmp_path):
    def save(image, form, **options):
        path = tmp_path / "image"
        image.save(path, form, **options)
        return path

    return save


def test_rgb_png_has_the_channels_first(write):
    path = write(png(2, 1, [bytes([1, 2, 3, 250, 251, 252])], colour=RGB))
    image = read_image(path)
    assert image.dtype == np.uint8
    assert image.tolist() == [[[1, 250]], [[2, 251]], [[3, 252]]]
    assert image.flags.c_contiguous
    assert image.flags.writeable


def test_grey_png_in_both_modes(write):
    path = write(png(3, 2, [bytes([0, 1, 2]), bytes([128, 254, 255])]))
    assert read_image(path, "L").tolist() == [[[0, 1, 2], [128, 254, 255]]]
    assert read_image(path, "RGB").tolist() == [[[0, 1, 2], [128, 254, 255]]] * 3


def test_colour_becomes_grey_by_the_601_luma(write):
    colours = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255), (10, 200, 30)]
    path = write(png(5, 1, [bytes(sum(colours, ()))], colour=RGB))
    expected = [round(0.299 * r + 0.587 * g + 0.114 * b) for r, g, b in colours]
    assert read_image(path, "L").tolist() == [[expected]]


def test_16_bit_grey_is_scaled(write):
    values = [0, 128, 129, 255, 256, 257, 32767, 65406, 65407, 65535]
    path = write(png(10, 1, [struct.pack(">10H", *values)], depth=16))
    expected = [round(value * 255 / 65535) for value in values]
    assert read_image(path, "L").tolist() == [[expected]]
    assert expected[1:3] == [0, 1]


@pytest.mark.parametrize(
    ("depth", "byte", "expected"),
    [
        (1, 0b10110000, [255, 0, 255, 255]),
        (2, 0b00011011, [0, 85, 170, 255]),
    ],
)
def test_few_bits_are_scaled(write, depth, byte, expected):
    path = write(png(4, 1, [bytes([byte])], depth=depth))
    assert read_image(path, "L").tolist() == [[expected]]


def test_palette_becomes_colour(write):
    palette = chunk(b"PLTE", bytes([9, 8, 7, 100, 150, 200]))
    path = write(png(3, 1, [bytes([1, 0, 1])], colour=PALETTE, before_data=palette))
    assert read_image(path).tolist() == [[[100, 9, 100]], [[150, 8, 150]], [[200, 7, 200]]]


def over_white(value, alpha):
    return (value * alpha + 255 * (255 - alpha)) / 255


def test_alpha_is_laid_over_white(write):
    pixels = [(10, 20, 30, 255), (10, 20, 30, 0), (10, 20, 30, 128), (0, 0, 0, 64)]
    image = read_image(write(png(4, 1, [bytes(sum(pixels, ()))], colour=RGBA)))
    expected = [[[over_white(p[channel], p[3]) for p in pixels]] for channel in range(3)]
    assert np.abs(image - np.array(expected)).max() <= 1
    assert image[:, 0, 0].tolist() == [10, 20, 30]
    assert image[:, 0, 1].tolist() == [255, 255, 255]


def test_grey_with_alpha_is_laid_over_white_too(write):
    path = write(png(3, 1, [bytes([0, 255, 0, 0, 0, 51])], colour=GREY_ALPHA))
    assert read_image(path, "L").tolist() == [[[0, 255, 204]]]


@pytest.mark.parametrize(
    ("colour", "depth", "row", "transparent", "expected"),
    [
        (GREY, 8, bytes([5, 6]), struct.pack(">H", 5), [255, 6]),
        (GREY, 16, struct.pack(">2H", 5000, 2570), struct.pack(">H", 5000), [255, 10]),
        (RGB, 8, bytes([1, 2, 3, 9, 9, 9]), struct.pack(">3H", 1, 2, 3), [255, 9]),
    ],
)
def test_a_transparent_colour_becomes_white(write, colour, depth, row, transparent, expected):
    mark = chunk(b"tRNS", transparent)
    path = write(png(2, 1, [row], depth=depth, colour=colour, before_data=mark))
    assert read_image(path, "L").tolist() == [[expected]]


def test_a_palette_with_transparency_is_laid_over_white(write):
    extra = chunk(b"PLTE", bytes([9, 9, 9, 50, 50, 50])) + chunk(b"tRNS", bytes([0, 255]))
    path = write(png(2, 1, [bytes([0, 1])], colour=PALETTE, before_data=extra))
    assert read_image(path).tolist() == [[[255, 50]]] * 3


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_jpeg_is_close_to_what_was_saved(save, mode):
    ramp = np.linspace(30, 220, 32 * 16).reshape(16, 32).astype(np.uint8)
    path = save(PIL.Image.fromarray(ramp).convert(mode), "JPEG", quality=95)
    image = read_image(path, mode)
    assert image.shape == ({"L": 1, "RGB": 3}[mode], 16, 32)
    assert np.abs(image.astype(int) - ramp).max() <= 4


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_cmyk_jpeg_becomes_colour(save, mode):
    # No ink is white; full yellow takes the blue; full black takes everything.
    inks = np.zeros((16, 48, 4), np.uint8)
    inks[:, 16:32, 2] = 255
    inks[:, 32:, 3] = 255
    path = save(PIL.Image.frombytes("CMYK", (48, 16), inks.tobytes()), "JPEG", quality=100)
    found = read_image(path, mode)[:, 8, [8, 24, 40]].T.astype(int)
    expected = {"RGB": [[255] * 3, [255, 255, 0], [0] * 3], "L": [[255], [226], [0]]}[mode]
    assert np.abs(found - expected).max() <= 3


COLOURS = [[(1, 2, 3), (250, 251, 252), (9, 90, 200)], [(4, 5, 6), (0, 255, 7), (8, 77, 66)]]


def bmp(rows):
    """A BMP of 24 bits: rows from the bottom up, each filled to four bytes, pixels as blue, green, red."""
    width, height = len(rows[0]), len(rows)
    lines = [b"".join(bytes(pixel[::-1]) for pixel in row) + bytes(-3 * width % 4) for row in rows[::-1]]
    pixels = b"".join(lines)
    return (
        struct.pack("<2sIHHI", b"BM", 54 + len(pixels), 0, 0, 54)
        + struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, len(pixels), 0, 0, 0, 0)
        + pixels
    )


def ppm(rows):
    pixels = bytes(value for row in rows for pixel in row for value in pixel)
    return b"P6\n%d %d\n255\n" % (len(rows[0]), len(rows)) + pixels


def tiff(rows, order="<"):
    """An uncompressed TIFF of one strip."""
    pixels = bytes(value for row in rows for pixel in row for value in pixel)
    entries = [
        (256, 3, 1, len(rows[0])),
        (257, 3, 1, len(rows)),
        (258, 3, 1, 8),
        (259, 3, 1, 1),
        (262, 3, 1, 2),
    ]
    entries += [(273, 4, 1, 8), (277, 3, 1, 3), (279, 4, 1, len(pixels))]
    fields = b""
    for tag, kind, count, value in entries:
        packed = struct.pack(order + ("H2x" if kind == 3 else "I"), value)
        fields += struct.pack(order + "HHI", tag, kind, count) + packed
    # Three samples a pixel need three depths, which do not fit into the field.
    depths = 8 + len(pixels) + 2 + len(fields) + 4
    fields = fields.replace(
        struct.pack(order + "HHIH2x", 258, 3, 1, 8), struct.pack(order + "HHII", 258, 3, 3, depths)
    )
    start = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(order + "I", 8 + len(pixels))
    directory = struct.pack(order + "H", len(entries)) + fields + bytes(4)
    return start + pixels + directory + struct.pack(order + "3H", 8, 8, 8)


@pytest.mark.parametrize(
    "content",
    [bmp(COLOURS), ppm(COLOURS), tiff(COLOURS), tiff(COLOURS, ">")],
    ids=["BMP", "PPM", "TIFF", "big-endian TIFF"],
)
def test_the_plain_formats_are_read_pixel_by_pixel(write, content):
    assert read_image(write(content)).transpose(1, 2, 0).tolist() == [list(map(list, row)) for row in COLOURS]


def test_lossless_webp_is_read_pixel_by_pixel(save):
    pixels = np.array(COLOURS, dtype=np.uint8)
    path = save(PIL.Image.fromarray(pixels), "WEBP", lossless=True)
    assert read_image(path).transpose(1, 2, 0).tolist() == pixels.tolist()


def test_a_line_end_in_the_length_of_a_webp_does_not_hide_its_name(save):
    path = save(PIL.Image.new("RGB", (3, 2), (1, 2, 3)), "WEBP", lossless=True)
    content = path.read_bytes()
    junk = -(len(content) - 8 + 8 - 0x0A) % 256
    length = struct.pack("<I", len(content) - 8 + 8 + junk)
    path.write_bytes(b"RIFF" + length + content[8:] + b"JUNK" + struct.pack("<I", junk) + bytes(junk))
    assert b"\n" in path.read_bytes()[4:8]
    assert read_image(path)[:, 0, 0].tolist() == [1, 2, 3]


def test_16_bit_pgm_is_scaled(write):
    path = write(b"P5 4 1 65535\n" + struct.pack(">4H", 0, 128, 129, 65535))
    assert read_image(path, "L").tolist() == [[[0, 0, 1, 255]]]


def grey_tiff(photometric, bits, pixels, *more):
    """A TIFF of one row of four grey values, packed as bytes, with more entries at the end."""
    entries = [(256, 4), (257, 1), (258, bits), (259, 1), (262, photometric), (273, 8), (277, 1)]
    entries += [(278, 1), (279, len(pixels)), *more]
    fields = b"".join(struct.pack("<HHIH2x", tag, 3, 1, value) for tag, value in sorted(entries))
    padded = pixels + bytes(len(pixels) % 2)
    directory = struct.pack("<H", len(entries)) + fields + bytes(4)
    return b"II*\0" + struct.pack("<I", 8 + len(padded)) + padded + directory


@pytest.mark.parametrize(
    ("photometric", "bits", "pixels", "expected"),
    [
        (1, 16, struct.pack("<4H", 0, 32896, 65535, 129), [0, 128, 255, 1]),
        (0, 16, struct.pack("<4H", 0, 32896, 65535, 129), [255, 127, 0, 254]),
        (1, 12, bytes.fromhex("fff000808009"), [255, 0, 128, 1]),
        (0, 8, bytes([0, 200, 255, 1]), [255, 55, 0, 254]),
        (0, 4, bytes.fromhex("0f81"), [255, 0, 119, 238]),
    ],
    ids=["16 bits", "16 bits, white is 0", "12 bits", "8 bits, white is 0", "4 bits, white is 0"],
)
def test_a_grey_tiff_counts_as_it_says(write, photometric, bits, pixels, expected):
    assert read_image(write(grey_tiff(photometric, bits, pixels)), "L").tolist() == [[expected]]
    turned = grey_tiff(photometric, bits, pixels, (274, 3))
    assert read_image(write(turned), "L").tolist() == [[expected[::-1]]]


@pytest.mark.parametrize("mode", ["F", "I"])
def test_a_tiff_that_is_no_picture_is_refused(save, mode):
    path = save(PIL.Image.new(mode, (2, 2), 7), "TIFF")
    with pytest.raises(DamagedSample, match=f"a TIFF with pixels of Pillow's mode '{mode}'"):
        read_image(path)


# What the EXIF standard says that the stored rows and columns are, undone.
UPRIGHT = {
    1: lambda a: a,
    2: np.fliplr,
    3: lambda a: np.rot90(a, 2),
    4: np.flipud,
    5: np.transpose,
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(a, 2).T,
    8: np.rot90,
}


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_orientation_is_applied(save, orientation, dtype):
    stored = np.arange(6, dtype=dtype).reshape(2, 3) * 40
    exif = PIL.Image.Exif()
    exif[ORIENTATION] = orientation
    factor = {np.uint8: 1, np.uint16: 257}[dtype]
    path = save(PIL.Image.fromarray(stored * dtype(factor)), "PNG", exif=exif)
    assert read_image(path, "L")[0].tolist() == UPRIGHT[orientation](stored).tolist()


def test_orientation_is_applied_to_jpeg(save):
    exif = PIL.Image.Exif()
    exif[ORIENTATION] = 6
    path = save(PIL.Image.new("RGB", (32, 8)), "JPEG", exif=exif)
    assert read_image(path).shape == (3, 32, 8)


GOOD = png(4, 4, [bytes(4)] * 4)
NOISE = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)
NOISY = png(64, 64, [row.tobytes() for row in NOISE])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"not an image of a known format \(PNG, JPEG, BMP, WebP, PPM, TIFF\): it is empty"),
        (b"hello", "a known format .*: it starts with the bytes 68 65 6c 6c 6f"),
        (b"GIF89a" + bytes(30), "not an image of a known format"),
        (b"RIFF" + bytes(4) + b"WAVE" + bytes(30), "not an image of a known format"),
        (GOOD[:20], "cannot read its PNG header"),
        (png(0, 4, []), "PNG header: it is damaged or gives no pixels"),
        (png(4, 0, []), "no pixels"),
        (b"\xff\xd8\xff", "cannot read its JPEG header"),
        (b"BM" + bytes(30), "cannot read its BMP header"),
        (b"RIFF\x04\0\0\0WEBP", "cannot read its WebP header"),
        (b"P6 x", "cannot read its PPM header"),
        (b"II*\0" + bytes(8), "cannot read its TIFF header"),
        (NOISY[:2000], "cannot decode it: it is damaged or truncated"),
        (NOISY[:60] + bytes(9) + NOISY[69:], "cannot decode it: it is damaged or truncated"),
        (png(1, 1, [b"x"], before_data=chunk(b"PLTE", b"abc")[:-4] + b"crc?"), "checksum in b'PLTE'"),
    ],
    ids=lambda value: value if isinstance(value, str) else "file",
)
def test_a_file_that_is_no_whole_image_is_refused_in_one_line(write, content, message):
    path = write(content)
    with pytest.raises(DamagedSample, match=message) as caught:
        read_image(path)
    assert caught.value.path == str(path)
    assert str(path) not in caught.value.reason
    assert "\n" not in str(caught.value)


def test_a_truncated_jpeg_is_refused(save):
    path = save(PIL.Image.fromarray(NOISE), "JPEG")
    path.write_bytes(path.read_bytes()[:1500])
    with pytest.raises(DataError, match=r"cannot decode .*truncated"):
        read_image(path)


@pytest.fixture(scope="module")
def templates(tmp_path_factory):
    """One valid file of each format, small enough that every byte matters."""
    folder = tmp_path_factory.mktemp("templates")
    exif = PIL.Image.Exif()
    exif[ORIENTATION] = 6
    picture = PIL.Image.linear_gradient("L").resize((8, 8)).convert("RGB")
    for form in ("PNG", "JPEG", "WEBP", "TIFF"):
        picture.save(folder / form, form, exif=exif)
    return [each.read_bytes() for each in sorted(folder.iterdir())] + [bmp(COLOURS), ppm(COLOURS)]


@given(st.data())
def test_damaged_bytes_give_an_image_or_a_data_error(tmp_path_factory, templates, data):
    content = bytearray(data.draw(st.sampled_from(templates)))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    del content[data.draw(st.integers(len(content) // 2, len(content))) :]
    path = tmp_path_factory.getbasetemp() / "damaged"
    path.write_bytes(content)
    try:
        image = read_image(path)
    except DataError as error:
        message = str(error)
    else:
        message = ""
        assert image.dtype == np.uint8
        assert image.ndim == 3
        assert image.shape[0] == 3
    assert "\n" not in message


@pytest.mark.parametrize("side", [9_460, 20_000, 2**31 - 1])
def test_a_decompression_bomb_is_refused_from_its_header(write, side):
    assert side * side > MAX_PIXELS
    path = write(png(side, side, []))
    tracemalloc.start()
    with pytest.raises(DataError, match=rf"{side:,} x {side:,} pixels, more than the 89,478,485"):
        read_image(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 20


def test_no_setting_of_pillow_and_no_warning_filter_changes(write, monkeypatch):
    # A process that asks Pillow for less, or for warnings only, keeps its settings and our limit.
    monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", 1)
    path = write(GOOD)
    filters = list(warnings.filters)
    changed = []

    def watch():
        while not done.is_set():
            changed.append(warnings.filters != filters or PIL.Image.MAX_IMAGE_PIXELS != 1)

    done = threading.Event()
    watcher = threading.Thread(target=watch)
    watcher.start()
    shapes = {read_image(path).shape for _ in range(50)}
    done.set()
    watcher.join()
    assert shapes == {(3, 4, 4)}
    assert changed
    assert not any(changed)
    assert PIL.ImageFile.LOAD_TRUNCATED_IMAGES is False


def test_threads_may_read_at_once(write):
    paths = [write(png(1, 1, [bytes([i])]), f"image{i}") for i in range(16)]
    found = {}

    def read(number):
        found[number] = [read_image(paths[number], "L").item() for _ in range(20)]

    threads = [threading.Thread(target=read, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {number: [number] * 20 for number in range(16)}


@pytest.mark.parametrize("mode", ["RGBA", "rgb", "", None, 1])
def test_another_mode_is_refused(write, mode):
    with pytest.raises(DataError, match="mode must be 'L' or 'RGB', not"):
        read_image(write(GOOD), mode)


def test_what_is_not_a_file_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"there is no file .*cat\.png"):
        read_image(tmp_path / "cat.png")
    with pytest.raises(DataError, match="is a directory"):
        read_image(tmp_path)


def test_missing_pillow_is_named(write, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL.PngImagePlugin", None)
    with pytest.raises(DataError, match=r"read_image needs a package.*pip install pillow"):
        read_image(write(GOOD))
