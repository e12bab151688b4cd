"""Tests of decoding: what is taken, what becomes of it, and what is refused."""

import struct
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray
from PIL import ExifTags

from efsnet import image as module
from efsnet.errors import (
    ArrayInvalid,
    GeometryError,
    ImageError,
    ImageFormatUnsupported,
    ImageHasSeveralFrames,
    ImageUndecodable,
    TooManyPixels,
)
from efsnet.image import Finding, Image, PixelSpacing, decode_image, pixels_of
from tests.efsnet.files import png_chunk, png_header, saved, tiff

Grey = NDArray[np.uint8]

LOSSLESS = {
    "PNG": ("PNG", {}),
    "BMP": ("BMP", {}),
    "TIFF": ("TIFF", {}),
    "TIFF, LZW": ("TIFF", {"compression": "tiff_lzw"}),
    "TIFF, deflated": ("TIFF", {"compression": "tiff_adobe_deflate"}),
}


def seen(data: bytes) -> tuple[str, ...]:
    """The findings but for the size: the pictures of these tests are small."""
    return tuple(finding for finding in decode_image(data).findings if finding != Finding.SMALL)


# What becomes of pixels


@given(
    pixels=arrays.arrays(np.uint8, st.tuples(st.integers(1, 40), st.integers(1, 40))),
    file=st.sampled_from(list(LOSSLESS.values())),
    mode=st.sampled_from(["L", "RGB"]),
)
def test_every_lossless_format_gives_the_pixels_back(pixels: Grey, file: tuple[str, Any], mode: str) -> None:
    """Grey stays as it is in any format, also when it is stored as three equal channels."""
    file_format, options = file
    data = saved(PIL.Image.fromarray(pixels).convert(mode), file_format, **options)
    np.testing.assert_array_equal(pixels, decode_image(data).pixels)


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
@pytest.mark.parametrize("progressive", [False, True])
def test_jpeg_gives_nearly_the_pixels_back(mode: str, *, progressive: bool) -> None:
    """JPEG loses a little, in grey, colour and print colours."""
    smooth = PIL.Image.linear_gradient("L").resize((96, 80))
    data = saved(smooth.convert("RGB").convert(mode), "JPEG", quality=95, progressive=progressive)
    difference = decode_image(data).pixels.astype(int) - np.asarray(smooth)
    assert abs(difference).max() <= 4
    assert seen(data) == ()


def test_colour_becomes_its_luma() -> None:
    """Red, green and blue weigh as in ITU-R 601, and the image is said to be coloured."""
    colours = np.zeros((30, 30, 3), np.uint8)
    colours[:10, :, 0], colours[10:20, :, 1], colours[20:, :, 2] = 255, 255, 255
    data = saved(PIL.Image.fromarray(colours), "PNG")
    assert [76, 150, 29] == decode_image(data).pixels[::10, 0].tolist()
    assert seen(data) == (Finding.COLOUR,)


def test_a_little_colour_is_no_coloured_image(grey: Grey) -> None:
    """A mark of a few pixels, or a faint tint, is not worth a warning."""
    colours = np.repeat(grey[:, :, np.newaxis], 3, axis=2)
    colours[0, 1] = [255, 0, 0]  # one pixel of 2240
    colours[:, :, 0] = np.minimum(colours[:, :, 0], 240) + 10
    assert seen(saved(PIL.Image.fromarray(colours), "PNG")) == ()


