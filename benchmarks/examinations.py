"""Examinations made from still images: the only ones whose every frame has a reference.

A window slides and grows over a still as a probe would show it; the expert's reference moves along. No clinical video
is behind any figure that is measured with them.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from efsnet.grid import nearest
from efsnet.image import decode_image

FRAME_RATE = 30
ROWS, COLUMNS = 384, 512
"""Of the frames, as from a capture card."""
EXTENT = 0.78
"""Share of a still's sides that a window shows."""


@dataclass(frozen=True, slots=True, eq=False)
class Still:
    """An image and its reference on the same grid, (rows, columns) uint8: the reference in class numbers."""

    pixels: NDArray[np.uint8]
    reference: NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Window:
    """The part of a still that a frame shows: shares of its sides, the middle of the window and its extent."""

    row: float
    column: float
    rows: float
    columns: float


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """A picture of an examination."""

    pixels: NDArray[np.uint8]
    """(ROWS, COLUMNS) uint8."""
    reference: NDArray[np.uint8]
    """(ROWS, COLUMNS) uint8 of class numbers."""
    at_s: float
    window: Window
    """What part of the still it shows."""
    still: int
    """Which still it shows, from 0."""
    frozen: bool


@dataclass(frozen=True, slots=True)
class Scene:
    """What is done for some time with one still, in shares of its sides; each begins and ends in the same place."""

    still: int
    seconds: float
    slide: tuple[float, float] = (0.0, 0.0)
    """Of rows and columns: how far the window moves to one side, back, and to the other."""
    zoom: float = 1.0
    """Factor of the window's sides in the middle of the time."""
    breathing: float = 0.0
    """Amplitude with which rows are shifted, and half as much stretched, once."""
    gain: float = 1.0
    """Factor of the grey values in the middle of the time."""
    speckle: float = 0.08
    """Deviation of the factor by which each spot's grey differs anew in each frame."""
    frozen: bool = False


EXAMINATION = (
    Scene(0, 1.5, slide=(0.03, 0.08)),
    Scene(0, 1.0, zoom=0.85),
    Scene(0, 1.5, breathing=0.03),
    Scene(0, 1.0, gain=0.75),
    Scene(1, 1.5, slide=(0.02, 0.06), breathing=0.02),
    Scene(1, 0.7, frozen=True),
)
"""A slide, a zoom, a breath, another gain; a cut to another still, a slide, and the image is frozen."""


def read_still(folder: Path, kind: str, number: int) -> Still:
    """An image of BUSI in its published layout, by its class and number; several masks are one reference."""
    numbers = {"normal": 0, "benign": 1, "malignant": 2}
    image = decode_image((folder / kind / f"{kind} ({number}).png").read_bytes())
    masks = [decode_image(path.read_bytes()) for path in sorted((folder / kind).glob(f"{kind} ({number})_mask*.png"))]
    lesion = np.any([mask.pixels > 127 for mask in masks], axis=0)
    return Still(image.pixels, np.where(lesion, numbers[kind], 0).astype(np.uint8))


def examination(stills: tuple[Still, ...], *, seed: int, scenes: tuple[Scene, ...] = EXAMINATION) -> Iterator[Frame]:
    """Its frames, the same ones for the same seed."""
    random = np.random.default_rng(seed)
    at_s = 0.0
    frame: Frame | None = None
    for scene in scenes:
        count = round(scene.seconds * FRAME_RATE)
        still = stills[scene.still]
        for index in range(count):
            if frame is None or not scene.frozen:
                share = (index + 1) / count
                window = _window(scene, share)
                pixels = _shown(still.pixels, window, PIL.Image.Resampling.BILINEAR)
                reference = _shown(still.reference, window, PIL.Image.Resampling.NEAREST)
                gain = 1 + (scene.gain - 1) * _bell(share)
                grey = (pixels * (gain * _speckle(random, scene.speckle))).clip(0, 255).astype(np.uint8)
                frame = Frame(grey, reference, at_s, window, scene.still, frozen=False)
            else:
                frame = Frame(frame.pixels, frame.reference, at_s, frame.window, frame.still, frozen=True)
            yield frame
            at_s += 1 / FRAME_RATE


def carried(mask: NDArray[np.bool_], before: Window, now: Window) -> NDArray[np.bool_]:
    """A mask of one window, as it is on another of the same still; outside of the first it is False."""
    rows, row_known = _places(before.row, before.rows, now.row, now.rows, len(mask))
    columns, column_known = _places(before.column, before.columns, now.column, now.columns, mask.shape[1])
    taken: NDArray[np.bool_] = mask.take(rows, axis=0).take(columns, axis=1) & row_known[:, np.newaxis] & column_known
    return taken


def _places(
    middle: float, extent: float, new_middle: float, new_extent: float, side: int
) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """Which pixel of an axis each of the new ones was, and whether it was any."""
    of_still = new_middle + ((np.arange(side) + 0.5) / side - 0.5) * new_extent
    places = np.floor(((of_still - middle) / extent + 0.5) * side).astype(np.intp)
    return places.clip(0, side - 1), (places >= 0) & (places < side)


def _window(scene: Scene, share: float) -> Window:
    swing = math.sin(2 * math.pi * share)
    breath = scene.breathing * swing
    extent = EXTENT * (1 + (scene.zoom - 1) * _bell(share))
    return Window(
        row=0.5 + scene.slide[0] * swing + breath,
        column=0.5 + scene.slide[1] * swing,
        rows=extent * (1 + breath / 2),
        columns=extent,
    )


def _bell(share: float) -> float:
    """From 0 to 1 and back again, smoothly."""
    return (1 - math.cos(2 * math.pi * share)) / 2


def _shown(array: NDArray[np.uint8], window: Window, resampling: PIL.Image.Resampling) -> NDArray[np.uint8]:
    rows, columns = array.shape
    top, left = (window.row - window.rows / 2) * rows, (window.column - window.columns / 2) * columns
    box = (left, top, left + window.columns * columns, top + window.rows * rows)
    coefficients = ((box[2] - box[0]) / COLUMNS, 0.0, left, 0.0, (box[3] - box[1]) / ROWS, top)
    shown = PIL.Image.fromarray(array).transform(
        (COLUMNS, ROWS), PIL.Image.Transform.AFFINE, coefficients, resample=resampling
    )
    return np.asarray(shown)


def _speckle(random: np.random.Generator, deviation: float) -> NDArray[np.float64]:
    """Factors of mean 1 that spots of three pixels have in common."""
    spots = random.standard_normal((ROWS // 3 + 1, COLUMNS // 3 + 1))
    by_rows = spots.take(nearest(len(spots), ROWS), axis=0)
    return 1 + deviation * by_rows.take(nearest(spots.shape[1], COLUMNS), axis=1)
