"""Image files as attackers and accidents make them: whole ones of every kind, damaged at random, and crafted ones."""

import io
import random
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial

import numpy as np
import PIL.Image
from numpy.typing import NDArray
from PIL import ExifTags

from tests.service.conftest import encoded

PNG = b"\x89PNG\r\n\x1a\n"
SIGNATURES = (PNG, b"\xff\xd8\xff\xe0", b"BM", b"II*\0", b"MM\0*")
LENGTHS = (0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF)
TIFF_COMPRESSIONS = (1, 2, 3, 4, 5, 6, 7, 8, 32773, 32946, 34661, 34676, 34677, 34712, 34887, 34925, 50000, 50001)
TIFF_TAGS = (254, 256, 257, 258, 259, 262, 266, 273, 274, 277, 278, 279, 284, 317, 320, 322, 323, 324, 325, 338, 339)
"""What a decoder goes by: sizes, layouts, predictors, strips and tiles (TIFF 6.0)."""


def pixels(rows: int = 96, columns: int = 128) -> NDArray[np.uint8]:
    """A bright and a less bright square on dark noise."""
    made = np.random.default_rng(5).integers(0, 40, (rows, columns)).astype(np.uint8)
    made[rows // 8 : rows // 3, columns // 8 : columns // 3] = 150
    made[rows // 2 : -rows // 8, columns // 2 : -columns // 8] = 230
    return made


@cache
def seeds() -> Mapping[str, bytes]:
    """Whole files of every kind that is taken."""
    grey = pixels()
    colour = np.dstack([grey, grey // 2, grey])
    alpha = np.dstack([colour, 255 - grey])
    bits = PIL.Image.fromarray(grey).convert("1")
    palette = PIL.Image.fromarray(colour).quantize(16)
    exif = PIL.Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    sixteen = grey.astype(np.uint16) << 8
    made = {
        "png grey": encoded(grey),
        "png colour": encoded(colour),
        "png alpha": encoded(alpha),
        "png 16 bits": encoded(sixteen),
        "png palette": saved(palette, "PNG", transparency=3),
        "png 1 bit": saved(bits, "PNG"),
        "jpeg grey": encoded(grey, "JPEG"),
        "jpeg colour": encoded(colour, "JPEG", exif=exif),
        "jpeg progressive": encoded(colour, "JPEG", progressive=True),
        "jpeg CMYK": saved(PIL.Image.fromarray(colour).convert("CMYK"), "JPEG"),
        "bmp grey": encoded(grey, "BMP"),
        "bmp colour": encoded(colour, "BMP"),
        "bmp 1 bit": saved(bits, "BMP"),
        "bmp run lengths": bmp_of_run_lengths(grey),
        "tiff tiles": tiff_of_tiles(grey),
        "tiff 16 bits": encoded(sixteen, "TIFF"),
        "tiff alpha": encoded(alpha, "TIFF", compression="tiff_adobe_deflate"),
        "tiff fax": saved(bits, "TIFF", compression="group4"),
    }
    for compression in ("raw", "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg"):
        made[f"tiff {compression}"] = encoded(colour, "TIFF", compression=compression)
    return made


def saved(image: PIL.Image.Image, kind: str, **options: object) -> bytes:
    """A file of an image."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


@dataclass(frozen=True, slots=True)
class BmpHeader:
    """What a BMP says of itself."""

    columns: int
    rows: int
    bits: int
    compression: int = 0
    colours: int = 256


def bmp(header: BmpHeader, data: bytes) -> bytes:
    """A BMP with a grey palette."""
    palette = b"".join(bytes((value, value, value, 0)) for value in range(256)) if header.bits <= 8 else b""
    offset = 54 + len(palette)
    sizes = struct.pack("<IiiHH", 40, header.columns, header.rows, 1, header.bits)
    rest = struct.pack("<IIiiII", header.compression, len(data), 0, 0, header.colours, 0)
    return b"BM" + struct.pack("<IHHI", offset + len(data), 0, 0, offset) + sizes + rest + palette + data


def bmp_of_run_lengths(grey: NDArray[np.uint8]) -> bytes:
    """With each pixel a run of its own, from the lowest row on."""
    data = b"".join(b"".join(bytes((1, value)) for value in row) + b"\0\0" for row in grey[::-1].tolist()) + b"\0\1"
    return bmp(BmpHeader(grey.shape[1], grey.shape[0], 8, 1), data)


def tiff(entries: Sequence[tuple[int, int, int, int]], data: bytes = b"", following: int = 0) -> bytes:
    """A little-endian TIFF of one directory at byte 8: entries of (tag, type, count, value), then data.

    Args:
        entries: In the order in which they are to stand.
        data: What the entries' offsets lead to.
        following: Offset of the next directory.
    """
    directory = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return b"II*\0" + struct.pack("<I", 8) + directory + struct.pack("<I", following) + data


def tiff_of_tiles(grey: NDArray[np.uint8], side: int = 32) -> bytes:
    """Of uncompressed tiles."""
    rows, columns = grey.shape
    count, size = rows // side * (columns // side), side * side
    start = 8 + 2 + 10 * 12 + 4
    tiles = grey.reshape(rows // side, side, columns // side, side).swapaxes(1, 2)
    offsets = struct.pack(
        f"<{2 * count}I", *(start + 8 * count + size * place for place in range(count)), *[size] * count
    )
    sizes = ((256, 3, 1, columns), (257, 3, 1, rows), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1), (277, 3, 1, 1))
    places = ((322, 3, 1, side), (323, 3, 1, side), (324, 4, count, start), (325, 4, count, start + 4 * count))
    return tiff((*sizes, *places), offsets + tiles.tobytes())


# ---------------------------------------------------------------------------- damage


def flipped(content: bytes, rng: random.Random) -> bytes:
    """With some bits changed, most of them where the header is."""
    damaged = bytearray(content)
    for _ in range(rng.choice((1, 2, 8, 64))):
        end = len(damaged) if rng.random() < 0.4 else min(200, len(damaged))
        damaged[rng.randrange(end)] ^= 1 << rng.randrange(8)
    return bytes(damaged)


def truncated(content: bytes, rng: random.Random) -> bytes:
    """Ending anywhere."""
    return content[: rng.randrange(len(content))]


def lying(content: bytes, rng: random.Random) -> bytes:
    """With a number, of one to four bytes and either order, that is another."""
    damaged, width = bytearray(content), rng.choice((1, 2, 4))
    place = rng.randrange(min(400, len(damaged) - 4))
    number = rng.choice(LENGTHS) & (256**width - 1)
    damaged[place : place + width] = number.to_bytes(width, rng.choice(("big", "little")))
    return bytes(damaged)


def spliced(content: bytes, rng: random.Random) -> bytes:
    """With a piece of itself repeated or left out."""
    start, end = sorted(rng.randrange(len(content)) for _ in range(2))
    return content[:end] + content[start:] if rng.random() < 0.5 else content[:start] + content[end:]


def crossed(content: bytes, rng: random.Random) -> bytes:
    """Beginning as one kind and going on as another."""
    other = rng.choice(list(seeds().values()))
    if rng.random() < 0.3:
        return rng.choice(SIGNATURES) + content[len(rng.choice(SIGNATURES)) :]
    return content[: rng.randrange(len(content))] + other[rng.randrange(len(other)) :]


def chunked(content: bytes, rng: random.Random) -> bytes:
    """A PNG with chunks changed, repeated, left out or out of order, whose checksums are right all the same."""
    chunks = list(chunks_of(content))
    for _ in range(rng.choice((1, 1, 3))):
        place = rng.randrange(len(chunks))
        kind, data = chunks[place]
        match rng.randrange(5):
            case 0 if data:
                chunks[place] = kind, lying(data.ljust(5, b"\0"), rng)
            case 1 if data:
                chunks[place] = kind, flipped(data, rng)
            case 2:
                chunks.insert(rng.randrange(len(chunks)), (kind, data))
            case 3 if len(chunks) > 1:
                del chunks[place]
            case _:
                random_kind = rng.choice(
                    (b"PLTE", b"tRNS", b"iCCP", b"gAMA", b"acTL", b"fcTL", b"fdAT", b"eXIf", b"sBIT")
                )
                chunks.insert(place, (random_kind, rng.randbytes(rng.randrange(64))))
    return PNG + b"".join(chunk(kind, data) for kind, data in chunks)


def directed(content: bytes, rng: random.Random) -> bytes:
    """A TIFF with entries of its directory changed to what other decoders stumbled over."""
    damaged = bytearray(content)
    order = "<" if content.startswith(b"II") else ">"
    (start,) = struct.unpack_from(f"{order}I", damaged, 4)
    (count,) = struct.unpack_from(f"{order}H", damaged, start)
    for _ in range(rng.choice((1, 1, 2, 4))):
        place = start + 2 + 12 * rng.randrange(count)
        tag, kind, number, value = struct.unpack_from(f"{order}HHII", damaged, place)
        match rng.randrange(5):
            case 0:
                tag = rng.choice(TIFF_TAGS)
            case 1:
                kind = rng.randrange(19)
            case 2:
                number = rng.choice((*LENGTHS, min(number + 1, LENGTHS[-1])))
            case 3:
                value = rng.choice((*LENGTHS, *TIFF_COMPRESSIONS, rng.randrange(len(damaged))))
            case _:
                struct.pack_into(f"{order}I", damaged, start + 2 + 12 * count, rng.choice((start, *LENGTHS)))
        struct.pack_into(f"{order}HHII", damaged, place, tag, kind, number, value)
    return bytes(damaged)


CHANGES: Sequence[Callable[[bytes, random.Random], bytes]] = (
    flipped,
    flipped,
    truncated,
    lying,
    lying,
    spliced,
    crossed,
)


def damaged(rng: random.Random) -> bytes:
    """One damaged file."""
    content = rng.choice(list(seeds().values()))
    changes = list(CHANGES)
    if content.startswith(PNG):
        changes += [chunked] * 5
    elif content.startswith((b"II*\0", b"MM\0*")):
        changes += [directed] * 5
    return rng.choice(changes)(content, rng)


def chunk(kind: bytes, data: bytes) -> bytes:
    """A chunk of a PNG, with its length and checksum."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def chunks_of(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The chunks of a whole PNG."""
    place = len(PNG)
    while place < len(content):
        (length,) = struct.unpack_from(">I", content, place)
        yield content[place + 4 : place + 8], content[place + 8 : place + 8 + length]
        place += 12 + length


# ---------------------------------------------------------------------------- crafted


@dataclass(frozen=True, slots=True)
class PngHeader:
    """What IHDR says."""

    columns: int
    rows: int
    depth: int = 8
    colour: int = 0
    interlaced: int = 0

    @property
    def chunk(self) -> bytes:
        """The same, as a chunk."""
        return chunk(
            b"IHDR",
            struct.pack(">IIBBBBB", self.columns, self.rows, self.depth, self.colour, 0, 0, self.interlaced),
        )


def png(header: PngHeader, *chunks: bytes) -> bytes:
    """A PNG of these chunks."""
    return PNG + header.chunk + b"".join(chunks) + chunk(b"IEND", b"")


@cache
def packed_zeros(megabytes: int) -> bytes:
    """So much of nothing, compressed to a thousandth."""
    compressor = zlib.compressobj(9)
    return b"".join([*(compressor.compress(bytes(1_000_000)) for _ in range(megabytes)), compressor.flush()])


def jpeg_of_scans(count: int) -> bytes:
    """A progressive JPEG that says 5000 x 5000 pixels and goes over them again and again."""
    content = seeds()["jpeg progressive"]
    frame = content.index(b"\xff\xc2")
    scan = content.index(b"\xff\xda")
    larger = content[: frame + 5] + struct.pack(">HH", 5000, 5000) + content[frame + 9 : scan]
    return larger + content[scan : scan + 40] * count + b"\xff\xd9"


def jpeg_of_size(rows: int, columns: int) -> bytes:
    """A JPEG whose header says another size than its data has."""
    content = seeds()["jpeg colour"]
    frame = content.index(b"\xff\xc0")
    return content[: frame + 5] + struct.pack(">HH", rows, columns) + content[frame + 9 :]


def tiff_that_says(*, rows: int = 96, columns: int = 128, **others: tuple[int, int, int, int]) -> bytes:
    """An uncompressed TIFF of one strip, but for these entries."""
    entries = {
        "columns": (256, 4, 1, columns),
        "rows": (257, 4, 1, rows),
        "bits": (258, 3, 1, 8),
        "compression": (259, 3, 1, 1),
        "photometric": (262, 3, 1, 1),
        "strips": (273, 4, 1, 134),
        "samples": (277, 3, 1, 1),
        "strip_rows": (278, 4, 1, rows),
        "strip_bytes": (279, 4, 1, 12_288),
    } | others
    return tiff(sorted(entries.values()), pixels().tobytes().ljust(14_000, b"\0"))


LARGE = PngHeader(5000, 5000)
NOISE = random.Random(3).randbytes(4096)  # noqa: S311 (damage, no secret)

CRAFTED: Mapping[str, Callable[[], bytes]] = {
    "png of 100 megapixels": lambda: png(PngHeader(10_000, 10_000), chunk(b"IDAT", packed_zeros(100))),
    "png of 25 megapixels": lambda: png(LARGE, chunk(b"IDAT", packed_zeros(26))),
    "png of 25 megapixels in colour": lambda: png(PngHeader(5000, 5000, 8, 6), chunk(b"IDAT", packed_zeros(101))),
    "png of 25 megapixels, 16 bits, interlaced": lambda: png(
        PngHeader(5000, 5000, 16, 2, 1), chunk(b"IDAT", packed_zeros(151))
    ),
    "png without data": lambda: png(LARGE),
    "png of nothing": lambda: png(PngHeader(0, 0), chunk(b"IDAT", b"")),
    "png of one endless row": lambda: png(PngHeader(65_535, 1), chunk(b"IDAT", packed_zeros(1))),
    "png with more data than pixels": lambda: png(PngHeader(100, 100), chunk(b"IDAT", packed_zeros(200))),
    "png with a profile that unpacks": lambda: png(
        PngHeader(9, 9), chunk(b"iCCP", b"a\0\0" + packed_zeros(200)), chunk(b"IDAT", packed_zeros(1))
    ),
    "png with texts that unpack": lambda: png(
        PngHeader(9, 9), *[chunk(b"zTXt", b"a\0\0" + packed_zeros(200))] * 8, chunk(b"IDAT", packed_zeros(1))
    ),
    "png with a language text that unpacks": lambda: png(
        PngHeader(9, 9), chunk(b"iTXt", b"a\0\1\0\0\0" + packed_zeros(200)), chunk(b"IDAT", packed_zeros(1))
    ),
    "png of a hundred thousand chunks": lambda: png(PngHeader(9, 9), chunk(b"tEXt", b"a\0b") * 100_000),
    "png of empty data chunks": lambda: png(PngHeader(100, 100), chunk(b"IDAT", b"") * 100_000),
    "png palette too short": lambda: png(PngHeader(100, 100, 8, 3), chunk(b"PLTE", b"abc"), chunk(b"IDAT", NOISE)),
    "png that says it moves": lambda: png(
        PngHeader(9, 9), chunk(b"acTL", struct.pack(">II", 2**31 - 1, 0)), chunk(b"IDAT", packed_zeros(1))
    ),
    "jpeg of 400 scans": lambda: jpeg_of_scans(400),
    "jpeg of 90 scans": lambda: jpeg_of_scans(90),
    "jpeg of 65500 x 65500": lambda: jpeg_of_size(65_500, 65_500),
    "jpeg of 5000 x 5000": lambda: jpeg_of_size(5000, 5000),
    "jpeg of 65408 x 255": lambda: jpeg_of_size(65_408, 255),
    "jpeg of 255 x 65408": lambda: jpeg_of_size(255, 65_408),
    "jpeg of no rows": lambda: jpeg_of_size(0, 128),
    "jpeg of markers": lambda: b"\xff\xd8" + b"\xff\xe1\0\2" * 200_000,
    "jpeg of fill bytes": lambda: b"\xff\xd8" + b"\xff" * 1_000_000,
    "jpeg of several pictures": lambda: seeds()["jpeg colour"] * 20,
    "bmp of 5000 x 5000": lambda: bmp(BmpHeader(5000, 5000, 24, 0), NOISE),
    "bmp of 5000 x 5000 in one run": lambda: bmp(BmpHeader(5000, 5000, 8, 1), b"\xff\0" * 10),
    "bmp of moves beyond the picture": lambda: bmp(BmpHeader(128, 96, 8, 1), b"\0\2\xff\xff" * 5000),
    "bmp of moves to nowhere": lambda: bmp(BmpHeader(5000, 5000, 8, 1), b"\0\2\0\0" * 500_000),
    "bmp of line ends": lambda: bmp(BmpHeader(5000, 5000, 8, 1), b"\0\0" * 500_000),
    "bmp upside down": lambda: bmp(BmpHeader(128, -96, 8, 0), pixels().tobytes()),
    "bmp of the smallest number": lambda: bmp(BmpHeader(-(2**31), -(2**31), 8, 0), NOISE),
    "bmp of four thousand million colours": lambda: bmp(BmpHeader(128, 96, 8, 0, 0xFFFF_FFFF), NOISE),
    "bmp of half bytes in runs": lambda: bmp(BmpHeader(128, 96, 4, 2), NOISE),
    "tiff that leads to itself": lambda: tiff(((256, 3, 1, 9),), following=8),
    "tiff without entries": lambda: tiff(()),
    "tiff of one tag": lambda: tiff([(256, 4, 1, 128)] * 60_000),
    "tiff of many strips": lambda: tiff_that_says(strips=(273, 4, 60_000, 134), strip_bytes=(279, 4, 60_000, 134)),
    "tiff of strips beyond its end": lambda: tiff_that_says(strips=(273, 4, 1, 0xFFFF_FF00)),
    "tiff of a strip of all memory": lambda: tiff_that_says(strip_bytes=(279, 4, 1, 0xFFFF_FFFF)),
    "tiff of 5000 x 5000": lambda: tiff_that_says(rows=5000, columns=5000),
    "tiff of 5000 x 5000, packed": lambda: tiff_that_says(rows=5000, columns=5000, compression=(259, 3, 1, 8)),
    "tiff of 65535 samples": lambda: tiff_that_says(samples=(277, 3, 1, 65_535)),
    "tiff of 255 samples, said to be colour": lambda: tiff_that_says(
        samples=(277, 3, 1, 255), photometric=(262, 3, 1, 2)
    ),
    "tiff of a huge tile": lambda: tiff_that_says(
        tile_columns=(322, 4, 1, 0x7FFF_FFF0), tile_rows=(323, 4, 1, 0x7FFF_FFF0), tiles=(324, 4, 1, 134)
    ),
    "tiff with a comment of 4 GB": lambda: tiff_that_says(comment=(270, 2, 0xFFFF_FFFF, 134)),
    "tiff of bits that are none": lambda: tiff_that_says(bits=(258, 3, 1, 255)),
} | {
    f"tiff of {rows} x 5000 as {compression}": partial(
        tiff_that_says, rows=rows, columns=5000, compression=(259, 3, 1, compression)
    )
    for rows in (2, 5000)
    for compression in TIFF_COMPRESSIONS
}
"""Bombs, headers that lie, and files after the faults that image decoders had."""