def test_a_palette_is_looked_up(grey: Grey) -> None:
    """Of a palette image the colours count, not the indices."""
    indexed = PIL.Image.fromarray(255 - grey)
    indexed.putpalette([255 - index // 3 for index in range(768)])
    np.testing.assert_array_equal(grey, decode_image(saved(indexed, "PNG")).pixels)


@pytest.mark.parametrize("file_format", ["PNG", "TIFF"])
@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_transparent_becomes_black(grey: Grey, file_format: str, mode: str) -> None:
    """An image is laid over black, and this is told."""
    alpha = np.full_like(grey, 255)
    alpha[:, 28:] = 0
    image = PIL.Image.fromarray(grey).convert(mode)
    image.putalpha(PIL.Image.fromarray(alpha))
    data = saved(image, file_format)
    np.testing.assert_array_equal(np.where(alpha, grey, 0), decode_image(data).pixels)
    assert seen(data) == (Finding.TRANSPARENCY,)


def test_colour_that_cannot_be_seen_is_no_colour(grey: Grey) -> None:
    """What lies under full transparency does not make an image coloured."""
    image = PIL.Image.fromarray(grey).convert("RGBA")
    image.paste((255, 0, 0, 0), (0, 0, 56, 20))
    assert seen(saved(image, "PNG")) == (Finding.TRANSPARENCY,)


def test_half_transparent_is_half_as_bright() -> None:
    """Opacity scales the grey value."""
    assert decode_image(saved(PIL.Image.new("LA", (4, 4), (200, 51)), "PNG")).pixels.tolist() == [[40] * 4] * 4


def test_an_opaque_alpha_channel_is_not_worth_a_word(grey: Grey) -> None:
    """Screenshots have one."""
    data = saved(PIL.Image.fromarray(grey).convert("RGBA"), "PNG")
    np.testing.assert_array_equal(grey, decode_image(data).pixels)
    assert seen(data) == ()


@pytest.mark.parametrize("mode", ["P", "L", "RGB", "1"])
def test_a_transparent_colour_becomes_black(mode: str) -> None:
    """PNG's tRNS chunk names colours that are transparent."""
    image = PIL.Image.new("L", (8, 8), 255).convert(mode)
    key = {"P": image.getpixel((0, 0)), "L": 255, "RGB": (255, 255, 255), "1": 255}[mode]
    data = saved(image, "PNG", transparency=key)
    assert not decode_image(data).pixels.any()


def test_one_bit_becomes_black_and_white() -> None:
    """A bit is 0 or 255."""
    bits = np.array([[True, False], [False, True]])
    for file_format in ("PNG", "BMP", "TIFF"):
        decoded = decode_image(saved(PIL.Image.fromarray(bits), file_format)).pixels
        np.testing.assert_array_equal(bits * np.uint8(255), decoded)


@given(pixels=arrays.arrays(np.uint16, (6, 5)), file_format=st.sampled_from(["PNG", "TIFF"]))
def test_sixteen_bits_become_their_high_byte(pixels: NDArray[np.uint16], file_format: str) -> None:
    """By a fixed rule: never by the largest value of the image at hand."""
    data = saved(PIL.Image.fromarray(pixels), file_format)
    np.testing.assert_array_equal(pixels >> 8, decode_image(data).pixels)
    assert Finding.SIXTEEN_BIT in decode_image(data).findings


@pytest.mark.parametrize(("colour_type", "channels"), [(2, 3), (4, 2), (6, 4)], ids=["RGB", "LA", "RGBA"])
def test_sixteen_bits_of_colour_are_told_too(colour_type: int, channels: int) -> None:
    """Pillow gives such PNGs as 8 bits without a word; Pillow writes none, so one is written here."""
    side = 40
    header = side.to_bytes(4) * 2 + bytes([16, colour_type, 0, 0, 0])
    rows = (b"\0" + b"\xff\x80" * channels * side) * side
    chunks = (png_chunk(b"IHDR", header), png_chunk(b"IDAT", zlib.compress(rows)), png_chunk(b"IEND", b""))
    image = decode_image(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))

    assert Finding.SIXTEEN_BIT in image.findings
    assert (255, 255) == (image.pixels.min(), image.pixels.max())


def test_a_bmp_of_sixteen_bits_a_pixel_is_not_told() -> None:
    """Those are 5, 6 and 5 bits of a colour: nothing is dropped."""
    side = 130
    header = struct.pack("<IiiHHIIiiII", 40, side, side, 1, 16, 3, 2 * side**2, 0, 0, 0, 0)
    masks = struct.pack("<III", 0xF800, 0x07E0, 0x001F)
    begin = 14 + len(header) + len(masks)
    pixels = np.arange(side**2, dtype="<u2").tobytes()
    file = b"BM" + struct.pack("<IHHI", begin + len(pixels), 0, 0, begin) + header + masks + pixels

    assert Finding.SIXTEEN_BIT not in decode_image(file).findings


def test_the_number_of_pixels_is_told_from_the_header() -> None:
    """Before anything is decoded; what is no image is refused as it is when it is decoded."""
    whole = saved(PIL.Image.new("L", (30, 20)), "PNG")

    assert 600 == pixels_of(whole) == pixels_of(whole[:50])
    with pytest.raises(ImageUndecodable):
        pixels_of(b"no image")


def test_sixteen_bits_big_endian_become_their_high_byte() -> None:
    """Also in the byte order of other machines."""
    data = b"MM\0*" + struct.pack(">IH", 8, 9)
    tags = {256: 2, 257: 1, 258: 16, 259: 1, 262: 1, 273: 8 + 2 + 9 * 12 + 4, 277: 1, 278: 1, 279: 4}
    data += b"".join(struct.pack(">HHIHxx", tag, 3, 1, value) for tag, value in tags.items())
    data += struct.pack(">I", 0) + bytes([0x12, 0xFF, 0xFE, 0x00])
    assert decode_image(data).pixels.tolist() == [[0x12, 0xFE]]


def raw_tiff(bits: int, photometric: int, content: bytes) -> bytes:
    """A TIFF of one row and two columns, not compressed."""

    def short(value: int) -> tuple[int, int, bytes]:
        return 3, 1, struct.pack("<H", value)

    values = {256: 2, 257: 1, 258: bits, 259: 1, 262: photometric, 273: 8 + 2 + 9 * 12 + 4, 277: 1, 278: 1}
    return tiff({tag: short(value) for tag, value in {**values, 279: len(content)}.items()}, content)


@pytest.mark.parametrize(
    ("bits", "photometric", "content", "expected"),
    [
        (8, 1, b"\x10\xf0", [0x10, 0xF0]),
        (8, 0, b"\x10\xf0", [0xEF, 0x0F]),
        (16, 1, b"\x00\x10\xff\xf0", [0x10, 0xF0]),
        (16, 0, b"\x00\x10\xff\xf0", [0xEF, 0x0F]),
        (12, 1, b"\x10\x0f\xf0", [0x10, 0xFF]),
    ],
    ids=["8 bits", "8 bits, white is 0", "16 bits", "16 bits, white is 0", "12 bits"],
)
def test_tiff_scales_become_black_to_white(bits: int, photometric: int, content: bytes, expected: list[int]) -> None:
    """Whatever the depth is, and whichever end of the scale is white."""
    assert decode_image(raw_tiff(bits, photometric, content)).pixels.tolist() == [expected]


@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "TIFF"])
def test_an_exif_rotation_is_done(file_format: str) -> None:
    """Orientation 6 means: turn by 90 degrees clockwise to see it upright."""
    upright = PIL.Image.new("L", (24, 40))
    upright.paste(255, (0, 0, 24, 8))  # a bright band at the top
    exif = PIL.Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    data = saved(upright.transpose(PIL.Image.Transpose.ROTATE_90), file_format, exif=exif)
    assert decode_image(data).pixels.shape == (40, 24)
    assert decode_image(data).pixels[:6].min() > 200
    assert decode_image(data).pixels[10:].max() < 50
    assert seen(data) == (Finding.ROTATED_BY_EXIF,)


