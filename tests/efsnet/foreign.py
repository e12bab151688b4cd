"""Images that are no breast ultrasound, made from a seed: what the wrong file looks like."""

import io
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage
from PIL import ImageDraw, ImageFont
from scipy.ndimage import gaussian_filter

Random = np.random.Generator
Grey = NDArray[np.uint8]

OF_EACH_KIND = 10

WORDS = ("report", "of", "the", "left", "breast", "upper", "outer", "quadrant", "no", "change", "follow", "up", "in")


def made(busi: Path) -> Iterator[tuple[str, bytes]]:
    """Kind and PNG file of each image."""
    for kind, make in KINDS.items():
        random = np.random.default_rng(sum(kind.encode()))
        for _ in range(OF_EACH_KIND):
            file = io.BytesIO()
            make(random, busi).save(file, "PNG")
            yield kind, file.getvalue()


def colour_photo(random: Random, _: Path) -> PillowImage.Image:
    """Things of soft colours before a background that falls off, with light of its own on each."""
    rows, columns = int(random.integers(400, 800)), int(random.integers(500, 900))
    layers = [_photo(random, rows, columns) for _ in range(3)]
    return PillowImage.fromarray(np.stack(layers, axis=2))


def grey_photo(random: Random, _: Path) -> PillowImage.Image:
    """The same, from a camera for black and white."""
    return PillowImage.fromarray(_photo(random, int(random.integers(400, 800)), int(random.integers(500, 900))))


def ct(random: Random, _: Path) -> PillowImage.Image:
    """A slice in a window for soft tissue: a body of organs with a spine, in air, with the scanner's noise."""
    body = _ellipse((256, 256), (random.uniform(150, 200), random.uniform(190, 240)))
    grey = np.where(body, 110.0, 0.0)
    for _organ in range(int(random.integers(5, 12))):
        centre = (random.uniform(140, 370), random.uniform(110, 400))
        organ = _ellipse(centre, (random.uniform(15, 60), random.uniform(15, 60))) & body
        grey[organ] = random.uniform(20, 170)
    grey[_ellipse((360, 256), (28, 34))] = 235
    noise = gaussian_filter(random.normal(0, 14, grey.shape), 1.0)
    return _image(np.where(body, grey + noise, 0))


def chest_radiograph(random: Random, _: Path) -> PillowImage.Image:
    """Two dark lungs with ribs across them, a bright spine and heart."""
    rows, columns = np.mgrid[:512, :512]
    grey = 170 + 30 * np.cos((columns - 256) / 90.0)
    for side in (-1, 1):
        lung = _ellipse((random.uniform(220, 260), 256 + side * random.uniform(105, 130)), (170, 80))
        grey = np.where(lung, grey - random.uniform(80, 110), grey)
    ribs = np.sin((rows + 0.0012 * (columns - 256) ** 2) / random.uniform(8, 10))
    grey += 18 * np.clip(ribs, 0, 1) + np.where(np.abs(columns - 256) < 30, 35, 0)
    return _image(gaussian_filter(grey, 3) + random.normal(0, 2, grey.shape))


def page_of_text(random: Random, _: Path) -> PillowImage.Image:
    """A letter, dark on light or light on dark."""
    paper, ink = ((250, 30), (10, 220), (255, 0))[int(random.integers(3))]
    page = PillowImage.new("L", (850, 1100), paper)
    draw = ImageDraw.Draw(page)
    size = int(random.integers(16, 34))
    font = ImageFont.load_default(size)
    for top in range(60, 1040, int(size * 1.4)):
        line = " ".join(random.choice(WORDS, int(random.integers(3, 800 // (size * 3)))))
        draw.text((60, top), line, fill=ink, font=font)
    return page


def doppler(random: Random, busi: Path) -> PillowImage.Image:
    """An ultrasound with colours of blood flow over a part of it."""
    picture = _ultrasound(random, busi).convert("RGB")
    top, left = (int(random.integers(0, side // 2)) for side in (picture.height, picture.width))
    box = (left, top, left + picture.width // 3, top + picture.height // 3)
    flow = PillowImage.new("RGB", (box[2] - box[0], box[3] - box[1]), (200, 40, 20))
    picture.paste(PillowImage.blend(picture.crop(box), flow, 0.6), box)
    return picture


def black_frame(random: Random, _: Path) -> PillowImage.Image:
    """What a capture card gives without a signal: black, with a little noise."""
    return _image(np.abs(random.normal(0, 1.5, (480, 640))))


def collage(random: Random, busi: Path) -> PillowImage.Image:
    """Four or more ultrasounds on one sheet, with a border."""
    rows, columns = (2, 2) if random.random() < 0.5 else (2, 3)
    sheet = PillowImage.new("L", (columns * 310 + 10, rows * 260 + 10), int(random.choice([0, 255])))
    for place in range(rows * columns):
        at = (10 + place % columns * 310, 10 + place // columns * 260)
        sheet.paste(_ultrasound(random, busi).resize((300, 250)), at)
    return sheet


KINDS: Mapping[str, Callable[[Random, Path], PillowImage.Image]] = {
    make.__name__: make
    for make in (colour_photo, grey_photo, ct, chest_radiograph, page_of_text, doppler, black_frame, collage)
}


def _photo(random: Random, rows: int, columns: int) -> Grey:
    """Objects with edges and shading before a background, as sharp as a lens makes them."""
    down, across = np.mgrid[:rows, :columns]
    grey = random.uniform(60, 180) + down * random.uniform(-0.15, 0.15) + across * random.uniform(-0.1, 0.1)
    for _ in range(int(random.integers(6, 20))):
        top, left = random.uniform(0, rows), random.uniform(0, columns)
        height, width = random.uniform(30, 250), random.uniform(30, 250)
        inside = ((down - top) / height) ** 2 + ((across - left) / width) ** 2 < 1
        grey = np.where(inside, random.uniform(20, 235) + (down - top) * random.uniform(-0.3, 0.3), grey)
    clouds = gaussian_filter(random.normal(0, 60, grey.shape), 12) * 3
    return np.asarray(_image(gaussian_filter(grey + clouds, 1) + random.normal(0, 1.5, grey.shape)))


def _ultrasound(random: Random, busi: Path) -> PillowImage.Image:
    files = sorted(path for path in busi.glob("*/*.png") if "_mask" not in path.name)
    with PillowImage.open(files[int(random.integers(len(files)))]) as picture:
        return picture.convert("L")


def _ellipse(centre: tuple[float, float], half_axes: tuple[float, float]) -> NDArray[np.bool_]:
    rows, columns = np.mgrid[:512, :512]
    inside: NDArray[np.bool_] = ((rows - centre[0]) / half_axes[0]) ** 2 + (
        (columns - centre[1]) / half_axes[1]
    ) ** 2 < 1
    return inside


def _image(values: NDArray[np.floating]) -> PillowImage.Image:
    return PillowImage.fromarray(np.clip(values, 0, 255).astype(np.uint8))