@pytest.mark.parametrize("orientation", [0, 1, 9, 65535])
def test_an_orientation_that_means_nothing_changes_nothing(grey: Grey, orientation: int) -> None:
    """Only 2 to 8 are rotations or mirrorings."""
    exif = PIL.Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    data = saved(PIL.Image.fromarray(grey), "PNG", exif=exif)
    np.testing.assert_array_equal(grey, decode_image(data).pixels)
    assert seen(data) == ()


@pytest.mark.parametrize("size", [(1, 1), (2, 1), (1, 300), (300, 1)])
@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "BMP", "TIFF"])
def test_the_smallest_images_are_images(size: tuple[int, int], file_format: str) -> None:
    """In grey and colour; they are small and flat, and this is told."""
    for mode in ("L", "RGB"):
        decoded = decode_image(saved(PIL.Image.new(mode, size), file_format))
        assert decoded.pixels.shape == size[::-1]
        assert decoded.findings == (Finding.SMALL, Finding.FLAT)


def test_real_ultrasound_is_decoded_without_a_finding(busi: Path) -> None:
    """The published images are what the network was trained on."""
    images = sorted(path for path in busi.glob("*/*.png") if "mask" not in path.name)
    assert images
    assert [()] * len(images) == [decode_image(path.read_bytes()).findings for path in images]


def test_a_nearly_flat_image_is_told(grey: Grey) -> None:
    """A black, saturated or hardly varying image is valid, with a warning."""
    for flat in (
        np.zeros((200, 200), np.uint8),
        np.full((200, 200), 255, np.uint8),
        100 + np.resize(grey, (200, 200)) % 4,
    ):
        assert decode_image(saved(PIL.Image.fromarray(flat), "PNG")).findings == (Finding.FLAT,)


def test_the_spacing_is_carried_along(grey: Grey) -> None:
    """It is what the caller knows of the decoded image."""
    spacing = PixelSpacing(0.1, 0.2)
    assert decode_image(saved(PIL.Image.fromarray(grey), "PNG"), spacing=spacing).spacing == spacing


# What is refused


@pytest.mark.parametrize("data", [b"", b"\0", b"hello", b"<html></html>", bytes(200)])
def test_bytes_that_are_no_image_are_undecodable(data: bytes) -> None:
    """The message names what is taken."""
    with pytest.raises(ImageUndecodable, match="taken are PNG, JPEG, BMP, TIFF"):
        decode_image(data)


@pytest.mark.parametrize("file_format", ["GIF", "WEBP", "PDF", "JPEG2000", "AVIF"])
def test_other_formats_of_pillow_are_named(grey: Grey, file_format: str) -> None:
    """Formats that Pillow could read are refused as well, by what they are."""
    with pytest.raises(ImageFormatUnsupported, match="taken are PNG, JPEG, BMP, TIFF"):
        decode_image(saved(PIL.Image.fromarray(grey), file_format))


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"8BPS\0\1", "Photoshop"),
        (bytes(128) + b"DICM", "DICOM"),
        (b"<svg xmlns=", "SVG"),
        (b"<?xml version=", "SVG"),
        (b"II+\0\x08\0\0\0", "BigTIFF"),
    ],
)
def test_formats_that_people_send_are_named(data: bytes, name: str) -> None:
    """So that they know what to convert."""
    with pytest.raises(ImageFormatUnsupported, match=name):
        decode_image(data)


def every_format() -> list[bytes]:
    """A picture in each format, with an EXIF block where there can be one."""
    rows, columns = np.mgrid[:40, :56]
    picture = PIL.Image.fromarray(((rows * 89 + columns * 37) % 256).astype(np.uint8))
    exif = PIL.Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    return [
        saved(picture, "PNG", exif=exif),
        saved(picture.convert("P"), "PNG", transparency=3),
        saved(picture, "JPEG", exif=exif),
        saved(picture.convert("RGB"), "JPEG", progressive=True),
        saved(picture, "BMP"),
        saved(picture.convert("RGBA"), "BMP"),
        saved(picture, "TIFF", exif=exif),
        saved(picture.convert("RGB"), "TIFF", compression="tiff_adobe_deflate"),
        saved(picture.convert("RGB"), "TIFF", compression="jpeg"),
        saved(picture.convert("1"), "TIFF", compression="group4"),
    ]


@pytest.mark.parametrize("data", every_format())
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_a_truncated_file_is_refused(data: bytes, share: float) -> None:
    """Pillow finds most truncations only when it decodes the pixels."""
    with pytest.raises(ImageUndecodable):
        decode_image(data[: int(len(data) * share)])


@given(data=st.sampled_from(every_format()), changes=st.lists(st.tuples(st.integers(8, 10**6), st.integers(0, 255))))
def test_damaged_bytes_raise_nothing_but_image_errors(data: bytes, changes: list[tuple[int, int]]) -> None:
    """Whatever the decoders stumble over."""
    damaged = bytearray(data)
    for place, value in changes:
        damaged[8 + place % (len(data) - 8)] = value
    try:
        decoded = decode_image(bytes(damaged))
    except ImageError:
        return
    assert decoded.pixels.size


@given(st.sampled_from(every_format()), st.binary(max_size=200))
def test_garbage_behind_a_signature_is_refused(data: bytes, garbage: bytes) -> None:
    """A file is not believed for its first bytes."""
    with pytest.raises(ImageError):
        decode_image(data[:8] + garbage)


@pytest.mark.requirement("BAD-3")
def test_too_many_pixels_are_told_from_the_header() -> None:
    """A picture of 100 megapixels in 100 kB is refused before it is unpacked; there is none to unpack here."""
    for size in ((10_000, 10_000), (2**31 - 1, 2**31 - 1)):
        with pytest.raises(TooManyPixels, match="at most 25000000 pixels"):
            decode_image(png_header(*size) + png_chunk(b"IDAT", b"") + png_chunk(b"IEND", b""))


def test_the_limit_of_pixels_is_the_callers(grey: Grey) -> None:
    """So many are taken, and not one more."""
    data = saved(PIL.Image.fromarray(grey), "PNG")
    assert decode_image(data, max_pixels=grey.size).pixels.size == grey.size
    with pytest.raises(TooManyPixels):
        decode_image(data, max_pixels=grey.size - 1)


def test_a_side_too_long_to_resize_is_refused() -> None:
    """Few pixels in all, but memory for the resizing goes with the side."""
    assert decode_image(saved(PIL.Image.new("L", (65_535, 1)), "PNG")).columns == 65_535
    with pytest.raises(TooManyPixels, match="65535 rows or columns"):
        decode_image(saved(PIL.Image.new("L", (65_536, 1)), "PNG"))


@pytest.mark.parametrize("kind", [b"zTXt", b"iCCP"])
def test_a_bomb_in_the_metadata_is_refused(kind: bytes) -> None:
    """100 MB of text or of a colour profile, packed into 100 kB."""
    bomb = png_chunk(kind, b"name\0\0" + zlib.compress(bytes(100_000_000), 9))
    with pytest.raises(ImageUndecodable) as caught:
        decode_image(png_header(4, 4) + bomb)
    assert "too large" in str(caught.value.__cause__)


@pytest.mark.requirement("BAD-2")
def test_a_refusal_does_not_quote_the_file() -> None:
    """A damaged file's bytes may be a patient's name, and messages go to logs and screens."""
    with pytest.raises(ImageUndecodable) as caught:
        decode_image(png_header(4, 4) + png_chunk(b"DOEJ", b"DOE JANE")[:-4] + b"DOE JANE")
    assert "DOE" not in str(caught.value)


def test_a_jpeg_of_endless_scans_is_refused() -> None:
    """A repeated scan of 40 bytes costs a pass over all pixels each time."""
    data = saved(PIL.Image.linear_gradient("L"), "JPEG", progressive=True)
    scan = data[data.rfind(b"\xff\xda") : -2]
    with pytest.raises(ImageUndecodable, match="more than 100 scans"):
        decode_image(data[:-2] + scan * 100 + data[-2:])


def test_a_tiff_of_millions_of_strips_is_refused() -> None:
    """Each would take hundreds of bytes of memory before the first pixel is decoded."""
    strips = module.MAX_TIFF_STRIPS + 1
    values = {256: 512, 257: 512, 258: 8, 259: 1, 262: 1, 277: 1, 278: 1, 279: 1}
    tags = {tag: (3, 1, struct.pack("<H", value)) for tag, value in values.items()}
    tags[273] = (4, strips, struct.pack("<I", 8 + 2 + 9 * 12 + 4))
    with pytest.raises(ImageUndecodable, match="more than 65535 strips"):
        decode_image(tiff(tags, struct.pack("<I", 8) * strips))


@pytest.mark.parametrize("file_format", ["TIFF", "PNG"])
def test_several_frames_are_refused(grey: Grey, file_format: str) -> None:
    """None of a document's pages or of an animation's frames is the obvious one."""
    first = PIL.Image.fromarray(grey)
    data = saved(first, file_format, save_all=True, append_images=[PIL.Image.new("L", first.size)])
    with pytest.raises(ImageHasSeveralFrames):
        decode_image(data)


@pytest.mark.parametrize("mode", ["F", "I", "LAB"])
def test_pixels_of_another_kind_are_refused(mode: str) -> None:
    """Fractions and 32 bits have no fixed scale to grey."""
    with pytest.raises(ImageFormatUnsupported, match=f"not {mode}"):
        decode_image(saved(PIL.Image.new(mode, (8, 8)), "TIFF"))


def test_a_png_without_pixels_is_refused() -> None:
    """A header and an end make no image."""
    with pytest.raises(ImageUndecodable):
        decode_image(png_header(4, 4) + png_chunk(b"IEND", b""))


def test_a_png_whose_pixels_are_fewer_than_its_header_says_is_refused() -> None:
    """Or the rest would be black."""
    few = png_chunk(b"IDAT", zlib.compress(bytes(10)))
    with pytest.raises(ImageUndecodable):
        decode_image(png_header(64, 64) + few + png_chunk(b"IEND", b""))


def test_odd_metadata_warns_nobody(tmp_path: Path, repository: Path, grey: Grey) -> None:
    """Pillow's warnings would fill the log of a service, once for each place in its code."""
    exif = b"\xff\xe1\x00\x10Exif\0\0II*\0\x08\0\0\0"  # ends before its first entry
    data = saved(PIL.Image.fromarray(grey), "JPEG")
    (tmp_path / "odd.jpg").write_bytes(data[:2] + exif + data[2:])
    decode = "import pathlib, sys, efsnet.image\nefsnet.image.decode_image(pathlib.Path(sys.argv[1]).read_bytes())\n"
    done = subprocess.run(
        [sys.executable, "-W", "default", "-c", decode, str(tmp_path / "odd.jpg")],
        capture_output=True,
        check=True,
        cwd=repository,
        text=True,
    )
    assert done.stderr == ""


# The value objects


@pytest.mark.parametrize("bad", [0.0, -0.1, float("nan"), float("inf")])
def test_a_spacing_that_cannot_be_is_refused(bad: float) -> None:
    """Zero, negative, or not a number."""
    with pytest.raises(GeometryError):
        PixelSpacing(bad, 0.1)
    with pytest.raises(GeometryError):
        PixelSpacing(0.1, bad)


@pytest.mark.parametrize(
    "pixels", [np.zeros((4, 4)), np.zeros((4, 4, 3), np.uint8), np.zeros((0, 4), np.uint8), np.zeros((4, 0), np.uint8)]
)
def test_an_image_is_two_dimensional_and_not_empty(pixels: Grey) -> None:
    """Or it is not made."""
    with pytest.raises(ArrayInvalid):
        Image(pixels)


def test_the_spacing_follows_the_grid() -> None:
    """A stretched image covers the same millimetres."""
    image = Image(np.zeros((300, 400), np.uint8), PixelSpacing(0.1, 0.2))
    assert image.spacing_on(600, 200) == PixelSpacing(0.05, 0.4)
    assert Image(image.pixels).spacing_on(600, 200) is None
